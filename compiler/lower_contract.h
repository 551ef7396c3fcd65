#pragma once
// Lowering of contractions (matrix products and convolutions) by blocking and packing.

#include "compiler/program.h"

namespace cermet::compiler {

// Whether blocking is worth it for this kernel; if not, lower_rows takes it.
bool worth_blocking(const Kernel& kernel);

// The kernel has exactly one Contract.
LoweredKernel lower_contract(const Kernel& kernel, const KernelProgram& program,
                             const Target& target);

}  // namespace cermet::compiler
