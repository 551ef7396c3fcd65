#pragma once
// What kernels cost, as a table for people: the stage "resources" of ir-dump.

#include <cstdint>
#include <span>
#include <string>

#include "compiler/cuda/arch.h"
#include "compiler/cuda/resources.h"

namespace cermet::compiler {

struct CudaLaunchCost {
  CudaResources resources = {};
  int64_t threads = 0;         // of a block
  int64_t dynamic_shared = 0;  // bytes of a block that the launch adds
};

// A heading and a line for each kernel: its registers, spilled bytes, shared memory, how many of
// its blocks run on one multiprocessor of the architecture at once, and what limits that.
std::string resources_table(const CudaArch& arch, std::span<const CudaLaunchCost> kernels);

}  // namespace cermet::compiler
