#include "compiler/cuda/sort.h"

#include <fmt/format.h>

#include "compiler/cuda/prelude.h"
#include "compiler/cuda/types.h"

namespace cermet::compiler {
namespace {

// T: the type of the elements; NUMBER: what is compared of one, VALUE(x).
constexpr std::string_view text = R"(
I bool less(NUMBER a, NUMBER b) { return a < b || (b != b && a == a); }
I bool before(NUMBER a, NUMBER b) { return DESCENDING ? less(b, a) : less(a, b); }
extern "C" __global__ void __launch_bounds__(256, 1) KERNEL(
    const T* __restrict__ elements, const long long* __restrict__ from, long long* __restrict__ to,
    long long columns, long long width, long long total) {
  const long long i = (long long)blockIdx.x * 256 + threadIdx.x;
  if (i >= total) return;
  const long long row = quotient(i, columns) * columns, p = i - row;
  const long long start = quotient(p, 2 * width) * 2 * width;
  const long long middle = start + width < columns ? start + width : columns;
  const long long end = middle + width < columns ? middle + width : columns;
  const long long position = from ? from[i] : p;
  const NUMBER mine = VALUE(elements[row + position]);
  const bool left = p < middle;
  // How many of the other run come first; of equal elements those of the left run do.
  const long long first = left ? middle : start;
  long long low = first, high = left ? end : middle;
  while (low < high) {
    const long long at = low + (high - low) / 2;
    const NUMBER other = VALUE(elements[row + (from ? from[row + at] : at)]);
    if (left ? before(other, mine) : !before(mine, other)) low = at + 1; else high = at;
  }
  const long long own = left ? p - start : p - middle;
  to[row + start + own + (low - first)] = position;
}
)";

}  // namespace

std::string print_cuda_sort(DType dtype, bool descending, std::string_view name) {
  const bool half = dtype == DType::F16 || dtype == DType::BF16;
  return fmt::format(
      "{}#define T {}\n#define NUMBER {}\n#define VALUE(x) {}\n#define DESCENDING {}\n"
      "#define KERNEL {}\n{}",
      cuda_prelude(), cuda_type(dtype), half ? "float" : "T", half ? "number(x)" : "(x)",
      descending ? "true" : "false", name, text);
}

}  // namespace cermet::compiler
