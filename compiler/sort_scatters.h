#pragma once
// Scatters with many updates in few rows, made parallel for GPUs.

#include "compiler/kernels.h"

namespace cermet::compiler {

// Gives such scatters the order of their updates by destination (KernelStore::order): a kernel that
// writes the indices out, unless they lie in a buffer as they are, and a stable sort are put before
// the scatter. What the scatter means does not change.
void sort_scatters(KernelProgram& program);

}  // namespace cermet::compiler
