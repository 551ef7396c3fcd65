// Products by OpenBLAS, and what is fused around them by hand: W6, W7, W9.

#include "tools/bench/cpu/hand_case.h"

namespace bench {
namespace {

using simd::all;
using simd::F;
constexpr size_t lanes = 16;
constexpr int heads = 16, steps = 256, head_size = 64;
constexpr size_t head_elements = size_t(steps) * head_size, scores = size_t(steps) * steps;

// softmax(p / 8) of each row, in place.
void softmax_scores(float* p) {
  const F scale = all(0.125F);
  for (int r = 0; r < steps; ++r, p += steps) {
    F top = all(simd::lowest), total = all(0);
    for (int c = 0; c < steps; c += lanes) top = simd::max(top, simd::load(p + c));
    const F greatest = all(-simd::greatest(top) * 0.125F);
    for (int c = 0; c < steps; c += lanes) {
      const F e = simd::exp(simd::fma(simd::load(p + c), scale, greatest));
      total = simd::add(total, e);
      simd::store(p + c, e);
    }
    const F share = all(1 / simd::sum(total));
    for (int c = 0; c < steps; c += lanes) simd::store(p + c, simd::mul(simd::load(p + c), share));
  }
}

// What flows through softmax: p (d - sum(p d)) / 8, into d.
void softmax_gradient(const float* p, float* d) {
  for (int r = 0; r < steps; ++r, p += steps, d += steps) {
    F dot = all(0);
    for (int c = 0; c < steps; c += lanes)
      dot = simd::fma(simd::load(p + c), simd::load(d + c), dot);
    const F total = all(simd::sum(dot)), scale = all(0.125F);
    for (int c = 0; c < steps; c += lanes)
      simd::store(d + c, simd::mul(simd::mul(simd::load(p + c), scale),
                                   simd::sub(simd::load(d + c), total)));
  }
}

const Product scores_of{.transpose_b = true, .m = steps, .n = steps, .k = head_size};
const Product mix{.m = steps, .n = head_size, .k = steps};
const Product mix_transposed{.transpose_a = true, .m = steps, .n = head_size, .k = steps};

// Calls head(first element, p, d) for each head, with a thread's memory for two arrays of scores,
// which stay in the second cache.
template <class Head>
void each_head(const Head& head) {
  openblas_set_num_threads(1);
#pragma omp parallel
  {
    std::vector<float> p(scores), d(scores);
#pragma omp for schedule(static)
    for (int h = 0; h < heads; ++h) head(size_t(h) * head_elements, p.data(), d.data());
  }
}

Work attention() {
  constexpr size_t count = heads * head_elements;
  const Array q(count, 1), k(count, 2), v(count, 3), out(count);
  return computing({out}, [=] {
    each_head([&](size_t at, float* p, float*) {
      scores_of(q.data() + at, k.data() + at, p);
      softmax_scores(p);
      mix(p, v.data() + at, out.data() + at);
    });
  });
}

Work attention_gradient() {
  constexpr size_t count = heads * head_elements;
  const Array q(count, 1), k(count, 2), v(count, 3), adjoint(count, 4), out(count), to_q(count),
      to_k(count), to_v(count);
  return computing({out, to_q, to_k, to_v}, [=] {
    each_head([&](size_t at, float* p, float* d) {
      scores_of(q.data() + at, k.data() + at, p);
      softmax_scores(p);
      mix(p, v.data() + at, out.data() + at);
      mix_transposed(p, adjoint.data() + at, to_v.data() + at);
      scores_of(adjoint.data() + at, v.data() + at, d);
      softmax_gradient(p, d);
      mix(d, k.data() + at, to_q.data() + at);
      mix_transposed(d, q.data() + at, to_k.data() + at);
    });
  });
}

Work product_bias_gelu() {
  constexpr int size = 1024;
  const Array a(size * size, 1, 0.1F), b(size * size, 2), bias(size, 3), out(size * size);
  return computing({out}, [=] {
    openblas_set_num_threads(omp_get_max_threads());
    Product{.m = size, .n = size, .k = size}(a.data(), b.data(), out.data());
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < size; ++r)
      for (size_t c = 0; c < size; c += lanes) {
        float* to = out.data() + r * size + c;
        simd::store(to, simd::gelu_tanh(simd::add(simd::load(to), simd::load(bias.data() + c))));
      }
  });
}

Case product(const ProductShape& of) {
  return {of.name(), [m = of.m, k = of.k, n = of.n] {
            const Array a(size_t(m) * k, 1), b(size_t(k) * n, 2), out(size_t(m) * n);
            openblas_set_num_threads(omp_get_max_threads());
            return computing({out}, [=] {
              if (n == 1)
                cblas_sgemv(CblasRowMajor, CblasNoTrans, m, k, 1, a.data(), k, b.data(), 1, 0,
                            out.data(), 1);
              else if (m == 1)
                cblas_sgemv(CblasRowMajor, CblasTrans, k, n, 1, b.data(), n, a.data(), 1, 0,
                            out.data(), 1);
              else
                Product{.m = m, .n = n, .k = k}(a.data(), b.data(), out.data());
            });
          }};
}

// A tile of eight by sixteen distances in registers; b is first laid out in tiles of sixteen.
Work pairwise_distances() {
  constexpr size_t points = 2000, size = 64, tile = 8;
  const Array a(points * size, 1), b(points * size, 2), packed(points * size), out(points * points);
  return computing({out}, [=] {
    for (size_t j = 0; j < points; ++j)
      for (size_t k = 0; k < size; ++k)
        packed[(j / lanes * size + k) * lanes + j % lanes] = b[j * size + k];
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < points; i += tile)
      for (size_t j = 0; j < points; j += lanes) {
        F sums[tile];
        for (F& s : sums) s = all(0);
        for (size_t k = 0; k < size; ++k) {
          const F other = simd::load(packed.data() + j * size + k * lanes);
          for (size_t u = 0; u < tile; ++u) {
            const F d = simd::sub(all(a[(i + u) * size + k]), other);
            sums[u] = simd::fma(d, d, sums[u]);
          }
        }
        for (size_t u = 0; u < tile; ++u) simd::store(out.data() + (i + u) * points + j, sums[u]);
      }
  });
}

}  // namespace

std::vector<Case> product_cases() {
  std::vector<Case> out{{"W6a", attention},
                        {"W6b", attention_gradient},
                        {"W7", product_bias_gelu},
                        {"W9", pairwise_distances}};
  for (const ProductShape& shape : product_shapes) out.push_back(product(shape));
  return out;
}

}  // namespace bench
