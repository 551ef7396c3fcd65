#include "ir/host_array.h"

#include <fmt/format.h>

#include <cstring>

#include "cermet/error.h"
#include "ir/check.h"
#include "ir/element.h"
#include "ir/node.h"

namespace cermet::ir {

HostArray::HostArray(DType dtype, Shape shape) : dtype(dtype), shape(std::move(shape)) {
  bytes.resize(size_t(numel()) * size_of(dtype));
}

HostArray::HostArray(DType dtype, Shape shape, const void* data)
    : HostArray(dtype, std::move(shape)) {
  if (!bytes.empty()) std::memcpy(bytes.data(), data, bytes.size());
}

HostArray HostArray::of(DType dtype, const Shape& shape, std::span<const double> values) {
  HostArray out(dtype, shape);
  out.expect_count(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    out.set_bits(int64_t(i), element_bits(dtype, values[i]));
  return out;
}

uint64_t HostArray::bits(int64_t i) const {
  CERMET_CHECK(i >= 0 && i < numel(), "element {} of {}", i, type_string(dtype, shape));
  return load_bits(dtype, bytes.data(), i);
}

void HostArray::set_bits(int64_t i, uint64_t bits) {
  CERMET_CHECK(i >= 0 && i < numel(), "element {} of {}", i, type_string(dtype, shape));
  store_bits(dtype, bytes.data(), i, bits);
}

double HostArray::number(int64_t i) const { return element_to_double(dtype, bits(i)); }

void HostArray::expect_dtype(DType asked) const {
  if (asked != dtype)
    throw Error(fmt::format("host array: the elements are {}, not {}", name(dtype), name(asked)));
}

void HostArray::expect_count(size_t count) const {
  if (count != size_t(numel()))
    throw Error(fmt::format("host array: {} values for {}", count, type_string(dtype, shape)));
}

std::string element_string(DType dtype, uint64_t bits) {
  if (is_float(dtype)) return fmt::format("{}", element_to_double(dtype, bits));
  if (is_unsigned(dtype)) return fmt::format("{}", bits);
  return fmt::format("{}", element_to_int(dtype, bits));
}

std::string to_string(const HostArray& array, int64_t limit) {
  std::string out = type_string(array.dtype, array.shape) + " {";
  for (int64_t i = 0; i < std::min(array.numel(), limit); ++i) {
    if (i > 0) out += ", ";
    out += element_string(array.dtype, array.bits(i));
  }
  return out + (array.numel() > limit ? ", ...}" : "}");
}

}  // namespace cermet::ir
