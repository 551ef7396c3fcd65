// Gradients of dot, conv, gather, scatter, concat and cast.
#include "compiler/gradient_check.h"

using namespace cermet;
using namespace cermet::ir;
using test::array;
using test::check_gradients;
using test::random_array;

namespace {

Value indices(const Shape& shape, std::initializer_list<int64_t> list) {
  std::vector<Value> parts;
  for (int64_t i : list) parts.push_back(constant(DType::I64, {1}, i));
  return reshape(concat(parts, 0), shape);
}

}  // namespace

TEST_CASE("gradient: dot and matmul with broadcast batches") {
  std::mt19937 rng(21);
  const auto product = [](std::span<const Value> x) { return matmul(x[0], x[1]); };
  check_gradients(
      "dot", [](std::span<const Value> x) { return dot(x[0], x[1]); },
      {random_array({2, 3, 4}, rng), random_array({2, 4, 2}, rng)}, 2);
  check_gradients("matmul", product,
                  {random_array({2, 1, 2, 3}, rng), random_array({2, 3, 2}, rng)}, 2);
  check_gradients("vectors", product, {random_array({3}, rng), random_array({3}, rng)}, 2);
  check_gradients("empty sum", product, {random_array({2, 0}, rng), random_array({0, 3}, rng)});
}

TEST_CASE("gradient: conv with strides that leave a remainder, dilations and groups") {
  std::mt19937 rng(22);
  struct Case {
    Shape x, w;
    Dims stride, dilation;
  };
  const std::vector<Case> cases = {
      {{1, 1, 1, 5}, {1, 1, 1, 2}, {1}, {1}},
      {{1, 2, 2, 7}, {1, 3, 2, 2}, {2}, {1}},              // 7 = 2 * 2 + 2 and one over
      {{2, 1, 2, 8}, {2, 1, 2, 3}, {3}, {1}},              // groups, two over
      {{1, 1, 1, 9}, {1, 2, 1, 3}, {1}, {3}},              // dilation
      {{2, 2, 1, 11}, {2, 1, 1, 3}, {3}, {2}},             // all of it
      {{1, 1, 2, 5, 4}, {1, 2, 2, 2, 3}, {2, 1}, {1, 1}},  // two axes
      {{1, 1, 1, 7, 6}, {1, 1, 1, 3, 2}, {2, 3}, {2, 1}},
      {{1, 1, 1, 3}, {1, 2, 1, 3}, {5}, {1}},  // one window
      {{1, 2, 1, 4}, {1, 1, 1, 1}, {3}, {1}},  // one tap
      {{1, 1, 1, 3, 4, 3}, {1, 1, 1, 2, 2, 2}, {1, 2, 1}, {1, 1, 2}},
  };
  for (const Case& c : cases)
    check_gradients(
        fmt::format("conv {} {} stride {} dilation {}", to_string(c.x), to_string(c.w),
                    to_string(c.stride), to_string(c.dilation)),
        [&](std::span<const Value> p) { return conv(p[0], p[1], c.stride, c.dilation); },
        {random_array(c.x, rng), random_array(c.w, rng)}, numel(c.x) < 20 ? 2 : 1);
}

TEST_CASE("gradient: gather adds what was read several times") {
  std::mt19937 rng(23);
  check_gradients(
      "gather axis 0",
      [](std::span<const Value> x) { return gather(x[0], indices({3, 2}, {0, 2, 2, 1, 0, 2}), 0); },
      {random_array({4, 2}, rng)}, 2);
  check_gradients(
      "gather axis 1",
      [](std::span<const Value> x) { return sin(gather(x[0], indices({2, 2}, {0, 0, 2, 1}), 1)); },
      {random_array({2, 3}, rng)}, 2);
}

TEST_CASE("gradient: scatter with indices that repeat") {
  std::mt19937 rng(24);
  for (Combine combine : {Combine::Sum, Combine::Set, Combine::Max, Combine::Min}) {
    check_gradients(
        fmt::format("scatter {} axis 0", name(combine)),
        [&](std::span<const Value> x) {
          return scatter(combine, x[0], indices({4, 2}, {0, 2, 2, 1, 0, 2, 0, 2}), x[1], 0);
        },
        {random_array({4, 2}, rng), random_array({4, 2}, rng)}, 2);
    check_gradients(
        fmt::format("scatter {} axis 1", name(combine)),
        [&](std::span<const Value> x) {
          return scatter(combine, x[0] * x[0], indices({2, 2}, {1, 1, 2, 0}), sin(x[1]), 1);
        },
        {random_array({2, 3}, rng), random_array({2, 2}, rng)}, 2);
  }
}

TEST_CASE("gradient: a scattered maximum shares the adjoint among what ties") {
  // PyTorch's scatter_reduce with amax at these values gives these numbers.
  const std::vector<HostArray> arrays = {array({3}, {1, 2, 9}), array({3}, {1, 0.5, 3})};
  const auto p = test::parameters_of(arrays);
  const Value y = scatter(Combine::Max, p[0], indices({3}, {0, 0, 1}), p[1], 0);
  const auto grads = test::evaluate(compiler::vjp({{y}}, p, {{like(y, 1.0)}}), arrays);
  CHECK(grads[0] == array({3}, {0.5, 0, 1}));
  CHECK(grads[1] == array({3}, {0.5, 0, 1}));
}

TEST_CASE("gradient: concat gives each part its slice") {
  std::mt19937 rng(25);
  check_gradients(
      "concat",
      [](std::span<const Value> x) {
        const Value parts[] = {x[0], x[1], x[0] * 2.0, x[2]};
        return sin(concat(parts, 1));
      },
      {random_array({2, 1}, rng), random_array({2, 3}, rng), random_array({2, 0}, rng)}, 2);
  // With a part that has no tangent.
  const Value x = parameter(0, DType::F64, {2}), other = parameter(1, DType::F64, {1});
  const Value both[] = {other, x};
  const Value t = compiler::jvp({{concat(both, 0)}}, {{x}}, {{like(x, 3.0)}})[0];
  CHECK(test::evaluate({t}, {{array({2}, {1, 2}), array({1}, {5})}})[0] == array({3}, {0, 3, 3}));
}

TEST_CASE("gradient: casts between floats pass, casts to integers do not") {
  const Value x = parameter(0, DType::F16, {2});
  const Value y = cast(x, DType::F64) * 3.0;
  const Value g = compiler::vjp({{y}}, {{x}}, {{like(y, 1.0)}})[0];
  CHECK(g->dtype == DType::F16);
  CHECK(test::evaluate({g}, {{HostArray::of(DType::F16, {2}, {{1.0, 2.0}})}})[0] ==
        HostArray::of(DType::F16, {2}, {{3.0, 3.0}}));
  CHECK(!compiler::vjp({{cast(cast(x, DType::I64), DType::F16)}}, {{x}}, {{like(x, 1.0)}})[0]);
}

TEST_CASE("gradient: positions have no gradient, values taken by them do") {
  std::mt19937 rng(26);
  check_gradients("sort",
                  [](std::span<const Value> x) { return gather(x[0], argsort(x[0], 1), 1); },
                  {random_array({2, 4}, rng)});
  check_gradients("take the largest",
                  [](std::span<const Value> x) {
                    return gather(x[0], arg_reduce(Combine::Max, x[0], 1, true), 1);
                  },
                  {random_array({2, 4}, rng)});
}
