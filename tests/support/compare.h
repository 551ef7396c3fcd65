#pragma once
// Comparing arrays: exactly, or within a tolerance that says which model of error it follows.

#include <optional>
#include <string>

#include "ir/host_array.h"

namespace cermet::test {

// How far an element may be from the expected one. It passes if any of the three allows it;
// integers and bool must always be equal. NaN equals NaN whatever its bits, and nothing else.
struct Tolerance {
  double ulps = 0;      // units in the last place of the dtype: how many steps along its numbers
  double relative = 0;  // |got - expected| <= relative * |expected|
  double absolute = 0;  // |got - expected| <= absolute
  bool signed_zeros = true;  // 0.0 and -0.0 differ, unless `absolute` is given
};

// For a sum of `terms` elements of the dtype, of which the absolute values sum to `magnitude`, that
// was accumulated in any order in arithmetic as wide as f32 or the dtype, whichever is wider, and
// then rounded: the probabilistic error sqrt(terms) * epsilon * magnitude (Higham and Mary, "A new
// approach to probabilistic rounding error analysis", 2019) with a factor of 4, and one rounding.
Tolerance sum_tolerance(DType dtype, int64_t terms, double magnitude);

// How many numbers of the dtype lie between two of its elements, +1; 0 for equal ones and for two
// NaNs, infinity for NaN and a number. -0.0 and 0.0 are the same number.
double ulp_distance(DType dtype, uint64_t a, uint64_t b);

// What distinguishes the arrays, or nothing: "f32[2,3] differs in 2 of 6 elements, first at [1,0]:
// got 1.5 (3fc00000), expected 1.25 (3fa00000), 2097152 ulps apart; ...".
std::optional<std::string> difference(const ir::HostArray& got, const ir::HostArray& expected,
                                      const Tolerance& tolerance = {});

}  // namespace cermet::test
