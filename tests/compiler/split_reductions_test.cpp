#include "compiler/split_reductions.h"

#include <random>

#include "ir/build.h"
#include "ir/interpreter.h"
#include "support/catch.h"

using namespace cermet;
using namespace cermet::ir;

namespace {

Graph over(const std::vector<Value>& parameters, const Value& result) {
  Graph graph;
  graph.parameters = parameters;
  graph.results = {result};
  return graph;
}

// Small whole numbers: every order of adding them up gives the same float.
HostArray whole_numbers(const Node& node, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<double> numbers(size_t(node.numel()));
  for (double& x : numbers) x = int(random() % 7) - 3;
  return HostArray::of(node.dtype, node.shape, numbers);
}

void check_same(const Graph& before, const Graph& after) {
  std::vector<HostArray> arrays;
  for (const Value& p : before.parameters)
    arrays.push_back(whole_numbers(*p, uint32_t(arrays.size() + 1)));
  CHECK(interpret(before, arrays) == interpret(after, arrays));
}

// How many parts a contraction became: 1 if nothing changed.
int64_t parts(const Value& a, const Value& b, const Value& result) {
  const Graph before = over({a, b}, result), after = compiler::split_reductions(before, {});
  CHECK(after.results[0]->shape == result->shape);
  if (after.results[0] == result) return 1;
  check_same(before, after);
  REQUIRE(after.results[0]->op == Op::View);  // the axis of the parts, with extent 1
  const Node& sum = *after.results[0]->operands[0];
  REQUIRE(sum.op == Op::Reduce);
  const Node& batch = *sum.operands[0];
  CHECK(batch.op == result->op);
  return batch.shape[0];
}

int64_t parts_of_dot(DType dtype, int64_t batch, int64_t m, int64_t k, int64_t n) {
  const Value a = parameter(0, dtype, {batch, m, k}), b = parameter(1, dtype, {batch, k, n});
  return parts(a, b, dot(a, b));
}

}  // namespace

TEST_CASE("split_reductions: a product with a small result and a long sum is done in parts") {
  CHECK(parts_of_dot(DType::F32, 1, 16, 20000, 16) == 16);
  CHECK(parts_of_dot(DType::F64, 1, 8, 3 * 5 * 7 * 11 * 13, 40) == 15);
  // A prime, a batch, too little work, a large result, a short sum, and dtypes that round or wrap.
  CHECK(parts_of_dot(DType::F32, 1, 16, 20011, 16) == 1);
  CHECK(parts_of_dot(DType::F32, 2, 16, 20000, 16) == 1);
  CHECK(parts_of_dot(DType::F32, 1, 4, 20000, 4) == 1);
  CHECK(parts_of_dot(DType::F32, 1, 400, 8192, 400) == 1);
  CHECK(parts_of_dot(DType::F32, 1, 100, 4096, 100) == 1);
  CHECK(parts_of_dot(DType::BF16, 1, 16, 20000, 16) == 1);
  CHECK(parts_of_dot(DType::I32, 1, 16, 20000, 16) == 1);
}

TEST_CASE(
    "split_reductions: the gradient of a convolution's weight sums over parts of the images") {
  const Value x = parameter(0, DType::F32, {1, 4, 30, 18, 18}),
              w = parameter(1, DType::F32, {1, 16, 30, 16, 18});
  CHECK(parts(x, w, conv(x, w, Dims{1, 1}, Dims{1, 1})) == 1);  // 192 sums of 8640
  const Value large = parameter(0, DType::F32, {1, 16, 30, 18, 20});
  CHECK(parts(large, w, conv(large, w, Dims{1, 1}, Dims{1, 1})) == 15);
}

TEST_CASE("split_reductions: for a GPU, products are done in as many parts as fill it") {
  const compiler::Target gpu = compiler::cuda_target(90);
  // How many parts, and of which dtype they are.
  const auto parts = [&](DType dtype, int64_t m, int64_t k,
                         int64_t n) -> std::pair<int64_t, DType> {
    const Value product = dot(parameter(0, dtype, {1, m, k}), parameter(1, dtype, {1, k, n}));
    const Graph after = compiler::split_reductions({{}, {product}}, gpu);
    for (const ir::Node* node : ir::topological_order(after.results))
      if (node->op == ir::Op::Dot) return {node->shape[0], node->dtype};
    return {0, dtype};
  };
  CHECK(parts(DType::F32, 64, 65536, 64) == std::pair<int64_t, DType>(256, DType::F32));
  CHECK(parts(DType::BF16, 64, 65536, 64) == std::pair<int64_t, DType>(256, DType::F32));
  CHECK(parts(DType::F64, 4, 8192, 64) == std::pair<int64_t, DType>(32, DType::F64));
  CHECK(parts(DType::F32, 512, 8192, 512).first == 4);
  // There are tiles enough, the sum is short, the parts would be most of the traffic, or none fit.
  CHECK(parts(DType::F32, 4096, 4096, 4096).first == 1);
  CHECK(parts(DType::BF16, 8, 4096, 4096) == std::pair<int64_t, DType>(1, DType::BF16));
  CHECK(parts(DType::F32, 64, 1024, 64).first == 1);
  CHECK(parts(DType::F32, 64, 65537, 64).first == 1);
  CHECK(parts(DType::I32, 64, 65536, 64).first == 1);
}
