#pragma once
// Lowering of scatters that know the order of their updates, for GPUs.

#include "compiler/program.h"

namespace cermet::compiler {

// Whether a kernel is one.
bool is_sorted_scatter(const Kernel& kernel);

LoweredKernel lower_scatter(const Kernel& kernel, const KernelProgram& program,
                            const Target& target);

}  // namespace cermet::compiler
