// Gradients of reductions and scans.
//
// Products never divide by an element: what multiplies element j is the product of those before it
// times the product of those after it, which is right for any number of zeros and any order of
// derivative. Extrema of a reduction share the adjoint evenly among ties (as amax of PyTorch does);
// those of a scan give it to the latest position that won.

#include <numeric>

#include "ir/gradient_rules.h"

namespace cermet::ir {
namespace {

// A value of y's shape, repeated over the axes that the reduction y removed.
Value spread(const Value& value, const Node& y) {
  const Node& x = *y.operands[0];
  Shape kept = x.shape;
  for (int64_t axis : y.as<ReduceAttr>().axes) kept[size_t(axis)] = 1;
  return expand(reshape(value, kept), x.shape);
}

// For each element of x the product of the other elements that the reduction multiplies it with.
Value product_of_others(const Value& x, const Dims& axes) {
  Dims order;
  Shape rows, permuted;
  int64_t columns = 1;
  for (size_t d = 0; d < x->shape.size(); ++d) {
    if (std::ranges::find(axes, int64_t(d)) != axes.end()) continue;
    order.push_back(int64_t(d)), rows.push_back(x->shape[d]);
  }
  permuted = rows;
  for (int64_t axis : axes) {
    order.push_back(axis), permuted.push_back(x->shape[size_t(axis)]);
    columns *= permuted.back();
  }
  rows.push_back(columns);
  const Value flat = reshape(permute(x, order), rows);
  const Value before = scan(Combine::Prod, flat, -1, false, true);
  const Value after = scan(Combine::Prod, flat, -1, true, true);
  Dims inverse(order.size());
  for (size_t d = 0; d < order.size(); ++d) inverse[size_t(order[d])] = int64_t(d);
  return permute(reshape(before * after, permuted), inverse);
}

// How many elements of x attain the extremum y, in the wide dtype.
Value count_of_ties(const Value& ties, const Value& y) {
  return reduce(Combine::Sum, cast(ties, wide(y->dtype)), y->as<ReduceAttr>().axes);
}

// Element i of the result is element i - by along the axis, or 0 where that does not exist.
Value shift(const Value& x, int64_t axis, int64_t by) { return pad(x, axis, by, -by); }

// r[i] = b[i] + a[i] * r[i - direction] along the axis, with r = 0 beyond the end. Each step
// doubles the distance over which r is expressed (Hillis and Steele, Data Parallel Algorithms,
// 1986), so there are log2(n) of them.
Value recurrence(Value a, Value b, int64_t axis, int64_t direction) {
  const int64_t n = a->shape[size_t(axis)];
  for (int64_t by = 1; by < n; by *= 2) {
    b = b + a * shift(b, axis, direction * by);
    if (by * 2 < n) a = a * shift(a, axis, direction * by);
  }
  return b;
}

// The rules below are for inclusive scans from the start of the axis.

// dx[j] = (x[0] ... x[j-1]) * r[j], where r[j] = dy[j] + x[j+1] * r[j+1].
Value product_scan_adjoint(const Value& x, const Value& dy, int64_t axis) {
  const Value before = scan(Combine::Prod, x, axis, false, true);
  return before * recurrence(shift(x, axis, -1), dy, axis, -1);
}

// The product rule: y[i] = y[i-1] * x[i].
Value product_scan_tangent(const Value& x, const Value& dx, int64_t axis) {
  const Value before = scan(Combine::Prod, x, axis, false, true);
  return recurrence(x, before * dx, axis, 1);
}

// The latest position up to each element at which the running extremum was attained.
Value winners(Combine combine, const Value& x, int64_t axis) {
  const Value index = positions(x->shape, axis);
  const Value attained = won(x, scan(combine, x, axis));
  return scan(Combine::Max, where(attained, index, zeros_like(index)), axis);
}

}  // namespace

Value won(const Value& x, const Value& y) { return bitwise_or(eq(x, y), ne(x, x)); }

Value divide_by_count(const Value& x, const Value& count) {
  return cast(cast(x, count->dtype) / count, x->dtype);
}

Value positions(const Shape& shape, int64_t axis) {
  Shape line(shape.size(), 1);
  line[size_t(axis)] = shape[size_t(axis)];
  return expand(reshape(iota(shape[size_t(axis)]), line), shape);
}

Value reduce_adjoint(const Value& y, const Value& dy) {
  const Value& x = y->operands[0];
  const ReduceAttr& attr = y->as<ReduceAttr>();
  switch (attr.combine) {
    case Combine::Sum: return spread(dy, *y);
    case Combine::Prod: return spread(dy, *y) * product_of_others(x, attr.axes);
    case Combine::Max:
    case Combine::Min: {
      const Value ties = won(x, spread(y, *y));
      const Value share = divide_by_count(dy, count_of_ties(ties, y));
      return where(ties, spread(share, *y), zeros_like(x));
    }
    case Combine::Set: break;  // not a reduction: ir/infer.h
  }
  __builtin_unreachable();
}

Value reduce_tangent(const Value& y, const Value& dx) {
  const Value& x = y->operands[0];
  const ReduceAttr& attr = y->as<ReduceAttr>();
  switch (attr.combine) {
    case Combine::Sum: return reduce(Combine::Sum, dx, attr.axes);
    case Combine::Prod:
      return reduce(Combine::Sum, dx * product_of_others(x, attr.axes), attr.axes);
    case Combine::Max:
    case Combine::Min: {
      const Value ties = won(x, spread(y, *y));
      const Value sum = reduce(Combine::Sum, where(ties, dx, zeros_like(dx)), attr.axes);
      return divide_by_count(sum, count_of_ties(ties, y));
    }
    case Combine::Set: break;
  }
  __builtin_unreachable();
}

Value scan_adjoint(const Value& y, const Value& dy) {
  const auto [combine, axis, reverse, exclusive] = y->as<ScanAttr>();
  if (combine == Combine::Sum) return scan(Combine::Sum, dy, axis, !reverse, exclusive);
  if (y->numel() == 0) return zeros_like(y);
  const Value x = reverse ? flip(y->operands[0], axis) : y->operands[0];
  Value d = reverse ? flip(dy, axis) : dy;
  if (exclusive) d = shift(d, axis, -1);
  const Value dx = combine == Combine::Prod
                       ? product_scan_adjoint(x, d, axis)
                       : scatter(Combine::Sum, zeros_like(x), winners(combine, x, axis), d, axis);
  return reverse ? flip(dx, axis) : dx;
}

Value scan_tangent(const Value& y, const Value& dx) {
  const auto [combine, axis, reverse, exclusive] = y->as<ScanAttr>();
  if (combine == Combine::Sum) return scan(Combine::Sum, dx, axis, reverse, exclusive);
  if (y->numel() == 0) return zeros_like(y);
  const Value x = reverse ? flip(y->operands[0], axis) : y->operands[0];
  const Value d = reverse ? flip(dx, axis) : dx;
  Value dy = combine == Combine::Prod ? product_scan_tangent(x, d, axis)
                                      : gather(d, winners(combine, x, axis), axis);
  if (exclusive) dy = shift(dy, axis, 1);
  return reverse ? flip(dy, axis) : dy;
}

}  // namespace cermet::ir
