// Elementwise functions: promotion, then the expression. The rows of the op table give one function
// and one method each.

#include <cmath>
#include <limits>
#include <numbers>

#include "runtime/api.h"

namespace cermet {

using runtime::as_float;
using runtime::operand_value;
using runtime::result_of;
using runtime::result_type;
using runtime::value_of;

namespace {

bool wants_float(ir::Op op) { return ir::info(op).operands == ir::Operands::Float; }

Tensor unary(ir::Op op, const Tensor& x, const SourceLocation& where) {
  return result_of(where, [&] {
    ir::Value v = value_of(x);
    // Rounding an integer leaves it as it is.
    const bool rounding =
        op == ir::Op::Floor || op == ir::Op::Ceil || op == ir::Op::Trunc || op == ir::Op::Round;
    if (rounding && is_integer(v->dtype)) return v;
    if (wants_float(op)) v = as_float(v);
    return ir::elementwise(op, std::span(&v, 1));
  });
}

Tensor binary(ir::Op op, const Operand& x, const Operand& y) {
  return result_of(x.where(), [&] {
    const Operand* operands[] = {&x, &y};
    DType dtype = result_type(operands);
    if (wants_float(op) && !is_float(dtype)) dtype = DType::F32;
    // bool has no arithmetic of its own: as in PyTorch, + is or, * is and, - is an error.
    if (is_bool(dtype) && op == ir::Op::Add) op = ir::Op::BitwiseOr;
    if (is_bool(dtype) && op == ir::Op::Mul) op = ir::Op::BitwiseAnd;
    const ir::Value values[] = {operand_value(x, dtype), operand_value(y, dtype)};
    return ir::elementwise(op, values);
  });
}

ir::Value as_bool(const ir::Value& x) { return ir::cast(x, DType::Bool); }

ir::Value bool_operand(const Operand& x) {
  if (x.is_tensor()) return as_bool(value_of(x.tensor()));
  return ir::constant(DType::Bool, {}, int64_t(x.scalar().to_double() != 0));
}

}  // namespace

Tensor where(const Operand& condition, const Operand& x, const Operand& y) {
  return result_of(condition.where(), [&] {
    const Operand* operands[] = {&x, &y};
    const DType dtype = result_type(operands);
    const ir::Value values[] = {bool_operand(condition), operand_value(x, dtype),
                                operand_value(y, dtype)};
    return ir::elementwise(ir::Op::Where, values);
  });
}

#define CERMET_DEFINE1(Enum, name)                                                             \
  Tensor name(const Tensor& x, SourceLocation where) { return unary(ir::Op::Enum, x, where); } \
  Tensor Tensor::name(SourceLocation where) const { return unary(ir::Op::Enum, *this, where); }
#define CERMET_DEFINE2(Enum, name)                                                       \
  Tensor name(const Operand& x, const Operand& y) { return binary(ir::Op::Enum, x, y); } \
  Tensor Tensor::name(const Operand& other) const {                                      \
    return binary(ir::Op::Enum, Operand(*this, other.where()), other);                   \
  }
#define CERMET_DEFINE3(Enum, name)  // where, above
#define OP(Enum, name, arity, ...) CERMET_DEFINE##arity(Enum, name)
#include "cermet/ops.def"

Tensor gt(const Operand& x, const Operand& y) {
  return result_of(x.where(), [&] {
    const Operand* operands[] = {&x, &y};
    const DType dtype = result_type(operands);
    return ir::lt(operand_value(y, dtype), operand_value(x, dtype));
  });
}
Tensor ge(const Operand& x, const Operand& y) {
  return result_of(x.where(), [&] {
    const Operand* operands[] = {&x, &y};
    const DType dtype = result_type(operands);
    return ir::le(operand_value(y, dtype), operand_value(x, dtype));
  });
}

Tensor logical_and(const Operand& x, const Operand& y) {
  return result_of(x.where(), [&] { return ir::bitwise_and(bool_operand(x), bool_operand(y)); });
}
Tensor logical_or(const Operand& x, const Operand& y) {
  return result_of(x.where(), [&] { return ir::bitwise_or(bool_operand(x), bool_operand(y)); });
}
Tensor logical_xor(const Operand& x, const Operand& y) {
  return result_of(x.where(), [&] { return ir::bitwise_xor(bool_operand(x), bool_operand(y)); });
}
Tensor logical_not(const Tensor& x, SourceLocation where) {
  return result_of(where, [&] { return ir::logical_not(value_of(x)); });
}

Tensor isnan(const Tensor& x, SourceLocation where) {
  return result_of(where, [&] {
    const ir::Value v = value_of(x);
    return ir::ne(v, v);
  });
}
Tensor isinf(const Tensor& x, SourceLocation where) {
  return result_of(where, [&] {
    const ir::Value v = value_of(x);
    if (!is_float(v->dtype)) return ir::constant(DType::Bool, v->shape, int64_t(0));
    return ir::eq(ir::abs(v), ir::like(v, std::numeric_limits<double>::infinity()));
  });
}
Tensor isfinite(const Tensor& x, SourceLocation where) {
  return result_of(where, [&] {
    const ir::Value v = value_of(x);
    if (!is_float(v->dtype)) return ir::constant(DType::Bool, v->shape, int64_t(1));
    return ir::lt(ir::abs(v), ir::like(v, std::numeric_limits<double>::infinity()));
  });
}

// Not maximum and minimum, which give each operand half of the slope where they are equal:
// PyTorch's slope is 1 there.
bool allclose(const Tensor& x, const Tensor& y, double rtol, double atol, SourceLocation where) {
  return runtime::located(where, [&] {
    const ir::Value a = ir::cast(value_of(x), DType::F64), b = ir::cast(value_of(y), DType::F64);
    const ir::Value near = ir::le(ir::abs(a - b), ir::abs(b) * rtol + atol);
    const ir::Value infinite =
        ir::eq(ir::abs(b), ir::like(b, std::numeric_limits<double>::infinity()));
    const ir::Value same = ir::eq(a, b);  // an infinite bound would let anything pass
    return runtime::make_tensor(ir::where(infinite, same, near)).all({}, false, where).item<bool>();
  });
}

Tensor clamp(const Tensor& x, const Operand& min, const Operand& max) {
  return result_of(min.where(), [&] {
    const Operand self(x, min.where());
    const Operand* operands[] = {&self, &min, &max};
    const DType dtype = result_type(operands);
    const ir::Value v = operand_value(self, dtype), low = operand_value(min, dtype),
                    high = operand_value(max, dtype);
    for (const ir::Value* bound : {&low, &high})
      if (!broadcast_shapes(v->shape, (*bound)->shape))
        throw Error(fmt::format("clamp: shapes do not broadcast, {} and {}", ir::type_string(*v),
                                ir::type_string(**bound)));
    const ir::Value above = ir::where(ir::lt(v, low), low, v);
    return ir::where(ir::lt(high, above), high, above);
  });
}
Tensor Tensor::clamp(const Operand& min, const Operand& max) const {
  return cermet::clamp(*this, min, max);
}

Tensor square(const Tensor& x, SourceLocation where) {
  return mul(Operand(x, where), Operand(x, where));
}
Tensor rsqrt(const Tensor& x, SourceLocation where) {
  return div(Operand(1.0, where), sqrt(x, where));
}
Tensor reciprocal(const Tensor& x, SourceLocation where) { return div(Operand(1.0, where), x); }
// NaN stays, and the slope at 0 is 0, as in PyTorch.
Tensor relu(const Tensor& x, SourceLocation where) {
  return result_of(where, [&] {
    const ir::Value v = value_of(x), zero = ir::zeros_like(v);
    return ir::where(ir::le(v, zero), zero, v);
  });
}

namespace {
template <class F>
Tensor float_function(const Tensor& x, const SourceLocation& where, F f) {
  return result_of(where, [&] { return f(as_float(value_of(x))); });
}
}  // namespace

Tensor gelu(const Tensor& x, bool tanh_approximation, SourceLocation where) {
  return float_function(x, where, [&](const ir::Value& v) {
    if (tanh_approximation) {
      const ir::Value inner =
          (v + v * v * v * 0.044715) * (std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
      return v * 0.5 * (ir::tanh(inner) + 1.0);
    }
    return v * 0.5 * (ir::erf(v * (1 / std::numbers::sqrt2)) + 1.0);
  });
}
Tensor silu(const Tensor& x, SourceLocation where) {
  return float_function(x, where, [](const ir::Value& v) { return v * ir::sigmoid(v); });
}
// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)), which does not overflow.
Tensor softplus(const Tensor& x, SourceLocation where) {
  return float_function(x, where, [](const ir::Value& v) {
    return ir::maximum(v, ir::zeros_like(v)) + ir::log1p(ir::exp(-ir::abs(v)));
  });
}

#define CERMET_METHOD(name) \
  Tensor Tensor::name(SourceLocation where) const { return cermet::name(*this, where); }
CERMET_METHOD(logical_not)
CERMET_METHOD(isnan)
CERMET_METHOD(isinf)
CERMET_METHOD(isfinite)
#undef CERMET_METHOD
#define CERMET_METHOD(name)                                    \
  Tensor Tensor::name(const Operand& other) const {            \
    return cermet::name(Operand(*this, other.where()), other); \
  }
CERMET_METHOD(gt)
CERMET_METHOD(ge)
CERMET_METHOD(logical_and)
CERMET_METHOD(logical_or)
CERMET_METHOD(logical_xor)
#undef CERMET_METHOD
Tensor Tensor::square(SourceLocation where) const { return cermet::square(*this, where); }
Tensor Tensor::rsqrt(SourceLocation where) const { return cermet::rsqrt(*this, where); }
Tensor Tensor::reciprocal(SourceLocation where) const { return cermet::reciprocal(*this, where); }
Tensor Tensor::relu(SourceLocation where) const { return cermet::relu(*this, where); }

Tensor operator-(const Operand& x) { return neg(x.tensor(), x.where()); }
Tensor operator~(const Operand& x) { return bitwise_not(x.tensor(), x.where()); }
Tensor operator!(const Operand& x) { return logical_not(x.tensor(), x.where()); }

}  // namespace cermet
