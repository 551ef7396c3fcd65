#pragma once
// Random numbers, from the counter-based generator Philox 4x32-10 (Salmon et al., SC'11): element i
// of a result is a function of the key and i alone, so results are the same for any number of
// threads and on any device.
//
// Functions with a Key are pure. Those without take the next key of the default generator, as
// PyTorch's do.

#include <utility>

#include "cermet/ops.h"

namespace cermet {

struct Key {
  uint64_t value = 0;
  explicit Key(uint64_t seed) : value(seed) {}
  // Independent keys made from this one.
  std::pair<Key, Key> split() const;
  Key fold(uint64_t number) const;
};

void manual_seed(uint64_t seed);  // of the default generator
Key next_key();                   // of the default generator

// [0, 1)
Tensor rand(const Shape& shape, const Options& options = {}, CERMET_HERE);
Tensor rand(const Key& key, const Shape& shape, const Options& options = {}, CERMET_HERE);
Tensor uniform(const Key& key, const Shape& shape, double low, double high,
               const Options& options = {}, CERMET_HERE);
// Mean 0, standard deviation 1 (Box and Muller, 1958).
Tensor randn(const Shape& shape, const Options& options = {}, CERMET_HERE);
Tensor randn(const Key& key, const Shape& shape, const Options& options = {}, CERMET_HERE);
// Integers in [low, high), int64 unless given; 128-bit multiply-shift of 64 random bits (Lemire,
// 2019), bias below 2^-32 for ranges below 2^32. Error if the dtype cannot hold the range.
Tensor randint(int64_t low, int64_t high, const Shape& shape, const Options& options = {},
               CERMET_HERE);
Tensor randint(const Key& key, int64_t low, int64_t high, const Shape& shape,
               const Options& options = {}, CERMET_HERE);
// 0, 1, ..., n - 1 in random order; int64 unless given. Error if the dtype cannot hold them.
Tensor randperm(int64_t n, const Options& options = {}, CERMET_HERE);
Tensor randperm(const Key& key, int64_t n, const Options& options = {}, CERMET_HERE);
// 1 with probability p (a tensor of probabilities), else 0; p's dtype. What is below 0, or NaN,
// counts as 0, what is above 1 as 1.
Tensor bernoulli(const Tensor& p, CERMET_HERE);
Tensor bernoulli(const Key& key, const Tensor& p, CERMET_HERE);

}  // namespace cermet
