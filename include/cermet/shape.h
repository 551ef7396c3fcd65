#pragma once
// Shapes and strides: int64 extents, any rank, row-major. Strides count elements, not bytes.

#include <optional>
#include <span>
#include <string>

#include "cermet/small_vector.h"

namespace cermet {

using Dims = SmallVector<int64_t, 5>;
using Shape = Dims;    // extents, each >= 0; rank 0 is a scalar
using Strides = Dims;  // may be negative or 0

// The product of the extents (1 for rank 0), or nothing if it does not fit in int64.
std::optional<int64_t> checked_numel(std::span<const int64_t> shape);

// The product of the extents of a shape that is known to be valid.
int64_t numel(std::span<const int64_t> shape);

// Row-major strides in elements: the last is 1. Extents of 0 count as 1, so that strides stay
// meaningful.
Strides row_major_strides(std::span<const int64_t> shape);

// NumPy's broadcasting rule: align at the right, each pair equal or one of them 1. Nothing if they
// do not fit.
std::optional<Shape> broadcast_shapes(std::span<const int64_t> a, std::span<const int64_t> b);

// "[2,3]"; "[]" for rank 0.
std::string to_string(std::span<const int64_t> dims);

}  // namespace cermet
