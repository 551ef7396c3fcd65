// The generator itself: its graphs are valid, repeatable, and cover what its options promise.
#include "support/random_graph.h"

#include <fmt/format.h>

#include <set>

#include "ir/interpreter.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "support/catch.h"
#include "support/compare.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

const std::vector<DType> every_dtype(all_dtypes.begin(), all_dtypes.end());

RandomGraphOptions options_for(uint64_t seed) {
  RandomGraphOptions options;
  if (seed % 4 == 1) options = RandomGraphOptions::only_elementwise();
  if (seed % 4 == 2) options = RandomGraphOptions::only_exact();
  if (seed % 2 == 1) options.dtypes = every_dtype;
  options.special_values = seed % 3 == 0;
  return options;
}

}  // namespace

TEST_CASE("random graph: graphs are valid, run, and survive the way through text") {
  std::set<Op> seen;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const RandomGraph random = random_graph(seed, options_for(seed));
    INFO(describe(random));
    for (const Node* node : topological_order(random.graph.results)) seen.insert(node->op);
    REQUIRE(verify(random.graph).empty());
    const std::vector<HostArray> results = interpret(random.graph, random.parameters);
    const std::vector<HostArray> again = interpret(parse(print(random.graph)), random.parameters);
    REQUIRE(results.size() == random.graph.results.size());
    for (size_t i = 0; i < results.size(); ++i) {
      CHECK(results[i].dtype == random.graph.results[i]->dtype);
      CHECK(results[i].shape == random.graph.results[i]->shape);
      CHECK(results[i] == again[i]);
    }
  }
  // What only users, storage or gradients bring about is not generated.
  const std::set<Op> others = {Op::Data,         Op::Iota,           Op::Bitcast, Op::Leaf,
                               Op::StopGradient, Op::CustomGradient, Op::Barrier, Op::Recompute};
  for (size_t i = 0; i < op_count; ++i)
    if (seen.contains(Op(i)) == others.contains(Op(i)))
      FAIL_CHECK(fmt::format("{} occurs: {}", name(Op(i)), seen.contains(Op(i))));
}

TEST_CASE("random graph: the seed says everything") {
  const RandomGraph a = random_graph(7), b = random_graph(7), c = random_graph(8);
  CHECK(describe(a) == describe(b));
  CHECK(a.graph.results == b.graph.results);
  CHECK(describe(a) != describe(c));
}

TEST_CASE("random graph: options keep their promises") {
  const auto for_all_nodes = [](const RandomGraphOptions& options, auto holds) {
    for (uint64_t seed = 0; seed < 300; ++seed) {
      const RandomGraph random = random_graph(seed, options);
      for (const Node* node : topological_order(random.graph.results)) {
        INFO(describe(random));
        CHECK(node->numel() <= options.max_elements);
        REQUIRE(holds(*node));
      }
    }
  };
  for_all_nodes(RandomGraphOptions::only_elementwise(), [](const Node& node) {
    return is_elementwise(node.op) || node.op == Op::Parameter || node.op == Op::Constant ||
           node.op == Op::View || node.op == Op::Cast;
  });
  const std::vector<Op> exact = exact_elementwise_ops();
  for_all_nodes(RandomGraphOptions::only_exact(), [&](const Node& node) {
    if (is_elementwise(node.op)) return std::ranges::find(exact, node.op) != exact.end();
    if (!is_float(node.dtype)) return true;
    if (node.op == Op::Reduce) {
      const Combine combine = node.as<ReduceAttr>().combine;
      return combine == Combine::Max || combine == Combine::Min;
    }
    return node.op != Op::Dot && node.op != Op::Conv;
  });
}
