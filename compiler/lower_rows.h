#pragma once
// Lowering of maps, row programs, scans and scatters: every kernel without a Contract, and
// contractions that are too small or too thin for blocking (matrix times vector is a row program).

#include "compiler/program.h"

namespace cermet::compiler {

LoweredKernel lower_rows(const Kernel& kernel, const KernelProgram& program, const Target& target);

// Which axis of the space (outer, then inner) has the most bytes contiguous along it, and how many
// elements fit into the vectors that the kernel mostly uses. Shared with the cost estimates.
struct Vectorisation {
  int64_t axis;  // -1: none
  int lanes;
};
Vectorisation choose_vectorisation(const Kernel& kernel, const KernelProgram& program,
                                   const Target& target);

}  // namespace cermet::compiler
