#pragma once
// Steps of plan_rows() for columns that advance together.

#include "compiler/row_plan.h"

namespace cermet::compiler {

// Sets block, columns, row_uses, row_kept; block stays 0 where columns go one after another.
void choose_columns(const Kernel& kernel, const KernelProgram& program, const Target& target,
                    RowPlan& plan);

// Places for totals and row_kept, after what plan_rows() keeps of elements.
void plan_column_scratch(const Kernel& kernel, RowPlan& plan);

}  // namespace cermet::compiler
