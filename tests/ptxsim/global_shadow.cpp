#include "ptxsim/global_shadow.h"

#include <fmt/format.h>

#include <algorithm>

namespace cermet::ptxsim {
namespace {

constexpr std::uint32_t kBlockMask = 0x7fffffff;

}  // namespace

GlobalShadow::GlobalShadow(std::uint64_t blocks) {
  // One count for all launches of the process; past its end the tables of allocations would have to
  // be cleared, and no test gets there.
  static std::uint64_t used = 0;
  if (blocks >= kBlockMask - used) {
    throw Error("launch: more than 2^31 blocks in one process with global_races on");
  }
  base_ = static_cast<std::uint32_t>(used);
  used += blocks;
}

void GlobalShadow::begin_block(std::uint64_t number, std::size_t warps) {
  me_ = base_ + 1 + static_cast<std::uint32_t>(number);
  unfenced_.assign(warps, false);
  acquired_.clear();
}

// The table of the allocation, with granules no larger than this access.
void GlobalShadow::prepare(Allocation& allocation, std::uint32_t bytes) {
  const auto shift = static_cast<std::uint32_t>(__builtin_ctz(bytes));
  if (allocation.touches.empty()) {
    allocation.granule_shift = std::min(shift, 4U);
    allocation.touches.assign((allocation.size >> allocation.granule_shift) + 1, {});
  }
  if (shift >= allocation.granule_shift) return;
  const std::uint32_t parts = allocation.granule_shift - shift;
  std::vector<GlobalTouch> finer((allocation.size >> shift) + 1);
  for (std::size_t i = 0; i < finer.size(); ++i) finer[i] = allocation.touches[i >> parts];
  allocation.touches = std::move(finer);
  allocation.granule_shift = shift;
}

void GlobalShadow::touch(Warp& warp, const Inst& inst, int lane, std::uint64_t address,
                         std::uint32_t bytes, Allocation& allocation, Touch touch) {
  prepare(allocation, bytes);
  const bool atomic = touch == Touch::Atomic;
  if (touch == Touch::Write) unfenced_[static_cast<std::size_t>(warp.index)] = true;
  const std::uint64_t offset = address - allocation.address;
  const std::uint64_t last = (offset + bytes - 1) >> allocation.granule_shift;
  for (std::uint64_t i = offset >> allocation.granule_shift; i <= last; ++i) {
    GlobalTouch& entry = allocation.touches[i];
    const std::uint32_t writer = entry.writer & kBlockMask, reader = entry.reader & kBlockMask;
    if (writer > base_ && writer != me_ && !(atomic && (entry.writer & kAtomicTouch) != 0) &&
        !ordered(writer)) {
      race(warp, inst, lane, address, touch == Touch::Read ? "read" : "write", "written", writer);
    }
    if (touch == Touch::Read) {
      const bool others = reader > base_ && entry.reader != me_;
      entry.reader = me_ | (others ? kManyReaders : 0);
      continue;
    }
    if (reader > base_ && entry.reader != me_ && !ordered(reader)) {
      race(warp, inst, lane, address, "write", "read", reader);
    }
    entry.writer = me_ | (atomic ? kAtomicTouch : 0);
  }
}

void GlobalShadow::race(Warp& warp, const Inst& inst, int lane, std::uint64_t address,
                        const char* now, const char* before, std::uint32_t block) {
  if (warp.launch->known(Fault::GlobalRace, inst)) return;
  const bool me = block == me_;
  warp.launch->violation(Fault::GlobalRace, warp, inst, lane,
                         fmt::format("{} of {}, {} by {} of this launch, which nothing orders", now,
                                     warp.launch->memory->describe(address), before,
                                     me ? std::string("other blocks")
                                        : fmt::format("block number {}", block - base_ - 1)));
}

void GlobalShadow::synchronise(const Warp& warp, std::uint64_t address) {
  std::vector<std::uint32_t>& releasers = releasers_[address];
  acquired_.insert(releasers.begin(), releasers.end());
  if (unfenced_[static_cast<std::size_t>(warp.index)]) return;
  if (releasers.empty() || releasers.back() != me_) releasers.push_back(me_);
}

void GlobalShadow::barrier(std::uint32_t warps) {
  bool any = false;
  for (std::size_t w = 0; w < unfenced_.size(); ++w)
    any = any || ((warps >> w & 1) != 0 && unfenced_[w]);
  for (std::size_t w = 0; w < unfenced_.size(); ++w) {
    if ((warps >> w & 1) != 0) unfenced_[w] = any;
  }
}

}  // namespace cermet::ptxsim
