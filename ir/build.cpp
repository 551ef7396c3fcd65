#include "ir/build.h"

#include <fmt/format.h>

#include <cstring>

#include "cermet/error.h"
#include "ir/element.h"

namespace cermet::ir {
namespace {

// Broadcasts operands to their common shape.
void broadcast(std::string_view op, SmallVector<Value, 3>& operands) {
  bool same = true;
  for (const Value& v : operands) {
    if (!v) throw Error(fmt::format("{}: an operand is empty", op));
    same = same && v->shape == operands[0]->shape;
  }
  if (same) return;
  Shape shape = operands[0]->shape;
  for (const Value& v : operands) {
    auto wider = broadcast_shapes(shape, v->shape);
    if (!wider) {
      std::string list;
      for (const Value& w : operands) list += (list.empty() ? "" : " and ") + type_string(*w);
      throw Error(fmt::format("{}: shapes do not broadcast, {}", op, list));
    }
    shape = *wider;
  }
  for (Value& v : operands) v = expand(v, shape);
}

Dims iota_dims(size_t rank) {
  Dims out(rank);
  for (size_t d = 0; d < rank; ++d) out[d] = int64_t(d);
  return out;
}

// Views of views are one view, as long as it has few levels: each that does not merge with the next
// costs divisions for every element, so that from here on storing the elements is cheaper.
bool extends(const Value& x) {
  constexpr size_t most_levels = 8;
  return x->op == Op::View && x->view().levels().size() < most_levels;
}

ViewMap map_of(const Value& x) { return extends(x) ? x->view() : ViewMap::identity(x->shape); }

Attr view_attr(ViewMap map) {
  return ViewAttr{
      std::allocate_shared<const ViewMap>(FreeListAllocator<ViewMap>(), std::move(map))};
}

// A view by a map that already includes the view that x is, if that one extends.
Value view_of_source(const Value& x, ViewMap map) {
  const Value source = extends(x) ? x->operands[0] : x->op == Op::View ? barrier(x) : x;
  if (source->op == Op::Constant && !map.masked())
    return make(Op::Constant, {}, source->attr, source->dtype, map.shape());
  if (map.is_identity() && map.shape() == source->shape) return source;
  return make(Op::View, {source}, view_attr(std::move(map)));
}

Dims wrap_axes(std::string_view op, std::span<const int64_t> axes, size_t rank) {
  Dims out;
  for (int64_t axis : axes) out.push_back(wrap_axis(op, axis, rank));
  std::sort(out.begin(), out.end());
  for (size_t i = 1; i < out.size(); ++i)
    if (out[i] == out[i - 1]) throw Error(fmt::format("{}: axis {} is given twice", op, out[i]));
  return out;
}

}  // namespace

int64_t wrap_axis(std::string_view op, int64_t axis, size_t rank) {
  const int64_t n = int64_t(rank);
  if (axis < -n || axis >= n)
    throw Error(fmt::format("{}: axis {} is out of range for rank {}", op, axis, rank));
  return axis < 0 ? axis + n : axis;
}

Value parameter(int64_t slot, DType dtype, const Shape& shape) {
  return make(Op::Parameter, {}, ParameterAttr{slot}, dtype, shape);
}
Value data(std::shared_ptr<const Storage> storage, DType dtype, const Shape& shape) {
  return make(Op::Data, {}, DataAttr{std::move(storage)}, dtype, shape);
}
Value constant_bits(DType dtype, const Shape& shape, uint64_t bits) {
  return make(Op::Constant, {}, ConstantAttr{bits}, dtype, shape);
}
Value constant(DType dtype, const Shape& shape, double value) {
  return constant_bits(dtype, shape, element_bits(dtype, value));
}
Value constant(DType dtype, const Shape& shape, int64_t value) {
  return constant_bits(dtype, shape, element_bits(dtype, value));
}
Value iota(int64_t count) { return make(Op::Iota, {}, {}, DType::I64, {count}); }
Value like(const Value& x, double value) { return constant(x->dtype, x->shape, value); }
Value zeros_like(const Value& x) { return constant_bits(x->dtype, x->shape, 0); }

std::optional<double> constant_value(const Node& node) {
  if (node.op != Op::Constant) return std::nullopt;
  return element_to_double(node.dtype, node.as<ConstantAttr>().bits);
}

Value elementwise_from(Op op, SmallVector<Value, 3>&& operands) {
  broadcast(name(op), operands);
  return make(op, std::move(operands));
}
Value elementwise(Op op, std::span<const Value> operands) {
  return elementwise_from(op, SmallVector<Value, 3>(operands));
}

namespace {

template <class... Values>
Value elementwise_of(Op op, const Values&... operands) {
  SmallVector<Value, 3> list;
  (list.push_back(operands), ...);
  return elementwise_from(op, std::move(list));
}

}  // namespace

#define CERMET_PARAMS1 const Value& x
#define CERMET_PARAMS2 const Value &x, const Value &y
#define CERMET_PARAMS3 const Value &x, const Value &y, const Value &z
#define CERMET_LIST1 x
#define CERMET_LIST2 x, y
#define CERMET_LIST3 x, y, z
#define OP(Enum, name, arity, ...) \
  Value name(CERMET_PARAMS##arity) { return elementwise_of(Op::Enum, CERMET_LIST##arity); }
#include "cermet/ops.def"

Value cast(const Value& x, DType dtype) {
  return x->dtype == dtype ? x : make(Op::Cast, {x}, {}, dtype);
}
Value bitcast(const Value& x, DType dtype) {
  return x->dtype == dtype ? x : make(Op::Bitcast, {x}, {}, dtype);
}
Value logical_not(const Value& x) {
  return is_bool(x->dtype) ? bitwise_not(x) : eq(x, zeros_like(x));
}

Value view(const Value& x, const ViewMap& map) {
  if (auto why = verify_view(map, x->numel()))
    throw Error(fmt::format("view: {} ({})", *why, type_string(*x)));
  return view_of_source(x, extends(x) ? ViewMap::compose(map, x->view()) : map);
}

Shape reshaped(DType dtype, const Shape& old, std::span<const int64_t> shape) {
  const int64_t elements = numel(old);
  Shape result(shape);
  int64_t known = 1, unknown = -1;
  for (size_t d = 0; d < result.size(); ++d) {
    if (result[d] == -1 && unknown < 0) {
      unknown = int64_t(d);
    } else if (result[d] < 0) {
      throw Error(fmt::format("reshape: invalid size {} in shape {}", result[d], to_string(shape)));
    } else if (__builtin_mul_overflow(known, result[d], &known)) {
      throw Error(fmt::format("reshape: shape {} has too many elements", to_string(shape)));
    }
  }
  if (unknown >= 0) {
    if (known == 0 || elements % known != 0)
      throw Error(
          fmt::format("reshape: {} does not fit {}", to_string(shape), type_string(dtype, old)));
    result[size_t(unknown)] = elements / known;
  } else if (known != elements) {
    throw Error(fmt::format("reshape: {} has {} elements, {} has {}", to_string(shape), known,
                            type_string(dtype, old), elements));
  }
  return result;
}

Value reshape(const Value& x, std::span<const int64_t> shape) {
  const Shape result = reshaped(x->dtype, x->shape, shape);
  return result == x->shape ? x : view_of_source(x, map_of(x).reshape(result));
}

Dims permuted(DType dtype, const Shape& old, std::span<const int64_t> order) {
  Dims wrapped, seen;
  for (int64_t axis : order) wrapped.push_back(wrap_axis("permute", axis, old.size()));
  seen = wrapped;
  std::sort(seen.begin(), seen.end());
  if (seen != iota_dims(old.size()))
    throw Error(fmt::format("permute: {} is not an order of the axes of {}", to_string(order),
                            type_string(dtype, old)));
  return wrapped;
}

Value permute(const Value& x, std::span<const int64_t> order) {
  return view_of_source(x, map_of(x).permute(permuted(x->dtype, x->shape, order)));
}

Value transpose(const Value& x, int64_t axis1, int64_t axis2) {
  Dims order = iota_dims(x->shape.size());
  std::swap(order[size_t(wrap_axis("transpose", axis1, order.size()))],
            order[size_t(wrap_axis("transpose", axis2, order.size()))]);
  return permute(x, order);
}

Shape aligned_for(DType dtype, const Shape& from, std::span<const int64_t> shape) {
  const size_t rank = shape.size(), old = from.size();
  Shape aligned(rank, 1);
  bool fits = old <= rank;
  for (size_t d = 0; fits && d < old; ++d) {
    aligned[rank - old + d] = from[d];
    fits = from[d] == shape[rank - old + d] || from[d] == 1;
  }
  if (!fits)
    throw Error(fmt::format("expand: {} does not broadcast to {}", type_string(dtype, from),
                            to_string(shape)));
  if (!checked_numel(shape))
    throw Error(
        fmt::format("expand: shape {} has more elements than fit in 64 bits", to_string(shape)));
  return aligned;
}

Value expand(const Value& x, std::span<const int64_t> shape) {
  if (std::ranges::equal(x->shape, shape)) return x;
  const Shape aligned = aligned_for(x->dtype, x->shape, shape);
  if (x->op == Op::Constant) return make(Op::Constant, {}, x->attr, x->dtype, shape);
  if (x->op != Op::View && x->numel() > 0) {  // as below, in one step
    StridedMap map = StridedMap::contiguous(aligned);
    for (size_t d = 0; d < shape.size(); ++d) {
      if (aligned[d] == 1) map.strides[d] = 0;
      map.shape[d] = map.end[d] = shape[d];
    }
    return make(Op::View, {x}, view_attr(ViewMap(std::move(map))));
  }
  return view_of_source(x, map_of(x).reshape(aligned).expand(shape));
}

Slice slice_of(const Shape& shape, int64_t axis, std::optional<int64_t> start,
               std::optional<int64_t> stop, int64_t step) {
  axis = wrap_axis("slice", axis, shape.size());
  if (step == 0) throw Error("slice: the step is 0");
  const int64_t n = shape[size_t(axis)];
  // Python's slice.indices: omitted bounds, negative ones count from the end, all are clipped.
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
  const auto clip = [&](int64_t i) { return std::clamp(i < 0 ? i + n : i, low, high); };
  const int64_t first = start ? clip(*start) : (step > 0 ? low : high);
  const int64_t last = stop ? clip(*stop) : (step > 0 ? high : low);
  const int64_t distance = step > 0 ? last - first : first - last;
  const int64_t stride = step > 0 ? step : -std::max(step, -INT64_MAX);  // no axis is longer
  const int64_t count = distance <= 0 ? 0 : (distance - 1) / stride + 1;
  return {axis, count > 0 ? first : 0, count, count > 1 ? step : 1};
}

Value slice(const Value& x, int64_t axis, std::optional<int64_t> start, std::optional<int64_t> stop,
            int64_t step) {
  const Slice s = slice_of(x->shape, axis, start, stop, step);
  return view_of_source(x, map_of(x).slice(s.axis, s.first, s.count, s.step));
}

Value flip(const Value& x, int64_t axis) {
  return view_of_source(x, map_of(x).flip(wrap_axis("flip", axis, x->shape.size())));
}

Value pad(const Value& x, int64_t axis, int64_t before, int64_t after, double value) {
  axis = wrap_axis("pad", axis, x->shape.size());
  Shape shape = x->shape;
  int64_t& extent = shape[size_t(axis)];
  if (__builtin_add_overflow(extent, before, &extent) ||
      __builtin_add_overflow(extent, after, &extent) || extent < 0 || !checked_numel(shape))
    throw Error(fmt::format("pad: axis {} of {} cannot take {} before and {} after", axis,
                            type_string(*x), before, after));
  if (before == 0 && after == 0) return x;
  Value padded = view_of_source(x, map_of(x).pad(axis, before, after));
  const uint64_t bits = element_bits(x->dtype, value);
  if (bits == 0 || (before <= 0 && after <= 0)) return padded;
  Value inside = pad(constant(DType::Bool, x->shape, int64_t(1)), axis, before, after);
  return where(inside, padded, constant_bits(x->dtype, shape, bits));
}

Value unsqueeze(const Value& x, int64_t axis) {
  Shape shape = x->shape;
  axis = wrap_axis("unsqueeze", axis, shape.size() + 1);
  shape.insert(shape.begin() + axis, 1);
  return reshape(x, shape);
}
Value squeeze(const Value& x, int64_t axis) {
  Shape shape = x->shape;
  axis = wrap_axis("squeeze", axis, shape.size());
  if (shape[size_t(axis)] != 1) return x;
  shape.erase(shape.begin() + axis);
  return reshape(x, shape);
}

Value diagonal(const Value& x, int64_t offset, int64_t axis1, int64_t axis2) {
  axis1 = wrap_axis("diagonal", axis1, x->shape.size());
  axis2 = wrap_axis("diagonal", axis2, x->shape.size());
  if (axis1 == axis2) throw Error(fmt::format("diagonal: axis {} is given twice", axis1));
  return view_of_source(x, map_of(x).diagonal(offset, axis1, axis2));
}

Value unfold(const Value& x, int64_t axis, int64_t size, int64_t stride, int64_t dilation) {
  axis = wrap_axis("unfold", axis, x->shape.size());
  if (size < 1 || stride < 1 || dilation < 1)
    throw Error(fmt::format("unfold: size {}, stride {} and dilation {} must be at least 1", size,
                            stride, dilation));
  return view_of_source(x, map_of(x).unfold(axis, size, stride, dilation));
}

Value reduce(Combine combine, const Value& x, std::span<const int64_t> axes, bool keepdim) {
  const Dims wrapped = wrap_axes(name(combine), axes, x->shape.size());
  Value y = wrapped.empty() ? x : make(Op::Reduce, {x}, ReduceAttr{combine, wrapped});
  if (!keepdim) return y;
  Shape shape = x->shape;
  for (int64_t axis : wrapped) shape[size_t(axis)] = 1;
  return reshape(y, shape);
}

Value arg_reduce(Combine combine, const Value& x, int64_t axis, bool keepdim) {
  axis = wrap_axis(combine == Combine::Max ? "argmax" : "argmin", axis, x->shape.size());
  Value y = make(Op::ArgReduce, {x}, CombineAttr{combine, axis});
  return keepdim ? unsqueeze(y, axis) : y;
}

Value scan(Combine combine, const Value& x, int64_t axis, bool reverse, bool exclusive) {
  axis = wrap_axis("scan", axis, x->shape.size());
  return make(Op::Scan, {x}, ScanAttr{combine, axis, reverse, exclusive});
}

Value dot(const Value& a, const Value& b) { return make(Op::Dot, {a, b}); }

Value matmul(const Value& a, const Value& b) {
  const auto fail = [&](std::string_view why) {
    throw Error(fmt::format("matmul: {} ({} x {})", why, type_string(*a), type_string(*b)));
  };
  if (a->shape.empty() || b->shape.empty()) fail("scalars have no rows");
  if (a->dtype != b->dtype) fail("dtypes differ");
  const Value left = a->shape.size() == 1 ? unsqueeze(a, 0) : a;
  const Value right = b->shape.size() == 1 ? unsqueeze(b, 1) : b;
  const Shape &l = left->shape, &r = right->shape;
  const int64_t m = l[l.size() - 2], k = l.back(), n = r.back();
  if (k != r[r.size() - 2]) fail(fmt::format("inner sizes differ, {} and {}", k, r[r.size() - 2]));
  const std::span<const int64_t> batch_l(l.data(), l.size() - 2), batch_r(r.data(), r.size() - 2);
  auto batch = broadcast_shapes(batch_l, batch_r);
  if (!batch || !checked_numel(*batch)) fail("batch sizes do not broadcast");
  Shape full_l = *batch, full_r = *batch, result = *batch;
  full_l.push_back(m), full_l.push_back(k), full_r.push_back(k), full_r.push_back(n);
  const int64_t count = numel(*batch);
  const Value product = dot(reshape(expand(left, full_l), Shape{count, m, k}),
                            reshape(expand(right, full_r), Shape{count, k, n}));
  if (a->shape.size() > 1) result.push_back(m);
  if (b->shape.size() > 1) result.push_back(n);
  return reshape(product, result);
}

Value conv(const Value& x, const Value& w, std::span<const int64_t> stride,
           std::span<const int64_t> dilation) {
  return make(Op::Conv, {x, w}, ConvAttr{Dims(stride), Dims(dilation)});
}

Value gather(const Value& x, const Value& index, int64_t axis) {
  return make(Op::Gather, {x, index}, AxisAttr{wrap_axis("gather", axis, x->shape.size())});
}
Value scatter(Combine combine, const Value& x, const Value& index, const Value& updates,
              int64_t axis) {
  axis = wrap_axis("scatter", axis, x->shape.size());
  return make(Op::Scatter, {x, index, updates}, CombineAttr{combine, axis});
}

Value concat(std::span<const Value> parts, int64_t axis) {
  if (parts.empty()) throw Error("cat: expects at least one tensor");
  axis = wrap_axis("cat", axis, parts[0]->shape.size());
  return parts.size() == 1 ? parts[0]
                           : make(Op::Concat, SmallVector<Value, 3>(parts), AxisAttr{axis});
}

Value argsort(const Value& x, int64_t axis, bool descending) {
  return make(Op::ArgSort, {x}, SortAttr{wrap_axis("argsort", axis, x->shape.size()), descending});
}

Value leaf(const Value& x, std::shared_ptr<Variable> variable) {
  return make(Op::Leaf, {x}, LeafAttr{std::move(variable)});
}
Value stop_gradient(const Value& x) { return x->requires_grad ? make(Op::StopGradient, {x}) : x; }
Value custom_gradient(const Value& result, std::span<const Value> inputs,
                      std::shared_ptr<const GradientRule> rule) {
  SmallVector<Value, 3> operands{result};
  for (const Value& v : inputs) operands.push_back(v);
  return make(Op::CustomGradient, std::move(operands), CustomGradientAttr{std::move(rule)});
}
Value barrier(const Value& x) { return make(Op::Barrier, {x}); }
Value recompute(const Value& x, const Value& after) { return make(Op::Recompute, {x, after}); }

Value sum_to(const Value& x, const Shape& shape) {
  if (x->shape == shape) return x;
  const size_t rank = x->shape.size(), extra = rank - shape.size();
  Dims axes;
  for (size_t d = 0; d < rank; ++d)
    if (d < extra || (shape[d - extra] == 1 && x->shape[d] != 1)) axes.push_back(int64_t(d));
  return reshape(reduce(Combine::Sum, x, axes), shape);
}

}  // namespace cermet::ir
