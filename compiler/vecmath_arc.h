#pragma once
// asin, acos, atan, atan2.
//
// asin(x) = x + x z A(z), z = x^2, up to 1/2; above, asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)),
// where the argument of the root is exact. acos is made from the same two forms, each where it has
// no cancellation.
//
// atan2 takes the quotient of the smaller and the larger magnitude, w = a / b <= 1, or beyond 1/2 w
// = (a - b) / (a + b) = tan(atan(a / b) - pi/4), so that |w| <= 1/2 with one division, and atan(w)
// = w + w z T(z). The angle is then k pi/4 +- atan(w) with an integer k, of which the high part is
// exact. atan(x) is atan2(x, 1).

#include "compiler/vecmath_number.h"

namespace cermet::compiler::vecmath {

inline constexpr double asin_a_f32[] = {0x1.5555c8p-3, 0x1.330204p-4, 0x1.747bbap-5, 0x1.8c3e38p-6,
                                        0x1.595c6ep-5};
inline constexpr double asin_a_f64[] = {
    0x1.5555555555577p-3, 0x1.333333332e132p-4, 0x1.6db6db7212575p-5, 0x1.f1c71a94f9cdap-6,
    0x1.6e8bdedf786eap-6, 0x1.1c49f06ace571p-6, 0x1.ca1f8c29715f7p-7, 0x1.758593c1abe15p-7,
    0x1.613c55ec4fa21p-7, 0x1.e5f8a1b0c54e1p-9, 0x1.639b892c73ef4p-6, -0x1.57fc3cae0fe25p-6,
    0x1.0b465c67bb2dfp-5};
inline constexpr double atan_t_f32[] = {-0x1.555512p-2, 0x1.997b06p-3, -0x1.2249a8p-3,
                                        0x1.9ff99ep-4, -0x1.a3c4e6p-5};
inline constexpr double atan_t_f64[] = {
    -0x1.5555555555516p-2, 0x1.999999999113ap-3, -0x1.249249215da0ap-3, 0x1.c71c7090cda7cp-4,
    -0x1.745cf4c8470bap-4, 0x1.3b113d902b65ap-4, -0x1.10f31d1199bbep-4, 0x1.dfe95b2d862abp-5,
    -0x1.a397e29dab7bdp-5, 0x1.56f44b490da40p-5, -0x1.c17af5623f462p-6, 0x1.4b7d1c0adcde2p-7};

// pi/4 = high + low, the high part short enough for four times it to be exact.
struct QuarterPi {
  double high, low;
};
constexpr QuarterPi quarter_pi(DType type) {
  if (type == DType::F32) return {0x1.921fb4p-1, 0x1.4442d2p-25};
  return {0x1.921fb54442d18p-1, 0x1.1a62633145c07p-55};
}

// asin(s) - s for |s| <= 1/2, given its square.
template <class B>
Number<B> asin_rest(Number<B> s, Number<B> z) {
  return z * (s.dtype() == DType::F32 ? polynomial(z, asin_a_f32) : polynomial(z, asin_a_f64)) * s;
}

template <class B>
typename B::Value asin(B& b, typename B::Value v) {
  const Number<B> x{&b, v}, size = absolute(x);
  const Number<B> outer = size > 0.5, half = (1.0 - size) * 0.5;
  const Number<B> s = choose(outer, square_root(half), size), z = choose(outer, half, size * size);
  const Number<B> rest = asin_rest(s, z);
  const QuarterPi q = quarter_pi(x.dtype());
  const Number<B> far = q.high + ((q.high - 2.0 * s) - (2.0 * rest - 2.0 * q.low));
  return with_sign_of(choose(outer, far, s + rest), x).value;
}

template <class B>
typename B::Value acos(B& b, typename B::Value v) {
  const Number<B> x{&b, v}, size = absolute(x);
  const Number<B> outer = size > 0.5, half = (1.0 - size) * 0.5;
  const Number<B> s = choose(outer, square_root(half), x), z = choose(outer, half, x * x);
  const Number<B> rest = asin_rest(s, z), doubled = 2.0 * (s + rest);
  const QuarterPi q = quarter_pi(x.dtype());
  const Number<B> inner = 2.0 * q.high - (s - (2.0 * q.low - rest));
  const Number<B> left = 4.0 * q.high - (doubled - 4.0 * q.low);
  return choose(outer, choose(x < 0.0, left, doubled), inner).value;
}

// The angle of the point (x, y), y >= 0; x_negative says on which side it is, x being its
// magnitude.
template <class B>
Number<B> angle(Number<B> y, Number<B> x, const Number<B>* x_negative) {
  const DType type = x.dtype();
  const Number<B> steep = y > x;
  Number<B> a = choose(steep, x, y), c = choose(steep, y, x);
  const Number<B> middle = a > 0.5 * c;
  const Number<B> w = choose(middle, a - c, a) / choose(middle, a + c, c), z = w * w;
  const Number<B> rest =
      z * (type == DType::F32 ? polynomial(z, atan_t_f32) : polynomial(z, atan_t_f64)) * w;
  // k and the sign of atan(w): w as it is, pi/2 - it where steep, and pi minus all where x is
  // negative.
  const Number<B> one = x.same(1.0), zero = x.same(0.0);
  Number<B> k = choose(middle, one, choose(steep, 2.0, zero)), sign = choose(steep, -one, one);
  if (x_negative) {
    k = choose(*x_negative, 4.0 - k, k);
    sign = choose(*x_negative, -sign, sign);
  }
  const QuarterPi q = quarter_pi(type);
  return madd(k, q.high, sign * w + madd(k, q.low, sign * rest));
}

template <class B>
typename B::Value atan(B& b, typename B::Value v) {
  const Number<B> x{&b, v}, size = absolute(x), one = x.same(1.0);
  // Beyond the larger bound the quotient would be infinite over infinite.
  return with_sign_of(
             angle<B>(at_most(size, x.dtype() == DType::F32 ? 0x1p100 : 0x1p900), one, nullptr), x)
      .value;
}

template <class B>
typename B::Value atan2(B& b, typename B::Value vy, typename B::Value vx) {
  const Number<B> gy{&b, vy}, gx{&b, vx};
  const Format& f = format(gx);
  Number<B> y = absolute(gy), x = absolute(gx);
  // Only the ratio counts: near overflow both shrink, infinities become 1 beside 0 or 1, and 0 / 0
  // becomes 0 / 1.
  const Number<B> large = (y > 1 / f.min_normal) | (x > 1 / f.min_normal);
  const Number<B> infinite = (y == infinity) | (x == infinity), one = x.same(1.0),
                  zero = x.same(0.0);
  const auto tamed = [&](Number<B> a) {
    return choose(infinite, choose(a == infinity, one, zero), choose(large, a * 0.25, a));
  };
  const Number<B> negative = sign_bit(gx) != 0, unordered = (gx != gx) | (gy != gy);
  x = choose((y == 0.0) & (x == 0.0), one, tamed(x));
  const Number<B> result = with_sign_of(angle(tamed(y), x, &negative), gy);
  return choose(unordered, gx + gy, result).value;
}

}  // namespace cermet::compiler::vecmath
