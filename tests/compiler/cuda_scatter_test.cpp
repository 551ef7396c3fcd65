// Scatters on GPUs whose updates are sorted by destination: every update is there, in order.

#include <random>

#include "compiler/fuse.h"
#include "compiler/kernels_text.h"
#include "compiler/kernels_verify.h"
#include "compiler/run_ptx.h"
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

HostArray indices(const Shape& shape, int64_t extent, uint32_t seed) {
  std::mt19937 random(seed);
  HostArray out(DType::I64, shape);
  for (int64_t& i : out.as<int64_t>()) i = int64_t(random() % uint64_t(extent));
  return out;
}

// Scatters over parameters x (0), index (1) and updates (2), of these values.
PtxRun check_scatter(const Value& result, const Shape& index_shape, int64_t extent,
                     const Tolerance& tolerance, uint64_t seed) {
  const HostArray index = indices(index_shape, extent, uint32_t(seed));
  const Graph graph = graph_over({result});
  std::vector<HostArray> parameters;
  for (const Value& p : graph.parameters)
    parameters.push_back(p->dtype == DType::I64 && p->shape == index.shape
                             ? index
                             : numbers_between(p->dtype, p->shape, 0, 9, seed + parameters.size()));
  PtxRun run = clean_run(graph, parameters, seed % 2 == 0 ? 90 : 80, seed);
  expect_same(run.results, interpret(graph, parameters), tolerance);
  return run;
}

}  // namespace

TEST_CASE("cuda scatter: a few places take many updates, of every dtype and kind") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 0;
  for (const DType dtype : {DType::F32, DType::U8, DType::F16})
    for (const Combine combine :
         {Combine::Set, Combine::Sum, Combine::Prod, Combine::Max, Combine::Min}) {
      INFO(name(dtype) << " " << name(combine));
      Value updates = param(2, {300}, dtype);
      if (is_float(dtype) && combine == Combine::Prod) updates = updates * 0.1;
      const double step = dtype == DType::F16 ? 1e-2 : 1e-5;
      check_scatter(scatter(combine, param(0, {7}, dtype), param(1, {300}, DType::I64), updates, 0),
                    {300}, 7, {.relative = step, .absolute = step}, ++seed);
    }
}

TEST_CASE("cuda scatter: rows of a table, whose columns share their indices") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 100;
  for (const int64_t columns : {64, 5}) {
    const Value index =
        expand(reshape(param(1, {500}, DType::I64), Shape{500, 1}), Shape{500, columns});
    const Value updates = floor(param(2, {500, columns}));
    for (const Combine combine : {Combine::Sum, Combine::Set}) {
      const PtxRun run =
          check_scatter(scatter(combine, param(0, {90, columns}), index, updates * 2.0, 0), {500},
                        90, {.absolute = 1e-3}, ++seed);
      if (columns == 64 && combine == Combine::Sum)  // each update is read once, in whole sectors
        CHECK(run.counters.count("ld.global.nc.v4") + run.counters.count("ld.global.v4") > 0);
    }
  }
}

TEST_CASE("cuda scatter: every row with indices of its own, also computed ones, along any axis") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 200;
  for (const int64_t axis : {0, 1, 2}) {
    Shape shape = {3, 4, 5};
    shape[size_t(axis)] = 200;
    Shape base = shape;
    base[size_t(axis)] = 11;
    const Value index = param(1, shape, DType::I64);
    const Value x = param(0, base, DType::I32), updates = param(2, shape, DType::I32);
    check_scatter(scatter(Combine::Sum, x, index, updates, axis), shape, 11, {}, ++seed);
    const Value ten = constant(DType::I64, shape, int64_t(10));
    check_scatter(scatter(Combine::Set, x, ten - index, updates, axis), shape, 11, {}, ++seed);
  }
}

TEST_CASE("cuda scatter: many updates of few places are the work of many threads") {
  CERMET_NEEDS_NVRTC();
  uint64_t seed = 400;
  for (const DType dtype : {DType::F32, DType::I32, DType::F16})
    for (const Combine combine : {Combine::Sum, Combine::Prod, Combine::Max, Combine::Min}) {
      if (combine == Combine::Prod && dtype != DType::I32) continue;
      INFO(name(dtype) << " " << name(combine));
      const int64_t count = combine == Combine::Min ? 5003 : 5000;  // a prime: the last chunk lacks
      const Value updates = combine == Combine::Sum && is_float(dtype)
                                ? param(2, {count}, dtype) * 0.01
                                : param(2, {count}, dtype);
      const double step = dtype == DType::F16 ? 2e-2 : 1e-5;  // the interpreter rounds every sum
      check_scatter(
          scatter(combine, param(0, {3}, dtype), param(1, {count}, DType::I64), updates, 0),
          {count}, 3, {.relative = step, .absolute = step}, ++seed);
    }
  // Columns with the same indices, and with their own.
  const Value rows = param(2, {2048, 6});
  const Value same = expand(reshape(param(1, {2048}, DType::I64), Shape{2048, 1}), rows->shape);
  check_scatter(scatter(Combine::Sum, param(0, {5, 6}), same, rows, 0), {2048}, 5,
                {.relative = 1e-5}, ++seed);
  check_scatter(scatter(Combine::Max, param(0, {2, 5}), param(1, {2, 2048}, DType::I64),
                        param(2, {2, 2048}), 1),
                {2, 2048}, 5, {}, ++seed);
  // All of them to one place: no thread does more than a chunk, or a share of the chunks.
  const Graph graph = graph_over({scatter(
      Combine::Sum, param(0, {4}), param(1, {1 << 16}, DType::I64), param(2, {1 << 16}), 0)});
  const HostArray parameters[] = {HostArray(DType::F32, {4}), HostArray(DType::I64, {1 << 16}),
                                  numbers_between(DType::F32, {1 << 16}, 0, 9, seed)};
  const PtxRun run = clean_run(graph, parameters, 90, seed);
  expect_same(run.results, interpret(graph, parameters), {.relative = 1e-4});
  CHECK(run.launches <= 4);
  CHECK(run.counters.warp_instructions < 150'000);  // a thread alone: a million
}

TEST_CASE("cuda scatter: an index out of range is reported and nothing is written for it") {
  CERMET_NEEDS_NVRTC();
  const Graph graph =
      graph_over({scatter(Combine::Sum, param(0, {8}, DType::I32), param(1, {200}, DType::I64),
                          param(2, {200}, DType::I32), 0)});
  std::vector<HostArray> parameters = {HostArray(DType::I32, {8}), indices({200}, 8, 1),
                                       numbers_between(DType::I32, {200}, 0, 9, 1)};
  parameters[1].set_bits(77, 8);
  const PtxRun run = run_ptx(graph, parameters);
  CHECK(run.violations == "");
  CHECK(run.report.find("index 8 is out of range for an axis of 8 elements") != std::string::npos);
}

TEST_CASE("cuda scatter: only many updates in few rows are sorted; kernels are valid text") {
  const auto kernels = [](const Shape& x, const Shape& updates, int64_t axis) {
    const Graph graph = graph_over({scatter(
        Combine::Sum, param(0, x), param(1, updates, DType::I64), param(2, updates), axis)});
    const compiler::KernelProgram program = compiler::fuse(graph, compiler::cuda_target(90));
    CHECK(compiler::verify_kernels(program) == std::vector<std::string>());
    const std::string text = compiler::print_kernels(program);
    CHECK(compiler::print_kernels(compiler::parse_kernels(text)) == text);
    return program.kernels.size();
  };
  CHECK(kernels({10}, {1000}, 0) == 3);  // a copy of x, the sort, the scatter
  CHECK(kernels({10}, {100}, 0) == 2);
  CHECK(kernels({40000, 10}, {40000, 200}, 1) == 2);
  CHECK(kernels({10, 40}, {1000, 40}, 0) == 4);  // the indices of a row must follow each other
}

TEST_CASE("cuda scatter: gathers of whole vectors stay inside of what a GPU may read at once") {
  CERMET_NEEDS_NVRTC();
  // Four columns of a table of five: rows do not begin at multiples of 16 bytes.
  const Value part = slice(param(0, {30, 5}), 1, 0, 4);
  const Value index = expand(reshape(param(1, {200}, DType::I64), Shape{200, 1}), Shape{200, 4});
  check_scatter(gather(part, index, 0) + param(2, {200, 4}), {200}, 30, {}, 301);
}

TEST_CASE("cuda scatter: gathered rows are read and written in whole sectors") {
  CERMET_NEEDS_NVRTC();
  const Value index = expand(reshape(param(1, {500}, DType::I64), Shape{500, 1}), Shape{500, 64});
  const PtxRun run = check_scatter(gather(param(0, {90, 64}), index, 0), {500}, 90, {}, 302);
  CHECK(run.launches == 1);
  const uint64_t rows = 500 * 64 / 8;
  CHECK(run.counters.global_store_sectors == rows);
  // Two rows to a warp: the sectors of their indices come on top.
  CHECK(run.counters.global_load_sectors <= rows + 500);
}

TEST_CASE("cuda scatter: the gradient of a table needs no spills on any architecture") {
  CERMET_NEEDS_NVRTC();
  for (const int compute : architectures)
    for (const DType dtype : {DType::F32, DType::BF16}) {
      if (compute != 90 && dtype != DType::F32) continue;
      const Shape shape = {8192, 768};
      const Value index = expand(reshape(param(1, {8192}, DType::I64), Shape{8192, 1}), shape);
      const Graph graph = graph_over(
          {scatter(Combine::Sum, param(0, {50257, 768}, dtype), index, param(2, shape, dtype), 0)});
      const auto program = compiler::compile(graph, compiler::cuda_target(compute));
      CHECK(program.launches.size() == 3);  // a copy, the sort, the scatter
      const compiler::CudaObject object = check_machine_code(program, compute);
      for (const compiler::CudaResources& kernel : object.kernels) CHECK(kernel.registers <= 80);
    }
}
