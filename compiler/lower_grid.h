#pragma once
// Lowering of maps, row programs, scans and scatters to a grid of thread blocks; and of
// contractions that are too small for tiles.

#include "compiler/program.h"

namespace cermet::compiler {

// `range` of the result is the number of blocks, `scratch_bytes` the shared memory of a block.
LoweredKernel lower_grid(const Kernel& kernel, const KernelProgram& program, const Target& target);

}  // namespace cermet::compiler
