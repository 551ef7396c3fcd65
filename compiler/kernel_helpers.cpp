// sin, cos and tan are the vector mathematics of compiler/vecmath.h, with its reduction of large
// arguments, on one number at a time; so a kernel's results do not depend on the host's libm. fmod
// is exact by definition.

#include "compiler/kernel_helpers.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "compiler/loops.h"
#include "compiler/vecmath_trig.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

// A builder (see compiler/vecmath_number.h) of f64 and the 64-bit integers that computes at once.
class ScalarBuilder {
 public:
  static constexpr bool inlines_large_arguments = true;
  struct Value {
    DType type = DType::F64;
    uint64_t bits = 0;
  };

  static Value of(double x) { return {DType::F64, std::bit_cast<uint64_t>(x)}; }
  static double number(Value x) { return std::bit_cast<double>(x.bits); }

  DType dtype(Value x) const { return x.type; }
  bool has_fma() const { return false; }  // the same operations everywhere
  Value constant(Value, DType, double c) { return of(c); }
  Value iconstant(Value, DType type, int64_t c) { return {type, uint64_t(c)}; }

  Value add(Value x, Value y) {
    return real(x) ? of(number(x) + number(y)) : Value{x.type, x.bits + y.bits};
  }
  Value sub(Value x, Value y) {
    return real(x) ? of(number(x) - number(y)) : Value{x.type, x.bits - y.bits};
  }
  Value mul(Value x, Value y) {
    return real(x) ? of(number(x) * number(y)) : Value{x.type, x.bits * y.bits};
  }
  Value div(Value x, Value y) { return of(number(x) / number(y)); }
  Value neg(Value x) { return of(-number(x)); }
  Value fma(Value x, Value y, Value z) { return of(std::fma(number(x), number(y), number(z))); }
  Value abs(Value x) { return of(std::fabs(number(x))); }
  Value and_(Value x, Value y) { return {x.type, x.bits & y.bits}; }
  Value or_(Value x, Value y) { return {x.type, x.bits | y.bits}; }
  Value xor_(Value x, Value y) { return {x.type, x.bits ^ y.bits}; }
  Value not_(Value mask) { return {DType::Bool, mask.bits ^ 1}; }
  Value shl(Value x, Value count) { return {x.type, x.bits << count.bits}; }
  Value shr(Value x, Value count) {
    CERMET_CHECK(is_unsigned(x.type), "a scalar of {} is shifted right", name(x.type));
    return {x.type, x.bits >> count.bits};
  }
  Value lt(Value x, Value y) {
    return {DType::Bool, real(x) ? number(x) < number(y) : x.bits < y.bits};
  }
  Value ne(Value x, Value y) {
    return {DType::Bool, real(x) ? number(x) != number(y) : x.bits != y.bits};
  }
  Value select(Value mask, Value x, Value y) { return mask.bits ? x : y; }
  Value cast(Value x, DType type) {
    CERMET_CHECK(x.type == type, "a scalar of {} is converted to {}", name(x.type), name(type));
    return x;
  }
  Value bitcast(Value x, DType type) { return {type, x.bits}; }

 private:
  static bool real(Value x) { return x.type == DType::F64; }
};

template <ScalarBuilder::Value (*F)(ScalarBuilder&, ScalarBuilder::Value)>
double call(double x) {
  ScalarBuilder b;
  return ScalarBuilder::number(F(b, ScalarBuilder::of(x)));
}
double fmod(double x, double y) { return std::fmod(x, y); }
constexpr auto sin = call<vecmath::sin<ScalarBuilder>>;
constexpr auto cos = call<vecmath::cos<ScalarBuilder>>;
constexpr auto tan = call<vecmath::tan<ScalarBuilder>>;

}  // namespace

std::span<const void* const> kernel_helpers() {
  static const void* const table[] = {
#define X(Enum, function, arity) reinterpret_cast<const void*>(function),
      CERMET_LOOP_HELPERS(X)
#undef X
  };
  return table;
}

}  // namespace cermet::compiler
