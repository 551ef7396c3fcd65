#pragma once
// The meaning of one element of every elementwise op: the functors that the op table
// (include/cermet/ops.def) names in its eval column. They are callable with double for float
// dtypes, int64_t for signed ones and bool (0 or 1), uint64_t for unsigned ones; the caller rounds
// or wraps the result to the dtype. A functor whose meaning depends on the dtype itself takes it as
// a last argument.
//
// Where NumPy and PyTorch agree, this is what both do; where they do not, PyTorch 2.13 on the CPU
// is followed, and said so. Integer arithmetic wraps (two's complement). Constant folding, the
// interpreter and the tests of compiled code all stand on this file; for ops that are exact or
// correctly rounded, compiled code gives the same bits.

#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <span>

#include "ir/op.h"

namespace cermet::ir {

namespace eval {

template <class T>
concept Integer = std::same_as<T, int64_t> || std::same_as<T, uint64_t>;

// Unsigned arithmetic has a defined overflow, and its low bits are those of signed arithmetic.
inline uint64_t wide(Integer auto x) { return uint64_t(x); }

struct Neg {
  double operator()(double x) const { return -x; }
  template <Integer T>
  T operator()(T x) const {
    return T(0 - wide(x));
  }
};

struct Abs {
  double operator()(double x) const { return std::fabs(x); }
  uint64_t operator()(uint64_t x) const { return x; }
  // The smallest integer has no positive counterpart and stays what it is.
  int64_t operator()(int64_t x) const { return x < 0 ? int64_t(0 - wide(x)) : x; }
};

// (0 < x) - (x < 0), as PyTorch: sign(NaN) is 0 (NumPy: NaN) and sign(-0.0) is +0.0.
struct Sign {
  template <class T>
  T operator()(T x) const {
    return T(T(0 < x) - T(x < 0));
  }
};

struct Add {
  double operator()(double x, double y) const { return x + y; }
  template <Integer T>
  T operator()(T x, T y) const {
    return T(wide(x) + wide(y));
  }
};

struct Sub {
  double operator()(double x, double y) const { return x - y; }
  template <Integer T>
  T operator()(T x, T y) const {
    return T(wide(x) - wide(y));
  }
};

struct Mul {
  double operator()(double x, double y) const { return x * y; }
  template <Integer T>
  T operator()(T x, T y) const {
    return T(wide(x) * wide(y));
  }
};

struct Div {
  double operator()(double x, double y) const { return x / y; }
};

// C's %, where the remainder has the sign of x. Integers: x % 0 is 0 (NumPy's value; PyTorch
// throws).
struct Fmod {
  double operator()(double x, double y) const { return std::fmod(x, y); }
  uint64_t operator()(uint64_t x, uint64_t y) const { return y == 0 ? 0 : x % y; }
  int64_t operator()(int64_t x, int64_t y) const { return y == 0 || y == -1 ? 0 : x % y; }
};

// Python's %, where the remainder has the sign of y:
//   r = fmod(x, y);  r != 0 and (r < 0) != (y < 0)  ?  r + y  :  r
// A zero keeps the sign of x, as in PyTorch (NumPy gives it the sign of y). Integers: 0 for y == 0.
struct Remainder {
  double operator()(double x, double y) const {
    const double r = std::fmod(x, y);
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
  }
  uint64_t operator()(uint64_t x, uint64_t y) const { return Fmod()(x, y); }
  int64_t operator()(int64_t x, int64_t y) const {
    const int64_t r = Fmod()(x, y);
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
  }
};

// Python's //. Floats: the algorithm of CPython's float_floor_div, which NumPy and PyTorch share; x
// // 0.0 is x / 0.0. It rounds between its steps, so dtypes narrower than f64 take it in float, as
// compiled code does. Integers: rounded towards -infinity, x // 0 is 0 (NumPy's value; PyTorch
// throws), and the smallest integer // -1 is itself.
struct FloorDivide {
  template <std::floating_point T>
  static T steps(T x, T y) {
    if (y == 0) return x / y;
    const T mod = std::fmod(x, y);
    T quotient = (x - mod) / y;
    if (mod != 0 && (y < 0) != (mod < 0)) quotient -= 1;
    if (quotient == 0) return std::copysign(T(0), x / y);
    const T floor = std::floor(quotient);
    return quotient - floor > T(0.5) ? floor + 1 : floor;
  }
  double operator()(double x, double y, DType dtype) const {
    return dtype == DType::F64 ? steps(x, y) : double(steps(float(x), float(y)));
  }
  uint64_t operator()(uint64_t x, uint64_t y, DType) const { return y == 0 ? 0 : x / y; }
  int64_t operator()(int64_t x, int64_t y, DType) const {
    if (y == 0) return 0;
    if (y == -1) return Neg()(x);
    return x / y - (x % y != 0 && (x < 0) != (y < 0));
  }
};

// Integers wrap. A negative exponent gives the reciprocal truncated: 0, but for the bases 1 and -1
// (and 0 for base 0), as in PyTorch.
struct Pow {
  double operator()(double x, double y) const { return std::pow(x, y); }
  uint64_t operator()(uint64_t x, uint64_t y) const {
    uint64_t result = 1;
    for (; y != 0; y >>= 1, x *= x)
      if (y & 1) result *= x;
    return result;
  }
  int64_t operator()(int64_t x, int64_t y) const {
    if (y >= 0) return int64_t((*this)(uint64_t(x), uint64_t(y)));
    if (x == 1) return 1;
    if (x == -1) return y & 1 ? -1 : 1;
    return 0;
  }
};

// NaN if either is NaN (y's NaN if both are). Of two equal elements x, so maximum(0.0, -0.0) is 0.0
// and maximum(-0.0, 0.0) is -0.0: the rule is exactly  y != y ? y : (x < y ? y : x).
struct Maximum {
  template <class T>
  T operator()(T x, T y) const {
    return y != y ? y : (x < y ? y : x);
  }
};

// As Maximum:  y != y ? y : (y < x ? y : x).
struct Minimum {
  template <class T>
  T operator()(T x, T y) const {
    return y != y ? y : (y < x ? y : x);
  }
};

struct Copysign {
  double operator()(double x, double y) const { return std::copysign(x, y); }
};

// Ops of floats that are a function of C's math library: CERMET_EVAL(Enum, expression in x and y).
#define CERMET_EVAL1(Enum, expression)                       \
  struct Enum {                                              \
    double operator()(double x) const { return expression; } \
  };
CERMET_EVAL1(Floor, std::floor(x))
CERMET_EVAL1(Ceil, std::ceil(x))
CERMET_EVAL1(Trunc, std::trunc(x))
CERMET_EVAL1(Round, std::nearbyint(x))  // half to even: nobody changes the rounding mode
CERMET_EVAL1(Sqrt, std::sqrt(x))
CERMET_EVAL1(Exp, std::exp(x))
CERMET_EVAL1(Exp2, std::exp2(x))
CERMET_EVAL1(Expm1, std::expm1(x))
CERMET_EVAL1(Log, std::log(x))
CERMET_EVAL1(Log2, std::log2(x))
CERMET_EVAL1(Log10, std::log10(x))
CERMET_EVAL1(Log1p, std::log1p(x))
CERMET_EVAL1(Erf, std::erf(x))
CERMET_EVAL1(Erfc, std::erfc(x))
CERMET_EVAL1(Sin, std::sin(x))
CERMET_EVAL1(Cos, std::cos(x))
CERMET_EVAL1(Tan, std::tan(x))
CERMET_EVAL1(Asin, std::asin(x))
CERMET_EVAL1(Acos, std::acos(x))
CERMET_EVAL1(Atan, std::atan(x))
CERMET_EVAL1(Sinh, std::sinh(x))
CERMET_EVAL1(Cosh, std::cosh(x))
CERMET_EVAL1(Tanh, std::tanh(x))
CERMET_EVAL1(Asinh, std::asinh(x))
CERMET_EVAL1(Acosh, std::acosh(x))
CERMET_EVAL1(Atanh, std::atanh(x))
#undef CERMET_EVAL1

struct Hypot {
  double operator()(double x, double y) const { return std::hypot(x, y); }
};
// The angle of the point (y, x): C's atan2(x, y).
struct Atan2 {
  double operator()(double x, double y) const { return std::atan2(x, y); }
};

// 1 / (1 + exp(-x)), written so that a large |x| loses nothing: exp sees no positive argument.
struct Sigmoid {
  double operator()(double x) const {
    const double e = std::exp(-std::fabs(x));
    return x < 0 ? e / (1 + e) : 1 / (1 + e);
  }
};

// Comparisons: false where an operand is NaN, but for Ne.
struct Eq {
  template <class T>
  bool operator()(T x, T y) const {
    return x == y;
  }
};
struct Ne {
  template <class T>
  bool operator()(T x, T y) const {
    return x != y;
  }
};
struct Lt {
  template <class T>
  bool operator()(T x, T y) const {
    return x < y;
  }
};
struct Le {
  template <class T>
  bool operator()(T x, T y) const {
    return x <= y;
  }
};

// Of bool, the logical not.
struct BitwiseNot {
  template <Integer T>
  T operator()(T x, DType dtype) const {
    return is_bool(dtype) ? T(x == 0) : T(~x);
  }
};
struct BitwiseAnd {
  template <Integer T>
  T operator()(T x, T y) const {
    return x & y;
  }
};
struct BitwiseOr {
  template <Integer T>
  T operator()(T x, T y) const {
    return x | y;
  }
};
struct BitwiseXor {
  template <Integer T>
  T operator()(T x, T y) const {
    return x ^ y;
  }
};

// Shifts by a negative amount or by the dtype's width and more shift everything out, as in NumPy
// and PyTorch: 0, or -1 for a right shift (arithmetic) of a negative number.
struct LeftShift {
  template <Integer T>
  T operator()(T x, T y, DType dtype) const {
    return wide(y) < uint64_t(bits_of(dtype)) ? T(wide(x) << y) : 0;
  }
};
struct RightShift {
  template <Integer T>
  T operator()(T x, T y, DType dtype) const {
    return wide(y) < uint64_t(bits_of(dtype)) ? x >> y : (x < 0 ? T(-1) : T(0));
  }
};

struct Where {
  template <class T>
  T operator()(bool condition, T x, T y) const {
    return condition ? x : y;
  }
};

// Philox 4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
// (SC'11). The counter's words are (low, high, 0, 0), the key's (low, high); the result is output
// word 0 with word 1 above it.
struct Philox {
  static std::array<uint32_t, 4> words(std::array<uint32_t, 4> c, uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t(0xD2511F53u) * c[0], p1 = uint64_t(0xCD9E8D57u) * c[2];
      c = {uint32_t(p1 >> 32) ^ c[1] ^ key0, uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ key1,
           uint32_t(p0)};
      key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;  // fractions of the golden ratio and of sqrt(3)
    }
    return c;
  }
  uint64_t operator()(uint64_t counter, uint64_t key) const {
    const auto out = words({uint32_t(counter), uint32_t(counter >> 32), 0, 0}, uint32_t(key),
                           uint32_t(key >> 32));
    return out[0] | uint64_t(out[1]) << 32;
  }
};

}  // namespace eval

// An elementwise op on `count` elements in word form (ir/word.h), whose dtype is that of the
// operands (of where: of the selected ones; its condition is bool). The results are words of that
// dtype, not yet rounded to it; those of a comparison are 0 or 1 as int64_t.
void eval_words(Op op, DType dtype, std::span<const void* const> operands, int64_t count,
                void* results);

// An elementwise op on one element, from the operands' bits to the result's, rounded or wrapped to
// the result's dtype. `dtype` as for eval_words; it must be one that the op accepts.
uint64_t eval_element(Op op, DType dtype, std::span<const uint64_t> operands);

}  // namespace cermet::ir
