// A graph of a million nodes on the usual stack of 8 MB: built, differentiated, printed, parsed,
// simplified, compiled, run and destroyed. Nothing may recurse over the graph, nothing may take
// more than linear time.

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "compiler/autograd.h"
#include "compiler/simplify.h"
#include "ir/build.h"
#include "ir/interpreter.h"
#include "ir/text.h"
#include "support/catch.h"
#include "support/repeats.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

constexpr int64_t million = repeats(1000000);

const std::vector<HostArray> arrays = {HostArray::of<float>({4}, {1, 2, -1, 0}),
                                       HostArray::of<float>({4}, {0.5, 0.25, 0.5, 0.75})};

// x, multiplied by y and added to y in turn: stays near 1 for y near 1/2.
Value chain(const Value& x, const Value& y, int64_t length) {
  Value v = x;
  for (int64_t i = 0; i < length; ++i) v = i % 2 == 0 ? v * y : v + y;
  return v;
}

// Prints how long something took.
template <class F>
auto timed(const char* what, F&& f) {
  const auto start = std::chrono::steady_clock::now();
  auto result = f();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%s: %.2f s\n", what, seconds);
  return result;
}

}  // namespace

TEST_CASE("compiled: a chain of a million nodes is built, printed, simplified, run and destroyed") {
  const int64_t before = live_nodes();
  {
    const Value x = parameter(0, DType::F32, {4}), y = parameter(1, DType::F32, {4});
    const Graph graph = timed("build", [&] { return graph_over({chain(x, y, million)}); });
    const Graph simple = timed("simplify", [&] { return compiler::simplify(graph); });
    CHECK(int64_t(topological_order(simple.results).size()) > million / 2);
    const Graph again = timed("print and parse", [&] { return parse(print(graph)); });
    CHECK(again.results == graph.results);
    const auto expected = timed("interpret", [&] { return interpret(graph, arrays); });
    const auto got =
        timed("compile and run", [&] { return run_compiled(engine_for("host"), graph, arrays); });
    CHECK(difference(got[0], expected[0]).value_or("") == "");
  }
  CHECK(live_nodes() - before < 100);
}

TEST_CASE("compiled: gradients of a million nodes are made, simplified and run") {
  const Value x = parameter(0, DType::F32, {4}), y = parameter(1, DType::F32, {4});
  const Value one = constant(DType::F32, {4}, 1.0);
  const std::vector<Value> forward = {chain(x, y, million / 4)};
  const Graph backward = timed("differentiate", [&] {
    return graph_over(compiler::vjp(forward, std::vector{x, y}, std::vector{one}));
  });
  const Graph simple = timed("simplify gradients", [&] { return compiler::simplify(backward); });
  CHECK(int64_t(topological_order(simple.results).size()) > million / 2);
  const auto expected = timed("interpret gradients", [&] { return interpret(backward, arrays); });
  const auto got = timed("compile and run gradients",
                         [&] { return run_compiled(engine_for("host"), backward, arrays); });
  REQUIRE(got.size() == 2);
  for (size_t i = 0; i < got.size(); ++i)
    CHECK(difference(got[i], expected[i], {.relative = 1e-4}).value_or("") == "");
}

// A second of compiling would be felt by every user; this prints what it takes, for a person to
// look at. Nothing is asserted: machines differ.
TEST_CASE("compiled: how long kernels take to compile") {
  const Value x = parameter(0, DType::F32, {64, 200}), y = parameter(1, DType::F32, {64, 200});
  const Value w = parameter(2, DType::F32, {200, 64}),
              image = parameter(3, DType::F32, {1, 8, 3, 20, 20});
  const Value filter = parameter(4, DType::F32, {1, 16, 3, 3, 3});
  const Value index = parameter(5, DType::I64, {64, 4});
  const Dims last = {1};
  const Value e = exp(x - reduce(Combine::Max, x, last, true));
  const Value mean = reduce(Combine::Sum, x, last, true) / 200.0, centred = x - mean;
  const Value variance = reduce(Combine::Sum, centred * centred, last, true) / 200.0;
  const Graph graph = graph_over(
      {x + y, tanh(x * y), pow(abs(x), y), erf(x) * 0.5, e / reduce(Combine::Sum, e, last, true),
       centred / sqrt(variance + 1e-5), reduce(Combine::Sum, x * y, last),
       reduce(Combine::Sum, x, Dims{0}), arg_reduce(Combine::Max, x, 1), scan(Combine::Sum, x, 1),
       matmul(x, w), maximum(matmul(y, w) * 2.0, constant(DType::F32, {}, 0.0)),
       conv(pad(pad(image, 3, 1, 1), 4, 1, 1), filter, Dims{1, 1}, Dims{1, 1}), gather(x, index, 1),
       scatter(Combine::Sum, x, index, slice(y, 1, 0, 4), 1), chain(x, y, 120)});
  std::vector<HostArray> parameters;
  for (const Value& p : graph.parameters)
    parameters.push_back(numbers_between(p->dtype, p->shape, 0, 2, parameters.size()));
  for (const std::string& target : target_names()) {
    runtime::EngineOptions options;
    options.threads = 1;
    options.target = target;
    options.cache_directory.clear();
    runtime::Engine engine(options);
    run_compiled(engine, graph, parameters);
    std::string line;
    double total = 0;
    for (const runtime::CompileRecord& record : engine.compiles()) {
      line += fmt::format(" {} {:.1f}", record.kernel, record.milliseconds);
      total += record.milliseconds;
    }
    std::printf("%s: %.0f ms in %zu kernels:%s\n", target.c_str(), total, engine.compiles().size(),
                line.c_str());
  }
}
