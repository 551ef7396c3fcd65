#pragma once
// What kernels are looked up by in a process that knows them: the function as packed words. A plan
// for new extents looks up every kernel again, and making and comparing texts (loops_text.h, what
// kernels are called on disk) would take as long as making the functions did.

#include <string>

#include "compiler/loops.h"

namespace cermet::compiler::loops {

// All of the function but its name, as bytes that mean something in this process only. Functions
// with equal keys have equal texts.
std::string key_of(const Function& function);

}  // namespace cermet::compiler::loops
