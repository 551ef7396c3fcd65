#pragma once
// Reduction of an argument by multiples of pi/2, for sin, cos and tan.
//
// Arguments of common size: x - n pi/2 by Cody and Waite's method with pi/2 in three or four parts.
// With fma three full parts suffice (the first difference is exact, the others round once); without
// it f64 uses four parts of 33 bits, whose products with n are exact, and f32 is reduced in f64.
//
// Large arguments: Payne and Hanek, Radian reduction for trigonometric functions, SIGNUM Newsletter
// 18, 1983. x is m 2^e with m an integer; the bits of 2/pi that make multiples of 4 are left out,
// the next 192 bits are multiplied by m modulo 2^192, and the result is the quadrant and the
// fraction of x / (pi/2). Builders have no tables, so the words are selected by the bits of e, like
// a barrel shifter.

#include "compiler/vecmath_number.h"

namespace cermet::compiler::vecmath {

// x = n pi/2 + r, r = high + low; the low two bits of quadrant are those of n.
template <class B>
struct Residue {
  Number<B> high, low, quadrant;
};

// Above this the method for large arguments takes over (and n has too many bits for the other).
constexpr double large_argument(DType type) { return type == DType::F32 ? 0x1p17 : 0x1p21; }

inline constexpr double half_pi_f32[] = {0x1.921fb6p0, -0x1.777a5cp-25, -0x1.ee59dap-50};
inline constexpr double half_pi_f64[] = {0x1.921fb54442d18p0, 0x1.1a62633145c07p-54,
                                         -0x1.f1976b7ed8fbcp-110};
inline constexpr double half_pi_33_bits[] = {0x1.921fb544p0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69,
                                             0x1.b839a252049c1p-104};

// For 0 <= x <= large_argument. f32 without fma has no such reduction: it goes through f64.
// `want_low` is only for f64.
template <class B>
Residue<B> reduce_common(Number<B> x, bool want_low) {
  const Format& f = format(x);
  const Number<B> magic = x.same(f.round_magic), t = madd(x, 0x1.45f306dc9c883p-1, magic),
                  n = t - magic;
  const Number<B> quadrant = t.bitcast(f.bits);
  if (x.builder->has_fma()) {
    const std::span<const double> p =
        f.type == DType::F32 ? std::span(half_pi_f32) : std::span(half_pi_f64);
    const Number<B> first = madd(n, -p[0], x);
    if (!want_low) {
      const Number<B> r = madd(n, -p[2], madd(n, -p[1], first));
      return {r, r, quadrant};
    }
    const Pair<B> product = two_product(n, x.same(-p[1])), second = two_sum(first, product.high);
    const Pair<B> r = fast_two_sum(second.high, second.low + madd(n, -p[2], product.low));
    return {r.high, r.low, quadrant};
  }
  const std::span<const double> p = half_pi_33_bits;
  const Pair<B> second = two_sum(x - n * p[0], n * -p[1]);
  const Pair<B> third = two_sum(second.high, n * -p[2]);
  const Pair<B> r = fast_two_sum(third.high, third.low + (second.low - n * p[3]));
  return {r.high, r.low, quadrant};
}

// The upper 64 bits of the 128-bit product of u64 numbers, from products of halves.
template <class B>
Number<B> multiply_high(Number<B> a, Number<B> b) {
  const int64_t half = 0xffffffff;
  const Number<B> al = a & half, ah = a >> 32, bl = b & half, bh = b >> 32;
  const Number<B> low_high = al * bh, high_low = ah * bl;
  const Number<B> middle = ((al * bl) >> 32) + (low_high & half) + (high_low & half);
  return ah * bh + (low_high >> 32) + (high_low >> 32) + (middle >> 32);
}

// 1/pi in 64-bit words, after 37 zero bits.
inline constexpr uint64_t inverse_pi_words[] = {
    0x00000000028be60d, 0xb9391054a7f09d5f, 0x47d4d377036d8a56, 0x64f10e4107f9458e,
    0xaf7aef1586dc91b8, 0xe909374b801924bb, 0xa827464873f877ac, 0x72c4a69cfba208d7,
    0xd4baed1213a671c0, 0x9ad17df904e64758, 0xe60d4ce7d272117e, 0x2ef7e4a0ec7fe25f,
    0xff7816603fbcbc46, 0x2d6829b47db4d9fb, 0x3c9f2c26dd3d18fd, 0x9a797fa8b5d49eeb,
    0x1faf97c5ecf41ce7, 0xde294a4ba9afed7e, 0xc47e357421580cc1};

// x / (pi/2) modulo 4 in fixed point: high 2^-62 + low 2^-126, for f64 |x| >= 2^16.
template <class B>
Pair<B> quadrants_of(Number<B> x) {
  const Number<B> bits = x.bitcast(DType::U64);
  const Number<B> m = (bits & 0xfffffffffffff) | 0x10000000000000;
  // Bit `start` of the words above has weight 2 in x / (pi/2). Smaller x make nonsense here, within
  // bounds.
  const Number<B> start = ((bits >> 52) & 0x7ff) - 1039;
  const Number<B> shift = start & 63, other = shift.same(63) - shift;

  Number<B> word[19] = {bits, bits, bits, bits, bits, bits, bits, bits, bits, bits,
                        bits, bits, bits, bits, bits, bits, bits, bits, bits};
  for (int i = 0; i < 19; ++i) word[i] = bits.same(inverse_pi_words[i]);
  int count = 19;
  for (int step = 8; step > 0; step /= 2) {
    const Number<B> skip = (start & (64 * step)) != 0;
    count -= step;
    for (int i = 0; i < count; ++i) word[i] = choose(skip, word[i + step], word[i]);
  }
  for (int i = 0; i < 3; ++i)
    word[i] = shift_left(word[i], shift) | shift_right(word[i + 1] >> 1, other);

  const Number<B> part = m * word[1];
  const Number<B> low = multiply_high(m, word[2]) + part;
  const Number<B> carry = choose(low < part, low.same(1), low.same(0));
  return {multiply_high(m, word[1]) + m * word[0] + carry, low};
}

// The low 32 bits of a u64 as f64.
template <class B>
Number<B> low_half_to_f64(Number<B> word) {
  return ((word & 0xffffffff) | 0x4330000000000000).bitcast(DType::F64) - 0x1p52;
}

// Reduction of f64 of any size from 2^16 up; NaN for infinity and NaN.
template <class B>
Residue<B> reduce_large(Number<B> x) {
  const Pair<B> turns = quadrants_of(x);
  // Around the nearest integer the rest is a signed fraction, in units of 2^-64.
  const Number<B> quadrant = (turns.high + 0x2000000000000000) >> 62;
  const Number<B> rest = (turns.high << 2) | (turns.low >> 62);
  const Number<B> top = low_half_to_f64((rest >> 32) ^ 0x80000000) - 0x1p31;
  const Pair<B> sum = fast_two_sum(top * 0x1p-32, low_half_to_f64(rest) * 0x1p-64);
  const Number<B> tail = low_half_to_f64(turns.low >> 30) * 0x1p-96 +
                         low_half_to_f64(turns.low & 0x3fffffff) * 0x1p-126;
  const Pair<B> part = fast_two_sum(sum.high, sum.low + tail);
  const Number<B> half_pi = x.same(half_pi_f64[0]);
  const Pair<B> product = two_product(part.high, half_pi);
  const Pair<B> r =
      fast_two_sum(product.high, product.low + madd(part.high, half_pi_f64[1], part.low * half_pi));
  return {choose(x < infinity, r.high, quiet_nan), r.low, quadrant};
}

}  // namespace cermet::compiler::vecmath
