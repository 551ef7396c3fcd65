#pragma once
// The header of a .npy file: a Python dictionary with the keys descr, fortran_order and shape.

#include <string>
#include <string_view>

#include "cermet/dtype.h"
#include "cermet/shape.h"

namespace cermet::runtime {

struct NpyHeader {
  DType dtype = DType::F32;
  bool swapped = false;  // the data has the other byte order than this machine
  bool fortran_order = false;
  Shape shape;
};

// Reads the dictionary. Throws Error for anything but those three keys with values that make sense
// here; `where` begins the message.
NpyHeader parse_npy_header(std::string_view text, std::string_view where);

// The dictionary as NumPy writes it, without the padding behind it.
std::string format_npy_header(DType dtype, std::span<const int64_t> shape);

}  // namespace cermet::runtime
