#pragma once
// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, Parallel random
// numbers: as easy as 1, 2, 3 (SC'11): a keyed bijection of the counter, so that any element of a
// stream is computed by itself.

#include <array>

#include "compiler/vecmath_number.h"

namespace cermet::compiler::vecmath {

// Four words of 32 bits, each in a u64.
template <class B>
using PhiloxWords = std::array<Number<B>, 4>;

// The whole generator: counter words and key words to output words.
template <class B>
PhiloxWords<B> philox_words(PhiloxWords<B> c, Number<B> key0, Number<B> key1) {
  const int64_t half = 0xffffffff;
  for (int round = 0; round < 10; ++round) {
    const Number<B> p0 = c[0] * 0xd2511f53, p1 = c[2] * 0xcd9e8d57;
    c = {(p1 >> 32) ^ c[1] ^ key0, p1 & half, (p0 >> 32) ^ c[3] ^ key1, p0 & half};
    key0 = (key0 + 0x9e3779b9) & half;  // the golden ratio and sqrt(3) - 1
    key1 = (key1 + 0xbb67ae85) & half;
  }
  return c;
}

// The first two output words, word0 | word1 << 32, for counter words (low, high, 0, 0) and key
// words (low, high) of the u64 counter and key.
template <class B>
typename B::Value philox(B& b, typename B::Value counter, typename B::Value key) {
  const int64_t half = 0xffffffff;
  const Number<B> c{&b, counter}, k{&b, key}, zero = c.same(0);
  const PhiloxWords<B> words = philox_words<B>({c & half, c >> 32, zero, zero}, k & half, k >> 32);
  return (words[0] | (words[1] << 32)).value;
}

}  // namespace cermet::compiler::vecmath
