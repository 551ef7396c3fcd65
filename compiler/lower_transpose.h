#pragma once
// Lowering of maps to tiles in shared memory, for GPUs.

#include "compiler/transpose_plan.h"

namespace cermet::compiler {

LoweredKernel lower_transpose(const Kernel& kernel, const KernelProgram& program,
                              const Target& target, const TransposePlan& plan);

}  // namespace cermet::compiler
