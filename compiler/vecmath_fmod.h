#pragma once
// fmod, exact as in C.
//
// With q the integer nearest to |x| / |y|, r = |x| - q |y| lies in [-|y|/2, |y|/2] and is a multiple of the smaller unit in the last
// place, so it is representable and a fused multiply-add gives it exactly; r + |y| for negative r is exact for the same
// reason. That holds while q is itself exact, below 2^52. f32 is done in f64, where q |y| is exact without fma up to q < 2^28.
// Larger quotients, infinities, NaN and zero divisors are rare and left to the C library, lane by lane.

#include <array>
#include <limits>

#include "cermet/dtype.h"
#include "compiler/loops.h"

namespace cermet::compiler::vecmath {

template <class B>
typename B::Value fmod(B& b, typename B::Value x, typename B::Value y) {
  using V = typename B::Value;
  const DType type = b.dtype(x);
  const bool narrow = type == DType::F32;
  const V wide_x = narrow ? b.cast(x, DType::F64) : x, wide_y = narrow ? b.cast(y, DType::F64) : y;
  const V magnitude = b.abs(wide_x), divisor = b.abs(wide_y);
  const V limit = b.constant(wide_x, DType::F64, narrow ? 0x1p28 : 0x1p52);
  const V infinity = b.constant(wide_x, DType::F64, std::numeric_limits<double>::infinity());
  const V ratio = b.div(magnitude, divisor);
  V simple = b.and_(b.lt(ratio, limit), b.lt(divisor, infinity));
  V result;
  if (narrow || b.has_fma()) {
    const V q = b.round_even(ratio);
    const V r = narrow ? b.sub(magnitude, b.mul(q, divisor)) : b.fma(b.neg(q), divisor, magnitude);
    const V zero = b.constant(wide_x, DType::F64, 0.0);
    result = b.copysign(b.select(b.lt(r, zero), b.add(r, divisor), r), wide_x);
    if (narrow) result = b.cast(result, DType::F32);
  } else {
    simple = b.and_(simple, b.lt(magnitude, divisor));  // without fma only x itself is easy
    result = x;
  }
  const std::array<V, 2> operands = {x, y};
  return b.call_scalar(loops::Helper::Fmod, b.not_(simple), result, operands);
}

}  // namespace cermet::compiler::vecmath
