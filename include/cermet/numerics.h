#pragma once
// What results may differ by. Strict arithmetic is the default: elementwise operations round once
// each, fused or not, and products of float32 are sums of float32. Both settings hold for the whole
// process and for what is computed from then on, by realize() or by reading elements, whenever it
// was written; kernels of other settings are kept apart. They can be changed at any time from any
// thread.

#include <string_view>

#include "cermet/error.h"

namespace cermet {

// As torch.set_float32_matmul_precision. "highest", the default: products of float32 are exact up
// to the rounding of every product and sum to float32. "high" and "medium": matrix products and
// convolutions of float32 may run on tensor cores as TF32, on GPUs of compute capability 8.0 and
// above: factors are rounded to 11 significant bits, a relative error of at most 2^-11 in each,
// and sums are float32. Other dtypes and devices are computed as before. Throws Error for other
// words.
void set_float32_matmul_precision(std::string_view precision,
                                  SourceLocation where = SourceLocation::current());
// The word that was set.
std::string_view float32_matmul_precision();

// Whether elementwise arithmetic may be fast instead of strict. Then
//   - a * b + c may round once, and x / y be x * (1 / y) where y is the same for many x;
//   - float16 and bfloat16 are not rounded between operations of one kernel;
//   - on GPUs division, sqrt, exp, exp2, log, log2, log10, sigmoid and tanh of these and of float32
//     are approximations: each adds a relative error of up to 2^-20 (exp of |x| > 16: |x| 2^-23),
//     log of numbers near 1, sigmoid and tanh an absolute one of 2^-20, and numbers below 2^-126
//     count as zero, as do quotients by 2^126 and more.
// Infinities and NaN are what they are otherwise, but for quotients by numbers below 2^-126 or of
// 2^126 and more. What is computed twice, fused with two of its users, is computed alike. Results
// still do not depend on the number of threads. Off by default.
void set_fast_math(bool on);
bool fast_math();

}  // namespace cermet
