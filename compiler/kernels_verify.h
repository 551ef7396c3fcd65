#pragma once
// Checks the invariants of the kernel level, those at the top of kernels.h and the types of every
// expression.

#include <string>
#include <vector>

#include "compiler/kernels.h"

namespace cermet::compiler {

// One text for each violation, which names the kernel and the expression; none if the program is
// well formed. Never throws and reads nothing out of bounds, whatever the program holds.
//
// Two conditions are checked in a form that is sufficient, and that all kernels of fuse() have: a
// store reaches no position twice because each of its strides is longer than what the smaller ones
// span; and every element of a buffer is stored because the stores to it have as many elements.
std::vector<std::string> verify_kernels(const KernelProgram& program);

// Throws InternalError that lists all violations and the program's text, if there are any.
void check_kernels(const KernelProgram& program);

}  // namespace cermet::compiler
