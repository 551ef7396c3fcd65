#pragma once
// Finds races between blocks in global memory. Blocks of a grid have no order, so what one writes
// no other may read or write, unless both accesses are atomic, or the one block released it and the
// other acquired it: a fence after the write, then an atomic, and an atomic of the other block on
// the same address later. That is how the last block of a grid takes over the others' results.
//
// A fence covers the writes of its own warp and those that a barrier has ordered before it.

#include <cstdint>
#include <set>
#include <unordered_map>
#include <vector>

#include "ptxsim/machine.h"
#include "ptxsim/memory.h"
#include "ptxsim/shared_shadow.h"

namespace cermet::ptxsim {

class GlobalShadow {
 public:
  explicit GlobalShadow(std::uint64_t blocks);
  void begin_block(std::uint64_t number, std::size_t warps);
  void touch(Warp& warp, const Inst& inst, int lane, std::uint64_t address, std::uint32_t bytes,
             Allocation& allocation, Touch touch);
  // A fence by a warp; an atomic on an address, which releases and acquires.
  void fence(const Warp& warp) { unfenced_[static_cast<std::size_t>(warp.index)] = false; }
  void synchronise(const Warp& warp, std::uint64_t address);
  void barrier(std::uint32_t warps);

 private:
  void prepare(Allocation& allocation, std::uint32_t bytes);
  bool ordered(std::uint32_t block) const { return acquired_.count(block) != 0; }
  void race(Warp& warp, const Inst& inst, int lane, std::uint64_t address, const char* now,
            const char* before, std::uint32_t block);

  std::uint32_t base_;  // blocks of this launch are base_ + 1 + number
  std::uint32_t me_ = 0;
  std::vector<bool> unfenced_;        // by warp: it wrote, and no fence has followed
  std::set<std::uint32_t> acquired_;  // by the running block
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> releasers_;  // by address
};

}  // namespace cermet::ptxsim
