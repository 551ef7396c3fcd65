// The transforms over whole graphs; the rules of the ops are in gradient_*_test.cpp beside this.
#include "compiler/autograd.h"

#include <ctime>

#include "cermet/error.h"
#include "compiler/gradient_check.h"
#include "ir/graph.h"
#include "support/repeats.h"

using namespace cermet;
using namespace cermet::ir;
using compiler::jvp;
using compiler::leaves_of;
using compiler::vjp;
using test::array;

namespace {

Value scalar(int64_t slot) { return parameter(slot, DType::F64, {}); }
Value one(const Value& y) { return like(y, 1.0); }
double number(const Value& result, std::initializer_list<double> parameters) {
  std::vector<HostArray> arrays;
  for (double p : parameters) arrays.push_back(array({}, {p}));
  return test::evaluate({result}, arrays)[0].number(0);
}
Value derivative(const Value& y, const Value& x) { return vjp({{y}}, {{x}}, {{one(y)}})[0]; }

// y = x^3, said to have the derivative `slope` * x^2 (3 would be true).
class CubeRule : public GradientRule {
 public:
  explicit CubeRule(double slope) : slope_(slope) {}
  std::vector<Value> operands_adjoints(std::span<const Value> operands, const Value&,
                                       const Value& adjoint) const override {
    return {adjoint * (operands[0] * operands[0] * slope_)};
  }

 private:
  double slope_;
};

struct BadRule : GradientRule {
  std::vector<Value> operands_adjoints(std::span<const Value>, const Value&,
                                       const Value&) const override {
    return {};
  }
};

struct SquaringRule : GradientRule {
  std::vector<Value> operands_adjoints(std::span<const Value>, const Value&,
                                       const Value& adjoint) const override {
    return {adjoint * adjoint};
  }
};

Value custom_cube(const Value& x, std::shared_ptr<const GradientRule> rule) {
  return custom_gradient(stop_gradient(x * x * x), {{x}}, std::move(rule));
}

}  // namespace

TEST_CASE("autograd: adjoints of all paths are added") {
  const Value x = scalar(0), y = sin(x) * x + x;
  CHECK(number(derivative(y, x), {0.7}) == Approx(std::cos(0.7) * 0.7 + std::sin(0.7) + 1));
}

TEST_CASE("autograd: gradients of the slices of a value are put together, not padded and added") {
  const Value x = parameter(0, DType::F64, {2, 6});
  const auto gradient = [&](const Value& y) { return vjp({{y}}, {{x}}, {{one(y)}})[0]; };
  const std::vector<HostArray> at = {array({2, 6}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})};
  // The slices in any order, transposed in between.
  const Value first = slice(x, 1, 0, 1), middle = slice(x, 1, 1, 4), last = slice(x, 1, 4, 6);
  const Value y = sum_to(last * last, {2, 1}) * 3.0 + first +
                  sum_to(permute(permute(middle, Dims{1, 0}) * 2.0, Dims{1, 0}), {2, 1});
  const Value together = gradient(y);
  CHECK(together->op == Op::Concat);
  CHECK(test::evaluate({together}, at)[0] ==
        array({2, 6}, {1, 2, 2, 2, 30, 36, 1, 2, 2, 2, 66, 72}));
  // Slices that overlap, or leave something out, are added.
  CHECK(gradient(slice(x, 1, 0, 4) * slice(x, 1, 2, 6))->op != Op::Concat);
  CHECK(gradient(slice(x, 1, 0, 2) * slice(x, 1, 4, 6))->op != Op::Concat);
}

TEST_CASE("autograd: inputs may be inner nodes, also one below the other") {
  const Value x = scalar(0), y = x * x, z = sin(y);
  const auto grads = vjp({{z}}, {{x, y}}, {{one(z)}});
  CHECK(number(grads[0], {0.6}) == Approx(std::cos(0.36) * 1.2));
  CHECK(number(grads[1], {0.6}) == Approx(std::cos(0.36)));
  // Forward: the tangent of y is its own and what comes from x.
  const auto tangent = jvp({{z}}, {{x, y}}, {{like(x, 2.0), like(x, 3.0)}});
  CHECK(number(tangent[0], {0.6}) == Approx(std::cos(0.36) * (1.2 * 2 + 3)));
}

TEST_CASE("autograd: an input that is an output, twice, gets both cotangents") {
  const Value x = scalar(0);
  const auto grads = vjp({{x, x}}, {{x, x}}, {{like(x, 2.0), like(x, 5.0)}});
  CHECK(number(grads[0], {1}) == 7);
  CHECK(grads[0] == grads[1]);
}

TEST_CASE("autograd: what is not reached is empty, what is constant almost everywhere is zero") {
  const Value x = scalar(0), other = scalar(1);
  const auto grads = vjp({{sin(x)}}, {{x, other}}, {{one(x)}});
  CHECK(grads[0]);
  CHECK(!grads[1]);
  CHECK(constant_value(*derivative(floor(x), x)) == 0.0);
  CHECK(constant_value(*jvp({{floor(x)}}, {{x}}, {{one(x)}})[0]) == 0.0);
  CHECK(!jvp({{sin(other)}}, {{x}}, {{one(x)}})[0]);
  CHECK(!derivative(cast(cast(x, DType::I32), DType::F64), x));
  CHECK(!vjp({{cast(lt(x, other), DType::F64)}}, {{x}}, {{one(x)}})[0]);
  CHECK(constant_value(*vjp({{sin(x)}}, {{x}}, {{Value()}})[0]) == 0.0);
}

TEST_CASE("autograd: stop_gradient stops, leaf and barrier do not") {
  const Value x = leaf(scalar(0), std::make_shared<Variable>());
  CHECK(number(derivative(x * stop_gradient(x), x), {3}) == 3);
  CHECK(number(derivative(barrier(x) * x, x), {3}) == 6);
  CHECK(number(jvp({{barrier(x) * stop_gradient(x)}}, {{x}}, {{one(x)}})[0], {3}) == 3);
  // Through a leaf to what it was made from.
  const Value below = x->operands[0];
  CHECK(number(derivative(x * x, below), {3}) == 6);
}

TEST_CASE("autograd: leaves_of finds the leaves that gradients reach") {
  const Value a = leaf(scalar(0), std::make_shared<Variable>());
  const Value b = leaf(scalar(0), std::make_shared<Variable>());
  const Value c = leaf(scalar(1), std::make_shared<Variable>());
  CHECK(a != b);
  const Value y = a * b + stop_gradient(c) + cast(lt(c, a), DType::F64);
  CHECK(leaves_of({{y}}) == std::vector<Value>{a, b});
  CHECK(leaves_of({{c, y}}) == std::vector<Value>{c, a, b});
  CHECK(leaves_of({{stop_gradient(a)}}).empty());
}

TEST_CASE("autograd: derivatives of any order") {
  const Value x = scalar(0);
  Value y = sin(x) * exp(x * 0.5);
  for (int order = 0; order < 3; ++order) y = derivative(y, x);
  // (e^{x/2} sin x)''' by the complex form Im((1/2 + i)^3 e^{(1/2 + i) x}); (1/2+i)^3 = -11/8 -
  // i/4.
  const double a = 0.8;
  CHECK(number(y, {a}) == Approx(std::exp(a / 2) * (-11.0 / 8 * std::sin(a) - 0.25 * std::cos(a))));
  // Forward over reverse is the same second derivative as reverse over reverse.
  const Value z = tanh(x) * x, first = derivative(z, x);
  CHECK(number(jvp({{first}}, {{x}}, {{one(x)}})[0], {a}) ==
        Approx(number(derivative(first, x), {a})));
}

TEST_CASE("autograd: a composed network has the right first and second derivatives") {
  std::mt19937 rng(7);
  const test::Function net = [](std::span<const Value> p) {
    const Value h = tanh(matmul(p[0], p[1]) + p[2]);
    const Value logits = matmul(h, p[3]);
    const Value top = expand(reduce(Combine::Max, logits, Dims{1}, true), logits->shape);
    const Value e = exp(logits - top);
    return log(reduce(Combine::Sum, e, Dims{1})) - squeeze(slice(logits - top, 1, 0, 1), 1);
  };
  test::check_gradients("network", net,
                        {test::random_array({3, 4}, rng), test::random_array({4, 5}, rng),
                         test::random_array({5}, rng), test::random_array({5, 2}, rng)},
                        2);
}

TEST_CASE("autograd: custom rules replace the derivative, in both modes") {
  const Value x = scalar(0);
  const Value y = custom_cube(x, std::make_shared<CubeRule>(7)) * 2.0;
  CHECK(number(y, {2}) == 16);
  CHECK(number(derivative(y, x), {2}) == 56);
  CHECK(number(jvp({{y}}, {{x}}, {{like(x, 0.5)}})[0], {2}) == 28);
  CHECK(number(derivative(derivative(y, x), x), {2}) == 56);
}

TEST_CASE("autograd: a custom rule that breaks its promise is an error") {
  const Value x = scalar(0);
  CHECK_THROWS_WITH(derivative(custom_cube(x, std::make_shared<BadRule>()), x),
                    "custom_gradient: the rule returned 0 adjoints for 1 operands");
  const Value y = custom_cube(x, std::make_shared<SquaringRule>());
  CHECK_THROWS_WITH(jvp({{y}}, {{x}}, {{one(x)}}),
                    Catch::Matchers::ContainsSubstring("not linear in the adjoint"));
}

TEST_CASE("autograd: errors name the values") {
  const Value x = parameter(0, DType::F32, {3}), i = parameter(1, DType::I32, {3});
  CHECK_THROWS_WITH(vjp({{x}}, {{i}}, {{one(x)}}),
                    "vjp: only floats have gradients, an input is i32[3]");
  CHECK_THROWS_WITH(vjp({{cast(x, DType::I32)}}, {{x}}, {{one(x)}}),
                    "vjp: only floats have gradients, an output is i32[3]");
  CHECK_THROWS_WITH(vjp({{x}}, {{x}}, {{constant(DType::F32, {2}, 1.0)}}),
                    "vjp: cotangent 0 is f32[2], its output is f32[3]");
  CHECK_THROWS_WITH(jvp({{x}}, {{x}}, {{constant(DType::F64, {3}, 1.0)}}),
                    "jvp: tangent 0 is f64[3], its input is f32[3]");
  CHECK_THROWS_WITH(vjp({{x}}, {{x}}, {}), "vjp: 0 cotangents for 1 outputs");
  CHECK_THROWS_WITH(vjp({{Value()}}, {{x}}, {{one(x)}}), "vjp: an output is empty");
}

TEST_CASE("autograd: ops without a gradient throw when one reaches them") {
  const Value x = parameter(0, DType::F16, {3});
  const Value bits = bitcast(x, DType::BF16);
  CHECK_THROWS_WITH(vjp({{bits}}, {{x}}, {{one(bits)}}),
                    "bitcast: has no gradient (f16[3] to bf16[3])");
  CHECK_THROWS_WITH(jvp({{bits}}, {{x}}, {{one(x)}}),
                    "bitcast: has no gradient (f16[3] to bf16[3])");
  CHECK(vjp({{cast(bits, DType::F16) + x}}, {{parameter(1, DType::F16, {3})}}, {{one(x)}})[0] ==
        Value());
  const Value a = parameter(0, DType::F64, {3}), index = parameter(1, DType::I64, {2});
  const Value y = scatter(Combine::Prod, a, index, parameter(2, DType::F64, {2}), 0);
  CHECK_THROWS_WITH(vjp({{y}}, {{a}}, {{one(y)}}),
                    "scatter: a product has no gradient rule (f64[3])");
}

TEST_CASE("autograd: adjoints of half floats are added in f32") {
  // 2048 + 1 + 1 rounds to 2048 in f16 when each step is rounded.
  const Value x = parameter(0, DType::F16, {});
  const Value y = x * 2048.0 + (x + neg(neg(x)));
  const auto result =
      test::evaluate({derivative(y, x)}, {{HostArray::of(DType::F16, {}, {{1.0}})}});
  CHECK(result[0].number(0) == 2050);
}

TEST_CASE("autograd: the same graph gives the same gradient node") {
  const Value x = scalar(0), y = sin(x) * x + exp(x);
  CHECK(derivative(y, x) == derivative(y, x));
}

TEST_CASE("autograd: a chain of a million nodes is differentiated without recursion, in seconds") {
  const int64_t before = live_nodes();
  {
    const Value x = parameter(0, DType::F32, {4});
    Value y = x;
    const int64_t length = test::repeats(1000000);
    for (int64_t i = 0; i < length; ++i) y = sin(y);
    const std::clock_t start = std::clock();  // of this process, whatever else the machine does
    const Value grad = derivative(y, x);
    const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
    INFO("took " << seconds << " s");
    CHECK(seconds < 60);
    CHECK(live_nodes() - before > length * 29 / 10);
    const Value tangent = jvp({{y}}, {{x}}, {{one(x)}})[0];
    CHECK(tangent);
  }
  CHECK(live_nodes() == before);
}
