// The meaning of single elements, against C++, Python's rules and published known answers. NumPy
// and PyTorch are asked in golden_test.cpp.
#include "ir/eval.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "cermet/error.h"
#include "ir/element.h"
#include "support/catch.h"
#include "support/compare.h"

using namespace cermet;
using namespace cermet::ir;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double qnan = std::numeric_limits<double>::quiet_NaN();

double real(Op op, DType dtype, std::initializer_list<double> operands) {
  std::vector<uint64_t> bits;
  for (double x : operands) bits.push_back(element_bits(dtype, x));
  return element_to_double(dtype, eval_element(op, dtype, bits));
}

int64_t whole(Op op, DType dtype, std::initializer_list<int64_t> operands) {
  std::vector<uint64_t> bits;
  for (int64_t x : operands) bits.push_back(element_bits(dtype, x));
  const DType result = info(op).result == Result::Bool ? DType::Bool : dtype;
  return element_to_int(result, eval_element(op, dtype, bits));
}

bool same_bits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

}  // namespace

TEST_CASE("eval: every op has a meaning for every dtype that it accepts, and no other") {
  for (size_t i = structural_op_count; i < op_count; ++i) {
    const Op op = Op(i);
    const std::vector<uint64_t> zeros(size_t(info(op).arity));
    for (DType dtype : all_dtypes) {
      INFO(name(op) << " of " << name(dtype));
      if (accepts(info(op).operands, dtype))
        CHECK_NOTHROW(eval_element(op, dtype, zeros));
      else
        CHECK_THROWS_AS(eval_element(op, dtype, zeros), InternalError);
    }
  }
}

TEST_CASE("eval: arithmetic on float and double is C's") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const float x = std::bit_cast<float>(uint32_t(random()));
    const float y = std::bit_cast<float>(uint32_t(random()));
    const auto check = [&](Op op, float expected) {
      const double got = real(op, DType::F32, {x, y});
      if (!(std::isnan(got) && std::isnan(expected)) && !same_bits(got, double(expected)))
        FAIL(name(op) << "(" << x << ", " << y << ") is " << got << ", C says " << expected);
    };
    check(Op::Add, x + y);
    check(Op::Sub, x - y);
    check(Op::Mul, x * y);
    check(Op::Div, x / y);
    check(Op::Fmod, std::fmod(x, y));
    check(Op::Copysign, std::copysign(x, y));
  }
}

TEST_CASE("eval: functions of floats agree with C's float functions") {
  using Function = float (*)(float);
  const std::pair<Op, Function> rows[] = {
      {Op::Floor, std::floor}, {Op::Ceil, std::ceil},   {Op::Trunc, std::trunc},
      {Op::Round, std::rint},  {Op::Sqrt, std::sqrt},   {Op::Exp, std::exp},
      {Op::Exp2, std::exp2},   {Op::Expm1, std::expm1}, {Op::Log, std::log},
      {Op::Log2, std::log2},   {Op::Log10, std::log10}, {Op::Log1p, std::log1p},
      {Op::Erf, std::erf},     {Op::Erfc, std::erfc},   {Op::Sin, std::sin},
      {Op::Cos, std::cos},     {Op::Tan, std::tan},     {Op::Asin, std::asin},
      {Op::Acos, std::acos},   {Op::Atan, std::atan},   {Op::Sinh, std::sinh},
      {Op::Cosh, std::cosh},   {Op::Tanh, std::tanh},   {Op::Asinh, std::asinh},
      {Op::Acosh, std::acosh}, {Op::Atanh, std::atanh},
  };
  std::mt19937_64 random(2);
  for (const auto& [op, function] : rows)
    for (int i = 0; i < 2000; ++i) {
      // Of all magnitudes, and every other one near 1, where the arcs are defined.
      float x = std::bit_cast<float>(uint32_t(random()));
      if (i % 2) x = float(int32_t(random())) * 0x1p-30f;
      const uint64_t bits = element_bits(DType::F32, x);
      const uint64_t got = eval_element(op, DType::F32, std::span(&bits, 1));
      const float expected = function(x);
      // C's float functions are off by up to 2 units themselves (glibc manual, 19.7).
      if (test::ulp_distance(DType::F32, got, std::bit_cast<uint32_t>(expected)) > 2)
        FAIL(name(op) << "(" << x << ") is " << element_to_double(DType::F32, got) << ", C says "
                      << expected);
    }
}

TEST_CASE("eval: NaN passes through minimum and maximum; of equal elements the first is taken") {
  for (DType dtype : {DType::F16, DType::BF16, DType::F32, DType::F64})
    for (Op op : {Op::Minimum, Op::Maximum}) {
      CHECK(std::isnan(real(op, dtype, {qnan, 1})));
      CHECK(std::isnan(real(op, dtype, {1, qnan})));
      CHECK(same_bits(real(op, dtype, {0.0, -0.0}), 0.0));
      CHECK(same_bits(real(op, dtype, {-0.0, 0.0}), -0.0));
    }
  CHECK(real(Op::Maximum, DType::F32, {1, inf}) == inf);
  CHECK(real(Op::Minimum, DType::F32, {1, inf}) == 1);
  CHECK(whole(Op::Maximum, DType::U64, {-1, 1}) == -1);
  CHECK(whole(Op::Maximum, DType::I64, {-1, 1}) == 1);
}

TEST_CASE("eval: integer arithmetic wraps at the width of its dtype") {
  CHECK(whole(Op::Add, DType::I8, {127, 1}) == -128);
  CHECK(whole(Op::Sub, DType::U8, {0, 1}) == 255);
  CHECK(whole(Op::Mul, DType::I32, {1 << 20, 1 << 20}) == 0);
  CHECK(whole(Op::Neg, DType::U16, {1}) == 65535);
  CHECK(whole(Op::Abs, DType::I16, {-32768}) == -32768);
  const int64_t least = std::numeric_limits<int64_t>::min();
  CHECK(whole(Op::Abs, DType::I64, {least}) == least);
  CHECK(whole(Op::Neg, DType::I64, {least}) == least);
  CHECK(whole(Op::Mul, DType::I64, {least, -1}) == least);
  CHECK(whole(Op::Pow, DType::U8, {3, 6}) == 729 % 256);
  CHECK(whole(Op::Pow, DType::I32, {-1, -3}) == -1);
  CHECK(whole(Op::Pow, DType::I32, {2, -1}) == 0);
}

TEST_CASE("eval: integer division follows Python, and gives 0 where the divisor is 0") {
  for (DType dtype : {DType::I8, DType::I16, DType::I32, DType::I64}) {
    CHECK(whole(Op::FloorDivide, dtype, {-7, 2}) == -4);
    CHECK(whole(Op::FloorDivide, dtype, {7, -2}) == -4);
    CHECK(whole(Op::FloorDivide, dtype, {-6, 2}) == -3);
    CHECK(whole(Op::Remainder, dtype, {-7, 2}) == 1);
    CHECK(whole(Op::Remainder, dtype, {7, -2}) == -1);
    CHECK(whole(Op::Fmod, dtype, {-7, 2}) == -1);
    const int64_t least = int64_t(std::numeric_limits<int64_t>::min()) >> (64 - bits_of(dtype));
    CHECK(whole(Op::FloorDivide, dtype, {least, -1}) == least);
    CHECK(whole(Op::Remainder, dtype, {least, -1}) == 0);
    CHECK(whole(Op::Fmod, dtype, {least, -1}) == 0);
    for (Op op : {Op::FloorDivide, Op::Remainder, Op::Fmod}) CHECK(whole(op, dtype, {5, 0}) == 0);
  }
  for (Op op : {Op::FloorDivide, Op::Remainder, Op::Fmod})
    CHECK(whole(op, DType::U64, {5, 0}) == 0);
  CHECK(whole(Op::FloorDivide, DType::U64, {-1, 2}) == std::numeric_limits<int64_t>::max());
}

TEST_CASE("eval: shifts by the width or more, or by a negative amount, shift everything out") {
  CHECK(whole(Op::LeftShift, DType::I8, {1, 7}) == -128);
  CHECK(whole(Op::LeftShift, DType::I8, {1, 8}) == 0);
  CHECK(whole(Op::LeftShift, DType::I64, {1, 64}) == 0);
  CHECK(whole(Op::LeftShift, DType::I64, {1, -1}) == 0);
  CHECK(whole(Op::RightShift, DType::I16, {-5, 1}) == -3);
  CHECK(whole(Op::RightShift, DType::I16, {-5, 16}) == -1);
  CHECK(whole(Op::RightShift, DType::I16, {5, -1}) == 0);
  CHECK(whole(Op::RightShift, DType::U64, {-1, 63}) == 1);
  CHECK(whole(Op::RightShift, DType::U8, {255, 200}) == 0);
}

TEST_CASE("eval: logic on bool stays 0 or 1") {
  for (int64_t x : {0, 1})
    for (int64_t y : {0, 1}) {
      CHECK(whole(Op::BitwiseAnd, DType::Bool, {x, y}) == (x & y));
      CHECK(whole(Op::BitwiseOr, DType::Bool, {x, y}) == (x | y));
      CHECK(whole(Op::BitwiseXor, DType::Bool, {x, y}) == (x ^ y));
      CHECK(whole(Op::BitwiseNot, DType::Bool, {x}) == 1 - x);
    }
  CHECK(whole(Op::BitwiseNot, DType::U8, {1}) == 254);
  CHECK(whole(Op::BitwiseNot, DType::I8, {1}) == -2);
}

TEST_CASE("eval: sign, rounding and sigmoid at their special points") {
  CHECK(real(Op::Sign, DType::F32, {qnan}) == 0);
  CHECK(same_bits(real(Op::Sign, DType::F32, {-0.0}), 0.0));
  CHECK(real(Op::Sign, DType::F32, {-inf}) == -1);
  CHECK(whole(Op::Sign, DType::U64, {-1}) == 1);
  CHECK(real(Op::Round, DType::F64, {0.5}) == 0);
  CHECK(real(Op::Round, DType::F64, {1.5}) == 2);
  CHECK(real(Op::Round, DType::F64, {-2.5}) == -2);
  CHECK(same_bits(real(Op::Round, DType::F64, {-0.25}), -0.0));
  CHECK(real(Op::Sigmoid, DType::F64, {-inf}) == 0);
  CHECK(real(Op::Sigmoid, DType::F64, {inf}) == 1);
  CHECK(std::fabs(real(Op::Sigmoid, DType::F64, {-700}) / std::exp(-700.0) - 1) < 1e-15);
}

TEST_CASE("eval: results are rounded to the dtype, once") {
  CHECK(real(Op::Add, DType::F16, {2048, 1}) == 2048);
  CHECK(real(Op::Add, DType::F16, {2048, 3}) == 2052);
  CHECK(real(Op::Mul, DType::F16, {300, 300}) == inf);
  CHECK(real(Op::Add, DType::BF16, {256, 1}) == 256);
  CHECK(real(Op::Exp, DType::F32, {1}) == double(float(std::exp(1.0))));
}

TEST_CASE("eval: Philox gives the words of its authors' reference implementation") {
  // Random123, tests/kat_vectors: philox4x32, 10 rounds.
  using Words = std::array<uint32_t, 4>;
  CHECK(eval::Philox::words({0, 0, 0, 0}, 0, 0) ==
        Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(eval::Philox::words({~0u, ~0u, ~0u, ~0u}, ~0u, ~0u) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(eval::Philox::words({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822,
                            0x299f31d0) == Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  const uint64_t zeros[2] = {0, 0};
  CHECK(eval_element(Op::Philox, DType::U64, zeros) == 0xe169c58d6627e8d5u);
  const uint64_t given[2] = {0x85a308d3243f6a88, 0x299f31d0a4093822};
  const Words words = eval::Philox::words({0x243f6a88, 0x85a308d3, 0, 0}, 0xa4093822, 0x299f31d0);
  CHECK(eval_element(Op::Philox, DType::U64, given) == (words[0] | uint64_t(words[1]) << 32));
}
