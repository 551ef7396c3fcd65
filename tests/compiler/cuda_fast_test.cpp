// Fast numerics on a GPU, run on the PTX interpreter: the promised errors, and the instructions
// that are saved.

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

PtxRun run(const Graph& graph, const std::vector<HostArray>& in, bool fast) {
  return clean_run(graph, in, 90, 1, {.fast = fast});
}

// Compares with the interpreter and returns the fast run.
PtxRun check(const Value& result, const std::vector<HostArray>& in, const Tolerance& tolerance) {
  const Graph graph = graph_over({result});
  PtxRun out = run(graph, in, true);
  expect_same(out.results, interpret(graph, in), tolerance);
  return out;
}

}  // namespace

TEST_CASE("cuda fast: functions are within what is promised, by the special units") {
  CERMET_NEEDS_NVRTC();
  const Shape shape = {4096};
  const Value x = param(0, shape), y = param(1, shape);
  struct Case {
    const char* unit;
    Value value;
    double low, high;
    Tolerance tolerance;
  };
  const Tolerance relative = {.relative = 0x1p-20}, absolute = {.absolute = 0x1p-20};
  const Case cases[] = {{"div.approx.ftz", x / y, 1, 100, relative},
                        {"sqrt.approx.ftz", sqrt(x), 0, 100, relative},
                        {"ex2.approx.ftz", exp(x), -16, 16, relative},
                        {"ex2.approx.ftz", exp(x), -80, 80, {.relative = 80 * 0x1p-23}},
                        {"ex2.approx.ftz", exp2(x), -80, 80, relative},
                        {"lg2.approx.ftz", log(x), 2, 1e6, relative},
                        {"lg2.approx.ftz", log(x), 0.5, 2, absolute},
                        {"lg2.approx.ftz", log2(x), 2, 1e6, relative},
                        {"lg2.approx.ftz", log10(x), 2, 1e6, relative},
                        {"ex2.approx.ftz", sigmoid(x), -60, 60, absolute},
                        {"ex2.approx.ftz", tanh(x), -20, 20, absolute},
                        {"mul", tanh(x), -0.25, 0.25, relative}};
  for (const Case& c : cases) {
    INFO(c.unit << " of [" << c.low << ", " << c.high << ")");
    const std::vector<HostArray> in = {numbers_between(DType::F32, shape, c.low, c.high, 1),
                                       numbers_between(DType::F32, shape, c.low, c.high, 2)};
    CHECK(check(c.value, in, c.tolerance).counters.count(c.unit) >= 4096 / 32);
  }
}

TEST_CASE("cuda fast: infinities and NaN are what they are otherwise") {
  CERMET_NEEDS_NVRTC();
  constexpr float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> special = {inf, -inf, NAN, 0.0f, -0.0f, 200.0f, -200.0f, 1.0f};
  const Shape shape = {8};
  const Value x = param(0, shape);
  const HostArray in(DType::F32, shape, special.data());
  for (const Value& y : {exp(x), exp2(x), log(x), sqrt(x), sigmoid(x), tanh(x), 1.0 / x, x / 3.0})
    check(y, {in}, {.relative = 0x1p-20, .absolute = 0x1p-20});
}

TEST_CASE("cuda fast: softmax and gelu take far fewer instructions than strictly") {
  CERMET_NEEDS_NVRTC();
  const Shape shape = {64, 512};
  for (const DType dtype : {DType::F32, DType::BF16}) {
    const Value x = param(0, shape, dtype);
    const Value e = exp(x - reduce(Combine::Max, x, Dims{1}, true));
    const Value inner = 0.79788456 * (x + 0.044715 * x * x * x);
    const HostArray in = numbers_between(dtype, shape, -4, 4, 3);
    for (const Value& y :
         {e / reduce(Combine::Sum, e, Dims{1}, true), 0.5 * x * (1.0 + tanh(inner))}) {
      const Tolerance tolerance = {.relative = dtype == DType::F32 ? 1e-5 : 0.03,
                                   .absolute = dtype == DType::F32 ? 1e-5 : 0.03};
      const PtxRun fast = check(y, {in}, tolerance), strict = run(graph_over({y}), {in}, false);
      CHECK(3 * fast.counters.count("") < 2 * strict.counters.count(""));
      CHECK(fast.counters.global_load_sectors == strict.counters.global_load_sectors);
    }
  }
}
