#pragma once
// Axes of two to four elements, such as the coordinates of points, are written out where that keeps
// a large value from being stored. The step of n bodies is
//
//   apart[i,j,d] = p[j,d] - p[i,d]
//   pull[i,j]    = m[j] / f(sum over d of apart[i,j,d]^2)
//   force[i,d]   = sum over j of apart[i,j,d] * pull[i,j]
//
// A kernel has one set of inner axes, so the sum over d has to become three terms before pull can
// be computed inside the sum over j; and pull must not be computed again for each d, so the three
// rows of i are computed side by side, as reductions of one row with three results.

#include "compiler/kernels.h"

namespace cermet::compiler {

constexpr bool is_short(int64_t extent) { return extent >= 2 && extent <= 4; }
inline constexpr int64_t rows_beside = 16;  // other rows that are left, at least, for lanes

// Reductions over short axes, of pairs of smaller values and needed by other reductions alone,
// become terms.
ir::Graph expand_short_reductions(const ir::Graph& graph);

// The kernel with the rows of a short outer axis side by side, if they share enough.
Kernel join_short_rows(Kernel kernel);

}  // namespace cermet::compiler
