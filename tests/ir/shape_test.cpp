#include "cermet/shape.h"

#include <limits>

#include "cermet/error.h"
#include "support/catch.h"

using cermet::broadcast_shapes;
using cermet::checked_numel;
using cermet::row_major_strides;
using cermet::Shape;
using cermet::Strides;

TEST_CASE("shape: numel multiplies the extents and is 1 for a scalar") {
  CHECK(checked_numel(Shape{}) == 1);
  CHECK(checked_numel(Shape{2, 3, 4}) == 24);
  CHECK(checked_numel(Shape{2, 0, 4}) == 0);
}

TEST_CASE("shape: a size that does not fit in 64 bits is refused, not wrapped") {
  const int64_t big = int64_t(1) << 32;
  CHECK_FALSE(checked_numel(Shape{big, big}).has_value());
  CHECK_FALSE(checked_numel(Shape{big, big >> 1}).has_value());
  CHECK(checked_numel(Shape{big, (big >> 1) - 1}) == big * ((big >> 1) - 1));
  CHECK(checked_numel(Shape{std::numeric_limits<int64_t>::max(), 1}) ==
        std::numeric_limits<int64_t>::max());
  CHECK(checked_numel(Shape{big, big, 0}) == 0);
  CHECK_THROWS_AS(cermet::numel(Shape{big, big}), cermet::InternalError);
}

TEST_CASE("shape: row-major strides end in 1 and count empty extents as 1") {
  CHECK(row_major_strides(Shape{}) == Strides{});
  CHECK(row_major_strides(Shape{7}) == Strides{1});
  CHECK(row_major_strides(Shape{2, 3, 4}) == Strides{12, 4, 1});
  CHECK(row_major_strides(Shape{2, 0, 4}) == Strides{4, 4, 1});
}

TEST_CASE("shape: broadcasting aligns at the right as NumPy does") {
  CHECK(broadcast_shapes(Shape{2, 3}, Shape{3}) == Shape{2, 3});
  CHECK(broadcast_shapes(Shape{3}, Shape{2, 3}) == Shape{2, 3});
  CHECK(broadcast_shapes(Shape{2, 1}, Shape{1, 3}) == Shape{2, 3});
  CHECK(broadcast_shapes(Shape{}, Shape{2, 3}) == Shape{2, 3});
  CHECK(broadcast_shapes(Shape{0, 3}, Shape{1, 3}) == Shape{0, 3});
  CHECK(broadcast_shapes(Shape{1}, Shape{0}) == Shape{0});
  CHECK_FALSE(broadcast_shapes(Shape{2, 3}, Shape{2}).has_value());
  CHECK_FALSE(broadcast_shapes(Shape{0}, Shape{2}).has_value());
}

TEST_CASE("shape: text is the extents in brackets") {
  CHECK(cermet::to_string(Shape{}) == "[]");
  CHECK(cermet::to_string(Shape{2, 3}) == "[2,3]");
  CHECK(cermet::to_string(Strides{-1}) == "[-1]");
}
