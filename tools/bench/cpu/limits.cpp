// What the machine can do, as loops that do nothing else: moving bytes (stores go past the caches,
// as no program can move them faster) from memory and from the last cache, and multiplying and
// adding. The limit of a workload is the longer of its bytes and its operations at these rates.

#include "tools/bench/cpu/hand_case.h"

namespace bench {
namespace {

using simd::all;
using simd::F;
constexpr size_t lanes = 16;
// Floats of an array: 64 MB, and 8 MB.
constexpr size_t memory = 1 << 24, cache = 1 << 21;

Work read(size_t count) {
  const Array x(count, 1), out(1);
  return computing({out}, [=] {
    float total = 0;
#pragma omp parallel
    {
      F parts[8] = {};
#pragma omp for schedule(static)
      for (size_t i = 0; i < count; i += 8 * lanes)
        for (size_t u = 0; u < 8; ++u)
          parts[u] = simd::add(parts[u], simd::load(x.data() + i + u * lanes));
      for (size_t u = 1; u < 8; ++u) parts[0] = simd::add(parts[0], parts[u]);
#pragma omp critical
      total += simd::sum(parts[0]);
    }
    out[0] = total;
  });
}

// `passing`: with stores that go past the caches.
Work copy(size_t count, bool passing) {
  const Array x(count, 1), out(count);
  return computing({out}, [=] {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i += lanes) {
      const F value = simd::load(x.data() + i);
      if (passing)
        _mm512_stream_ps(out.data() + i, value);
      else
        simd::store(out.data() + i, value);
    }
  });
}

Work add(size_t count) {
  const Array x(count, 1), y(count, 2), out(count);
  return computing({out}, [=] {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i += lanes)
      _mm512_stream_ps(out.data() + i,
                       simd::add(simd::load(x.data() + i), simd::load(y.data() + i)));
  });
}

// 2^20 times twelve independent fused multiply-adds of sixteen floats, for each thread.
Work multiply_add() {
  const Array out(1);
  return computing({out}, [=] {
    float total = 0;
#pragma omp parallel reduction(+ : total)
    {
      F a[12];
      for (int u = 0; u < 12; ++u) a[u] = all(float(u));
      const F factor = all(0.999999F), term = all(1e-6F);
      for (int i = 0; i < 1 << 20; ++i)
#pragma GCC unroll 12
        for (F& x : a) x = simd::fma(x, factor, term);
      for (const F& x : a) total += simd::sum(x);
    }
    out[0] = total;
  });
}

}  // namespace

std::vector<Case> limit_cases() {
  return {{"limit_read", [] { return read(memory); }},
          {"limit_copy", [] { return copy(memory, true); }},
          {"limit_add", [] { return add(memory); }},
          {"limit_cache_read", [] { return read(cache); }},
          {"limit_cache_copy", [] { return copy(cache, false); }},
          {"limit_fma", multiply_add}};
}

}  // namespace bench
