// Who shares what: memory, gradients and pending work of tensors that are equal, copied, read from
// outside, or used by several threads at once.

#include <array>
#include <atomic>
#include <thread>

#include "api/errors.h"
#include "cermet/cermet.h"
#include "ir/node.h"

namespace ct = cermet;

namespace {
using Floats = std::vector<float>;
}

TEST_CASE("sharing: a pointer into one tensor does not reach an equal one") {
  const ct::Tensor x = ct::tensor({1.0, 2.0});
  ct::Tensor a = x + 0.3, b = x + 0.3;
  const Floats expected = b.to_vector<float>();
  a.data<float>()[0] = 100;
  CHECK(a.to_vector<float>()[0] == 100);
  CHECK(b.to_vector<float>() == expected);
  CHECK((x + 0.3).to_vector<float>() == expected);
  CHECK(x.to_vector<float>() == Floats{1, 2});

  const ct::Tensor zeros = ct::zeros({3});
  zeros.data<float>()[1] = 7;
  CHECK(ct::zeros({3}).to_vector<float>() == Floats{0, 0, 0});
  CHECK(zeros.to_vector<float>() == Floats{0, 7, 0});
}

TEST_CASE("sharing: what was recorded before a pointer was given out reads the old elements") {
  const ct::Tensor x = ct::tensor({1.0, 2.0});
  const ct::Tensor before = x * 2.0;
  x.data<float>()[0] = 50;
  const ct::Tensor after = x * 2.0;
  CHECK(before.to_vector<float>() == Floats{2, 4});
  CHECK(after.to_vector<float>() == Floats{100, 4});
}

TEST_CASE("sharing: the elements of a tensor are computed once, and not copied to be read") {
  const ct::Tensor x = ct::tensor({1.0, 2.0, 3.0});
  const auto launches = ct::statistics().launches;
  CHECK(x.to_vector<float>() == Floats{1, 2, 3});
  CHECK(ct::statistics().launches == launches);
}

TEST_CASE("sharing: a clone of borrowed memory is a snapshot, and gradients flow through it") {
  std::array<float, 2> memory = {3, 4};
  const ct::Tensor shared = ct::from_blob(memory.data(), {2}, ct::DType::F32);
  ct::Tensor w = ct::tensor({1.0, 2.0}).set_requires_grad();
  const ct::Tensor copy = (w * shared).clone();
  memory = {50, 60};
  CHECK(copy.requires_grad());
  CHECK(copy.to_vector<float>() == Floats{3, 8});
  memory = {3, 4};
  copy.sum().backward();
  CHECK(w.grad().to_vector<float>() == Floats{3, 4});
}

TEST_CASE("sharing: a leaf is the same one after its elements were computed") {
  ct::Tensor w = (ct::tensor({1.0, 2.0}) + 0.5).set_requires_grad();
  const ct::Tensor before = w * w;
  w.realize();
  const ct::Tensor y = (before + w).sum();
  CHECK(ct::grad(y, w).to_vector<float>() == Floats{4, 6});
  CHECK(ct::grad(before.sum(), w).to_vector<float>() == Floats{3, 5});

  const auto f = [](std::span<const ct::Tensor> in) {
    const ct::Tensor square = in[0] * in[0];
    in[0].realize();
    return (square + in[0]).sum();
  };
  const ct::Tensor x = ct::tensor({1.0, 2.0}) + 0.5;
  const auto [value, gradients] = ct::value_and_grad(f, std::span(&x, 1));
  CHECK(gradients[0].to_vector<float>() == Floats{4, 6});
  const ct::Tensor ones = ct::ones({2});
  CHECK(ct::jvp(f, std::span(&x, 1), std::span(&ones, 1)).second.item<float>() == 10);
}

TEST_CASE("sharing: a gradient that nobody computes goes away with its leaf") {
  const int64_t before = ct::ir::live_nodes();
  {
    ct::Tensor w = ct::tensor({1.0, 2.0}).set_requires_grad();
    (w * w).sum().backward();
    (w * 3.0).sum().backward();
  }
  CHECK(ct::ir::live_nodes() == before);
}

TEST_CASE("sharing: threads that realize what they share see the same elements") {
  std::atomic<int> wrong = 0;
  for (int round = 0; round < 30; ++round) {
    const ct::Tensor x = ct::arange(64) + round;
    ct::Tensor w = (x.to(ct::DType::F32) * 2.0).set_requires_grad();
    std::vector<ct::Tensor> steps{w.detach()};
    for (int i = 0; i < 20; ++i) steps.push_back(ct::stop_gradient(steps.back() * w) * 0.5 + w);
    const ct::Tensor sum = (steps.back() - steps.back()).sum();
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        try {
          for (size_t i = t; i < steps.size(); i += 1 + t % 2) steps[i].realize();
          wrong += steps[1].to_vector<float>()[0] !=
                   2.0f * float(round) * (2.0f * float(round)) * 0.5f + 2.0f * float(round);
        } catch (const std::exception&) {
          ++wrong;
        }
      });
    for (std::thread& t : threads) t.join();
  }
  CHECK(wrong == 0);
}
