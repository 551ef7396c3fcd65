// Columns that advance together.
//
// A reduction over the first axis of memory, as in a sum over axis 0, batch norm or softmax over
// dim 0, must not walk down one narrow strip of columns after another: each step would be in
// another page. Instead a unit takes a tile of columns and reads a block of elements of all of
// them, then the next block:
//
//   for each stage
//     for each column      the reductions of the stage before are known: values of rows
//     for each block
//       for each column    partial results of the block, in registers; added to the totals
//
// What registers hold when columns are done one after another (row_plan.h: totals, row_kept) lies
// in scratch memory between two visits of a column. Sums of blocks are added to the total, so the
// error of a sum grows with the length of a block and the number of blocks, not with their product.

#include "compiler/row_lowering.h"

namespace cermet::compiler {

using loops::Ref;

void RowLowering::emit_columns(const Index& at, Ref lower, Ref upper) {
  first_column_ = lower;
  row_scratch_.assign(kernel_.exprs.size(), -1);
  const auto scratch = [&](DType dtype, int64_t offset) {
    return w_.scratch_buffer(dtype, w_.integer("column scratch", offset, offset));
  };
  for (const RowPlan::RowKept& kept : plan_.row_kept)
    row_scratch_[size_t(kept.expr)] = scratch(kernel_.exprs[size_t(kept.expr)].dtype, kept.offset);
  for (int stage = 0; stage < plan_.stages; ++stage) {
    std::vector<int32_t>& buffers = totals_.emplace_back();
    size_t at_offset = 0;
    for (int32_t i : plan_.accumulated[size_t(stage)]) {
      const Expr& e = kernel_.exprs[size_t(i)];
      const std::vector<int64_t>& offsets = plan_.totals[size_t(stage)];
      buffers.push_back(
          scratch(held(kernel_.exprs[size_t(e.operands[0])].dtype), offsets[at_offset++]));
      if (e.kind == Expr::Kind::ArgReduce)
        buffers.push_back(scratch(DType::I64, offsets[at_offset++]));
    }
  }
  for (int stage = 0; stage < plan_.stages; ++stage) {
    for_columns(at, lower, upper, [&](Rows rows) { enter_stage(stage, rows); });
    if (!does_nothing(stage)) walk_stage(stage, at, lower, upper, 0);
  }
}

// Values of rows that the stage before makes known, stores of rows once all are, and totals before
// the first element.
void RowLowering::enter_stage(int stage, Rows& rows) {
  for (const RowPlan::RowKept& kept : plan_.row_kept)
    if (plan_.stage_of[size_t(kept.expr)] < stage)
      for (Scope& row : rows) row.values[size_t(kept.expr)] = recall(kept.expr, row);
  if (stage > 0) partials_.finish(stage - 1, rows, load_totals(stage - 1, rows));
  for (const RowPlan::RowKept& kept : plan_.row_kept)
    if (plan_.stage_of[size_t(kept.expr)] == stage)
      for (Scope& row : rows) keep(kept.expr, row);
  if (stage + 1 == plan_.stages)
    for (size_t s = 0; s < kernel_.stores.size(); ++s)
      if (plan_.store_stage[s] < 0)
        for (Scope& row : rows) w_.store(row, kernel_.stores[s]);
  store_totals(stage, rows, partials_.starts(stage, rows));
}

// All inner axes but the last are plain loops; the last one goes in blocks.
void RowLowering::walk_stage(int stage, const Index& at, Ref lower, Ref upper, size_t depth) {
  const int64_t axis = plan_.nesting[depth];
  const Ref extent = w_.extent(axis);
  if (depth + 1 < plan_.nesting.size())
    return b_.for_loop(b_.index(0), extent, 1, [&](Ref i) {
      Index inside = at;
      inside[size_t(axis)] = i;
      walk_stage(stage, inside, lower, upper, depth + 1);
    });
  b_.for_loop(b_.index(0), extent, plan_.block, [&](Ref first) {
    const Ref end = b_.min_index(b_.add(first, b_.index(plan_.block)), extent);
    for_columns(at, lower, upper,
                [&](Rows rows) { emit_block(stage, at, first, end, std::move(rows)); });
  });
}

void RowLowering::emit_block(int stage, const Index& at, Ref first, Ref end, Rows rows) {
  for (int32_t i : plan_.row_uses[size_t(stage)])
    for (Scope& row : rows)
      row_scratch_[size_t(i)] >= 0 ? void(row.values[size_t(i)] = recall(i, row))
                                   : void(w_.evaluate(row, i));
  const size_t count = partials_.per_set(stage);
  const std::vector<Ref> partials =
      b_.for_loop(first, end, 1, partials_.starts(stage, rows), [&](Ref i, auto inside) {
        std::vector<Ref> next(inside.begin(), inside.end());
        for (size_t c = 0; c < rows.size(); ++c) {
          Scope element = rows[c];
          for (int64_t axis : plan_.nesting) element.index[size_t(axis)] = at[size_t(axis)];
          element.index[size_t(plan_.nesting.back())] = i;
          emit_elements(stage, element, c, std::span(next).subspan(c * count, count));
        }
        return next;
      });
  if (count > 0)
    store_totals(stage, rows, partials_.merge_all(stage, load_totals(stage, rows), partials));
}

Ref RowLowering::column_position(const Scope& row) {
  return b_.sub(row.index[size_t(plan_.vector_axis)], first_column_);
}

Ref RowLowering::recall(int32_t expr, const Scope& row) {
  return w_.load_held(row_scratch_[size_t(expr)], kernel_.exprs[size_t(expr)].dtype,
                      column_position(row), row.lanes, {});
}

void RowLowering::keep(int32_t expr, Scope& row) {
  const Ref value = b_.splat(w_.evaluate(row, expr), row.lanes);
  w_.store_held(row_scratch_[size_t(expr)], kernel_.exprs[size_t(expr)].dtype, column_position(row),
                value, {});
}

std::vector<Ref> RowLowering::load_totals(int stage, const Rows& rows) {
  std::vector<Ref> out;
  for (const Scope& row : rows)
    for (int32_t buffer : totals_[size_t(stage)])
      out.push_back(b_.load(buffer, column_position(row), row.lanes));
  return out;
}

void RowLowering::store_totals(int stage, const Rows& rows, std::span<const Ref> partials) {
  size_t next = 0;
  for (const Scope& row : rows)
    for (int32_t buffer : totals_[size_t(stage)])
      b_.store(buffer, column_position(row), b_.splat(partials[next++], row.lanes));
}

}  // namespace cermet::compiler
