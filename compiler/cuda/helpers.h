#pragma once
// The functions that kernels call out of line (loops::Helper), as device functions: the same
// formulas that the host's helpers compute, so that both give the same bits.

#include <span>
#include <string>
#include <string_view>

#include "compiler/loops.h"

namespace cermet::compiler {

// The name of a helper in CUDA C; it takes and returns doubles.
std::string_view cuda_helper_name(loops::Helper helper);

// Definitions of the helpers that these functions call.
std::string cuda_helpers(std::span<const loops::Function* const> functions);

}  // namespace cermet::compiler
