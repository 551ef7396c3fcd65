#pragma once
// Checks the invariants of the loop IR, those at the top of loops.h and those of each opcode's row.

#include <string>
#include <vector>

#include "compiler/loops.h"

namespace cermet::compiler::loops {

// Vectors have a power of two of lanes, at most so many.
inline constexpr int most_lanes = 256;
// All Local buffers of a kernel together; stacks of threads are small.
inline constexpr int64_t most_local_bytes = 64 << 10;
// For and If, one inside the other.
inline constexpr int most_nested = 64;
inline constexpr int most_threads = 1024;  // of a block, on every GPU since compute capability 2.0
inline constexpr int most_resident_threads = 1024;  // of a multiprocessor, on every GPU
inline constexpr int warp_threads = 32;

// One text for each violation; none if the function is well formed. Never throws and reads nothing
// out of bounds, whatever the function holds.
std::vector<std::string> verify_loops(const Function& function);

}  // namespace cermet::compiler::loops
