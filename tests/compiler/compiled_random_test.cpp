// Random graphs as compiled code: near the interpreter, equal however they are fused, and equal for
// any number of threads. A failing test prints the seed and the graph.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ir/build.h"
#include "ir/element.h"
#include "ir/interpreter.h"
#include "support/catch.h"
#include "support/gpu.h"
#include "support/random_graph.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

const std::vector<DType> every_dtype(all_dtypes.begin(), all_dtypes.end());

// Graphs to try. Compiling for a GPU takes longer.
uint64_t seeds(uint64_t on_cpu) { return on_gpu() ? on_cpu / 10 : on_cpu; }

// All targets in turn; each graph on one of them.
const std::string& target_for(uint64_t seed) {
  return target_names()[seed % target_names().size()];
}

void expect_same(const std::vector<HostArray>& got, const std::vector<HostArray>& expected,
                 const Tolerance& tolerance = {}) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    if (const auto wrong = difference(got[i], expected[i], tolerance))
      FAIL_CHECK("result " << i << ": " << *wrong);
}

// Every value behind a barrier, so that each op is a kernel of its own.
Graph unfused(const Graph& graph) {
  return rewrite(graph, [](const Node& node, std::span<const Value> operands) -> Value {
    if (node.op == Op::Parameter || node.op == Op::Constant || node.op == Op::Iota) return {};
    return barrier(with_operands(node, operands));
  });
}

// How much rounding matters for each element of the results: the largest change when every float
// in the graph, parameters and values between alike, changes by a step or two, in several ways.
std::vector<std::vector<double>> sensitivities(const RandomGraph& random,
                                               const std::vector<HostArray>& base) {
  std::vector<std::vector<double>> out;
  for (const HostArray& a : base) out.emplace_back(size_t(a.numel()), 0.0);
  std::mt19937_64 engine(random.seed);
  std::vector<DType> dtypes;
  std::vector<Shape> shapes;
  int64_t slot = int64_t(random.parameters.size());
  Graph noisy = rewrite(random.graph, [&](const Node& node, std::span<const Value> operands) {
    const Value same = node.operands.empty() ? Value(&node) : with_operands(node, operands);
    if (!is_float(node.dtype) || node.op == Op::View || node.op == Op::Constant) return same;
    dtypes.push_back(node.dtype), shapes.push_back(node.shape);
    return same * parameter(slot++, node.dtype, node.shape);
  });
  noisy.parameters = random.graph.parameters;
  for (size_t i = 0; i < shapes.size(); ++i)
    noisy.parameters.push_back(parameter(int64_t(noisy.parameters.size()), dtypes[i], shapes[i]));
  for (int trial = 0; trial < 8; ++trial) {
    std::vector<HostArray> arrays = random.parameters;
    for (size_t k = 0; k < shapes.size(); ++k) {
      HostArray noise(dtypes[k], shapes[k]);
      const uint64_t one = element_bits(dtypes[k], 1.0);
      for (int64_t i = 0; i < noise.numel(); ++i) noise.set_bits(i, one + engine() % 4 - 2);
      arrays.push_back(std::move(noise));
    }
    const std::vector<HostArray> results = interpret(noisy, arrays);
    for (size_t r = 0; r < base.size(); ++r)
      for (int64_t i = 0; i < base[r].numel(); ++i) {
        const double change = std::fabs(results[r].number(i) - base[r].number(i));
        const bool lost = std::isnan(change) && !std::isnan(base[r].number(i));
        out[r][size_t(i)] = lost ? INFINITY : std::max(out[r][size_t(i)], change);
      }
  }
  return out;
}

}  // namespace

TEST_CASE("compiled: random graphs of exact ops have the interpreter's bits") {
  for (uint64_t seed = 0; seed < seeds(300); ++seed) {
    RandomGraphOptions options = RandomGraphOptions::only_exact();
    options.dtypes = every_dtype;
    options.special_values = seed % 2 == 0;
    const RandomGraph random = random_graph(seed, options);
    INFO(describe(random) << "target " << target_for(seed));
    expect_same(run_on(target_for(seed), random.graph, random.parameters),
                interpret(random.graph, random.parameters), {.signed_zeros = false});
  }
}

TEST_CASE("compiled: random elementwise graphs have the same bits unfused, and on a GPU") {
  for (uint64_t seed = 0; seed < seeds(150); ++seed) {
    RandomGraphOptions options = RandomGraphOptions::only_elementwise();
    options.dtypes = every_dtype;
    options.special_values = seed % 2 == 0;
    options.steps = 20;
    const RandomGraph random = random_graph(seed, options);
    INFO(describe(random) << "target " << target_for(seed));
    const auto expected =
        on_gpu() ? run_compiled(engine_for("x86-64-v2"), random.graph, random.parameters)
                 : run_on(target_for(seed), unfused(random.graph), random.parameters);
    expect_same(run_on(target_for(seed), random.graph, random.parameters), expected);
  }
}

TEST_CASE("compiled: results that are written over parameters have the same bits", "[cpu]") {
  int overwritten = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    RandomGraphOptions options;
    options.special_values = seed % 2 == 0;
    const RandomGraph random = random_graph(seed, options);
    INFO(describe(random) << "target " << target_for(seed));
    runtime::Engine& engine = engine_for(target_for(seed));
    expect_same(run_in_place(engine, random.graph, random.parameters, &overwritten),
                run_compiled(engine, random.graph, random.parameters));
  }
  CHECK(overwritten > 30);
}

TEST_CASE("compiled: products and row programs write over what they read last", "[cpu]") {
  const auto f32 = [](int64_t slot, const Shape& shape) {
    return parameter(slot, DType::F32, shape);
  };
  const auto over_rows = [](const Value& row) { return unsqueeze(row, 1); };
  const Value x = f32(0, {37, 75}), y = f32(1, {75, 37}), z = f32(2, {37, 37}), row = f32(3, {75});
  const Value product = dot(unsqueeze(x, 0), unsqueeze(y, 0));
  const Value sums = reshape(product, Shape{37, 37});
  const Value top = exp(x - expand(over_rows(reduce(Combine::Max, x, Dims{1})), Shape{37, 75}));
  const Value column = where(le(x, zeros_like(x)), zeros_like(x), x);
  struct Case {
    const char* name;
    std::vector<Value> results;
    int overwritten;  // of the parameters
  };
  const Case cases[] = {
      {"update", {z - sums * 0.1}, 1},
      {"update of two, one by the other", {z - sums * 0.1, z + sums}, 0},
      {"update that reads z turned", {transpose(z, 0, 1) - sums}, 0},
      {"operand of its own product",
       {z - reshape(dot(unsqueeze(z, 0), unsqueeze(z, 0)), Shape{37, 37})},
       0},
      {"softmax", {top / expand(over_rows(reduce(Combine::Sum, top, Dims{1})), Shape{37, 75})}, 1},
      {"elements and their sums", {column, reduce(Combine::Sum, column, Dims{0})}, 1},
      {"elements, and sums that need them later", {exp(x), reduce(Combine::Sum, top, Dims{1})}, 0},
      {"another of that size", {row * row, reduce(Combine::Sum, x, Dims{0})}, 1},
  };
  for (const Case& c : cases)
    for (const std::string& target : target_names()) {
      INFO(c.name << " on " << target);
      const Graph graph = graph_over(c.results);
      std::vector<HostArray> arrays;
      for (size_t i = 0; i < graph.parameters.size(); ++i)
        arrays.push_back(numbers_between(DType::F32, graph.parameters[i]->shape, -1, 1, i));
      int overwritten = 0;
      expect_same(run_in_place(engine_for(target), graph, arrays, &overwritten),
                  run_compiled(engine_for(target), graph, arrays));
      CHECK(overwritten == c.overwritten);
    }
}

TEST_CASE("compiled: random graphs have the same bits for any number of threads", "[cpu]") {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    RandomGraphOptions options;
    options.max_elements = 200000;  // enough for several tasks
    options.steps = 8;
    const RandomGraph random = random_graph(seed, options);
    INFO(describe(random));
    const auto one = run_compiled(engine_for("host", 1), random.graph, random.parameters);
    for (int threads : {2, 3, 8})
      expect_same(run_compiled(engine_for("host", threads), random.graph, random.parameters), one);
  }
}

TEST_CASE("compiled: random graphs with sums are near the interpreter") {
  for (uint64_t seed = 0; seed < seeds(300); ++seed) {
    RandomGraphOptions options;
    options.elementwise = exact_elementwise_ops();
    options.dtypes = {DType::F64};
    const RandomGraph random = random_graph(seed, options);
    INFO(describe(random) << "target " << target_for(seed));
    expect_same(run_on(target_for(seed), random.graph, random.parameters),
                interpret(random.graph, random.parameters),
                {.relative = 1e-9, .absolute = 1e-9, .signed_zeros = false});
  }
}

TEST_CASE("compiled: random graphs of smooth ops are near the interpreter") {
  // Not the ops that jump.
  std::vector<Op> smooth;
  for (size_t i = structural_op_count; i < op_count; ++i)
    if (!std::ranges::count(std::vector{Op::Pow, Op::Tan, Op::FloorDivide, Op::Remainder, Op::Fmod,
                                        Op::Floor, Op::Ceil, Op::Trunc, Op::Round, Op::Sign, Op::Eq,
                                        Op::Ne, Op::Lt, Op::Le, Op::Copysign, Op::Atanh},
                            Op(i)))
      smooth.push_back(Op(i));
  int64_t compared = 0, all = 0;
  for (uint64_t seed = 0; seed < seeds(300); ++seed) {
    RandomGraphOptions options;
    options.elementwise = smooth;
    options.dtypes = {DType::F32};
    if (seed % 3 == 1) options.dtypes = {DType::F32, DType::F16, DType::I32};
    if (seed % 3 == 2) options.dtypes = {DType::F64, DType::F32};
    const RandomGraph random = random_graph(seed, options);
    const auto expected = interpret(random.graph, random.parameters);
    const auto sensitivity = sensitivities(random, expected);
    const auto got = run_on(target_for(seed), random.graph, random.parameters);
    for (size_t r = 0; r < expected.size(); ++r) {
      int64_t wrong = 0;
      std::string first;
      for (int64_t i = 0; i < expected[r].numel(); ++i) {
        const double x = got[r].number(i), y = expected[r].number(i);
        const double change = sensitivity[r][size_t(i)];
        const double epsilon = expected[r].dtype == DType::F16 ? 4e-3 : 1e-5;
        ++all;
        if (!(change <= 1e-2 * std::fabs(y) + 1e-3)) continue;  // says nothing
        ++compared;
        const bool near = x == y || (std::isnan(x) && std::isnan(y)) ||
                          std::fabs(x - y) <= 100 * change + epsilon * (std::fabs(y) + 1);
        if (!near && wrong++ == 0) first = fmt::format("at {} got {}, expected {}", i, x, y);
      }
      if (wrong > 0)
        FAIL_CHECK("target " << target_for(seed) << ", result " << r << ": " << wrong
                             << " elements differ, " << first << "\n"
                             << describe(random));
    }
  }
  CHECK(compared > all / 2);
}
