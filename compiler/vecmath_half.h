#pragma once
// float16 and bfloat16 as bit patterns, converted with integer operations so that every target
// gives the same bits. The vector form of cermet/half.h, and equal to it bit for bit.

#include "compiler/vecmath_number.h"

namespace cermet::compiler::vecmath {

// f32 to binary16 bits (u16). Normal results: rebias and round the lower 13 bits away, ties to
// even. Denormal results: adding 1/2 puts the units of 2^-24 at the end of the significand, so that
// the float addition rounds.
template <class B>
typename B::Value f32_to_f16_bits(B& b, typename B::Value v) {
  const Number<B> x = Number<B>{&b, v}.bitcast(DType::U32);
  const Number<B> sign = (x >> 16) & 0x8000, size = x & 0x7fffffff;
  const Number<B> normal = (size + ((size >> 13) & 1) - (0x38000000 - 0xfff)) >> 13;
  const Number<B> denormal = (size.bitcast(DType::F32) + 0.5).bitcast(DType::U32) - 0x3f000000;
  const Number<B> nan = ((size >> 13) & 0x1ff) | 0x7e00;
  const Number<B> finite = choose(size < 0x38800000, denormal, normal);
  const Number<B> ordered = choose(size >= 0x477ff000, size.same(0x7c00), finite);
  return (choose(size > 0x7f800000, nan, ordered) | sign).cast(DType::U16).value;
}

// Shifted into place the exponent is short by 112, which a product makes good, denormals included,
// with no rounding.
template <class B>
typename B::Value f16_bits_to_f32(B& b, typename B::Value v) {
  const Number<B> x = Number<B>{&b, v}.cast(DType::U32);
  const Number<B> size = (x & 0x7fff) << 13, sign = (x & 0x8000) << 16;
  const Number<B> finite = (size.bitcast(DType::F32) * 0x1p112).bitcast(DType::U32);
  return (choose(size >= 0x0f800000, size | 0x7f800000, finite) | sign).bitcast(DType::F32).value;
}

template <class B>
typename B::Value f32_to_bf16_bits(B& b, typename B::Value v) {
  const Number<B> x = Number<B>{&b, v}.bitcast(DType::U32);
  const Number<B> rounded = (x + ((x >> 16) & 1) + 0x7fff) >> 16, nan = (x >> 16) | 0x40;
  return choose((x & 0x7fffffff) > 0x7f800000, nan, rounded).cast(DType::U16).value;
}

template <class B>
typename B::Value bf16_bits_to_f32(B& b, typename B::Value v) {
  return (Number<B>{&b, v}.cast(DType::U32) << 16).bitcast(DType::F32).value;
}

}  // namespace cermet::compiler::vecmath
