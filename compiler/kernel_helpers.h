#pragma once
// The functions that kernels call through KernelArguments::helpers: rare cases that are too long to
// inline.

#include <span>

namespace cermet::compiler {

// By loops::Helper. The functions take and return doubles, and give the same bits on every machine.
std::span<const void* const> kernel_helpers();

}  // namespace cermet::compiler
