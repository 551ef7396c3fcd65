// Elementwise functions: promotion, then the expression. The rows of the op table give one function
// and one method each.

#include <cmath>
#include <limits>
#include <numbers>

#include "runtime/api.h"

namespace cermet {

using runtime::as_float;
using runtime::called;
using runtime::convert;
using runtime::operand_value;
using runtime::result_of;
using runtime::result_type;
using runtime::value_of;
using runtime::values_of;

namespace {

bool wants_float(ir::Op op) { return ir::info(op).operands == ir::Operands::Float; }

Tensor unary(ir::Op op, const Tensor& x, const SourceLocation& where) {
  return result_of(ir::name(op), where, [&] {
    ir::Value v = value_of(x);
    // Rounding an integer leaves it as it is.
    const bool rounding =
        op == ir::Op::Floor || op == ir::Op::Ceil || op == ir::Op::Trunc || op == ir::Op::Round;
    if (rounding && is_integer(v->dtype)) return v;
    if (wants_float(op)) v = as_float(v);
    return ir::elementwise(op, std::span(&v, 1));
  });
}

// Whether 1 / n is exact in every dtype: programs get numbers as arguments, and could not find out.
bool has_exact_reciprocal(double n) {
  int exponent = 0;
  return std::fabs(std::frexp(n, &exponent)) == 0.5 && std::abs(exponent) < 12;
}

Tensor binary(ir::Op op, const Operand& x, const Operand& y) {
  return result_of(ir::name(op), x.where(), [&] {
    const Operand* operands[] = {&x, &y};
    SmallVector<ir::Value, 3> values = values_of(operands);
    DType dtype = result_type(operands, values);
    if (wants_float(op) && !is_float(dtype)) dtype = DType::F32;
    // bool has no arithmetic of its own: as in PyTorch, + is or, * is and, - is an error.
    if (is_bool(dtype) && op == ir::Op::Add) op = ir::Op::BitwiseOr;
    if (is_bool(dtype) && op == ir::Op::Mul) op = ir::Op::BitwiseAnd;
    convert(operands, std::span(values.begin(), values.end()), dtype);
    if (op == ir::Op::Div && !y.is_tensor() && has_exact_reciprocal(y.scalar().to_double())) {
      op = ir::Op::Mul;
      values[1] = ir::like(values[1], 1 / y.scalar().to_double());
    }
    return ir::elementwise_from(op, std::move(values));
  });
}

ir::Value as_bool(const ir::Value& x) { return ir::cast(x, DType::Bool); }

ir::Value bool_operand(const Operand& x) {
  if (x.is_tensor()) return as_bool(value_of(x.tensor()));
  return ir::constant(DType::Bool, {}, int64_t(x.scalar().to_double() != 0));
}

}  // namespace

Tensor where(const Operand& condition, const Operand& x, const Operand& y) {
  return result_of("where", condition.where(), [&] {
    const Operand* operands[] = {&x, &y};
    const DType dtype = result_type(operands, values_of(operands));
    ir::Value values[] = {bool_operand(condition), operand_value(x, dtype),
                          operand_value(y, dtype)};
    runtime::bring_scalars(values);
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

namespace {

Tensor logical(std::string_view op, ir::Op row, const Operand& x, const Operand& y) {
  return result_of(op, x.where(), [&] {
    ir::Value values[] = {bool_operand(x), bool_operand(y)};
    runtime::bring_scalars(values);
    return ir::elementwise(row, values);
  });
}

// The comparison of y with x, for what the op table has no row of.
Tensor swapped(std::string_view op, ir::Op row, const Operand& x, const Operand& y) {
  return result_of(op, x.where(), [&] {
    const Operand* operands[] = {&x, &y};
    SmallVector<ir::Value, 3> values = values_of(operands);
    convert(operands, std::span(values.begin(), values.end()), result_type(operands, values));
    if (!broadcast_shapes(values[0]->shape, values[1]->shape))
      throw Error(fmt::format("{}: shapes do not broadcast, {} and {}", op,
                              ir::type_string(*values[0]), ir::type_string(*values[1])));
    std::swap(values[0], values[1]);
    return ir::elementwise_from(row, std::move(values));
  });
}

}  // namespace

Tensor gt(const Operand& x, const Operand& y) { return swapped("gt", ir::Op::Lt, x, y); }
Tensor ge(const Operand& x, const Operand& y) { return swapped("ge", ir::Op::Le, x, y); }

Tensor logical_and(const Operand& x, const Operand& y) {
  return logical("logical_and", ir::Op::BitwiseAnd, x, y);
}
Tensor logical_or(const Operand& x, const Operand& y) {
  return logical("logical_or", ir::Op::BitwiseOr, x, y);
}
Tensor logical_xor(const Operand& x, const Operand& y) {
  return logical("logical_xor", ir::Op::BitwiseXor, x, y);
}
Tensor logical_not(const Tensor& x, SourceLocation where) {
  return result_of("logical_not", where, [&] { return ir::logical_not(value_of(x)); });
}

Tensor isnan(const Tensor& x, SourceLocation where) {
  return result_of("isnan", where, [&] {
    const ir::Value v = value_of(x);
    return ir::ne(v, v);
  });
}
Tensor isinf(const Tensor& x, SourceLocation where) {
  return result_of("isinf", where, [&] {
    const ir::Value v = value_of(x);
    if (!is_float(v->dtype)) return ir::constant(DType::Bool, v->shape, int64_t(0));
    return ir::eq(ir::abs(v), ir::like(v, std::numeric_limits<double>::infinity()));
  });
}
Tensor isfinite(const Tensor& x, SourceLocation where) {
  return result_of("isfinite", where, [&] {
    const ir::Value v = value_of(x);
    if (!is_float(v->dtype)) return ir::constant(DType::Bool, v->shape, int64_t(1));
    return ir::lt(ir::abs(v), ir::like(v, std::numeric_limits<double>::infinity()));
  });
}

bool allclose(const Tensor& x, const Tensor& y, double rtol, double atol, SourceLocation where) {
  const Tensor close = result_of("allclose", where, [&] {
    const ir::Value a = ir::cast(value_of(x), DType::F64), b = ir::cast(value_of(y), DType::F64);
    const ir::Value near = ir::le(ir::abs(a - b), ir::abs(b) * rtol + atol);
    const ir::Value infinite =
        ir::eq(ir::abs(b), ir::like(b, std::numeric_limits<double>::infinity()));
    const ir::Value same = ir::eq(a, b);  // an infinite bound would let anything pass
    return ir::where(infinite, same, near);
  });
  return close.all({}, false, where).item<bool>(where);
}

namespace {

// Clamping by bounds that may be missing. NaN stays, a NaN bound gives NaN, and a maximum below the
// minimum wins. At a bound the slope is 1, as in PyTorch.
Tensor clamped(std::string_view op, const Tensor& x, const Operand* min, const Operand* max,
               const SourceLocation& where) {
  return result_of(op, where, [&] {
    const Operand self(x, where);
    SmallVector<const Operand*, 3> operands{&self};
    for (const Operand* bound : {min, max})
      if (bound) operands.push_back(bound);
    SmallVector<ir::Value, 3> values = values_of(operands);
    const DType dtype = result_type(operands, values);
    convert(operands, std::span(values.begin(), values.end()), dtype);
    ir::Value& v = values[0];
    const auto bound_by = [&](const Operand& by, const ir::Value& bound, bool below) {
      if (!broadcast_shapes(v->shape, bound->shape))
        throw Error(fmt::format("clamp: shapes do not broadcast, {} and {}", ir::type_string(*v),
                                ir::type_string(*bound)));
      ir::Value outside = below ? ir::lt(v, bound) : ir::lt(bound, v);
      if (is_float(dtype) && (by.is_tensor() || std::isnan(by.scalar().to_double())))
        outside = ir::bitwise_or(outside, ir::ne(bound, bound));
      v = ir::where(outside, bound, v);
    };
    if (min) bound_by(*min, values[1], true);
    if (max) bound_by(*max, values.back(), false);
    return v;
  });
}

}  // namespace

Tensor clamp(const Tensor& x, const Operand& min, const Operand& max) {
  return clamped("clamp", x, &min, &max, min.where());
}
Tensor clamp(const Tensor& x, std::nullopt_t, const Operand& max) {
  return clamped("clamp", x, nullptr, &max, max.where());
}
Tensor clamp(const Tensor& x, const Operand& min, std::nullopt_t) {
  return clamped("clamp", x, &min, nullptr, min.where());
}
Tensor clamp_min(const Tensor& x, const Operand& min) {
  return clamped("clamp_min", x, &min, nullptr, min.where());
}
Tensor clamp_max(const Tensor& x, const Operand& max) {
  return clamped("clamp_max", x, nullptr, &max, max.where());
}
Tensor Tensor::clamp(const Operand& min, const Operand& max) const {
  return cermet::clamp(*this, min, max);
}
Tensor Tensor::clamp(std::nullopt_t, const Operand& max) const {
  return cermet::clamp(*this, std::nullopt, max);
}
Tensor Tensor::clamp(const Operand& min, std::nullopt_t) const {
  return cermet::clamp(*this, min, std::nullopt);
}
Tensor Tensor::clamp_min(const Operand& min) const { return cermet::clamp_min(*this, min); }
Tensor Tensor::clamp_max(const Operand& max) const { return cermet::clamp_max(*this, max); }

Tensor square(const Tensor& x, SourceLocation where) {
  return called("square", where, [&] { return mul(Operand(x, where), Operand(x, where)); });
}
Tensor rsqrt(const Tensor& x, SourceLocation where) {
  return called("rsqrt", where, [&] {
    const Tensor root = sqrt(x, where);
    return div(Operand(1.0, where), Operand(root, where));
  });
}
Tensor reciprocal(const Tensor& x, SourceLocation where) {
  return called("reciprocal", where, [&] { return div(Operand(1.0, where), Operand(x, where)); });
}
// NaN stays, and the slope at 0 is 0, as in PyTorch.
Tensor relu(const Tensor& x, SourceLocation where) {
  return result_of("relu", where, [&] {
    const ir::Value v = value_of(x), zero = ir::zeros_like(v);
    return ir::where(ir::le(v, zero), zero, v);
  });
}

namespace {
template <class F>
Tensor float_function(std::string_view op, const Tensor& x, const SourceLocation& where, F f) {
  return result_of(op, where, [&] { return f(as_float(value_of(x))); });
}
}  // namespace

Tensor gelu(const Tensor& x, bool tanh_approximation, SourceLocation where) {
  return float_function("gelu", x, where, [&](const ir::Value& v) {
    if (tanh_approximation) {
      const ir::Value inner =
          (v + v * v * v * 0.044715) * (std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
      return v * 0.5 * (ir::tanh(inner) + 1.0);
    }
    return v * 0.5 * (ir::erf(v * (1 / std::numbers::sqrt2)) + 1.0);
  });
}
Tensor silu(const Tensor& x, SourceLocation where) {
  return float_function("silu", x, where, [](const ir::Value& v) { return v * ir::sigmoid(v); });
}
// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)), which does not overflow.
Tensor softplus(const Tensor& x, SourceLocation where) {
  return float_function("softplus", x, where, [](const ir::Value& v) {
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

#define CERMET_OPERATOR(symbol, name)                                             \
  Tensor operator symbol(const Operand& x) {                                      \
    return called(#name, x.where(), [&] { return name(x.tensor(), x.where()); }); \
  }
CERMET_OPERATOR(-, neg)
CERMET_OPERATOR(~, bitwise_not)
CERMET_OPERATOR(!, logical_not)
#undef CERMET_OPERATOR

}  // namespace cermet
