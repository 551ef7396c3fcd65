#pragma once
// Which integers of a kernel are indices, and how wide they must be.
//
// Index arithmetic in 64 bits costs a GPU two to four times as many instructions as in 32, so a
// kernel is printed with 32-bit indices where this shape is proven to need no more: by intervals,
// from the values of the integer arguments and the ranges of threads, blocks and loops.

#include <span>
#include <vector>

#include "compiler/loops.h"

namespace cermet::compiler {

// By instruction: integers that are computed from constants, arguments, thread numbers and loop
// variables alone. What is loaded, or computed from what was loaded, is not an index.
std::vector<bool> index_values(const loops::Function& function);

// 32 or 64 if every index of the function stays within so many bits (signed) when its arguments are
// `integers` and it is launched with at most `blocks` blocks; else 0.
int index_bits(const loops::Function& function, std::span<const int64_t> integers, int64_t blocks);

}  // namespace cermet::compiler
