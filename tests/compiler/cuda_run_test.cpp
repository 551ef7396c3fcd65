// Kernels for GPUs, run on the PTX interpreter: what they compute, that they do nothing that a GPU
// would punish, and how well they use memory.

#include "compiler/cuda/nvrtc.h"
#include "compiler/run_ptx.h"
#include "ir/build.h"
#include "ir/interpreter.h"
#include "support/cuda.h"
#include "support/param.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

const std::vector<DType> every_dtype(all_dtypes.begin(), all_dtypes.end());

}  // namespace

TEST_CASE("cuda: reductions of rows and columns of every size") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 0;
  // Teams of one thread, of parts of a warp, of warps, of a block; long rows in loops.
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 5}, Shape{70, 8}, Shape{5, 33}, Shape{9, 256},
                             Shape{2, 1000}, Shape{3, 4099}, Shape{2, 40000}, Shape{300, 7},
                             Shape{4099, 3}, Shape{700, 128}, Shape{0, 4}, Shape{4, 0}})
    for (const int64_t axis : {0, 1}) {
      INFO("shape " << to_string(shape) << ", axis " << axis);
      const Value x = param(0, shape);
      const int64_t terms = std::max<int64_t>(1, shape[size_t(axis)]);
      const Tolerance near{.relative = 1e-5, .absolute = 2e-6 * double(terms)};
      check_ptx({reduce(Combine::Sum, x * x, Dims{axis})}, near, ++seed);
      if (shape[size_t(axis)] == 0) continue;
      check_ptx({reduce(Combine::Max, x, Dims{axis}), arg_reduce(Combine::Min, x, axis)}, {},
                ++seed);
      const Value e = exp(x - reduce(Combine::Max, x, Dims{axis}, true));
      check_ptx({e / reduce(Combine::Sum, e, Dims{axis}, true)}, {.relative = 3e-5}, ++seed);
    }
}

TEST_CASE("cuda: reductions of halves, doubles and integers") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 100;
  for (const DType dtype : every_dtype)
    for (const Shape& shape : {Shape{6, 96}, Shape{37, 11}})
      for (const int64_t axis : {0, 1}) {
        INFO(name(dtype) << to_string(shape) << ", axis " << axis);
        const Value x = param(0, shape, dtype);
        const double step = dtype == DType::BF16 ? 1e-2 : dtype == DType::F16 ? 2e-3 : 1e-5;
        const Tolerance near{.relative = step, .absolute = step};
        check_ptx({reduce(Combine::Max, x, Dims{axis}), reduce(Combine::Min, x, Dims{axis})}, {},
                  ++seed);
        if (!is_bool(dtype)) check_ptx({reduce(Combine::Sum, x, Dims{axis})}, near, ++seed);
      }
}

TEST_CASE("cuda: normalisation over one and several axes, with its epilogue") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 200;
  for (const Shape& shape : {Shape{6, 64}, Shape{3, 1024}, Shape{2, 3, 50}, Shape{4, 6, 5}}) {
    const Value x = param(0, shape), w = param(1, {shape.back()});
    const Dims axes = shape.size() == 3 ? Dims{1, 2} : Dims{1};
    const double n = double(numel(shape) / shape[0]);
    const Value mean = reduce(Combine::Sum, x, axes, true) * (1 / n);
    const Value d = x - expand(mean, shape);
    const Value variance = reduce(Combine::Sum, d * d, axes, true) * (1 / n);
    const Value y = d * expand(1.0 / sqrt(variance + 1e-5), shape) * expand(w, shape);
    INFO(to_string(shape));
    check_ptx({y}, {.relative = 1e-4, .absolute = 1e-5}, ++seed);
  }
}

TEST_CASE("cuda: scans, gathers, scatters and small products") {
  CERMET_NEEDS_NVRTC();
  const Value x = param(0, {12, 40});
  const Tolerance near{.relative = 1e-5, .absolute = 1e-4};
  uint64_t seed = 300;
  for (const int64_t axis : {0, 1})
    for (const bool reverse : {false, true})
      check_ptx({scan(Combine::Sum, x, axis, reverse), scan(Combine::Max, x, axis, reverse)}, near,
                ++seed);
  const Value index = param(1, {5, 40}, DType::I64);  // 0, 1 or 2
  check_ptx({gather(x, index, 0)}, {}, ++seed);
  check_ptx({scatter(Combine::Sum, x, index, param(2, {5, 40}), 0)}, near, ++seed);
  check_ptx({dot(param(0, {2, 33, 20}), param(1, {2, 20, 17}))}, near, ++seed);
  check_ptx({dot(param(0, {1, 1, 500}), param(1, {1, 500, 64}))}, near, ++seed);
}

TEST_CASE("cuda: an index out of range is reported, and nothing is touched there") {
  CERMET_NEEDS_NVRTC();
  const Graph graph = graph_over({gather(param(0, {4, 8}), param(1, {3, 8}, DType::I64), 0)});
  std::vector<HostArray> parameters = {numbers_between(DType::F32, {4, 8}, 0, 1, 1),
                                       HostArray(DType::I64, {3, 8})};
  parameters[1].set_bits(1, 7);
  const PtxRun run = run_ptx(graph, parameters);
  CHECK(run.violations == "");
  CHECK(run.report.find("index 7 is out of range for an axis of 4 elements") != std::string::npos);
}

TEST_CASE("cuda: contiguous maps touch every sector once") {
  CERMET_NEEDS_NVRTC();
  for (const DType dtype : {DType::F32, DType::F16, DType::F64, DType::U8}) {
    INFO(name(dtype));
    const int64_t n = 1 << 13;
    const PtxRun run = check_ptx({param(0, {n}, dtype) + param(1, {n}, dtype)});
    CHECK(run.launches == 1);
    CHECK(run.counters.global_load_sectors == 2 * uint64_t(n) * size_of(dtype) / 32);
    CHECK(run.counters.global_store_sectors == uint64_t(n) * size_of(dtype) / 32);
  }
  // Softmax reads its input once and writes its output once.
  const Value x = param(0, {64, 512});
  const Value e = exp(x - reduce(Combine::Max, x, Dims{1}, true));
  const PtxRun run = check_ptx({e / reduce(Combine::Sum, e, Dims{1}, true)}, {.relative = 3e-5});
  CHECK(run.launches == 1);
  CHECK(run.counters.global_load_sectors == 64 * 512 / 8);
  CHECK(run.counters.global_store_sectors == 64 * 512 / 8);
}
