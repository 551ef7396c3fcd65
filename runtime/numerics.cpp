#include "runtime/numerics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "cermet/numerics.h"

namespace cermet {
namespace {

constexpr auto precisions = std::to_array<std::string_view>({"highest", "high", "medium"});

std::atomic<size_t> precision_now = 0;  // of precisions
std::atomic<bool> fast_now = false;

}  // namespace

void set_float32_matmul_precision(std::string_view precision, SourceLocation where) {
  const auto found = std::ranges::find(precisions, precision);
  if (found == precisions.end())
    throw Error(fmt::format("set_float32_matmul_precision: \"{}\" is not a precision, there are "
                            "highest, high and medium",
                            precision),
                where);
  precision_now = size_t(found - precisions.begin());
}
std::string_view float32_matmul_precision() { return precisions[precision_now]; }

void set_fast_math(bool on) { fast_now = on; }
bool fast_math() { return fast_now; }

namespace runtime {

compiler::Numerics current_numerics() { return {.fast = fast_now, .tf32 = precision_now != 0}; }

}  // namespace runtime
}  // namespace cermet
