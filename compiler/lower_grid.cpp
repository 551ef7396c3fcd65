// A row program as code of one thread; compiler/grid_plan.h says which rows and slots are its.
//
// A stage walks the thread's slots and accumulates, then the team combines what its threads have,
// in an order that is always the same, and every thread goes on with the result. Threads beyond the
// last row do the last one again and store nothing: so all threads of a block meet at every
// barrier.

#include "compiler/lower_grid.h"

#include <fmt/format.h>

#include "compiler/elementwise.h"
#include "compiler/grid_plan.h"
#include "compiler/index_width.h"
#include "compiler/lower_scope.h"
#include "compiler/row_partials.h"
#include "compiler/stage_needs.h"
#include "compiler/team_scan.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

using loops::Builder;
using loops::Ref;
using Kind = Expr::Kind;

constexpr int64_t warp = 32;
constexpr int64_t most_shared = 32 << 10;  // bytes; one reduction needs no more
constexpr int64_t run_steps = 256;         // terms that a thread adds up one after another

class GridLowering {
 public:
  GridLowering(const Kernel& kernel, const KernelProgram& program, const Target& target,
               LoweredKernel& out)
      : kernel_(kernel),
        out_(out),
        plan_(plan_grid(kernel, program)),
        needs_(stage_needs(kernel, plan_)),
        w_(kernel, program, target, out),
        b_(w_.builder()) {
    w_.set_vector_axis(plan_.vector_axis);
  }
  void run();

 private:
  using Partials = std::vector<Partial>;  // of one stage, in the order of needs_.accumulated
  struct Row {
    Scope scope;
    Ref exists;                    // none: it does
    std::vector<Scope> elements;   // the unrolled slots, which keep their values between stages
    std::vector<Ref> slot_exists;  // by unrolled slot; none: it does
  };

  void emit_unit(Ref unit);
  Row row_at(Ref number);
  void spread(Scope& scope, const std::vector<int64_t>& axes, Ref number);
  void emit_stages(std::vector<Row>& rows);
  void emit_stage(int stage, Row& row);
  Partials walk(int stage, Row& row, Partials partials);
  bool sums_in_runs(int stage) const;
  void emit_slot(int stage, Scope& element, Partials& partials);
  void accumulate(int32_t expr, Scope& element, Partial& partial);
  void scan(int32_t expr, Scope& element, Partial& partial);
  Partial combine_team(const Expr& expr, Partial partial);
  Partial combine_threads(const Expr& expr, Partial partial);
  Partial combine_shared(const Expr& expr, Partial partial, Ref place, Ref first, int64_t step,
                         int64_t count, bool writes);
  int32_t shared(DType dtype, int64_t elements, int64_t more = 0);

  const Kernel& kernel_;
  LoweredKernel& out_;
  const GridPlan plan_;
  const StageNeeds needs_;
  KernelWriter w_;
  Builder& b_;
  Ref team_, part_;          // of this thread
  int64_t shared_used_ = 0;  // bytes of shared memory that hold something
};

void GridLowering::run() {
  out_.function.threads = int32_t(plan_.threads);
  const Ref thread = b_.thread(), team = b_.index(plan_.team), teams = b_.index(plan_.teams());
  if (plan_.team == 1) {
    team_ = thread, part_ = b_.index(0);
  } else if (plan_.along_outer()) {
    team_ = b_.rem(thread, teams), part_ = b_.div(thread, teams);
  } else {
    team_ = b_.div(thread, team), part_ = b_.rem(thread, team);
  }
  const Ref per_block = w_.integer("units of a block", 0, plan_.per_block);
  if (plan_.per_block == 1) {
    emit_unit(b_.block());
  } else {
    const Ref lower = b_.mul(b_.block(), per_block);
    const Ref upper = b_.min_index(b_.add(lower, per_block), w_.integer("units", 0, plan_.units));
    b_.for_loop(lower, upper, 1, [&](Ref unit) {
      emit_unit(unit);
      if (out_.scratch_bytes > 0) b_.barrier();  // before the next unit writes there
    });
  }
  out_.range = plan_.blocks;
  out_.function.index_bits = index_bits(out_.function, out_.integers, plan_.blocks);
}

void GridLowering::emit_unit(Ref unit) {
  std::vector<Row> rows;
  const Ref first = b_.mul(unit, b_.index(plan_.teams() * plan_.copies));
  for (int64_t c = 0; c < plan_.copies; ++c)
    rows.push_back(row_at(b_.add(b_.add(first, b_.index(c * plan_.teams())), team_)));
  emit_stages(rows);
}

// The index along each of these axes, of which the last runs fastest.
void GridLowering::spread(Scope& scope, const std::vector<int64_t>& axes, Ref number) {
  for (size_t a = axes.size(); a-- > 0;) {
    const int64_t axis = axes[a];
    const bool vector = axis == plan_.vector_axis && plan_.lanes > 1;
    const Ref steps = vector ? w_.integer("steps", axis, plan_.steps(axis)) : w_.extent(axis);
    const Ref step = a == 0 ? number : b_.rem(number, steps);
    if (a > 0) number = b_.div(number, steps);
    scope.index[size_t(axis)] = vector ? b_.mul(step, b_.index(plan_.lanes)) : step;
  }
}

GridLowering::Row GridLowering::row_at(Ref number) {
  Row row;
  row.scope.index.assign(size_t(w_.rank()), b_.index(0));
  row.scope.lanes = plan_.along_outer() ? plan_.lanes : 1;
  row.scope.values.assign(kernel_.exprs.size(), Ref());
  if (plan_.rows != plan_.units * plan_.teams() * plan_.copies) {
    const Ref count = w_.integer("rows", 0, plan_.rows);
    row.exists = b_.lt(number, count);
    number = b_.min_index(number, b_.sub(count, b_.index(1)));
  }
  spread(row.scope, plan_.row_axes, number);
  return row;
}

void GridLowering::emit_stages(std::vector<Row>& rows) {
  for (int stage = 0; stage < plan_.stages; ++stage) {
    for (size_t i = 0; i < kernel_.exprs.size(); ++i)
      if (!kernel_.exprs[i].inner && plan_.stage_of[i] == stage && !accumulates(kernel_.exprs[i]))
        for (Row& row : rows) w_.evaluate(row.scope, int32_t(i));
    for (Row& row : rows) emit_stage(stage, row);
  }
  // One thread of the team stores what there is one of.
  for (Row& row : rows) {
    Scope leader = row.scope;
    leader.mask = row.exists;
    if (plan_.team > 1) leader.mask = w_.both(leader.mask, b_.eq(part_, b_.index(0)));
    for (size_t s = 0; s < kernel_.stores.size(); ++s)
      if (plan_.store_stage[s] < 0) w_.store(leader, kernel_.stores[s]);
  }
}

void GridLowering::emit_stage(int stage, Row& row) {
  if (needs_.computed[size_t(stage)].empty()) return;
  const int lanes = plan_.scans ? 1 : plan_.along_inner() ? plan_.lanes : row.scope.lanes;
  Partials partials;
  for (int32_t i : needs_.accumulated[size_t(stage)])
    partials.push_back(start_of(b_, kernel_, kernel_.exprs[size_t(i)], lanes));
  partials = walk(stage, row, std::move(partials));
  for (size_t k = 0; k < partials.size(); ++k) {
    const int32_t i = needs_.accumulated[size_t(stage)][k];
    const Expr& e = kernel_.exprs[size_t(i)];
    if (e.kind == Kind::Scan) continue;
    const Partial result = combine_team(e, partials[k]);
    row.scope.values[size_t(i)] =
        e.kind == Kind::ArgReduce ? result.position : w_.round(result.value, e.dtype);
  }
}

// All slots of this thread: unrolled, or in a loop that carries the partial results.
GridLowering::Partials GridLowering::walk(int stage, Row& row, Partials partials) {
  const Ref slots = w_.integer("slots", 0, plan_.slots);
  const auto element_at = [&](Ref slot, bool checked) {
    Scope element = row.scope;
    if (plan_.along_inner()) element.lanes = plan_.lanes;
    element.mask = row.exists;
    if (checked) element.mask = w_.both(element.mask, b_.lt(slot, slots));
    const Ref last = b_.sub(slots, b_.index(1));
    spread(element, plan_.slot_axes, plan_.reversed[size_t(stage)] ? b_.sub(last, slot) : slot);
    return element;
  };
  if (plan_.unrolled > 0) {
    const bool fresh = row.elements.empty();
    for (int64_t k = 0; k < plan_.unrolled; ++k) {
      const bool whole = (k + 1) * plan_.team <= plan_.slots;
      if (fresh)
        row.elements.push_back(element_at(b_.add(part_, b_.index(k * plan_.team)), !whole));
      Scope& element = row.elements[size_t(k)];
      for (size_t i = 0; i < kernel_.exprs.size(); ++i)
        if (!kernel_.exprs[i].inner) element.values[i] = row.scope.values[i];
      emit_slot(stage, element, partials);
    }
    return partials;
  }
  const auto pack = [&] {
    std::vector<Ref> out;
    for (const Partial& p : partials) {
      out.push_back(p.value);
      if (p.position) out.push_back(p.position);
    }
    return out;
  };
  const auto unpack = [&](std::span<const Ref> from) {
    size_t next = 0;
    for (Partial& p : partials) {
      p.value = from[next++];
      if (p.position) p.position = from[next++];
    }
  };
  const auto loop = [&](Ref lower, Ref upper, const std::vector<Ref>& start) {
    return b_.for_loop(lower, upper, plan_.team, start, [&](Ref slot, std::span<const Ref> in) {
      unpack(in);
      Scope element = element_at(slot, false);
      emit_slot(stage, element, partials);
      return pack();
    });
  };
  const std::vector<Ref> start = pack();
  if (plan_.scans) {  // all threads take every step, also those that are beyond the row's end in it
    const bool checked = plan_.slots % plan_.team != 0;
    unpack(
        b_.for_loop(b_.index(0), slots, plan_.team, start, [&](Ref step, std::span<const Ref> in) {
          unpack(in);
          Scope element = element_at(b_.add(step, part_), checked);
          emit_slot(stage, element, partials);
          return pack();
        }));
    return partials;
  }
  if (!sums_in_runs(stage)) {
    unpack(loop(part_, slots, start));
    return partials;
  }
  // Short sums of which the results are summed: the error grows with both lengths, not with their
  // product.
  const int64_t run = plan_.team * run_steps;
  unpack(b_.for_loop(part_, slots, run, start, [&](Ref first, std::span<const Ref> before) {
    const Ref upper = b_.min_index(b_.add(first, b_.index(run)), slots);
    unpack(loop(first, upper, start));
    const Partials fresh = partials;
    unpack(before);
    for (size_t k = 0; k < partials.size(); ++k)
      partials[k] = merge(b_, kernel_.exprs[size_t(needs_.accumulated[size_t(stage)][k])],
                          partials[k], fresh[k]);
    return pack();
  }));
  return partials;
}

bool GridLowering::sums_in_runs(int stage) const {
  bool sums = false;
  for (int32_t i : needs_.accumulated[size_t(stage)]) {
    const Expr& e = kernel_.exprs[size_t(i)];
    if (e.kind == Kind::Scan) return false;
    sums |= is_float(e.dtype) && combine_of(e) == ir::Combine::Sum;
  }
  return sums && plan_.slots > 2 * run_steps * plan_.team;
}

void GridLowering::emit_slot(int stage, Scope& element, Partials& partials) {
  size_t next = 0;
  for (int32_t i : needs_.computed[size_t(stage)]) {
    const bool here = next < partials.size() && needs_.accumulated[size_t(stage)][next] == i;
    if (!here)
      w_.evaluate(element, i);
    else if (kernel_.exprs[size_t(i)].kind == Kind::Scan)
      scan(i, element, partials[next++]);
    else
      accumulate(i, element, partials[next++]);
  }
  for (size_t s = 0; s < kernel_.stores.size(); ++s)
    if (plan_.store_stage[s] == stage) w_.store(element, kernel_.stores[s]);
}

void GridLowering::accumulate(int32_t i, Scope& element, Partial& partial) {
  const Expr& e = kernel_.exprs[size_t(i)];
  const Ref value = b_.splat(w_.evaluate(element, e.operands[0]), element.lanes);
  // What is masked is computed from zeros and must not count.
  const auto keep = [&](Ref fresh, Ref old) {
    return element.mask ? b_.select(element.mask, fresh, old) : fresh;
  };
  if (e.kind == Kind::ArgReduce) {
    const auto axis = size_t(plan_.outer);
    const bool runs = plan_.vector_axis == plan_.outer && element.lanes > 1;
    const Ref here = runs ? b_.ramp(element.index[axis], element.lanes)
                          : b_.splat(element.index[axis], element.lanes);
    const Partial fresh = merge(b_, e, partial, {value, here});
    partial = {keep(fresh.value, partial.value), keep(fresh.position, partial.position)};
  } else if (e.kind == Kind::Contract) {
    const Ref other = b_.splat(w_.evaluate(element, e.operands[1]), element.lanes);
    partial.value = keep(multiply_add(b_, value, other, partial.value), partial.value);
  } else {
    partial.value = keep(combine(b_, e.combine, partial.value, value), partial.value);
  }
}

void GridLowering::scan(int32_t i, Scope& element, Partial& partial) {
  const Expr& e = kernel_.exprs[size_t(i)];
  Ref value = b_.splat(w_.evaluate(element, e.operands[0]), element.lanes);
  const auto axis = size_t(plan_.outer);
  Ref result, index = element.index[axis];
  if (plan_.scans) {
    if (element.mask)
      value = b_.select(element.mask, value, identity(b_, e.combine, b_.dtype(value), 1));
    const Team team{team_, part_, plan_.team, plan_.teams(),
                    [&](DType dtype, int64_t elements) { return shared(dtype, elements); }};
    const ScanStep step = scan_in_team(b_, e, team, value, partial.value);
    result = step.values, partial.value = step.carry;
    index = b_.ramp(index, element.lanes);
  } else {
    const Ref fresh = combine(b_, e.combine, partial.value, value);
    result = e.exclusive ? partial.value : fresh, partial.value = fresh;
  }
  if (e.exclusive && e.combine == ir::Combine::Sum && is_float(e.dtype)) {
    // Sums start from -0.0, so that those of -0.0 are -0.0; before the first element is 0.
    const Ref start = e.reverse ? b_.sub(w_.extent(plan_.outer), b_.index(1)) : b_.index(0);
    result = b_.select(b_.eq(index, start), elementwise::zero(b_, result), result);
  }
  element.values[size_t(i)] = w_.round(result, e.dtype);
}

Partial GridLowering::combine_team(const Expr& e, Partial partial) {
  if (plan_.along_outer()) {
    if (plan_.team == 1) return partial;
    // Shared memory is [part][team]; every thread adds up its column.
    const Ref teams = b_.index(plan_.teams());
    const Ref place = b_.add(b_.mul(part_, teams), team_);
    return combine_shared(e, partial, place, team_, plan_.teams(), plan_.team, true);
  }
  partial = across_lanes(b_, e, partial);
  partial = combine_threads(e, partial);
  if (plan_.team <= warp) return partial;
  // Shared memory is [team][warp].
  const int64_t warps = plan_.team / warp;
  const Ref first = b_.mul(team_, b_.index(warps));
  const Ref place = b_.add(first, b_.div(part_, b_.index(warp)));
  return combine_shared(e, partial, place, first, 1, warps, false);
}

// Within a warp: after each step pairs of threads know the same.
Partial GridLowering::combine_threads(const Expr& e, Partial partial) {
  for (int64_t mask = 1; mask < std::min(plan_.team, warp); mask *= 2) {
    Partial other{b_.shuffle_xor(partial.value, mask), {}};
    if (partial.position) other.position = b_.shuffle_xor(partial.position, mask);
    const ir::Combine how = combine_of(e);
    const bool commutes = how == ir::Combine::Sum || how == ir::Combine::Prod;
    if (commutes || partial.position) {
      partial = merge(b_, e, partial, other);
      continue;
    }
    // The one that stands for earlier elements goes first, in both threads alike.
    const Ref first = b_.eq(b_.rem(b_.div(part_, b_.index(mask)), b_.index(2)), b_.index(0));
    const Ref x = b_.select(first, partial.value, other.value);
    const Ref y = b_.select(first, other.value, partial.value);
    partial = merge(b_, e, {x, {}}, {y, {}});
  }
  return partial;
}

// Every thread (`writes`), or the first of each warp, puts its result at `place`; all read `count`
// of them, from `first` on in steps.
Partial GridLowering::combine_shared(const Expr& e, Partial partial, Ref place, Ref first,
                                     int64_t step, int64_t count, bool writes) {
  const int lanes = b_.lanes(partial.value);
  const int64_t places = writes ? plan_.threads : plan_.teams() * count;
  const DType dtype = b_.dtype(partial.value);
  const int64_t more = partial.position ? places * lanes * 8 + 64 : 0;
  const int32_t values = shared(dtype, places * lanes, more);
  const int32_t positions = partial.position ? shared(DType::I64, places * lanes) : -1;
  const Ref width = b_.index(lanes);
  const Ref mask = writes ? Ref() : b_.eq(b_.rem(part_, b_.index(warp)), b_.index(0));
  b_.store(values, b_.mul(place, width), partial.value, mask);
  if (partial.position) b_.store(positions, b_.mul(place, width), partial.position, mask);
  b_.barrier();
  Partial out;
  for (int64_t k = 0; k < count; ++k) {
    const Ref at = b_.mul(b_.add(first, b_.index(k * step)), width);
    const Partial next{b_.load(values, at, lanes),
                       partial.position ? b_.load(positions, at, lanes) : Ref()};
    out = k == 0 ? next : merge(b_, e, out, next);
  }
  return out;
}

// What does not fit any more, with `more` bytes beside it, takes the place of what was read
// already.
int32_t GridLowering::shared(DType dtype, int64_t elements, int64_t more) {
  const int64_t bytes = (elements * int64_t(size_of(dtype)) + 63) / 64 * 64;
  if (shared_used_ > 0 && shared_used_ + bytes + more > most_shared) {
    b_.barrier();
    shared_used_ = 0;
  }
  const int32_t buffer = w_.scratch_buffer(dtype, b_.index(shared_used_));
  shared_used_ += bytes;
  out_.scratch_bytes = std::max(out_.scratch_bytes, shared_used_);
  return buffer;
}

}  // namespace

LoweredKernel lower_grid(const Kernel& kernel, const KernelProgram& program, const Target& target) {
  LoweredKernel out;
  out.function.name = kernel.name;
  GridLowering(kernel, program, target, out).run();
  return out;
}

}  // namespace cermet::compiler
