// Products with few rows or columns, and with small results of long sums, on a GPU, run on the PTX
// interpreter: what they compute, and that every element of the large operand is read once, in
// whole sectors.

#include <fmt/format.h>

#include "compiler/run_ptx.h"
#include "ir/build.h"
#include "ir/interpreter.h"
#include "support/cuda.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

// A matrix whose rows, or whose columns, follow each other in memory.
Value matrix(int64_t slot, DType dtype, int64_t batch, int64_t m, int64_t n, bool turned) {
  if (!turned) return parameter(slot, dtype, {batch, m, n});
  return transpose(parameter(slot, dtype, {batch, n, m}), 1, 2);
}

}  // namespace

TEST_CASE("cuda thin: few rows or columns, of every layout, size and dtype") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 0;
  struct Case {
    DType dtype;
    int64_t batch, few, many, terms;
  };
  const Case cases[] = {
      {DType::F32, 1, 1, 640, 512},  {DType::F32, 2, 3, 100, 130}, {DType::F32, 1, 15, 65, 129},
      {DType::BF16, 1, 8, 512, 256}, {DType::F16, 3, 2, 77, 200},  {DType::F64, 1, 4, 128, 160},
      {DType::I32, 1, 5, 70, 131},   {DType::I8, 1, 2, 96, 144},
  };
  for (const Case& c : cases)
    for (const bool turned : {false, true}) {
      INFO(fmt::format("{} {} x {} x {} x {}, {}", name(c.dtype), c.batch, c.few, c.many, c.terms,
                       turned));
      // Rows are few, then columns are.
      for (const bool rows : {true, false}) {
        const int64_t m = rows ? c.few : c.many, n = rows ? c.many : c.few;
        const Value a = matrix(0, c.dtype, c.batch, m, c.terms, turned != rows);
        const Value b = matrix(1, c.dtype, c.batch, c.terms, n, turned == rows);
        CHECK(check_products_ptx({dot(a, b)}, product_tolerance(c.dtype, c.terms), 90, ++seed)
                  .launches == 1);
      }
    }
}

TEST_CASE("cuda thin: a prologue and an epilogue") {
  CERMET_NEEDS_NVRTC();
  const int64_t m = 3, k = 260;
  for (const int64_t n : {128, 131})
    for (const bool turned : {false, true}) {
      const Value x = parameter(0, DType::F32, {2, m, k}),
                  w = matrix(1, DType::F32, 2, k, n, turned);
      const Value b = parameter(2, DType::F32, {n}), s = parameter(3, DType::F32, {2, k, 1});
      // 1 where the operand is masked: cosines of zero.
      const auto cosine = [](const Value& v) { return 1.0 - v * v * 0.5; };
      const Value y = maximum(dot(cosine(x), w * s) + b, constant(DType::F32, {}, 0.0));
      const PtxRun run = check_products_ptx({y, transpose(dot(x, cosine(w)), 1, 2)},
                                            {.relative = 1e-5, .absolute = 1e-2}, 90, uint64_t(n));
      CHECK(run.launches == 2);
    }
}

TEST_CASE("cuda thin: the large operand is read once, in whole sectors") {
  CERMET_NEEDS_NVRTC();
  for (const DType dtype : {DType::F32, DType::BF16})
    for (const int64_t rows : {1, 4, 8})
      for (const bool turned : {false, true}) {
        const int64_t k = 512, n = 2048, size = int64_t(size_of(dtype));
        INFO(name(dtype) << " " << rows << " rows, " << (turned ? "[n][k]" : "[k][n]"));
        const PtxRun run = check_products_ptx(
            {dot(parameter(0, dtype, {1, rows, k}), matrix(1, dtype, 1, k, n, turned))},
            product_tolerance(dtype, k), 90, 3);
        CHECK(run.launches == 1);
        // The others are of x, which stays in the cache; they are few for every matrix element.
        const auto matrix_sectors = uint64_t(k * n * size / 32);
        CHECK(run.counters.global_load_sectors >= matrix_sectors);
        CHECK(run.counters.global_load_sectors <= matrix_sectors * uint64_t(rows + 1));
        CHECK(run.counters.count("ld.global") <=
              uint64_t(k * n * size / 16 / 32) * uint64_t(rows + 1));
        // A block has as few as 8 results of a row.
        CHECK(run.counters.global_store_sectors <=
              uint64_t(rows * n * std::max<int64_t>(4, size) / 32));
      }
}

TEST_CASE("cuda thin: small results of long sums are added up in parts") {
  CERMET_NEEDS_NVRTC();
  for (const DType dtype : {DType::F32, DType::F16, DType::BF16}) {
    const int64_t k = 16384;
    INFO(name(dtype));
    const PtxRun run =
        check_products_ptx({dot(parameter(0, dtype, {1, 64, k}), parameter(1, dtype, {1, k, 64}))},
                           product_tolerance(dtype, k), 90, 5);
    CHECK(run.launches == 2);
    // f16 and bf16 stay on tensor cores, copied, with their parts in f32.
    CHECK((run.counters.mma > 0) == (dtype != DType::F32));
    CHECK((run.counters.count("cp.async") > 0) == (dtype != DType::F32));
    const PtxRun thin =
        check_products_ptx({dot(parameter(0, dtype, {1, 4, k}), parameter(1, dtype, {1, k, 96}))},
                           product_tolerance(dtype, k), 90, 5);
    CHECK(thin.launches == 2);
  }
}
