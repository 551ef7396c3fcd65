// What the README of this folder claims beside workloads, as google-benchmark cases of Cermet
// alone: what it takes to record an operation, to launch what is compiled, to compile what is new,
// and to compute functions of numbers that are in the first cache; and how far sums are from exact
// ones.
//
// CERMET_NUM_THREADS=1 CERMET_CACHE_DIR=off bench_claims

#include <benchmark/benchmark.h>

#include <cmath>
#include <random>

#include "cermet/cermet.h"
#include "tools/bench/cpu/array.h"
#include "tools/bench/cpu/realtime.h"

namespace {

namespace ct = cermet;
using ct::Tensor;

Tensor thousand(uint32_t seed) { return ct::tensor(bench::numbers(1024, seed)); }

// --- recording and launching

// One of twenty operations, which are dropped unrealized.
void record_an_operation(benchmark::State& state) {
  const Tensor x = thousand(1).realize(), y = thousand(2).realize();
  constexpr int operations = 20;
  const bench::RealTime real_time;
  for (auto _ : state) {
    Tensor t = x;
    for (int i = 0; i < operations; ++i) t = t * y;
    benchmark::DoNotOptimize(t);
  }
  state.counters["each"] =
      benchmark::Counter(double(state.iterations()) * operations,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(record_an_operation)->UseRealTime();

// Five operations on a thousand numbers, written anew and launched.
void launch_five_operations(benchmark::State& state) {
  const Tensor x = thousand(1).realize(), y = thousand(2).realize();
  ct::clamp((x * 1.01 + 0.1) - y, -1.0, 1.0).realize();
  const bench::RealTime real_time;
  for (auto _ : state) {
    const Tensor t = ct::clamp((x * 1.01 + 0.1) - y, -1.0, 1.0);
    t.realize();
  }
}
BENCHMARK(launch_five_operations)->UseRealTime();

// --- compiling

// A kernel of ten operations that was never seen: which ones, the bits of a number say.
void compile_ten_operations(benchmark::State& state) {
  constexpr int operations = 10, kinds = 1 << operations;
  const Tensor x = thousand(1).realize(), y = thousand(2).realize();
  static int next = 0;
  const auto kernel = [&](int bits) {
    Tensor t = x;
    for (int i = 0; i < operations; ++i, bits >>= 1) t = (bits & 1) != 0 ? t * y : t - y;
    t.realize();
  };
  kernel(next++);  // loads LLVM
  const int64_t before = ct::statistics().compiles;
  const bench::RealTime real_time;
  for (auto _ : state) {
    if (next == kinds) return state.SkipWithError("no kernels are left");
    kernel(next++);
  }
  if (ct::statistics().compiles - before < state.iterations())
    state.SkipWithError("kernels were found on disk: set CERMET_CACHE_DIR=off");
}
BENCHMARK(compile_ten_operations)->UseRealTime()->Iterations(50)->Unit(benchmark::kMillisecond);

// --- functions

// f of products of 4096 numbers, which stay in the first cache, with each of a thousand others, and
// the greatest of them: what is beside f costs one multiplication and one maximum.
void function_in_cache(benchmark::State& state, Tensor (*f)(const Tensor&), bool positive) {
  constexpr int64_t columns = 4096, rows = 1024;
  std::vector<float> values = bench::numbers(columns, 1, 4), factors = bench::numbers(rows, 2);
  if (positive)
    for (auto* list : {&values, &factors})
      for (float& value : *list) value = std::fabs(value) + 0.01F;
  const Tensor x = ct::tensor(values, {1, columns}), y = ct::tensor(factors, {rows, 1});
  const auto call = [&] { f(x * y).amax(1).realize(); };
  call();
  const bench::RealTime real_time;
  for (auto _ : state) call();
  state.counters["each"] =
      benchmark::Counter(double(state.iterations()) * double(columns * rows),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
#define FUNCTION(name, positive)                                                      \
  BENCHMARK_CAPTURE(                                                                  \
      function_in_cache, name, [](const Tensor& x) { return ct::name(x); }, positive) \
      ->UseRealTime()
FUNCTION(abs, false);  // what the loop costs without a function
FUNCTION(exp, false);
FUNCTION(log, true);
FUNCTION(tanh, false);
FUNCTION(erf, false);
FUNCTION(sin, false);
FUNCTION(sqrt, true);
FUNCTION(gelu, false);

// --- sums

double relative(double value, double exact) { return std::fabs(value - exact) / std::fabs(exact); }

// Of 2^24 numbers in [0, 1) as float32, against the sum as float64.
void error_of_sum(benchmark::State& state) {
  std::vector<float> values = bench::numbers(1 << 24, 1, 0.5F);
  double exact = 0;
  for (float& value : values) exact += value += 0.5F;
  const Tensor x = ct::tensor(values);
  double error = 0;
  for (auto _ : state) error = relative(x.sum().item<float>(), exact);
  state.counters["error"] = error;
}
BENCHMARK(error_of_sum)->Iterations(1)->Unit(benchmark::kMillisecond);

// Of numbers around 10000, whose squares cancel.
void error_of_variance(benchmark::State& state) {
  std::vector<float> values = bench::numbers(1 << 20, 1);
  double mean = 0, squares = 0;
  for (float& value : values) mean += value += 1e4F;
  mean /= double(values.size());
  for (const float value : values) squares += (value - mean) * (value - mean);
  const Tensor x = ct::tensor(values);
  double error = 0;
  for (auto _ : state) error = relative(x.var().item<float>(), squares / double(values.size() - 1));
  state.counters["error"] = error;
}
BENCHMARK(error_of_variance)->Iterations(1)->Unit(benchmark::kMillisecond);

// Of each row of 1024 numbers in [-10, 10): how far the shares are from adding up to one, and from
// exact ones, at most.
void error_of_softmax(benchmark::State& state) {
  constexpr size_t rows = 64, columns = 1024;
  const std::vector<float> values = bench::numbers(rows * columns, 1, 10);
  const Tensor x = ct::tensor(values, {rows, columns});
  double error = 0;
  for (auto _ : state) {
    const std::vector<float> shares = x.softmax(1).to_vector<float>();
    for (size_t r = 0; r < rows; ++r) {
      double total = 0;
      for (size_t c = 0; c < columns; ++c) total += std::exp(double(values[r * columns + c]));
      for (size_t c = 0; c < columns; ++c) {
        const size_t at = r * columns + c;
        error = std::max(error, relative(shares[at], std::exp(double(values[at])) / total));
      }
    }
  }
  state.counters["error"] = error;
}
BENCHMARK(error_of_softmax)->Iterations(1)->Unit(benchmark::kMillisecond);

// Of a product of 256 x 4096 and 4096 x 256 numbers in [0, 1), at most.
void error_of_product(benchmark::State& state) {
  constexpr size_t side = 256, inner = 4096;
  std::vector<float> a = bench::numbers(side * inner, 1, 0.5F),
                     b = bench::numbers(inner * side, 2, 0.5F);
  for (auto* list : {&a, &b})
    for (float& value : *list) value += 0.5F;
  const Tensor left = ct::tensor(a, {side, inner}), right = ct::tensor(b, {inner, side});
  double error = 0;
  for (auto _ : state) {
    const std::vector<float> product = ct::matmul(left, right).to_vector<float>();
    std::vector<double> exact(side * side);
    for (size_t i = 0; i < side; ++i)
      for (size_t k = 0; k < inner; ++k)
        for (size_t j = 0; j < side; ++j)
          exact[i * side + j] += double(a[i * inner + k]) * double(b[k * side + j]);
    for (size_t i = 0; i < exact.size(); ++i)
      error = std::max(error, relative(product[i], exact[i]));
  }
  state.counters["error"] = error;
}
BENCHMARK(error_of_product)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
