#pragma once
// The small floating-point formats: exact conversion to double and float, and correctly rounded
// conversion from double, in every rounding mode of PTX.

#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstdint>

namespace cermet::ptxsim {

enum class Round : std::uint8_t { Nearest, Zero, Down, Up, Away };  // Away: nearest, ties away

struct SmallFormat {
  int mantissa_bits;  // stored
  int exponent_bits;
};
inline constexpr SmallFormat kHalf{10, 5}, kBFloat{7, 8}, kTensorFloat{10, 8};

inline float half_to_float(std::uint16_t h) {
#if defined(__F16C__)
  return _cvtsh_ss(h);
#else
  const std::uint32_t sign = std::uint32_t{h & 0x8000U} << 16, body = h & 0x7fffU;
  if (body >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000U | (body & 0x3ffU) << 13);
  const float magnitude = body >= 0x400 ? std::bit_cast<float>((body << 13) + (112U << 23))
                                        : static_cast<float>(body) * 0x1p-24F;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
#endif
}
inline float bfloat_to_float(std::uint16_t b) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(b) << 16);
}

// An integer nearest to x in the given direction.
inline double round_integer(double x, Round mode) {
  switch (mode) {
    case Round::Nearest: return std::nearbyint(x);
    case Round::Zero: return std::trunc(x);
    case Round::Down: return std::floor(x);
    case Round::Up: return std::ceil(x);
    case Round::Away: return std::round(x);
  }
  return x;
}

// The bits of x in a small format (in the low bits of the result, sign at the top of the format).
// NaN becomes the canonical NaN, all bits set but the sign.
inline std::uint32_t round_to_format(double x, SmallFormat format, Round mode) {
  const std::uint32_t sign = std::uint32_t{std::signbit(x)}
                             << (format.mantissa_bits + format.exponent_bits);
  const std::uint32_t infinity = ((1U << format.exponent_bits) - 1) << format.mantissa_bits;
  if (std::isnan(x)) return infinity | ((1U << format.mantissa_bits) - 1);
  if (std::isinf(x)) return sign | infinity;
  if (x == 0) return sign;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  const int exponent = std::max(std::ilogb(x), 1 - bias);
  double units = round_integer(std::ldexp(x, format.mantissa_bits - exponent), mode);
  const auto magnitude = static_cast<std::uint32_t>(std::fabs(units));
  // Carrying into the next binade, and from subnormal to normal, is addition of bits.
  const std::uint32_t hidden = 1U << format.mantissa_bits;
  const std::uint32_t bits =
      magnitude < hidden
          ? magnitude
          : static_cast<std::uint32_t>(exponent + bias) * hidden + (magnitude - hidden);
  if (bits < infinity) return sign | bits;
  const bool toward_zero =
      mode == Round::Zero || (mode == Round::Down && sign == 0) || (mode == Round::Up && sign != 0);
  return sign | (toward_zero ? infinity - 1 : infinity);
}

inline std::uint16_t float_to_half(float x) {  // to nearest even
#if defined(__F16C__)
  return std::isnan(x) ? std::uint16_t{0x7fff} : _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
#else
  return static_cast<std::uint16_t>(round_to_format(x, kHalf, Round::Nearest));
#endif
}
inline std::uint16_t float_to_bfloat(float x) {  // to nearest even
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  return static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? 0x7fffU : rounded);
}
inline std::uint32_t float_to_tensor_float(float x, Round mode) {
  return round_to_format(x, kTensorFloat, mode) << 13;
}

// a * b + c for small formats, whose product is exact in double: the sum is rounded to odd, so that
// rounding it again to fewer bits is as one rounding (Boldo and Melquiond, 2008).
inline double fused_to_odd(double a, double b, double c) {
  const double product = a * b, sum = product + c;
  if (!std::isfinite(sum)) return sum;
  const double part = sum - product;
  const double error = (product - (sum - part)) + (c - part);  // TwoSum of Knuth
  if (error == 0) return sum;
  const auto bits = std::bit_cast<std::uint64_t>(sum);
  if ((bits & 1) != 0) return sum;
  return std::bit_cast<double>(((error > 0) == (sum > 0)) ? bits + 1 : bits - 1);
}

}  // namespace cermet::ptxsim
