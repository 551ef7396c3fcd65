// In-place operations: the elements that a tensor shows get new values, for everyone who shares
// them.

#include "runtime/api.h"
#include "runtime/devices.h"

namespace cermet {

using runtime::TensorState;
using runtime::update;
using runtime::value_of;

Tensor& runtime::update(std::string_view op, Tensor& x, const SourceLocation& where,
                        const std::function<ir::Value(const ir::Value& old)>& f) {
  called(op, where, [&] {
    TensorState& state = *x.state(where);
    if (grad_mode() && state.variable())
      throw Error(
          fmt::format("{}: a leaf that requires grad cannot be changed in place; do it inside of a "
                      "no_grad, or to a detach()ed copy",
                      op));
    if (grad_mode() && state.leaf() && !state.detached())
      throw Error(
          fmt::format("{}: a view of a leaf that requires grad cannot be changed in place; do it "
                      "inside of a no_grad, or to a detach()ed copy",
                      op));
    const ir::Value old = value_of(x), fresh = f(old);
    const auto kind = [](DType d) { return is_bool(d) ? 0 : is_float(d) ? 2 : 1; };
    if (kind(fresh->dtype) > kind(old->dtype))
      throw Error(fmt::format("{}: the result is {} and does not fit a tensor of {}", op,
                              name(fresh->dtype), name(old->dtype)));
    const auto shape = broadcast_shapes(fresh->shape, old->shape);
    if (!shape || *shape != old->shape)
      throw Error(fmt::format("{}: {} does not fit into {}", op, ir::type_string(*fresh),
                              ir::type_string(*old)));
    if (!state.writable())
      throw Error(fmt::format(
          "{}: the tensor shows one element at several places (expand, unfold) and cannot be "
          "written; use clone() first",
          op));
    state.assign(ir::expand(ir::cast(fresh, old->dtype), old->shape),
                 grad_mode() && !state.detached());
  });
  return x;
}

namespace {

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
Tensor& Tensor::clamp_(std::nullopt_t, const Operand& max) {
  return update("clamp_", *this, max.where(),
                [&](const ir::Value&) { return value_of(clamp_max(max)); });
}
Tensor& Tensor::clamp_(const Operand& min, std::nullopt_t) {
  return update("clamp_", *this, min.where(),
                [&](const ir::Value&) { return value_of(clamp_min(min)); });
}
Tensor& Tensor::clamp_min_(const Operand& min) {
  return update("clamp_min_", *this, min.where(),
                [&](const ir::Value&) { return value_of(clamp_min(min)); });
}
Tensor& Tensor::clamp_max_(const Operand& max) {
  return update("clamp_max_", *this, max.where(),
                [&](const ir::Value&) { return value_of(clamp_max(max)); });
}

Tensor& Tensor::copy_(const Tensor& source, SourceLocation where) {
  // Any dtype can be copied into any other, and any device to any other, as in PyTorch.
  return update("copy_", *this, where, [&](const ir::Value& old) {
    const ir::Value fresh = ir::cast(value_of(source), old->dtype);
    return fresh->place < 0 ? fresh : runtime::value_on(fresh, runtime::device_of(*old));
  });
}
Tensor& Tensor::fill_(const Scalar& value, SourceLocation where) {
  return update("fill_", *this, where, [&](const ir::Value& old) {
    return value.is_float() ? ir::constant(old->dtype, old->shape, value.to_double())
                            : ir::constant(old->dtype, old->shape, value.to_int());
  });
}
void Tensor::operator=(const Operand& value) && {
  const SourceLocation& where = value.where();
  if (state(where).use_count() == 1 && state(where)->cell().use_count() == 1)
    throw Error(
        "assignment: the tensor on the left is a copy that nothing else shows; "
        "index_put_ writes to positions and masks",
        where);
  if (value.is_tensor())
    copy_(value.tensor(), where);
  else
    fill_(value.scalar(), where);
}
Tensor& Tensor::zero_(SourceLocation where) {
  return update("zero_", *this, where, [](const ir::Value& old) { return ir::zeros_like(old); });
}

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

}  // namespace cermet
