#pragma once
// sinh, cosh, tanh and their inverses, on |x|; the sign is copied at the end, so that zeros keep
// theirs.
//
// sinh and cosh: with e^x = 2^n (1 + t), t = e^r - 1, the sum of h = e^x / 4 and +-1 / (16 h) is
// made with the rounding error of 1 + t carried along; doubling last lets the result overflow no
// earlier than it must. sinh below 1 is an odd polynomial. tanh is (e^(2x) - 1) / (e^(2x) + 1); of
// f32 a table's polynomials, where one instruction reads those.
//
// The inverses are logarithms of 1 + u with u and its rounding error (asinh: u = x + x^2 / (1 +
// sqrt(x^2 + 1)), acosh: u = y + sqrt(2 y + y^2) with y = x - 1, atanh: u = 2x / (1 - x)); where
// x^2 could overflow, of x times 2.

#include "compiler/vecmath_exp.h"
#include "compiler/vecmath_log.h"
#include "compiler/vecmath_table.h"

namespace cermet::compiler::vecmath {

inline constexpr double sinh_p_f32[] = {0x1.555598p-3, 0x1.10f760p-7, 0x1.ab428ap-13};
inline constexpr double sinh_p_f64[] = {
    0x1.5555555555556p-3,  0x1.111111111101ep-7,  0x1.a01a01a03726bp-13, 0x1.71de3a3b0684fp-19,
    0x1.ae646ff5565b8p-26, 0x1.6116f476c623cp-33, 0x1.b5c8a7a95d807p-41};

// e^x / 4 as a pair, for 0 <= x up to a little more than where cosh overflows.
template <class B>
Pair<B> quarter_exp(Number<B> x) {
  const ExpReduction<B> e =
      reduce_exp(at_most(x, exp_table(x).highest + 0.5), exp_magic(x, -2), true);
  const Pair<B> p = fast_two_sum(x.same(1.0), expm1_reduced(e));
  const Number<B> power = rounded_power(e.rounded);
  return {p.high * power, p.low * power};
}

template <class B>
typename B::Value sinh(B& b, typename B::Value v) {
  const Number<B> x{&b, v}, size = absolute(x);
  const bool f32 = x.dtype() == DType::F32;
  const Pair<B> h = quarter_exp(size);
  const Number<B> large = 2.0 * (h.high + (h.low - 0.0625 / h.high));
  const Number<B> z = size * size;
  const Number<B> p = f32 ? polynomial(z, sinh_p_f32) : polynomial(z, sinh_p_f64);
  return with_sign_of(choose(size < 1.0, madd(z * p, size, size), large), x).value;
}

template <class B>
typename B::Value cosh(B& b, typename B::Value v) {
  const Pair<B> h = quarter_exp(absolute(Number<B>{&b, v}));
  return (2.0 * (h.high + (h.low + 0.0625 / h.high))).value;
}

// e^x - 1 for 0 <= x <= 42 with an error that the quotient with e^x + 1 bears. In f32 what x loses
// counts there the less the larger n is: with fma ln 2 need not be in two parts.
template <class B>
Number<B> expm1_for_quotient(Number<B> x) {
  const bool f32 = x.dtype() == DType::F32;
  const Number<B> magic = exp_magic(x, 0), rounded = madd(x, log2e, magic);
  const auto short_rest = [&] {
    const Number<B> r = x.builder->has_fma() ? madd(rounded - magic, -0x1.62e430p-1, x)
                                             : exp_remainder(x, rounded, magic, false).r;
    return madd(r * r, in_pairs(r, exp_q_f32), r);
  };
  const Number<B> rest = f32 ? short_rest() : expm1_reduced(exp_remainder(x, rounded, magic, true));
  const Number<B> power = rounded_power(rounded);
  return madd(rest, power, power - 1.0);
}

// With t = e^(2x) - 1, which has no cancellation.
template <class B>
typename B::Value tanh(B& b, typename B::Value v) {
  const Number<B> x{&b, v}, size = absolute(x);
  const bool f32 = x.dtype() == DType::F32;
  if constexpr (requires { b.lookup(v, 0); })
    if (f32 && has_lookup(x)) return odd_by_table(x, tanh_rows, 9.99).value;
  const Number<B> twice = at_most(size + size, f32 ? 20 : 42);  // from where it is 1
  const Number<B> t = expm1_for_quotient(twice);
  // t / (d + d_low) is y - (y d - t + y d_low) / d. As 1 / d is (1 - y) / 2, a line will do for it;
  // where y is large what is rounded off does not matter.
  const Number<B> d = t + 2.0, d_low = t - (d - 2.0), y = t / d;
  const Number<B> excess = madd(y, d_low, excess_of_quotient(y, t, d));
  const Number<B> slope = at_most(madd(y, 0.6875, y.same(-0.5)), 0.0);
  return with_sign_of(madd(excess, slope, y), x).value;
}

// Above this x^2 is not formed, and log(2x) does for asinh and acosh.
inline double large_square(DType type) { return type == DType::F32 ? 0x1p40 : 0x1p400; }

template <class B>
typename B::Value asinh(B& b, typename B::Value v) {
  const Number<B> given{&b, v}, size = absolute(given);
  const Number<B> large = size > large_square(size.dtype()), x = choose(large, 1.0, size);
  const Number<B> square = x * x;
  const Number<B> rest = square / (square_root(square + 1.0) + 1.0);
  const Pair<B> u = two_sum(x, rest);
  const Number<B> low = choose(large, 0.0, u.low),
                  extra = choose(large, size.same(1 / log_table(size).unit), size.same(0.0));
  return with_sign_of(log1p_sum<B>(choose(large, size, u.high), &low, &extra), given).value;
}

template <class B>
typename B::Value acosh(B& b, typename B::Value v) {
  const Number<B> given{&b, v};
  const Number<B> large = given > large_square(given.dtype()), x = choose(large, 2.0, given);
  const Number<B> y = x - 1.0;
  // 2y + y^2 and its root, each with its error.
  const Pair<B> square = two_product(y, y), sum = two_sum(y + y, square.high);
  const Number<B> root = square_root(sum.high);
  const Pair<B> back = two_product(root, root);
  const Number<B> error =
      ((sum.high - back.high) - back.low + (sum.low + square.low)) / (root + root);
  const Pair<B> u = two_sum(root, y);
  const Number<B> low = choose(large | !(root > 0.0), 0.0, u.low + error);
  const Number<B> extra = choose(large, given.same(1 / log_table(given).unit), given.same(0.0));
  const Number<B> result = log1p_sum<B>(choose(large, given, u.high), &low, &extra);
  return choose(given < 1.0, quiet_nan, result).value;
}

template <class B>
typename B::Value atanh(B& b, typename B::Value v) {
  const Number<B> given{&b, v}, x = absolute(given);
  const Number<B> d = 1.0 - x, d_low = (1.0 - d) - x;  // exact
  const Number<B> reciprocal = 1.0 / d, twice = x + x, u = twice / d;
  const Pair<B> back = two_product(u, d);
  const Number<B> error = ((twice - back.high) - back.low - u * d_low) * reciprocal;
  // Denormals have no error term worth the name, nor has infinity.
  const Number<B> low = choose((x > format(x).min_normal * 0x1p30) & (x < 1.0), error, 0.0);
  const Number<B> result = 0.5 * log1p_sum<B>(u, &low, nullptr);
  const Number<B> y = choose(x < format(x).epsilon, x, result);
  return with_sign_of(choose(x > 1.0, quiet_nan, y), given).value;
}

}  // namespace cermet::compiler::vecmath
