// Matrix products and convolutions in tiles on a GPU, run on the PTX interpreter: what they
// compute, at sizes around those of tiles and steps, and how they use memory.

#include <fmt/format.h>

#include <cmath>

#include "compiler/run_ptx.h"
#include "ir/build.h"
#include "ir/interpreter.h"
#include "support/cuda.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

PtxRun check_dot(DType dtype, int64_t batch, int64_t m, int64_t n, int64_t k, int compute = 90,
                 uint64_t seed = 0) {
  INFO(fmt::format("{} {} x {}x{}x{}, sm_{}", name(dtype), batch, m, n, k, compute));
  return check_products_ptx(
      {dot(parameter(0, dtype, {batch, m, k}), parameter(1, dtype, {batch, k, n}))},
      product_tolerance(dtype, k), compute, seed);
}

}  // namespace

TEST_CASE("cuda product: sizes around tiles and steps") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 0;
  for (const auto& [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{16, 16, 8},
                                {17, 16, 9},
                                {16, 33, 15},
                                {32, 32, 16},
                                {31, 65, 17},
                                {64, 64, 64},
                                {130, 20, 24},
                                {20, 260, 12},
                                {129, 129, 40}}) {
    ++seed;
    check_dot(DType::F32, 1 + int64_t(seed) % 2, m, n, k, std::array{80, 90, 120}[seed % 3], seed);
  }
  // None of these is worth a tile.
  check_dot(DType::F32, 1, 1, 40, 33);
  check_dot(DType::F32, 1, 40, 3, 33);
  check_dot(DType::F32, 1, 40, 40, 1);
  check_dot(DType::F32, 1, 40, 40, 0);
  check_dot(DType::F32, 0, 40, 40, 8);
}

TEST_CASE("cuda product: every dtype") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 10;
  for (DType dtype : all_dtypes) {
    if (is_bool(dtype)) continue;
    for (const int compute : {75, 90}) {
      check_dot(dtype, 1, 32, 48, 32, compute, ++seed);
      check_dot(dtype, 2, 19, 35, 21, compute, ++seed);
    }
  }
}

TEST_CASE("cuda product: views of operands and of the result") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 50;
  for (DType dtype : {DType::F32, DType::F64, DType::I16, DType::BF16}) {
    const int64_t m = 18, n = 36, k = 25;
    const Shape shapes[] = {{1, k, m}, {1, n, 2 * k + 1}, {1, 1, k}, {1, m - 1, k - 2}, {1, k, n}};
    std::vector<Value> p;
    for (size_t i = 0; i < std::size(shapes); ++i)
      p.push_back(parameter(int64_t(i), dtype, shapes[i]));
    const Value turned = transpose(p[0], 1, 2);
    const Value strided = transpose(slice(p[1], 2, 1, std::nullopt, 2), 1, 2);
    const Value repeated = expand(p[2], Shape{1, m, k});
    const Value padded = pad(pad(p[3], 1, 0, 1), 2, 1, 1);
    const Value folded = reshape(transpose(p[0], 1, 2), Shape{1, k, m});
    check_products_ptx(
        {dot(turned, p[4]), dot(turned, strided), dot(repeated, strided), dot(padded, p[4]),
         dot(transpose(folded, 1, 2), strided), dot(flip(turned, 2), flip(p[4], 2)),
         transpose(dot(turned, p[4]), 1, 2), slice(dot(padded, strided), 2, 1, std::nullopt, 2)},
        product_tolerance(dtype, k), 90, ++seed);
  }
}

TEST_CASE("cuda product: a prologue and an epilogue, with several results") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 70;
  for (DType dtype : {DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32})
    for (const auto& [m, n, k] :
         {std::tuple<int64_t, int64_t, int64_t>{32, 40, 16}, {33, 50, 20}}) {
      const Shape shapes[] = {{2, m, k}, {2, k, n}, {n}, {2, m, 1}, {2, m, n}};
      std::vector<Value> p;
      for (size_t i = 0; i < std::size(shapes); ++i)
        p.push_back(parameter(int64_t(i), dtype, shapes[i]));
      const Value product = dot(p[0], p[1]);
      const Value zero = constant(dtype, {}, 0.0);
      std::vector<Value> out = {maximum(product + p[2], zero),
                                product * p[3] - p[4],
                                transpose(product + p[4], 1, 2),
                                dot(p[0] * p[3], p[1] * p[2]),
                                dot(maximum(p[0], zero), neg(p[1])) + p[2],
                                cast(product, DType::F64),
                                product};
      if (is_float(dtype)) {
        out.push_back(dot(tanh(p[0]), p[1] / 3.0));
        // gelu of the biased product, a residual, and the product itself.
        const Value biased = product + p[2];
        out.push_back(biased * (tanh(biased * 0.7978845608) + 1.0) * 0.5 + p[4]);
      }
      Tolerance tolerance = product_tolerance(dtype, 40 * k);
      if (size_of(dtype) == 2) tolerance.absolute = 0.5, tolerance.relative = 3e-2;
      INFO(name(dtype) << " " << m);
      check_products_ptx(out, tolerance, 90, ++seed);
    }
}

TEST_CASE("cuda product: a product with bias, activation and residual is one kernel") {
  CERMET_NEEDS_NVRTC();
  const Value x = parameter(0, DType::F32, {1, 48, 32}), w = parameter(1, DType::F32, {1, 32, 64});
  const Value b = parameter(2, DType::F32, {64}), r = parameter(3, DType::F32, {1, 48, 64});
  const Value biased = dot(maximum(x, constant(DType::F32, {}, 0.0)), w) + b;
  const Value y = biased * (erf(biased * 0.70710678) + 1.0) * 0.5 + r;
  const PtxRun run = check_products_ptx({y, biased}, {.relative = 1e-5, .absolute = 1e-4});
  CHECK(run.launches == 1);
}

TEST_CASE("cuda product: convolutions with groups, strides, dilation and padding") {
  CERMET_NEEDS_NVRTC();
  struct Case {
    int64_t groups, images, channels, out, height, width, window_h, window_w;
    int64_t stride_h, stride_w, dilation_h, dilation_w, padding;
  };
  const Case cases[] = {
      {1, 2, 3, 16, 9, 9, 3, 3, 1, 1, 1, 1, 1},    {1, 1, 4, 18, 12, 10, 3, 2, 2, 1, 1, 2, 0},
      {2, 2, 2, 16, 8, 8, 3, 3, 2, 2, 1, 1, 1},    {1, 2, 16, 17, 6, 8, 1, 1, 1, 1, 1, 1, 0},
      {1, 3, 16, 20, 14, 14, 3, 3, 1, 1, 1, 1, 1}, {1, 1, 2, 33, 4, 40, 4, 4, 1, 1, 1, 1, 0},
      {1, 4, 1, 16, 12, 12, 5, 5, 1, 1, 1, 1, 2},
  };
  uint64_t seed = 90;
  for (DType dtype : {DType::F32, DType::F16, DType::I32})
    for (const Case& c : cases) {
      if (dtype != DType::F32 && (&c - cases) % 3 != 1) continue;
      INFO(name(dtype) << " case " << (&c - cases));
      const Value x = parameter(0, dtype, {c.groups, c.images, c.channels, c.height, c.width});
      const Value w = parameter(1, dtype, {c.groups, c.out, c.channels, c.window_h, c.window_w});
      const Value b = parameter(2, dtype, {c.groups, 1, c.out, 1, 1});
      const Value wide =
          c.padding == 0 ? x : pad(pad(x, 3, c.padding, c.padding), 4, c.padding, c.padding);
      const Value y = conv(wide, w, Dims{c.stride_h, c.stride_w}, Dims{c.dilation_h, c.dilation_w});
      const int64_t terms = c.channels * c.window_h * c.window_w;
      check_products_ptx({y, maximum(y + b, constant(dtype, {}, 0.0))},
                         product_tolerance(dtype, 4 * terms), 90, ++seed);
    }
}

TEST_CASE("cuda product: the largest tile, without bank conflicts and with whole sectors") {
  CERMET_NEEDS_NVRTC();
  const int64_t m = 1408, n = 1536, k = 16;
  const Value a = parameter(0, DType::F32, {1, m, k}), b = parameter(1, DType::F32, {1, k, n});
  const PtxRun run = check_products_ptx({dot(a, b)}, product_tolerance(DType::F32, k));
  CHECK(run.launches == 1);
  const uint64_t tiles = uint64_t(m / 128) * uint64_t(n / 128), steps = uint64_t(k / 8);
  // Each of 8 warps reads two chunks of both operands for every k, then its part of the tile.
  const uint64_t chunks = tiles * steps * 8 * 8 * 4, epilogue = tiles * 128 * 128 / 4 / 32;
  CHECK(run.counters.shared_load_requests == chunks + epilogue);
  CHECK(run.counters.shared_load_wavefronts == 4 * run.counters.shared_load_requests);
  // Along the rows one float at a time goes into a line of its own, and no two to one bank; NVRTC
  // leaves some of the other stores to the assembler to join.
  const uint64_t left = tiles * (steps + 1) * 8 * 4;
  const uint64_t wide = run.counters.count("st.shared.v4"),
                 all = run.counters.shared_store_requests;
  CHECK(run.counters.shared_store_wavefronts == left + 4 * (all - wide - left) + 4 * wide);
  CHECK(run.counters.global_load_sectors == tiles * steps * 2 * 128 * 8 / 8);
  CHECK(run.counters.global_store_sectors == uint64_t(m * n / 8));
  CHECK(run.counters.count("fma.rn.f32") == uint64_t(m * n * k / 32));
}

TEST_CASE("cuda product: tensor cores multiply f16 and bf16, copied or fetched") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 200;
  for (const DType dtype : {DType::F16, DType::BF16})
    for (const int compute : {75, 80, 90})
      for (const auto& [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{64, 64, 64},
                                    {72, 80, 40},
                                    {16, 136, 200},
                                    {33, 65, 35}}) {
        const int64_t tiles = (m + 63) / 64 * ((n + 63) / 64), steps = (k + 31) / 32;
        const PtxRun run = check_dot(dtype, 1, m, n, k, compute, ++seed);
        // 4 x 8 matrices of 16 x 8 in each tile, 16 terms at once; before sm_80 8 of f16 only.
        const int64_t products = tiles * steps * 4 * 8 * 2;
        const bool none = dtype == DType::BF16 && compute == 75;
        CHECK(run.counters.mma == uint64_t(none ? 0 : compute == 75 ? 2 * products : products));
        const bool copied = compute >= 80 && k % 8 == 0 && n % 8 == 0;
        CHECK((run.counters.count("cp.async.cg") > 0) == copied);
      }
}

TEST_CASE("cuda product: tensor cores read every layout of their operands") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 300;
  const int64_t m = 72, n = 88, k = 72;
  for (const DType dtype : {DType::F16, DType::BF16}) {
    const Value a = parameter(0, dtype, {2, m, k}), b = parameter(1, dtype, {2, k, n});
    const Value at = parameter(2, dtype, {2, k, m}), bt = parameter(3, dtype, {1, n, k});
    const Value x = transpose(at, 1, 2), y = expand(transpose(bt, 1, 2), Shape{2, k, n});
    for (const Value& left : {a, x})
      for (const Value& right : {b, y}) {
        const Value product = dot(left, right);
        std::vector<Value> all = {product, transpose(dot(left, right) + product, 1, 2)};
        // Parameters are numbered from 0 on in every graph.
        all.push_back(a + 0.0), all.push_back(b + 0.0), all.push_back(at + 0.0),
            all.push_back(bt + 0.0);
        const PtxRun run = check_products_ptx(all, {.relative = 2e-2, .absolute = 0.5}, 80, ++seed);
        CHECK(run.counters.mma > 0);
      }
  }
}

// Factors below 2 that are rounded to 11 bits, and their sum in f32.
Tolerance tf32_product_tolerance(int64_t terms) {
  Tolerance out = product_tolerance(DType::F32, terms);
  out.absolute += double(terms) * 2 * 4 * 0x1p-11;
  return out;
}

TEST_CASE("cuda product: f32 goes to tensor cores as tf32 only where that was asked for") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 400;
  for (const auto& [m, n, k] :
       {std::tuple<int64_t, int64_t, int64_t>{64, 64, 48}, {72, 80, 20}, {33, 65, 35}})
    for (const int compute : {75, 80, 90}) {
      const Value a = parameter(0, DType::F32, {1, m, k}), b = parameter(1, DType::F32, {1, k, n});
      const Value at = transpose(parameter(2, DType::F32, {1, k, m}), 1, 2);
      const Value bt = transpose(parameter(3, DType::F32, {1, n, k}), 1, 2);
      const int64_t tiles = (m + 63) / 64 * ((n + 63) / 64), steps = (k + 15) / 16;
      // 4 x 8 matrices of 16 x 8 in each tile, 8 terms at once.
      const auto products = uint64_t(tiles * steps * 4 * 8 * 2);
      const PtxRun run = check_products_ptx({dot(a, b), dot(at, bt)}, tf32_product_tolerance(k),
                                            compute, ++seed, {.tf32 = true});
      CHECK(run.counters.mma == (compute >= 80 ? 2 * products : 0));
      CHECK((run.counters.count("cp.async.cg") > 0) == (compute >= 80 && k % 4 == 0 && n % 4 == 0));
    }
}

TEST_CASE("cuda product: tf32 rounds its factors to nearest and nothing else") {
  CERMET_NEEDS_NVRTC();
  // Powers of two times 1 + 2^-11, which is half way, and 1 + 2^-10, which is representable.
  const int64_t n = 32;
  std::vector<float> left(size_t(n * n), 0.0f), right(size_t(n * n), 0.0f), expected(size_t(n * n));
  for (int64_t i = 0; i < n; ++i) {
    left[size_t(i * n + i)] = i % 2 == 0 ? -(1 + 0x1p-11f) : 1 + 0x1p-11f - 0x1p-23f;
    for (int64_t j = 0; j < n; ++j) right[size_t(i * n + j)] = std::ldexp(1.0f, int(j % 8) - 4);
    for (int64_t j = 0; j < n; ++j)  // ties go away from zero
      expected[size_t(i * n + j)] =
          (i % 2 == 0 ? -(1 + 0x1p-10f) : 1.0f) * right[size_t(i * n + j)];
  }
  const Shape shape = {1, n, n};
  const Graph graph =
      graph_over({dot(parameter(0, DType::F32, shape), parameter(1, DType::F32, shape))});
  const std::vector<HostArray> in = {HostArray(DType::F32, shape, left.data()),
                                     HostArray(DType::F32, shape, right.data())};
  const PtxRun run = run_ptx(graph, in, 80, 0, {.tf32 = true});
  CHECK(run.violations == "");
  const auto wrong = difference(run.results[0], HostArray(DType::F32, shape, expected.data()), {});
  CHECK_FALSE(wrong);
}

TEST_CASE("cuda product: the largest tf32 tiles have no bank conflicts, in every layout") {
  CERMET_NEEDS_NVRTC();
  const int64_t m = 1408, n = 3072, k = 32;
  for (const bool turned : {false, true}) {
    const Value a = turned ? transpose(parameter(0, DType::F32, {1, k, m}), 1, 2)
                           : parameter(0, DType::F32, {1, m, k});
    const Value b = turned ? transpose(parameter(1, DType::F32, {1, n, k}), 1, 2)
                           : parameter(1, DType::F32, {1, k, n});
    const PtxRun run =
        check_products_ptx({dot(a, b)}, tf32_product_tolerance(k), 90, 7, {.tf32 = true});
    CHECK(run.counters.mma == uint64_t(m * n * k / (16 * 8 * 8)));
    // One operand as matrices, the other number by number, each without conflicts; then the
    // epilogue, which reads 16 bytes at once.
    const uint64_t matrices = run.counters.count("ldmatrix"), epilogue = uint64_t(m * n / 4 / 32);
    CHECK(matrices == uint64_t(m * n / (128 * 256)) * 8 * uint64_t(k / 8) * 4);
    const uint64_t numbers = run.counters.shared_load_requests - matrices - epilogue;
    CHECK(numbers == 4 * matrices);
    CHECK(run.counters.shared_load_wavefronts == 4 * matrices + numbers + 4 * epilogue);
  }
}

TEST_CASE("cuda product: the largest tensor tiles have no bank conflicts") {
  CERMET_NEEDS_NVRTC();
  const int64_t m = 1408, n = 3072, k = 64;
  const Value a = parameter(0, DType::BF16, {1, m, k}), b = parameter(1, DType::BF16, {1, k, n});
  const PtxRun run = check_products_ptx({dot(a, b)}, product_tolerance(DType::BF16, k));
  CHECK(run.launches == 1);
  CHECK(run.counters.mma == uint64_t(m * n * k / (16 * 8 * 16)));
  // Each of 8 warps reads 4 x 16 rows and 4 x 16 columns for every 16 terms; four 8 x 8 matrices
  // are 512 bytes.
  const uint64_t tiles = uint64_t(m / 128) * uint64_t(n / 256);
  const uint64_t matrices = tiles * 8 * uint64_t(k / 16) * 8;
  CHECK(run.counters.count("ldmatrix") == matrices);
  const uint64_t others = run.counters.shared_load_requests - matrices;
  CHECK(run.counters.shared_load_wavefronts <= 4 * matrices + 8 * others);
  CHECK(run.counters.count("cp.async.cg") == tiles * uint64_t(k / 32 + 3) * 8 * 6);
  CHECK(run.counters.global_store_sectors == uint64_t(m * n * 2 / 32));
}
