#pragma once
// Inputs, the same for everybody: uniform in [-scale, scale), hashed from position and seed, as
// numbers() of ../peers/inputs.py computes them; and the memory that yardsticks use, on huge pages
// where the system allows it.

#include <sys/mman.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <vector>

namespace bench {

// The finaliser of Chris Wellons' hash "lowbias32", 24 bits of which become the number.
inline void fill(std::span<float> to, uint32_t seed, float scale = 1) {
  for (size_t i = 0; i < to.size(); ++i) {
    uint32_t x = uint32_t(i) * 2654435761U + seed * 40503U + 12345U;
    x ^= x >> 16, x *= 0x7feb352dU, x ^= x >> 15, x *= 0x846ca68bU, x ^= x >> 16;
    to[i] = (float(x >> 8) * (2.0F / 16777216.0F) - 1.0F) * scale;
  }
}

inline std::vector<float> numbers(size_t count, uint32_t seed, float scale = 1) {
  std::vector<float> out(count);
  fill(out, seed, scale);
  return out;
}

inline double abs_sum(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += std::fabs(value);
  return sum;
}

// Floats at an address that suits any vector. Copies share the memory.
class Array {
 public:
  explicit Array(size_t count) : count_(count) {
    constexpr size_t page = 4096, huge = 2 << 20;
    const size_t unit = count * sizeof(float) >= 2 * huge ? huge : page;
    const size_t bytes = (count * sizeof(float) + unit - 1) / unit * unit;
    auto* memory = static_cast<float*>(std::aligned_alloc(unit, bytes));
    if (memory == nullptr) throw std::bad_alloc();
    if (unit == huge) madvise(memory, bytes, MADV_HUGEPAGE);
    memory_.reset(memory, std::free);
    std::fill_n(memory, bytes / sizeof(float), 0.0F);
  }
  Array(size_t count, uint32_t seed, float scale = 1) : Array(count) { fill(span(), seed, scale); }

  float* data() const { return memory_.get(); }
  size_t size() const { return count_; }
  std::span<float> span() const { return {memory_.get(), count_}; }
  float& operator[](size_t i) const { return memory_.get()[i]; }

 private:
  size_t count_;
  std::shared_ptr<float> memory_;
};

}  // namespace bench
