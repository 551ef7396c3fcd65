#pragma once
// Lowering of maps, row programs, scans and scatters: every kernel without a Contract, and
// contractions that are too small or too thin for blocking (matrix times vector is a row program).

#include "compiler/program.h"

namespace cermet::compiler {

struct FunctionFrame;

LoweredKernel lower_rows(const Kernel& kernel, const KernelProgram& program, const Target& target);
// The same into a function that may hold other kernels as well.
void write_rows(const Kernel& kernel, const KernelProgram& program, const Target& target,
                FunctionFrame& frame);

}  // namespace cermet::compiler
