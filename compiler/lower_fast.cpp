// What fast numerics do otherwise:
//
//   a * b + c                 one rounding, where nothing else uses the product
//   x / (the same for many)   x times the reciprocal, which leaves the loop
//   on GPUs, of f32           division, roots, exponentials and logarithms by the units for special
//                             functions
//
// The rounding of f16 and bf16 between ops is left out elsewhere (Expr::once).

#include "compiler/lower_fast.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "ir/element.h"

namespace cermet::compiler {
namespace {

using ir::Op;
using loops::Ref;

class FastMap {
 public:
  FastMap(KernelWriter& w, Scope& scope, const Expr& expr)
      : w_(w), b_(w.builder()), scope_(scope), expr_(expr) {}

  Ref run() {
    const DType dtype = held(expr_.dtype);
    if (!is_float(dtype) || expr_.operands.empty()) return {};
    switch (expr_.op) {
      case Op::Add:
      case Op::Sub: return contracted();
      case Op::Div: return divided();
      default: break;
    }
    return b_.target().compute > 0 && dtype == DType::F32 ? approximate() : Ref();
  }

 private:
  const Expr& at(size_t operand) const {
    return w_.kernel().exprs[size_t(expr_.operands[operand])];
  }
  Ref operand(size_t which) { return w_.evaluate(scope_, expr_.operands[which]); }
  Ref number(Ref like, double value) { return b_.constant(like, b_.dtype(like), value); }

  Ref contracted() {
    if (!b_.has_fma()) return {};
    for (size_t k = 0; k < 2; ++k) {
      const Expr& product = at(k);
      if (product.kind != Expr::Kind::Map || product.op != Op::Mul || !product.once ||
          product.inner != expr_.inner)
        continue;
      Ref x = w_.evaluate(scope_, product.operands[0]);
      const Ref y = w_.evaluate(scope_, product.operands[1]);
      Ref z = operand(1 - k);
      if (expr_.op == Op::Sub && k == 0) z = b_.neg(z);
      if (expr_.op == Op::Sub && k == 1) x = b_.neg(x);
      return b_.fma(x, y, z);
    }
    return {};
  }

  Ref divided() {
    const Expr& divisor = at(1);
    const DType dtype = held(expr_.dtype);
    if (divisor.kind == Expr::Kind::Constant) {
      const double reciprocal = 1 / ir::element_to_double(divisor.dtype, divisor.bits);
      const double least = dtype == DType::F32 ? double(std::numeric_limits<float>::min())
                                               : std::numeric_limits<double>::min();
      const Ref x = operand(0);
      if (std::isfinite(reciprocal) && std::abs(reciprocal) >= least)
        return b_.mul(x, number(x, reciprocal));
    }
    if (at(0).inner && !divisor.inner) {
      const Ref y = operand(1);
      return b_.mul(operand(0), quotient(number(y, 1), y));
    }
    return b_.target().compute > 0 && dtype == DType::F32 ? quotient(operand(0), operand(1))
                                                          : Ref();
  }

  Ref quotient(Ref x, Ref y) {
    const bool gpu = b_.target().compute > 0;
    return gpu && b_.dtype(y) == DType::F32 ? b_.div_approx(x, y) : b_.div(x, y);
  }
  // e^(factor x)
  Ref power(Ref x, double factor) {
    return b_.exp2_approx(b_.mul(x, number(x, factor * std::numbers::log2e)));
  }

  Ref approximate() {
    switch (expr_.op) {
      case Op::Sqrt: return b_.sqrt_approx(operand(0));
      case Op::Exp: return power(operand(0), 1);
      case Op::Exp2: return b_.exp2_approx(operand(0));
      case Op::Log: return scaled_log2(std::numbers::ln2);
      case Op::Log2: return b_.log2_approx(operand(0));
      case Op::Log10: return scaled_log2(std::numbers::ln2 / std::numbers::ln10);
      case Op::Sigmoid: {
        const Ref p = power(operand(0), -1), one = number(p, 1);
        return b_.div_approx(one, b_.add(one, p));
      }
      case Op::Tanh: return tanh();
      default: return {};
    }
  }

  Ref scaled_log2(double factor) {
    const Ref x = b_.log2_approx(operand(0));
    return b_.mul(x, number(x, factor));
  }

  // 1 - 2 / (e^2x + 1), which has no bits left where x is small: there it is the series (Abramowitz
  // and Stegun, 4.5.64), whose next term is 62 / 2835 x^9.
  Ref tanh() {
    const Ref x = operand(0), one = number(x, 1), square = b_.mul(x, x);
    const Ref large = b_.sub(one, b_.div_approx(number(x, 2), b_.add(power(x, 2), one)));
    Ref series = number(x, -17.0 / 315);
    for (double term : {2.0 / 15, -1.0 / 3, 1.0}) series = b_.fma(series, square, number(x, term));
    return b_.select(b_.lt(b_.abs(x), number(x, 0.25)), b_.mul(series, x), large);
  }

  KernelWriter& w_;
  loops::Builder& b_;
  Scope& scope_;
  const Expr& expr_;
};

}  // namespace

Ref fast_map(KernelWriter& w, Scope& scope, const Expr& expr) {
  return FastMap(w, scope, expr).run();
}

}  // namespace cermet::compiler
