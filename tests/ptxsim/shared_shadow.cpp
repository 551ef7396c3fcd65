#include "ptxsim/shared_shadow.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ptxsim/lanes.h"

namespace cermet::ptxsim {

void SharedShadow::begin_block(std::size_t warps, std::size_t bytes) {
  for (const Clock clock : clocks_) start_ = std::max(start_, clock + 1);
  if (warps != warps_ || bytes != bytes_ || start_ > 0xf0000000U) {
    warps_ = warps;
    bytes_ = bytes;
    entries_.assign((bytes >> shift_) + 1, {});
    start_ = 1;
  }
  state_.assign(bytes + 32, kUnwritten);
  several_.clear();
  clocks_.assign(warps * warps, start_);
  // Nobody has seen anything of anybody's first segment.
  for (std::size_t w = 0; w < warps; ++w) clocks_[w * warps + w] = start_ + 1;
}

void SharedShadow::touch(Warp& warp, const Inst& inst, Mask mask, const std::uint32_t* addresses,
                         std::uint32_t bytes, Touch touch) {
  if (check_written_ && touch != Touch::Write) check_state(warp, inst, mask, addresses, bytes);
  if (touch != Touch::Read) {
    for_lanes(mask, [&](int lane) { std::memset(&state_[addresses[lane]], kWritten, bytes); });
  }
  if (!check_races_) return;
  if (bytes < (1U << shift_)) refine(bytes);
  ++serial_;
  for_lanes(mask, [&](int lane) {
    const std::uint32_t address = addresses[lane];
    const std::uint32_t last = (address + bytes - 1) >> shift_;
    for (std::uint32_t granule = address >> shift_; granule <= last; ++granule) {
      race_check(warp, inst, lane, address, entries_[granule], touch);
    }
  });
}

void SharedShadow::check_state(Warp& warp, const Inst& inst, Mask mask,
                               const std::uint32_t* addresses, std::uint32_t bytes) {
  static constexpr std::uint8_t kAllWritten[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                   1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  for_lanes(mask, [&](int lane) {
    const std::uint8_t* state = &state_[addresses[lane]];
    if (std::memcmp(state, kAllWritten, bytes) == 0) return;
    const bool pending = std::find(state, state + bytes, kPending) != state + bytes;
    if (warp.launch->known(pending ? Fault::AsyncWait : Fault::Uninitialised, inst)) return;
    warp.launch->violation(
        pending ? Fault::AsyncWait : Fault::Uninitialised, warp, inst, lane,
        fmt::format("{} bytes of shared memory at {}{}", bytes, addresses[lane],
                    pending ? " are still to be written by a cp.async" : " were never written"));
  });
}

// Smaller granules; each inherits what was known of the larger.
void SharedShadow::refine(std::uint32_t bytes) {
  const auto shift = static_cast<std::uint32_t>(__builtin_ctz(bytes));
  const std::uint32_t parts = shift_ - shift;
  std::vector<Entry> finer((bytes_ >> shift) + 1);
  for (std::size_t i = 0; i < finer.size(); ++i) {
    finer[i] = entries_[i >> parts];
    if (finer[i].several == 0) continue;
    if (finer[i].read < start_) {
      finer[i].several = 0;
      continue;
    }
    const auto from = static_cast<std::size_t>(finer[i].several - 1) * warps_;
    finer[i].several = static_cast<std::int32_t>(several_.size() / warps_) + 1;
    for (std::size_t w = 0; w < warps_; ++w) several_.push_back(several_[from + w]);
  }
  entries_ = std::move(finer);
  shift_ = shift;
}

void SharedShadow::race(Warp& warp, const Inst& inst, int lane, std::uint32_t address,
                        const char* now, const char* before, int other_warp, int other_lane) {
  if (warp.launch->known(Fault::SharedRace, inst)) return;
  const Warp& other = warp.block->warps[static_cast<std::size_t>(other_warp)];
  std::string who = fmt::format("warp {}", other_warp);
  if (other_lane < kLanes) {
    const Dim3 t = other.thread(other_lane);
    who = fmt::format("thread ({},{},{})", t.x, t.y, t.z);
  }
  warp.launch->violation(
      Fault::SharedRace, warp, inst, lane,
      fmt::format("{} of shared memory at {}, {} by {} with nothing between that orders them{}",
                  now, address, before, who, other_warp == warp.index ? " (same warp)" : ""));
}

void SharedShadow::race_check(Warp& warp, const Inst& inst, int lane, std::uint32_t address,
                              Entry& entry, Touch touch) {
  const int me = warp.index;
  const Clock mine = now(me);
  const bool atomic = touch == Touch::Atomic;
  // Lanes that one instruction makes write to one place are the business of the store itself.
  if (entry.write >= start_ && !(atomic && entry.write_atomic) && entry.write_serial != serial_) {
    const bool same_warp = entry.write_warp == me;
    const bool unordered = same_warp ? entry.write == mine && entry.write_lane != lane
                                     : known(me, entry.write_warp) < entry.write;
    if (unordered) {
      race(warp, inst, lane, address, touch == Touch::Read ? "read" : "write", "written",
           entry.write_warp, entry.write_lane);
    }
  }
  if (touch == Touch::Read) return note_read(warp, lane, entry);
  if (entry.several != 0 && entry.read >= start_) {
    const Clock* reads = &several_[static_cast<std::size_t>(entry.several - 1) * warps_];
    for (int v = 0; v < static_cast<int>(warps_); ++v) {
      if (v != me && reads[v] > known(me, v)) {
        race(warp, inst, lane, address, "write", "read", v, kSeveralLanes);
      }
    }
  } else if (entry.read >= start_) {
    const bool same_warp = entry.read_warp == me;
    const bool unordered = same_warp ? entry.read == mine && entry.read_lane != lane
                                     : known(me, entry.read_warp) < entry.read;
    if (unordered) {
      race(warp, inst, lane, address, "write", "read", entry.read_warp, entry.read_lane);
    }
  }
  entry.several = 0;
  entry.read = 0;
  entry.write = mine;
  entry.write_serial = serial_;
  entry.write_warp = static_cast<std::uint8_t>(me);
  entry.write_lane = static_cast<std::uint8_t>(lane);
  entry.write_atomic = atomic;
}

void SharedShadow::note_read(const Warp& warp, int lane, Entry& entry) {
  const int me = warp.index;
  const Clock mine = now(me);
  if (entry.several != 0 && entry.read >= start_) {
    several_[static_cast<std::size_t>(entry.several - 1) * warps_ + static_cast<std::size_t>(me)] =
        mine;
    return;
  }
  const bool fresh = entry.read < start_;
  if (fresh) entry.several = 0;
  if (fresh || (entry.read_warp == me && entry.read != mine) ||
      (entry.read_warp != me && known(me, entry.read_warp) >= entry.read)) {
    entry.read = mine;  // whoever read before is ordered before this
    entry.read_warp = static_cast<std::uint8_t>(me);
    entry.read_lane = static_cast<std::uint8_t>(lane);
  } else if (entry.read_warp == me) {
    if (entry.read_lane != lane) entry.read_lane = kSeveralLanes;
  } else {
    entry.several = static_cast<std::int32_t>(several_.size() / warps_) + 1;
    several_.resize(several_.size() + warps_, 0);
    Clock* reads = &several_[static_cast<std::size_t>(entry.several - 1) * warps_];
    reads[entry.read_warp] = entry.read;
    reads[me] = mine;
  }
}

void SharedShadow::begin_copy(std::uint32_t address, std::uint32_t bytes) {
  std::memset(&state_[address], kPending, bytes);
}

void SharedShadow::end_copy(Warp& warp, const Inst& inst, int lane, std::uint32_t address,
                            std::uint32_t bytes) {
  std::uint32_t addresses[kLanes];
  addresses[lane] = address;
  touch(warp, inst, lane_bit(lane), addresses, bytes, Touch::Write);
}

void SharedShadow::meet(std::uint32_t warps) {
  std::vector<Clock> joined(warps_, 0);
  for_lanes(warps, [&](int w) {
    for (std::size_t v = 0; v < warps_; ++v) {
      joined[v] = std::max(joined[v], known(w, static_cast<int>(v)));
    }
  });
  for_lanes(warps, [&](int w) {
    for (std::size_t v = 0; v < warps_; ++v) known(w, static_cast<int>(v)) = joined[v];
    ++known(w, w);
  });
}

void SharedShadow::arrive(const Warp& warp, std::vector<Clock>& object) {
  object.resize(warps_, 0);
  for (std::size_t v = 0; v < warps_; ++v) {
    object[v] = std::max(object[v], known(warp.index, static_cast<int>(v)));
  }
  ++known(warp.index, warp.index);
}

void SharedShadow::waited(const Warp& warp, const std::vector<Clock>& object) {
  for (std::size_t v = 0; v < object.size(); ++v) {
    if (static_cast<int>(v) == warp.index) continue;
    known(warp.index, static_cast<int>(v)) =
        std::max(known(warp.index, static_cast<int>(v)), object[v]);
  }
  ++known(warp.index, warp.index);
}

}  // namespace cermet::ptxsim
