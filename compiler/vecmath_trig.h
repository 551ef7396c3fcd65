#pragma once
// sin, cos, tan.
//
// The argument is reduced to r in [-pi/4, pi/4]. The quadrant chooses between sin(r) = r + r z S(z)
// and cos(r) = 1 - z/2 + z^2 C(z), z = r^2, and gives the sign; so sin(x)^2 + cos(x)^2 never passes
// 1 by more than rounding, and cos(0) is 1. tan is tan(r) or -1 / tan(r). Large arguments, rare and
// long to reduce, are left to a helper.
//
// With fma sin of f32 needs neither two polynomials nor a choice: multiples of pi leave r in
// [-pi/2, pi/2], where sin(r) is one polynomial, which does not pass 1 either. (cos would lose
// digits near zero that way.)
//
// tan for f32 is computed in f64 with a short polynomial: its steep slope would amplify the
// rounding of r.

#include "compiler/vecmath_reduce.h"

namespace cermet::compiler::vecmath {

inline constexpr double sin_s_f32[] = {-0x1.555544p-3, 0x1.1106c6p-7, -0x1.991c28p-13};
inline constexpr double sin_s_f64[] = {-0x1.5555555555548p-3,  0x1.111111110f730p-7,
                                       -0x1.a01a019be9204p-13, 0x1.71de355528fafp-19,
                                       -0x1.ae5e4b80e24bfp-26, 0x1.5d8b5459d2014p-33};
// Up to pi/2; near the minimax polynomial, and of those with these few bits one that keeps every
// sine within 1.82 ulp and none above 1.
inline constexpr double sin_half_turn_f32[] = {-0x1.55554cp-3, 0x1.110edep-7, -0x1.9f713cp-13,
                                               0x1.5dbef6p-19};
inline constexpr double cos_c_f32[] = {0x1.55554ap-5, -0x1.6c0c1cp-10, 0x1.99e240p-16};
inline constexpr double cos_c_f64[] = {0x1.555555555554bp-5,  -0x1.6c16c16c15014p-10,
                                       0x1.a01a019c8ef82p-16, -0x1.27e4f7f164c6cp-22,
                                       0x1.1ee9dba9ed38cp-29, -0x1.8fa66e4fac4f2p-37};
inline constexpr double tan_t_short[] = {
    0x1.5555605f5d538p-2, 0x1.110d8c7a5a8eep-3,  0x1.badc1aaf24d36p-5, 0x1.5cad68d11c693p-6,
    0x1.631ee3ded11a9p-7, 0x1.6ed166b8beabbp-14, 0x1.1edf40c5a7562p-8};
inline constexpr double tan_t_f64[] = {
    0x1.555555555555dp-2,  0x1.11111111106dap-3,   0x1.ba1ba1bab2771p-5,  0x1.664f485fb56d2p-6,
    0x1.226e3a31cd33dp-7,  0x1.d6d2f44e359bep-9,   0x1.7db0df30aaab0p-10, 0x1.34c2db6ff33dbp-11,
    0x1.fecf4057ecfb2p-13, 0x1.605cd27144505p-14,  0x1.1688b4ca7deddp-14, -0x1.9ce62b54b737fp-16,
    0x1.90dc5f8f3b1a8p-15, -0x1.9037e6dbe4ef5p-16, 0x1.45aecc5d22c81p-17};

// A residue found in f64, for an f32 argument.
template <class B>
Residue<B> narrowed(const Residue<B>& r) {
  const Number<B> high = r.high.cast(DType::F32);
  return {high, high, (r.quadrant & 3).cast(DType::U32)};
}

// The second lowest bit as a float's sign bit.
template <class B>
Number<B> sign_of_quadrant(Number<B> quadrant) {
  const Format& f = quadrant.dtype() == DType::U32 ? binary32 : binary64;
  return (quadrant << (bits_of(f.type) - 2)) & f.sign;
}

// sin(n pi/2 + r).
template <class B>
Number<B> sin_of(const Residue<B>& r) {
  const bool f32 = r.high.dtype() == DType::F32;
  const Number<B> z = r.high * r.high;
  const Number<B> s = f32 ? polynomial(z, sin_s_f32) : polynomial(z, sin_s_f64);
  const Number<B> c = f32 ? polynomial(z, cos_c_f32) : polynomial(z, cos_c_f64);
  const Number<B> sin_r = madd(z * s, r.high, r.high), cos_r = madd(madd(c, z, -0.5), z, 1.0);
  return xor_bits(choose((r.quadrant & 1) != 0, cos_r, sin_r), sign_of_quadrant(r.quadrant));
}

// sin(x) for f32 0 <= x <= large_argument, with fma.
template <class B>
Number<B> sin_by_half_turns(Number<B> x) {
  const Number<B> magic = x.same(binary32.round_magic);
  const Number<B> turns = madd(x, 0x1.45f306dc9c883p-2, magic), n = turns - magic;
  Number<B> r = x;
  for (double part : half_pi_f32) r = madd(n, -2 * part, r);
  const Number<B> z = r * r, y = madd(z * r, polynomial(z, sin_half_turn_f32), r);
  return xor_bits(y, turns.bitcast(DType::U32) << 31);
}

// `common`, and in the lanes whose size is large helper(size), or, as the builder wishes,
// large(size).
template <class B, class F>
Number<B> unless_large(Number<B> size, Number<B> common, loops::Helper helper, F large) {
  const Number<B> mask = !(size < large_argument(size.dtype()));
  if constexpr (requires { B::inlines_large_arguments; })
    return choose(mask, large(size), common);
  else
    return call_where(mask, helper, common, size);
}

// The sine of size, which is not negative, moved by so many quadrants.
template <class B>
Number<B> sin_of_moved(Number<B> size, int quadrants, loops::Helper helper) {
  const auto finish = [&](Residue<B> r) {
    if (quadrants != 0) r.quadrant = r.quadrant + quadrants;
    return sin_of(r);
  };
  const bool f32 = size.dtype() == DType::F32;
  const bool fma = size.builder->has_fma();
  const Number<B> common = f32 && !fma
                               ? finish(narrowed(reduce_common(size.cast(DType::F64), false)))
                           : f32 && quadrants == 0 ? sin_by_half_turns(size)
                                                   : finish(reduce_common(size, false));
  return unless_large(size, common, helper, [&](Number<B> x) {
    return finish(f32 ? narrowed(reduce_large(x.cast(DType::F64))) : reduce_large(x));
  });
}

template <class B>
typename B::Value sin(B& b, typename B::Value v) {
  const Number<B> x{&b, v};
  return xor_bits(sin_of_moved(absolute(x), 0, loops::Helper::Sin), sign_bit(x)).value;
}
template <class B>
typename B::Value cos(B& b, typename B::Value v) {
  return sin_of_moved(absolute(Number<B>{&b, v}), 1, loops::Helper::Cos).value;
}

// tan(r) or -1 / tan(r) for |r| <= pi/4, as the quadrant says, with about 30 bits.
template <class B>
Number<B> tan_short(const Residue<B>& r) {
  const Number<B> z = r.high * r.high, t = madd(z * polynomial(z, tan_t_short), r.high, r.high);
  const Number<B> odd = (r.quadrant & 1) != 0;
  return choose(odd, t.same(-1.0), t) / choose(odd, t, t.same(1.0));
}
// The same to full accuracy: t = high + low, and the quotient's remainder gives its correction.
template <class B>
Number<B> tan_full(const Residue<B>& r) {
  const Number<B> z = r.high * r.high;
  const Pair<B> t =
      fast_two_sum(r.high, madd(z * polynomial(z, tan_t_f64), r.high, madd(r.low, z, r.low)));
  const Number<B> w = -1.0 / t.high;
  const Pair<B> product = two_product(w, t.high);
  const Number<B> remainder = (product.high + 1.0) + madd(w, t.low, product.low);
  return choose((r.quadrant & 1) != 0, madd(w, remainder, w), t.high);
}

template <class B>
typename B::Value tan(B& b, typename B::Value v) {
  const Number<B> x{&b, v}, size = absolute(x);
  const bool f32 = x.dtype() == DType::F32;
  const auto tan_of = [&](Number<B> y, auto reduce) {
    const Residue<B> r = reduce(f32 ? y.cast(DType::F64) : y);
    return f32 ? tan_short(r).cast(DType::F32) : tan_full(r);
  };
  const Number<B> common = tan_of(size, [](Number<B> y) { return reduce_common(y, true); });
  const Number<B> result = unless_large(size, common, loops::Helper::Tan,
                                        [&](Number<B> y) { return tan_of(y, reduce_large<B>); });
  return xor_bits(result, sign_bit(x)).value;
}

}  // namespace cermet::compiler::vecmath
