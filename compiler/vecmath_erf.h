#pragma once
// erf and erfc.
//
// erfc(x) = e^(-x^2) q(t) / (1 + 2x) for x >= 0, where q(t) = erfcx(x) (1 + 2x) is nearly constant
// in t = (x - 5/2) / (x + 5/2) (the substitution of Shepherd and Laframboise, Mathematics of
// Computation 36, 1981, with another pole), and erfc(-x) = 2 - erfc(x). In f64 the square, the
// exponential and the quotient are carried as pairs, as their errors would add up; f32 is done in
// f64 with shorter polynomials.
//
// erf is x + x Q(x^2) near zero. Beyond that f64 takes 1 - erfc(x), and f32, where time matters, 1
// - 2^(p(x)) with p = log2 erfc as a polynomial up to 4, where erf is 1; or tables, where those are
// read by one instruction.

#include "compiler/vecmath_exp.h"
#include "compiler/vecmath_table.h"

namespace cermet::compiler::vecmath {

inline constexpr double erf_q_f32[] = {0x1.06eba6p-3,  -0x1.8126e2p-2, 0x1.ce1984p-4,
                                       -0x1.b67bcep-6, 0x1.46d844p-8,  -0x1.386c4ap-11};
inline constexpr double erf_q_f64[] = {
    0x1.06eba8214db68p-3,  -0x1.812746b03799dp-2,  0x1.ce2f21a03f8b8p-4,  -0x1.b82ce311a9757p-6,
    0x1.565bcceed8889p-8,  -0x1.c02daeb6a7a4ep-11, 0x1.f9a296a9332cap-14, -0x1.f4c82e2c7a8cep-17,
    0x1.b96b4da67e0d8p-20, -0x1.5b8c27b1db20ep-23, 0x1.d3db91d431f35p-27, -0x1.a2372586a5c88p-31};
// log2 erfc(x) = -x + x p(x) on [0.9277, 4]
inline constexpr double erf_tail_f32[] = {-0x1.419620p-1, -0x1.d595f6p-1, -0x1.36fa72p-3,
                                          0x1.0e7174p-5,  -0x1.2fc306p-8, 0x1.434f14p-12};
// 2^r = 1 + r q(r) to 23 bits
inline constexpr double erf_exp2_f32[] = {0x1.62e42ap-1, 0x1.ebf99cp-3, 0x1.c6b576p-5,
                                          0x1.3cf732p-7, 0x1.5cd89ap-10};
inline constexpr double erfcx_q_f64[] = {
    0x1.43cc6f6c9672cp+0,   -0x1.f52c5d7e22302p-4,  -0x1.959ac16f857b7p-4,  0x1.42d379989b5acp-3,
    -0x1.a5c0c8a4015d8p-4,  0x1.0c6092a5a5935p-5,   0x1.e894893c53352p-11,  -0x1.1f2f13284c089p-8,
    0x1.01e11ec2c9a78p-11,  0x1.4b6a4ac8c3da8p-11,  -0x1.731c639c49c29p-14, -0x1.dc25ad269b4b3p-14,
    0x1.a4ac434ab263ep-18,  0x1.7cd5cb7668d6bp-16,  0x1.5d11433529229p-19,  -0x1.1b0f2a376ef97p-18,
    -0x1.a4ce21f74818bp-20, 0x1.1b942198adb7fp-21,  0x1.110f167b6bd25p-21,  0x1.fdca57e42fc81p-26,
    -0x1.bd03f317c4178p-24, -0x1.33409fc57d10ap-25, 0x1.168ed5629478ep-27,  0x1.dcad77a588b17p-28,
    0x1.2b23394d2028dp-30};
inline constexpr double erfcx_q_short[] = {
    0x1.40c522db94705p+0,  -0x1.15c0892f453f3p-3,  -0x1.85a196efcba3ep-5, 0x1.09840e976e89cp-3,
    -0x1.e88892a4d5945p-4, 0x1.17bd7115194a3p-4,   -0x1.85e8d8a9e79f5p-6, 0x1.505ed80604f91p-9,
    0x1.0680e8877b557p-9,  -0x1.96650eceea4edp-11, -0x1.17f78ee68e216p-12};
// 2^r = 1 + r q(r) to 34 bits.
inline constexpr double exp2_q_short[] = {
    0x1.62e42ff0e6bb6p-1,  0x1.ebfbe0790925bp-3,  0x1.c6b08ab7e8cd8p-5, 0x1.3b29f2122e9b5p-7,
    0x1.5d8a8b85e825fp-10, 0x1.445ddb6325bbcp-13, 0x1.fde38de7b7bc2p-17};

// 2^x in f64 to 34 bits, for results of normal size.
template <class B>
Number<B> exp2_short(Number<B> x) {
  const Number<B> magic = exp_magic(x, 0), t = x + magic, r = x - (t - magic);
  return madd(polynomial(r, exp2_q_short), r, 1.0) * rounded_power(t);
}

// erfc(x) for 0 <= x in f64, to 28 bits and down to 2^-160.
template <class B>
Number<B> erfc_short(Number<B> x) {
  x = at_most(x, 10.3);
  const Number<B> t = (x - 3.0) / (x + 3.0);
  return exp2_short(x * x * -log2e) * polynomial(t, erfcx_q_short) / madd(x, 2.0, x.same(1.0));
}

// erfc(x) for 0 <= x in f64 as a pair, times 2^512.
template <class B>
Pair<B> erfc_full(Number<B> x) {
  x = at_most(x, 27.5);
  const Pair<B> square = two_product(x, x);
  const ExpReduction<B> e = reduce_exp(-square.high, exp_magic(x, exp_f64.shift), true);
  const Pair<B> r = two_sum(e.r, e.r_low - square.low);
  const Pair<B> power = fast_two_sum(x.same(1.0), expm1_reduced<B>({r.high, r.low, e.rounded}));

  // q = c0 + s c(s), its last addition a pair.
  const Number<B> s = (x - 2.5) / (x + 2.5);
  const std::span<const double> c = erfcx_q_f64;
  const Pair<B> q = fast_two_sum(x.same(c[0]), s * polynomial(s, c.subspan(1)));
  const Pair<B> d = two_sum(x + x, x.same(1.0));
  const Number<B> w = q.high / d.high;
  const Pair<B> back = two_product(w, d.high);
  const Number<B> w_low = ((q.high - back.high) - back.low + (q.low - w * d.low)) / d.high;

  const Pair<B> y = two_product(power.high, w);
  const Number<B> low = y.low + madd(power.high, w_low, power.low * w);
  const Number<B> scaled = rounded_power(e.rounded);
  return {y.high * scaled, low * scaled};
}

template <class B>
Number<B> erf_near_zero(Number<B> x) {
  const Number<B> z = x * x;
  return madd(x.dtype() == DType::F32 ? polynomial(z, erf_q_f32) : polynomial(z, erf_q_f64), x, x);
}

template <class B>
typename B::Value erfc(B& b, typename B::Value v) {
  const Number<B> x{&b, v};
  if (x.dtype() == DType::F32) {
    const Number<B> wide = x.cast(DType::F64), tail = erfc_short(absolute(wide));
    return choose(wide < 0.0, 2.0 - tail, tail).cast(DType::F32).value;
  }
  const Pair<B> tail = erfc_full(absolute(x));
  const double scale = std::ldexp(1, -int(exp_f64.shift));
  const Number<B> right = (tail.high + tail.low) * scale,
                  left = (2.0 - tail.high * scale) - tail.low * scale;
  // Near zero the result is just below one, where an ulp is half as large as that of q.
  return choose(absolute(x) < 0.25, 1.0 - erf_near_zero(x), choose(x < 0.0, left, right)).value;
}

template <class B>
typename B::Value erf(B& b, typename B::Value v) {
  const Number<B> x{&b, v}, size = absolute(x);
  if constexpr (requires { b.lookup(v, 0); })
    if (x.dtype() == DType::F32 && has_lookup(x)) return odd_by_table(x, erf_rows, 3.99).value;
  if (x.dtype() == DType::F32) {
    // One evaluation with the coefficients of either polynomial: y is erf(x) or log2 erfc(x).
    const Number<B> bounded = at_most(size, 4.0), far = size > 0.9277;
    const Number<B> z = choose(far, bounded, size * size);
    Number<B> p = choose(far, z.same(erf_tail_f32[5]), erf_q_f32[5]);
    for (size_t k = 5; k-- > 0;) p = madd(p, z, choose(far, z.same(erf_tail_f32[k]), erf_q_f32[k]));
    const Number<B> y = madd(p, bounded, choose(far, -bounded, bounded));
    const Number<B> magic = exp_magic(y, 0), t = y + magic, r = y - (t - magic);
    const Number<B> tail =
        madd(madd(polynomial(r, erf_exp2_f32), r, 1.0), -rounded_power(t), x.same(1.0));
    return with_sign_of(choose(far, tail, y), x).value;
  }
  const Pair<B> tail = erfc_full(size);
  const double scale = std::ldexp(1, -int(exp_f64.shift));
  const Number<B> far = (1.0 - tail.high * scale) - tail.low * scale;
  return with_sign_of(choose(size > 1.0, far, erf_near_zero(size)), x).value;
}

}  // namespace cermet::compiler::vecmath
