// The steps of a training run are one program: what they cost stays the same, they compute what the
// formulas of the optimizers say, and
// evaluation counts every digit once.

#include "tools/examples/training.h"

#include <cmath>
#include <vector>

#include "support/catch.h"

using namespace cermet;
using examples::Adam, examples::Digits, examples::Network, examples::Optimizer, examples::Sgd;
using examples::make_cnn, examples::make_mlp, examples::train_step;

namespace {

Digits some_digits(int64_t count) {
  const Key key(11);
  Digits digits{rand(key.fold(0), {count, 1, 28, 28}), randint(key.fold(1), 0, 10, {count})};
  realize({digits.images, digits.labels});
  return digits;
}

std::vector<int64_t> positions(int64_t first, int64_t count, int64_t of) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < count; ++i) out.push_back((first + 7 * i) % of);
  return out;
}

}  // namespace

TEST_CASE("training: a step is one known program with a constant number of launches") {
  const Digits digits = some_digits(60);
  for (const bool cnn : {false, true})
    for (const bool adam : {false, true}) {
      Network net = cnn ? make_cnn(Key(1)) : make_mlp(Key(1));
      Sgd sgd(0.01);
      Adam adam_optimizer(0.001);
      Optimizer& optimizer = adam ? static_cast<Optimizer&>(adam_optimizer) : sgd;
      train_step(net, optimizer, digits, positions(0, 12, 60));
      train_step(net, optimizer, digits, positions(1, 12, 60));
      Statistics before = statistics();
      int64_t launches = -1, live = -1;
      for (int64_t step = 2; step < 30; ++step) {
        train_step(net, optimizer, digits, positions(step, 12, 60));
        const Statistics now = statistics();
        INFO(explain());
        REQUIRE(now.plan_misses == before.plan_misses);
        REQUIRE(now.compiles == before.compiles);
        REQUIRE(now.disk_hits == before.disk_hits);
        REQUIRE(now.realizes == before.realizes + 1);
        REQUIRE(now.plan_hits == before.plan_hits + 1);
        if (launches >= 0) REQUIRE(now.launches - before.launches == launches);
        if (live >= 0) REQUIRE(now.live_bytes == live);  // nothing piles up
        launches = now.launches - before.launches, live = now.live_bytes;
        before = now;
      }
      INFO(launches << " launches");
      CHECK(launches <= (cnn ? 30 : 20));
    }
}

TEST_CASE("training: evaluation counts each digit once, whatever the batch") {
  const Digits digits = some_digits(50);
  const Network net = make_mlp(Key(2));
  const Tensor right = net.forward(net.parameters, digits.images).argmax(1) == digits.labels;
  const double expected =
      double(right.to(DType::I64).sum().item<int64_t>()) / double(digits.count());
  for (const int64_t batch : {1, 7, 25, 49, 50, 500})
    CHECK(examples::accuracy(net, digits, batch) == expected);
}

// One parameter whose loss is (p - 3)^2 / 2, so that its gradient is p - 3, in double arithmetic.
TEST_CASE("training: the optimizers follow their formulas") {
  const auto check = [](Optimizer& optimizer, auto expected_step) {
    Tensor p = tensor({5.0});
    p.set_requires_grad();
    double expected = 5;
    for (int step = 1; step <= 200; ++step) {
      const Tensor loss = square(p - 3.0).sum() * 0.5;
      std::vector<Tensor> parameters{p};
      const std::vector<Tensor> gradients{grad(loss, p)};
      optimizer.step(parameters, gradients);
      std::vector<Tensor> results{parameters[0]};
      results.insert(results.end(), optimizer.state().begin(), optimizer.state().end());
      realize(results);
      expected = expected_step(expected, expected - 3, step);
      REQUIRE(std::fabs(double(p.detach().item<float>()) - expected) < 1e-4);
    }
  };
  double velocity = 0;
  Sgd sgd(0.05, 0.9);
  check(sgd, [&](double p, double g, int) {
    velocity = 0.9 * velocity + g;
    return p - 0.05 * velocity;
  });
  // Algorithm 1 of the paper, as it stands there.
  double m = 0, v = 0;
  Adam adam(0.02, 0.9, 0.999, 1e-8);
  check(adam, [&](double p, double g, int t) {
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const double m_hat = m / (1 - std::pow(0.9, t)), v_hat = v / (1 - std::pow(0.999, t));
    return p - 0.02 * m_hat / (std::sqrt(v_hat) + 1e-8);
  });
}
