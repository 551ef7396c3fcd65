#pragma once
// Tests of single instructions: a few lines of PTX that compute %d from %a, %b and %c are run on
// edge values and random ones, and every result is compared with a function of the host.

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "ptxsim/device.h"
#include "support/catch.h"

namespace cermet::ptxsim::test {

// Values at the edges of a type, then more of them among random ones.
template <class T>
std::vector<T> sample(std::size_t count, std::uint64_t seed) {
  using L = std::numeric_limits<T>;
  std::vector<T> result;
  if constexpr (std::is_floating_point_v<T>) {
    result = {
        T{0},      -T{0},          T{1},     T{-1},           T(0.5),           T(1.5),
        T(2.5),    T(-2.5),        T(3),     L::infinity(),   -L::infinity(),   L::quiet_NaN(),
        L::max(),  L::lowest(),    L::min(), L::denorm_min(), -L::denorm_min(), L::epsilon(),
        T(0x1p31), T(-0x1p31 - 2), T(1e9),   T(0x1p63),       T(65504),         T(-0.3)};
  } else {
    result = {T{0},
              T{1},
              T(2),
              T(31),
              T(32),
              T(33),
              T(63),
              T(64),
              T(255),
              static_cast<T>(~T{0}),
              L::max(),
              L::min(),
              static_cast<T>(L::max() / 2 + 1),
              static_cast<T>(0x12345678),
              T(100)};
  }
  std::mt19937_64 random(seed);
  const std::size_t edges = result.size();
  while (result.size() < count) {
    if (random() % 2 == 0) {
      result.push_back(result[random() % edges]);
      continue;
    }
    if constexpr (std::is_floating_point_v<T>) {
      const double x = static_cast<double>(random() % 2000001) / 1e5 - 10;
      result.push_back(static_cast<T>(
          random() % 3 == 0 ? x * std::exp2(static_cast<double>(random() % 80) - 40.0) : x));
    } else {
      result.push_back(static_cast<T>(random() >> (random() % 64)));
    }
  }
  return result;
}

template <class T>
bool same_value(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) && std::isnan(b)) return true;
    return a == b && std::signbit(a) == std::signbit(b);
  } else {
    return a == b;
  }
}

// A kernel that loads %a, %b, ... of these many bytes, runs the lines and stores %d.
inline std::string operation_kernel(const std::string& lines, std::size_t result_bytes,
                                    const std::vector<std::size_t>& operand_bytes, int sm = 90) {
  std::string parameters, loads, names;
  for (std::size_t i = 0; i < operand_bytes.size(); ++i) {
    const char name = static_cast<char>('a' + i);
    parameters += fmt::format(", .param .u64 p{}", name);
    names += fmt::format(".reg .b{} %{};\n", 8 * operand_bytes[i], name);
    loads += fmt::format(
        "ld.param.u64 %pointer, [p{0}]; mad.wide.u32 %pointer, %i, {1}, %pointer;\n"
        "ld.global.b{2} %{0}, [%pointer];\n",
        name, operand_bytes[i], 8 * operand_bytes[i]);
  }
  return fmt::format(
      ".version 8.6\n.target sm_{}\n.address_size 64\n.visible .entry k(.param .u64 out{}) {{\n"
      ".reg .b64 %pointer; .reg .b32 %i, %t, %n; .reg .pred p, q; .reg .b{} %d; .reg .b16 %h<4>;\n"
      ".reg .b32 %w<9>; .reg .b64 %x<4>; {}"
      "mov.u32 %t, %tid.x; mov.u32 %i, %ctaid.x; mov.u32 %n, %ntid.x; mad.lo.u32 %i, %i, %n, "
      "%t;\n{}{}\n"
      "ld.param.u64 %pointer, [out]; mad.wide.u32 %pointer, %i, {}, %pointer;\n"
      "st.global.b{} [%pointer], %d;\nret;\n}}",
      sm, parameters, 8 * result_bytes, names, loads, lines, result_bytes, 8 * result_bytes);
}

constexpr std::size_t kSamples = 32 * 40;

// Compares what the lines give with reference(a, b, ...), a D.
template <class D, class... A, class F, class Same>
void expect_operation(const std::string& lines, F reference, Same same) {
  INFO(lines);
  const auto module = Module::parse(operation_kernel(lines, sizeof(D), {sizeof(A)...}));
  Device device;
  const std::tuple<std::vector<A>...> values{sample<A>(kSamples, 1)...};
  std::tuple<std::vector<A>...> mixed = values;
  std::mt19937_64 random(7);
  // Edge values meet each other: later operands are permuted.
  std::apply(
      [&](auto& first, auto&... rest) {
        (std::shuffle(rest.begin(), rest.end(), random), ...);
        (void)first;
      },
      mixed);
  D* const out = device.raw<D>(kSamples);
  const Report report = std::apply(
      [&](const auto&... arrays) {
        return device.run(*module, "k", {{kSamples / 64, 1, 1}, {64, 1, 1}, 0}, out,
                          device.array(arrays)...);
      },
      mixed);
  REQUIRE(report.text() == "");
  for (std::size_t i = 0; i < kSamples; ++i) {
    const D expected = std::apply(
        [&](const auto&... arrays) { return static_cast<D>(reference(arrays[i]...)); }, mixed);
    if (same(expected, out[i])) continue;
    std::string inputs;
    std::apply([&](const auto&... arrays) { ((inputs += fmt::format(" {}", arrays[i])), ...); },
               mixed);
    FAIL(fmt::format("{} gives {} for{}, expected {}", lines, out[i], inputs, expected));
  }
  SUCCEED();
}
template <class D, class... A, class F>
void expect_operation(const std::string& lines, F reference) {
  expect_operation<D, A...>(lines, reference, same_value<D>);
}

// Within some units in the last place.
inline auto within_ulp(double ulps) {
  return [ulps](auto expected, auto got) {
    using T = decltype(expected);
    if (same_value(expected, got)) return true;
    if (!std::isfinite(expected) || !std::isfinite(got)) return false;
    const T unit =
        std::max(std::nextafter(std::fabs(expected), std::numeric_limits<T>::infinity()) -
                     std::fabs(expected),
                 std::numeric_limits<T>::min());
    return std::fabs(static_cast<double>(expected) - static_cast<double>(got)) <=
           ulps * static_cast<double>(unit);
  };
}

}  // namespace cermet::ptxsim::test
