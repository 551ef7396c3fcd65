#pragma once
// How an operand lies in memory, for plans of GPUs: along which axis it is read,
// and how many elements at once.

#include "compiler/kernels.h"

namespace cermet::compiler {

// The load below an operand that has the most to read; null: there is none.
const Expr* main_load(const Kernel& kernel, const KernelProgram& program, int32_t operand);

// Whether neighbours along the inner axis are closer to each other than those along the outer one.
bool closer_along(const Expr& load, int64_t inner, int64_t outer);

// How many neighbours along `axis` can be read at once, a power of two of at most `most`: they
// follow each other, and whole vectors begin at multiples of that.
int whole_lanes(const ir::StridedMap& map, int64_t axis, int64_t most);
int whole_lanes(const Expr& load, int64_t axis, int64_t most);  // 1 if a level hides addresses

// Whether whole vectors along `axis` of what this map reaches begin at multiples of the lanes.
bool aligned_along(const ir::StridedMap& map, size_t axis, int64_t lanes);

}  // namespace cermet::compiler
