// Strict and fast arithmetic, as a program asks for them.

#include "cermet/numerics.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <random>
#include <thread>

#include "api/errors.h"
#include "cermet/cermet.h"
#include "support/catch.h"

using namespace cermet;

namespace {

// What is set by a test holds until its end.
struct Restore {
  ~Restore() {
    set_fast_math(false);
    set_float32_matmul_precision("highest");
  }
};

// Their product is not representable, so that one rounding and two differ.
constexpr float a = 1 + 0x1p-12f, b = 1 + 0x1p-13f, c = -(1 + 0x1p-12f + 0x1p-13f);

float multiply_and_add() {
  const auto of = [](float x) { return tensor(std::vector<float>(64, x), {64}); };
  return (of(a) * of(b) + of(c)).to_vector<float>()[7];
}

// `count` numbers, uniform in [low, low + width).
std::vector<float> uniform(size_t count, uint64_t seed, float low, float width) {
  std::mt19937_64 random(seed);
  std::vector<float> out(count);
  for (float& x : out) x = low + width * float(random() >> 40) * 0x1p-24f;
  return out;
}

double relative_error(double value, double exact) {
  return std::abs(value - exact) / std::abs(exact);
}

}  // namespace

// The same four as in tools/bench/cpu/claims.cpp, which prints them.
TEST_CASE("numerics: sums, variances, softmax and products are near those of float64") {
  SECTION("a sum of 2^24 numbers") {
    const std::vector<float> x = uniform(1 << 24, 1, 0, 1);
    double sum = 0;
    for (const float value : x) sum += value;
    CHECK(relative_error(tensor(x).sum().item<float>(), sum) < 1e-7);
  }
  SECTION("a variance of numbers around 10000, whose squares would cancel") {
    const std::vector<float> x = uniform(1 << 20, 2, 1e4f - 1, 2);
    double mean = 0, squares = 0;
    for (const float value : x) mean += value / double(x.size());
    for (const float value : x) squares += (value - mean) * (value - mean);
    // The mean, a float32 near 10000, is off by up to 4.9e-4, whose square is 7.2e-7 of the
    // variance.
    CHECK(relative_error(tensor(x).var().item<float>(), squares / double(x.size() - 1)) < 1e-6);
  }
  SECTION("softmax of rows of 1024") {
    constexpr size_t rows = 16, columns = 1024;
    const std::vector<float> x = uniform(rows * columns, 3, -10, 20);
    const std::vector<float> y = tensor(x, {rows, columns}).softmax(1).to_vector<float>();
    double worst = 0;
    for (size_t r = 0; r < rows; ++r) {
      double total = 0;
      for (size_t c = 0; c < columns; ++c) total += std::exp(double(x[r * columns + c]));
      for (size_t i = r * columns; i < (r + 1) * columns; ++i)
        worst = std::max(worst, relative_error(y[i], std::exp(double(x[i])) / total));
    }
    CHECK(worst < 2e-6);  // of x - max(x), up to 20, rounded before the exponential
  }
  SECTION("a product over 4096 positive numbers") {
    constexpr size_t side = 48, inner = 4096;
    const std::vector<float> a = uniform(side * inner, 4, 0, 1), b = uniform(inner * side, 5, 0, 1);
    const std::vector<float> y =
        matmul(tensor(a, {side, inner}), tensor(b, {inner, side})).to_vector<float>();
    double worst = 0;
    for (size_t i = 0; i < side * side; ++i) {
      double exact = 0;
      for (size_t k = 0; k < inner; ++k)
        exact += double(a[i / side * inner + k]) * double(b[k * side + i % side]);
      worst = std::max(worst, relative_error(y[i], exact));
    }
    CHECK(worst < 1e-6);
  }
}

TEST_CASE("numerics: the words are those of PyTorch") {
  const Restore restore;
  CHECK(float32_matmul_precision() == "highest");
  CHECK_FALSE(fast_math());
  for (const char* word : {"high", "medium", "highest"}) {
    set_float32_matmul_precision(word);
    CHECK(float32_matmul_precision() == word);
  }
  CHECK_ERROR(set_float32_matmul_precision("tf32"), "set_float32_matmul_precision: \"tf32\"",
              "there are highest, high and medium");
  CHECK(float32_matmul_precision() == "highest");
}

TEST_CASE("numerics: fast and strict kernels of one program are kept apart") {
  const Restore restore;
  const float fused = __builtin_cpu_supports("fma") ? std::fma(a, b, c) : a * b + c;
  for (int round = 0; round < 3; ++round) {
    set_fast_math(false);
    CHECK(multiply_and_add() == 0.0f);
    set_fast_math(true);
    CHECK(multiply_and_add() == fused);
  }
  // The last two rounds found both plans and both kernels.
  reset_statistics();
  multiply_and_add();
  set_fast_math(false);
  multiply_and_add();
  CHECK(statistics().plan_hits == 2);
  CHECK(statistics().compiles == 0);
}

TEST_CASE("numerics: fast softmax of huge products is one where the maximum is") {
  const Restore restore;
  set_fast_math(true);
  const Tensor x = tensor(std::vector<float>(256, 1.0f + 0x1p-20f), {4, 64});
  const Tensor s = tensor(std::vector<float>(1, 1e11f + 8192), {1});
  for (float p : softmax(x * s, 1).to_vector<float>()) CHECK(p == 1.0f / 64);
}

TEST_CASE("numerics: threads switch while others compute") {
  const Restore restore;
  const float fused = __builtin_cpu_supports("fma") ? std::fma(a, b, c) : a * b + c;
  std::atomic<bool> done = false;
  std::thread switcher([&] {
    for (int i = 0; !done; ++i) {
      set_fast_math(i % 2 == 0);
      set_float32_matmul_precision(i % 3 == 0 ? "high" : "highest");
    }
  });
  bool one_of_both = true;
  for (int i = 0; i < 200; ++i) {
    const float y = multiply_and_add();
    one_of_both &= y == 0.0f || y == fused;
  }
  done = true;
  switcher.join();
  CHECK(one_of_both);
}
