// Reductions over pairs (pair_plan.h): a unit packs what its columns read, then does its rows.

#include "compiler/row_lowering.h"

namespace cermet::compiler {

using loops::Ref;

void RowLowering::emit_pairs(Ref block, Ref lower, Ref upper) {
  first_column_ = lower;
  for (int32_t load : plan_.packed) pack(load, lower, upper);
  int64_t count = 1;
  for (int64_t d = 0; d < plan_.outer; ++d)
    if (d != plan_.vector_axis) count *= plan_.space[size_t(d)];
  const Ref rows = w_.integer("pair rows", 0, plan_.pair_rows);
  const Ref first = b_.mul(block, rows);
  const Ref end = b_.min_index(b_.add(first, rows), w_.integer("all pair rows", 0, count));
  b_.for_loop(first, end, 1, [&](Ref row) {
    for_columns(index_of(row), lower, upper, [&](Rows columns) { emit_rows(std::move(columns)); });
  });
}

// It varies along no axis of the rows, so any row is as good.
void RowLowering::pack(int32_t load, Ref lower, Ref upper) {
  const std::function<void(Index, size_t)> loops = [&](Index at, size_t depth) {
    if (depth < plan_.nesting.size())
      return b_.for_loop(b_.index(0), w_.extent(plan_.nesting[depth]), 1, [&](Ref i) {
        at[size_t(plan_.nesting[depth])] = i;
        loops(at, depth + 1);
      });
    for_columns(at, lower, upper, [&](Rows rows) {
      for (size_t c = 0; c < rows.size(); ++c) {
        const Ref value = b_.splat(w_.evaluate(rows[c], load), rows[c].lanes);
        w_.store_held(scratch_of_[size_t(load)], kernel_.exprs[size_t(load)].dtype,
                      scratch_position(rows[c], c), value, {});
      }
    });
  };
  loops(Index(size_t(w_.rank()), b_.index(0)), 0);
}

}  // namespace cermet::compiler
