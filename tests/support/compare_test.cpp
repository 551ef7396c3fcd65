// Other tests trust what support/compare.h says, so it is tested itself.
#include "support/compare.h"

#include <cmath>
#include <limits>

#include "support/catch.h"

using namespace cermet;
using cermet::ir::HostArray;
using cermet::test::difference;
using cermet::test::ulp_distance;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

bool equal(float a, float b, const test::Tolerance& tolerance = {}) {
  return !difference(HostArray::of<float>({}, {a}), HostArray::of<float>({}, {b}), tolerance);
}

}  // namespace

TEST_CASE("compare: units in the last place are steps along the numbers of the dtype") {
  CHECK(ulp_distance(DType::F32, 0x3f800000, 0x3f800003) == 3);
  CHECK(ulp_distance(DType::F32, 0x80000002, 0x00000001) == 3);
  CHECK(ulp_distance(DType::F32, 0x80000000, 0x00000000) == 0);
  CHECK(ulp_distance(DType::F16, 0x7bff, 0x7c00) == 1);
  CHECK(ulp_distance(DType::BF16, 0x7fc0, 0xffc1) == 0);
  CHECK(ulp_distance(DType::F64, 0x7ff8000000000000, 0) == double(infinity));
  CHECK(ulp_distance(DType::F64, 0, 0x8000000000000001) == 1);
}

TEST_CASE("compare: what counts as equal") {
  CHECK(equal(not_a_number, -not_a_number));
  CHECK_FALSE(equal(not_a_number, 1, {.absolute = 1e30}));
  CHECK_FALSE(equal(infinity, -infinity, {.relative = 10, .absolute = 1e30}));
  CHECK_FALSE(equal(infinity, 1, {.relative = 10, .absolute = 1e30}));
  CHECK_FALSE(equal(0.0f, -0.0f, {.ulps = 2}));
  CHECK(equal(0.0f, -0.0f, {.signed_zeros = false}));
  const float next = std::nextafter(1.0f, 2.0f);
  CHECK_FALSE(equal(1, next));
  CHECK(equal(1, next, {.ulps = 1}));
  CHECK(equal(1, 1.01f, {.relative = 0.02}));
  CHECK_FALSE(equal(1, 1.01f, {.relative = 0.005}));
  CHECK(equal(1, 1.01f, {.absolute = 0.02}));
}

TEST_CASE("compare: integers are equal or not, and the message says where") {
  const HostArray a = HostArray::of<int16_t>({2, 2}, {1, 2, 3, -4});
  const HostArray b = HostArray::of<int16_t>({2, 2}, {1, 2, 3, 4});
  CHECK(*difference(a, b, {.ulps = 100, .absolute = 100}) ==
        "i16[2,2] differs in 1 of 4 elements: at [1,1] got -4 (fffc), expected 4 (0004)");
  CHECK(*difference(a, HostArray(DType::I16, {4})) == "got i16[2,2], expected i16[4]");
  CHECK(*difference(HostArray::of<float>({1}, {1}), HostArray::of<float>({1}, {1.5f})) ==
        "f32[1] differs in 1 of 1 elements: at [0] got 1 (3f800000), expected 1.5 (3fc00000), "
        "4194304 ulps apart (at most 4194304 ulps)");
}
