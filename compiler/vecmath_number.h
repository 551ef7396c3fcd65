#pragma once
// The notation in which the vector mathematics is written.
//
// A builder B makes one operation per call: IR for LLVM and CUDA C, or numbers on the host in the
// tests. Number<B> is a value together with its builder, so that formulas read as formulas. A plain
// C++ number in an expression becomes a constant of the other operand's type; nothing is ever
// contracted or reassociated, so a formula rounds exactly where it says (a backend must not fuse
// mul and add by itself).
//
// What a builder offers, with V = B::Value, a copyable handle to a value of some dtype and number
// of lanes:
//   dtype(V)  has_fma()  constant(like, dtype, double)  iconstant(like, dtype, int64_t)
//   add sub mul div neg fma sqrt abs floor ceil trunc round_even copysign
//   and_ or_ xor_ not_ shl shr (shr is arithmetic for signed types)
//   lt le gt ge eq ne (masks; ordered, but ne is true on NaN)  select(mask, a, b)
//   cast (numeric)  bitcast (same width)
//   call_scalar(Helper, mask, V value, std::span<const V> operands)
//                       the helper (a function of f64, out of line) in the lanes of mask, value
//                       elsewhere; skipped when no lane of mask is set
// A builder may also have, where has_exponents() is true (the formulas do without, with the same
// bits):
//   scale(x, n) exponent(x) significand(x): see Opcode::Scale and the next two
// and where has_lookup() is true (formulas with tables are others, so are their bits):
//   lookup(i, row): see Opcode::Lookup
// A builder with `static constexpr bool inlines_large_arguments = true` gets what the helpers of
// sin, cos and tan do as operations, in every lane.
//
// Also here: polynomials, and the error-free transformations on which double-word arithmetic stands
// (Dekker, Numer. Math. 18, 1971; Knuth, TAOCP 2, 4.2.2).

#include <concepts>
#include <cstdint>
#include <limits>
#include <span>

#include "cermet/dtype.h"
#include "compiler/loops.h"

namespace cermet::compiler::vecmath {

template <class B>
struct Number {
  using V = typename B::Value;
  B* builder;
  V value;

  DType dtype() const { return builder->dtype(value); }
  Number with(V v) const { return {builder, v}; }
  // A constant with the lanes of this number: of its own type, or of another.
  Number same(double c) const { return as(dtype(), c); }
  Number same(std::integral auto c) const { return as(dtype(), c); }
  Number as(DType type, double c) const { return with(builder->constant(value, type, c)); }
  Number as(DType type, std::integral auto c) const {
    if (is_float(type)) return as(type, double(c));
    return with(builder->iconstant(value, type, int64_t(c)));
  }
  Number cast(DType type) const { return with(builder->cast(value, type)); }
  Number bitcast(DType type) const { return with(builder->bitcast(value, type)); }
};

// Legend: operator, builder's name. Each also takes a C++ number on either side.
// clang-format off
#define CERMET_VECMATH_OPERATORS(X)                                        \
  X(+, add) X(-, sub) X(*, mul) X(/, div) X(&, and_) X(|, or_) X(^, xor_)  \
  X(<, lt) X(<=, le) X(>, gt) X(>=, ge) X(==, eq) X(!=, ne)
// clang-format on
#define X(op, name)                                     \
  template <class B>                                    \
  Number<B> operator op(Number<B> a, Number<B> b) {     \
    return a.with(a.builder->name(a.value, b.value));   \
  }                                                     \
  template <class B, class C>                           \
    requires std::integral<C> || std::floating_point<C> \
  Number<B> operator op(Number<B> a, C b) {             \
    return a op a.same(b);                              \
  }                                                     \
  template <class B, class C>                           \
    requires std::integral<C> || std::floating_point<C> \
  Number<B> operator op(C a, Number<B> b) {             \
    return b.same(a) op b;                              \
  }
CERMET_VECMATH_OPERATORS(X)
#undef X
#undef CERMET_VECMATH_OPERATORS

template <class B>
Number<B> operator-(Number<B> a) {
  return a.with(a.builder->neg(a.value));
}
template <class B>
Number<B> operator!(Number<B> mask) {
  return mask.with(mask.builder->not_(mask.value));
}
template <class B>
Number<B> operator<<(Number<B> a, int count) {
  return a.with(a.builder->shl(a.value, a.same(count).value));
}
template <class B>
Number<B> operator>>(Number<B> a, int count) {
  return a.with(a.builder->shr(a.value, a.same(count).value));
}
template <class B>
Number<B> shift_left(Number<B> a, Number<B> count) {
  return a.with(a.builder->shl(a.value, count.value));
}
template <class B>
Number<B> shift_right(Number<B> a, Number<B> count) {
  return a.with(a.builder->shr(a.value, count.value));
}

// The builder's functions of one value, by its own names but for the first letter.
template <class B>
Number<B> absolute(Number<B> a) {
  return a.with(a.builder->abs(a.value));
}
template <class B>
Number<B> square_root(Number<B> a) {
  return a.with(a.builder->sqrt(a.value));
}
template <class B>
Number<B> truncated(Number<B> a) {
  return a.with(a.builder->trunc(a.value));
}
template <class B>
Number<B> nearest(Number<B> a) {  // ties to even
  return a.with(a.builder->round_even(a.value));
}
template <class B>
Number<B> with_sign_of(Number<B> magnitude, Number<B> sign) {
  return magnitude.with(magnitude.builder->copysign(magnitude.value, sign.value));
}
template <class B>
Number<B> choose(Number<B> mask, Number<B> yes, Number<B> no) {
  return yes.with(yes.builder->select(mask.value, yes.value, no.value));
}
template <class B>
Number<B> choose(Number<B> mask, double yes, Number<B> no) {
  return choose(mask, no.same(yes), no);
}
template <class B>
Number<B> choose(Number<B> mask, Number<B> yes, double no) {
  return choose(mask, yes, yes.same(no));
}
// min and max that keep a NaN in `a`: written so that they are one x86 instruction.
template <class B>
Number<B> at_least(Number<B> a, double low) {
  return choose(a < low, low, a);
}
template <class B>
Number<B> at_most(Number<B> a, double high) {
  return choose(a > high, high, a);
}
// choose(mask, helper(xs...), otherwise)
template <class B, std::same_as<Number<B>>... Xs>
Number<B> call_where(Number<B> mask, loops::Helper helper, Number<B> otherwise, Xs... xs) {
  const typename B::Value operands[] = {xs.value...};
  return mask.with(mask.builder->call_scalar(helper, mask.value, otherwise.value,
                                             std::span<const typename B::Value>(operands)));
}

// a * b + c, rounded once where the target can and twice where it cannot.
template <class B>
Number<B> madd(Number<B> a, Number<B> b, Number<B> c) {
  if (a.builder->has_fma()) return a.with(a.builder->fma(a.value, b.value, c.value));
  return a * b + c;
}
template <class B>
Number<B> madd(Number<B> a, Number<B> b, double c) {
  return madd(a, b, a.same(c));
}
template <class B>
Number<B> madd(Number<B> a, double b, Number<B> c) {
  return madd(a, a.same(b), c);
}

// c[0] + c[1] x + c[2] x^2 + ...; long ones as two halves in x^2, whose chains of operations
// overlap.
template <class B>
Number<B> polynomial(Number<B> x, std::span<const double> c) {
  const auto horner = [](Number<B> z, std::span<const double> c, size_t first, size_t step) {
    size_t k = first + (c.size() - 1 - first) / step * step;
    Number<B> sum = z.same(c[k]);
    for (; k > first; k -= step) sum = madd(sum, z, c[k - step]);
    return sum;
  };
  if (c.size() < 8) return horner(x, c, 0, 1);
  const Number<B> z = x * x;
  const Number<B> even = horner(z, c, 0, 2);
  return madd(horner(z, c, 1, 2), x, even);
}

// The same for a few coefficients, by Estrin's scheme: half as many operations one after another,
// at one more multiplication. For long functions, in which a processor waits for results.
template <class B>
Number<B> in_pairs(Number<B> x, std::span<const double> c) {
  const Number<B> square = x * x;
  size_t k = (c.size() - 1) / 2 * 2;
  Number<B> sum = x.same(c[k]);
  if (k + 1 < c.size()) sum = madd(x, c[k + 1], sum);
  for (; k > 0; k -= 2) sum = madd(sum, square, madd(x, c[k - 1], x.same(c[k - 2])));
  return sum;
}

// The facts of binary32 and binary64.
struct Format {
  DType type, integer, bits;  // the float, the signed and the unsigned integer of its width
  int mantissa, bias;         // stored mantissa bits, exponent bias
  double min_normal, epsilon;
  double round_magic;  // 1.5 * 2^mantissa: adding it rounds to an integer, which the low bits then
                       // hold
  double splitter;     // Dekker's constant: 2^ceil(p/2) + 1
  int64_t sign, exponent;  // the bits of the sign and of the exponent
};
inline constexpr Format binary32 = {DType::F32, DType::I32,       DType::U32, 23,
                                    127,        0x1p-126,         0x1p-23,    0x1.8p23,
                                    4097,       int64_t(1) << 31, 0x7f800000};
inline constexpr Format binary64 = {
    DType::F64,        DType::I64, DType::U64, 52,        1023,
    0x1p-1022,         0x1p-52,    0x1.8p52,   134217729, std::numeric_limits<int64_t>::min(),
    0x7ff0000000000000};

template <class B>
const Format& format(Number<B> x) {
  return x.dtype() == DType::F32 ? binary32 : binary64;
}
inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr double quiet_nan = std::numeric_limits<double>::quiet_NaN();

template <class B>
bool has_exponents(Number<B> x) {
  if constexpr (requires { x.builder->has_exponents(); })
    return x.builder->has_exponents();
  else
    return false;
}

template <class B>
bool has_lookup(Number<B> x) {
  if constexpr (requires { x.builder->has_lookup(); })
    return x.builder->has_lookup();
  else
    return false;
}

// The sign bit alone, as an unsigned integer.
template <class B>
Number<B> sign_bit(Number<B> x) {
  const Format& f = format(x);
  return x.bitcast(f.bits) & f.sign;
}
template <class B>
Number<B> xor_bits(Number<B> x, Number<B> bits) {
  return (x.bitcast(bits.dtype()) ^ bits).bitcast(x.dtype());
}
// An i64 of magnitude below 2^51 as f64, without the conversion that only AVX-512 has: the bits of
// 1.5 2^52 + k are those of 1.5 2^52 plus k.
template <class B>
Number<B> small_integer_to_f64(Number<B> k) {
  return (k + 0x4338000000000000).bitcast(DType::F64) - binary64.round_magic;
}

// An unevaluated sum high + low, |low| <= ulp(high) / 2.
template <class B>
struct Pair {
  Number<B> high, low;
};

// a + b exactly.
template <class B>
Pair<B> two_sum(Number<B> a, Number<B> b) {
  const Number<B> sum = a + b, c = sum - a;
  return {sum, (a - (sum - c)) + (b - c)};
}
// a + b exactly where |a| >= |b| or a is zero.
template <class B>
Pair<B> fast_two_sum(Number<B> a, Number<B> b) {
  const Number<B> sum = a + b;
  return {sum, b - (sum - a)};
}
// a as two halves of at most 12 (26) bits each. Only for |a| < 2^(emax - 13 (28)).
template <class B>
Pair<B> split(Number<B> a) {
  const Number<B> t = a * format(a).splitter, high = t - (t - a);
  return {high, a - high};
}
// a * b exactly (unless it underflows).
template <class B>
Pair<B> two_product(Number<B> a, Number<B> b) {
  const Number<B> product = a * b;
  if (a.builder->has_fma()) return {product, madd(a, b, -product)};
  const Pair<B> x = split(a), y = split(b);
  return {product, ((x.high * y.high - product) + x.high * y.low + x.low * y.high) + x.low * y.low};
}
// q * b - a exactly, for q that is a / b but for its rounding.
template <class B>
Number<B> excess_of_quotient(Number<B> q, Number<B> a, Number<B> b) {
  if (a.builder->has_fma()) return madd(q, b, -a);
  const Pair<B> product = two_product(q, b);
  return (product.high - a) + product.low;
}

}  // namespace cermet::compiler::vecmath
