// A kernel without Contract becomes one loop over units of the parallel range, and in each unit:
//
//   lanes along an inner axis   unit = a row. Reductions keep a few vectors of partial results,
//   which are combined at the end
//                               of the row in a fixed order.
//   lanes along an outer axis   unit = one row of the other outer axes x a tile of consecutive
//   columns; each lane is a
//                               row of its own, so reductions need no combining. This is how sum
//                               over axis 0, scans and scatters run, and every map.
//
// A row is walked in stages. Stage s computes the reductions whose operands need only reductions of
// earlier stages, all of them in one loop; element stores happen in the first stage that can. An
// element expression that several stages need is computed again from its loads, unless it is
// expensive: then the first stage keeps it in scratch memory.
//
// The end of a row or tile is one masked step where the target has masked memory, otherwise a
// scalar loop.

#include "compiler/lower_rows.h"

#include <fmt/format.h>

#include <functional>

#include "compiler/elementwise.h"
#include "compiler/lower_scope.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

using loops::Builder;
using loops::Opcode;
using loops::Ref;
using Kind = Expr::Kind;

constexpr int64_t expensive_cycles = 8;   // an element that costs more is kept, not computed again
constexpr int64_t chunk_elements = 8192;  // of a map's vector axis, for one unit
constexpr int64_t run_steps = 256;        // terms that one accumulator of a long sum takes
constexpr double task_cycles = 90000;     // about 30 us: what is worth another thread

class RowLowering {
 public:
  RowLowering(const Kernel& kernel, const KernelProgram& program, const Target& target,
              LoweredKernel& out)
      : kernel_(kernel),
        target_(target),
        out_(out),
        w_(kernel, program, target, out),
        b_(w_.builder()),
        outer_(int64_t(kernel.outer.size())) {
    const Vectorisation chosen = choose_vectorisation(kernel, program, target);
    vector_axis_ = chosen.axis, lanes_ = chosen.lanes;
    w_.set_vector_axis(vector_axis_);
  }

  void run();

 private:
  // Partial results of one Reduce, ArgReduce (with positions) or Scan.
  struct Partial {
    Ref value, position;
  };
  using Index = std::vector<Ref>;  // by axis of the space

  bool along_inner() const { return vector_axis_ >= outer_; }
  bool along_outer() const { return vector_axis_ >= 0 && vector_axis_ < outer_; }
  bool masks() const { return target_.masked_memory; }
  int64_t unit_columns() const;

  void plan_stages();
  void plan_scratch();
  void emit_unit(Ref unit, Ref chunks);
  void emit_tile(Index at, Ref lower, Ref upper);
  void emit_rows(std::vector<Scope> rows);
  void emit_stage(int stage, std::vector<Scope>& rows);
  std::vector<Ref> emit_inner(int stage, const std::vector<Scope>& rows, Index at, size_t depth,
                              std::vector<Ref> carried);
  std::vector<Ref> emit_vectors(int stage, const std::vector<Scope>& rows, const Index& at,
                                std::vector<Ref> carried);
  void emit_elements(int stage, Scope& element, size_t copy, std::span<Ref> partials);
  Ref element(int stage, Scope& scope, int32_t expr, size_t copy);
  Ref scratch_position(const Scope& scope, size_t copy);

  size_t partials_per_set(int stage) const;
  void append_start(int stage, int lanes, std::vector<Ref>& carried);
  std::vector<Ref> starts(int stage, const std::vector<Scope>& rows);
  bool sums_in_runs(int stage) const;
  int64_t steps_below(size_t depth) const;
  using Loop = std::function<std::vector<Ref>(Ref lower, Ref upper, std::vector<Ref> carried)>;
  std::vector<Ref> in_runs(int stage, const std::vector<Scope>& rows, Ref upper, int64_t length,
                           std::span<const Ref> carried, const Loop& loop);
  std::vector<Ref> merge_all(int stage, std::span<const Ref> x, std::span<const Ref> y);
  Partial merge(const Expr& expr, Partial x, Partial y);
  Partial across_lanes(const Expr& expr, Partial partial);
  void finish(int stage, std::vector<Scope>& rows, std::vector<Ref> carried);

  const Kernel& kernel_;
  const Target& target_;
  LoweredKernel& out_;
  KernelWriter w_;
  Builder& b_;
  const int64_t outer_;
  int64_t vector_axis_ = -1;
  int lanes_ = 1;
  int copies_ = 1;  // vectors in flight
  int stages_ = 1;
  std::vector<int> stage_of_;     // by expression: the first stage in which its value can exist
  std::vector<int> store_stage_;  // by store; -1: after all stages, once per row
  std::vector<std::vector<int32_t>> accumulated_;  // by stage: Reduce, ArgReduce, Scan, in order
  std::vector<bool> reversed_;                     // by stage: walks the inner axis backwards
  std::vector<int32_t> scratch_of_;                // by expression: its scratch buffer, or -1
  std::vector<int> kept_in_;                       // by expression: the stage that fills scratch
  std::vector<int64_t> nesting_;                   // inner axes, outermost loop first
};

// Scans and scatters depend on the order of the inner axis: lanes may only run along an outer one.
bool needs_order(const Kernel& kernel) {
  for (const Expr& e : kernel.exprs)
    if (e.kind == Kind::Scan) return true;
  for (const KernelStore& s : kernel.stores)
    if (s.index >= 0) return true;
  return false;
}

bool accumulates(const Expr& e) {
  return e.kind == Kind::Reduce || e.kind == Kind::ArgReduce || e.kind == Kind::Scan ||
         e.kind == Kind::Contract;
}

// How the partial results of an accumulating expression combine.
ir::Combine combine_of(const Expr& e) {
  return e.kind == Kind::Contract ? ir::Combine::Sum : e.combine;
}

int cycles_of(const Expr& e) {
  switch (e.kind) {
    case Kind::Map: return std::max(1, ir::info(e.op).cycles);
    case Kind::Gather: return 16;
    case Kind::Load:
    case Kind::Reduce:
    case Kind::ArgReduce:
    case Kind::Scan:
    case Kind::Contract: return 1;
    case Kind::Position:
    case Kind::Constant: return 0;
  }
  __builtin_unreachable();
}

int cycles_of(const Kernel& kernel) {
  int cycles = int(kernel.stores.size());
  for (const Expr& e : kernel.exprs) cycles += cycles_of(e);
  return cycles;
}

// A reduction is known one stage after its operands; a scan in the first stage that can walk in its
// direction.
void RowLowering::plan_stages() {
  const size_t n = kernel_.exprs.size();
  stage_of_.assign(n, 0);
  std::vector<int> direction;  // by stage: -1 open, 0 forwards, 1 backwards
  for (size_t i = 0; i < n; ++i) {
    const Expr& e = kernel_.exprs[i];
    int stage = 0;
    for (int32_t operand : e.operands) stage = std::max(stage, stage_of_[size_t(operand)]);
    if (e.kind == Kind::Scan) {
      for (;; ++stage) {
        if (int(direction.size()) <= stage) direction.resize(size_t(stage) + 1, -1);
        if (direction[size_t(stage)] < 0 || direction[size_t(stage)] == int(e.reverse)) break;
      }
      direction[size_t(stage)] = e.reverse;
    }
    if (accumulates(e)) {
      if (int(accumulated_.size()) <= stage) accumulated_.resize(size_t(stage) + 1);
      accumulated_[size_t(stage)].push_back(int32_t(i));
    }
    stage_of_[i] = stage + (accumulates(e) && e.kind != Kind::Scan ? 1 : 0);
  }
  stages_ = 1;
  for (int s : stage_of_) stages_ = std::max(stages_, s + 1);
  CERMET_CHECK(stages_ < 64, "kernel {} has {} stages", kernel_.name, stages_);
  accumulated_.resize(size_t(stages_));
  reversed_.assign(size_t(stages_), false);
  for (size_t s = 0; s < direction.size(); ++s) reversed_[s] = direction[s] == 1;
  for (const KernelStore& s : kernel_.stores) {
    const bool inner = kernel_.exprs[size_t(s.value)].inner ||
                       (s.index >= 0 && kernel_.exprs[size_t(s.index)].inner);
    const int stage =
        std::max(stage_of_[size_t(s.value)], s.index < 0 ? 0 : stage_of_[size_t(s.index)]);
    store_stage_.push_back(inner ? stage : -1);
  }
}

// Which element expressions are kept: those that a later stage than their first needs and that are
// expensive, and scans, which exist only while their stage runs. Needs are sets of stages, as bits.
void RowLowering::plan_scratch() {
  const size_t n = kernel_.exprs.size();
  scratch_of_.assign(n, -1);
  kept_in_.assign(n, 0);
  if (stages_ == 1) return;
  std::vector<uint64_t> needed(n, 0);
  for (size_t s = 0; s < kernel_.stores.size(); ++s) {
    if (store_stage_[s] < 0) continue;
    const KernelStore& store = kernel_.stores[s];
    for (int32_t e : {store.value, store.index})
      if (e >= 0) needed[size_t(e)] |= uint64_t(1) << store_stage_[s];
  }
  std::vector<int64_t> cycles(n, 0);  // of computing an element again from its loads
  for (size_t i = 0; i < n; ++i) {
    const Expr& e = kernel_.exprs[i];
    if (!e.inner) continue;
    cycles[i] = cycles_of(e);
    for (int32_t operand : e.operands) cycles[i] += cycles[size_t(operand)];
  }
  const int64_t width = along_outer() ? int64_t(lanes_) * copies_ : 1;
  const int64_t padding = along_inner() ? int64_t(lanes_) * copies_ : 0;
  const int64_t elements = numel(kernel_.inner) * width + padding;
  int64_t offset = 0;
  for (size_t i = n; i-- > 0;) {
    const Expr& e = kernel_.exprs[i];
    if (accumulates(e)) {
      const int stage = stage_of_[i] - (e.kind == Kind::Scan ? 0 : 1);
      if (e.kind == Kind::Scan) needed[i] |= uint64_t(1) << stage;
      for (int32_t operand : e.operands) needed[size_t(operand)] |= uint64_t(1) << stage;
    }
    if (!e.inner) continue;
    const uint64_t first = needed[i] & -needed[i];
    const bool again = needed[i] != first;
    const bool keep = e.kind == Kind::Scan || (e.kind == Kind::Map && cycles[i] > expensive_cycles);
    if (again && keep) {
      const DType dtype = e.dtype;
      kept_in_[i] = __builtin_ctzll(needed[i]);
      scratch_of_[i] = w_.scratch_buffer(dtype, w_.integer("scratch", int64_t(i), offset));
      offset += (elements * int64_t(size_of(dtype)) + 63) / 64 * 64;
    }
    if (e.kind == Kind::Scan) continue;
    for (int32_t operand : e.operands) needed[size_t(operand)] |= again && keep ? first : needed[i];
  }
  out_.scratch_bytes = offset;
}

// How many elements of an outer vector axis one unit does: whole vectors, and for maps enough of
// them to be worth a loop.
int64_t RowLowering::unit_columns() const {
  return kernel_.inner.empty() ? chunk_elements : int64_t(lanes_) * copies_;
}

void RowLowering::run() {
  const int cycles = cycles_of(kernel_);
  plan_stages();
  if (stages_ > 1 && !needs_order(kernel_)) copies_ = cycles <= 12 ? 4 : cycles <= 30 ? 2 : 1;
  if (lanes_ == 1) copies_ = 1;
  for (int64_t d = outer_; d < w_.rank(); ++d)
    if (d != vector_axis_) nesting_.push_back(d);
  if (along_inner()) nesting_.push_back(vector_axis_);
  plan_scratch();

  int64_t rows = 1, chunks = 1;
  for (int64_t d = 0; d < outer_; ++d)
    if (d != vector_axis_) rows *= kernel_.outer[size_t(d)];
  int64_t unit_elements = numel(kernel_.inner);
  if (along_outer()) {
    const int64_t columns = kernel_.outer[size_t(vector_axis_)];
    chunks = (columns + unit_columns() - 1) / unit_columns();
    unit_elements *= std::min(columns, unit_columns());
  }
  out_.range = rows * chunks;
  const double unit_cycles = double(cycles) * double(unit_elements) / lanes_ + 20;
  out_.grain = std::max<int64_t>(1, int64_t(task_cycles / unit_cycles));
  // Expressions that are the same for the whole kernel: their loads happen once, before everything.
  const Ref chunk_count = w_.integer("chunks", vector_axis_, chunks);
  b_.for_loop(b_.begin(), b_.end(), 1, [&](Ref unit) { emit_unit(unit, chunk_count); });
}

void RowLowering::emit_unit(Ref unit, Ref chunks) {
  Index at(size_t(w_.rank()), b_.index(0));
  Ref rest = along_outer() ? b_.div(unit, chunks) : unit;
  int64_t first = 0;
  while (first < outer_ && first == vector_axis_) ++first;
  for (int64_t d = outer_; d-- > 0;) {
    if (d == vector_axis_) continue;
    at[size_t(d)] = d == first ? rest : b_.rem(rest, w_.extent(d));
    if (d != first) rest = b_.div(rest, w_.extent(d));
  }
  if (!along_outer()) {
    Scope row{at, 1, {}, std::vector<Ref>(kernel_.exprs.size())};
    return emit_rows({row});
  }
  const Ref columns = w_.integer("unit columns", 0, unit_columns());
  const Ref lower = b_.mul(b_.rem(unit, chunks), columns);
  emit_tile(at, lower, b_.min_index(b_.add(lower, columns), w_.extent(vector_axis_)));
}

// Columns [lower, upper) of an outer vector axis: whole groups of vectors, then what is left.
void RowLowering::emit_tile(Index at, Ref lower, Ref upper) {
  const auto rows_at = [&](Ref column, int copies, int lanes, bool masked) {
    std::vector<Scope> rows;
    for (int c = 0; c < copies; ++c) {
      Scope row{at, lanes, {}, std::vector<Ref>(kernel_.exprs.size())};
      row.index[size_t(vector_axis_)] = b_.add(column, b_.index(int64_t(c) * lanes));
      if (masked) row.mask = b_.lt(b_.ramp(row.index[size_t(vector_axis_)], lanes), upper);
      rows.push_back(std::move(row));
    }
    emit_rows(std::move(rows));
  };
  if (masks() && copies_ == 1)
    return b_.for_loop(lower, upper, lanes_, [&](Ref v) { rows_at(v, 1, lanes_, true); });
  const int64_t step = int64_t(lanes_) * copies_;
  const Ref whole = b_.mul(b_.div(b_.sub(upper, lower), b_.index(step)), b_.index(step));
  const Ref middle = b_.add(lower, whole);
  b_.for_loop(lower, middle, step, [&](Ref v) { rows_at(v, copies_, lanes_, false); });
  if (masks())
    b_.for_loop(middle, upper, lanes_, [&](Ref v) { rows_at(v, 1, lanes_, true); });
  else if (lanes_ > 1)
    b_.for_loop(middle, upper, 1, [&](Ref v) { rows_at(v, 1, 1, false); });
}

void RowLowering::emit_rows(std::vector<Scope> rows) {
  for (int stage = 0; stage < stages_; ++stage) {
    for (size_t i = 0; i < kernel_.exprs.size(); ++i)
      if (!kernel_.exprs[i].inner && stage_of_[i] == stage && !accumulates(kernel_.exprs[i]))
        for (Scope& row : rows) w_.evaluate(row, int32_t(i));
    emit_stage(stage, rows);
  }
  for (size_t s = 0; s < kernel_.stores.size(); ++s)
    if (store_stage_[s] < 0)
      for (Scope& row : rows) w_.store(row, kernel_.stores[s]);
}

size_t RowLowering::partials_per_set(int stage) const {
  size_t count = 0;
  for (int32_t i : accumulated_[size_t(stage)])
    count += kernel_.exprs[size_t(i)].kind == Kind::ArgReduce ? 2 : 1;
  return count;
}

void RowLowering::append_start(int stage, int lanes, std::vector<Ref>& carried) {
  for (int32_t i : accumulated_[size_t(stage)]) {
    const Expr& e = kernel_.exprs[size_t(i)];
    const DType dtype = held(kernel_.exprs[size_t(e.operands[0])].dtype);
    carried.push_back(identity(b_, combine_of(e), dtype, lanes));
    if (e.kind == Kind::ArgReduce) carried.push_back(b_.constant_bits(DType::I64, 0, lanes));
  }
}

// One set of partials for each vector in flight; along an inner axis without masks, one more for
// the scalar end.
std::vector<Ref> RowLowering::starts(int stage, const std::vector<Scope>& rows) {
  std::vector<Ref> out;
  const size_t sets = along_inner() ? size_t(copies_) : rows.size();
  for (size_t set = 0; set < sets; ++set)
    append_start(stage, along_inner() ? lanes_ : rows[set].lanes, out);
  if (along_inner() && !masks() && lanes_ > 1) append_start(stage, 1, out);
  return out;
}

// Whether a long row is summed in runs whose sums are then added: the error of a sum grows with the
// number of terms that one accumulator takes. Scans need one accumulator.
bool RowLowering::sums_in_runs(int stage) const {
  bool sums = false;
  for (int32_t i : accumulated_[size_t(stage)]) {
    const Expr& e = kernel_.exprs[size_t(i)];
    if (e.kind == Kind::Scan) return false;
    sums |= is_float(e.dtype) && e.kind != Kind::ArgReduce && combine_of(e) == ir::Combine::Sum;
  }
  return sums;
}

// How many elements a lane meets in the loops inside of one step of a loop.
int64_t RowLowering::steps_below(size_t depth) const {
  int64_t steps = 1;
  for (size_t d = depth + 1; d < nesting_.size(); ++d) {
    const int64_t extent = w_.space()[size_t(nesting_[d])];
    const int64_t width = nesting_[d] == vector_axis_ ? int64_t(lanes_) * copies_ : 1;
    steps *= std::max<int64_t>(1, extent / width);
  }
  return steps;
}

// The loop from 0 to upper in runs of a length, each with partial results of its own.
std::vector<Ref> RowLowering::in_runs(int stage, const std::vector<Scope>& rows, Ref upper,
                                      int64_t length, std::span<const Ref> carried,
                                      const Loop& loop) {
  return b_.for_loop(b_.index(0), upper, length, carried,
                     [&](Ref first, std::span<const Ref> inside) {
                       const Ref end = b_.min_index(b_.add(first, b_.index(length)), upper);
                       return merge_all(stage, inside, loop(first, end, starts(stage, rows)));
                     });
}

std::vector<Ref> RowLowering::merge_all(int stage, std::span<const Ref> x, std::span<const Ref> y) {
  std::vector<Ref> out;
  while (out.size() < x.size())
    for (int32_t i : accumulated_[size_t(stage)]) {
      const Expr& e = kernel_.exprs[size_t(i)];
      const bool arg = e.kind == Kind::ArgReduce;
      const size_t at = out.size();
      const auto partial = [&](std::span<const Ref> from) {
        return Partial{from[at], arg ? from[at + 1] : Ref()};
      };
      const Partial both = merge(e, partial(x), partial(y));
      out.push_back(both.value);
      if (arg) out.push_back(both.position);
    }
  return out;
}

void RowLowering::emit_stage(int stage, std::vector<Scope>& rows) {
  bool stores = false;
  for (int s : store_stage_) stores |= s == stage;
  if (accumulated_[size_t(stage)].empty() && !stores) return;
  std::vector<Ref> carried = starts(stage, rows);
  carried = emit_inner(stage, rows, rows[0].index, 0, std::move(carried));
  finish(stage, rows, std::move(carried));
}

std::vector<Ref> RowLowering::emit_inner(int stage, const std::vector<Scope>& rows, Index at,
                                         size_t depth, std::vector<Ref> carried) {
  if (depth == nesting_.size()) {
    const size_t count = partials_per_set(stage);
    for (size_t c = 0; c < rows.size(); ++c) {
      Scope element = rows[c];
      for (int64_t d = outer_; d < w_.rank(); ++d) element.index[size_t(d)] = at[size_t(d)];
      emit_elements(stage, element, c, std::span(carried).subspan(c * count, count));
    }
    return carried;
  }
  const int64_t axis = nesting_[depth];
  if (axis == vector_axis_) return emit_vectors(stage, rows, at, std::move(carried));
  const Ref extent = w_.extent(axis);
  const int64_t below = steps_below(depth);
  const bool runs = sums_in_runs(stage), fresh = runs && below >= 32;
  const Loop loop = [&](Ref lower, Ref upper, std::vector<Ref> start) {
    return b_.for_loop(lower, upper, 1, start, [&](Ref i, std::span<const Ref> inside) {
      const Ref last = b_.sub(extent, b_.index(1));
      at[size_t(axis)] = reversed_[size_t(stage)] ? b_.sub(last, i) : i;
      if (!fresh) return emit_inner(stage, rows, at, depth + 1, {inside.begin(), inside.end()});
      return merge_all(stage, inside, emit_inner(stage, rows, at, depth + 1, starts(stage, rows)));
    });
  };
  const int64_t steps = fresh ? 1 : below;
  if (runs && w_.space()[size_t(axis)] * steps > 2 * run_steps)
    return in_runs(stage, rows, extent, std::max<int64_t>(2, run_steps / steps), carried, loop);
  return loop(b_.index(0), extent, std::move(carried));
}

// The innermost loop along an inner vector axis.
std::vector<Ref> RowLowering::emit_vectors(int stage, const std::vector<Scope>& rows,
                                           const Index& at, std::vector<Ref> carried) {
  const Ref extent = w_.extent(vector_axis_);
  const size_t count = partials_per_set(stage);
  const auto vectors = [&](Ref lower, Ref upper, int copies, int lanes, bool masked,
                           size_t first_set, std::vector<Ref> start) {
    return b_.for_loop(
        lower, upper, int64_t(lanes) * copies, start, [&](Ref v, std::span<const Ref> inside) {
          std::vector<Ref> next(inside.begin(), inside.end());
          for (int c = 0; c < copies; ++c) {
            Scope element = rows[0];
            element.index = at;
            element.lanes = lanes;
            Ref& index = element.index[size_t(vector_axis_)];
            index = b_.add(v, b_.index(int64_t(c) * lanes));
            if (masked) element.mask = b_.lt(b_.ramp(index, lanes), extent);
            emit_elements(stage, element, size_t(c),
                          std::span(next).subspan((first_set + size_t(c)) * count, count));
          }
          return next;
        });
  };
  const int64_t step = int64_t(lanes_) * copies_;
  const bool masked = masks() && copies_ == 1;  // one loop does it all
  const Ref middle = masked ? extent : b_.mul(b_.div(extent, b_.index(step)), b_.index(step));
  const Loop main = [&](Ref lower, Ref upper, std::vector<Ref> start) {
    return vectors(lower, upper, copies_, lanes_, masked, 0, std::move(start));
  };
  if (sums_in_runs(stage) && w_.space()[size_t(vector_axis_)] > 2 * run_steps * step)
    carried = in_runs(stage, rows, middle, run_steps * step, carried, main);
  else
    carried = main(b_.index(0), middle, std::move(carried));
  if (masked) return carried;
  if (masks()) return vectors(middle, extent, 1, lanes_, true, 0, std::move(carried));
  if (lanes_ == 1) return carried;
  return vectors(middle, extent, 1, 1, false, size_t(copies_), std::move(carried));
}

// Everything that happens at one element: partial results go on, scans get their value, stores are
// made.
void RowLowering::emit_elements(int stage, Scope& scope, size_t copy, std::span<Ref> partials) {
  size_t next = 0;
  for (int32_t i : accumulated_[size_t(stage)]) {
    const Expr& e = kernel_.exprs[size_t(i)];
    const Ref value = b_.splat(element(stage, scope, e.operands[0], copy), scope.lanes);
    const auto keep = [&](Ref fresh, Ref old) {  // a masked lane along the inner axis adds nothing
      return scope.mask && along_inner() ? b_.select(scope.mask, fresh, old) : fresh;
    };
    Ref& partial = partials[next++];
    if (e.kind == Kind::ArgReduce) {
      Ref& position = partials[next++];
      const int64_t axis = outer_;
      const Ref here = axis == vector_axis_ && scope.lanes > 1
                           ? b_.ramp(scope.index[size_t(axis)], scope.lanes)
                           : b_.splat(scope.index[size_t(axis)], scope.lanes);
      const Partial fresh = merge(e, {partial, position}, {value, here});
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
          const Ref start = e.reverse ? b_.sub(w_.extent(outer_), b_.index(1)) : b_.index(0);
          result = b_.select(b_.eq(scope.index[size_t(outer_)], start),
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
    if (store_stage_[s] != stage) continue;
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
  std::vector<int64_t> strides(nesting_.size(), along_outer() ? int64_t(lanes_) * copies_ : 1);
  for (size_t i = nesting_.size(); i-- > 1;)
    strides[i - 1] = strides[i] * w_.space()[size_t(nesting_[i])];
  for (size_t i = 0; i < nesting_.size(); ++i) {
    const Ref step = w_.integer("scratch stride", nesting_[i], strides[i]);
    position = b_.add(position, b_.mul(scope.index[size_t(nesting_[i])], step));
  }
  return along_outer() ? b_.add(position, b_.index(int64_t(copy) * lanes_)) : position;
}

// x and y combined, x standing for earlier elements. An extremum's first position wins, and NaN
// wins over all.
RowLowering::Partial RowLowering::merge(const Expr& e, Partial x, Partial y) {
  if (e.kind != Kind::ArgReduce) return {combine(b_, combine_of(e), x.value, y.value), {}};
  const bool max = e.combine == ir::Combine::Max;
  Ref better = max ? elementwise::lt(b_, x.value, y.value) : elementwise::lt(b_, y.value, x.value);
  Ref equal = elementwise::eq(b_, x.value, y.value);
  if (is_float(b_.dtype(x.value))) {
    const Ref x_nan = b_.ne(x.value, x.value), y_nan = b_.ne(y.value, y.value);
    better = b_.and_(b_.or_(better, y_nan), b_.not_(x_nan));
    equal = b_.or_(equal, b_.and_(x_nan, y_nan));
  }
  better = b_.or_(better, b_.and_(equal, b_.lt(y.position, x.position)));
  return {b_.select(better, y.value, x.value), b_.select(better, y.position, x.position)};
}

RowLowering::Partial RowLowering::across_lanes(const Expr& e, Partial partial) {
  if (e.kind == Kind::ArgReduce) {
    const int lanes = b_.lanes(partial.value);
    Partial out{b_.extract(partial.value, 0), b_.extract(partial.position, 0)};
    for (int lane = 1; lane < lanes; ++lane)
      out = merge(e, out, {b_.extract(partial.value, lane), b_.extract(partial.position, lane)});
    return out;
  }
  const bool boolean = is_bool(b_.dtype(partial.value));
  switch (combine_of(e)) {
    case ir::Combine::Sum: return {b_.reduce(Opcode::ReduceAdd, partial.value), {}};
    case ir::Combine::Prod: return {b_.reduce(Opcode::ReduceMul, partial.value), {}};
    case ir::Combine::Max:
      return {b_.reduce(boolean ? Opcode::ReduceOr : Opcode::ReduceMax, partial.value), {}};
    case ir::Combine::Min:
      return {b_.reduce(boolean ? Opcode::ReduceAnd : Opcode::ReduceMin, partial.value), {}};
    case ir::Combine::Set: break;
  }
  throw InternalError("set is not a reduction");
}

// Partial results become the values of the rows' reductions.
void RowLowering::finish(int stage, std::vector<Scope>& rows, std::vector<Ref> carried) {
  const size_t count = partials_per_set(stage);
  size_t at = 0;
  for (int32_t i : accumulated_[size_t(stage)]) {
    const Expr& e = kernel_.exprs[size_t(i)];
    const bool arg = e.kind == Kind::ArgReduce;
    const auto partial = [&](size_t set) {
      return Partial{carried[set * count + at], arg ? carried[set * count + at + 1] : Ref()};
    };
    const auto give = [&](Scope& row, Partial result) {
      row.values[size_t(i)] = arg ? result.position : w_.round(result.value, e.dtype);
    };
    if (e.kind != Kind::Scan && along_inner()) {
      std::vector<Partial> sets;
      for (int set = 0; set < copies_; ++set) sets.push_back(partial(size_t(set)));
      for (size_t width = 1; width < sets.size(); width *= 2)
        for (size_t k = 0; k + width < sets.size(); k += 2 * width)
          sets[k] = merge(e, sets[k], sets[k + width]);
      Partial result = across_lanes(e, sets[0]);
      if (!masks() && lanes_ > 1) result = merge(e, result, partial(size_t(copies_)));
      give(rows[0], result);
    } else if (e.kind != Kind::Scan) {
      for (size_t r = 0; r < rows.size(); ++r) give(rows[r], partial(r));
    }
    at += arg ? 2 : 1;
  }
}

}  // namespace

Vectorisation choose_vectorisation(const Kernel& kernel, const KernelProgram& program,
                                   const Target& target) {
  const int64_t outer = int64_t(kernel.outer.size()), rank = outer + int64_t(kernel.inner.size());
  Shape space = kernel.outer;
  for (int64_t extent : kernel.inner) space.push_back(extent);
  // Lanes: what fits a vector of the size that most operations have, but no value wider than four
  // vectors.
  std::map<size_t, int> sizes;
  size_t largest = 1;
  for (const Expr& e : kernel.exprs) {
    const size_t size = size_of(held(e.dtype));
    largest = std::max(largest, size);
    if (!is_bool(e.dtype) && e.kind != Kind::Constant) sizes[size] += 1 + cycles_of(e);
  }
  size_t common = largest;
  for (auto [size, weight] : sizes)
    if (!sizes.contains(common) || weight > sizes[common]) common = size;
  const size_t lanes =
      std::min(size_t(target.vector_bytes) / common, 4 * size_t(target.vector_bytes) / largest);

  // Bytes that lanes along each axis read and write without going one by one. Every second or
  // fourth element is so many vectors and a shuffle where the target has masked memory.
  std::vector<double> bytes(size_t(rank), 0.0);
  const auto count = [&](const ir::StridedMap& map, int32_t buffer, double weight) {
    const double size = double(size_of(program.buffers[size_t(buffer)].dtype)) * weight;
    for (size_t d = 0; d < map.shape.size(); ++d) {
      if (map.strides[d] == 1) bytes[d] += size;
      if ((map.strides[d] == 2 || map.strides[d] == 4) && target.masked_memory)
        bytes[d] += size / double(map.strides[d] + 1);
    }
  };
  // What happens once per row hardly counts next to what happens per element.
  const auto weight = [&](bool inner) { return inner || kernel.inner.empty() ? 1.0 : 1.0 / 64; };
  // Through divisions, neighbours are still likely to lie side by side.
  for (const Expr& e : kernel.exprs)
    if (e.buffer >= 0)
      count(e.map->levels()[0], e.buffer, weight(e.inner) / (e.map->single() ? 1 : 2));
  for (const KernelStore& s : kernel.stores)
    count(s.map, s.buffer, 2 * weight(kernel.exprs[size_t(s.value)].inner));
  int64_t axis = -1;
  for (int64_t d = 0; d < (needs_order(kernel) ? outer : rank); ++d) {
    if (space[size_t(d)] == 1) continue;
    // On an axis of few elements most lanes have nothing to do.
    bytes[size_t(d)] *= std::min(1.0, double(space[size_t(d)]) / double(lanes));
    if (axis < 0 || bytes[size_t(d)] >= bytes[size_t(axis)]) axis = d;
  }
  if (axis < 0) return {-1, 1};
  return {axis, int(lanes)};
}

LoweredKernel lower_rows(const Kernel& kernel, const KernelProgram& program, const Target& target) {
  LoweredKernel out;
  out.function.name = kernel.name;
  RowLowering(kernel, program, target, out).run();
  return out;
}

}  // namespace cermet::compiler
