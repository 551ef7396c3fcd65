#pragma once
// Odd functions of f32 that grow to 1 or thereabouts, by the tables of compiler/lookup_tables.h:
// where there is Opcode::Lookup these are a third to a half of the operations that the other
// formulas take.
//
// |x| lies in one of 32 intervals, four to an octave, which the upper bits of the float say. In it
// the function is a polynomial of x - c, a difference that is exact; and its constant is as good as
// exact, so that rounding at the end is most of the error.

#include "compiler/lookup_tables.h"
#include "compiler/vecmath_number.h"

namespace cermet::compiler::vecmath {

// rows: the first of seven. From `highest` on, less than two to the power of four, f is 1.
template <class B>
Number<B> odd_by_table(Number<B> x, int rows, double highest) {
  constexpr int64_t just_below_first = 0x3dffffff;  // of an eighth
  constexpr int bits_below_quarter = 21;
  const Number<B> size = at_most(absolute(x), highest), bits = size.bitcast(DType::I32);
  const Number<B> low = bits.same(just_below_first);
  const Number<B> index = choose(bits < low, low, bits) >> bits_below_quarter;
  const auto row = [&](int which) { return x.with(x.builder->lookup(index.value, rows + which)); };
  const auto coefficient = [&](int power) { return row(1 + power); };
  const Number<B> t = size - row(0), square = t * t;
  const auto pair = [&](int power) { return madd(coefficient(power + 1), t, coefficient(power)); };
  // The linear term comes last: near zero it is all there is.
  const Number<B> curved = madd(madd(pair(4), square, pair(2)), square, coefficient(0));
  return with_sign_of(madd(coefficient(1), t, curved), x);
}

}  // namespace cermet::compiler::vecmath
