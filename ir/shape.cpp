// Arithmetic on extents that cannot overflow silently: every product is checked where the extents
// come from outside, and may be trusted afterwards.

#include "cermet/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ir/check.h"

namespace cermet {

std::optional<int64_t> checked_numel(std::span<const int64_t> shape) {
  // A zero anywhere makes the tensor empty, however large the other extents are.
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  int64_t product = 1;
  for (const int64_t extent : shape)
    if (__builtin_mul_overflow(product, extent, &product)) return std::nullopt;
  return product;
}

int64_t numel(std::span<const int64_t> shape) {
  const std::optional<int64_t> count = checked_numel(shape);
  CERMET_CHECK(count.has_value(), "the size of {} does not fit in 64 bits", to_string(shape));
  return *count;
}

Strides row_major_strides(std::span<const int64_t> shape) {
  Strides strides(shape.size(), 1);
  // The strides of an empty tensor may wrap: its other extents can be of any size.
  for (size_t i = shape.size(); i-- > 1;)
    strides[i - 1] = int64_t(uint64_t(strides[i]) * uint64_t(std::max<int64_t>(shape[i], 1)));
  return strides;
}

std::optional<Shape> broadcast_shapes(std::span<const int64_t> a, std::span<const int64_t> b) {
  if (a.size() < b.size()) return broadcast_shapes(b, a);
  Shape result(a);
  const size_t lead = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i) {
    int64_t& extent = result[lead + i];
    if (extent == b[i] || b[i] == 1) continue;
    if (extent != 1) return std::nullopt;
    extent = b[i];
  }
  return result;
}

std::string to_string(std::span<const int64_t> dims) {
  return fmt::format("[{}]", fmt::join(dims, ","));
}

}  // namespace cermet
