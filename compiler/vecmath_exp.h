#pragma once
// exp, exp2, expm1 and the logistic function.
//
// x = n ln 2 + r with n the nearest integer to x / ln 2, so |r| <= ln 2 / 2 (Cody and Waite,
// Software Manual for the Elementary Functions, 1980, chapter 6: ln 2 is split in two so that n
// times its high part is exact). Then e^x = 2^n e^r, e^r - 1 = r + r^2 q(r) with q from
// tools/vecmath/remez.py.
//
// n is found by adding 1.5 2^23 (2^52), which rounds to an integer and leaves n in the low bits of
// the sum; adding the exponent's bias as well makes these bits, shifted up, the float 2^n. Where n
// may leave the range of normal exponents the bias is added twice, and the bits, halved, give two
// factors whose product is 2^n. The multiplication by the second one rounds, once, and so makes
// infinities and denormals as it should.
//
// exp of f32 takes n in sixteenths where one instruction reads the sixteen powers of 2^(1/16) and
// another scales by a power of two: r is then so small that three terms do.

#include <cmath>

#include "compiler/lookup_tables.h"
#include "compiler/vecmath_number.h"

namespace cermet::compiler::vecmath {

struct ExpTable {
  double ln2_high, ln2_low;
  double shift;                // 2^(n - shift) is normal for all n of finite and denormal results
  double lowest, highest;      // e^lowest rounds to zero, e^highest overflows
  double lowest2, highest2;    // so for 2^x
  double all_minus_one;        // expm1 rounds to -1 below this
  double doubled;              // expm1 keeps 2^n finite above this by working with 2^(n-1)
  std::span<const double> q;   // (e^r - 1 - r) / r^2
  std::span<const double> q2;  // (2^r - 1) / r
};

inline constexpr double exp_q_f32[] = {0x1.fffffep-2, 0x1.5554aap-3, 0x1.555798p-5, 0x1.122bfep-7,
                                       0x1.6ac9dap-10};
inline constexpr double exp_q_f64[] = {
    0x1.0000000000000p-1,  0x1.5555555555559p-3,  0x1.555555555555ap-5,  0x1.111111110f720p-7,
    0x1.6c16c16c151d5p-10, 0x1.a01a01af3b6f8p-13, 0x1.a01a01a05de8cp-16, 0x1.71ddfb5a60a39p-19,
    0x1.27e5107ee2979p-22, 0x1.af575981a8dfcp-26, 0x1.1edc83af34e91p-29};
inline constexpr double exp2_q_f32[] = {0x1.62e430p-1, 0x1.ebfb94p-3,  0x1.c6af9ep-5,
                                        0x1.3b680ep-7, 0x1.5ef4dap-10, 0x1.17a65ep-13};
inline constexpr double exp2_q_f64[] = {
    0x1.62e42fefa39efp-1,  0x1.ebfbdff82c5b3p-3,  0x1.c6b08d704a26fp-5,  0x1.3b2ab6fb9dab8p-7,
    0x1.5d87fe78458efp-10, 0x1.430913167eedbp-13, 0x1.ffcbfe66174f4p-17, 0x1.62bfb49d62a95p-20,
    0x1.b52083783f477p-24, 0x1.e63b935ad9e0ep-28, 0x1.f0e6f0d7995fbp-32};
inline constexpr double log2e = 0x1.71547652b82fep0;
inline constexpr ExpTable exp_f32 = {0x1.63p-1, -0x1.bd0106p-13, 64, -104, 89, -151, 129, -18, 80,
                                     exp_q_f32, exp2_q_f32};
inline constexpr ExpTable exp_f64 = {
    0x1.62e42feep-1, 0x1.a39ef35793c76p-33, 512, -746, 710, -1076, 1025, -40, 700, exp_q_f64,
    exp2_q_f64};

template <class B>
const ExpTable& exp_table(Number<B> x) {
  return x.dtype() == DType::F32 ? exp_f32 : exp_f64;
}

// The rounding constant, the bias and a shift of n as one number.
template <class B>
Number<B> exp_magic(Number<B> x, double shift) {
  return x.same(format(x).round_magic + format(x).bias + shift);
}
template <class B>
Number<B> exp_magic_twice(Number<B> x) {
  return exp_magic(x, format(x).bias);
}

// x = n ln 2 + r + r_low; rounded is magic + n.
template <class B>
struct ExpReduction {
  Number<B> r, r_low, rounded;
};

template <class B>
ExpReduction<B> exp_remainder(Number<B> x, Number<B> rounded, Number<B> magic, bool want_low) {
  const ExpTable& table = exp_table(x);
  const Number<B> n = rounded - magic;
  const Number<B> high = madd(n, -table.ln2_high, x), r = madd(n, -table.ln2_low, high);
  return {r, want_low ? madd(n, -table.ln2_low, high - r) : r, rounded};
}
template <class B>
ExpReduction<B> reduce_exp(Number<B> x, Number<B> magic, bool want_low) {
  return exp_remainder(x, madd(x, log2e, magic), magic, want_low);
}

// 2^(n + shift) for rounded = exp_magic(shift) + n.
template <class B>
Number<B> rounded_power(Number<B> rounded) {
  const Format& f = format(rounded);
  return (rounded.bitcast(f.bits) << f.mantissa).bitcast(f.type);
}

// y 2^n for rounded = exp_magic_twice() + n, and every n of a finite or denormal result.
template <class B>
Number<B> times_power(Number<B> y, Number<B> rounded) {
  const Format& f = format(rounded);
  if constexpr (requires { y.builder->scale(y.value, y.value); })
    if (has_exponents(y))
      return y.with(y.builder->scale(y.value, (rounded - exp_magic_twice(y)).value));
  const Number<B> n = rounded.bitcast(f.bits);
  const Number<B> bits = n << (f.mantissa - 1), both = bits + bits, one = bits & f.exponent;
  return y * one.bitcast(f.type) * (both - one).bitcast(f.type);
}

// e^r
template <class B>
Number<B> exp_reduced(Number<B> r) {
  return madd(madd(polynomial(r, exp_table(r).q), r, 1.0), r, 1.0);
}

// e^r - 1 with the reduction's low part taken in, as accurate as its rounding.
template <class B>
Number<B> expm1_reduced(const ExpReduction<B>& e) {
  return e.r + madd(e.r * e.r, polynomial(e.r, exp_table(e.r).q), e.r_low);
}

template <class B>
Number<B> exp_by_table(Number<B> given) {
  constexpr double round_to_sixteenth = 0x1.8p19;
  const Number<B> x = at_least(given, exp_f32.lowest), magic = x.same(round_to_sixteenth);
  const Number<B> sum = madd(x, log2e, magic).bitcast(DType::I32);
  const Number<B> bound = x.same(round_to_sixteenth + 128).bitcast(DType::I32);
  const Number<B> rounded = choose(sum > bound, bound, sum);
  const Number<B> n = rounded.bitcast(DType::F32) - magic;
  const Number<B> r = madd(n, 0x1.05c610p-29, madd(n, -0x1.62e430p-1, x));
  const Number<B> p = madd(madd(r, 1.0 / 6, x.same(0.5)), r * r, r);
  const Number<B> power = x.with(x.builder->lookup(rounded.value, exp_row));
  return x.with(x.builder->scale(madd(power, p, power).value, n.value));
}

template <class B>
typename B::Value exp(B& b, typename B::Value v) {
  const Number<B> given{&b, v};
  if constexpr (requires { b.lookup(v, 0); })
    if (given.dtype() == DType::F32 && has_lookup(given)) return exp_by_table(given).value;
  const ExpTable& table = exp_table(given);
  const Number<B> magic = exp_magic_twice(given);
  Number<B> x = at_least(given, table.lowest);
  if (x.dtype() == DType::F64) x = at_most(x, table.highest);
  Number<B> rounded = madd(x, log2e, magic);
  // 32-bit lanes have an integer minimum, on ports that are idle here. What is above overflows
  // however large its remainder is, and NaN stays in the remainder.
  if (x.dtype() == DType::F32) {
    const Number<B> bits = rounded.bitcast(DType::I32);
    const Number<B> bound = exp_magic(x, binary32.bias + 128).bitcast(DType::I32);
    rounded = choose(bits > bound, bound, bits).bitcast(DType::F32);
  }
  const ExpReduction<B> e = exp_remainder(x, rounded, magic, false);
  return times_power(exp_reduced(e.r), e.rounded).value;
}

template <class B>
typename B::Value exp2(B& b, typename B::Value v) {
  Number<B> x{&b, v};
  const ExpTable& table = exp_table(x);
  x = at_most(at_least(x, table.lowest2), table.highest2);
  const Number<B> magic = exp_magic_twice(x), rounded = x + magic, r = x - (rounded - magic);
  return times_power(madd(polynomial(r, table.q2), r, 1.0), rounded).value;
}

// 2^n (e^r - 1) + (2^n - 1). The sign is x's, for zeros too.
template <class B>
typename B::Value expm1(B& b, typename B::Value v) {
  const Number<B> given{&b, v};
  const ExpTable& table = exp_table(given);
  const Number<B> x = at_most(at_least(given, table.all_minus_one), table.highest);
  const Number<B> large = x > table.doubled;
  const ExpReduction<B> e = reduce_exp(x, choose(large, exp_magic(x, -1), exp_magic(x, 0)), true);
  const Number<B> power = rounded_power(e.rounded);
  const Number<B> y = madd(expm1_reduced(e), power, power - 1.0);
  return with_sign_of(y * choose(large, x.same(2.0), x.same(1.0)), given).value;
}

// 1 / (1 + e^-x) with both terms of the quotient times 2^-64 (2^-512), so that the left tail keeps
// its denormals. The divisor 1 + 2^n + 2^n (e^r - 1) is added up as a pair and rounds once.
template <class B>
typename B::Value sigmoid(B& b, typename B::Value v) {
  const Number<B> x{&b, v};
  const ExpTable& table = exp_table(x);
  const Number<B> bounded = at_most(at_least(-x, table.all_minus_one * 2), -table.lowest);
  const ExpReduction<B> e = reduce_exp(bounded, exp_magic(x, -table.shift), true);
  const double scale = std::ldexp(1, -int(table.shift));
  const Number<B> power = rounded_power(e.rounded);
  const Number<B> sum = power + scale, lost = scale - (sum - power);
  return (scale / (sum + madd(expm1_reduced(e), power, lost))).value;
}

}  // namespace cermet::compiler::vecmath
