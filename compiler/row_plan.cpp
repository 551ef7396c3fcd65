// Scratch memory and the vector axis of a row program. Each is a function of its own, and
// each needs what those before it decided: how many vectors are in flight, then
// scratch memory, whose size depends on both.

#include "compiler/row_plan.h"

#include <algorithm>
#include <map>

#include "compiler/column_plan.h"
#include "compiler/lower_scope.h"
#include "compiler/pair_plan.h"
#include "compiler/row_streams.h"
#include "compiler/stage_needs.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

using Kind = Expr::Kind;

constexpr int64_t expensive_cycles = 8;   // an element that costs more is kept, not computed again
constexpr int long_map_cycles = 20;       // as of one function and a little arithmetic
constexpr int narrow_cycles = 6;          // of a reduction that memory alone bounds
constexpr int64_t chunk_elements = 8192;  // of a map's vector axis, for one unit
constexpr double task_cycles = 90000;     // about 30 us: what is worth another thread

// What fits a vector of the size that most operations have, but no value wider than four vectors.
size_t choose_lanes(const Kernel& kernel, const Target& target) {
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
  return std::min(size_t(target.vector_bytes) / common, 4 * size_t(target.vector_bytes) / largest);
}

void choose_vector_axis(const Kernel& kernel, const KernelProgram& program, const Target& target,
                        RowPlan& plan) {
  const size_t lanes = choose_lanes(kernel, target);
  std::vector<double> bytes = contiguous_bytes(kernel, program, target.masked_memory);
  const size_t axes = needs_order(kernel) ? kernel.outer.size() : plan.space.size();
  for (size_t d = 0; d < axes; ++d) {
    if (plan.space[d] == 1) continue;
    // On an axis of few elements most lanes have nothing to do.
    bytes[d] *= std::min(1.0, double(plan.space[d]) / double(lanes));
    if (plan.vector_axis < 0 || bytes[d] >= bytes[size_t(plan.vector_axis)])
      plan.vector_axis = int64_t(d);
  }
  if (plan.vector_axis >= 0) plan.lanes = int(lanes);
}

// How many vectors are in flight: cheap stages wait for their partial results and for loops, others
// fill the processor with one vector.
void choose_copies(const Kernel& kernel, RowPlan& plan) {
  const auto copies = [&](int cycles) {
    return plan.lanes == 1 || needs_order(kernel) ? 1 : cycles <= 12 ? 4 : cycles <= 30 ? 2 : 1;
  };
  if (plan.stages == 1) {
    // The latency of one vector of a long map is more than the processor looks ahead.
    const bool map = plan.lanes > 1 && kernel.inner.empty() && !needs_order(kernel);
    plan.copies = map && plan.masks && cycles_of(kernel) >= long_map_cycles ? 2 : 1;
    plan.stage_copies = {plan.copies};
  } else if (plan.along_inner() && !needs_order(kernel)) {
    for (const std::vector<int32_t>& computed : stage_needs(kernel, plan).computed) {
      int cycles = 0;
      for (int32_t i : computed) cycles += cycles_of(kernel.exprs[size_t(i)]);
      plan.stage_copies.push_back(copies(cycles));
    }
    plan.copies = *std::max_element(plan.stage_copies.begin(), plan.stage_copies.end());
  } else {
    plan.copies = copies(cycles_of(kernel));
    plan.stage_copies.assign(size_t(plan.stages), plan.copies);
  }
}

// Lanes along an inner axis would gather what a row reads, and those along an outer axis would all
// read the same: then they run along that one, and each element is loaded once for all of them.
void choose_broadcasts(const Kernel& kernel, RowPlan& plan) {
  const auto stored = [](int stage) { return stage >= 0; };
  if (!plan.along_inner() || plan.stages != 2 || needs_order(kernel)) return;
  if (std::any_of(plan.store_stage.begin(), plan.store_stage.end(), stored)) return;
  const auto all_loads = [&](int64_t axis, auto accept) {
    return std::all_of(kernel.exprs.begin(), kernel.exprs.end(), [&](const Expr& e) {
      if (e.kind == Kind::Gather) return false;
      if (e.kind != Kind::Load || !e.inner) return true;
      return e.map->single() && accept(e.map->levels()[0].strides[size_t(axis)]);
    });
  };
  if (all_loads(plan.vector_axis, [](int64_t stride) { return stride == 0 || stride == 1; }))
    return;
  for (int64_t axis = plan.outer; axis-- > 0;) {
    if (plan.space[size_t(axis)] < plan.lanes) continue;
    if (!all_loads(axis, [](int64_t stride) { return stride == 0; })) continue;
    plan.vector_axis = axis;
    plan.broadcasts = true;
    plan.stage_copies.clear();
    choose_copies(kernel, plan);
    return;
  }
}

// Cheap reductions wait for memory, which narrow loads reach sooner: on Zen 4 two loads of a cache
// line let the prefetchers run further ahead than one of all its bytes does (7 to 20 % from memory,
// nothing lost in the caches). As many bytes as before are in flight along rows, where columns
// advance together two vectors.
void choose_narrow(const Kernel& kernel, RowPlan& plan) {
  const auto stored = [](int stage) { return stage >= 0; };
  const bool row = plan.along_inner() && plan.copies == 4;
  if (!(row || plan.block > 0) || plan.stages != 2 || needs_order(kernel)) return;
  if (std::any_of(plan.store_stage.begin(), plan.store_stage.end(), stored)) return;
  int cycles = 0;
  for (const Expr& e : kernel.exprs) cycles += e.inner || accumulates(e) ? cycles_of(e) : 0;
  if (cycles > narrow_cycles || plan.space[size_t(plan.vector_axis)] < 8 * plan.lanes) return;
  plan.lanes /= 2;
  plan.copies *= 2;
  for (int& copies : plan.stage_copies) copies = plan.copies;
}

// By expression: what computing an element again from its loads costs.
std::vector<int64_t> cycles_from_loads(const Kernel& kernel) {
  std::vector<int64_t> cycles(kernel.exprs.size(), 0);
  for (size_t i = 0; i < kernel.exprs.size(); ++i) {
    const Expr& e = kernel.exprs[i];
    if (!e.inner) continue;
    cycles[i] = cycles_of(e);
    for (int32_t operand : e.operands) cycles[i] += cycles[size_t(operand)];
  }
  return cycles;
}

// Which element expressions are kept: those that a later stage than their first needs and that are
// expensive, and scans, which exist only while their stage runs. Needs are sets of stages, as bits.
void plan_scratch(const Kernel& kernel, const Target& target, RowPlan& plan) {
  if (plan.stages == 1) return;
  const size_t n = kernel.exprs.size();
  std::vector<uint64_t> needed(n, 0);
  for (size_t s = 0; s < kernel.stores.size(); ++s) {
    if (plan.store_stage[s] < 0) continue;
    const KernelStore& store = kernel.stores[s];
    for (int32_t e : {store.value, store.index})
      if (e >= 0) needed[size_t(e)] |= uint64_t(1) << plan.store_stage[s];
  }
  const std::vector<int64_t> cycles = cycles_from_loads(kernel);
  const int64_t width = plan.block > 0       ? plan.columns
                        : plan.along_outer() ? int64_t(plan.lanes) * plan.copies
                                             : 1;
  const int64_t padding = plan.along_inner() ? int64_t(plan.lanes) * plan.copies : 0;
  const int64_t elements = numel(kernel.inner) * width + padding;
  for (size_t i = n; i-- > 0;) {
    const Expr& e = kernel.exprs[i];
    if (accumulates(e)) {
      const int stage = plan.stage_of[i] - (e.kind == Kind::Scan ? 0 : 1);
      if (e.kind == Kind::Scan) needed[i] |= uint64_t(1) << stage;
      for (int32_t operand : e.operands) needed[size_t(operand)] |= uint64_t(1) << stage;
    }
    if (!e.inner) continue;
    const uint64_t first = needed[i] & -needed[i];
    const bool again = needed[i] != first;
    // Columns that advance together keep what stays near; the rest is computed again.
    const int64_t bytes = (elements * int64_t(size_of(e.dtype)) + 63) / 64 * 64;
    const bool near = plan.block == 0 || plan.scratch_bytes + bytes <= target.l2_bytes / 2;
    const bool keep =
        e.kind == Kind::Scan || (e.kind == Kind::Map && cycles[i] > expensive_cycles && near);
    if (again && keep) {
      plan.kept.push_back({int32_t(i), __builtin_ctzll(needed[i]), plan.scratch_bytes});
      plan.scratch_bytes += bytes;
    }
    if (e.kind == Kind::Scan) continue;
    for (int32_t operand : e.operands) needed[size_t(operand)] |= again && keep ? first : needed[i];
  }
}

// The parallel range: a unit is a row, or with lanes along an outer axis some columns of one.
void plan_range(const Kernel& kernel, int cycles, RowPlan& plan) {
  int64_t rows = 1;
  for (int64_t d = 0; d < plan.outer; ++d)
    if (d != plan.vector_axis) rows *= kernel.outer[size_t(d)];
  int64_t unit_elements = numel(kernel.inner);
  if (plan.along_outer()) {
    const int64_t extent = kernel.outer[size_t(plan.vector_axis)];
    plan.chunks = (extent + plan.columns - 1) / plan.columns;
    unit_elements *= std::min(extent, plan.columns);
  }
  const int64_t blocks = (rows + plan.pair_rows - 1) / plan.pair_rows;
  unit_elements *= std::min(rows, plan.pair_rows);
  plan.range = blocks * plan.chunks;
  const double unit_cycles = double(cycles) * double(unit_elements) / plan.lanes + 20;
  plan.grain = std::max<int64_t>(1, int64_t(task_cycles / unit_cycles));
}

}  // namespace

int64_t RowPlan::steps_below(int stage, size_t depth) const {
  int64_t steps = 1;
  for (size_t d = depth + 1; d < nesting.size(); ++d) {
    const int64_t extent = space[size_t(nesting[d])];
    const int64_t width = nesting[d] == vector_axis ? int64_t(lanes) * copies_in(stage) : 1;
    steps *= std::max<int64_t>(1, extent / width);
  }
  return steps;
}

RowPlan plan_rows(const Kernel& kernel, const KernelProgram& program, const Target& target) {
  RowPlan plan;
  plan.outer = int64_t(kernel.outer.size());
  plan.space = kernel.outer;
  for (int64_t extent : kernel.inner) plan.space.push_back(extent);
  plan.masks = target.masked_memory;
  choose_vector_axis(kernel, program, target, plan);
  static_cast<RowStages&>(plan) = row_stages(kernel);
  choose_copies(kernel, plan);
  choose_pairs(kernel, target, plan);
  if (plan.packed.empty()) choose_broadcasts(kernel, plan);
  for (int64_t d = plan.outer; d < int64_t(plan.space.size()); ++d)
    if (d != plan.vector_axis) plan.nesting.push_back(d);
  if (plan.along_inner()) plan.nesting.push_back(plan.vector_axis);
  if (plan.packed.empty() && !plan.broadcasts) choose_columns(kernel, program, target, plan);
  if (target.vector_bytes == 64) choose_narrow(kernel, plan);
  if (plan.block == 0) choose_streams(kernel, program, target, plan);
  if (!plan.holds_columns()) {
    // Whole vectors, and for maps enough of them to be worth a loop.
    plan.columns = kernel.inner.empty() ? chunk_elements : int64_t(plan.lanes) * plan.copies;
  }
  plan_scratch(kernel, target, plan);
  choose_ahead(kernel, plan);
  plan_column_scratch(kernel, plan);
  plan_packed(kernel, plan);
  plan_range(kernel, cycles_of(kernel), plan);
  return plan;
}

}  // namespace cermet::compiler
