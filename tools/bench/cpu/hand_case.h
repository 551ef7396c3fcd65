#pragma once
// The yardsticks: each workload as one would write it by hand for AVX-512, fused, with OpenMP over
// rows and OpenBLAS for products. They are what a good compiler can reach, not a bound.

#include <cblas.h>

#include <string>
#include <vector>

#include "tools/bench/cpu/array.h"
#include "tools/bench/cpu/case.h"
#include "tools/bench/cpu/simd.h"

extern "C" void openblas_set_num_threads(int);
extern "C" int omp_get_max_threads();

namespace bench {

inline Work computing(const std::vector<Array>& results, std::function<void()> call) {
  return {std::move(call), [=] {
            double sum = 0;
            for (const Array& result : results) sum += abs_sum(result.span());
            return sum;
          }};
}

// c = alpha op(a) op(b) + beta c, row-major and without gaps; op(a) is m x k.
struct Product {
  bool transpose_a = false, transpose_b = false;
  int m, n, k;
  float alpha = 1, beta = 0;
  void operator()(const float* a, const float* b, float* c) const {
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, m, n, k, alpha, a, transpose_a ? m : k, b,
                transpose_b ? k : n, beta, c, n);
  }
};

std::vector<Case> map_cases();
std::vector<Case> row_cases();
std::vector<Case> product_cases();
std::vector<Case> training_cases();
std::vector<Case> limit_cases();

}  // namespace bench
