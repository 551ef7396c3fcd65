#include "ir/element.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace cermet::ir {
namespace {

// double -> float rounded to odd: a further rounding to fewer than 23 - 1 bits is then the rounding
// of the double itself (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
float to_float_odd(double value) {
  const float nearest = float(value);
  if (double(nearest) == value || std::isnan(value) || std::isinf(nearest)) {
    if (!(std::isinf(nearest) && std::isfinite(value))) return nearest;
    return std::copysign(std::numeric_limits<float>::max(), nearest);
  }
  uint32_t bits = std::bit_cast<uint32_t>(nearest);
  if (bits & 1) return nearest;
  // The other neighbour of value is odd.
  const bool away = std::fabs(double(nearest)) > std::fabs(value);
  bits = away ? bits - 1 : bits + 1;
  return std::bit_cast<float>(bits);
}

template <class T>
T saturate(double value) {
  if (std::isnan(value)) return 0;
  // 2^digits is exact as double; the maximum itself may not be.
  if (value >= std::ldexp(1.0, std::numeric_limits<T>::digits))
    return std::numeric_limits<T>::max();
  if (value <= double(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  return T(value);
}

}  // namespace

uint64_t element_bits(DType dtype, double value) {
  return visit(dtype, [&]<class T>(T) -> uint64_t {
    if constexpr (std::is_same_v<T, Float16>)
      return float_to_half_bits(to_float_odd(value));
    else if constexpr (std::is_same_v<T, BFloat16>)
      return float_to_bfloat_bits(to_float_odd(value));
    else if constexpr (std::is_same_v<T, bool>)
      return value != 0;
    else if constexpr (std::is_integral_v<T>)
      return bits_of_value(saturate<T>(value));
    else
      return bits_of_value(T(value));
  });
}

uint64_t element_bits(DType dtype, int64_t value) {
  return visit(dtype, [&]<class T>(T) -> uint64_t {
    if constexpr (std::is_same_v<T, bool>)
      return value != 0;
    else if constexpr (std::is_integral_v<T>)
      return bits_of_value(T(value));
    else if constexpr (std::is_same_v<T, float>)
      return bits_of_value(float(value));
    else
      return element_bits(dtype, double(value));
  });
}

double element_to_double(DType dtype, uint64_t bits) {
  return visit(dtype, [&]<class T>(T) -> double {
    if constexpr (std::is_same_v<T, bool>)
      return double(bits != 0);
    else
      return double(value_of_bits<T>(bits));
  });
}

int64_t element_to_int(DType dtype, uint64_t bits) {
  return visit(dtype, [&]<class T>(T) -> int64_t {
    if constexpr (std::is_same_v<T, bool>)
      return bits != 0;
    else if constexpr (std::is_integral_v<T>)
      return int64_t(value_of_bits<T>(bits));
    else
      return saturate<int64_t>(double(value_of_bits<T>(bits)));
  });
}

double round_to(DType dtype, double value) {
  if (dtype == DType::F64 || std::isnan(value)) return value;
  return element_to_double(dtype, element_bits(dtype, value));
}

int64_t wrap_to(DType dtype, int64_t value) {
  return element_to_int(dtype, element_bits(dtype, value));
}

uint64_t load_bits(DType dtype, const void* data, int64_t i) {
  uint64_t bits = 0;
  const size_t size = size_of(dtype);
  std::memcpy(&bits, static_cast<const std::byte*>(data) + size_t(i) * size, size);
  return bits;
}

void store_bits(DType dtype, void* data, int64_t i, uint64_t bits) {
  const size_t size = size_of(dtype);
  std::memcpy(static_cast<std::byte*>(data) + size_t(i) * size, &bits, size);
}

}  // namespace cermet::ir
