#pragma once
// Sorting rows on a GPU: what Kernel::Kind::Sort becomes there.
//
// Runs of sorted positions are merged pairwise, all rows at once, until one run is left: a pass
// for every doubling. Each thread takes one position, finds by bisection how many of the other run
// come before it, and so its place among both; equal elements stay in order, and NaN is the
// greatest, as on the CPU.

#include <string>
#include <string_view>

#include "cermet/dtype.h"

namespace cermet::compiler {

// A program with one kernel:
//   name(elements, const int64* from, int64* to, int64 columns, int64 width, int64 total)
// merges runs of `width` positions in rows of `columns`, `total` elements in all, with
// cuda_sort_threads threads to a block and one element to a thread. A null `from` stands for the
// positions in order.
std::string print_cuda_sort(DType dtype, bool descending, std::string_view name);
inline constexpr int cuda_sort_threads = 256;

}  // namespace cermet::compiler
