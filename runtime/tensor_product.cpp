// Products of matrices, convolution, pooling, and the layers made of them.

#include <cmath>
#include <limits>

#include "runtime/api.h"

namespace cermet {

using runtime::as_float;
using runtime::called;
using runtime::result_of;
using runtime::value_of;

namespace {

std::pair<ir::Value, ir::Value> same_dtype(std::string_view op, const Tensor& a, const Tensor& b) {
  const ir::Value x = value_of(a), y = value_of(b);
  if (x->dtype != y->dtype)
    throw Error(
        fmt::format("{}: dtypes differ, {} and {}", op, ir::type_string(*x), ir::type_string(*y)));
  return {x, y};
}

// Sums over the last `count` axes of a and the first `count` axes of b.
ir::Value contract(const ir::Value& a, const ir::Value& b, size_t count) {
  const size_t kept = a->shape.size() - count;
  int64_t rows = 1, inner = 1, columns = 1;
  Shape result;
  for (size_t d = 0; d < a->shape.size(); ++d) {
    (d < kept ? rows : inner) *= a->shape[d];
    if (d < kept) result.push_back(a->shape[d]);
  }
  for (size_t d = count; d < b->shape.size(); ++d)
    columns *= b->shape[d], result.push_back(b->shape[d]);
  return ir::reshape(
      ir::dot(ir::reshape(a, Shape{1, rows, inner}), ir::reshape(b, Shape{1, inner, columns})),
      result);
}

// Two numbers for the two spatial axes; one stands for both.
Dims pair_of(std::string_view op, std::string_view what, const Dims& value, int64_t least) {
  Dims out = value;
  if (out.size() == 1) out.push_back(out[0]);
  if (out.size() != 2 || out[0] < least || out[1] < least)
    throw Error(fmt::format("{}: {} {} must be two numbers of at least {}", op, what,
                            to_string(value), least));
  return out;
}

// The windows of an image: [N, C, H', W', kh, kw].
ir::Value windows(std::string_view op, const ir::Value& x, const Dims& window, const Dims& stride,
                  const Dims& padding, double fill) {
  if (x->shape.size() != 4)
    throw Error(fmt::format("{}: expects [N,C,H,W], got {}", op, ir::type_string(*x)));
  const Dims k = pair_of(op, "window", window, 1),
             s = stride.empty() ? k : pair_of(op, "stride", stride, 1);
  const Dims p = pair_of(op, "padding", padding, 0);
  if (p[0] > k[0] / 2 || p[1] > k[1] / 2)
    throw Error(fmt::format("{}: padding {} is more than half of the window {}", op,
                            to_string(padding), to_string(window)));
  ir::Value v = ir::pad(ir::pad(x, 2, p[0], p[0], fill), 3, p[1], p[1], fill);
  if (k[0] > v->shape[2] || k[1] > v->shape[3])
    throw Error(fmt::format("{}: the window {} is larger than {}", op, to_string(window),
                            ir::type_string(*v)));
  return ir::unfold(ir::unfold(v, 2, k[0], s[0], 1), 3, k[1], s[1], 1);
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, SourceLocation where) {
  return result_of("matmul", where, [&] {
    const auto [x, y] = same_dtype("matmul", a, b);
    return ir::matmul(x, y);
  });
}
Tensor Tensor::matmul(const Tensor& other, SourceLocation where) const {
  return cermet::matmul(*this, other, where);
}

Tensor dot(const Tensor& a, const Tensor& b, SourceLocation where) {
  return result_of("dot", where, [&] {
    const auto [x, y] = same_dtype("dot", a, b);
    if (x->shape.empty() || y->shape.empty()) return x * y;
    const size_t axis = y->shape.size() < 2 ? 0 : y->shape.size() - 2;
    if (x->shape.back() != y->shape[axis])
      throw Error(fmt::format("dot: inner sizes differ, {} and {} ({} x {})", x->shape.back(),
                              y->shape[axis], ir::type_string(*x), ir::type_string(*y)));
    Dims order{int64_t(axis)};
    for (size_t d = 0; d < y->shape.size(); ++d)
      if (d != axis) order.push_back(int64_t(d));
    return contract(x, ir::permute(y, order), 1);
  });
}

Tensor Tensor::dot(const Tensor& other, SourceLocation where) const {
  return cermet::dot(*this, other, where);
}

Tensor outer(const Tensor& a, const Tensor& b, SourceLocation where) {
  return result_of("outer", where, [&] {
    const auto [x, y] = same_dtype("outer", a, b);
    if (x->shape.size() != 1 || y->shape.size() != 1)
      throw Error(fmt::format("outer: expects vectors, got {} and {}", ir::type_string(*x),
                              ir::type_string(*y)));
    return ir::unsqueeze(x, 1) * y;
  });
}

Tensor tensordot(const Tensor& a, const Tensor& b, const Dims& dims_a, const Dims& dims_b,
                 SourceLocation where) {
  return result_of("tensordot", where, [&] {
    const auto [x, y] = same_dtype("tensordot", a, b);
    if (dims_a.size() != dims_b.size())
      throw Error(fmt::format("tensordot: {} and {} are not as many axes", to_string(dims_a),
                              to_string(dims_b)));
    // a with its summed axes last, b with them first.
    Dims order_a, order_b, summed_a, summed_b;
    for (size_t i = 0; i < dims_a.size(); ++i) {
      summed_a.push_back(ir::wrap_axis("tensordot", dims_a[i], x->shape.size()));
      summed_b.push_back(ir::wrap_axis("tensordot", dims_b[i], y->shape.size()));
      if (x->shape[size_t(summed_a[i])] != y->shape[size_t(summed_b[i])])
        throw Error(fmt::format("tensordot: axes {} and {} differ ({} x {})", dims_a[i], dims_b[i],
                                ir::type_string(*x), ir::type_string(*y)));
    }
    for (const Dims* summed : {&summed_a, &summed_b})
      for (size_t i = 0; i < summed->size(); ++i)
        if (std::find(summed->begin(), summed->begin() + i, (*summed)[i]) != summed->begin() + i)
          throw Error(fmt::format("tensordot: axis {} is given twice", (*summed)[i]));
    for (size_t d = 0; d < x->shape.size(); ++d)
      if (std::ranges::find(summed_a, int64_t(d)) == summed_a.end()) order_a.push_back(int64_t(d));
    for (int64_t d : summed_a) order_a.push_back(d);
    order_b = summed_b;
    for (size_t d = 0; d < y->shape.size(); ++d)
      if (std::ranges::find(summed_b, int64_t(d)) == summed_b.end()) order_b.push_back(int64_t(d));
    return contract(ir::permute(x, order_a), ir::permute(y, order_b), dims_a.size());
  });
}
Tensor tensordot(const Tensor& a, const Tensor& b, int64_t dims, SourceLocation where) {
  return called("tensordot", where, [&] {
    if (dims < 0 || dims > a.dim(where) || dims > b.dim(where))
      throw Error(fmt::format("tensordot: {} axes of {} and {}", dims, to_string(a.shape()),
                              to_string(b.shape())));
    Dims last, first;
    for (int64_t d = 0; d < dims; ++d) last.push_back(a.dim(where) - dims + d), first.push_back(d);
    return tensordot(a, b, last, first, where);
  });
}

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Dims& stride,
              const Dims& padding, const Dims& dilation, int64_t groups, SourceLocation where) {
  return result_of("conv2d", where, [&] {
    const auto [v, w] = same_dtype("conv2d", x, weight);
    const std::string types =
        fmt::format("{} with weight {}", ir::type_string(*v), ir::type_string(*w));
    if (v->shape.size() != 4 || w->shape.size() != 4)
      throw Error(fmt::format("conv2d: expects [N,C,H,W] and [O,C/groups,kh,kw], got {}", types));
    if (groups < 1 || v->shape[1] % groups != 0 || w->shape[0] % groups != 0 ||
        v->shape[1] / groups != w->shape[1])
      throw Error(fmt::format("conv2d: channels do not fit {} groups ({})", groups, types));
    const Dims p = pair_of("conv2d", "padding", padding, 0);
    const ir::Value padded = ir::pad(ir::pad(v, 2, p[0], p[0]), 3, p[1], p[1]);
    const Shape &s = padded->shape, &k = w->shape;
    // Groups become a leading axis: [G, N, C/G, H, W] and [G, O/G, C/G, kh, kw].
    const ir::Value grouped_x =
        ir::transpose(ir::reshape(padded, Shape{s[0], groups, s[1] / groups, s[2], s[3]}), 0, 1);
    const ir::Value grouped_w = ir::reshape(w, Shape{groups, k[0] / groups, k[1], k[2], k[3]});
    const ir::Value y = ir::conv(grouped_x, grouped_w, pair_of("conv2d", "stride", stride, 1),
                                 pair_of("conv2d", "dilation", dilation, 1));
    ir::Value out =
        ir::reshape(ir::transpose(y, 0, 1), Shape{s[0], k[0], y->shape[3], y->shape[4]});
    if (!bias.defined()) return out;
    const ir::Value b = value_of(bias);
    if (b->shape != Shape{k[0]} || b->dtype != v->dtype)
      throw Error(fmt::format("conv2d: bias {} for {} output channels of {}", ir::type_string(*b),
                              k[0], name(v->dtype)));
    return out + ir::reshape(b, Shape{k[0], 1, 1});
  });
}

Tensor max_pool2d(const Tensor& x, const Dims& window, const Dims& stride, const Dims& padding,
                  SourceLocation where) {
  return result_of("max_pool2d", where, [&] {
    const ir::Value v = value_of(x);
    if (!is_float(v->dtype))
      throw Error(fmt::format("max_pool2d: expects floats, got {}", ir::type_string(*v)));
    constexpr double lowest = -std::numeric_limits<double>::infinity();
    return ir::reduce(ir::Combine::Max, windows("max_pool2d", v, window, stride, padding, lowest),
                      Dims{4, 5});
  });
}
Tensor avg_pool2d(const Tensor& x, const Dims& window, const Dims& stride, const Dims& padding,
                  SourceLocation where) {
  return result_of("avg_pool2d", where, [&] {
    const ir::Value w = windows("avg_pool2d", as_float(value_of(x)), window, stride, padding, 0);
    return ir::reduce(ir::Combine::Sum, w, Dims{4, 5}) / double(w->shape[4] * w->shape[5]);
  });
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, SourceLocation where) {
  return result_of("linear", where, [&] {
    const auto [v, w] = same_dtype("linear", x, weight);
    if (w->shape.size() != 2)
      throw Error(fmt::format("linear: the weight must be a matrix, got {}", ir::type_string(*w)));
    const ir::Value y = ir::matmul(v, ir::transpose(w, 0, 1));
    return bias.defined() ? y + value_of(bias) : y;
  });
}

Tensor layer_norm(const Tensor& x, int64_t axes, const Tensor& weight, const Tensor& bias,
                  double eps, SourceLocation where) {
  return called("layer_norm", where, [&] {
    if (axes < 1 || axes > x.dim(where))
      throw Error(fmt::format("layer_norm: {} axes of {}", axes, to_string(x.shape())));
    Dims list;
    for (int64_t d = x.dim(where) - axes; d < x.dim(where); ++d) list.push_back(d);
    const auto here = [&](const Tensor& t) { return Operand(t, where); };
    const Tensor distance = sub(here(x), here(x.mean(list, true, where)));
    const Tensor variance = square(distance, where).mean(list, true, where);
    const Tensor deviation = sqrt(add(here(variance), eps), where);
    // One division for each row; the others are multiplications.
    Tensor y = mul(here(distance), here(reciprocal(deviation, where)));
    if (weight.defined()) y = mul(here(y), here(weight));
    return bias.defined() ? add(here(y), here(bias)) : y;
  });
}

Tensor cross_entropy(const Tensor& logits, const Tensor& target, SourceLocation where) {
  return called("cross_entropy", where, [&] {
    if (logits.dim(where) != 2 || target.dim(where) != 1 || target.size(0) != logits.size(0))
      throw Error(fmt::format("cross_entropy: expects logits [N,C] and target [N], got {} and {}",
                              to_string(logits.shape()), to_string(target.shape())));
    return neg(log_softmax(logits, 1, where)
                   .gather(1, target.unsqueeze(1, where), where)
                   .mean({}, false, where),
               where);
  });
}

Tensor mse_loss(const Tensor& x, const Tensor& target, SourceLocation where) {
  return called("mse_loss", where, [&] {
    return square(sub(Operand(x, where), Operand(target, where)), where).mean({}, false, where);
  });
}

}  // namespace cermet
