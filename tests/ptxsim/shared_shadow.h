#pragma once
// What is known of each byte of a block's shared memory: whether it was written, whether a cp.async
// will still write it, and which thread accessed it last, for finding races.
//
// Races are found with vector clocks, as FastTrack does (Flanagan and Freund, 2009), with warps in
// the place of threads. Every warp has a clock of its own, which advances when it synchronises, and
// knows up to which clock of every other warp it has synchronised: by a barrier, or through an
// mbarrier. An access of warp w at clock t is ordered before what warp v does now if v knows w's
// clock up to t. Lanes of one warp are ordered by bar.warp.sync, which advances the warp's clock.
// Clocks only grow during a launch, so entries of earlier blocks are old and need no clearing.

#include <cstdint>
#include <vector>

#include "ptxsim/machine.h"

namespace cermet::ptxsim {

using Clock = std::uint32_t;

enum class Touch { Read, Write, Atomic };

class SharedShadow {
 public:
  SharedShadow(bool check_written, bool check_races)
      : check_written_(check_written), check_races_(check_races) {}

  void begin_block(std::size_t warps, std::size_t bytes);
  // An access by the lanes of the mask; violations go to the launch.
  void touch(Warp& warp, const Inst& inst, Mask mask, const std::uint32_t* addresses,
             std::uint32_t bytes, Touch touch);
  // A cp.async will write these bytes; it has.
  void begin_copy(std::uint32_t address, std::uint32_t bytes);
  void end_copy(Warp& warp, const Inst& inst, int lane, std::uint32_t address, std::uint32_t bytes);

  // All these warps (bits) have met: what one did before, all others may see.
  void meet(std::uint32_t warps);
  void meet_lanes(const Warp& warp) { ++known(warp.index, warp.index); }
  // Warp arrives: the object learns what the warp knows. Warp waited: the warp learns it.
  void arrive(const Warp& warp, std::vector<Clock>& object);
  void waited(const Warp& warp, const std::vector<Clock>& object);

 private:
  enum State : std::uint8_t { kUnwritten = 0, kWritten = 1, kPending = 2 };
  static constexpr std::uint8_t kSeveralLanes = 32;
  struct Entry {
    Clock write = 0, read = 0;
    std::uint32_t write_serial = 0;  // of the touch
    std::uint8_t write_warp = 0, write_lane = 0, read_warp = 0, read_lane = 0;
    bool write_atomic = false;
    // Of a granule that several warps read: 1 + the place of their clocks in several_; else 0.
    std::int32_t several = 0;
  };

  Clock now(int warp) { return known(warp, warp); }
  Clock& known(int w, int v) {
    return clocks_[static_cast<std::size_t>(w) * warps_ + static_cast<std::size_t>(v)];
  }
  void check_state(Warp& warp, const Inst& inst, Mask mask, const std::uint32_t* addresses,
                   std::uint32_t bytes);
  void refine(std::uint32_t bytes);
  void race_check(Warp& warp, const Inst& inst, int lane, std::uint32_t address, Entry& entry,
                  Touch touch);
  void race(Warp& warp, const Inst& inst, int lane, std::uint32_t address, const char* now,
            const char* before, int other_warp, int other_lane);
  void note_read(const Warp& warp, int lane, Entry& entry);

  bool check_written_, check_races_;
  std::size_t warps_ = 0, bytes_ = 0;
  std::vector<std::uint8_t> state_;  // by byte
  std::uint32_t shift_ = 2;          // a granule has 1 << shift_ bytes
  std::vector<Entry> entries_;       // by granule
  std::vector<Clock> clocks_;        // known(w, v)
  std::vector<Clock> several_;       // warps_ clocks for each granule that several warps read
  std::uint32_t serial_ = 0;         // counts touches
  Clock start_ = 1;                  // all clocks of this block are at least this
};

}  // namespace cermet::ptxsim
