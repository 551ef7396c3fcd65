#pragma once
// Lowering of contractions for GPUs: tiles in shared memory and registers.

#include "compiler/program.h"

namespace cermet::compiler {

// The kernel has exactly one Contract and is worth_tiling (compiler/tile_plan.h).
LoweredKernel lower_tiles(const Kernel& kernel, const KernelProgram& program, const Target& target);

}  // namespace cermet::compiler
