// Random graphs as compiled code: near the interpreter, equal however they are fused, and equal for
// any number of threads. A failing test prints the seed and the graph.

#include <cmath>
#include <random>

#include "ir/build.h"
#include "ir/element.h"
#include "ir/interpreter.h"
#include "support/catch.h"
#include "support/random_graph.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

const std::vector<DType> every_dtype(all_dtypes.begin(), all_dtypes.end());

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

}  // namespace

TEST_CASE("compiled: random graphs of exact ops have the interpreter's bits") {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    RandomGraphOptions options = RandomGraphOptions::only_exact();
    options.dtypes = every_dtype;
    options.special_values = seed % 2 == 0;
    const RandomGraph random = random_graph(seed, options);
    INFO(describe(random) << "target " << target_for(seed));
    expect_same(run_compiled(engine_for(target_for(seed)), random.graph, random.parameters),
                interpret(random.graph, random.parameters), {.signed_zeros = false});
  }
}

TEST_CASE("compiled: random elementwise graphs have the same bits fused and unfused") {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    RandomGraphOptions options = RandomGraphOptions::only_elementwise();
    options.dtypes = every_dtype;
    options.special_values = seed % 2 == 0;
    options.steps = 20;
    const RandomGraph random = random_graph(seed, options);
    runtime::Engine& engine = engine_for(target_for(seed));
    INFO(describe(random) << "target " << target_for(seed));
    expect_same(run_compiled(engine, random.graph, random.parameters),
                run_compiled(engine, unfused(random.graph), random.parameters));
  }
}

TEST_CASE("compiled: random graphs have the same bits for any number of threads") {
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
  for (uint64_t seed = 0; seed < 300; ++seed) {
    RandomGraphOptions options;
    options.elementwise = exact_elementwise_ops();
    options.dtypes = {DType::F64};
    const RandomGraph random = random_graph(seed, options);
    INFO(describe(random) << "target " << target_for(seed));
    expect_same(run_compiled(engine_for(target_for(seed)), random.graph, random.parameters),
                interpret(random.graph, random.parameters),
                {.relative = 1e-9, .absolute = 1e-9, .signed_zeros = false});
  }
}
