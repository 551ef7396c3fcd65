#pragma once
// The writer of a row program's loops, whose functions are in three files: lower_rows.cpp from the
// unit of work down to the innermost loop, lower_columns.cpp for columns that advance together,
// row_elements.cpp for what happens at one element.

#include <functional>

#include "compiler/elementwise.h"
#include "compiler/lower_scope.h"
#include "compiler/row_partials.h"
#include "compiler/row_plan.h"

namespace cermet::compiler {

class RowLowering {
 public:
  RowLowering(const Kernel& kernel, const KernelProgram& program, const Target& target,
              FunctionFrame& frame)
      : kernel_(kernel),
        plan_(plan_rows(kernel, program, target)),
        out_(frame.out),
        w_(kernel, program, frame),
        b_(w_.builder()),
        partials_(w_, plan_) {
    w_.set_vector_axis(plan_.vector_axis);
  }

  void run();

 private:
  using Builder = loops::Builder;
  using Ref = loops::Ref;
  using Index = std::vector<Ref>;   // by axis of the space
  using Rows = std::vector<Scope>;  // one for each vector in flight, or one row
  using Loop = std::function<std::vector<Ref>(Ref lower, Ref upper, std::vector<Ref> carried)>;

  void emit_unit(Ref unit, Ref chunks);
  void for_columns(const Index& at, Ref lower, Ref upper, const std::function<void(Rows)>& body);
  void emit_rows(Rows rows);
  void emit_stage(int stage, std::vector<Scope>& rows);
  std::vector<Ref> emit_inner(int stage, const std::vector<Scope>& rows, Index at, size_t depth,
                              std::vector<Ref> carried);
  std::vector<Ref> emit_vectors(int stage, const std::vector<Scope>& rows, const Index& at,
                                std::vector<Ref> carried);
  Index index_of(Ref row);
  bool does_nothing(int stage) const;
  void emit_elements(int stage, Scope& element, size_t copy, std::span<Ref> partials);

  bool sums_in_runs(int stage) const;
  std::vector<Ref> in_runs(int stage, const std::vector<Scope>& rows, Ref upper, int64_t length,
                           std::span<const Ref> carried, const Loop& loop);

  // Reductions over pairs.
  void emit_pairs(Ref block, Ref lower, Ref upper);
  void pack(int32_t load, Ref lower, Ref upper);

  // Columns that advance together.
  void emit_columns(const Index& at, Ref lower, Ref upper);
  void enter_stage(int stage, Rows& rows);
  void walk_stage(int stage, const Index& at, Ref lower, Ref upper, size_t depth);
  void emit_block(int stage, const Index& at, Ref first, Ref end, Rows rows);
  Ref recall(int32_t expr, const Scope& row);
  void keep(int32_t expr, Scope& row);
  Ref column_position(const Scope& row);
  std::vector<Ref> load_totals(int stage, const Rows& rows);
  void store_totals(int stage, const Rows& rows, std::span<const Ref> partials);

  void prefetch_next(const Scope& element);
  Ref element(int stage, Scope& scope, int32_t expr, size_t copy);
  Ref scratch_position(const Scope& scope, size_t copy);

  const Kernel& kernel_;
  const RowPlan plan_;
  LoweredKernel& out_;
  KernelWriter w_;
  Builder& b_;
  RowPartials partials_;
  std::vector<int32_t> scratch_of_;   // by expression: its scratch buffer, or -1
  std::vector<int> kept_in_;          // by expression: the stage that fills scratch
  Index next_row_;                    // the row of the next unit, where the plan has loads ahead
  Ref first_column_;                  // of the columns that advance together
  std::vector<int32_t> row_scratch_;  // by expression: scratch of a value that rows keep, or -1
  std::vector<std::vector<int32_t>> totals_;  // by stage: scratch of its partial results
};

}  // namespace cermet::compiler
