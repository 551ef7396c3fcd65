#pragma once
// Contractions with few rows or columns for GPUs; the plan is compiler/thin_plan.h.

#include "compiler/program.h"

namespace cermet::compiler {

LoweredKernel lower_thin(const Kernel& kernel, const KernelProgram& program, const Target& target);

}  // namespace cermet::compiler
