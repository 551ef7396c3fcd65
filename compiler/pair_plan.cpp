#include "compiler/pair_plan.h"

#include <algorithm>

#include "compiler/lower_scope.h"

namespace cermet::compiler {
namespace {

using Kind = Expr::Kind;

constexpr int64_t least_rows = 32;    // that use a packed tile, to be worth packing it
constexpr int64_t enough_units = 16;  // for threads
constexpr int copies = 4;             // vectors of j for each i, of any number of them

// How an element load is read when lanes run along an outer axis.
enum class Reading : uint8_t { Plain, Packed, Impossible };

Reading reading(const Expr& e, const Kernel& kernel, int64_t axis) {
  if (!e.map->single()) return Reading::Impossible;
  const ir::StridedMap& map = e.map->levels()[0];
  if (map.strides[size_t(axis)] == 0 || map.strides[size_t(axis)] == 1) return Reading::Plain;
  for (size_t d = 0; d < map.shape.size(); ++d) {
    const bool row = d < kernel.outer.size() && int64_t(d) != axis;
    if (row && map.shape[d] > 1 && map.strides[d] != 0) return Reading::Impossible;
    if (map.begin[d] != 0 || map.end[d] != map.shape[d]) return Reading::Impossible;
  }
  return Reading::Packed;
}

// The loads to be packed for lanes along an axis; nothing if others would be gathered.
std::vector<int32_t> packed_along(const Kernel& kernel, int64_t axis) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < kernel.exprs.size(); ++i) {
    const Expr& e = kernel.exprs[i];
    if (e.kind == Kind::Gather) return {};
    if (e.kind != Kind::Load || !e.inner) continue;
    const Reading how = reading(e, kernel, axis);
    if (how == Reading::Impossible) return {};
    if (how == Reading::Packed) out.push_back(int32_t(i));
  }
  return out;
}

// One loop over the elements, then stores of rows along the axis.
bool is_of_pairs(const Kernel& kernel, const RowPlan& plan, int64_t axis) {
  if (plan.stages != 2 || plan.lanes == 1 || needs_order(kernel)) return false;
  for (size_t s = 0; s < kernel.stores.size(); ++s)
    if (plan.store_stage[s] >= 0 || kernel.stores[s].map.strides[size_t(axis)] != 1) return false;
  return plan.space[size_t(axis)] >= plan.lanes;
}

}  // namespace

void choose_pairs(const Kernel& kernel, const Target& target, RowPlan& plan) {
  if (!plan.along_inner()) return;
  for (int64_t axis = plan.outer; axis-- > 0;) {
    if (!is_of_pairs(kernel, plan, axis)) continue;
    std::vector<int32_t> packed = packed_along(kernel, axis);
    int64_t rows = 1, bytes = 0;
    for (int64_t d = 0; d < plan.outer; ++d)
      if (d != axis) rows *= plan.space[size_t(d)];
    for (int32_t i : packed) bytes += int64_t(size_of(kernel.exprs[size_t(i)].dtype));
    bytes *= numel(kernel.inner) * plan.lanes;
    if (packed.empty() || rows < least_rows || copies * bytes > target.l2_bytes / 2) continue;
    const int64_t vectors = (plan.space[size_t(axis)] + plan.lanes - 1) / plan.lanes;
    plan.vector_axis = axis;
    plan.copies = copies;
    plan.stage_copies.assign(size_t(plan.stages), plan.copies);
    plan.columns = int64_t(plan.lanes) * plan.copies;
    plan.packed = std::move(packed);
    const int64_t tiles = (vectors + plan.copies - 1) / plan.copies;
    const int64_t blocks = std::clamp(enough_units / tiles, int64_t(1), rows / least_rows);
    plan.pair_rows = (rows + blocks - 1) / blocks;
    return;
  }
}

void plan_packed(const Kernel& kernel, RowPlan& plan) {
  for (int32_t i : plan.packed) {
    const int64_t bytes =
        numel(kernel.inner) * plan.columns * int64_t(size_of(kernel.exprs[size_t(i)].dtype));
    plan.kept.push_back({i, -1, plan.scratch_bytes});
    plan.scratch_bytes += (bytes + 63) / 64 * 64;
  }
}

}  // namespace cermet::compiler
