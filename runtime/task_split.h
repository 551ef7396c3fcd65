#pragma once
// How the units of several kernels that run as one launch fall into tasks for the thread pool.

#include <cstdint>
#include <span>
#include <vector>

#include "compiler/program.h"

namespace cermet::runtime {

// Units [begin, end) of one of the kernels.
struct TaskPart {
  int32_t kernel;
  int64_t begin, end;
};

struct TaskSplit {
  std::vector<TaskPart> parts;
  std::vector<int32_t> ends;  // by task: where its parts end
};

// At most about `most` tasks of equal work, none of less than what is worth a thread, which is the
// grain of a kernel; parts begin at multiples of it. How the work is split has no influence on
// results.
TaskSplit split_tasks(std::span<const compiler::LoweredKernel* const> kernels, int64_t most);

}  // namespace cermet::runtime
