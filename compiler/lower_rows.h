#pragma once
// Lowering of maps, row programs, scans and scatters: every kernel without a Contract, and
// contractions that are too small or too thin for blocking (matrix times vector is a row program).

#include "compiler/program.h"

namespace cermet::compiler {

LoweredKernel lower_rows(const Kernel& kernel, const KernelProgram& program, const Target& target);

}  // namespace cermet::compiler
