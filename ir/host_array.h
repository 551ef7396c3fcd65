#pragma once
// An array in host memory: dtype, shape and the elements, row-major. What the interpreter takes and
// returns, and what tests compare.

#include <cstddef>
#include <span>
#include <vector>

#include "cermet/dtype.h"
#include "cermet/shape.h"

namespace cermet::ir {

struct HostArray {
  DType dtype = DType::F32;
  Shape shape;
  std::vector<std::byte> bytes;  // numel() elements, zero at first

  HostArray() = default;
  HostArray(DType dtype, Shape shape);
  // A copy of the elements at `data`, which has numel(shape) of them.
  HostArray(DType dtype, Shape shape, const void* data);

  // An array of C++ values: HostArray::of<float>({2, 2}, {1, 2, 3, 4}). Throws Error unless there
  // are as many as the shape says.
  template <Element T>
  static HostArray of(const Shape& shape, std::initializer_list<T> values) {
    HostArray out(dtype_of<T>, shape);
    out.expect_count(values.size());
    std::copy(values.begin(), values.end(), out.as<T>().begin());
    return out;
  }
  // The numbers as elements of any dtype, each rounded to it (ir/element.h).
  static HostArray of(DType dtype, const Shape& shape, std::span<const double> values);

  int64_t numel() const { return cermet::numel(shape); }

  // The elements as C++ values. Throws Error if the dtype is another one.
  template <Element T>
  std::span<T> as() {
    expect_dtype(dtype_of<T>);
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  template <Element T>
  std::span<const T> as() const {
    expect_dtype(dtype_of<T>);
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }

  // One element of whatever dtype, by its row-major position: its bits, zero-extended, or its
  // value.
  uint64_t bits(int64_t i) const;
  void set_bits(int64_t i, uint64_t bits);
  double number(int64_t i) const;

  // Equal dtype, shape and bits.
  friend bool operator==(const HostArray&, const HostArray&) = default;

 private:
  void expect_dtype(DType asked) const;
  void expect_count(size_t count) const;
};

// "f32[3] {1, -0, nan}"; what lies beyond `limit` elements is "...". 64-bit integers are exact.
std::string to_string(const HostArray& array, int64_t limit = 16);
// The element as such a list shows it.
std::string element_string(DType dtype, uint64_t bits);

}  // namespace cermet::ir
