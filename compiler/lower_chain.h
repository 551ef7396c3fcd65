#pragma once
// Lowering of a chain of kernels (kernels.h) for CPUs.

#include "compiler/program.h"

namespace cermet::compiler {

LoweredKernel lower_chain(const Chain& chain, const KernelProgram& program, const Target& target);

}  // namespace cermet::compiler
