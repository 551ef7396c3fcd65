#pragma once
// What every CUDA C text of ours begins with.

#include <string_view>

namespace cermet::compiler {

// Halves as bit patterns with conversions that round once, vectors for wide accesses, lookups in
// warps, and the error cell.
std::string_view cuda_prelude();

}  // namespace cermet::compiler
