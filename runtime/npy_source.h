#pragma once
// Where the bytes of a .npy file come from: memory, a file, or a member of a zip.

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/function_ref.h"
#include "runtime/npy_file.h"

namespace cermet::runtime {

struct NpySource {
  std::string where;  // begins every error message
  uint64_t left;      // bytes that are left, as far as the source knows
  // Reads up to so many bytes; 0 at the end.
  FunctionRef<size_t(std::byte*, size_t)> read;
};

// The array that the source begins with.
Array read_array(NpySource& source);

}  // namespace cermet::runtime
