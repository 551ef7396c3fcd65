#pragma once
// The `lower` column of the op table for ops whose meaning differs between floats, integers and
// bool, or that need guards: integer division by zero, shifts beyond the width, conversions out of
// range. The rules are those of ir/eval.h; for exact ops the bits are the same. Templates over a
// builder, as compiler/vecmath.h, which has the float functions.
//
// b is a builder, x and y its values; f16 and bf16 arrive as f32.

#include <cstdint>

#include "cermet/dtype.h"
#include "compiler/vecmath.h"

namespace cermet::compiler::elementwise {

template <class B, class V>
V zero(B& b, V like) {
  return is_float(b.dtype(like)) ? b.constant(like, b.dtype(like), 0.0)
                                 : b.iconstant(like, b.dtype(like), 0);
}
template <class B, class V>
V one(B& b, V like) {
  return is_float(b.dtype(like)) ? b.constant(like, b.dtype(like), 1.0)
                                 : b.iconstant(like, b.dtype(like), 1);
}

template <class B, class V>
V neg(B& b, V x) {
  return b.neg(x);
}

template <class B, class V>
V abs(B& b, V x) {
  return is_unsigned(b.dtype(x)) ? x : b.abs(x);
}

// (0 < x) - (x < 0); sign(NaN) is 0, sign(-0.0) is +0.0.
template <class B, class V>
V sign(B& b, V x) {
  const V nothing = zero(b, x);
  const V positive = b.select(b.lt(nothing, x), one(b, x), nothing);
  return is_unsigned(b.dtype(x)) ? positive
                                 : b.select(b.lt(x, nothing), b.neg(one(b, x)), positive);
}

// y != y ? y : (x < y ? y : x); for bool or.
template <class B, class V>
V maximum(B& b, V x, V y) {
  if (is_bool(b.dtype(x))) return b.or_(x, y);
  const V larger = b.select(b.lt(x, y), y, x);
  return is_float(b.dtype(x)) ? b.select(b.ne(y, y), y, larger) : larger;
}
template <class B, class V>
V minimum(B& b, V x, V y) {
  if (is_bool(b.dtype(x))) return b.and_(x, y);
  const V smaller = b.select(b.lt(y, x), y, x);
  return is_float(b.dtype(x)) ? b.select(b.ne(y, y), y, smaller) : smaller;
}

// bool compares as 0 < 1: x < y is !x & y.
template <class B, class V>
V lt(B& b, V x, V y) {
  return is_bool(b.dtype(x)) ? b.and_(b.not_(x), y) : b.lt(x, y);
}
template <class B, class V>
V le(B& b, V x, V y) {
  return is_bool(b.dtype(x)) ? b.or_(b.not_(x), y) : b.le(x, y);
}
template <class B, class V>
V eq(B& b, V x, V y) {
  return is_bool(b.dtype(x)) ? b.not_(b.xor_(x, y)) : b.eq(x, y);
}
template <class B, class V>
V ne(B& b, V x, V y) {
  return is_bool(b.dtype(x)) ? b.xor_(x, y) : b.ne(x, y);
}

// What integer division needs: a divisor that is neither 0 nor -1, and the masks of where it was.
template <class B, class V>
struct SafeDivisor {
  V divisor, is_zero, is_minus_one;
  SafeDivisor(B& b, V y) {
    is_zero = b.eq(y, b.iconstant(y, b.dtype(y), 0));
    divisor = b.select(is_zero, one(b, y), y);
    is_minus_one = is_zero;
    if (is_signed(b.dtype(y))) {
      is_minus_one = b.eq(y, b.iconstant(y, b.dtype(y), -1));
      divisor = b.select(is_minus_one, one(b, y), divisor);
    }
  }
};

// C's %; integers: 0 for y == 0.
template <class B, class V>
V fmod(B& b, V x, V y) {
  if (is_float(b.dtype(x))) return vecmath::fmod(b, x, y);
  const SafeDivisor<B, V> safe(b, y);  // any x % 1 is 0, which is also the answer for 0 and -1
  return b.rem(x, safe.divisor);
}

// Whether the signs of r and y differ and r is not zero, for signed integers and floats.
template <class B, class V>
V opposite(B& b, V r, V y) {
  const V nothing = zero(b, r);
  return b.and_(b.ne(r, nothing), b.xor_(b.lt(r, nothing), b.lt(y, nothing)));
}

// Python's %.
template <class B, class V>
V remainder(B& b, V x, V y) {
  const V r = fmod(b, x, y);
  if (is_unsigned(b.dtype(x))) return r;
  return b.select(opposite(b, r, y), b.add(r, y), r);
}

// Python's //; floats by CPython's float_floor_div (see eval::FloorDivide), integers by zero give
// 0.
template <class B, class V>
V floor_divide(B& b, V x, V y) {
  const V nothing = zero(b, x);
  if (is_float(b.dtype(x))) {
    const DType type = b.dtype(x);
    const V plain = b.div(x, y);
    const V mod = vecmath::fmod(b, x, y);
    V quotient = b.div(b.sub(x, mod), y);
    quotient = b.select(opposite(b, mod, y), b.sub(quotient, one(b, x)), quotient);
    const V down = b.floor(quotient);
    const V rounded = b.select(b.gt(b.sub(quotient, down), b.constant(x, type, 0.5)),
                               b.add(down, one(b, x)), down);
    const V result = b.select(b.eq(quotient, nothing), b.copysign(nothing, plain), rounded);
    return b.select(b.eq(y, nothing), plain, result);
  }
  const SafeDivisor<B, V> safe(b, y);
  const V quotient = b.div(x, safe.divisor);
  if (is_unsigned(b.dtype(x))) return b.select(safe.is_zero, nothing, quotient);
  const V r = b.rem(x, safe.divisor);
  const V down = b.select(opposite(b, r, safe.divisor), b.sub(quotient, one(b, x)), quotient);
  return b.select(safe.is_zero, nothing, b.select(safe.is_minus_one, b.neg(x), down));
}

// Integers by squaring, as many steps as the exponent has bits; see eval::Pow for negative
// exponents.
template <class B, class V>
V pow(B& b, V x, V y) {
  const DType type = b.dtype(x);
  if (is_float(type)) return vecmath::pow(b, x, y);
  const V nothing = zero(b, x), unit = one(b, x);
  V result = unit, base = x, exponent = y;
  for (int bit = 0; bit < bits_of(type); ++bit) {
    const V odd = b.ne(b.and_(exponent, unit), nothing);
    result = b.select(odd, b.mul(result, base), result);
    if (bit + 1 == bits_of(type)) break;
    base = b.mul(base, base);
    exponent = b.shr(exponent, unit);
  }
  if (is_unsigned(type)) return result;
  const V minus = b.iconstant(x, type, -1);
  const V sign = b.select(b.ne(b.and_(y, unit), nothing), minus, unit);
  const V reciprocal = b.select(b.eq(x, unit), unit, b.select(b.eq(x, minus), sign, nothing));
  return b.select(b.lt(y, nothing), reciprocal, result);
}

// The count as an unsigned number, made safe for a shift, and whether it was below the width.
template <class B, class V>
struct SafeCount {
  V count, below;
  SafeCount(B& b, V y) {
    const DType type = b.dtype(y);
    const V width = b.iconstant(y, type, bits_of(type));
    below = b.lt(y, width);
    if (is_signed(type)) below = b.and_(below, b.ge(y, b.iconstant(y, type, 0)));
    count = b.select(below, y, b.iconstant(y, type, 0));
  }
};

// Counts that are negative or reach the width shift everything out.
template <class B, class V>
V left_shift(B& b, V x, V y) {
  const SafeCount<B, V> safe(b, y);
  return b.select(safe.below, b.shl(x, safe.count), zero(b, x));
}
template <class B, class V>
V right_shift(B& b, V x, V y) {
  const SafeCount<B, V> safe(b, y);
  const V none = is_signed(b.dtype(x))
                     ? b.shr(x, b.iconstant(x, b.dtype(x), bits_of(b.dtype(x)) - 1))
                     : zero(b, x);
  return b.select(safe.below, b.shr(x, safe.count), none);
}

// The op Cast between what values are held as (f16 and bf16 are rounded by the caller): to bool is
// != 0; a float becomes an integer truncated and saturated, NaN gives 0.
template <class B, class V>
V convert(B& b, V x, DType to) {
  const DType from = b.dtype(x);
  if (from == to) return x;
  if (is_bool(to)) return b.ne(x, zero(b, x));
  if (!is_float(from) || is_float(to)) return b.cast(x, to);
  // 2^digits is the first value too large; it is exact in every float type.
  const int digits = bits_of(to) - (is_signed(to) ? 1 : 0);
  const double limit = digits == 64 ? 18446744073709551616.0 : double(uint64_t(1) << digits);
  const V low = b.constant(x, from, is_signed(to) ? -limit : 0.0);
  const V fits = b.and_(b.gt(x, low), b.lt(x, b.constant(x, from, limit)));
  const V inside = b.select(fits, x, b.constant(x, from, 0.0));
  const V smallest = b.iconstant(x, to, is_signed(to) ? INT64_MIN >> (64 - bits_of(to)) : 0);
  const V largest = b.not_(smallest);
  const V outside = b.select(b.ge(x, b.constant(x, from, limit)), largest,
                             b.select(b.le(x, low), smallest, b.iconstant(x, to, 0)));
  return b.select(fits, b.cast(inside, to), outside);
}

}  // namespace cermet::compiler::elementwise
