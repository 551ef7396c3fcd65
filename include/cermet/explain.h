#pragma once
// What the library did: compiles and why, cache hits, memory.

#include <cstdint>
#include <string>
#include <vector>

namespace cermet {

// Of the CPU and of all GPUs together.
struct Statistics {
  int64_t realizes = 0, launches = 0;
  int64_t plan_hits = 0, plan_misses = 0;  // programs
  // Kernels: in memory, on disk, made by LLVM; for GPUs, where the new kernels of a program are
  // compiled as one, such a unit counts as one that was on disk or was made by NVRTC.
  int64_t kernel_hits = 0, disk_hits = 0, compiles = 0;
  // Memory of tensors, temporaries and kernels' scratch: now, freed and kept, and the most there
  // was since the statistics were reset.
  int64_t live_bytes = 0, cached_bytes = 0, peak_bytes = 0;
};
Statistics statistics();
// Counts from 0 again; peak_bytes starts at what is live now.
void reset_statistics();

// One compile: the kernel's name and what about it was new.
struct Compile {
  std::string kernel, reason;
  double milliseconds;
};
std::vector<Compile> compiles();

// The same as text, one line for each compile; also why kernels are not kept on disk, if so.
std::string explain();

}  // namespace cermet
