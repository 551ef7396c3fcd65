#pragma once
// Steps of plan_rows(): whether the columns of a row program advance together (lower_columns.cpp),
// how many of them are a unit of work, and what of them scratch memory holds.

#include "compiler/row_plan.h"

namespace cermet::compiler {

// Decides whether they do. Sets block, columns, row_uses, row_kept; block stays 0 where columns go
// one after another.
void choose_columns(const Kernel& kernel, const KernelProgram& program, const Target& target,
                    RowPlan& plan);

// Places for totals and row_kept, after what plan_rows() keeps of elements.
void plan_column_scratch(const Kernel& kernel, RowPlan& plan);

}  // namespace cermet::compiler
