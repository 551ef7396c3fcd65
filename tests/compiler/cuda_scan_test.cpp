// Scans on GPUs: by teams of threads along rows, one thread a column, and in chunks.

#include "compiler/run_ptx.h"
#include "compiler/split_scans.h"
#include "ir/build.h"
#include "ir/interpreter.h"
#include "support/cuda.h"
#include "support/machine_code.h"
#include "support/param.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

// All ways to scan an axis.
std::vector<Value> every_scan(const Value& x, int64_t axis) {
  std::vector<Value> out;
  for (const Combine combine : {Combine::Sum, Combine::Max, Combine::Min})
    for (const bool reverse : {false, true})
      for (const bool exclusive : {false, true}) {
        if (exclusive && combine != Combine::Sum) continue;
        out.push_back(scan(combine, x, axis, reverse, exclusive));
      }
  return out;
}

}  // namespace

TEST_CASE("cuda scan: rows of every length, by parts of warps to blocks in steps") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 0;
  for (const Shape& shape : {Shape{3, 2}, Shape{5, 7}, Shape{9, 33}, Shape{70, 128}, Shape{2, 1000},
                             Shape{2, 4099}, Shape{1, 16384}}) {
    INFO(to_string(shape));
    // Whole numbers: floats have one right answer too.
    check_ptx(every_scan(param(0, shape, DType::I32), 1), {}, ++seed);
    check_ptx(every_scan(floor(param(0, shape)), 1), {.signed_zeros = false}, ++seed);
  }
  check_ptx({scan(Combine::Prod, param(0, {3, 300}), 1)}, {.relative = 1e-4}, ++seed);
}

TEST_CASE("cuda scan: every dtype along both axes") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 100;
  for (const DType dtype : all_dtypes) {
    if (is_bool(dtype)) continue;
    INFO(name(dtype));
    const double step = dtype == DType::BF16 ? 1e-2 : dtype == DType::F16 ? 2e-3 : 1e-5;
    const Value x = param(0, {6, 160}, dtype);
    check_ptx({scan(Combine::Sum, x, 1), scan(Combine::Sum, x, 0), scan(Combine::Max, x, 1, true)},
              {.relative = step, .absolute = 16 * step}, ++seed);
  }
}

TEST_CASE("cuda scan: rows are read and written once, in whole sectors") {
  CERMET_NEEDS_NVRTC();
  const Value x = param(0, {16, 2048});
  const PtxRun run =
      check_ptx({scan(Combine::Sum, x * 0.5, 1) + 1.0}, {.relative = 1e-5, .absolute = 1e-3}, 200);
  CHECK(run.launches == 1);
  CHECK(run.counters.global_load_sectors == 16 * 2048 / 8);
  CHECK(run.counters.global_store_sectors == 16 * 2048 / 8);
  // A scan of a scan, and of a row that is few elements wide.
  check_ptx({scan(Combine::Sum, scan(Combine::Max, x, 1), 1)}, {.relative = 1e-4, .absolute = 1e-3},
            201);
  check_ptx(every_scan(param(0, {500, 3}, DType::I64), 0), {}, 202);
}

TEST_CASE("cuda scan: long rows and columns are done in chunks, in every direction") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 300;
  for (const auto& [shape, axis] : {std::pair<Shape, int64_t>{{2, 49152}, 1},
                                    {{40961}, 0},
                                    {{1024, 40}, 0},
                                    {{2, 1031, 10}, 1}}) {
    INFO(to_string(shape));
    check_ptx(every_scan(param(0, shape, DType::I32), axis), {}, ++seed);
    const Value x = floor(param(0, shape, DType::F16) * 0.25);
    check_ptx({scan(Combine::Sum, x, axis), scan(Combine::Max, x, axis, true)},
              {.relative = 1e-3, .signed_zeros = false}, ++seed);
  }
  const PtxRun run = check_ptx({scan(Combine::Sum, param(0, {65536}), 0)},
                               {.relative = 1e-4, .absolute = 1e-1}, 310);
  CHECK(run.launches == 3);
  CHECK(run.counters.global_load_sectors <= 2 * 65536 / 8 + 100);
  CHECK(run.counters.global_store_sectors <= 65536 / 8 + 20);
}

TEST_CASE("cuda scan: what has rows enough is not divided") {
  const auto divided = [](const Shape& shape, int64_t axis) {
    const Graph graph = graph_over({scan(Combine::Sum, param(0, shape), axis)});
    return compiler::split_scans(graph).results[0] != graph.results[0];
  };
  CHECK(divided({1 << 20}, 0));
  CHECK(divided({4096, 4096}, 0));
  CHECK(divided({63, 40000}, 1));
  CHECK(!divided({64, 40000}, 1));
  CHECK(!divided({63, 30000}, 1));
  CHECK(!divided({100, 4096}, 0));
  CHECK(!divided({0, 4096}, 1));
}

TEST_CASE("cuda scan: teams need no spills on any architecture") {
  CERMET_NEEDS_NVRTC();
  for (const int compute : architectures)
    for (const DType dtype : {DType::F32, DType::F16, DType::I64}) {
      if (compute != 90 && dtype != DType::F32) continue;
      INFO("sm_" << compute << " " << name(dtype));
      const Graph graph = graph_over({scan(Combine::Sum, param(0, {4096, 4096}, dtype), 1, true)});
      const auto program = compiler::compile(graph, compiler::cuda_target(compute));
      REQUIRE(program.launches.size() == 1);
      const compiler::CudaObject object = check_machine_code(program, compute);
      CHECK(object.kernels.at(0).registers <= 64);
    }
}
