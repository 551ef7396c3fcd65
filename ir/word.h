#pragma once
// Elements in the form that they are computed with on the host: a double for every float dtype, an
// int64_t for signed integers and bool (0 or 1), a uint64_t for unsigned ones. All are 8 bytes, so
// a buffer of words needs no type of its own; its dtype says what it holds.
//
// Unpacking is exact. Packing rounds once to a float dtype, to nearest even, and wraps to an
// integer one.

#include <cstdint>

#include "cermet/dtype.h"

namespace cermet::ir {

inline constexpr size_t word_size = 8;

// Calls f with a zero of the dtype's word type.
template <class F>
constexpr decltype(auto) visit_word(DType dtype, F&& f) {
  if (is_float(dtype)) return f(double{});
  if (is_unsigned(dtype)) return f(uint64_t{});
  return f(int64_t{});
}

// Elements [begin, begin + count) of a row-major buffer to words.
void unpack(DType dtype, const void* data, int64_t begin, int64_t count, void* words);
// Words to elements [begin, begin + count).
void pack(DType dtype, const void* words, int64_t count, void* data, int64_t begin);

// Words of dtype `from` to elements of dtype `to`, as Op::Cast says (ir/op.h).
void pack_cast(DType from, const void* words, int64_t count, DType to, void* data, int64_t begin);

}  // namespace cermet::ir
