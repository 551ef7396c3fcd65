#include "support/compare.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "ir/element.h"
#include "ir/node.h"

namespace cermet::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// The elements of a float dtype as integers in the order of their values, -0.0 and 0.0 both 0.
int64_t rank_of(DType dtype, uint64_t bits) {
  const uint64_t sign = uint64_t(1) << (bits_of(dtype) - 1);
  return bits & sign ? -int64_t(bits - sign) : int64_t(bits);
}

bool close(DType dtype, uint64_t got, uint64_t expected, const Tolerance& tolerance) {
  if (got == expected) return true;
  if (!is_float(dtype)) return false;
  const double x = ir::element_to_double(dtype, got), y = ir::element_to_double(dtype, expected);
  if (std::isnan(x) || std::isnan(y)) return std::isnan(x) && std::isnan(y);
  if (x == y) return !tolerance.signed_zeros || tolerance.absolute > 0;  // 0.0 and -0.0
  if (ulp_distance(dtype, got, expected) <= tolerance.ulps) return true;
  if (!std::isfinite(x) || !std::isfinite(y)) return false;
  const double error = std::fabs(x - y);
  return error <= tolerance.relative * std::fabs(y) || error <= tolerance.absolute;
}

std::string index_string(std::span<const int64_t> shape, int64_t position) {
  Dims index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = position % shape[d];
    position /= shape[d];
  }
  return to_string(index);
}

std::string shown(DType dtype, uint64_t bits) {
  return fmt::format("{} ({:0{}x})", ir::element_string(dtype, bits), bits, size_of(dtype) * 2);
}

}  // namespace

Tolerance sum_tolerance(DType dtype, int64_t terms, double magnitude) {
  const double accumulated = dtype == DType::F64 ? std::ldexp(1, -53) : std::ldexp(1, -24);
  return {.ulps = 1,
          .absolute = 4 * std::sqrt(double(std::max<int64_t>(terms, 1))) * accumulated * magnitude,
          .signed_zeros = false};
}

double ulp_distance(DType dtype, uint64_t a, uint64_t b) {
  const double x = ir::element_to_double(dtype, a), y = ir::element_to_double(dtype, b);
  if (std::isnan(x) || std::isnan(y)) return std::isnan(x) && std::isnan(y) ? 0 : infinity;
  // Subtracted as integers: neighbours in f64 have ranks that are one number as a double.
  const int64_t i = rank_of(dtype, a), j = rank_of(dtype, b);
  return double(i > j ? uint64_t(i) - uint64_t(j) : uint64_t(j) - uint64_t(i));
}

std::optional<std::string> difference(const ir::HostArray& got, const ir::HostArray& expected,
                                      const Tolerance& tolerance) {
  const DType dtype = expected.dtype;
  const std::string type = ir::type_string(got.dtype, got.shape);
  if (got.dtype != dtype || got.shape != expected.shape)
    return fmt::format("got {}, expected {}", type, ir::type_string(dtype, expected.shape));
  constexpr int64_t listed = 4;
  int64_t count = 0;
  double worst = 0;
  std::string list;
  for (int64_t i = 0; i < got.numel(); ++i) {
    const uint64_t x = got.bits(i), y = expected.bits(i);
    if (close(dtype, x, y, tolerance)) continue;
    std::string distance;
    if (is_float(dtype)) {
      const double ulps = ulp_distance(dtype, x, y);
      worst = std::max(worst, ulps);
      distance = fmt::format(", {} ulps apart", ulps);
    }
    if (count++ < listed)
      list += fmt::format("{} at {} got {}, expected {}{}", count > 1 ? ";" : "",
                          index_string(got.shape, i), shown(dtype, x), shown(dtype, y), distance);
  }
  if (count == 0) return std::nullopt;
  std::string text =
      fmt::format("{} differs in {} of {} elements:{}", type, count, got.numel(), list);
  if (count > listed) text += "; ...";
  if (is_float(dtype)) text += fmt::format(" (at most {} ulps)", worst);
  return text;
}

}  // namespace cermet::test
