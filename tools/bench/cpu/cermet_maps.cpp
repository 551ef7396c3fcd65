// Elementwise work: chains on 16M numbers (W1), twenty operations on a thousand (W8), the formula
// of Black and Scholes and a step of n bodies (W14).

#include <cmath>

#include "tools/bench/cpu/cermet_case.h"

namespace bench {
namespace {

constexpr int64_t long_array = 1 << 24, options = 1 << 22, bodies = 2048;

// Black and Scholes, "The Pricing of Options and Corporate Liabilities" (1973): call and put.
std::vector<Tensor> black_scholes(const Tensor& spot, const Tensor& strike, const Tensor& years) {
  constexpr double rate = 0.02, volatility = 0.3;
  const auto normal = [](const Tensor& d) { return 0.5 * (1.0 + ct::erf(d * std::sqrt(0.5))); };
  const Tensor spread = volatility * ct::sqrt(years);
  const Tensor d1 =
      (ct::log(spot / strike) + (rate + 0.5 * volatility * volatility) * years) / spread;
  const Tensor discounted = strike * ct::exp(-rate * years);
  const Tensor call = spot * normal(d1) - discounted * normal(d1 - spread);
  return {call, call - spot + discounted};
}

// Velocities and positions after a step under gravity, softened near by.
std::vector<Tensor> bodies_step(const Tensor& position, const Tensor& velocity,
                                const Tensor& mass) {
  constexpr double step = 0.01, softening = 0.01;
  const Tensor apart = position.unsqueeze(0) - position.unsqueeze(1);
  const Tensor squared = (apart * apart).sum(2) + softening;
  const Tensor pull = mass / (squared * ct::sqrt(squared));
  const Tensor faster = velocity + (apart * pull.unsqueeze(2)).sum(1) * step;
  return {faster, position + faster * step};
}

}  // namespace

std::vector<Case> map_cases() {
  using List = std::vector<Tensor>;
  return {
      cermet_case("W1a",
                  [] {
                    const Tensor x = input({long_array}, 1), y = input({long_array}, 2);
                    return [=] {
                      const Tensor t = ct::clamp((x * 1.1 + 0.1) * y - x, -0.5, 0.5);
                      return List{(t * t + y) * 0.3 - 0.2};
                    };
                  }),
      cermet_case("W1b",
                  [] {
                    const Tensor x = input({long_array}, 1);
                    return [=] { return List{ct::gelu(x * 1.5 + 0.1, true) * 0.9}; };
                  }),
      cermet_case("W1c",
                  [] {
                    const Tensor x = input({long_array}, 1);
                    return [=] { return List{ct::gelu(x * 1.5 + 0.1) * 0.9}; };
                  }),
      cermet_case("W8",
                  [] {
                    const Tensor x = input({1024}, 1), y = input({1024}, 2);
                    return [=] {
                      Tensor t = x;
                      for (int i = 0; i < 4; ++i)
                        t = ct::clamp_max(ct::clamp_min(t * 1.01 + 0.1 - y, -1.0), 1.0);
                      return List{t};
                    };
                  }),
      cermet_case("W14a",
                  [] {
                    const Tensor spot = input({options}, 1, 50, 100),
                                 strike = input({options}, 2, 50, 100),
                                 years = input({options}, 3, 0.9F, 1);
                    return [=] { return black_scholes(spot, strike, years); };
                  }),
      cermet_case("W14b",
                  [] {
                    const Tensor position = input({bodies, 3}, 1), velocity = input({bodies, 3}, 2),
                                 mass = input({bodies}, 3, 0.5F, 1);
                    return [=] { return bodies_step(position, velocity, mass); };
                  }),
  };
}

}  // namespace bench
