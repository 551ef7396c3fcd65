// Softmax, layer norm and reductions by hand: W2, W3, W4.

#include <cmath>

#include "tools/bench/cpu/hand_case.h"

namespace bench {
namespace {

using simd::all;
using simd::F;
constexpr size_t lanes = 16, rows = 4096, columns = 1024, square = 4096;

void softmax_row(const float* x, float* out) {
  F top = all(simd::lowest), total = all(0);
  for (size_t c = 0; c < columns; c += lanes) top = simd::max(top, simd::load(x + c));
  const F greatest = all(simd::greatest(top));
  for (size_t c = 0; c < columns; c += lanes) {
    const F e = simd::exp(simd::sub(simd::load(x + c), greatest));
    total = simd::add(total, e);
    simd::store(out + c, e);
  }
  const F scale = all(1 / simd::sum(total));
  for (size_t c = 0; c < columns; c += lanes)
    simd::store(out + c, simd::mul(simd::load(out + c), scale));
}

Work softmax() {
  const Array x(rows * columns, 1, 4), out(rows * columns);
  return computing({out}, [=] {
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < rows; ++r) softmax_row(x.data() + r * columns, out.data() + r * columns);
  });
}

struct Moments {
  F mean, scale;  // 1 / standard deviation
};

Moments moments(const float* x) {
  F total = all(0), squares = all(0);
  for (size_t c = 0; c < columns; c += lanes) total = simd::add(total, simd::load(x + c));
  const F mean = all(simd::sum(total) / columns);
  for (size_t c = 0; c < columns; c += lanes) {
    const F d = simd::sub(simd::load(x + c), mean);
    squares = simd::fma(d, d, squares);
  }
  return {mean, all(1 / std::sqrt(simd::sum(squares) / columns + 1e-5F))};
}

void norm_row(const float* x, const float* weight, const float* bias, const Moments& m,
              float* out) {
  for (size_t c = 0; c < columns; c += lanes) {
    const F normal = simd::mul(simd::sub(simd::load(x + c), m.mean), m.scale);
    simd::store(out + c, simd::fma(normal, simd::load(weight + c), simd::load(bias + c)));
  }
}

Work layer_norm() {
  const Array x(rows * columns, 1), weight(columns, 2), bias(columns, 3), out(rows * columns);
  return computing({out}, [=] {
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < rows; ++r) {
      const float* row = x.data() + r * columns;
      norm_row(row, weight.data(), bias.data(), moments(row), out.data() + r * columns);
    }
  });
}

// The gradient for x of one row; those for weight and bias are added up.
void norm_row_gradient(const float* x, const float* adjoint, const float* weight, const Moments& m,
                       float* to_x, float* to_weight, float* to_bias) {
  F sum = all(0), dot = all(0);
  for (size_t c = 0; c < columns; c += lanes) {
    const F g = simd::mul(simd::load(adjoint + c), simd::load(weight + c));
    const F normal = simd::mul(simd::sub(simd::load(x + c), m.mean), m.scale);
    sum = simd::add(sum, g);
    dot = simd::fma(g, normal, dot);
  }
  const F mean_g = all(simd::sum(sum) / columns), mean_dot = all(simd::sum(dot) / columns);
  for (size_t c = 0; c < columns; c += lanes) {
    const F a = simd::load(adjoint + c), g = simd::mul(a, simd::load(weight + c));
    const F normal = simd::mul(simd::sub(simd::load(x + c), m.mean), m.scale);
    const F centered = _mm512_fnmadd_ps(normal, mean_dot, simd::sub(g, mean_g));
    simd::store(to_x + c, simd::mul(m.scale, centered));
    simd::store(to_weight + c, simd::fma(a, normal, simd::load(to_weight + c)));
    simd::store(to_bias + c, simd::add(a, simd::load(to_bias + c)));
  }
}

Work layer_norm_gradient() {
  const Array x(rows * columns, 1), weight(columns, 2), bias(columns, 3),
      adjoint(rows * columns, 4), out(rows * columns), to_x(rows * columns), to_weight(columns),
      to_bias(columns);
  return computing({out, to_x, to_weight, to_bias}, [=] {
    std::fill_n(to_weight.data(), columns, 0.0F);
    std::fill_n(to_bias.data(), columns, 0.0F);
#pragma omp parallel
    {
      std::vector<float> weight_part(columns), bias_part(columns);
#pragma omp for schedule(static)
      for (size_t r = 0; r < rows; ++r) {
        const float* row = x.data() + r * columns;
        const Moments m = moments(row);
        norm_row(row, weight.data(), bias.data(), m, out.data() + r * columns);
        norm_row_gradient(row, adjoint.data() + r * columns, weight.data(), m,
                          to_x.data() + r * columns, weight_part.data(), bias_part.data());
      }
#pragma omp critical
      for (size_t c = 0; c < columns; ++c)
        to_weight[c] += weight_part[c], to_bias[c] += bias_part[c];
    }
  });
}

struct Sum {
  static constexpr float start = 0;
  static F vector(F a, F b) { return simd::add(a, b); }
  static float scalar(float a, float b) { return a + b; }
  static float within(F a) { return simd::sum(a); }
};
struct Max {
  static constexpr float start = simd::lowest;
  static F vector(F a, F b) { return simd::max(a, b); }
  static float scalar(float a, float b) { return std::max(a, b); }
  static float within(F a) { return simd::greatest(a); }
};

template <class Op>
float reduce(const float* x, size_t count) {
  F parts[8];
  for (F& part : parts) part = all(Op::start);
  for (size_t i = 0; i < count; i += 8 * lanes)
    for (size_t u = 0; u < 8; ++u) parts[u] = Op::vector(parts[u], simd::load(x + i + u * lanes));
  for (size_t u = 1; u < 8; ++u) parts[0] = Op::vector(parts[0], parts[u]);
  return Op::within(parts[0]);
}

template <class Op>
void reduce_rows(const Array& x, const Array& out, float factor) {
#pragma omp parallel for schedule(static)
  for (size_t r = 0; r < square; ++r) out[r] = factor * reduce<Op>(x.data() + r * square, square);
}

template <class Op>
void reduce_all(const Array& x, const Array& out, float factor) {
  float result = Op::start;
#pragma omp parallel
  {
    float part = Op::start;
#pragma omp for schedule(static)
    for (size_t r = 0; r < square; ++r)
      part = Op::scalar(part, reduce<Op>(x.data() + r * square, square));
#pragma omp critical
    result = Op::scalar(result, part);
  }
  out[0] = factor * result;
}

// Four rows at a time into a row of results that stays in the first cache, one for each thread.
template <class Op>
void reduce_columns(const Array& x, const Array& out, float factor) {
  std::fill_n(out.data(), square, Op::start);
#pragma omp parallel
  {
    std::vector<float> part(square, Op::start);
#pragma omp for schedule(static)
    for (size_t r = 0; r < square; r += 4) {
      const float* row = x.data() + r * square;
      for (size_t c = 0; c < square; c += lanes) {
        const F low = Op::vector(simd::load(row + c), simd::load(row + square + c));
        const F high =
            Op::vector(simd::load(row + 2 * square + c), simd::load(row + 3 * square + c));
        simd::store(&part[c], Op::vector(simd::load(&part[c]), Op::vector(low, high)));
      }
    }
#pragma omp critical
    for (size_t c = 0; c < square; ++c) out[c] = Op::scalar(out[c], part[c]);
  }
  for (size_t c = 0; c < square; ++c) out[c] *= factor;
}

using Reduction = void (*)(const Array&, const Array&, float);

Case reduction(const std::string& name, Reduction reduce, size_t results, float factor) {
  return {name, [=]() {
            const Array x(square * square, 1), out(results);
            return computing({out}, [=] { reduce(x, out, factor); });
          }};
}

}  // namespace

std::vector<Case> row_cases() {
  std::vector<Case> out{{"W2", softmax}, {"W3a", layer_norm}, {"W3b", layer_norm_gradient}};
  const float each = 1.0F / square;
  out.push_back(reduction("W4_sum0", reduce_columns<Sum>, square, 1));
  out.push_back(reduction("W4_sum1", reduce_rows<Sum>, square, 1));
  out.push_back(reduction("W4_sumall", reduce_all<Sum>, 1, 1));
  out.push_back(reduction("W4_mean0", reduce_columns<Sum>, square, each));
  out.push_back(reduction("W4_mean1", reduce_rows<Sum>, square, each));
  out.push_back(reduction("W4_meanall", reduce_all<Sum>, 1, each * each));
  out.push_back(reduction("W4_max0", reduce_columns<Max>, square, 1));
  out.push_back(reduction("W4_max1", reduce_rows<Max>, square, 1));
  out.push_back(reduction("W4_maxall", reduce_all<Max>, 1, 1));
  return out;
}

}  // namespace bench
