#pragma once
// How many blocks of a kernel run on one multiprocessor at once, and what keeps it from being more:
// arithmetic over what the kernel costs, so that it can be planned and tested without a GPU.

#include <cstdint>
#include <string_view>

#include "compiler/cuda/arch.h"

namespace cermet::compiler {

// What a multiprocessor of an architecture has. From the table of technical specifications by
// compute capability in the CUDA programming guide; barriers and units of allocation from
// cuda_occupancy.h, with which a test compares all of it.
struct CudaLimits {
  int arch = 0;
  int threads = 0;              // at once
  int blocks = 0;               // at once
  int64_t shared = 0;           // bytes
  int64_t block_shared = 0;     // bytes that one block can have; beyond 48 KB it has to ask
  int64_t reserved_shared = 0;  // bytes of each block that the system takes
  int64_t shared_unit = 0;      // bytes are given out in multiples of this
  int barriers = 0;

  // The same on all of them.
  static constexpr int warp_threads = 32;
  static constexpr int block_threads = 1024;
  static constexpr int partitions = 4;  // a warp runs on, and has its registers in, one of these
  static constexpr int registers = 64 << 10;
  static constexpr int thread_registers = 255;
  static constexpr int register_unit = 256;  // a warp gets a multiple of this
};

// Of the newest architecture in the table that is not newer than `arch`. Throws Error below sm_75.
const CudaLimits& cuda_limits(const CudaArch& arch);

struct KernelCost {
  int64_t threads = 0;  // of a block
  int registers = 0;    // of a thread
  int64_t shared = 0;   // bytes of a block: what it declares and what a launch adds
  int barriers = 0;
};

struct Occupancy {
  enum class Limit : uint8_t { Threads, Blocks, Registers, Shared, Barriers };
  int blocks = 0;  // 0: it cannot run at all
  Limit limit = Limit::Threads;
  // Threads that run at once, of those that could.
  double fraction = 0;
};

Occupancy occupancy(const CudaLimits& limits, const KernelCost& cost);

std::string_view to_string(Occupancy::Limit limit);  // "registers"

// The most registers a thread may have so that `blocks` blocks of `threads` threads run at once.
int registers_for(int64_t threads, int blocks);

}  // namespace cermet::compiler
