#pragma once
// One element of any dtype, outside of a typed buffer: its bits, its value as double or int64, and
// the roundings between.

#include <cstdint>
#include <cstring>

#include "cermet/dtype.h"

namespace cermet::ir {

// Rounds to nearest even in a float dtype; in an integer dtype truncates and saturates, NaN gives
// 0; bool is != 0.
uint64_t element_bits(DType dtype, double value);
// Wraps to an integer dtype (two's complement), rounds to a float dtype; bool is != 0.
uint64_t element_bits(DType dtype, int64_t value);

// Exact for all dtypes but i64 and u64, which round.
double element_to_double(DType dtype, uint64_t bits);
// The integer value; u64 as its two's complement bits; bool 0 or 1; floats truncate as above.
int64_t element_to_int(DType dtype, uint64_t bits);

// value after rounding to a float dtype; the double to f16 and bf16 step rounds once, not through
// float.
double round_to(DType dtype, double value);
// value after wrapping to an integer dtype or bool.
int64_t wrap_to(DType dtype, int64_t value);

// The bits of a C++ value, zero-extended, and back.
template <Element T>
uint64_t bits_of_value(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <Element T>
T value_of_bits(uint64_t bits) {
  T value;
  std::memcpy(static_cast<void*>(&value), &bits, sizeof value);
  return value;
}

// Loads and stores at element i of a row-major buffer.
uint64_t load_bits(DType dtype, const void* data, int64_t i);
void store_bits(DType dtype, void* data, int64_t i, uint64_t bits);

}  // namespace cermet::ir
