#pragma once
// log, log2, log10, log1p.
//
// x = 2^k m with m in [3/4, 3/2) or, for f64, [sqrt(1/2), sqrt(2)), f = m - 1 (exact), and log(m) =
// f + y where y takes what is small:
//   f32: y = f^3 P(f) - f^2 / 2 (the form of Cephes' logf);
//   f64: y = s (f^2/2 + s^2 R(s^2)) - f^2/2, s = f / (2 + f) (the form of FDLIBM's e_log.c).
// P and R are from tools/vecmath/remez.py. The sum k ln 2 + f + y is made from the small end, with
// ln 2 in two parts, the high one short enough for k times it to be exact. log2 and log10 multiply
// f + y by a constant in two parts, f too being cut so that the product of the high parts is exact
// (FDLIBM's e_log10.c).
//
// log1p(x) finds k from 1 + x, and then f = x 2^-k + (2^-k - 1), which rounds once however small x
// is: the digits that 1 + x loses are never missed.

#include <cmath>

#include "compiler/vecmath_number.h"

namespace cermet::compiler::vecmath {

struct LogTable {
  int64_t least;     // the bits of the least m
  int64_t upper;     // mask of the upper half of the significand
  int64_t lost_one;  // above 2^this, 1 + x is as good as x to log1p
  double unit;       // of k as a float
  double ln2_high, ln2_low;
  double log2e_high, log2e_low;
  double log10e_high, log10e_low;
  double log10_2_high, log10_2_low;
  std::span<const double> p;  // f32: P; f64: R
};

inline constexpr double log_p_f32[] = {0x1.555582p-2,  -0x1.000082p-2, 0x1.9975d6p-3,
                                       -0x1.54e686p-3, 0x1.27c8cap-3,  -0x1.0d4a40p-3,
                                       0x1.b423aap-4,  -0x1.837e64p-5};
inline constexpr double log_r_f64[] = {
    0x1.5555555555558p-1, 0x1.9999999995216p-2, 0x1.2492492e053d4p-2, 0x1.c71c62ce9928ap-3,
    0x1.7462ba9c3d365p-3, 0x1.39fdaa7e32c26p-3, 0x1.2b607306234afp-3};
inline constexpr LogTable log_f32 = {.least = 0x3f400000,
                                     .upper = -0x1000,
                                     .lost_one = 30,
                                     .unit = 0x1p-23,
                                     .ln2_high = 0x1.62e4p-1,
                                     .ln2_low = 0x1.7f7d1cp-20,
                                     .log2e_high = 0x1.714p0,
                                     .log2e_low = 0x1.47652cp-12,
                                     .log10e_high = 0x1.bcap-2,
                                     .log10e_low = 0x1.7b1526p-14,
                                     .log10_2_high = 0x1.344p-2,
                                     .log10_2_low = 0x1.3509f8p-18,
                                     .p = log_p_f32};
inline constexpr LogTable log_f64 = {.least = 0x3fe6a09e667f3bcd,
                                     .upper = -0x100000000,
                                     .lost_one = 60,
                                     .unit = 1,
                                     .ln2_high = 0x1.62e42feep-1,
                                     .ln2_low = 0x1.a39ef35793c76p-33,
                                     .log2e_high = 0x1.71547652p0,
                                     .log2e_low = 0x1.705fc2eefa200p-33,
                                     .log10e_high = 0x1.bcb7b152p-2,
                                     .log10e_low = 0x1.b9438ca9aadd5p-36,
                                     .log10_2_high = 0x1.34413508p-2,
                                     .log10_2_low = 0x1.f79fef311f12bp-34,
                                     .p = log_r_f64};

template <class B>
const LogTable& log_table(Number<B> x) {
  return x.dtype() == DType::F32 ? log_f32 : log_f64;
}

// x = 2^k (1 + f) as above, for normal positive x. k stands where the exponent of a float does.
template <class B>
struct LogReduction {
  Number<B> f, k;
};
template <class B>
LogReduction<B> reduce_log(Number<B> x) {
  const Format& f = format(x);
  const LogTable& table = log_table(x);
  const int64_t significand = (int64_t(1) << f.mantissa) - 1;
  const Number<B> bits = x.bitcast(f.integer) - table.least;
  const Number<B> m = (bits & significand) + table.least;
  return {m.bitcast(f.type) - 1.0, bits & ~significand};
}

// k as a float, in units of LogTable::unit: 32-bit lanes convert it where it stands.
template <class B>
Number<B> exponent_to_float(Number<B> k) {
  if (k.dtype() == DType::I32) return k.cast(DType::F32);
  return small_integer_to_f64(k >> binary64.mantissa);
}

// y of log(1 + f) = f + y.
template <class B>
Number<B> log_rest(Number<B> f) {
  const LogTable& table = log_table(f);
  const Number<B> square = f * f;
  if (f.dtype() == DType::F32) return square * madd(polynomial(f, table.p), f, -0.5);
  const Number<B> half_square = 0.5 * square, s = f / (f + 2.0), z = s * s;
  return s * (half_square + z * polynomial(z, table.p)) - half_square;
}

// k log 2 + f + y.
template <class B>
Number<B> log_sum(Number<B> f, Number<B> y, Number<B> k, double unit) {
  const LogTable& table = log_table(f);
  return madd(k, table.ln2_high * unit, f + madd(k, table.ln2_low * unit, y));
}

// What log, log2 and log10 share: the reduction with denormals, `assemble(f, y, k)`, and the
// special values.
template <class B, class F>
typename B::Value log_of(B& b, typename B::Value v, F assemble) {
  const Number<B> x{&b, v};
  const Format& f = format(x);
  const Number<B> bits = x.bitcast(f.integer), denormal = x < f.min_normal;
  // With the exponent of one in place a denormal is 1 + x 2^(bias - 1).
  const Number<B> one = x.same(1.0), scaled = (bits | one.bitcast(f.integer)).bitcast(f.type) - one;
  const LogReduction<B> e = reduce_log(choose(denormal, scaled, x));
  const Number<B> k = exponent_to_float(e.k);
  const double digits = (f.bias - 1) / log_table(x).unit;
  const Number<B> y = assemble(e.f, log_rest(e.f), choose(denormal, k - digits, k));
  // Finite and positive: one signed comparison of the bits, moved so that those come first.
  const uint64_t move = ~uint64_t(f.sign);
  const Number<B> proper = bits + move < bits.same(uint64_t(f.exponent) + move);
  // Infinity with the sign of x, or NaN, plus infinity: NaN for negative x.
  const Number<B> rest = (bits | f.exponent).bitcast(f.type) + infinity;
  return choose(proper, y, choose(x == 0.0, -infinity, rest)).value;
}

// (f + y) c + k ck for constants in two parts each; k in units.
template <class B>
Number<B> log_scaled(Number<B> f, Number<B> y, Number<B> k, double c_high, double c_low,
                     double ck_high, double ck_low) {
  const Format& fmt = format(f);
  const LogTable& table = log_table(f);
  const Number<B> high = (f.bitcast(fmt.integer) & table.upper).bitcast(fmt.type);
  const Number<B> low = (f - high) + y;
  const Number<B> rest = madd(k, ck_low * table.unit, madd(low + high, c_low, low * c_high));
  const Number<B> product = high * c_high, whole = k * (ck_high * table.unit),
                  sum = whole + product;
  return sum + (rest + ((whole - sum) + product));
}

template <class B>
typename B::Value log(B& b, typename B::Value x) {
  // The special values come out by themselves: the exponent of 0 is -infinity.
  if constexpr (requires { b.significand(x); })
    if (b.dtype(x) == DType::F32 && b.has_exponents()) {
      const Number<B> m{&b, b.significand(x)}, f = m - 1.0;
      const Number<B> k = m.with(b.exponent(x)) - m.with(b.exponent(m.value));
      return log_sum(f, log_rest(f), k, 1).value;
    }
  return log_of(b, x, [](auto f, auto y, auto k) { return log_sum(f, y, k, log_table(f).unit); });
}
template <class B>
typename B::Value log2(B& b, typename B::Value x) {
  return log_of(b, x, [](auto f, auto y, auto k) {
    const LogTable& table = log_table(f);
    return log_scaled(f, y, k, table.log2e_high, table.log2e_low, 1, 0);
  });
}
template <class B>
typename B::Value log10(B& b, typename B::Value x) {
  return log_of(b, x, [](auto f, auto y, auto k) {
    const LogTable& table = log_table(f);
    return log_scaled(f, y, k, table.log10e_high, table.log10e_low, table.log10_2_high,
                      table.log10_2_low);
  });
}

// log(1 + x + x_low) + k0 log 2 for x > -1, x_low a small correction and k0 in units; right for x =
// infinity too.
template <class B>
Number<B> log1p_sum(Number<B> x, const Number<B>* x_low, const Number<B>* k0) {
  const Format& f = format(x);
  const LogTable& table = log_table(x);
  const LogReduction<B> e = reduce_log(x + 1.0);
  const Number<B> scale = ((int64_t(f.bias) << f.mantissa) - e.k).bitcast(f.type);
  const Number<B> large = e.k > table.lost_one << f.mantissa;
  const Number<B> m = choose(large, e.f, madd(x, scale, scale - 1.0));
  Number<B> y = log_rest(m), k = exponent_to_float(e.k);
  if (x_low) y = madd(choose(large, 0.0, *x_low * scale), 1.0 - m, y);  // 1 / (1 + m) = 1 - m + ...
  if (k0) k = k + *k0;
  return choose(x < infinity, log_sum(m, y, k, table.unit), x);
}

template <class B>
typename B::Value log1p(B& b, typename B::Value v) {
  const Number<B> x{&b, v};
  const Number<B> y = with_sign_of(log1p_sum<B>(x, nullptr, nullptr), x);  // -0 stays -0
  return choose(x <= -1.0, choose(x < -1.0, x.same(quiet_nan), x.same(-infinity)), y).value;
}

}  // namespace cermet::compiler::vecmath
