// Elementwise work by hand: W1, W8, W14.

#include <cmath>

#include "tools/bench/cpu/hand_case.h"

namespace bench {
namespace {

using simd::all;
using simd::F;
constexpr size_t lanes = 16;

// out[i] = f(inputs[i]...), for counts that are multiples of sixteen.
template <class Function, class... Inputs>
void map(const Array& out, Function f, const Inputs&... inputs) {
  float* const to = out.data();
  const size_t count = out.size();
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < count; i += lanes)
    simd::store(to + i, f(simd::load(inputs.data() + i)...));
}

Work chain() {
  const Array x(1 << 24, 1), y(1 << 24, 2), out(1 << 24);
  return computing({out}, [=] {
    map(
        out,
        [](F a, F b) {
          F t = simd::sub(simd::mul(simd::fma(a, all(1.1F), all(0.1F)), b), a);
          t = simd::min(simd::max(t, all(-0.5F)), all(0.5F));
          return simd::fma(simd::fma(t, t, b), all(0.3F), all(-0.2F));
        },
        x, y);
  });
}

template <class Gelu>
Work gelu_chain(Gelu gelu) {
  const Array x(1 << 24, 1), out(1 << 24);
  return computing({out}, [=] {
    map(
        out, [=](F a) { return simd::mul(gelu(simd::fma(a, all(1.5F), all(0.1F))), all(0.9F)); },
        x);
  });
}

Work small_operations() {
  const Array x(1024, 1), y(1024, 2), out(1024);
  return computing({out}, [=] {
    for (size_t i = 0; i < out.size(); i += lanes) {
      F t = simd::load(x.data() + i);
      const F less = simd::load(y.data() + i);
      for (int round = 0; round < 4; ++round) {
        t = simd::sub(simd::add(simd::mul(t, all(1.01F)), all(0.1F)), less);
        t = simd::min(simd::max(t, all(-1)), all(1));
      }
      simd::store(out.data() + i, t);
    }
    asm volatile("" ::: "memory");
  });
}

Work black_scholes() {
  constexpr size_t count = 1 << 22;
  constexpr float rate = 0.02F, volatility = 0.3F;
  const Array spot(count, 1, 50), strike(count, 2, 50), years(count, 3, 0.9F), call(count),
      put(count);
  for (size_t i = 0; i < count; ++i) spot[i] += 100, strike[i] += 100, years[i] += 1;
  const auto normal = [](F d) {
    return simd::mul(all(0.5F), simd::add(all(1), simd::erf(simd::mul(d, all(0.70710678F)))));
  };
  return computing({call, put}, [=] {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i += lanes) {
      const F s = simd::load(spot.data() + i), k = simd::load(strike.data() + i),
              t = simd::load(years.data() + i);
      const F spread = simd::mul(all(volatility), _mm512_sqrt_ps(t));
      const F drift = simd::mul(all(rate + 0.5F * volatility * volatility), t);
      const F d1 = simd::div(simd::add(simd::log(simd::div(s, k)), drift), spread);
      const F discounted = simd::mul(k, simd::exp(simd::mul(all(-rate), t)));
      const F value =
          simd::sub(simd::mul(s, normal(d1)), simd::mul(discounted, normal(simd::sub(d1, spread))));
      simd::store(call.data() + i, value);
      simd::store(put.data() + i, simd::add(simd::sub(value, s), discounted));
    }
  });
}

// Sixteen bodies at once, pulled by each other body in turn. Coordinates are [n, 3] as everywhere,
// so they are first laid apart.
Work bodies_step() {
  constexpr size_t count = 2048;
  constexpr float step = 0.01F, softening = 0.01F;
  const Array position(3 * count, 1), velocity(3 * count, 2), mass(count, 3, 0.5F),
      apart(3 * count), faster(3 * count), moved(3 * count);
  for (size_t i = 0; i < count; ++i) mass[i] += 1;
  return computing({faster, moved}, [=] {
    for (size_t i = 0; i < count; ++i)
      for (size_t d = 0; d < 3; ++d) apart[d * count + i] = position[3 * i + d];
    const float *x = apart.data(), *y = x + count, *z = y + count;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i += lanes) {
      F pull[3] = {all(0), all(0), all(0)};
      const F xi = simd::load(x + i), yi = simd::load(y + i), zi = simd::load(z + i);
      for (size_t j = 0; j < count; ++j) {
        const F dx = simd::sub(all(x[j]), xi), dy = simd::sub(all(y[j]), yi),
                dz = simd::sub(all(z[j]), zi);
        const F squared = simd::fma(dx, dx, simd::fma(dy, dy, simd::fma(dz, dz, all(softening))));
        const F weight = simd::div(all(mass[j]), simd::mul(squared, _mm512_sqrt_ps(squared)));
        pull[0] = simd::fma(dx, weight, pull[0]);
        pull[1] = simd::fma(dy, weight, pull[1]);
        pull[2] = simd::fma(dz, weight, pull[2]);
      }
      for (size_t d = 0; d < 3; ++d) {
        alignas(64) float sums[lanes];
        simd::store(sums, pull[d]);
        for (size_t lane = 0; lane < lanes; ++lane) {
          const size_t at = 3 * (i + lane) + d;
          faster[at] = velocity[at] + sums[lane] * step;
          moved[at] = position[at] + faster[at] * step;
        }
      }
    }
  });
}

}  // namespace

std::vector<Case> map_cases() {
  return {{"W1a", chain},
          {"W1b", [] { return gelu_chain([](F x) { return simd::gelu_tanh(x); }); }},
          {"W1c", [] { return gelu_chain([](F x) { return simd::gelu_erf(x); }); }},
          {"W8", small_operations},
          {"W14a", black_scholes},
          {"W14b", bodies_step}};
}

}  // namespace bench
