// A group becomes a kernel by pulling: each stored value asks for its operands at its own place in
// the space, views change the place, and whatever is in a buffer becomes a Load there.
//
// A place may be masked (a padded view on the way). Below such a view values are only meaningful
// where the mask is valid, and safe elsewhere: loads read 0, gathers read index 0. The view itself
// then replaces what is outside by 0, unless the operand is a Load, which does it already.
//
// The recursion is as deep as a group: at most max_group_ops nodes and the views between them.

#include <unordered_map>

#include "compiler/fuse_emit.h"
#include "ir/check.h"
#include "ir/element.h"

namespace cermet::compiler {

using ir::Op;
using ir::ViewMap;

namespace {

Expr blank(Expr::Kind kind, DType dtype, bool inner = false, Op op = Op::Constant) {
  Expr e;
  e.kind = kind, e.dtype = dtype, e.inner = inner, e.op = op;
  return e;
}

class Emitter {
 public:
  Emitter(Plan& plan, int32_t group)
      : plan_(plan), group_index_(group), group_(plan.groups[size_t(group)]) {
    for (size_t d = 0; d < group_.axes.size(); ++d)
      if (!group_.inner[d]) order_.push_back(int64_t(d)), kernel().outer.push_back(group_.axes[d]);
    for (size_t d = 0; d < group_.axes.size(); ++d)
      if (group_.inner[d]) order_.push_back(int64_t(d)), kernel().inner.push_back(group_.axes[d]);
    const size_t outer = kernel().outer.size();
    inner_flags_.resize(group_.axes.size(), 1);
    for (size_t d = 0; d < outer; ++d) inner_flags_[d] = 0;
    draft_.one_inner = group_.one_inner;
  }

  Draft run() {
    if (group_.kind == Group::Kind::Sort) return sort();
    for (const Group::Root& root : group_.roots) store(root);
    return std::move(draft_);
  }

 private:
  Kernel& kernel() { return draft_.kernel; }
  Expr& expr(int32_t e) { return kernel().exprs[size_t(e)]; }
  const ir::Node& node(int32_t n) const { return *plan_.nodes[size_t(n)].node; }
  const ViewMap& map(int32_t m) const { return maps_[size_t(m)]; }

  // The id of a map, over the outer axes if it does not depend on the inner ones.
  int32_t intern(ViewMap m) {
    if (m.shape().size() == inner_flags_.size() && !kernel().inner.empty() &&
        is_invariant(m, inner_flags_))
      m = without_axes(m, inner_flags_);
    for (size_t i = maps_.size(); i-- > 0;)
      if (maps_[i] == m) return int32_t(i);
    maps_.push_back(std::move(m));
    return int32_t(maps_.size()) - 1;
  }
  bool is_row(int32_t m) const {
    return draft_.kernel.inner.empty() || map(m).shape().size() < inner_flags_.size();
  }

  // A map of the plan, in this group's axes, outer axes first.
  ViewMap root_map(int32_t plan_map) {
    const Plan::Place place = plan_.place(group_index_, plan_map);
    const ViewMap& m = plan_.maps[size_t(place.map)];
    return place.row ? m : m.permute(order_);
  }

  int32_t add(Expr e) {
    kernel().exprs.push_back(std::move(e));
    return int32_t(kernel().exprs.size()) - 1;
  }

  // The expression as one value per element.
  int32_t per_element(int32_t e) {
    if (expr(e).inner) return e;
    Expr copy = blank(Expr::Kind::Map, expr(e).dtype, true, Op::Cast);
    copy.operands.push_back(e);
    return add(std::move(copy));
  }

  int32_t constant(DType dtype, uint64_t bits) {
    Expr e = blank(Expr::Kind::Constant, dtype);
    e.bits = bits;
    return add(std::move(e));
  }

  int32_t elementwise(Op op, DType dtype, std::initializer_list<int32_t> operands) {
    Expr e = blank(Expr::Kind::Map, dtype, false, op);
    for (int32_t operand : operands) e.operands.push_back(operand), e.inner |= expr(operand).inner;
    return add(std::move(e));
  }

  // Whether the place is valid, as bool.
  int32_t valid(int32_t m) {
    const auto [found, fresh] = valid_.try_emplace(m, -1);
    if (!fresh) return found->second;
    ViewMap at = validity(map(m));
    Expr e = blank(Expr::Kind::Position, DType::I64, !is_row(m));
    e.map = std::move(at);
    const int32_t inside = elementwise(Op::Cast, DType::Bool, {add(std::move(e))});
    return valid_[m] = inside;
  }

  int32_t zero_outside(int32_t e, int32_t m) {
    const DType dtype = expr(e).dtype;
    return elementwise(Op::Where, dtype, {valid(m), e, constant(dtype, 0)});
  }

  int32_t pull(int32_t n, int32_t m) {
    const uint64_t key = uint64_t(uint32_t(n)) << 32 | uint32_t(m);
    if (auto found = done_.find(key); found != done_.end()) return found->second;
    const int32_t e = make(n, m);
    done_.emplace(key, e);
    return e;
  }

  int32_t load(int32_t buffer, int32_t n, int32_t m) {
    Expr e = blank(Expr::Kind::Load, node(n).dtype, !is_row(m));
    e.buffer = buffer, e.map = map(m);
    return add(std::move(e));
  }

  int32_t make(int32_t n, int32_t m) {
    const ir::Node& x = node(n);
    const int32_t buffer = plan_.buffer_of[size_t(n)];
    if (x.numel() == 0 || map(m).never_valid()) return constant(x.dtype, 0);
    if (buffer >= 0 &&
        (plan_.group_of[size_t(n)] < 0 || plan_.find(plan_.group_of[size_t(n)]) != group_index_))
      return load(buffer, n, m);
    switch (x.op) {
      case Op::Constant: return constant(x.dtype, x.as<ir::ConstantAttr>().bits);
      case Op::Iota: {
        Expr e = blank(Expr::Kind::Position, x.dtype, !is_row(m));
        e.map = map(m);
        return add(std::move(e));
      }
      case Op::View: return make_view(n, m);
      case Op::Recompute: return pull(plan_.nodes[size_t(n)].operands[0], m);
      case Op::Gather: return make_gather(n, m);
      case Op::Reduce:
      case Op::ArgReduce:
      case Op::Dot:
      case Op::Conv: return make_reduction(n, m);
      case Op::Scan: return make_scan(n, m);
      default: break;
    }
    CERMET_CHECK(ir::is_pointwise(x.op), "{} has no buffer", plan_.describe(n));
    Expr e = blank(Expr::Kind::Map, x.dtype, false, x.op);
    e.once = !plan_.once.empty() && plan_.once[size_t(n)];
    for (int32_t operand : plan_.nodes[size_t(n)].operands) {
      e.operands.push_back(pull(operand, m));
      e.inner |= expr(e.operands.back()).inner;
    }
    return add(std::move(e));
  }

  int32_t make_view(int32_t n, int32_t m) {
    const ir::Node& x = node(n);
    const int32_t below = intern(ViewMap::compose(map(m), x.view()));
    const int32_t e = pull(plan_.nodes[size_t(n)].operands[0], below);
    if (!x.view().masked() || expr(e).kind == Expr::Kind::Load ||
        expr(e).kind == Expr::Kind::Position || map(below).never_valid())
      return e;
    if (expr(e).kind == Expr::Kind::Constant && expr(e).bits == 0) return e;
    return zero_outside(e, below);
  }

  int32_t make_gather(int32_t n, int32_t m) {
    const ir::Node& x = node(n);
    const auto& operands = plan_.nodes[size_t(n)].operands;
    int32_t index = pull(operands[1], m);
    if (map(m).masked()) index = zero_outside(index, m);
    const auto source = gather_source(x);
    const int32_t from = source ? plan_.index.at(source->buffer) : operands[0];
    CERMET_CHECK(plan_.buffer_of[size_t(from)] >= 0, "the source of {} has no buffer",
                 plan_.describe(n));
    Expr e = blank(Expr::Kind::Gather, x.dtype, !is_row(m));
    e.inner |= expr(index).inner;
    e.operands.push_back(index);
    e.buffer = plan_.buffer_of[size_t(from)];
    if (source) {
      e.stride = source->stride, e.extent = source->extent;
      e.map = ViewMap::compose(map(m), source->map);
    } else {  // the source as it is, row-major
      const size_t axis = size_t(x.as<ir::AxisAttr>().axis);
      const Shape& shape = node(operands[0]).shape;
      ir::StridedMap row = ir::StridedMap::contiguous(x.shape);
      row.strides = row_major_strides(shape);
      e.stride = row.strides[axis], e.extent = shape[axis];
      row.strides[axis] = 0;
      e.map = ViewMap::compose(map(m), ViewMap(std::move(row)));
    }
    return add(std::move(e));
  }

  int32_t make_reduction(int32_t n, int32_t m) {
    const ir::Node& x = node(n);
    CERMET_CHECK(is_row(m), "{} is needed for each element", plan_.describe(n));
    Expr e = blank(Expr::Kind::Reduce, x.dtype);
    if (x.op == Op::Reduce) {
      e.combine = x.as<ir::ReduceAttr>().combine;
    } else if (x.op == Op::ArgReduce) {
      e.kind = Expr::Kind::ArgReduce, e.combine = x.as<ir::CombineAttr>().combine;
    } else {
      e.kind = Expr::Kind::Contract;
    }
    Shape space = kernel().outer;
    for (int64_t extent : kernel().inner) space.push_back(extent);
    for (size_t k = 0; k < x.operands.size(); ++k) {
      ViewMap at = ViewMap::compose(extend(map(m), inner_extents(x)), operand_map(x, k));
      e.operands.push_back(
          per_element(pull(plan_.nodes[size_t(n)].operands[k], intern(at.reshape(space)))));
    }
    return add(std::move(e));
  }

  int32_t make_scan(int32_t n, int32_t m) {
    const auto& attr = node(n).as<ir::ScanAttr>();
    CERMET_CHECK(!is_row(m), "{} is needed for each row", plan_.describe(n));
    Expr e = blank(Expr::Kind::Scan, node(n).dtype, true);
    e.combine = attr.combine, e.reverse = attr.reverse, e.exclusive = attr.exclusive;
    e.operands.push_back(per_element(pull(plan_.nodes[size_t(n)].operands[0], m)));
    return add(std::move(e));
  }

  void store(const Group::Root& root) {
    ViewMap at = root_map(root.map);
    const bool row = kernel().inner.empty() || at.shape().size() < inner_flags_.size();
    int32_t value = pull(root.node, intern(at));
    if (!row) value = per_element(value);
    KernelStore s{.value = value, .buffer = root.buffer, .map = {}};
    if (root.index >= 0) {
      s.index = pull(root.index, intern(at));
      if (!row) s.index = per_element(s.index);
      s.stride = root.stride, s.extent = root.extent, s.combine = root.combine;
    }
    if (root.slice) at = ViewMap::compose(at, ViewMap(*root.slice));
    kernel().stores.push_back(std::move(s));
    draft_.store_maps.push_back(std::move(at));
  }

  Draft sort() {
    const ir::Node& x = node(group_.sort_node);
    Kernel& k = kernel();
    k.kind = Kernel::Kind::Sort, k.descending = x.as<ir::SortAttr>().descending;
    const Group::Root& root = group_.roots[0];
    const int64_t columns = x.shape.back();
    k.outer = {x.numel() / columns}, k.inner = {columns};
    k.sort_input = plan_.buffer_of[size_t(plan_.nodes[size_t(group_.sort_node)].operands[0])];
    const Shape space = {k.outer[0], columns};
    k.stores.push_back(
        {.value = -1, .buffer = root.buffer, .map = ir::StridedMap::contiguous(space)});
    draft_.store_maps.push_back(ViewMap::identity(space));
    return std::move(draft_);
  }

  Plan& plan_;
  int32_t group_index_;
  const Group& group_;
  Draft draft_;
  Dims order_;             // kernel axis to group axis
  AxisFlags inner_flags_;  // of the kernel's axes
  std::vector<ViewMap> maps_;
  std::unordered_map<uint64_t, int32_t> done_;
  std::unordered_map<int32_t, int32_t> valid_;
};

}  // namespace

Draft emit_group(Plan& plan, int32_t group) { return Emitter(plan, group).run(); }

}  // namespace cermet::compiler
