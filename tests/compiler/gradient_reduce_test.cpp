// Gradients of reductions and scans, at ordinary points and where they are delicate: zeros in
// products, ties and NaN in extrema.
#include <limits>

#include "compiler/gradient_check.h"

using namespace cermet;
using namespace cermet::ir;
using test::array;
using test::check_gradients;
using test::random_array;

namespace {

HostArray adjoint(const test::Function& f, const HostArray& x) {
  const Value p = parameter(0, x.dtype, x.shape), y = f({{p}});
  return test::evaluate({compiler::vjp({{y}}, {{p}}, {{like(y, 1.0)}})[0]}, {{x}})[0];
}

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("gradient: reductions over any axes agree with finite differences") {
  std::mt19937 rng(11);
  for (Combine combine : {Combine::Sum, Combine::Prod, Combine::Max, Combine::Min})
    for (const Dims& axes : {Dims{0}, Dims{1}, Dims{2}, Dims{0, 2}, Dims{1, 2}, Dims{0, 1, 2}})
      check_gradients(
          fmt::format("{} over {}", name(combine), to_string(axes)),
          [&](std::span<const Value> x) { return reduce(combine, x[0], axes); },
          {random_array({2, 3, 2}, rng)}, 2);
}

TEST_CASE("gradient: products with none, one, two and only zeros are right at every order") {
  const auto product = [](std::span<const Value> x) {
    return reduce(Combine::Prod, x[0], Dims{1});
  };
  check_gradients("prod", product, {array({4, 3}, {2, 3, 4, 2, 0, 4, 0, 3, 0, 0, 0, 0})}, 3);
  CHECK(adjoint(product, array({4, 3}, {2, 3, 4, 2, 0, 4, 0, 3, 0, 0, 0, 0})) ==
        array({4, 3}, {12, 8, 6, 0, 8, 0, 0, 0, 0, 0, 0, 0}));
}

TEST_CASE("gradient: extrema share the adjoint evenly among ties") {
  const auto largest = [](std::span<const Value> x) { return reduce(Combine::Max, x[0], Dims{1}); };
  const auto least = [](std::span<const Value> x) {
    return reduce(Combine::Min, x[0], Dims{0, 1});
  };
  CHECK(adjoint(largest, array({2, 4}, {1, 5, 5, 2, 3, 3, 3, 3})) ==
        array({2, 4}, {0, 0.5, 0.5, 0, 0.25, 0.25, 0.25, 0.25}));
  CHECK(adjoint(least, array({2, 2}, {1, 5, 1, 2})) == array({2, 2}, {0.5, 0, 0.5, 0}));
  // NaN is the extremum, so it takes the adjoint.
  CHECK(adjoint(largest, array({1, 3}, {1, not_a_number, 9})) == array({1, 3}, {0, 1, 0}));
}

TEST_CASE("gradient: ties of halves are counted exactly") {
  const Value x = parameter(0, DType::F16, {3000});
  const Value y = reduce(Combine::Max, x, Dims{0});
  const HostArray ones = HostArray::of(DType::F16, {3000}, std::vector<double>(3000, 1.0));
  const auto g = test::evaluate({compiler::vjp({{y}}, {{x}}, {{like(y, 1.0)}})[0]}, {{ones}})[0];
  CHECK(g.number(2999) == HostArray::of(DType::F16, {}, {{1.0 / 3000}}).number(0));
}

TEST_CASE("gradient: scans in both directions, with and without their own element") {
  std::mt19937 rng(12);
  for (Combine combine : {Combine::Sum, Combine::Prod, Combine::Max, Combine::Min})
    for (bool reverse : {false, true})
      for (bool exclusive : {false, true})
        for (int64_t axis : {0, 1}) {
          // The first element of an exclusive extremum is an infinity, which finite differences
          // cannot look at.
          const bool cut = exclusive && (combine == Combine::Max || combine == Combine::Min);
          check_gradients(
              fmt::format("{} scan, axis {}, reverse {}, exclusive {}", name(combine), axis,
                          reverse, exclusive),
              [&](std::span<const Value> x) {
                const Value y = scan(combine, x[0], axis, reverse, exclusive);
                if (!cut) return y;
                return reverse ? slice(y, axis, 0, -1) : slice(y, axis, 1, std::nullopt);
              },
              {random_array({5, 3}, rng)}, 2);
        }
}

TEST_CASE("gradient: running products with zeros are right at every order") {
  const HostArray x = array({4, 5}, {2, 3, 4, 5, 6, 2, 0, 3, 4, 5, 2, 0, 3, 0, 4, 0, 0, 1, 2, 0});
  for (bool reverse : {false, true})
    for (bool exclusive : {false, true})
      check_gradients(
          "product scan",
          [&](std::span<const Value> p) {
            return scan(Combine::Prod, p[0] * 0.5, 1, reverse, exclusive);
          },
          {x}, 3);
}

TEST_CASE("gradient: a running maximum gives the adjoint to the latest winner") {
  const auto running = [](std::span<const Value> x) { return scan(Combine::Max, x[0], 0); };
  CHECK(adjoint(running, array({5}, {1, 3, 3, 2, 4})) == array({5}, {1, 1, 2, 0, 1}));
  CHECK(adjoint(running, array({4}, {1, not_a_number, 2, 3})) == array({4}, {1, 3, 0, 0}));
}

TEST_CASE("gradient: reductions and scans of empty arrays have empty gradients") {
  const HostArray empty(DType::F64, {0, 3});
  for (Combine combine : {Combine::Sum, Combine::Prod}) {
    check_gradients(
        "empty", [&](std::span<const Value> x) { return reduce(combine, x[0], Dims{0}); }, {empty});
    check_gradients(
        "empty", [&](std::span<const Value> x) { return reduce(combine, x[0], Dims{1}); }, {empty});
    for (int64_t axis : {0, 1})
      check_gradients("empty", [&](std::span<const Value> x) { return scan(combine, x[0], axis); },
                      {empty});
  }
}
