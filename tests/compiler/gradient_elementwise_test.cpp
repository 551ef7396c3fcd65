// Every row of the op table: its gradient, and that gradient's gradient, against finite differences
// at random points of the op's domain; then the points where functions are not smooth.
#include <limits>
#include <map>

#include "compiler/gradient_check.h"
#include "ir/gradient.h"

using namespace cermet;
using namespace cermet::ir;
using test::array;

namespace {

struct Interval {
  double low, high;
};
// Domains of the operands where the default, [-2, 2] for each, does not do.
const std::map<Op, std::vector<Interval>> domains = {
    {Op::Div, {{-2, 2}, {0.5, 2}}},
    {Op::Pow, {{0.2, 2}, {-2, 2}}},
    {Op::Remainder, {{-5, 5}, {1, 2}}},
    {Op::Fmod, {{-5, 5}, {1, 2}}},
    {Op::FloorDivide, {{-5, 5}, {1, 2}}},
    {Op::Sqrt, {{0.2, 3}}},
    {Op::Log, {{0.2, 3}}},
    {Op::Log2, {{0.2, 3}}},
    {Op::Log10, {{0.2, 3}}},
    {Op::Log1p, {{-0.7, 3}}},
    {Op::Tan, {{-1.2, 1.2}}},
    {Op::Asin, {{-0.8, 0.8}}},
    {Op::Acos, {{-0.8, 0.8}}},
    {Op::Acosh, {{1.3, 3}}},
    {Op::Atanh, {{-0.8, 0.8}}},
};

struct Row {
  Op op;
  std::string name;
  int arity;
  Operands operands;
  Result result;
};
const std::vector<Row> rows = {
#define OP(Enum, name, arity, operands, result, ...) \
  {Op::Enum, #name, arity, Operands::operands, Result::result},
#include "cermet/ops.def"
};

HostArray adjoint_at(Op op, std::initializer_list<HostArray> inputs, size_t operand) {
  const std::vector<HostArray> arrays(inputs);
  const auto x = test::parameters_of(arrays);
  const Value y = elementwise(op, x);
  const auto grads = compiler::vjp({{y}}, x, {{like(y, 1.0)}});
  return test::evaluate({grads[operand]}, arrays)[0];
}

// Bit for bit but for NaN and the sign of zero; kernels may be as far off as vecmath.h says.
void expect_elements(const HostArray& got, std::initializer_list<double> want) {
  REQUIRE(got.numel() == int64_t(want.size()));
  int64_t i = 0;
  for (double w : want) {
    INFO("element " << i);
    const double g = got.number(i++);
    if (std::isnan(w))
      CHECK(std::isnan(g));
    else if (test::on_gpu() && std::isfinite(w))
      CHECK(g == Approx(w).epsilon(0x1p-51));
    else
      CHECK(g == w);
  }
}

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("gradient: every elementwise op of floats agrees with finite differences, twice") {
  int checked = 0;
  for (const Row& row : rows) {
    if (!accepts(row.operands, DType::F64) || row.result == Result::Bool) continue;
    if (row.op == Op::Where) continue;  // below
    std::mt19937 rng(unsigned(row.op));
    std::vector<HostArray> inputs;
    const auto domain = domains.find(row.op);
    for (int i = 0; i < row.arity; ++i) {
      const Interval in = domain == domains.end() ? Interval{-2, 2} : domain->second[size_t(i)];
      inputs.push_back(test::random_array({6}, rng, in.low, in.high));
    }
    test::check_gradients(
        row.name, [&](std::span<const Value> x) { return elementwise(row.op, x); }, inputs, 2);
    ++checked;
  }
  CHECK(checked > 40);
}

TEST_CASE("gradient: third derivatives of elementwise ops agree with finite differences") {
  for (Op op : {Op::Exp, Op::Sin, Op::Tanh, Op::Sigmoid, Op::Mul, Op::Pow, Op::Hypot, Op::Atan2,
                Op::Erf, Op::Log}) {
    std::mt19937 rng(unsigned(op) + 1000);
    std::vector<HostArray> inputs;
    for (int i = 0; i < info(op).arity; ++i)
      inputs.push_back(test::random_array({3}, rng, 0.4, 1.6));
    test::check_gradients(
        std::string(name(op)), [&](std::span<const Value> x) { return elementwise(op, x); }, inputs,
        3);
  }
}

TEST_CASE("gradient: rows whose result is not a float have no gradient") {
  for (const Row& row : rows) {
    if (accepts(row.operands, DType::F64) && row.result == Result::Same) continue;
    const DType dtype = accepts(row.operands, DType::F64) ? DType::F64 : DType::U64;
    const Value x = parameter(0, DType::F64, {3}), operand = cast(x, dtype);
    const std::vector<Value> operands(size_t(row.arity), operand);
    const Value y = cast(elementwise(row.op, operands), DType::F64);
    INFO(row.name);
    CHECK(!compiler::vjp({{y}}, {{x}}, {{like(y, 1.0)}})[0]);
    CHECK(!compiler::jvp({{y}}, {{x}}, {{like(x, 1.0)}})[0]);
  }
}

TEST_CASE("gradient: adjoints and tangents have the dtype of what they belong to") {
  for (const Row& row : rows)
    for (DType dtype : {DType::F16, DType::BF16, DType::F32, DType::F64}) {
      if (!accepts(row.operands, dtype) || row.result == Result::Bool) continue;
      std::vector<Value> x;
      for (int i = 0; i < row.arity; ++i) x.push_back(parameter(i, dtype, {2}));
      std::vector<Value> operands = x;
      if (row.op == Op::Where) operands[0] = lt(x[0], x[1]);
      const Value y = elementwise(row.op, operands);
      INFO(row.name << " " << type_string(*y));
      for (const Value& g : compiler::vjp({{y}}, x, {{like(y, 1.0)}}))
        if (g) CHECK(g->dtype == dtype);
      const Value t = compiler::jvp({{y}}, x, std::vector<Value>(x.size(), like(y, 1.0)))[0];
      CHECK(t->dtype == dtype);
    }
}

TEST_CASE("gradient: broadcast operands get the sum over what they were broadcast to") {
  std::mt19937 rng(3);
  const auto multiply = [](std::span<const Value> x) { return x[0] * x[1] + x[2]; };
  test::check_gradients("broadcast", multiply,
                        {test::random_array({3, 1, 2}, rng), test::random_array({4, 1}, rng),
                         test::random_array({}, rng)},
                        2);
}

TEST_CASE("gradient: where sends exact zeros into the branch that it did not take") {
  std::mt19937 rng(4);
  const auto choose = [](std::span<const Value> x) {
    return where(lt(x[0], x[1]), x[0] * x[1], sin(x[0]));
  };
  test::check_gradients("where", choose,
                        {test::random_array({8}, rng), test::random_array({8}, rng)}, 2);
  // An infinite or NaN value or adjoint on the other side does not leak.
  const std::vector<HostArray> arrays = {array({2}, {inf, 1}), array({2}, {not_a_number, 2}),
                                         array({2}, {not_a_number, inf})};
  const auto p = test::parameters_of(arrays);
  const Value second = eq(iota(2), constant(DType::I64, {2}, int64_t(1)));
  const Value y = where(second, p[0], p[1]);
  const auto grads = compiler::vjp({{y}}, {{p[0], p[1]}}, {{p[2]}});
  expect_elements(test::evaluate({grads[0]}, arrays)[0], {0, inf});
  expect_elements(test::evaluate({grads[1]}, arrays)[0], {not_a_number, 0});
  // Guarding the operand as well keeps the slope of the op finite: the usual advice.
  const Value positive = lt(zeros_like(p[0]), p[0]);
  const Value safe = where(positive, log(where(positive, p[0], like(p[0], 1.0))), p[0]);
  const auto slope = compiler::vjp({{safe}}, {{p[0]}}, {{like(safe, 1.0)}});
  expect_elements(test::evaluate({slope[0]}, {{array({2}, {0, 4})}})[0], {1, 0.25});
}

TEST_CASE("gradient: pow at zero, negative bases and zero exponents is as in PyTorch") {
  const auto base = array({7}, {0, 0, 0, -2, -2, 0, 3});
  const auto exponent = array({7}, {0, 2, 0.5, 2, 0, -1, 0});
  expect_elements(adjoint_at(Op::Pow, {base, exponent}, 0), {0, 0, inf, -4, 0, -inf, 0});
  expect_elements(adjoint_at(Op::Pow, {base, exponent}, 1),
                  {0, 0, 0, not_a_number, not_a_number, -inf, std::log(3.0)});
}

TEST_CASE("gradient: constant exponents give what exponents that vary give") {
  std::mt19937 rng(5);
  for (double c : {0.0, 1.0, 2.0, 3.0, -1.0, 0.5}) {
    const HostArray x = test::random_array({4}, rng, 0.5, 2);
    const auto power = [&](std::span<const Value> p) { return pow(p[0], like(p[0], c)); };
    test::check_gradients("pow " + std::to_string(c), power, {x}, 3);
  }
  // x^2 at 0 and below has all its derivatives.
  const auto square = [](std::span<const Value> p) { return pow(p[0], like(p[0], 2.0)); };
  test::check_gradients("square", square, {array({3}, {0, -1, 2})}, 3);
}

TEST_CASE("gradient: kinks have the slope that PyTorch gives them") {
  expect_elements(adjoint_at(Op::Abs, {array({3}, {0, -0.0, -3})}, 0), {0, 0, -1});
  expect_elements(adjoint_at(Op::Copysign, {array({3}, {0, -2, 3}), array({3}, {-1, 1, -1})}, 0),
                  {0, -1, -1});
  expect_elements(adjoint_at(Op::Copysign, {array({1}, {2}), array({1}, {-1})}, 1), {0});
  for (Op op : {Op::Maximum, Op::Minimum}) {
    const auto a = array({2}, {1, not_a_number}), b = array({2}, {1, 0});
    expect_elements(adjoint_at(op, {a, b}, 0), {0.5, 1});
    expect_elements(adjoint_at(op, {a, b}, 1), {0.5, 1});
  }
  expect_elements(adjoint_at(Op::Atan2, {array({3}, {0, 1, 0}), array({3}, {0, 0, -1})}, 0),
                  {0, 0, -1});
  expect_elements(adjoint_at(Op::Atan2, {array({3}, {0, 1, 0}), array({3}, {0, 0, -1})}, 1),
                  {0, -1, 0});
  expect_elements(adjoint_at(Op::Sqrt, {array({1}, {0})}, 0), {inf});
}

TEST_CASE("gradient: hypot at the origin has the slope 0, not NaN") {
  const auto a = array({3}, {0, 0, -0.0}), b = array({3}, {0, 2, 0});
  expect_elements(adjoint_at(Op::Hypot, {a, b}, 0), {0, 0, 0});
  expect_elements(adjoint_at(Op::Hypot, {a, b}, 1), {0, 1, 0});
}

TEST_CASE("gradient: slopes stay accurate where squares overflow or cancel") {
  expect_elements(adjoint_at(Op::Asinh, {array({1}, {1e200})}, 0), {1e-200});
  CHECK(adjoint_at(Op::Hypot, {array({1}, {3e200}), array({1}, {4e200})}, 0).number(0) ==
        Approx(0.6));
  const double near_one = 1 - 0x1p-50;
  CHECK(adjoint_at(Op::Asin, {array({1}, {near_one})}, 0).number(0) ==
        Approx(1 / std::sqrt(0x1p-50 * (2 - 0x1p-50))).epsilon(1e-14));
  CHECK(adjoint_at(Op::Atan2, {array({1}, {0.0}), array({1}, {1e200})}, 0).number(0) ==
        Approx(1e-200));
}
