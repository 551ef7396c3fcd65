// Gradients of gather, scatter and concat. Reading at an index and adding at an index are each
// other's transposes. Where several updates of a scatter go to one element, the last one was
// written, so it alone gets the adjoint; an extremum shares it evenly among the element and the
// updates that tie (as scatter_reduce of PyTorch does).

#include <fmt/format.h>

#include "cermet/error.h"

#include "ir/gradient_rules.h"

namespace cermet::ir {
namespace {

// Bool, of the index's shape: the updates that were written last at their element.
Value survivors(const Node& y) {
  const int64_t axis = y.as<CombineAttr>().axis;
  const Value& index = y.operands[1];
  const Value own = positions(index->shape, axis);
  const Value none = constant(DType::I64, y.shape, int64_t(-1));
  return eq(own, gather(scatter(Combine::Set, none, index, own, axis), index, axis));
}

// Which of the target's elements and of the updates attain the extremum, and how many for each
// element.
struct Ties {
  Value target, updates, count;
};
Ties ties_of(const Value& y) {
  const int64_t axis = y->as<CombineAttr>().axis;
  const Value& index = y->operands[1];
  Ties t;
  t.target = won(y->operands[0], y);
  t.updates = won(y->operands[2], gather(y, index, axis));
  const DType dtype = wide(y->dtype);
  t.count = scatter(Combine::Sum, cast(t.target, dtype), index, cast(t.updates, dtype), axis);
  return t;
}

[[noreturn]] void no_product_gradient(const Node& y) {
  throw Error(fmt::format("scatter: a product has no gradient rule ({})", type_string(y)));
}

Value or_zeros(const Value& tangent, const Value& x) { return tangent ? tangent : zeros_like(x); }

}  // namespace

Grads gather_adjoints(const Value& y, const Value& dy) {
  const Value &x = y->operands[0], &index = y->operands[1];
  return {scatter(Combine::Sum, zeros_like(x), index, dy, y->as<AxisAttr>().axis), Value()};
}

Grads scatter_adjoints(const Value& y, const Value& dy) {
  const auto [combine, axis] = y->as<CombineAttr>();
  const Value &index = y->operands[1], &updates = y->operands[2];
  const Value zero = zeros_like(updates);
  switch (combine) {
    case Combine::Sum: return {dy, Value(), gather(dy, index, axis)};
    case Combine::Set:
      return {scatter(Combine::Set, dy, index, zero, axis), Value(),
              where(survivors(*y), gather(dy, index, axis), zero)};
    case Combine::Max:
    case Combine::Min: {
      const Ties ties = ties_of(y);
      const Value share = divide_by_count(dy, ties.count);
      return {where(ties.target, share, zeros_like(share)), Value(),
              where(ties.updates, gather(share, index, axis), zero)};
    }
    case Combine::Prod: no_product_gradient(*y);
  }
  __builtin_unreachable();
}

Value scatter_tangent(const Value& y, std::span<const Value> tangents) {
  const auto [combine, axis] = y->as<CombineAttr>();
  const Value& index = y->operands[1];
  const Value target = or_zeros(tangents[0], y->operands[0]);
  const Value updates = or_zeros(tangents[2], y->operands[2]);
  switch (combine) {
    case Combine::Sum:
    case Combine::Set: return scatter(combine, target, index, updates, axis);
    case Combine::Max:
    case Combine::Min: {
      const Ties ties = ties_of(y);
      const Value sum = scatter(Combine::Sum, where(ties.target, target, zeros_like(target)), index,
                                where(ties.updates, updates, zeros_like(updates)), axis);
      return divide_by_count(sum, ties.count);
    }
    case Combine::Prod: no_product_gradient(*y);
  }
  __builtin_unreachable();
}

Grads concat_adjoints(const Value& y, const Value& dy) {
  const int64_t axis = y->as<AxisAttr>().axis;
  Grads out;
  int64_t start = 0;
  for (const Value& part : y->operands) {
    const int64_t stop = start + part->shape[size_t(axis)];
    out.push_back(slice(dy, axis, start, stop));
    start = stop;
  }
  return out;
}

Value concat_tangent(const Value& y, std::span<const Value> tangents) {
  std::vector<Value> parts;
  for (size_t i = 0; i < tangents.size(); ++i)
    parts.push_back(or_zeros(tangents[i], y->operands[i]));
  return concat(parts, y->as<AxisAttr>().axis);
}

}  // namespace cermet::ir
