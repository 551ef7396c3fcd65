#pragma once
// Vector mathematics of the yardsticks that are written by hand: sixteen floats at once, accurate
// to a few units in the last place.

#include <immintrin.h>

namespace bench::simd {

using F = __m512;

inline F all(float x) { return _mm512_set1_ps(x); }
inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F x) { _mm512_storeu_ps(p, x); }
inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline F max(F a, F b) { return _mm512_max_ps(a, b); }
inline F min(F a, F b) { return _mm512_min_ps(a, b); }
inline F add(F a, F b) { return _mm512_add_ps(a, b); }
inline F sub(F a, F b) { return _mm512_sub_ps(a, b); }
inline F mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F div(F a, F b) { return _mm512_div_ps(a, b); }
inline float sum(F x) { return _mm512_reduce_add_ps(x); }
inline float greatest(F x) { return _mm512_reduce_max_ps(x); }
constexpr float lowest = -3.0e38F;

// a[0] + a[1] x + ..., by Horner's rule.
template <int N>
F polynomial(F x, const float (&a)[N]) {
  F y = all(a[N - 1]);
  for (int i = N - 2; i >= 0; --i) y = fma(y, x, all(a[i]));
  return y;
}

// Cody and Waite's reduction; the polynomial is that of Cephes' expf.
inline F exp(F x) {
  x = max(min(x, all(88)), all(-87));
  const F n = _mm512_roundscale_ps(mul(x, all(1.44269504F)), 8);
  F r = _mm512_fnmadd_ps(n, all(0.693359375F), x);
  r = _mm512_fnmadd_ps(n, all(-2.12194440e-4F), r);
  const F p = polynomial(r, {5.0000001201e-1F, 1.6666665459e-1F, 4.1665795894e-2F, 8.3334519073e-3F,
                             1.3981999507e-3F, 1.9875691500e-4F});
  return _mm512_scalef_ps(fma(p, mul(r, r), add(r, all(1))), n);
}

// The polynomial is that of Cephes' logf, on [sqrt(1/2), sqrt(2)).
inline F log(F x) {
  const __mmask16 low = _mm512_cmp_ps_mask(
      _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src), all(1.41421356F), _CMP_GT_OQ);
  F m = _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src), n = _mm512_getexp_ps(x);
  m = _mm512_mask_mul_ps(m, low, m, all(0.5F));
  n = _mm512_mask_add_ps(n, low, n, all(1));
  const F r = sub(m, all(1)), squared = mul(r, r);
  const F p = polynomial(r, {3.3333331174e-1F, -2.4999993993e-1F, 2.0000714765e-1F,
                             -1.6668057665e-1F, 1.4249322787e-1F, -1.2420140846e-1F,
                             1.1676998740e-1F, -1.1514610310e-1F, 7.0376836292e-2F});
  F y = fma(mul(p, squared), r, mul(n, all(-2.12194440e-4F)));
  y = fma(squared, all(-0.5F), y);
  return fma(n, all(0.693359375F), add(r, y));
}

inline F tanh(F x) { return sub(all(1), div(all(2), add(exp(add(x, x)), all(1)))); }

// The quotient of polynomials of Eigen's generic_fast_erf_float.
inline F erf(F x) {
  x = max(min(x, all(4)), all(-4));
  const F s = mul(x, x);
  const F p = polynomial(s, {-1.60960333262415e-02F, -2.95459980854025e-03F, -7.34990630326855e-04F,
                             -5.69250639462346e-05F, -2.10102402082508e-06F, 2.77068142495902e-08F,
                             -2.72614225801306e-10F});
  const F q = polynomial(s, {-1.42647390514189e-02F, -7.37332916720468e-03F, -1.68282697438203e-03F,
                             -2.13374055278905e-04F, -1.45660718464996e-05F});
  return div(mul(x, p), q);
}

// Both forms of Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016).
inline F gelu_tanh(F x) {
  const F inner = mul(fma(mul(mul(x, x), x), all(0.044715F), x), all(0.7978845608F));
  return mul(mul(x, all(0.5F)), add(all(1), tanh(inner)));
}
inline F gelu_erf(F x) {
  return mul(mul(x, all(0.5F)), add(all(1), erf(mul(x, all(0.70710678F)))));
}

}  // namespace bench::simd
