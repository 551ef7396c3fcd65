// Reductions, and what is composed of them. The compositions are formulas; the compiler makes one
// kernel of each.

#include <limits>

#include "runtime/api.h"

namespace cermet {

using ir::Combine;
using runtime::along;
using runtime::as_float;
using runtime::axes_of;
using runtime::called;
using runtime::result_of;
using runtime::value_of;

namespace {

// Sums and products of integers and bool are int64, as in PyTorch.
ir::Value wide(const ir::Value& x) { return is_float(x->dtype) ? x : ir::cast(x, DType::I64); }

int64_t count_of(const ir::Value& x, const Dims& axes) {
  int64_t count = 1;
  for (int64_t axis : axes) count *= x->shape[size_t(axis)];
  return count;
}

template <class Prepare>
Tensor reduction(std::string_view op, Combine combine, const Tensor& x, const Axes& dim,
                 bool keepdim, const SourceLocation& where, Prepare prepare) {
  return result_of(op, where, [&] {
    const ir::Value v = prepare(value_of(x));
    return ir::reduce(combine, v, axes_of(op, dim, v->shape.size()), keepdim);
  });
}

ir::Value unchanged(const ir::Value& x) { return x; }
ir::Value as_bool(const ir::Value& x) { return ir::cast(x, DType::Bool); }

ir::Value mean_of(const ir::Value& x, const Dims& axes, bool keepdim) {
  return ir::reduce(Combine::Sum, x, axes, keepdim) / double(count_of(x, axes));
}

// f on x; f16 and bf16 in f32 and rounded once at the end, since their sums overflow and lose
// digits.
template <class F>
ir::Value in_f32(const ir::Value& x, F f) {
  const ir::Value v = as_float(x);
  const bool narrow = size_of(v->dtype) < size_of(DType::F32);
  return narrow ? ir::cast(f(ir::cast(v, DType::F32)), v->dtype) : f(v);
}

// Two passes: the mean, then the squared distances from it, which loses nothing when the mean is
// large.
ir::Value variance(const ir::Value& x, const Dims& axes, int64_t correction, bool keepdim) {
  const ir::Value distance = x - mean_of(x, axes, true);
  const double freedom = double(std::max<int64_t>(0, count_of(x, axes) - correction));
  return ir::reduce(Combine::Sum, distance * distance, axes, keepdim) / freedom;
}

// x minus its maximum, so that exp does not overflow.
ir::Value shifted(const ir::Value& x, const Dims& axes) {
  const ir::Value top = ir::stop_gradient(ir::reduce(Combine::Max, x, axes, true));
  return x - top;
}

Tensor arg(std::string_view op, Combine combine, const Tensor& x, std::optional<int64_t> dim,
           bool keepdim, const SourceLocation& where) {
  return result_of(op, where, [&] {
    ir::Value v = value_of(x);
    if (dim)
      return along(op, v, *dim, [&](const ir::Value& x, int64_t axis) {
        return ir::arg_reduce(combine, x, axis, keepdim);
      });
    const ir::Value flat = ir::arg_reduce(combine, ir::reshape(v, Shape{v->numel()}), 0);
    return keepdim ? ir::reshape(flat, Shape(v->shape.size(), 1)) : flat;
  });
}

}  // namespace

Tensor Tensor::sum(const Axes& dim, bool keepdim, SourceLocation where) const {
  return reduction("sum", Combine::Sum, *this, dim, keepdim, where, wide);
}
Tensor Tensor::prod(const Axes& dim, bool keepdim, SourceLocation where) const {
  return reduction("prod", Combine::Prod, *this, dim, keepdim, where, wide);
}
Tensor Tensor::amax(const Axes& dim, bool keepdim, SourceLocation where) const {
  return reduction("amax", Combine::Max, *this, dim, keepdim, where, unchanged);
}
Tensor Tensor::amin(const Axes& dim, bool keepdim, SourceLocation where) const {
  return reduction("amin", Combine::Min, *this, dim, keepdim, where, unchanged);
}
Tensor Tensor::max(SourceLocation where) const {
  return reduction("max", Combine::Max, *this, {}, false, where, unchanged);
}
Tensor Tensor::min(SourceLocation where) const {
  return reduction("min", Combine::Min, *this, {}, false, where, unchanged);
}
Tensor Tensor::max(const Tensor& other, SourceLocation where) const {
  return called("max", where,
                [&] { return cermet::maximum(Operand(*this, where), Operand(other, where)); });
}
Tensor Tensor::min(const Tensor& other, SourceLocation where) const {
  return called("min", where,
                [&] { return cermet::minimum(Operand(*this, where), Operand(other, where)); });
}

namespace {

// The elements that `choose`, a function of x and an axis, gives one position for in each line
// along the axis.
template <class F>
ValuesAndIndices selection(std::string_view op, const Tensor& x, int64_t dim, bool keepdim,
                           const SourceLocation& where, F choose) {
  return called(op, where, [&] {
    const ir::Value v = value_of(x);
    const int64_t axis = runtime::axis_of(op, dim, v->shape.size());
    const ir::Value lines = v->shape.empty() ? ir::reshape(v, Shape{1}) : v;
    if (lines->shape[size_t(axis)] == 0)
      throw Error(fmt::format("{}: axis {} of {} is empty", op, axis, ir::type_string(*v)));
    const ir::Value at = choose(lines, axis);  // with the axis, of extent 1
    Shape shape = at->shape;
    if (v->shape.empty() || !keepdim) shape.erase(shape.begin() + axis);
    return ValuesAndIndices{runtime::make_tensor(ir::reshape(ir::gather(lines, at, axis), shape)),
                            runtime::make_tensor(ir::reshape(at, shape))};
  });
}

// bool has no extrema of its own.
ir::Value ordered(const ir::Value& x) { return is_bool(x->dtype) ? ir::cast(x, DType::U8) : x; }

// The position of the lower middle element, or of the first NaN.
ir::Value middle(const ir::Value& x, int64_t axis) {
  const int64_t at = (x->shape[size_t(axis)] - 1) / 2;
  const ir::Value position = ir::slice(ir::argsort(x, axis), axis, at, at + 1);
  if (!is_float(x->dtype)) return position;
  const ir::Value nan = ir::cast(ir::ne(x, x), DType::U8);
  const ir::Value found = ir::reduce(Combine::Max, nan, Dims{axis}, true);
  return ir::where(ir::cast(found, DType::Bool), ir::arg_reduce(Combine::Max, nan, axis, true),
                   position);
}

void expect_number(std::string_view op, const ir::Value& x) {
  if (is_bool(x->dtype))
    throw Error(fmt::format("{}: is not defined for {}", op, ir::type_string(*x)));
}

}  // namespace

ValuesAndIndices Tensor::max(int64_t dim, bool keepdim, SourceLocation where) const {
  return selection("max", *this, dim, keepdim, where, [](const ir::Value& x, int64_t axis) {
    return ir::arg_reduce(Combine::Max, ordered(x), axis, true);
  });
}
ValuesAndIndices Tensor::min(int64_t dim, bool keepdim, SourceLocation where) const {
  return selection("min", *this, dim, keepdim, where, [](const ir::Value& x, int64_t axis) {
    return ir::arg_reduce(Combine::Min, ordered(x), axis, true);
  });
}
ValuesAndIndices Tensor::median(int64_t dim, bool keepdim, SourceLocation where) const {
  return selection("median", *this, dim, keepdim, where, [](const ir::Value& x, int64_t axis) {
    expect_number("median", x);
    return middle(x, axis);
  });
}
Tensor Tensor::median(SourceLocation where) const {
  return result_of("median", where, [&] {
    const ir::Value v = value_of(*this), line = ir::reshape(v, Shape{v->numel()});
    expect_number("median", v);
    if (v->numel() > 0) return ir::reshape(ir::gather(line, middle(line, 0), 0), Shape{});
    if (!is_float(v->dtype))
      throw Error(fmt::format("median: {} has no elements", ir::type_string(*v)));
    return ir::constant(v->dtype, {}, std::numeric_limits<double>::quiet_NaN());
  });
}

// Over nothing, any is false and all is true; an extremum has no such value.
Tensor Tensor::any(const Axes& dim, bool keepdim, SourceLocation where) const {
  return result_of("any", where, [&] {
    const ir::Value v = ir::cast(as_bool(value_of(*this)), DType::I64);
    return ir::cast(ir::reduce(Combine::Sum, v, axes_of("any", dim, v->shape.size()), keepdim),
                    DType::Bool);
  });
}
Tensor Tensor::all(const Axes& dim, bool keepdim, SourceLocation where) const {
  return result_of("all", where, [&] {
    const ir::Value v = ir::cast(ir::logical_not(as_bool(value_of(*this))), DType::I64);
    return ir::logical_not(
        ir::reduce(Combine::Sum, v, axes_of("all", dim, v->shape.size()), keepdim));
  });
}

Tensor Tensor::mean(const Axes& dim, bool keepdim, SourceLocation where) const {
  return result_of("mean", where, [&] {
    return in_f32(value_of(*this), [&](const ir::Value& v) {
      return mean_of(v, axes_of("mean", dim, v->shape.size()), keepdim);
    });
  });
}
Tensor Tensor::var(const Axes& dim, int64_t correction, bool keepdim, SourceLocation where) const {
  return result_of("var", where, [&] {
    return in_f32(value_of(*this), [&](const ir::Value& v) {
      return variance(v, axes_of("var", dim, v->shape.size()), correction, keepdim);
    });
  });
}
Tensor Tensor::std(const Axes& dim, int64_t correction, bool keepdim, SourceLocation where) const {
  return result_of("std", where, [&] {
    return in_f32(value_of(*this), [&](const ir::Value& v) {
      // The gradient of equal elements is 0 as in PyTorch: the root's own is 0 / 0 there.
      const ir::Value square =
          variance(v, axes_of("std", dim, v->shape.size()), correction, keepdim);
      const ir::Value zero = ir::zeros_like(square), none = ir::eq(square, zero);
      return ir::where(none, zero, ir::sqrt(ir::where(none, ir::like(square, 1.0), square)));
    });
  });
}

Tensor Tensor::logsumexp(const Axes& dim, bool keepdim, SourceLocation where) const {
  return result_of("logsumexp", where, [&] {
    return in_f32(value_of(*this), [&](const ir::Value& v) {
      const Dims axes = axes_of("logsumexp", dim, v->shape.size());
      // Of nothing: log 0, as in PyTorch. There is no maximum to shift by.
      if (v->numel() == 0) return ir::log(ir::reduce(Combine::Sum, ir::exp(v), axes, keepdim));
      ir::Value top = ir::stop_gradient(ir::reduce(Combine::Max, v, axes, true));
      // An infinite maximum is the answer already: shift by 0 then, so that inf - inf does not
      // arise.
      const ir::Value infinity = ir::like(top, std::numeric_limits<double>::infinity());
      top = ir::where(ir::eq(ir::abs(top), infinity), ir::zeros_like(top), top);
      const ir::Value sum = ir::reduce(Combine::Sum, ir::exp(v - top), axes, keepdim);
      return ir::log(sum) + ir::reshape(top, sum->shape);
    });
  });
}

Tensor Tensor::softmax(int64_t dim, SourceLocation where) const {
  return result_of("softmax", where, [&] {
    return in_f32(value_of(*this), [&](const ir::Value& v) {
      const Dims axes = axes_of("softmax", dim, v->shape.size());
      if (v->numel() == 0) return v;
      const ir::Value e = ir::exp(shifted(v, axes));
      // One division for each row; the others are multiplications.
      const ir::Value sum = ir::reduce(Combine::Sum, e, axes, true);
      return e * (ir::like(sum, 1.0) / sum);
    });
  });
}
Tensor Tensor::log_softmax(int64_t dim, SourceLocation where) const {
  return result_of("log_softmax", where, [&] {
    return in_f32(value_of(*this), [&](const ir::Value& v) {
      const Dims axes = axes_of("log_softmax", dim, v->shape.size());
      if (v->numel() == 0) return v;
      const ir::Value x = shifted(v, axes);
      return x - ir::log(ir::reduce(Combine::Sum, ir::exp(x), axes, true));
    });
  });
}

Tensor Tensor::argmax(std::optional<int64_t> dim, bool keepdim, SourceLocation where) const {
  return arg("argmax", Combine::Max, *this, dim, keepdim, where);
}
Tensor Tensor::argmin(std::optional<int64_t> dim, bool keepdim, SourceLocation where) const {
  return arg("argmin", Combine::Min, *this, dim, keepdim, where);
}

Tensor Tensor::cumsum(int64_t dim, SourceLocation where) const {
  return result_of("cumsum", where, [&] {
    return along("cumsum", wide(value_of(*this)), dim,
                 [](const ir::Value& x, int64_t axis) { return ir::scan(Combine::Sum, x, axis); });
  });
}
Tensor Tensor::cumprod(int64_t dim, SourceLocation where) const {
  return result_of("cumprod", where, [&] {
    return along("cumprod", wide(value_of(*this)), dim,
                 [](const ir::Value& x, int64_t axis) { return ir::scan(Combine::Prod, x, axis); });
  });
}

}  // namespace cermet
