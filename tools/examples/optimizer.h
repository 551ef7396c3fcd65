#pragma once
// Optimizers, written with the library as a user would: a step records what the new parameters and
// the new state are, and nothing runs until the caller realizes them, together with the loss, as
// one program. Numbers that change from step to step are arguments of that program, so it is
// compiled once.

#include <cmath>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "cermet/cermet.h"

namespace examples {

namespace ct = cermet;

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Changes the parameters, in place and lazily, given the gradient of the loss for each.
  virtual void step(std::span<ct::Tensor> parameters, std::span<const ct::Tensor> gradients) = 0;
  // What has to be realized with the parameters.
  std::span<const ct::Tensor> state() const { return state_; }

 protected:
  // `count` tensors of zeros like the parameters, at the first step.
  void make_state(std::span<const ct::Tensor> parameters, size_t count) {
    if (!state_.empty()) return;
    for (size_t i = 0; i < count; ++i)
      for (const ct::Tensor& p : parameters) state_.push_back(ct::zeros_like(p));
    ct::realize(state_);
  }
  std::vector<ct::Tensor> state_;
};

// Gradient descent with momentum, as in PyTorch: v = momentum * v + g; p -= rate * v.
class Sgd : public Optimizer {
 public:
  explicit Sgd(double rate, double momentum = 0.9) : rate_(rate), momentum_(momentum) {}

  void step(std::span<ct::Tensor> parameters, std::span<const ct::Tensor> gradients) override {
    make_state(parameters, 1);
    const ct::no_grad guard;
    for (size_t i = 0; i < parameters.size(); ++i) {
      ct::Tensor& velocity = state_[i];
      velocity.mul_(momentum_).add_(gradients[i]);
      parameters[i].sub_(velocity * rate_);
    }
  }

 private:
  double rate_, momentum_;
};

// Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 1 in the order of
// computation that the end of its section 2 proposes: the corrections of the bias go into the rate
// and into epsilon, both numbers, and not into the moments.
class Adam : public Optimizer {
 public:
  explicit Adam(double rate, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8)
      : rate_(rate), beta1_(beta1), beta2_(beta2), epsilon_(epsilon) {}

  void step(std::span<ct::Tensor> parameters, std::span<const ct::Tensor> gradients) override {
    make_state(parameters, 2);
    const ct::no_grad guard;
    ++steps_;
    const double correction = std::sqrt(1 - std::pow(beta2_, steps_));
    const double rate = rate_ * correction / (1 - std::pow(beta1_, steps_));
    for (size_t i = 0; i < parameters.size(); ++i) {
      ct::Tensor &first = state_[i], &second = state_[parameters.size() + i];
      const ct::Tensor& g = gradients[i];
      first.mul_(beta1_).add_(g * (1 - beta1_));
      second.mul_(beta2_).add_(g * g * (1 - beta2_));
      parameters[i].sub_(first / (ct::sqrt(second) + epsilon_ * correction) * rate);
    }
  }

 private:
  double rate_, beta1_, beta2_, epsilon_;
  int64_t steps_ = 0;
};

}  // namespace examples
