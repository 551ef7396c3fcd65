#include "ir/infer.h"

#include <fmt/format.h>

#include <limits>

#include "cermet/error.h"

namespace cermet::ir {
namespace {

template <class... Args>
[[noreturn]] void fail(Op op, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(fmt::format("{}: {}", name(op), fmt::format(text, std::forward<Args>(args)...)));
}

std::string types(std::span<const Value> operands) {
  std::string out;
  for (const Value& v : operands) out += (out.empty() ? "" : ", ") + type_string(*v);
  return out;
}

void expect_count(Op op, std::span<const Value> operands, size_t count) {
  if (operands.size() != count) fail(op, "expects {} operands, got {}", count, operands.size());
  for (const Value& v : operands)
    if (!v) fail(op, "an operand is empty");
}

void expect_axis(Op op, int64_t axis, const Shape& shape) {
  if (axis < 0 || axis >= int64_t(shape.size()))
    fail(op, "axis {} is out of range for {}", axis, to_string(shape));
}

template <class T>
const T& expect(Op op, const Attr& attr) {
  const T* value = std::get_if<T>(&attr);
  if (!value) fail(op, "attributes are missing");
  return *value;
}

Shape valid_shape(Op op, const Shape& shape) {
  for (int64_t extent : shape)
    if (extent < 0) fail(op, "negative size in shape {}", to_string(shape));
  if (!checked_numel(shape))
    fail(op, "shape {} has more elements than fit in 64 bits", to_string(shape));
  return shape;
}

Type elementwise(Op op, std::span<const Value> operands) {
  const OpInfo& row = info(op);
  expect_count(op, operands, size_t(row.arity));
  const size_t first = op == Op::Where ? 1 : 0;
  if (op == Op::Where && !is_bool(operands[0]->dtype))
    fail(op, "the condition must be bool, got {}", type_string(*operands[0]));
  const DType dtype = operands[first]->dtype;
  for (size_t i = first; i < operands.size(); ++i)
    if (operands[i]->dtype != dtype) fail(op, "dtypes differ ({})", types(operands));
  for (const Value& v : operands)
    if (v->shape != operands[0]->shape) fail(op, "shapes differ ({})", types(operands));
  if (!accepts(row.operands, dtype)) fail(op, "not defined for {}", name(dtype));
  return {row.result == Result::Bool ? DType::Bool : dtype, operands[0]->shape};
}

Type reduce(std::span<const Value> operands, const ReduceAttr& attr) {
  const Node& x = *operands[0];
  if (attr.combine == Combine::Set) fail(Op::Reduce, "set is not a reduction");
  const bool extremum = attr.combine == Combine::Max || attr.combine == Combine::Min;
  if (is_bool(x.dtype) && !extremum)
    fail(Op::Reduce, "{} is not defined for bool", name(attr.combine));
  Shape shape;
  size_t next = 0;
  for (size_t d = 0; d < x.shape.size(); ++d) {
    if (next < attr.axes.size() && attr.axes[next] == int64_t(d)) {
      if (extremum && x.shape[d] == 0)
        fail(Op::Reduce, "{} over axis {} of {}, which is empty, has no value", name(attr.combine),
             d, type_string(x));
      ++next;
    } else {
      shape.push_back(x.shape[d]);
    }
  }
  if (next != attr.axes.size())
    fail(Op::Reduce, "axes {} are not ascending axes of {}", to_string(attr.axes), type_string(x));
  return {x.dtype, valid_shape(Op::Reduce, shape)};
}

Type dot(std::span<const Value> operands) {
  const Node &a = *operands[0], &b = *operands[1];
  if (a.dtype != b.dtype) fail(Op::Dot, "dtypes differ ({})", types(operands));
  if (is_bool(a.dtype)) fail(Op::Dot, "not defined for bool");
  if (a.shape.size() != 3 || b.shape.size() != 3 || a.shape[0] != b.shape[0])
    fail(Op::Dot, "expects [B,M,K] and [B,K,N], got {}", types(operands));
  if (a.shape[2] != b.shape[1])
    fail(Op::Dot, "inner sizes differ, {} and {} ({})", a.shape[2], b.shape[1], types(operands));
  return {a.dtype, valid_shape(Op::Dot, {a.shape[0], a.shape[1], b.shape[2]})};
}

Type conv(std::span<const Value> operands, const ConvAttr& attr) {
  const Node &x = *operands[0], &w = *operands[1];
  if (x.dtype != w.dtype) fail(Op::Conv, "dtypes differ ({})", types(operands));
  if (is_bool(x.dtype)) fail(Op::Conv, "not defined for bool");
  const size_t rank = x.shape.size();
  if (rank < 4 || w.shape.size() != rank || x.shape[0] != w.shape[0] || x.shape[2] != w.shape[2])
    fail(Op::Conv, "expects [G,N,C,spatial...] and [G,O,C,window...], got {}", types(operands));
  if (attr.stride.size() != rank - 3 || attr.dilation.size() != rank - 3)
    fail(Op::Conv, "expects {} strides and dilations", rank - 3);
  Shape shape = {x.shape[0], x.shape[1], w.shape[1]};
  for (size_t s = 0; s < rank - 3; ++s) {
    if (attr.stride[s] < 1 || attr.dilation[s] < 1)
      fail(Op::Conv, "stride and dilation must be at least 1, got {} and {}", attr.stride[s],
           attr.dilation[s]);
    const int64_t window = w.shape[3 + s];
    if (window < 1) fail(Op::Conv, "the window is empty ({})", types(operands));
    int64_t reach = 0;
    if (__builtin_mul_overflow(window - 1, attr.dilation[s], &reach) ||
        __builtin_add_overflow(reach, 1, &reach))
      reach = std::numeric_limits<int64_t>::max();
    if (reach > x.shape[3 + s])
      fail(Op::Conv, "the window reaches over {} elements, the input has {} ({})", reach,
           x.shape[3 + s], types(operands));
    shape.push_back((x.shape[3 + s] - reach) / attr.stride[s] + 1);
  }
  return {x.dtype, valid_shape(Op::Conv, shape)};
}

// index has the rank of x and its extents, but for the axis.
void expect_index(Op op, const Node& x, const Node& index, int64_t axis) {
  expect_axis(op, axis, x.shape);
  if (index.dtype != DType::I64) fail(op, "the index must be i64, got {}", type_string(index));
  bool fits = index.shape.size() == x.shape.size();
  for (size_t d = 0; fits && d < x.shape.size(); ++d)
    fits = d == size_t(axis) || index.shape[d] == x.shape[d];
  if (!fits)
    fail(op, "index {} does not fit {} along axis {}", type_string(index), type_string(x), axis);
}

Type concat(std::span<const Value> operands, int64_t axis) {
  if (operands.empty()) fail(Op::Concat, "expects at least one operand");
  const Node& first = *operands[0];
  expect_axis(Op::Concat, axis, first.shape);
  Shape shape = first.shape;
  shape[size_t(axis)] = 0;
  for (const Value& v : operands) {
    if (v->dtype != first.dtype)
      fail(Op::Concat, "dtypes differ, {} and {}", type_string(first), type_string(*v));
    bool fits = v->shape.size() == shape.size();
    for (size_t d = 0; fits && d < shape.size(); ++d)
      fits = d == size_t(axis) || v->shape[d] == shape[d];
    if (!fits)
      fail(Op::Concat, "shapes differ outside of axis {}, {} and {}", axis, type_string(first),
           type_string(*v));
    if (__builtin_add_overflow(shape[size_t(axis)], v->shape[size_t(axis)], &shape[size_t(axis)]))
      fail(Op::Concat, "axis {} becomes longer than 64 bits can say", axis);
  }
  return {first.dtype, valid_shape(Op::Concat, shape)};
}

}  // namespace

Type infer(Op op, std::span<const Value> operands, const Attr& attr, std::optional<DType> dtype,
           const Shape& shape) {
  if (is_elementwise(op)) return elementwise(op, operands);
  const auto leaf = [&] {
    expect_count(op, operands, 0);
    if (!dtype) fail(op, "dtype is missing");
    return Type{*dtype, valid_shape(op, shape)};
  };
  const auto same = [&](size_t count) {
    expect_count(op, operands, count);
    return Type{operands[0]->dtype, operands[0]->shape};
  };
  // The elementwise rows are done; what is listed here is closed.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch"
  switch (op) {
#pragma GCC diagnostic pop
    case Op::Parameter:
      if (expect<ParameterAttr>(op, attr).slot < 0) fail(op, "negative slot");
      return leaf();
    case Op::Data:
      if (!expect<DataAttr>(op, attr).storage) fail(op, "no storage");
      return leaf();
    case Op::Constant: expect<ConstantAttr>(op, attr); return leaf();
    case Op::Iota:
      expect_count(op, operands, 0);
      if (shape.size() != 1) fail(op, "expects a shape of rank 1, got {}", to_string(shape));
      return {DType::I64, valid_shape(op, shape)};
    case Op::Cast:
      expect_count(op, operands, 1);
      if (!dtype) fail(op, "dtype is missing");
      return {*dtype, operands[0]->shape};
    case Op::Bitcast:
      expect_count(op, operands, 1);
      if (!dtype) fail(op, "dtype is missing");
      if (size_of(*dtype) != size_of(operands[0]->dtype) || is_bool(*dtype) ||
          is_bool(operands[0]->dtype))
        fail(op, "{} and {} do not have the same bits", name(operands[0]->dtype), name(*dtype));
      return {*dtype, operands[0]->shape};
    case Op::View: {
      expect_count(op, operands, 1);
      const auto& given = expect<ViewAttr>(op, attr).map;
      if (!given) fail(op, "no map");
      const ViewMap& map = *given;
      if (auto why = verify_view(map, operands[0]->numel()))
        fail(op, "{} ({})", *why, type_string(*operands[0]));
      return {operands[0]->dtype, valid_shape(op, map.shape())};
    }
    case Op::Reduce:
      expect_count(op, operands, 1);
      return reduce(operands, expect<ReduceAttr>(op, attr));
    case Op::ArgReduce: {
      expect_count(op, operands, 1);
      const auto& a = expect<CombineAttr>(op, attr);
      expect_axis(op, a.axis, operands[0]->shape);
      if (a.combine != Combine::Max && a.combine != Combine::Min)
        fail(op, "{} is not an extremum", name(a.combine));
      Shape result = operands[0]->shape;
      if (result[size_t(a.axis)] == 0)
        fail(op, "axis {} of {} is empty", a.axis, type_string(*operands[0]));
      result.erase(result.begin() + a.axis);
      return {DType::I64, valid_shape(op, result)};
    }
    case Op::Scan: {
      const auto& a = expect<ScanAttr>(op, attr);
      Type type = same(1);
      expect_axis(op, a.axis, type.shape);
      if (a.combine == Combine::Set || is_bool(type.dtype))
        fail(op, "{} is not defined for {}", name(a.combine), name(type.dtype));
      return type;
    }
    case Op::Dot: expect_count(op, operands, 2); return dot(operands);
    case Op::Conv: expect_count(op, operands, 2); return conv(operands, expect<ConvAttr>(op, attr));
    case Op::Gather: {
      expect_count(op, operands, 2);
      expect_index(op, *operands[0], *operands[1], expect<AxisAttr>(op, attr).axis);
      return {operands[0]->dtype, operands[1]->shape};
    }
    case Op::Scatter: {
      expect_count(op, operands, 3);
      const auto& a = expect<CombineAttr>(op, attr);
      expect_index(op, *operands[0], *operands[1], a.axis);
      if (operands[2]->shape != operands[1]->shape || operands[2]->dtype != operands[0]->dtype)
        fail(op, "updates must have the index's shape and the target's dtype ({})",
             types(operands));
      if (is_bool(operands[0]->dtype) && a.combine != Combine::Set)
        fail(op, "{} is not defined for bool", name(a.combine));
      return {operands[0]->dtype, operands[0]->shape};
    }
    case Op::Concat: return concat(operands, expect<AxisAttr>(op, attr).axis);
    case Op::ArgSort: {
      const auto& a = expect<SortAttr>(op, attr);
      Type type = same(1);
      expect_axis(op, a.axis, type.shape);
      return {DType::I64, type.shape};
    }
    case Op::Leaf:
      expect<LeafAttr>(op, attr);
      if (!is_float(same(1).dtype))
        fail(op, "only floating point tensors can require gradients, got {}", types(operands));
      return same(1);
    case Op::StopGradient:
    case Op::Barrier: return same(1);
    case Op::Recompute:
      expect_count(op, operands, 2);
      return {operands[0]->dtype, operands[0]->shape};
    case Op::CustomGradient:
      if (operands.empty()) fail(op, "expects at least one operand");
      expect<CustomGradientAttr>(op, attr);
      return {operands[0]->dtype, operands[0]->shape};
  }
  fail(op, "has no inference rule");
}

}  // namespace cermet::ir
