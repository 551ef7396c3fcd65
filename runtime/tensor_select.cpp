// Joining, splitting, padding, gathering, scattering, sorting.

#include "runtime/api.h"

namespace cermet {

using runtime::along;
using runtime::called;
using runtime::operand_value;
using runtime::result_of;
using runtime::value_of;

namespace {

// Tensors in their common dtype.
std::vector<ir::Value> common(std::string_view op, std::span<const Tensor> tensors) {
  if (tensors.empty()) throw Error(fmt::format("{}: expects at least one tensor", op));
  std::vector<ir::Value> values;
  DType dtype = DType::Bool;
  for (const Tensor& t : tensors) {
    values.push_back(value_of(t));
    dtype = promote(dtype, values.back()->dtype);
  }
  for (ir::Value& v : values) v = ir::cast(v, dtype);
  runtime::bring_scalars(values);
  return values;
}

// An index, where x is if it is a single number.
ir::Value brought(const Tensor& index, const ir::Value& x) {
  ir::Value values[] = {value_of(index), x};
  runtime::bring_scalars(values);
  return values[0];
}

// Positions as int64, with negative ones counted from the end of an axis.
ir::Value positions(std::string_view op, const ir::Value& at, int64_t extent) {
  if (!is_integer(at->dtype))
    throw Error(fmt::format("{}: the index must be integers, got {}", op, ir::type_string(*at)));
  return runtime::from_front(at, extent);
}

// x with every axis but `axis` cut to the index's extent, as PyTorch's gather and scatter do.
ir::Value cut_to(std::string_view op, const ir::Value& x, const ir::Value& index, int64_t axis) {
  if (x->shape.size() != index->shape.size())
    throw Error(fmt::format("{}: index {} has another rank than {}", op, ir::type_string(*index),
                            ir::type_string(*x)));
  ir::Value out = x;
  for (size_t d = 0; d < x->shape.size(); ++d) {
    if (int64_t(d) == axis) continue;
    if (index->shape[d] > x->shape[d])
      throw Error(fmt::format("{}: index {} is larger than {} along axis {}", op,
                              ir::type_string(*index), ir::type_string(*x), d));
    out = ir::slice(out, int64_t(d), 0, index->shape[d]);
  }
  return out;
}

// A tensor of rank 0 is gathered from and scattered to as a line of one element.
ir::Value at_least_a_line(const ir::Value& x) {
  return x->shape.empty() ? ir::reshape(x, Shape{1}) : x;
}

ir::Value scatter_value(std::string_view op, ir::Combine combine, const Tensor& x, int64_t dim,
                        const Tensor& index, const ir::Value& source) {
  ir::Value values[] = {value_of(x), value_of(index), source};
  runtime::bring_scalars(values);
  const ir::Value given = values[0], target = at_least_a_line(given);
  const int64_t axis = runtime::axis_of(op, dim, given->shape.size());
  const ir::Value at = at_least_a_line(positions(op, values[1], target->shape[size_t(axis)]));
  ir::Value updates = values[2];
  if (updates->shape.empty()) updates = ir::expand(updates, at->shape);
  if (updates->shape.size() != at->shape.size())
    throw Error(fmt::format("{}: source {} has another rank than index {}", op,
                            ir::type_string(*updates), ir::type_string(*at)));
  for (size_t d = 0; d < at->shape.size(); ++d) {
    if (at->shape[d] > updates->shape[d])
      throw Error(fmt::format("{}: index {} is larger than source {}", op, ir::type_string(*at),
                              ir::type_string(*updates)));
    updates = ir::slice(updates, int64_t(d), 0, at->shape[d]);
  }
  const ir::Value part = cut_to(op, target, at, axis);
  if (part == target)
    return ir::reshape(ir::scatter(combine, target, at, updates, axis), given->shape);
  // The index reaches only a corner of the target: scatter there, and keep the rest.
  ir::Value fresh = ir::scatter(combine, part, at, updates, axis);
  ir::Value inside = ir::constant(DType::Bool, part->shape, int64_t(1));
  for (size_t d = 0; d < target->shape.size(); ++d) {
    const int64_t rest = target->shape[d] - part->shape[d];
    fresh = ir::pad(fresh, int64_t(d), 0, rest), inside = ir::pad(inside, int64_t(d), 0, rest);
  }
  return ir::where(inside, fresh, target);
}

}  // namespace

Tensor cat(std::span<const Tensor> tensors, int64_t dim, SourceLocation where) {
  return result_of("cat", where, [&] {
    const std::vector<ir::Value> values = common("cat", tensors);
    for (const ir::Value& v : values)
      if (v->shape.empty())
        throw Error(
            fmt::format("cat: a tensor of rank 0 ({}) has no axis to be joined at; use "
                        "stack()",
                        ir::type_string(*v)));
    return ir::concat(values, dim);
  });
}
Tensor stack(std::span<const Tensor> tensors, int64_t dim, SourceLocation where) {
  return result_of("stack", where, [&] {
    std::vector<ir::Value> values = common("stack", tensors);
    for (ir::Value& v : values) {
      if (v->shape != values[0]->shape && &v != &values[0])
        throw Error(fmt::format("stack: shapes differ, {} and {}", to_string(tensors[0].shape()),
                                to_string(v->shape)));
    }
    for (ir::Value& v : values) v = ir::unsqueeze(v, dim);
    return ir::concat(values, dim);
  });
}

std::vector<Tensor> split(const Tensor& x, const Dims& sizes, int64_t dim, SourceLocation where) {
  return called("split", where, [&] {
    int64_t total = 0;
    for (int64_t size : sizes) {
      if (size < 0) throw Error(fmt::format("split: negative size in {}", to_string(sizes)));
      if (__builtin_add_overflow(total, size, &total))
        throw Error(
            fmt::format("split: sizes {} add up to more than 64 bits can say", to_string(sizes)));
    }
    if (total != x.size(dim, where))
      throw Error(fmt::format("split: sizes {} add up to {}, the axis has {}", to_string(sizes),
                              total, x.size(dim, where)));
    std::vector<Tensor> out;
    int64_t first = 0;
    for (int64_t size : sizes) {
      out.push_back(x.slice(dim, first, first + size, 1, where));
      first += size;
    }
    return out;
  });
}
std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t dim, SourceLocation where) {
  return called("split", where, [&] {
    if (size <= 0) throw Error(fmt::format("split: size {} must be positive", size));
    Dims sizes;
    for (int64_t rest = x.size(dim, where); rest > 0; rest -= size)
      sizes.push_back(std::min(size, rest));
    if (sizes.empty()) sizes.push_back(0);
    return split(x, sizes, dim, where);
  });
}
std::vector<Tensor> chunk(const Tensor& x, int64_t chunks, int64_t dim, SourceLocation where) {
  return called("chunk", where, [&] {
    if (chunks <= 0) throw Error(fmt::format("chunk: {} chunks", chunks));
    const int64_t extent = x.size(dim, where);
    const int64_t size = extent / chunks + (extent % chunks != 0);
    return split(x, std::max<int64_t>(1, size), dim, where);
  });
}

Tensor pad(const Tensor& x, const Dims& padding, const Scalar& value, SourceLocation where) {
  return result_of("pad", where, [&] {
    ir::Value v = value_of(x);
    if (padding.size() % 2 != 0 || padding.size() / 2 > v->shape.size())
      throw Error(fmt::format("pad: {} does not fit {}", to_string(padding), ir::type_string(*v)));
    for (size_t i = 0; i < padding.size() / 2; ++i)
      v = ir::pad(v, int64_t(v->shape.size() - 1 - i), padding[2 * i], padding[2 * i + 1],
                  value.to_double());
    return v;
  });
}

namespace {
Tensor triangle(std::string_view op, const Tensor& x, int64_t diagonal, bool lower,
                const SourceLocation& where) {
  return result_of(op, where, [&] {
    const ir::Value v = value_of(x);
    if (v->shape.size() < 2)
      throw Error(fmt::format("{}: expects at least two axes, got {}", op, ir::type_string(*v)));
    const int64_t rows = v->shape[v->shape.size() - 2], columns = v->shape.back();
    const int64_t offset = std::clamp(diagonal, -rows, columns);  // further ones cut the same
    const ir::Value row =
        ir::reshape(ir::iota(rows), Shape{rows, 1}) + ir::constant(DType::I64, {}, offset);
    const ir::Value column = ir::iota(columns);
    const ir::Value kept = lower ? ir::le(column, row) : ir::le(row, column);
    return ir::where(kept, v, ir::zeros_like(v));
  });
}
}  // namespace
Tensor tril(const Tensor& x, int64_t diagonal, SourceLocation where) {
  return triangle("tril", x, diagonal, true, where);
}
Tensor triu(const Tensor& x, int64_t diagonal, SourceLocation where) {
  return triangle("triu", x, diagonal, false, where);
}

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index, SourceLocation where) {
  return result_of("gather", where, [&] {
    const ir::Value given = value_of(x), v = at_least_a_line(given);
    const int64_t axis = runtime::axis_of("gather", dim, given->shape.size());
    const ir::Value shown = positions("gather", brought(index, v), v->shape[size_t(axis)]);
    const ir::Value at = at_least_a_line(shown);
    return ir::reshape(ir::gather(cut_to("gather", v, at, axis), at, axis), shown->shape);
  });
}
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index, SourceLocation where) {
  return result_of("index_select", where, [&] {
    const ir::Value given = value_of(x), v = at_least_a_line(given);
    const int64_t axis = runtime::axis_of("index_select", dim, given->shape.size());
    const ir::Value at =
        at_least_a_line(positions("index_select", brought(index, v), v->shape[size_t(axis)]));
    if (at->shape.size() != 1)
      throw Error(
          fmt::format("index_select: the index must have one axis, got {}", ir::type_string(*at)));
    if (given->shape.empty() && at->numel() != 1)
      throw Error(
          fmt::format("index_select: {} positions of {}", at->numel(), ir::type_string(*given)));
    Shape line(v->shape.size(), 1), shape = v->shape;
    line[size_t(axis)] = shape[size_t(axis)] = at->shape[0];
    const ir::Value selected = ir::gather(v, ir::expand(ir::reshape(at, line), shape), axis);
    return given->shape.empty() ? ir::reshape(selected, Shape{}) : selected;
  });
}
Tensor take(const Tensor& x, const Tensor& index, SourceLocation where) {
  return result_of("take", where, [&] {
    const ir::Value v = value_of(x);
    const ir::Value at = positions("take", brought(index, v), v->numel());
    const ir::Value flat =
        ir::gather(ir::reshape(v, Shape{v->numel()}), ir::reshape(at, Shape{at->numel()}), 0);
    return ir::reshape(flat, at->shape);
  });
}
Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Operand& source) {
  return result_of("scatter", source.where(), [&] {
    return scatter_value("scatter", ir::Combine::Set, x, dim, index,
                         operand_value(source, x.dtype()));
  });
}
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                   SourceLocation where) {
  return result_of("scatter_add", where, [&] {
    const ir::Value updates = value_of(source);
    if (updates->dtype != x.dtype())
      throw Error(fmt::format("scatter_add: dtypes differ, {} and {}", name(x.dtype()),
                              name(updates->dtype)));
    return scatter_value("scatter_add", ir::Combine::Sum, x, dim, index, updates);
  });
}

// Through a scatter, so that a class out of range is an error and not a row of zeros.
Tensor one_hot(const Tensor& x, int64_t classes, SourceLocation where) {
  return result_of("one_hot", where, [&] {
    const ir::Value v = value_of(x);
    if (!is_integer(v->dtype) || classes < 1)
      throw Error(fmt::format("one_hot: expects integers and at least one class, got {} and {}",
                              ir::type_string(*v), classes));
    Shape shape = v->shape;
    shape.push_back(classes);
    const int64_t rows = v->numel();
    const ir::Value index = ir::reshape(ir::cast(v, DType::I64), Shape{rows, 1});
    const ir::Value zeros = ir::constant(DType::I64, {rows, classes}, int64_t(0));
    const ir::Value ones = ir::constant(DType::I64, {rows, 1}, int64_t(1));
    return ir::reshape(ir::scatter(ir::Combine::Set, zeros, index, ones, 1), shape);
  });
}

Tensor argsort(const Tensor& x, int64_t dim, bool descending, SourceLocation where) {
  return result_of("argsort", where, [&] {
    return along("argsort", value_of(x), dim, [&](const ir::Value& v, int64_t axis) {
      return ir::argsort(v, axis, descending);
    });
  });
}

namespace {

// The first `count` elements (all, if none) of each line along an axis in their order.
ValuesAndIndices in_order(std::string_view op, const Tensor& x, std::optional<int64_t> count,
                          int64_t dim, bool descending, const SourceLocation& where) {
  return called(op, where, [&] {
    const ir::Value given = value_of(x), v = at_least_a_line(given);
    const int64_t axis = runtime::axis_of(op, dim, given->shape.size());
    const int64_t extent = v->shape[size_t(axis)];
    if (count && (*count < 0 || *count > extent))
      throw Error(fmt::format("{}: {} elements of axis {} of {}", op, *count, axis,
                              ir::type_string(*given)));
    ir::Value order = ir::argsort(v, axis, descending);
    // Of rank 0 there is one element, and PyTorch gives it even where none is asked for.
    if (count && !given->shape.empty()) order = ir::slice(order, axis, 0, *count);
    const Shape shape = given->shape.empty() ? Shape{} : order->shape;
    return ValuesAndIndices{runtime::make_tensor(ir::reshape(ir::gather(v, order, axis), shape)),
                            runtime::make_tensor(ir::reshape(order, shape))};
  });
}

}  // namespace

ValuesAndIndices sort(const Tensor& x, int64_t dim, bool descending, SourceLocation where) {
  return in_order("sort", x, std::nullopt, dim, descending, where);
}
ValuesAndIndices topk(const Tensor& x, int64_t k, int64_t dim, bool largest, SourceLocation where) {
  return in_order("topk", x, k, dim, largest, where);
}

Tensor Tensor::gather(int64_t dim, const Tensor& index, SourceLocation where) const {
  return cermet::gather(*this, dim, index, where);
}
Tensor Tensor::index_select(int64_t dim, const Tensor& index, SourceLocation where) const {
  return cermet::index_select(*this, dim, index, where);
}
Tensor Tensor::take(const Tensor& index, SourceLocation where) const {
  return cermet::take(*this, index, where);
}
Tensor Tensor::scatter(int64_t dim, const Tensor& index, const Operand& source) const {
  return cermet::scatter(*this, dim, index, source);
}
Tensor Tensor::scatter_add(int64_t dim, const Tensor& index, const Tensor& source,
                           SourceLocation where) const {
  return cermet::scatter_add(*this, dim, index, source, where);
}
ValuesAndIndices Tensor::sort(int64_t dim, bool descending, SourceLocation where) const {
  return cermet::sort(*this, dim, descending, where);
}
ValuesAndIndices Tensor::topk(int64_t k, int64_t dim, bool largest, SourceLocation where) const {
  return cermet::topk(*this, k, dim, largest, where);
}
Tensor Tensor::argsort(int64_t dim, bool descending, SourceLocation where) const {
  return cermet::argsort(*this, dim, descending, where);
}

}  // namespace cermet
