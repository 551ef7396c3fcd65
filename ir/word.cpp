#include "ir/word.h"

#include <type_traits>

#include "ir/element.h"

namespace cermet::ir {
namespace {

template <class T>
using WordOf = std::conditional_t<
    dtype_table[size_t(dtype_of<T>)].kind == DTypeKind::Float, double,
    std::conditional_t<dtype_table[size_t(dtype_of<T>)].kind == DTypeKind::Unsigned, uint64_t,
                       int64_t>>;

// The element of type T that a word of another or the same dtype becomes.
template <class T, class W>
void store(T* data, int64_t i, W word) {
  if constexpr (std::is_same_v<T, bool>) {
    data[i] = word != 0;
  } else if constexpr (std::is_same_v<T, double> || std::is_same_v<T, float>) {
    data[i] = T(word);
  } else if constexpr (std::is_integral_v<T> && std::is_integral_v<W>) {
    data[i] = T(word);
  } else if constexpr (std::is_same_v<W, uint64_t>) {  // to f16 or bf16
    store_bits(dtype_of<T>, data, i, element_bits(dtype_of<T>, double(word)));
  } else {
    store_bits(dtype_of<T>, data, i, element_bits(dtype_of<T>, word));
  }
}

template <class W>
void store_all(DType to, const void* words, int64_t count, void* data, int64_t begin) {
  visit(to, [&]<class T>(T) {
    T* out = static_cast<T*>(data) + begin;
    for (int64_t i = 0; i < count; ++i) store(out, i, static_cast<const W*>(words)[i]);
  });
}

}  // namespace

void unpack(DType dtype, const void* data, int64_t begin, int64_t count, void* words) {
  visit(dtype, [&]<class T>(T) {
    const T* in = static_cast<const T*>(data) + begin;
    auto* out = static_cast<WordOf<T>*>(words);
    for (int64_t i = 0; i < count; ++i) out[i] = WordOf<T>(in[i]);
  });
}

void pack(DType dtype, const void* words, int64_t count, void* data, int64_t begin) {
  visit(dtype, [&]<class T>(T) {
    T* out = static_cast<T*>(data) + begin;
    for (int64_t i = 0; i < count; ++i) store(out, i, static_cast<const WordOf<T>*>(words)[i]);
  });
}

void pack_cast(DType from, const void* words, int64_t count, DType to, void* data, int64_t begin) {
  visit_word(from, [&]<class W>(W) { store_all<W>(to, words, count, data, begin); });
}

}  // namespace cermet::ir
