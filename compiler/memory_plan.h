#pragma once
// Where temporary buffers live.

#include <cstdint>
#include <span>
#include <vector>

#include "compiler/kernels.h"

namespace cermet::compiler {

inline constexpr int64_t arena_alignment = 64;

struct MemoryPlan {
  std::vector<int64_t> offsets;  // bytes from the start of the arena, for each buffer of the
                                 // program; 0 for those that have no place in it
  // By buffer. Of a temporary: the result in whose memory it lies, at its beginning. Of a result:
  // the donated parameter in whose place it may lie: no kernel needs that any more when the
  // result's memory is first written. -1: none.
  std::vector<int32_t> home;
  int64_t arena_bytes = 0;
  int64_t bytes = 0;           // of the arena, and of the results that have no place
  std::vector<int64_t> alive;  // bytes of the arena's temporaries that each kernel finds or makes
};

// Places the temporaries in one arena such that no two that are alive at the same time overlap. A
// buffer is alive from the first kernel that stores to it to the last one that stores to or loads
// from it; the kernels of a chain count as one, and its locals have no place in the arena. Where
// the program says so (KernelProgram::in_place), a kernel writes over an operand that dies with it
// (in_place.h), a result takes the place of a donated parameter that is dead, and temporaries that
// die before a result is written lie in the result's memory. Until the last kernel that can report
// an error has run, donated parameters stay what they are. Deterministic. Throws Error where the
// arena would not fit in 64 bits.
MemoryPlan plan_memory(const KernelProgram& program);
// The same where kernel i runs in step steps[i], at the same time as the others of that step.
MemoryPlan plan_memory(const KernelProgram& program, std::span<const int64_t> steps);

// Of the program's results.
int64_t result_bytes(const KernelProgram& program);

}  // namespace cermet::compiler
