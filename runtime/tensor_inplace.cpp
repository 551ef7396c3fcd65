// In-place operations: the elements that a tensor shows get new values, for everyone who shares
// them.

#include "runtime/api.h"

namespace cermet {

using runtime::grad_mode;
using runtime::located;
using runtime::operand_value;
using runtime::value_of;

namespace {

// Gives x's elements the values that f makes, after the checks that all in-place operations share.
template <class F>
Tensor& update(std::string_view op, Tensor& x, const SourceLocation& where, F f) {
  located(where, [&] {
    runtime::TensorState& state = *x.state(where);
    if (grad_mode() && state.variable())
      throw Error(
          fmt::format("{}: a leaf that requires grad cannot be changed in place; do it inside of a "
                      "no_grad, or to "
                      "a detach()ed copy",
                      op));
    if (grad_mode() && state.leaf() && !state.detached())
      throw Error(
          fmt::format("{}: a view of a leaf that requires grad cannot be changed in place; do it "
                      "inside of a no_grad",
                      op));
    const ir::Value old = value_of(x);
    ir::Value fresh = f(old);
    if (!grad_mode()) fresh = ir::stop_gradient(fresh);
    const auto kind = [](DType d) { return is_bool(d) ? 0 : is_float(d) ? 2 : 1; };
    if (kind(fresh->dtype) > kind(old->dtype))
      throw Error(fmt::format("{}: the result is {} and does not fit a tensor of {}", op,
                              name(fresh->dtype), name(old->dtype)));
    const auto shape = broadcast_shapes(fresh->shape, old->shape);
    if (!shape || *shape != old->shape)
      throw Error(fmt::format("{}: {} does not fit into {}", op, ir::type_string(*fresh),
                              ir::type_string(*old)));
    state.assign(ir::expand(ir::cast(fresh, old->dtype), old->shape));
  });
  return x;
}

// An in-place form of a function of two operands.
template <class F>
Tensor& update2(std::string_view op, Tensor& x, const Operand& y, F f) {
  return update(op, x, y.where(),
                [&](const ir::Value&) { return value_of(f(Operand(x, y.where()), y)); });
}

}  // namespace

Tensor& Tensor::add_(const Operand& y) { return update2("add_", *this, y, cermet::add); }
Tensor& Tensor::sub_(const Operand& y) { return update2("sub_", *this, y, cermet::sub); }
Tensor& Tensor::mul_(const Operand& y) { return update2("mul_", *this, y, cermet::mul); }
Tensor& Tensor::div_(const Operand& y) { return update2("div_", *this, y, cermet::div); }
Tensor& Tensor::pow_(const Operand& y) { return update2("pow_", *this, y, cermet::pow); }

Tensor& Tensor::clamp_(const Operand& min, const Operand& max) {
  return update("clamp_", *this, min.where(),
                [&](const ir::Value&) { return value_of(clamp(min, max)); });
}

Tensor& Tensor::copy_(const Tensor& source, SourceLocation where) {
  // Any dtype can be copied into any other, as in PyTorch.
  return update("copy_", *this, where,
                [&](const ir::Value& old) { return ir::cast(value_of(source), old->dtype); });
}
Tensor& Tensor::fill_(const Scalar& value, SourceLocation where) {
  return update("fill_", *this, where, [&](const ir::Value& old) {
    return value.is_float() ? ir::constant(old->dtype, old->shape, value.to_double())
                            : ir::constant(old->dtype, old->shape, value.to_int());
  });
}
Tensor& Tensor::zero_(SourceLocation where) { return fill_(0, where); }

#define CERMET_INPLACE(name)                                                \
  Tensor& Tensor::name##_(SourceLocation where) {                           \
    return update(#name "_", *this, where,                                  \
                  [&](const ir::Value&) { return value_of(name(where)); }); \
  }
CERMET_INPLACE(neg)
CERMET_INPLACE(exp)
CERMET_INPLACE(sqrt)
CERMET_INPLACE(relu)
#undef CERMET_INPLACE

Tensor& Tensor::scatter_(int64_t dim, const Tensor& index, const Operand& source) {
  return update("scatter_", *this, source.where(),
                [&](const ir::Value&) { return value_of(scatter(dim, index, source)); });
}
Tensor& Tensor::scatter_add_(int64_t dim, const Tensor& index, const Tensor& source,
                             SourceLocation where) {
  return update("scatter_add_", *this, where,
                [&](const ir::Value&) { return value_of(scatter_add(dim, index, source, where)); });
}

Tensor& Tensor::index_put_(const std::vector<Index>& parts, const Operand& value) {
  // Integers, slices, newaxis and ellipsis give a view, which can be written; a tensor of positions
  // is a scatter.
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto* list = std::get_if<std::shared_ptr<const Tensor>>(&parts[i]);
    if (!list) continue;
    return located(value.where(), [&]() -> Tensor& {
      if (parts.size() != 1)
        throw Error("index_put_: a tensor of positions must be the only index");
      const Tensor& positions = **list;
      return update("index_put_", *this, value.where(), [&](const ir::Value& old) {
        const ir::Value at = value_of(positions);
        if (at->shape.size() != 1 || old->shape.empty())
          throw Error(fmt::format("index_put_: positions {} for {}", ir::type_string(*at),
                                  ir::type_string(*old)));
        Shape shape = old->shape;
        shape[0] = at->shape[0];
        Shape line(shape.size(), 1);
        line[0] = at->shape[0];
        const ir::Value n = ir::constant(DType::I64, at->shape, old->shape[0]),
                        wide = ir::cast(at, DType::I64);
        const ir::Value wrapped = ir::where(ir::lt(wide, ir::zeros_like(wide)), wide + n, wide);
        const ir::Value updates = ir::expand(operand_value(value, old->dtype), shape);
        return ir::scatter(ir::Combine::Set, old, ir::expand(ir::reshape(wrapped, line), shape),
                           updates, 0);
      });
    });
  }
  Tensor shown = index(parts, value.where());
  update("index_put_", shown, value.where(),
         [&](const ir::Value& old) { return operand_value(value, old->dtype); });
  return *this;
}

}  // namespace cermet
