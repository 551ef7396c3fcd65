#pragma once
// pow, hypot, rsqrt, fmod.
//
// x^y = e^(y log|x|). The product's error counts absolutely, and it may be as large as 745, so the
// logarithm needs ten bits more than the result has. f32 computes in f64. f64 keeps the logarithm
// as a pair: with s = (m - 1) / (m + 1), log(m) = s (2 + z (2/3 + z P(z))), z = s^2, each factor a
// pair where it must be (the arrangement of FDLIBM's e_pow.c, with the double-word products of
// Dekker). The special cases are C's (C99 F.9.4.4).

//
// fmod is exact. With q = trunc(x / y), off by at most one, x - q y is a number of its type;
// quotients of 2^53 and more, as well as zero, infinite and NaN operands, are left to a helper.

#include <cmath>

#include "compiler/vecmath_erf.h"
#include "compiler/vecmath_exp.h"
#include "compiler/vecmath_log.h"

namespace cermet::compiler::vecmath {

// log2((1 + s) / (1 - s)) / s to 36 bits, and (log((1 + s) / (1 - s)) / s - 2 - 2/3 s^2) / s^4,
// both in s^2
inline constexpr double log2_short[] = {0x1.71547652bee8bp+1, 0x1.ec709d122c5c2p-1,
                                        0x1.2777805675d67p-1, 0x1.a58d594b1d6b1p-2,
                                        0x1.5ceb89734f9d3p-2};
inline constexpr double pow_p_f64[] = {
    0x1.999999999999ap-2, 0x1.2492492492523p-2, 0x1.c71c71c6ea328p-3, 0x1.745d177aee9c4p-3,
    0x1.3b1395b048d49p-3, 0x1.1118ce84d437ep-3, 0x1.df7b7f4a522fbp-4, 0x1.e03b04e28480bp-4};

// log(x) for positive finite normal x (to be added: shift times log 2), as a pair.
template <class B>
Pair<B> log_pair(Number<B> x, Number<B> shift) {
  const LogReduction<B> e = reduce_log(x);
  const Number<B> k = exponent_to_float(e.k) + shift;
  const Pair<B> d = two_sum(x.same(2.0), e.f);
  const Number<B> s = e.f / d.high;
  const Pair<B> back = two_product(s, d.high);
  const Number<B> s_low = ((e.f - back.high) - back.low - s * d.low) / d.high;

  Pair<B> z = two_product(s, s);
  z.low = madd(s + s, s_low, z.low);
  const double two_thirds = 0x1.5555555555555p-1;
  Pair<B> t = fast_two_sum(x.same(two_thirds), z.high * polynomial(z.high, pow_p_f64));
  t.low = t.low + 0x1.5555555555555p-55;
  Pair<B> w = two_product(z.high, t.high);
  w.low = w.low + madd(z.high, t.low, z.low * t.high);
  Pair<B> v = fast_two_sum(x.same(2.0), w.high);
  v.low = v.low + w.low;
  Pair<B> m = two_product(s, v.high);
  m.low = m.low + madd(s, v.low, s_low * v.high);

  const LogTable& table = log_table(x);
  const Pair<B> sum = fast_two_sum(k * table.ln2_high, m.high);
  return fast_two_sum(sum.high, sum.low + madd(k, table.ln2_low, m.low));
}

// x^y for x > 0 and any y, infinities and zero included.
template <class B>
Number<B> pow_f64(Number<B> x, Number<B> given_y) {
  const Number<B> y = choose(x == 1.0, 0.0, given_y);  // infinity times log(1)
  const ExpTable& table = exp_f64;
  const Number<B> denormal = x < binary64.min_normal;
  const Pair<B> log =
      log_pair(choose(denormal, x * 0x1p54, x), choose(denormal, x.same(-54.0), x.same(0.0)));
  const Number<B> log_x = choose(x < infinity, choose(x == 0.0, -infinity, log.high), x);
  const Pair<B> exact = two_product(y, log_x);
  const Number<B> product = at_most(at_least(exact.high, table.lowest), table.highest);
  // Outside the bounds, where infinities may have been made, the correction is of no use.
  const Number<B> low = choose(exact.high == product, madd(y, log.low, exact.low), 0.0);

  const ExpReduction<B> e = reduce_exp(product, exp_magic_twice(x), true);
  const Pair<B> r = two_sum(e.r, e.r_low + low);
  return times_power(expm1_reduced<B>({r.high, r.low, e.rounded}) + 1.0, e.rounded);
}

// The same for f32 numbers in f64.
template <class B>
Number<B> pow_short(Number<B> x, Number<B> y) {
  const LogReduction<B> e = reduce_log(x);
  const Number<B> s = e.f / (e.f + 2.0);
  const Number<B> log2 = madd(polynomial(s * s, log2_short), s, exponent_to_float(e.k));
  const Number<B> log2_x = choose(x < infinity, choose(x == 0.0, -infinity, log2), x);
  const Number<B> product = choose(x == 1.0, 0.0, y * log2_x);
  return exp2_short(at_most(at_least(product, -200.0), 200.0));
}

template <class B>
typename B::Value pow(B& b, typename B::Value vx, typename B::Value vy) {
  const Number<B> x{&b, vx}, y{&b, vy}, size = absolute(x);
  const Number<B> power =
      x.dtype() == DType::F32
          ? pow_short(size.cast(DType::F64), y.cast(DType::F64)).cast(DType::F32)
          : pow_f64(size, y);
  const Number<B> half = 0.5 * y;
  const Number<B> whole = truncated(y) == y, odd = whole & (truncated(half) != half);
  const Number<B> none = sign_bit(x).same(0);
  const Number<B> with_sign = xor_bits(power, choose(odd, sign_bit(x), none));
  const Number<B> undefined = (x < 0.0) & (x > -infinity) & !whole;
  return choose((x == 1.0) | (y == 0.0), 1.0, choose(undefined, quiet_nan, with_sign)).value;
}

// sqrt(x^2 + y^2) with both scaled by a power of two when a square could overflow or be lost.
template <class B>
typename B::Value hypot(B& b, typename B::Value vx, typename B::Value vy) {
  const Number<B> x = absolute(Number<B>{&b, vx}), y = absolute(Number<B>{&b, vy});
  const Number<B> infinite = (x == infinity) | (y == infinity);
  if (x.dtype() == DType::F32) {
    const Number<B> u = x.cast(DType::F64), v = y.cast(DType::F64);
    return choose(infinite, infinity, square_root(madd(u, u, v * v)).cast(DType::F32)).value;
  }
  const Number<B> larger = choose(x < y, y, x);
  const Number<B> huge = larger > 0x1p500, tiny = larger < 0x1p-400, one = x.same(1.0);
  const Number<B> down = choose(huge, 0x1p-600, choose(tiny, 0x1p600, one));
  const Number<B> up = choose(huge, 0x1p600, choose(tiny, 0x1p-600, one));
  const Number<B> u = x * down, v = y * down;
  return choose(infinite, infinity, square_root(madd(u, u, v * v)) * up).value;
}

template <class B>
typename B::Value rsqrt(B& b, typename B::Value v) {
  return (1.0 / square_root(Number<B>{&b, v})).value;
}

// a - q c where that is a number of f64, for positive a and c with a / c < 2^53.
template <class B>
Number<B> exact_remainder(Number<B> a, Number<B> q, Number<B> c) {
  if (a.builder->has_fma()) return madd(-q, c, a);
  // The halves of the product must neither overflow nor be lost.
  const Number<B> one = a.same(1.0), large = a > 0x1p900, small = c < 0x1p-900;
  const Number<B> down = choose(large, 0x1p-200, choose(small, 0x1p200, one));
  const Number<B> up = choose(large, 0x1p200, choose(small, 0x1p-200, one));
  const Pair<B> product = two_product(q, c * down);
  return ((a * down - product.high) - product.low) * up;
}

template <class B>
typename B::Value fmod(B& b, typename B::Value vx, typename B::Value vy) {
  const Number<B> x{&b, vx}, y{&b, vy};
  const DType type = x.dtype();
  const Number<B> a = absolute(x).cast(DType::F64), c = absolute(y).cast(DType::F64);
  const Number<B> quotient = a / c, q = truncated(quotient);
  const Number<B> r =
      exact_remainder(a, q, choose(q == 0.0, 1.0, c));  // zero times infinity is NaN
  const Number<B> common = with_sign_of(choose(r < 0.0, r + c, r).cast(type), x);
  return call_where(!(quotient < 0x1p53), loops::Helper::Fmod, common, x, y).value;
}

}  // namespace cermet::compiler::vecmath
