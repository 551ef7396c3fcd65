#include "compiler/tile_loads.h"

namespace cermet::compiler {

using loops::Ref;
using Kind = Expr::Kind;

namespace {

constexpr int64_t small_extent = 64;

// Expressions without inner axes below an operand, operands first.
std::vector<int32_t> invariants_below(const Kernel& kernel, int32_t root) {
  std::vector<bool> below(kernel.exprs.size(), false);
  below[size_t(root)] = true;
  std::vector<int32_t> out;
  for (int32_t i = root; i >= 0; --i) {
    if (!below[size_t(i)]) continue;
    for (int32_t operand : kernel.exprs[size_t(i)].operands) below[size_t(operand)] = true;
    if (!kernel.exprs[size_t(i)].inner) out.insert(out.begin(), i);
  }
  return out;
}

// Whether the inner axes are one axis for everything below an operand: then their index needs not
// be taken apart. So it is for the weights of a convolution, whose image divides by the window.
bool inner_is_flat(const Kernel& kernel, const std::vector<int64_t>& axes, int32_t root) {
  std::vector<bool> below(kernel.exprs.size(), false);
  below[size_t(root)] = true;
  for (int32_t i = root; i >= 0; --i) {
    const Expr& e = kernel.exprs[size_t(i)];
    if (!below[size_t(i)] || !e.inner) continue;
    for (int32_t operand : e.operands) below[size_t(operand)] = true;
    if (!e.map) continue;
    const ir::StridedMap& m = e.map->levels()[0];
    for (size_t a = 0; a < axes.size(); ++a) {
      const auto d = size_t(axes[a]);
      if (m.begin[d] != 0 || m.end[d] != m.shape[d]) return false;
      if (a == 0) continue;
      if (m.strides[size_t(axes[a - 1])] != m.strides[d] * m.shape[d]) return false;
    }
  }
  return true;
}

}  // namespace

void spread_index(KernelWriter& w, Scope& scope, const std::vector<int64_t>& axes, Ref number,
                  bool literal) {
  loops::Builder& b = w.builder();
  for (size_t a = axes.size(); a-- > 0;) {
    const int64_t axis = axes[a], value = w.space()[size_t(axis)];
    const Ref extent = literal && value <= small_extent ? b.index(value) : w.extent(axis);
    scope.index[size_t(axis)] = a == 0 ? number : b.rem(number, extent);
    if (a > 0) number = b.div(number, extent);
  }
}

TileLoads::TileLoads(KernelWriter& w, const TilePlan& plan, const TileSide& side,
                     const std::vector<Ref>& at, Ref first)
    : w_(w),
      b_(w.builder()),
      plan_(plan),
      side_(side),
      flat_(inner_is_flat(w.kernel(), plan.groups.inner, side.expr)) {
  shared_ = w_.scratch_buffer(plan.shared_dtype, b_.index(side.shared_offset));
  const int64_t vectors = side.tile * plan.depth / side.lanes, threads = plan.threads();
  for (int64_t v = 0; v < vectors; v += threads) {
    const Ref number = b_.add(b_.thread(), b_.index(v));
    const bool whole = v + threads <= vectors;
    add_slot(number, whole ? Ref() : b_.lt(number, b_.index(vectors)), at, first);
  }
}

void TileLoads::add_slot(Ref number, Ref exists, const std::vector<Ref>& at, Ref first) {
  Slot slot;
  const int64_t fast = (side_.along_inner ? plan_.depth : side_.tile) / side_.lanes;
  const Ref along = b_.mul(b_.rem(number, b_.index(fast)), b_.index(side_.lanes));
  const Ref across = b_.div(number, b_.index(fast));
  slot.k = side_.along_inner ? along : across;
  slot.place = side_.along_inner ? across : along;
  slot.exists = exists;
  Scope& scope = slot.scope;
  scope = {at, side_.lanes, exists, std::vector<Ref>(w_.kernel().exprs.size())};
  const Ref place = b_.add(first, slot.place);
  spread_index(w_, scope, side_.axes, place);
  if (side_.extent % side_.tile != 0) {
    const Ref extent = w_.integer(&side_ == &plan_.rows ? "rows" : "columns", 0, side_.extent);
    scope.mask = w_.both(scope.mask, b_.lt(place, extent));
  }
  w_.set_vector_axis(side_.along_inner ? plan_.groups.inner.back() : side_.axes.back());
  for (int32_t e : invariants_below(w_.kernel(), side_.expr)) w_.evaluate(scope, e);
  slots_.push_back(std::move(slot));
}

Scope TileLoads::scope_at(const Slot& slot, Ref k, Ref exists) {
  Scope scope = slot.scope;
  const Ref here = b_.add(k, slot.k);
  if (flat_) {
    for (int64_t axis : plan_.groups.inner) scope.index[size_t(axis)] = b_.index(0);
    scope.index[size_t(plan_.groups.inner.back())] = here;
  } else {
    spread_index(w_, scope, plan_.groups.inner, here, true);
  }
  scope.mask = w_.both(scope.mask, exists);
  if (plan_.inner % plan_.depth != 0)
    scope.mask = w_.both(scope.mask, b_.lt(here, w_.integer("terms", 0, plan_.inner)));
  return scope;
}

std::vector<Ref> TileLoads::fetch(Ref k, Ref exists) {
  w_.set_vector_axis(side_.along_inner ? plan_.groups.inner.back() : side_.axes.back());
  const Expr& operand = w_.kernel().exprs[size_t(side_.expr)];
  std::vector<Ref> out;
  for (const Slot& slot : slots_) {
    Scope scope = scope_at(slot, k, exists);
    Ref value = b_.splat(w_.evaluate(scope, side_.expr), side_.lanes);
    // What is masked is loaded as 0, but computed to anything.
    if (scope.mask && operand.kind != Kind::Load)
      value = b_.select(scope.mask, value, b_.constant_bits(plan_.dtype, 0, side_.lanes));
    out.push_back(value);
  }
  return out;
}

Ref TileLoads::place_of(const Slot& slot, Ref stage) {
  const bool across = plan_.tensor && side_.along_inner;
  const Ref line = across ? slot.place : slot.k, along = across ? slot.k : slot.place;
  return b_.add(stage, shared_place(b_, plan_, side_, line, along));
}

void TileLoads::put(Ref stage, const std::vector<Ref>& values) {
  for (size_t s = 0; s < slots_.size(); ++s) {
    const Slot& slot = slots_[s];
    const Ref place = place_of(slot, stage);
    const Ref value =
        plan_.tf32() ? b_.round_tf32(values[s]) : b_.cast(values[s], plan_.shared_dtype);
    if (plan_.tensor || !side_.along_inner || side_.lanes == 1) {
      b_.store(shared_, place, value, slot.exists);
    } else {
      const Ref steps = b_.mul(b_.ramp(b_.index(0), side_.lanes), b_.index(side_.line));
      b_.scatter_store(shared_, b_.add(place, steps), value, slot.exists);
    }
  }
}

void TileLoads::copy(Ref stage, Ref k, Ref exists) {
  w_.set_vector_axis(side_.along_inner ? plan_.groups.inner.back() : side_.axes.back());
  for (const Slot& slot : slots_) {
    Scope scope = scope_at(slot, k, exists);
    w_.copy(scope, side_.expr, shared_, place_of(slot, stage));
  }
}

}  // namespace cermet::compiler
