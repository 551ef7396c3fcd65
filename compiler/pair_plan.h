#pragma once
// Reductions over pairs, such as the distances of all points of a to all points of b:
//
//   out[i,j] = sum over k of (a[i,k] - b[j,k])^2
//
// Lanes along k would leave a sum of lanes for each pair. They run along j instead, where
// reductions need no combining; b is then read across its rows, so each unit first packs a tile of
// it into scratch memory, j innermost, and uses it for many rows i.

#include "compiler/row_plan.h"

namespace cermet::compiler {

// Sets packed, pair_rows and what belongs to them, if the kernel is of that kind and large enough.
void choose_pairs(const Kernel& kernel, const Target& target, RowPlan& plan);

// Places in scratch memory for what is packed, after everything else.
void plan_packed(const Kernel& kernel, RowPlan& plan);

}  // namespace cermet::compiler
