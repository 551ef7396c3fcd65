// Gather, scatter, concat, argsort and random bits as compiled code on every target against the
// interpreter.

#include <fmt/format.h>

#include <limits>

#include "cermet/error.h"
#include "ir/build.h"
#include "support/catch.h"
#include "support/message.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

HostArray indices(const Shape& shape, int64_t extent, uint64_t seed) {
  return numbers_between(DType::I64, shape, 0, double(extent), seed);
}

// The text of the Error that running the graph throws.
std::string error_of(const Value& result, const std::vector<HostArray>& parameters,
                     const std::string& target) {
  return message_of<Error>([&] { run_on(target, graph_over({result}), parameters); });
}

}  // namespace

TEST_CASE("compiled: gather along every axis in every dtype") {
  const Shape shape = {4, 7, 19};
  for (DType dtype : all_dtypes) {
    const Value x = parameter(0, dtype, shape);
    std::vector<HostArray> parameters = {edge_values(dtype, shape, 1)};
    std::vector<Value> out;
    for (int64_t axis = 0; axis < 3; ++axis)
      for (int64_t count : {1, 6, 33}) {
        Shape index = shape;
        index[size_t(axis)] = count;
        const Value i = parameter(int64_t(parameters.size()), DType::I64, index);
        parameters.push_back(indices(index, shape[size_t(axis)], parameters.size()));
        out.push_back(gather(x, i, axis));
        if (count == 6) {
          out.push_back(gather(flip(x, axis), i, axis));
          out.push_back(gather(maximum(x, flip(x, 2)), i, axis));
          out.push_back(transpose(gather(x, i, axis), 0, 2));
        }
      }
    INFO(name(dtype));
    check_compiled(graph_over(out), parameters, {.signed_zeros = false});
  }
}

TEST_CASE("compiled: gather of rows, of views, by computed and broadcast indices") {
  const Value table = parameter(0, DType::F32, {10, 6}), i = parameter(1, DType::I64, {5});
  const Value rows = expand(unsqueeze(i, 1), Shape{5, 6});
  const Value wide = parameter(2, DType::F32, {10, 12});
  const Value row = parameter(3, DType::F32, {6});
  const Value other = like(i, 9.0) - i;
  check_compiled(
      graph_over({gather(table, rows, 0), gather(table, rows, 0) * row + 1.0,
                  gather(transpose(wide, 0, 1), expand(unsqueeze(i, 1), Shape{5, 10}), 0),
                  gather(slice(wide, 1, 1, std::nullopt, 2), rows, 0),
                  gather(pad(table, 0, 1, 2, 5.0), rows, 0),
                  gather(expand(row, Shape{10, 6}), rows, 0),
                  gather(exp(table), expand(unsqueeze(other, 1), Shape{5, 6}), 0),
                  reduce(Combine::Sum, gather(table, rows, 0), Dims{0}),
                  reduce(Combine::Max, gather(table, rows, 0), Dims{1}),
                  gather(gather(table, rows, 0),
                         floor_divide(expand(unsqueeze(i, 0), Shape{5, 5}), like(i, 2.0)), 1)}),
      std::vector{numbers_between(DType::F32, {10, 6}, -2, 2, 1), indices({5}, 10, 2),
                  numbers_between(DType::F32, {10, 12}, -2, 2, 3),
                  numbers_between(DType::F32, {6}, -2, 2, 4)},
      {.ulps = 2, .absolute = 1e-5});
}

TEST_CASE("compiled: scatter combines in the order of the updates") {
  const Shape shape = {3, 8, 21};
  for (DType dtype : all_dtypes) {
    std::vector<Combine> combines = {Combine::Set};
    if (!is_bool(dtype))
      combines = {Combine::Set, Combine::Sum, Combine::Prod, Combine::Max, Combine::Min};
    for (Combine combine : combines) {
      const Value x = parameter(0, dtype, shape);
      std::vector<HostArray> parameters = {numbers_between(dtype, shape, 0, 4, 1)};
      std::vector<Value> out;
      for (int64_t axis = 0; axis < 3; ++axis)
        for (int64_t count : {1, 30}) {
          Shape index = shape;
          index[size_t(axis)] = count;
          const int64_t slot = int64_t(parameters.size());
          const Value i = parameter(slot, DType::I64, index);
          const Value updates = parameter(slot + 1, dtype, index);
          parameters.push_back(indices(index, shape[size_t(axis)], uint64_t(slot)));
          parameters.push_back(numbers_between(dtype, index, is_unsigned(dtype) ? 1 : -1.25, 1.5,
                                               uint64_t(slot) + 1));
          if (count == 30 || axis == 1) out.push_back(scatter(combine, x, i, updates, axis));
          if (count == 30 && axis != 1)
            out.push_back(scatter(combine, zeros_like(x), i, flip(updates, axis), axis));
          if (count == 30 && axis == 1 && !is_bool(dtype))
            out.push_back(scatter(combine, neg(x), i, updates * updates, axis));
        }
      INFO(name(dtype) << ' ' << name(combine));
      Tolerance tolerance;
      if (combine == Combine::Sum) tolerance = {.relative = 1e-5, .absolute = 1e-4};
      if (combine == Combine::Prod) tolerance = {.relative = 1e-4, .absolute = 1e-6};
      if (size_of(dtype) == 2 && combine != Combine::Set)
        tolerance = {.relative = dtype == DType::F16 ? 2e-2 : 0.2, .absolute = 0.2};
      check_compiled(graph_over(out), parameters, tolerance);
    }
  }
}

TEST_CASE("compiled: an index out of range is an error, on every target") {
  const HostArray x = numbers_between(DType::F32, {6, 5}, -1, 1, 1);
  const Value p = parameter(0, DType::F32, {6, 5}), u = parameter(2, DType::F32, {40, 5});
  const Value i = parameter(1, DType::I64, {40, 5});
  for (const std::string& target : target_names())
    for (int64_t wrong : {int64_t(6), int64_t(-1), std::numeric_limits<int64_t>::max(),
                          std::numeric_limits<int64_t>::min()})
      for (int64_t place : {0, 7, 199}) {
        HostArray index = indices({40, 5}, 6, 2);
        index.as<int64_t>()[size_t(place)] = wrong;
        const std::string text =
            fmt::format("index {} is out of range for an axis of 6 elements", wrong);
        CHECK(error_of(gather(p, i, 0) + 1.0, {x, index}, target) == "gather: " + text);
        CHECK(error_of(reduce(Combine::Sum, gather(p, i, 0), Dims{0}), {x, index}, target) ==
              "gather: " + text);
        const HostArray updates = numbers_between(DType::F32, {40, 5}, -1, 1, 3);
        for (Combine combine : {Combine::Set, Combine::Sum})
          CHECK(error_of(scatter(combine, p, i, u, 0), {x, index, updates}, target) ==
                "scatter: " + text);
      }
}

TEST_CASE("compiled: gather and scatter with nothing to move") {
  const Value x = parameter(0, DType::F32, {6, 5}), none = parameter(1, DType::I64, {0, 5});
  const Value updates = parameter(2, DType::F32, {0, 5});
  check_compiled(graph_over({gather(x, none, 0), scatter(Combine::Sum, x, none, updates, 0)}),
                 std::vector{edge_values(DType::F32, {6, 5}, 1), HostArray(DType::I64, {0, 5}),
                             HostArray(DType::F32, {0, 5})});
}

TEST_CASE("compiled: concat along every axis, of views and computed parts") {
  for (DType dtype : {DType::F32, DType::Bool, DType::I16, DType::F64, DType::F16}) {
    const Value x = parameter(0, dtype, {3, 5, 7}), y = parameter(1, dtype, {3, 5, 7});
    std::vector<Value> out;
    for (int64_t axis = 0; axis < 3; ++axis) {
      const Value part = slice(y, axis, 1, 3), nothing = slice(y, axis, 2, 2);
      out.push_back(concat(std::vector{x, y}, axis));
      out.push_back(concat(std::vector{part, nothing, flip(x, axis), part}, axis));
      out.push_back(concat(std::vector{maximum(x, y), pad(part, axis, 1, 0, 1)}, axis));
      out.push_back(transpose(concat(std::vector{x, x}, axis), 0, 2));
      out.push_back(reduce(Combine::Max, concat(std::vector{part, x}, axis), Dims{axis}));
      out.push_back(
          maximum(concat(std::vector{part, y}, axis), concat(std::vector{x, part}, axis)));
    }
    check_compiled(graph_over(out),
                   std::vector{edge_values(dtype, {3, 5, 7}, 1), edge_values(dtype, {3, 5, 7}, 2)},
                   {.signed_zeros = false});
  }
}

TEST_CASE("compiled: argsort along every axis in every dtype, both ways") {
  for (DType dtype : all_dtypes) {
    const Shape shape = {3, 5, 40};
    const Value x = parameter(0, dtype, shape);
    std::vector<Value> out;
    for (int64_t axis = 0; axis < 3; ++axis)
      for (bool descending : {false, true}) {
        const Value order = argsort(x, axis, descending);
        out.push_back(order);
        out.push_back(gather(x, order, axis));
        out.push_back(argsort(order, axis));
      }
    INFO(name(dtype));
    check_compiled(graph_over(out), std::vector{edge_values(dtype, shape, 3)});
    check_compiled(graph_over(out), std::vector{numbers_between(dtype, shape, 0, 3, 4)});
  }
}

TEST_CASE("compiled: philox and numbers made from it") {
  const Value key = parameter(0, DType::U64, {});
  const Value counter = cast(iota(1001), DType::U64);
  const Value bits = philox(counter, expand(key, Shape{1001}));
  const Value high = bitwise_and(right_shift(bits, like(bits, 40.0)), like(bits, 16777215.0));
  const Value uniform = cast(high, DType::F32) * 5.9604644775390625e-8;
  check_compiled(graph_over({bits, uniform, lt(uniform, like(uniform, 0.5)),
                             reshape(uniform, Shape{7, 11, 13})}),
                 std::vector{HostArray::of<uint64_t>({}, {0x0123456789abcdefu})});
}

TEST_CASE("compiled: an index out of range is an error also in a row that nobody reads") {
  const Value i = parameter(0, DType::I64, {4, 1}), u = parameter(1, DType::F32, {4, 1});
  const Value sums = scatter(Combine::Sum, constant(DType::F32, {4, 10}, 0.0), i, u, 1);
  const Value picked = constant(DType::I64, {2, 10}, int64_t(1));
  HostArray index = indices({4, 1}, 10, 1);
  index.as<int64_t>()[3] = 70;
  const HostArray updates = numbers_between(DType::F32, {4, 1}, -1, 1, 2);
  for (const std::string& target : target_names())
    for (const Value& root :
         {slice(sums, 0, 0, 2), slice(sums * 2.0, 0, 1, 3), gather(sums, picked, 0)})
      CHECK_THAT(error_of(root, {index, updates}, target),
                 Catch::Matchers::ContainsSubstring("index 70 is out of range"));
}
