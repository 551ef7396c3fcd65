#pragma once
// What the interpreter knows of an allocation besides its bytes: which of them were ever written,
// and which blocks of the running launch touched them.

#include <cstdint>
#include <string>
#include <vector>

#include "ptxsim/ptxsim.h"

namespace cermet::ptxsim {

// Of one granule of global memory, the last accesses in this launch. Blocks count from 1 and go on
// over launches (GlobalShadow), so that what an earlier launch left is recognised without clearing.
struct GlobalTouch {
  std::uint32_t writer = 0, reader = 0;
};
// The top bits of a touch: it was an atomic; more than one block read.
inline constexpr std::uint32_t kAtomicTouch = 0x80000000, kManyReaders = 0x80000000;

struct Allocation {
  std::uint64_t address = 0, size = 0;
  std::byte* host = nullptr;
  bool alive = true;
  std::string name;
  std::vector<std::uint64_t> written;  // a bit per byte, and a word to spare
  // One touch per granule. The granule is the smallest access seen: most allocations are accessed
  // by one size only, and then the table is small.
  std::uint32_t granule_shift = 0;
  std::vector<GlobalTouch> touches;

  bool contains(std::uint64_t at, std::uint64_t bytes) const {
    return at >= address && bytes <= size && at - address <= size - bytes;
  }
  // Of at most 32 bytes.
  bool is_written(std::uint64_t at, std::uint32_t bytes) const {
    const std::uint64_t offset = at - address, mask = (std::uint64_t{1} << bytes) - 1;
    const std::uint64_t *word = &written[offset / 64], shift = offset % 64;
    const std::uint64_t bits = word[0] >> shift | (shift == 0 ? 0 : word[1] << (64 - shift));
    return (bits & mask) == mask;
  }
  void set_written(std::uint64_t at, std::uint32_t bytes) {
    const std::uint64_t offset = at - address, mask = (std::uint64_t{1} << bytes) - 1;
    std::uint64_t *word = &written[offset / 64], shift = offset % 64;
    word[0] |= mask << shift;
    if (shift + bytes > 64) word[1] |= mask >> (64 - shift);
  }
};

}  // namespace cermet::ptxsim
