// A kernel without Contract becomes one loop over units of the parallel range:
//
//   lanes along an inner axis   A unit is a row. Reductions keep a few vectors of partial results,
//                               which are combined at the end of the row in a fixed order.
//   lanes along an outer axis   A unit is one row of the other outer axes with a tile of
//                               consecutive columns. Each lane is a row of its own, so reductions
//                               need no combining. This is how sum over axis 0, scans and scatters
//                               run, and every map. Long reductions advance in all columns of a
//                               tile together (lower_columns.cpp).
//
// A row is walked once for each stage of its plan (row_plan.h); the loops carry the partial results
// of what the stage accumulates (row_partials.h). This file writes those loops, from the unit down
// to the element.
//
// The end of a row or tile is one masked step where the target has masked memory, otherwise a
// scalar loop.

#include "compiler/lower_rows.h"

#include "compiler/row_lowering.h"

namespace cermet::compiler {
using loops::Ref;
using Kind = Expr::Kind;

namespace {

constexpr int64_t run_steps = 256;  // terms that one accumulator of a long sum takes

}  // namespace

void RowLowering::run() {
  scratch_of_.assign(kernel_.exprs.size(), -1);
  kept_in_.assign(kernel_.exprs.size(), 0);
  for (const RowPlan::Kept& kept : plan_.kept) {
    const Ref offset = w_.integer("scratch", kept.expr, kept.offset);
    kept_in_[size_t(kept.expr)] = kept.stage;
    scratch_of_[size_t(kept.expr)] =
        w_.scratch_buffer(kernel_.exprs[size_t(kept.expr)].dtype, offset);
  }
  for (int32_t buffer : plan_.streamed) w_.stream(buffer);
  w_.allow_overwrites();
  out_.scratch_bytes = plan_.scratch_bytes;
  out_.range = plan_.range;
  out_.grain = plan_.grain;
  // Expressions that are the same for the whole kernel: their loads happen once, before everything.
  // Of a single outer axis the unit is the chunk, also where there is but one: small and large
  // arrays have the same code.
  const Ref chunks = plan_.outer == 1       ? Ref()
                     : plan_.packed.empty() ? w_.integer("chunks", plan_.vector_axis, plan_.chunks)
                                            : w_.counted("chunks", plan_.vector_axis, plan_.chunks);
  b_.for_loop(w_.begin(), w_.end(), 1, [&](Ref unit) { emit_unit(unit, chunks); });
}

// A row by its number.
RowLowering::Index RowLowering::index_of(Ref rest) {
  Index at(size_t(w_.rank()), b_.index(0));
  int64_t first = 0;
  while (first < plan_.outer && first == plan_.vector_axis) ++first;
  for (int64_t d = plan_.outer; d-- > 0;) {
    if (d == plan_.vector_axis) continue;
    at[size_t(d)] = d == first ? rest : b_.rem(rest, w_.extent(d));
    if (d != first) rest = b_.div(rest, w_.extent(d));
  }
  return at;
}

void RowLowering::emit_unit(Ref unit, Ref chunks) {
  if (!plan_.along_outer()) {
    Scope row{index_of(unit), 1, {}, std::vector<Ref>(kernel_.exprs.size())};
    next_row_ = plan_.ahead.empty() ? Index() : index_of(b_.add(unit, b_.index(1)));
    return emit_rows({row});
  }
  const Ref columns = w_.integer("unit columns", 0, plan_.columns);
  const Ref chunk = chunks ? b_.rem(unit, chunks) : unit;
  const Ref lower = b_.mul(chunk, columns);
  const Ref upper = b_.min_index(b_.add(lower, columns), w_.extent(plan_.vector_axis));
  const Ref rest = chunks ? b_.div(unit, chunks) : unit;
  if (!plan_.packed.empty()) return emit_pairs(rest, lower, upper);
  const Index at = index_of(rest);
  if (plan_.block > 0) return emit_columns(at, lower, upper);
  for_columns(at, lower, upper, [&](Rows rows) { emit_rows(std::move(rows)); });
}

// Columns [lower, upper) of an outer vector axis: whole groups of vectors, then what is left.
void RowLowering::for_columns(const Index& at, Ref lower, Ref upper,
                              const std::function<void(Rows)>& body) {
  const auto rows_at = [&](Ref column, int copies, int lanes, bool masked) {
    Rows rows;
    for (int c = 0; c < copies; ++c) {
      Scope row{at, lanes, {}, std::vector<Ref>(kernel_.exprs.size())};
      row.index[size_t(plan_.vector_axis)] = b_.add(column, b_.index(int64_t(c) * lanes));
      if (masked) row.mask = b_.lt(b_.ramp(row.index[size_t(plan_.vector_axis)], lanes), upper);
      rows.push_back(std::move(row));
    }
    body(std::move(rows));
  };
  const int64_t step = int64_t(plan_.lanes) * plan_.copies;
  const bool masked = !plan_.whole, by_vectors = plan_.whole || plan_.masks;
  // Maps have one loop: more code would take longer to compile.
  if (by_vectors && (plan_.copies == 1 || kernel_.inner.empty()))
    return b_.for_loop(lower, upper, step,
                       [&](Ref v) { rows_at(v, plan_.copies, plan_.lanes, masked); });
  const Ref whole = b_.mul(b_.div(b_.sub(upper, lower), b_.index(step)), b_.index(step));
  const Ref middle = b_.add(lower, whole);
  b_.for_loop(lower, middle, step, [&](Ref v) { rows_at(v, plan_.copies, plan_.lanes, false); });
  if (by_vectors)
    b_.for_loop(middle, upper, plan_.lanes, [&](Ref v) { rows_at(v, 1, plan_.lanes, masked); });
  else if (plan_.lanes > 1)
    b_.for_loop(middle, upper, 1, [&](Ref v) { rows_at(v, 1, 1, false); });
}

void RowLowering::emit_rows(Rows rows) {
  for (int stage = 0; stage < plan_.stages; ++stage) {
    for (size_t i = 0; i < kernel_.exprs.size(); ++i)
      if (!kernel_.exprs[i].inner && plan_.stage_of[i] == stage && !accumulates(kernel_.exprs[i]))
        for (Scope& row : rows) w_.evaluate(row, int32_t(i));
    emit_stage(stage, rows);
  }
  for (size_t s = 0; s < kernel_.stores.size(); ++s)
    if (plan_.store_stage[s] < 0)
      for (Scope& row : rows) w_.store(row, kernel_.stores[s]);
}

// Whether a long row is summed in runs whose sums are then added: the error of a sum grows with the
// number of terms that one accumulator takes. Scans need one accumulator.
bool RowLowering::sums_in_runs(int stage) const {
  bool sums = false;
  for (int32_t i : plan_.accumulated[size_t(stage)]) {
    const Expr& e = kernel_.exprs[size_t(i)];
    if (e.kind == Kind::Scan) return false;
    sums |= is_float(e.dtype) && e.kind != Kind::ArgReduce && combine_of(e) == ir::Combine::Sum;
  }
  return sums;
}

// The loop from 0 to upper in runs of a length, each with partial results of its own.
std::vector<Ref> RowLowering::in_runs(int stage, const std::vector<Scope>& rows, Ref upper,
                                      int64_t length, std::span<const Ref> carried,
                                      const Loop& loop) {
  return b_.for_loop(
      b_.index(0), upper, length, carried, [&](Ref first, std::span<const Ref> inside) {
        const Ref end = b_.min_index(b_.add(first, b_.index(length)), upper);
        return partials_.merge_all(stage, inside, loop(first, end, partials_.starts(stage, rows)));
      });
}

bool RowLowering::does_nothing(int stage) const {
  for (int s : plan_.store_stage)
    if (s == stage) return false;
  return plan_.accumulated[size_t(stage)].empty();
}

void RowLowering::emit_stage(int stage, std::vector<Scope>& rows) {
  if (does_nothing(stage)) return;
  std::vector<Ref> carried = partials_.starts(stage, rows);
  carried = emit_inner(stage, rows, rows[0].index, 0, std::move(carried));
  partials_.finish(stage, rows, std::move(carried));
}

std::vector<Ref> RowLowering::emit_inner(int stage, const std::vector<Scope>& rows, Index at,
                                         size_t depth, std::vector<Ref> carried) {
  if (depth == plan_.nesting.size()) {
    const size_t count = partials_.per_set(stage);
    std::vector<Ref> first;
    // What the first vector computed that is the same for all lanes is so for the others, too.
    const auto share_scalars = [&](const std::vector<Ref>& from, Scope& to) {
      for (size_t i = 0; i < from.size(); ++i)
        if (from[i] && !to.values[i] && b_.lanes(from[i]) == 1) to.values[i] = from[i];
    };
    for (size_t c = 0; c < rows.size(); ++c) {
      Scope element = rows[c];
      for (int64_t d = plan_.outer; d < w_.rank(); ++d) element.index[size_t(d)] = at[size_t(d)];
      share_scalars(first, element);
      emit_elements(stage, element, c, std::span(carried).subspan(c * count, count));
      if (c == 0) first = std::move(element.values);
    }
    return carried;
  }
  const int64_t axis = plan_.nesting[depth];
  if (axis == plan_.vector_axis) return emit_vectors(stage, rows, at, std::move(carried));
  const Ref extent = w_.extent(axis);
  const int64_t below = plan_.steps_below(stage, depth);
  const bool runs = sums_in_runs(stage), fresh = runs && below >= 32;
  const Loop loop = [&](Ref lower, Ref upper, std::vector<Ref> start) {
    return b_.for_loop(lower, upper, 1, start, [&](Ref i, std::span<const Ref> inside) {
      const Ref last = b_.sub(extent, b_.index(1));
      at[size_t(axis)] = plan_.reversed[size_t(stage)] ? b_.sub(last, i) : i;
      if (!fresh) return emit_inner(stage, rows, at, depth + 1, {inside.begin(), inside.end()});
      return partials_.merge_all(
          stage, inside, emit_inner(stage, rows, at, depth + 1, partials_.starts(stage, rows)));
    });
  };
  const int64_t steps = fresh ? 1 : below;
  if (runs && plan_.space[size_t(axis)] * steps > 2 * run_steps)
    return in_runs(stage, rows, extent, std::max<int64_t>(2, run_steps / steps), carried, loop);
  return loop(b_.index(0), extent, std::move(carried));
}

// The innermost loop along an inner vector axis.
std::vector<Ref> RowLowering::emit_vectors(int stage, const std::vector<Scope>& rows,
                                           const Index& at, std::vector<Ref> carried) {
  const Ref extent = w_.extent(plan_.vector_axis);
  const size_t count = partials_.per_set(stage);
  const auto vectors = [&](Ref lower, Ref upper, int copies, int lanes, bool masked,
                           size_t first_set, std::vector<Ref> start) {
    return b_.for_loop(
        lower, upper, int64_t(lanes) * copies, start, [&](Ref v, std::span<const Ref> inside) {
          std::vector<Ref> next(inside.begin(), inside.end());
          for (int c = 0; c < copies; ++c) {
            Scope element = rows[0];
            element.index = at;
            element.lanes = lanes;
            Ref& index = element.index[size_t(plan_.vector_axis)];
            index = b_.add(v, b_.index(int64_t(c) * lanes));
            if (masked) element.mask = b_.lt(b_.ramp(index, lanes), extent);
            emit_elements(stage, element, size_t(c),
                          std::span(next).subspan((first_set + size_t(c)) * count, count));
          }
          return next;
        });
  };
  const int flight = plan_.copies_in(stage);
  const int64_t step = int64_t(plan_.lanes) * flight;
  const bool masked = plan_.masks && flight == 1 && !plan_.whole;  // one loop does it all
  const Ref middle =
      masked || plan_.whole ? extent : b_.mul(b_.div(extent, b_.index(step)), b_.index(step));
  const Loop main = [&](Ref lower, Ref upper, std::vector<Ref> start) {
    return vectors(lower, upper, flight, plan_.lanes, masked, 0, std::move(start));
  };
  if (sums_in_runs(stage) && plan_.space[size_t(plan_.vector_axis)] > 2 * run_steps * step)
    carried = in_runs(stage, rows, middle, run_steps * step, carried, main);
  else
    carried = main(b_.index(0), middle, std::move(carried));
  if (masked || plan_.whole) return carried;
  if (plan_.masks) return vectors(middle, extent, 1, plan_.lanes, true, 0, std::move(carried));
  if (plan_.lanes == 1) return carried;
  return vectors(middle, extent, 1, 1, false, size_t(flight), std::move(carried));
}

LoweredKernel lower_rows(const Kernel& kernel, const KernelProgram& program, const Target& target) {
  LoweredKernel out;
  out.function.name = kernel.name;
  FunctionFrame frame(out, target);
  write_rows(kernel, program, target, frame);
  return out;
}

void write_rows(const Kernel& kernel, const KernelProgram& program, const Target& target,
                FunctionFrame& frame) {
  RowLowering(kernel, program, target, frame).run();
}

}  // namespace cermet::compiler
