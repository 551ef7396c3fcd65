// Kernels at the limits of a GPU: many buffers, many live values, much shared memory.

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
