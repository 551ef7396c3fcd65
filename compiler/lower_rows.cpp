// A kernel without Contract becomes one loop over units of the parallel range:
//
//   lanes along an inner axis   A unit is a row. Reductions keep a few vectors of partial results,
//                               which are combined at the end of the row in a fixed order.
//   lanes along an outer axis   A unit is one row of the other outer axes with a tile of
//                               consecutive columns. Each lane is a row of its own, so reductions
//                               need no combining. This is how sum over axis 0, scans and scatters
//                               run, and every map.
//
// A row is walked once for each stage of its plan (row_plan.h); the loops carry the partial results
// of what the stage accumulates (row_partials.h). This file writes those loops, from the unit down
// to the element.
//
// The end of a row or tile is one masked step where the target has masked memory, otherwise a
// scalar loop.

#include "compiler/lower_rows.h"

#include <functional>

#include "compiler/elementwise.h"
#include "compiler/lower_scope.h"
#include "compiler/row_partials.h"
#include "compiler/row_plan.h"

namespace cermet::compiler {
namespace {

using loops::Builder;
using loops::Ref;
using Kind = Expr::Kind;

constexpr int64_t run_steps = 256;  // terms that one accumulator of a long sum takes

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
  using Index = std::vector<Ref>;  // by axis of the space
  using Loop = std::function<std::vector<Ref>(Ref lower, Ref upper, std::vector<Ref> carried)>;

  void emit_unit(Ref unit, Ref chunks);
  void emit_tile(Index at, Ref lower, Ref upper);
  void emit_rows(std::vector<Scope> rows);
  void emit_stage(int stage, std::vector<Scope>& rows);
  std::vector<Ref> emit_inner(int stage, const std::vector<Scope>& rows, Index at, size_t depth,
                              std::vector<Ref> carried);
  std::vector<Ref> emit_vectors(int stage, const std::vector<Scope>& rows, const Index& at,
                                std::vector<Ref> carried);
  void emit_elements(int stage, Scope& element, size_t copy, std::span<Ref> partials);

  bool sums_in_runs(int stage) const;
  std::vector<Ref> in_runs(int stage, const std::vector<Scope>& rows, Ref upper, int64_t length,
                           std::span<const Ref> carried, const Loop& loop);

  Ref element(int stage, Scope& scope, int32_t expr, size_t copy);
  Ref scratch_position(const Scope& scope, size_t copy);

  const Kernel& kernel_;
  const RowPlan plan_;
  LoweredKernel& out_;
  KernelWriter w_;
  Builder& b_;
  RowPartials partials_;
  std::vector<int32_t> scratch_of_;  // by expression: its scratch buffer, or -1
  std::vector<int> kept_in_;         // by expression: the stage that fills scratch
};

void RowLowering::run() {
  scratch_of_.assign(kernel_.exprs.size(), -1);
  kept_in_.assign(kernel_.exprs.size(), 0);
  for (const RowPlan::Kept& kept : plan_.kept) {
    const Ref offset = w_.integer("scratch", kept.expr, kept.offset);
    kept_in_[size_t(kept.expr)] = kept.stage;
    scratch_of_[size_t(kept.expr)] =
        w_.scratch_buffer(kernel_.exprs[size_t(kept.expr)].dtype, offset);
  }
  out_.scratch_bytes = plan_.scratch_bytes;
  out_.range = plan_.range;
  out_.grain = plan_.grain;
  // Expressions that are the same for the whole kernel: their loads happen once, before everything.
  const Ref chunks = w_.integer("chunks", plan_.vector_axis, plan_.chunks);
  b_.for_loop(w_.begin(), w_.end(), 1, [&](Ref unit) { emit_unit(unit, chunks); });
}

void RowLowering::emit_unit(Ref unit, Ref chunks) {
  Index at(size_t(w_.rank()), b_.index(0));
  Ref rest = plan_.along_outer() ? b_.div(unit, chunks) : unit;
  int64_t first = 0;
  while (first < plan_.outer && first == plan_.vector_axis) ++first;
  for (int64_t d = plan_.outer; d-- > 0;) {
    if (d == plan_.vector_axis) continue;
    at[size_t(d)] = d == first ? rest : b_.rem(rest, w_.extent(d));
    if (d != first) rest = b_.div(rest, w_.extent(d));
  }
  if (!plan_.along_outer()) {
    Scope row{at, 1, {}, std::vector<Ref>(kernel_.exprs.size())};
    return emit_rows({row});
  }
  const Ref columns = w_.integer("unit columns", 0, plan_.columns);
  const Ref lower = b_.mul(b_.rem(unit, chunks), columns);
  emit_tile(at, lower, b_.min_index(b_.add(lower, columns), w_.extent(plan_.vector_axis)));
}

// Columns [lower, upper) of an outer vector axis: whole groups of vectors, then what is left.
void RowLowering::emit_tile(Index at, Ref lower, Ref upper) {
  const auto rows_at = [&](Ref column, int copies, int lanes, bool masked) {
    std::vector<Scope> rows;
    for (int c = 0; c < copies; ++c) {
      Scope row{at, lanes, {}, std::vector<Ref>(kernel_.exprs.size())};
      row.index[size_t(plan_.vector_axis)] = b_.add(column, b_.index(int64_t(c) * lanes));
      if (masked) row.mask = b_.lt(b_.ramp(row.index[size_t(plan_.vector_axis)], lanes), upper);
      rows.push_back(std::move(row));
    }
    emit_rows(std::move(rows));
  };
  if (plan_.masks && plan_.copies == 1)
    return b_.for_loop(lower, upper, plan_.lanes, [&](Ref v) { rows_at(v, 1, plan_.lanes, true); });
  const int64_t step = int64_t(plan_.lanes) * plan_.copies;
  const Ref whole = b_.mul(b_.div(b_.sub(upper, lower), b_.index(step)), b_.index(step));
  const Ref middle = b_.add(lower, whole);
  b_.for_loop(lower, middle, step, [&](Ref v) { rows_at(v, plan_.copies, plan_.lanes, false); });
  if (plan_.masks)
    b_.for_loop(middle, upper, plan_.lanes, [&](Ref v) { rows_at(v, 1, plan_.lanes, true); });
  else if (plan_.lanes > 1)
    b_.for_loop(middle, upper, 1, [&](Ref v) { rows_at(v, 1, 1, false); });
}

void RowLowering::emit_rows(std::vector<Scope> rows) {
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

void RowLowering::emit_stage(int stage, std::vector<Scope>& rows) {
  bool stores = false;
  for (int s : plan_.store_stage) stores |= s == stage;
  if (plan_.accumulated[size_t(stage)].empty() && !stores) return;
  std::vector<Ref> carried = partials_.starts(stage, rows);
  carried = emit_inner(stage, rows, rows[0].index, 0, std::move(carried));
  partials_.finish(stage, rows, std::move(carried));
}

std::vector<Ref> RowLowering::emit_inner(int stage, const std::vector<Scope>& rows, Index at,
                                         size_t depth, std::vector<Ref> carried) {
  if (depth == plan_.nesting.size()) {
    const size_t count = partials_.per_set(stage);
    for (size_t c = 0; c < rows.size(); ++c) {
      Scope element = rows[c];
      for (int64_t d = plan_.outer; d < w_.rank(); ++d) element.index[size_t(d)] = at[size_t(d)];
      emit_elements(stage, element, c, std::span(carried).subspan(c * count, count));
    }
    return carried;
  }
  const int64_t axis = plan_.nesting[depth];
  if (axis == plan_.vector_axis) return emit_vectors(stage, rows, at, std::move(carried));
  const Ref extent = w_.extent(axis);
  const int64_t below = plan_.steps_below(depth);
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
  const int64_t step = int64_t(plan_.lanes) * plan_.copies;
  const bool masked = plan_.masks && plan_.copies == 1;  // one loop does it all
  const Ref middle = masked ? extent : b_.mul(b_.div(extent, b_.index(step)), b_.index(step));
  const Loop main = [&](Ref lower, Ref upper, std::vector<Ref> start) {
    return vectors(lower, upper, plan_.copies, plan_.lanes, masked, 0, std::move(start));
  };
  if (sums_in_runs(stage) && plan_.space[size_t(plan_.vector_axis)] > 2 * run_steps * step)
    carried = in_runs(stage, rows, middle, run_steps * step, carried, main);
  else
    carried = main(b_.index(0), middle, std::move(carried));
  if (masked) return carried;
  if (plan_.masks) return vectors(middle, extent, 1, plan_.lanes, true, 0, std::move(carried));
  if (plan_.lanes == 1) return carried;
  return vectors(middle, extent, 1, 1, false, size_t(plan_.copies), std::move(carried));
}

// Everything that happens at one element: partial results go on, scans get their value, stores are
// made.
void RowLowering::emit_elements(int stage, Scope& scope, size_t copy, std::span<Ref> partials) {
  size_t next = 0;
  for (int32_t i : plan_.accumulated[size_t(stage)]) {
    const Expr& e = kernel_.exprs[size_t(i)];
    const Ref value = b_.splat(element(stage, scope, e.operands[0], copy), scope.lanes);
    const auto keep = [&](Ref fresh, Ref old) {  // a masked lane along the inner axis adds nothing
      return scope.mask && plan_.along_inner() ? b_.select(scope.mask, fresh, old) : fresh;
    };
    Ref& partial = partials[next++];
    if (e.kind == Kind::ArgReduce) {
      Ref& position = partials[next++];
      const int64_t axis = plan_.outer;
      const Ref here = axis == plan_.vector_axis && scope.lanes > 1
                           ? b_.ramp(scope.index[size_t(axis)], scope.lanes)
                           : b_.splat(scope.index[size_t(axis)], scope.lanes);
      const Partial fresh = merge(b_, e, {partial, position}, {value, here});
      partial = keep(fresh.value, partial), position = keep(fresh.position, position);
    } else {
      Ref fresh;
      if (e.kind == Kind::Contract) {
        const Ref other = b_.splat(element(stage, scope, e.operands[1], copy), scope.lanes);
        fresh = multiply_add(b_, value, other, partial);
      } else {
        fresh = combine(b_, e.combine, partial, value);
      }
      if (e.kind == Kind::Scan) {
        Ref result = e.exclusive ? partial : fresh;
        if (e.exclusive && e.combine == ir::Combine::Sum && is_float(e.dtype)) {
          // Sums start from -0.0, so that those of -0.0 are -0.0; before the first element is 0.
          const Ref start = e.reverse ? b_.sub(w_.extent(plan_.outer), b_.index(1)) : b_.index(0);
          result = b_.select(b_.eq(scope.index[size_t(plan_.outer)], start),
                             elementwise::zero(b_, result), result);
        }
        scope.values[size_t(i)] = w_.round(result, e.dtype);
        if (scratch_of_[size_t(i)] >= 0)
          w_.store_held(scratch_of_[size_t(i)], e.dtype, scratch_position(scope, copy),
                        scope.values[size_t(i)], {});
      }
      partial = keep(fresh, partial);
    }
  }
  for (size_t s = 0; s < kernel_.stores.size(); ++s) {
    if (plan_.store_stage[s] != stage) continue;
    element(stage, scope, kernel_.stores[s].value, copy);
    if (kernel_.stores[s].index >= 0) element(stage, scope, kernel_.stores[s].index, copy);
    w_.store(scope, kernel_.stores[s]);
  }
}

// The value of an element in a stage: from scratch if an earlier stage kept it, else computed, and
// kept if later stages want it. Operands first, with a list instead of recursion.
Ref RowLowering::element(int stage, Scope& scope, int32_t root, size_t copy) {
  std::vector<int32_t> pending{root};
  while (!pending.empty()) {
    const int32_t i = pending.back();
    Ref& value = scope.values[size_t(i)];
    const Expr& e = kernel_.exprs[size_t(i)];
    const int32_t scratch = scratch_of_[size_t(i)];
    const size_t waiting = pending.size();
    if (!value && scratch >= 0 && stage > kept_in_[size_t(i)]) {
      value = w_.load_held(scratch, e.dtype, scratch_position(scope, copy), scope.lanes, {});
    } else if (!value) {
      for (int32_t operand : e.operands)
        if (!scope.values[size_t(operand)]) pending.push_back(operand);
      if (pending.size() > waiting) continue;
      w_.evaluate(scope, i);
      if (scratch >= 0)
        w_.store_held(scratch, e.dtype, scratch_position(scope, copy),
                      b_.splat(scope.values[size_t(i)], scope.lanes), {});
    }
    pending.pop_back();
  }
  return scope.values[size_t(root)];
}

// Row-major over the nesting order, so that an inner vector axis is contiguous; with lanes along an
// outer axis, the lanes in flight come last.
Ref RowLowering::scratch_position(const Scope& scope, size_t copy) {
  Ref position = b_.index(0);
  std::vector<int64_t> strides(plan_.nesting.size(),
                               plan_.along_outer() ? int64_t(plan_.lanes) * plan_.copies : 1);
  for (size_t i = plan_.nesting.size(); i-- > 1;)
    strides[i - 1] = strides[i] * plan_.space[size_t(plan_.nesting[i])];
  for (size_t i = 0; i < plan_.nesting.size(); ++i) {
    const Ref step = w_.integer("scratch stride", plan_.nesting[i], strides[i]);
    position = b_.add(position, b_.mul(scope.index[size_t(plan_.nesting[i])], step));
  }
  return plan_.along_outer() ? b_.add(position, b_.index(int64_t(copy) * plan_.lanes)) : position;
}

}  // namespace

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
