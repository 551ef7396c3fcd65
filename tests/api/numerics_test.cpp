// Strict and fast arithmetic, as a program asks for them.

#include "cermet/numerics.h"

#include <atomic>
#include <cmath>
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

}  // namespace

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
