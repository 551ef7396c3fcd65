#pragma once
// NumPy's files: .npy (one array) and .npz (a zip of them).
//
// Reading takes versions 1 to 3 of the format, both byte orders and both memory orders, and always
// gives an array in row-major order and the machine's byte order. Writing gives the bytes that
// NumPy itself would write. A file may come from anywhere: whatever it claims is compared with what
// it holds before memory is asked for, nothing in it is executed (arrays of Python objects are
// refused), and names in a zip that lead out of it are refused. Every refusal is an Error that
// names the file and what was found, also when there is no such file; a disk that fails, or has no
// room for what is written, is a DeviceError.
//
// bf16 is not a type of NumPy. It is written with the descr "bfloat16", which NumPy reads once the
// package ml_dtypes is imported. That package writes two anonymous bytes, '<V2', which cannot be
// told from other data and is refused.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cermet/dtype.h"
#include "cermet/shape.h"

namespace cermet::runtime {

// An array in memory: row-major, numel(shape) elements.
struct Array {
  DType dtype = DType::F32;
  Shape shape;
  std::vector<std::byte> data;
};

// Somebody else's array, to be written: row-major.
struct ArrayView {
  DType dtype = DType::F32;
  Shape shape;
  const void* data = nullptr;

  ArrayView(DType type, Shape extents, const void* first)
      : dtype(type), shape(std::move(extents)), data(first) {}
  ArrayView(const Array& array) : ArrayView(array.dtype, array.shape, array.data.data()) {}
};

// In the order of the file.
using NamedArrays = std::vector<std::pair<std::string, Array>>;
using NamedViews = std::vector<std::pair<std::string, ArrayView>>;

// The array in the bytes of a .npy file; `name` stands for the file in errors. Bytes behind the
// array are ignored, as NumPy does.
Array parse_npy(std::span<const std::byte> bytes, std::string_view name = "bytes");
Array read_npy(const std::filesystem::path& path);

// The first bytes of a .npy file, up to the data.
std::string npy_header(DType dtype, std::span<const int64_t> shape);
// The file appears complete or not at all.
void write_npy(const std::filesystem::path& path, const ArrayView& array);

// The arrays of a .npz file, stored or deflated, by their names without ".npy". Other files in the
// zip, encrypted ones, and names that are not unique or not plain relative paths are errors.
NamedArrays read_npz(const std::filesystem::path& path);
// Stored without compression, like numpy.savez. The file appears complete or not at all.
void write_npz(const std::filesystem::path& path, const NamedViews& arrays);

}  // namespace cermet::runtime
