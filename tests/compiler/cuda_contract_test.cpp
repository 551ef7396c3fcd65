// Matrix products for GPUs as the assembler makes them: no spills in any layout on any
// architecture, and the instructions of their main loops.

#include <algorithm>

#include "compiler/cuda/nvrtc.h"
#include "compiler/loops_text.h"
#include "compiler/program.h"
#include "ir/build.h"
#include "support/catch.h"
#include "support/cubin.h"
#include "support/cuda.h"
#include "support/machine_code.h"
#include "support/param.h"

using namespace cermet;
using compiler::Numerics;
using ir::Value;
using test::param;

namespace {

Value turned(int64_t slot, int64_t m, int64_t n, DType dtype = DType::F32) {
  return ir::transpose(param(slot, {1, n, m}, dtype), 1, 2);
}

compiler::Program lowered(const Value& result, int compute, Numerics numerics) {
  ir::Graph graph;
  for (const ir::Node* node : ir::topological_order({&result, 1}))
    if (node->op == ir::Op::Parameter) graph.parameters.push_back(Value(node));
  graph.results = {result};
  compiler::Target target = compiler::cuda_target(compute);
  target.numerics = numerics;
  return compiler::compile(graph, target);
}

// Of the first kernel, all of which have no spills.
struct Assembled {
  std::string loops;
  compiler::CudaResources resources;
  test::SassCensus census;
};
Assembled assembled(const Value& result, int compute, Numerics numerics = {}) {
  const compiler::Program program = lowered(result, compute, numerics);
  const compiler::CudaObject object = test::check_machine_code(program, compute);
  REQUIRE(object.kernels.size() == program.launches.size());
  return {compiler::loops::print(program.launches[0].kernel.function), object.kernels[0],
          test::read_cubin(object.cubin).begin()->second};
}

}  // namespace

TEST_CASE("cuda contract: exact tiles fit twice, and no layout spills") {
  CERMET_NEEDS_NVRTC();
  const int64_t n = 2048, k = 256;
  const Value plain = dot(param(0, {1, n, k}), param(1, {1, k, n}));
  const Value both = dot(turned(0, n, k), turned(1, k, n));
  const Value biased = maximum(plain + param(2, {n}), ir::constant(DType::F32, {}, 0.0));
  const Value odd = dot(param(0, {1, n - 1, k - 1}), param(1, {1, k - 1, n - 1}));
  const Value window =
      conv(param(0, {1, 8, 128, 66, 66}), param(1, {1, 128, 128, 3, 3}), Dims{1, 1}, Dims{1, 1});
  for (const int compute : {75, 80, 86, 89, 90, 120}) {
    CHECK(assembled(plain, compute).resources.registers <= 128);
    const bool oldest = compute == 75, newest = compute == 120;
    if (oldest || newest || compute == 90)
      for (const Value& result : {both, biased, odd}) assembled(result, compute);
    if (newest || compute == 90) assembled(window, compute);
  }
}

TEST_CASE("cuda contract: tf32 tiles and thin products do not spill") {
  CERMET_NEEDS_NVRTC();
  const int64_t n = 4096, k = 256;
  for (const int compute : {80, 90, 120})
    for (const bool turn : {false, true}) {
      const Value a = turn ? turned(0, n, k) : param(0, {1, n, k});
      const Value b = turn ? turned(1, k, n) : param(1, {1, k, n});
      const Assembled tiles = assembled(dot(a, b), compute, {.tf32 = true});
      CHECK(tiles.census["HMMA"] == 64);
      for (const int64_t rows : {1, 8, 15}) {
        if (compute != 90 && rows != 15) continue;
        const DType dtype = rows == 8 ? DType::BF16 : DType::F32;
        const Value w = turn ? turned(1, k, n, dtype) : param(1, {1, k, n}, dtype);
        const Assembled thin = assembled(dot(param(0, {1, rows, k}, dtype), w), compute);
        INFO(thin.census.text());
        CHECK(thin.census["LDG.128"] >= 4);
        CHECK(thin.resources.registers <= 200);
      }
    }
}

TEST_CASE("cuda contract: a tensor tile's loop is copies in the shade of products, little else") {
  CERMET_NEEDS_NVRTC();
  const Value product =
      dot(param(0, {1, 8192, 8192}, DType::BF16), param(1, {1, 8192, 8192}, DType::BF16));
  for (const int compute : {80, 90}) {
    const Assembled tile = assembled(product, compute);
    INFO(tile.census.text());
    CHECK(tile.census["HMMA"] == 64);
    CHECK(tile.census["LDSM"] == 16);
    CHECK(tile.census["LDGSTS"] == 4 * 6);  // three steps before the loop, one in it
    CHECK(tile.census.instructions < 1000);
    // The first matrices are asked for, then the copies of a later step, then products begin.
    const size_t loop = tile.loops.find("copy_wait i64 2");
    REQUIRE(loop != std::string::npos);
    const size_t matrix = tile.loops.find("load_matrix", loop),
                 copies = tile.loops.find("copy_async", loop),
                 first = tile.loops.find(" = mma", loop);
    CHECK(matrix < copies);
    CHECK(copies < first);
  }
}
