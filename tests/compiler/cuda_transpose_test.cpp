// Maps that go through tiles in shared memory: their results, and that memory is touched as rarely
// as that allows.

#include "compiler/cuda/nvrtc.h"
#include "compiler/cuda/print.h"
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

uint64_t sectors(int64_t elements, DType dtype) { return uint64_t(elements) * size_of(dtype) / 32; }

// Requests of 4 bytes to shared memory need a pass over the banks each, of 8 bytes two.
void expect_no_conflicts(const ptxsim::Counters& counters, uint64_t passes = 1) {
  CHECK(counters.shared_load_requests > 0);
  CHECK(counters.shared_load_wavefronts == passes * counters.shared_load_requests);
  CHECK(counters.shared_store_wavefronts == passes * counters.shared_store_requests);
}

// A result of its own, whatever its view.
Value stored(const Value& x) { return barrier(x); }

}  // namespace

TEST_CASE("cuda transpose: every dtype touches every sector once, without bank conflicts") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 0;
  for (const DType dtype : all_dtypes) {
    INFO(name(dtype));
    const PtxRun run = check_ptx({stored(transpose(param(0, {96, 64}, dtype), 0, 1))}, {}, ++seed);
    CHECK(run.launches == 1);
    CHECK(run.counters.global_load_sectors == sectors(96 * 64, dtype));
    CHECK(run.counters.global_store_sectors == sectors(96 * 64, dtype));
    expect_no_conflicts(run.counters, size_of(dtype) == 8 ? 2 : 1);
  }
}

TEST_CASE("cuda transpose: batches, orders of three axes, and short axes") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 100;
  for (const Dims& order : {Dims{0, 2, 1}, Dims{2, 1, 0}, Dims{2, 0, 1}, Dims{1, 2, 0}}) {
    INFO(to_string(order));
    const PtxRun run = check_ptx({stored(permute(param(0, {8, 32, 64}), order))}, {}, ++seed);
    CHECK(run.counters.global_load_sectors == 8 * 32 * 64 / 8);
    CHECK(run.counters.global_store_sectors == 8 * 32 * 64 / 8);
  }
  // Images of three channels, from and to channels that come last.
  for (const Dims& order : {Dims{0, 2, 1}, Dims{0, 1, 2}}) {
    const Value x = order[1] == 2 ? param(0, {2, 3, 256}) : transpose(param(0, {2, 256, 3}), 1, 2);
    const PtxRun run = check_ptx({stored(permute(x, order))}, {}, ++seed);
    CHECK(run.counters.global_load_sectors <= 2 * 3 * 256 / 8 * 5 / 4);
    CHECK(run.counters.global_store_sectors <= 2 * 3 * 256 / 8 * 5 / 4);
  }
  for (const Shape& shape : {Shape{33, 31}, Shape{1, 999}, Shape{65, 129}, Shape{5, 300}})
    for (const DType dtype : {DType::F32, DType::F16, DType::U8}) {
      INFO(to_string(shape) << name(dtype));
      const PtxRun run = check_ptx({stored(transpose(param(0, shape, dtype), 0, 1))}, {}, ++seed);
      // Lines of a tile begin inside of a sector: one more for each.
      const auto bytes = uint64_t(numel(shape)) * size_of(dtype);
      CHECK(run.counters.global_load_sectors <=
            bytes / 32 + 2 * bytes / (32 * size_of(dtype)) + 16);
    }
}

TEST_CASE("cuda transpose: slices and flips on the way") {
  CERMET_NEEDS_NVRTC();
  const Value x = param(0, {70, 90});
  const Value part = slice(slice(x, 0, 3, 67, 1), 1, 5, 81, 1);
  check_ptx({stored(transpose(part, 0, 1))}, {}, 201);
  check_ptx({stored(transpose(flip(part, 1), 0, 1))}, {}, 202);
  check_ptx({stored(transpose(flip(x, 0), 0, 1))}, {}, 203);
  check_ptx({stored(transpose(slice(x, 1, 0, 45, 2), 0, 1))}, {}, 204);
  check_ptx({stored(transpose(pad(x, 1, 3, 2), 0, 1)), stored(transpose(pad(x, 0, 1, 5), 0, 1))},
            {}, 205);
}

TEST_CASE("cuda transpose: elementwise work before and after, operands of several layouts") {
  CERMET_NEEDS_NVRTC();
  const Value a = param(0, {64, 96}), b = param(1, {96, 64}), c = param(2, {96, 64}, DType::F16),
              row = param(3, {96}), column = param(4, {64});
  const Value y = transpose(a * 2.0 + expand(row, Shape{64, 96}), 0, 1) * b + cast(c, DType::F32) +
                  expand(column, Shape{96, 64});
  const PtxRun run = check_ptx({y}, {}, 300);
  CHECK(run.launches == 1);
  const uint64_t n = 96 * 64;
  CHECK(run.counters.global_store_sectors == n / 8);
  CHECK(run.counters.global_load_sectors <= n / 8 + n / 8 + n / 16 + n / 16);
  expect_no_conflicts(run.counters);
  // Both a result and its transpose, of different dtypes.
  const Value z = a + transpose(b, 0, 1);
  const PtxRun both = check_ptx({z, stored(cast(transpose(z, 0, 1), DType::F64))}, {}, 301);
  CHECK(both.counters.global_load_sectors <= 3 * n / 8 + n / 4);
  // A symmetric sum.
  const Value s = param(0, {128, 128});
  const PtxRun symmetric = check_ptx({s + transpose(s, 0, 1)}, {}, 302);
  CHECK(symmetric.launches == 1);
  CHECK(symmetric.counters.global_load_sectors == 2 * 128 * 128 / 8);
  expect_no_conflicts(symmetric.counters);
}

TEST_CASE("cuda transpose: where nothing is gained there are no tiles") {
  CERMET_NEEDS_NVRTC();
  for (const Value& y :
       {param(0, {64, 64}) + 1.0, stored(transpose(param(0, {8, 8}), 0, 1)),
        stored(permute(param(0, {4, 6, 64}), Dims{1, 0, 2})),
        param(0, {64, 64}) + expand(reshape(param(1, {64}), Shape{64, 1}), Shape{64, 64})}) {
    const PtxRun run = check_ptx({y}, {}, 400);
    CHECK(run.counters.barriers == 0);
  }
}

TEST_CASE("cuda transpose: large tiles need no spills on any architecture") {
  CERMET_NEEDS_NVRTC();
  for (const int compute : architectures)
    for (const DType dtype : {DType::F32, DType::F64, DType::U8, DType::BF16}) {
      if (compute != 90 && dtype != DType::F32) continue;
      INFO("sm_" << compute << " " << name(dtype));
      const Value a = param(0, {4096, 4096}, dtype), b = param(1, {4096, 4096}, dtype);
      const Graph graph = graph_over({transpose(a, 0, 1) + b});
      const auto program = compiler::compile(graph, compiler::cuda_target(compute));
      REQUIRE(program.launches.size() == 1);
      const compiler::CudaObject object = check_machine_code(program, compute);
      REQUIRE(object.kernels.size() == 1);
      CHECK(object.kernels[0].registers <= 64);
    }
}
