// How many kernels the usual computations take. Each program is also run (check_fusion).

#include "compiler/autograd.h"
#include "compiler/program.h"
#include "ir/build.h"
#include "support/catch.h"
#include "support/fusion_check.h"

using namespace cermet::ir;
using cermet::Dims;
using cermet::DType;
using cermet::Shape;
using cermet::test::check_fusion;
using cermet::test::graph_of;
using cermet::test::Tolerance;

namespace {

const Tolerance rounded{.relative = 1e-5, .absolute = 1e-5};

Value param(int64_t slot, const Shape& shape) { return parameter(slot, DType::F32, shape); }
Value sum(const Value& x, const Dims& axes) { return reduce(Combine::Sum, x, axes, true); }
Value mean(const Value& x, const Dims& axes) {
  const Value s = sum(x, axes);
  return s / (double(x->numel()) / double(s->numel()));
}
Value softmax(const Value& x, int64_t axis) {
  const Value e = exp(x - reduce(Combine::Max, x, Dims{axis}, true));
  return e / sum(e, {axis});
}
Value log_softmax(const Value& x, int64_t axis) {
  const Value shifted = x - reduce(Combine::Max, x, Dims{axis}, true);
  return shifted - log(sum(exp(shifted), {axis}));
}
Value gelu(const Value& x) { return x * 0.5 * (erf(x * 0.70710678118654752440) + 1.0); }

size_t kernels(std::vector<Value> results, const Tolerance& tolerance = rounded) {
  return check_fusion(graph_of(std::move(results)), tolerance).kernels.size();
}

}  // namespace

TEST_CASE("kernel count: maps") {
  const Value x = param(0, {6, 5}), y = param(1, {6, 5}), row = param(2, {5});
  CHECK(kernels({x + y}, {}) == 1);
  CHECK(kernels({tanh(x * y + row) - 1.0}) == 1);
  const Value a = exp(x) + y;
  CHECK(kernels({a, a * row}) == 1);                // a chain with two outputs
  CHECK(kernels({exp(x) + 1.0, exp(x) * y}) == 1);  // siblings
  CHECK(kernels({permute(x, Dims{1, 0}) + 1.0}, {}) == 1);
}

TEST_CASE("kernel count: reductions") {
  const Value x = param(0, {6, 5});
  CHECK(kernels({sum(x * x, {1})}) == 1);
  CHECK(kernels({sum(x * x, {0})}) == 1);
  CHECK(kernels({mean(x, {1})}) == 1);
  CHECK(kernels({mean(x, {0, 1})}) == 1);
  const Value centred = x - mean(x, {1});
  CHECK(kernels({mean(centred * centred, {1})}) == 1);
  CHECK(kernels({sum(x, {1}), reduce(Combine::Max, x, Dims{1})}) == 1);
  CHECK(kernels({sum(x, {1}), sum(x, {0})}) == 2);
}

TEST_CASE("kernel count: a long reduction takes two") {
  CHECK(kernels({sum(param(0, {300, 300}), {0, 1})}, {.relative = 1e-4, .absolute = 1e-3}) == 2);
  CHECK(kernels({sum(param(0, {90001}), {0})}, {.relative = 1e-4, .absolute = 1e-3}) == 2);
  CHECK(kernels({mean(param(0, {90000}), {0}) + 1.0}, {.relative = 1e-4, .absolute = 1e-3}) == 2);
}

TEST_CASE("kernel count: row programs take one") {
  const Value x = param(0, {6, 5}), dy = param(1, {6, 5});
  const Value gamma = param(2, {5}), beta = param(3, {5});
  CHECK(kernels({softmax(x, 1)}) == 1);
  CHECK(kernels({softmax(x, 0)}) == 1);
  CHECK(kernels({log_softmax(x, 1)}) == 1);
  const Value peak = reduce(Combine::Max, x, Dims{1}, true);
  CHECK(kernels({log(sum(exp(x - peak), {1})) + peak}) == 1);  // logsumexp
  const Value y = softmax(x, 1);
  CHECK(kernels({y * (dy - sum(dy * y, {1}))}) == 1);
  CHECK(kernels({y, y * (dy - sum(dy * y, {1}))}) == 1);
  const Value centred = x - mean(x, {1});
  const Value normal = centred / sqrt(mean(centred * centred, {1}) + 1e-5);
  CHECK(kernels({normal * gamma + beta}) == 1);
}

TEST_CASE("kernel count: negative log likelihood is in the kernel of its softmax") {
  const Value x = param(0, {6, 5}), label = parameter(1, DType::I64, {6, 1});
  const Graph graph = graph_of({gather(log_softmax(x, 1), label, 1)});
  CHECK(check_fusion(graph, rounded, std::vector<int64_t>{0, 5}).kernels.size() == 1);
}

TEST_CASE("kernel count: the gradient of negative log likelihood compares positions") {
  const Value x = param(0, {6, 5}), label = parameter(1, DType::I64, {6, 1});
  // Negative labels count from the end.
  const Value zero = constant(DType::I64, {6, 1}, int64_t(0)), five = like(zero, 5);
  const Value wrapped = where(lt(label, zero), label + five, label);
  for (const Value& index : {label, wrapped}) {
    const std::vector<Value> out = {gather(log_softmax(x, 1), index, 1)}, in = {x};
    const std::vector<Value> cotangent = {param(2, {6, 1})};
    std::vector<Value> both = cermet::compiler::vjp(out, in, cotangent);
    both.push_back(out[0]);
    const std::vector<int64_t> ranges{0, 5};
    CHECK(check_fusion(graph_of(std::move(both)), rounded, ranges).kernels.size() == 1);
  }
  const Value mean = reduce(Combine::Sum, gather(log_softmax(x, 1), label, 1), Dims{0, 1}) * -0.125;
  const std::vector<Value> out = {mean}, in = {x}, cotangent = {constant(DType::F32, {}, 1.0)};
  std::vector<Value> both = cermet::compiler::vjp(out, in, cotangent);
  both.push_back(mean);
  // The loss of all rows is the sum of what that of the rows gave.
  CHECK(
      check_fusion(graph_of(std::move(both)), rounded, std::vector<int64_t>{0, 5}).kernels.size() ==
      2);
}

TEST_CASE("kernel count: scatters of one update to each row of a constant are maps") {
  const Value index = parameter(0, DType::I64, {6, 1}), updates = param(1, {6, 1});
  const Value base = constant(DType::F32, {6, 5}, 0.5);
  for (Combine combine : {Combine::Sum, Combine::Prod, Combine::Max, Combine::Min, Combine::Set}) {
    const Graph graph = graph_of({scatter(combine, base, index, updates, 1)});
    CHECK(check_fusion(graph, {}, std::vector<int64_t>{5}).kernels.size() == 1);
  }
}

TEST_CASE("kernel count: a single number is computed where it is needed") {
  const Value x = param(0, {6, 5}), rate = param(1, {}), steps = param(2, {});
  const Value scale = expand(reshape(rate / (1.0 + sqrt(steps)), Shape{1, 1}), Shape{6, 5});
  CHECK(kernels({x * scale, sum(x * scale, {1}), sum(x * scale, {0})}) == 2);
}

TEST_CASE("kernel count: batch norm and its backward pass take one") {
  const Value x = param(0, {4, 3, 4, 5}), dy = param(1, {4, 3, 4, 5});
  const Value gamma = param(2, {3, 1, 1}), beta = param(3, {3, 1, 1});
  const Value m = mean(x, {0, 2, 3}), centred = x - m,
              variance = mean(centred * centred, {0, 2, 3});
  const Value normal = centred / sqrt(variance + 1e-5) * gamma + beta;
  const Value zero = constant(DType::F32, {}, 0.0);
  for (const Value& y : {normal, maximum(normal, zero)}) {
    const std::vector<Value> out = {y}, in = {x, gamma, beta}, cotangent = {dy};
    CHECK(kernels(cermet::compiler::vjp(out, in, cotangent)) == 1);
    std::vector<Value> both = cermet::compiler::vjp(out, in, cotangent);
    both.push_back(y);
    CHECK(kernels(std::move(both)) == 1);
  }
}

TEST_CASE("kernel count: row programs over more axes") {
  const Value x = param(0, {2, 3, 4, 5});
  CHECK(kernels({softmax(x, 3)}) == 1);
  CHECK(kernels({softmax(x, 1)}) == 1);
  const Value centred = x - mean(x, {2, 3});
  CHECK(kernels({centred / sqrt(mean(centred * centred, {2, 3}) + 1e-5)}) == 1);
  const Value batch = x - mean(x, {0, 2, 3});
  CHECK(kernels({batch / sqrt(mean(batch * batch, {0, 2, 3}) + 1e-5)}) == 1);
}

TEST_CASE("kernel count: the backward pass of layer norm takes two") {
  const Value x = param(0, {6, 5}), dy = param(1, {6, 5}), gamma = param(2, {5});
  const Value beta = param(3, {5});
  const Value centred = x - mean(x, {1});
  const Value y = centred / sqrt(mean(centred * centred, {1}) + 1e-5) * gamma + beta;
  const std::vector<Value> out = {y}, in = {x, gamma, beta}, cotangent = {dy};
  CHECK(kernels(cermet::compiler::vjp(out, in, cotangent)) == 2);
}

TEST_CASE("kernel count: a slice of a contraction computes only what is used") {
  const Value x = param(0, {6, 5}), w = param(1, {5, 7});
  const Graph graph = graph_of({slice(slice(matmul(x, w), 0, 1, 5), 1, 2, 4) + 1.0});
  const auto program = check_fusion(graph, rounded);
  REQUIRE(program.kernels.size() == 1);
  CHECK(program.kernels[0].outer == Shape{4, 2});
}

TEST_CASE("kernel count: contractions take their epilogue") {
  const Value x = param(0, {6, 5}), w1 = param(1, {5, 7}), b1 = param(2, {7});
  const Value w2 = param(3, {7, 4}), b2 = param(4, {4});
  const Value hidden = gelu(matmul(x, w1) + b1);
  CHECK(kernels({matmul(x, w1)}) == 1);
  CHECK(kernels({hidden}) == 1);
  CHECK(kernels({matmul(hidden, w2) + b2}) == 2);  // a two-layer MLP
  const Value zero = constant(DType::F32, {}, 0.0);
  CHECK(kernels({matmul(maximum(matmul(x, w1) + b1, zero), w2) + b2}) == 2);
  CHECK(kernels({hidden, matmul(x, w1) + b1}) == 1);  // what the backward pass needs
}

// How many arrays the first product of an MLP stores for its gradient.
size_t stored_for_gelu(int64_t batch, int64_t hidden_size) {
  const Value x = param(0, {batch, 16}), w = param(1, {16, hidden_size});
  const Value b = param(2, {hidden_size}), v = param(3, {hidden_size, 8});
  const std::vector<Value> out = {matmul(gelu(matmul(x, w) + b), v)}, in = {x, w, b, v};
  const std::vector<Value> cotangent = {param(4, {batch, 8})};
  std::vector<Value> results = cermet::compiler::vjp(out, in, cotangent);
  results.push_back(out[0]);
  const auto program =
      check_fusion(graph_of(std::move(results)), {.relative = 1e-4, .absolute = 1e-3});
  size_t most = 0;
  for (const auto& kernel : program.kernels)
    for (const auto& e : kernel.exprs)
      if (e.kind == cermet::compiler::Expr::Kind::Contract)
        most = std::max(most, kernel.stores.size());
  return most;
}

TEST_CASE("kernel count: large steps of a GELU are computed again for its gradient") {
  CHECK(stored_for_gelu(256, 512) == 2);  // what comes before the GELU and after it
  CHECK(stored_for_gelu(64, 64) == 3);    // in the cache, erf costs more than an array
}

TEST_CASE("kernel count: the gradient of a weight that a batch shares is one product") {
  const Value x = param(0, {3, 6, 5}), dy = param(1, {3, 6, 7});
  const Value products = dot(permute(x, Dims{0, 2, 1}), dy);
  CHECK(kernels({sum(products, {0})}) == 1);
  CHECK(kernels({reduce(Combine::Sum, permute(products, Dims{2, 0, 1}), Dims{1}) + 1.0}) == 1);
  CHECK(kernels({reduce(Combine::Sum, reshape(products, Dims{3, 35}), Dims{0})}) == 1);
  CHECK(kernels({sum(products, {0}), products}) == 2);  // needed one by one as well
  CHECK(kernels({sum(products, {1})}) == 2);            // not the batch
  CHECK(kernels({reduce(Combine::Max, products, Dims{0})}) == 2);
  CHECK(kernels({sum(slice(products, 0, 0, 2), {0})}) == 2);  // not all of it
}

TEST_CASE("kernel count: convolution, pooling") {
  const Value x = param(0, {1, 2, 3, 8, 8}), w = param(1, {1, 4, 3, 3, 3});
  const Value b = param(2, {1, 1, 4, 1, 1});
  const Value padded = pad(pad(x, 3, 1, 1), 4, 1, 1);
  const Value zero = constant(DType::F32, {}, 0.0);
  // The padded image is written out: reading it through the windows would cost divisions each time.
  CHECK(kernels({maximum(conv(padded, w, Dims{1, 1}, Dims{1, 1}) + b, zero)}) == 2);
  CHECK(kernels({conv(x, w, Dims{2, 1}, Dims{1, 2})}) == 1);
  const Value image = param(0, {2, 3, 8, 8});
  const Value low = pad(pad(image, 2, 1, 1, -1e30), 3, 1, 1, -1e30);
  const Value windows = unfold(unfold(low, 2, 3, 2, 1), 3, 3, 2, 1);
  CHECK(kernels({reduce(Combine::Max, windows, Dims{4, 5})}, {}) == 1);
}

// Neither all pairs nor, for points of few coordinates, the differences of all pairs are stored.
TEST_CASE("kernel count: forces between points") {
  const Value points = param(0, {40, 3}), mass = param(1, {40});
  const Value apart = expand(reshape(points, Shape{1, 40, 3}), Shape{40, 40, 3}) -
                      expand(reshape(points, Shape{40, 1, 3}), Shape{40, 40, 3});
  const Value square = sum(apart * apart, {2}) + 0.01;
  const Value pull =
      expand(reshape(mass, Shape{1, 40, 1}), Shape{40, 40, 1}) / (square * sqrt(square));
  const Value force = apart * expand(pull, Shape{40, 40, 3});
  CHECK(kernels({points + sum(force, {1}) * 0.01}) == 1);
  CHECK(kernels({reduce(Combine::Min, square, Dims{1}, true)}) == 1);
}

TEST_CASE("kernel count: attention is a chain of three in one launch") {
  const Value q = param(0, {2, 6, 8}), k = param(1, {2, 6, 8}), v = param(2, {2, 6, 8});
  const auto heads = [](const Value& x) {  // [batch, time, 2 * 4] to [batch * 2, time, 4]
    return reshape(permute(reshape(x, Dims{2, 6, 2, 4}), Dims{0, 2, 1, 3}), Dims{4, 6, 4});
  };
  const Value scores = dot(heads(q), permute(heads(k), Dims{0, 2, 1})) * 0.5;
  const Value mixed = dot(softmax(scores, 2), heads(v));
  const Value out =
      reshape(permute(reshape(mixed, Dims{2, 2, 6, 4}), Dims{0, 2, 1, 3}), Dims{2, 6, 8});
  const auto program = check_fusion(graph_of({out}), rounded);
  CHECK(program.kernels.size() == 3);
  REQUIRE(program.chains.size() == 1);
  CHECK(program.chains[0].count == 3);
  CHECK(program.chains[0].locals.size() == 2);  // neither scores nor their softmax exist in full
}

// The launches of the compiled graph, for a target with AVX-512.
size_t launches(std::vector<Value> results) {
  const Graph graph = graph_of(std::move(results));
  return cermet::compiler::compile(graph, cermet::compiler::target("x86-64-v4")).launches.size();
}

TEST_CASE("kernel count: attention and its backward pass take one launch") {
  const Value q = param(0, {8, 200, 32}), k = param(1, {8, 200, 32}), v = param(2, {8, 200, 32});
  const Value dy = param(3, {8, 200, 32});
  const auto attention = [&](const Value& mask) {
    return dot(softmax(dot(q, permute(k, Dims{0, 2, 1})) * 0.5 + mask, 2), v);
  };
  const Value query = reshape(iota(200), Dims{200, 1}), key = iota(200);
  const Value causal =
      where(lt(query, key), constant(DType::F32, {}, -1e30), constant(DType::F32, {}, 0.0));
  for (const Value& mask : {param(4, {200, 200}), causal}) {
    const Value y = attention(mask);
    CHECK(launches({y}) == 1);
    const std::vector<Value> out = {y}, in = {q, k, v}, cotangent = {dy};
    std::vector<Value> all = cermet::compiler::vjp(out, in, cotangent);
    all.push_back(y);
    CHECK(launches(std::move(all)) == 1);
  }
}

TEST_CASE("kernel count: large layer norms sum columns while rows are in the cache") {
  const Value x = param(0, {1024, 256}), dy = param(1, {1024, 256}), gamma = param(2, {256});
  const Value centred = x - mean(x, {1});
  const Value y = centred / sqrt(mean(centred * centred, {1}) + 1e-5) * gamma + param(3, {256});
  const std::vector<Value> out = {y}, in = {x, gamma, param(3, {256})}, cotangent = {dy};
  const Graph graph = graph_of(cermet::compiler::vjp(out, in, cotangent));
  const auto program = check_fusion(graph, {.relative = 1e-4, .absolute = 1e-4});
  REQUIRE(program.chains.size() == 1);
  CHECK(program.chains[0].count == 2);
  CHECK(program.chains[0].rows == 8);
  CHECK(program.chains[0].locals.size() == 1);  // values of rows
  // The sums of what the chunks gave: those for weight and bias are one launch.
  CHECK(cermet::compiler::compile(graph, cermet::compiler::target("x86-64-v4")).launches.size() ==
        2);
}

TEST_CASE("kernel count: sums of columns alone are one kernel") {
  const Value x = param(0, {1024, 256}), row = param(1, {1024, 1});
  CHECK(launches({sum(x, {0})}) == 1);
  CHECK(launches({sum(x * row, {0})}) == 1);
  CHECK(launches({sum(x - mean(x, {0}), {0})}) == 1);
  CHECK(launches({sum(x - mean(x, {1}), {0})}) == 2);
}

TEST_CASE("kernel count: long attention exists a few rows at a time") {
  const Value q = param(0, {4, 4096, 64}), k = param(1, {4, 4096, 64}), v = param(2, {4, 4096, 64});
  const Graph graph = graph_of({dot(softmax(dot(q, permute(k, Dims{0, 2, 1})), 2), v)});
  const auto program = cermet::compiler::compile(graph, cermet::compiler::target("x86-64-v4"));
  REQUIRE(program.launches.size() == 1);
  CHECK(program.arena_bytes == 0);
  CHECK(program.launches[0].kernel.scratch_bytes < 8 << 20);  // scores of a head: 64 MiB
  CHECK(program.launches[0].kernel.range >= 4 * 4096 / 128);
}

TEST_CASE("kernel count: the updates of all parameters take one launch") {
  const Shape shapes[] = {{512, 784}, {512}, {256, 512}, {256}, {10, 256}, {10}};
  std::vector<Value> sgd, adam;
  int64_t slot = 0;
  for (const Shape& shape : shapes) {
    const Value w = param(slot, shape), g = param(slot + 1, shape), m = param(slot + 2, shape);
    const Value v = param(slot + 3, shape);
    slot += 4;
    sgd.push_back(w - g * 0.1);
    const Value first = m * 0.9 + g * 0.1, second = v * 0.999 + g * g * 0.001;
    adam.insert(adam.end(), {first, second, w - first / (sqrt(second) + 1e-8) * 0.01});
  }
  CHECK(launches(sgd) == 1);
  CHECK(launches(adam) == 1);
  const auto program =
      cermet::compiler::compile(graph_of(adam), cermet::compiler::target("x86-64-v4"));
  CHECK(program.launches[0].more.size() == std::size(shapes) - 1);
  // What one needs of another runs after it.
  const Value x = param(0, {40, 30}), y = sum(exp(x), {1});
  CHECK(launches({y, sum(exp(param(1, {20, 30})), {1})}) == 1);
  CHECK(launches({sum(exp(param(2, {40}) + reshape(y, Dims{40})), {0}), y}) == 2);
}

TEST_CASE("kernel count: layers of a network are no chain, their weights would be read again") {
  const Value x = param(0, {4096, 1024}), w1 = param(1, {1024, 4096}), w2 = param(2, {4096, 1024});
  const Value y = matmul(gelu(matmul(x, w1)), w2);
  const auto program =
      cermet::compiler::compile(graph_of({y}), cermet::compiler::target("x86-64-v4"));
  CHECK(program.launches.size() == 2);
  bool said = false;
  for (const auto& r : program.refusals) said |= r.reason.find("read") != std::string::npos;
  CHECK(said);
}
