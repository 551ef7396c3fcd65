// Kernels at the limits of a GPU: many buffers, many live values, much shared memory.

#include "compiler/cuda/occupancy.h"
#include "compiler/run_ptx.h"
#include "ir/build.h"
#include "support/cuda.h"
#include "support/machine_code.h"
#include "support/param.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

// All kernels of a graph: good machine code, and shared memory that every GPU has.
void check_resources(const Graph& graph, int compute) {
  const auto program = compiler::compile(graph, compiler::cuda_target(compute));
  for (const auto& launch : program.launches) CHECK(launch.kernel.scratch_bytes <= 48 << 10);
  check_machine_code(program, compute);
}

// Many values of each element, all of which are needed until the sums of all are known.
Value many_live_rows(const Shape& shape, int64_t axis, int count, DType dtype = DType::F32) {
  const Value x = param(0, shape, dtype);
  Value out;
  for (int k = 0; k < count; ++k) {
    const Value y = exp(x * (0.01 * k));
    const Value share = y / reduce(Combine::Sum, y, Dims{axis}, true);
    out = out ? out + share : share;
  }
  return out;
}

}  // namespace

TEST_CASE("cuda limits: a sum of two thousand tensors") {
  CERMET_NEEDS_NVRTC();
  Value sum = param(0, {40}, DType::I32);
  for (int64_t k = 1; k < 2000; ++k) sum = sum + param(k, {40}, DType::I32);
  check_ptx({sum}, {}, 1);
}

TEST_CASE("cuda limits: sixty live rows") {
  CERMET_NEEDS_NVRTC();
  for (const int64_t axis : {0, 1}) {
    check_ptx({many_live_rows({40, 70}, axis, 60)}, {.relative = 1e-4}, 2);
    for (const Shape& shape : {Shape{4096, 4096}})
      for (const DType dtype : {DType::F32, DType::F16}) {
        INFO(to_string(shape) << " axis " << axis << name(dtype));
        check_resources(graph_over({many_live_rows(shape, axis, 12, dtype)}), 90);
      }
  }
}

TEST_CASE("cuda limits: many reductions at once") {
  CERMET_NEEDS_NVRTC();
  for (const int64_t axis : {0, 1}) {
    const Value x = param(0, {2000, 300}, DType::F64);
    Value all;
    for (int k = 0; k < 20; ++k) {
      const Value y = reduce(Combine::Sum, x * (1.0 + k), Dims{axis});
      all = all ? all + y : y;
    }
    check_resources(graph_over({all}), 90);
    check_ptx({all}, {.relative = 1e-9, .absolute = 1e-6}, 3);
  }
}

TEST_CASE("cuda limits: a map of many operands and many ops") {
  CERMET_NEEDS_NVRTC();
  for (const DType dtype : {DType::F16, DType::F64}) {
    std::vector<Value> p;
    for (int64_t k = 0; k < 10; ++k) p.push_back(param(k, {1 << 12, 1 << 12}, dtype));
    Value y;
    for (size_t i = 0; i < p.size(); ++i)
      for (size_t j = 0; j < i; ++j) {
        const Value term = maximum(p[i], p[j]) * p[(i + j) % p.size()];
        y = y ? y + term : term;
      }
    INFO(name(dtype));
    check_resources(graph_over({y, transpose(y, 0, 1)}), 90);
  }
}

TEST_CASE("cuda limits: tiles of products fit into what a block may have of the card") {
  const Value a = param(0, {4096, 4096}, DType::BF16), b = param(1, {4096, 4096}, DType::BF16);
  const Graph graph = graph_over({matmul(a, b)});
  const auto shared = [&](compiler::Target target) {
    const auto program = compiler::compile(graph, target);
    REQUIRE(program.launches.size() == 1);
    return program.launches[0].kernel.scratch_bytes;
  };
  for (const int compute : {75, 80, 86, 87, 89, 90, 100, 110, 120})
    CHECK(compiler::cuda_target(compute).shared_bytes ==
          compiler::cuda_limits({.number = compute}).block_shared);
  compiler::Target target = compiler::cuda_target(90);
  CHECK(shared(target) > 64 << 10);
  CHECK(shared(compiler::cuda_target(86)) <= 99 << 10);
  for (const int64_t most : {64 << 10, 48 << 10}) {
    target.shared_bytes = most;
    CHECK(shared(target) <= most);
  }
}

TEST_CASE("cuda limits: no graph needs more blocks than a grid has") {
  constexpr int64_t huge = int64_t(1) << 38;  // several times what any GPU has room for
  const auto f = [](int64_t index, const Shape& shape) { return param(index, shape, DType::F16); };
  const Value at = param(9, {huge}, DType::I64), line = f(0, {huge});
  const Value graphs[] = {exp(line) + f(1, {huge}),
                          transpose(f(0, {huge / 64, 64}), 0, 1) + f(1, {64, huge / 64}),
                          permute(f(0, {huge / 4096, 64, 64}), Dims{0, 2, 1}) * 2.0,
                          reduce(Combine::Sum, line, Dims{0}),
                          reduce(Combine::Sum, f(0, {huge / 2, 2}), Dims{1}),
                          reduce(Combine::Max, f(0, {2, huge / 2}), Dims{0}),
                          reduce(Combine::Sum, f(0, {huge / 4096, 4096}), Dims{1}),
                          gather(line, at, 0),
                          scatter(Combine::Sum, line, at, f(1, {huge}), 0),
                          scan(Combine::Sum, f(0, {huge / 64, 64}), 1),
                          scan(Combine::Sum, f(0, {64, huge / 64}), 0),
                          matmul(f(0, {huge / 64, 64}), f(1, {64, 64})),
                          matmul(f(0, {huge / 4096, 64, 64}), f(1, {huge / 4096, 64, 64})),
                          matmul(f(0, {huge / 1024, 1024}), f(1, {1024, 1})),
                          matmul(f(0, {huge / 64, 1, 64}), f(1, {huge / 64, 64, 1}))};
  for (size_t i = 0; i < std::size(graphs); ++i) {
    INFO("graph " << i);
    const auto program = compiler::compile(graph_over({graphs[i]}), compiler::cuda_target(90));
    for (const auto& launch : program.launches) {
      INFO(launch.kernel.function.name);
      CHECK(launch.kernel.range <= INT32_MAX);
    }
  }
}
