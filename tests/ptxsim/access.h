#pragma once
// How instructions reach memory: addresses of the lanes, checked and turned into host pointers.

#include "ptxsim/lanes.h"
#include "ptxsim/machine.h"
#include "ptxsim/shared_shadow.h"

namespace cermet::ptxsim {

struct Pointers {
  alignas(64) std::byte* at[kLanes];
};

struct AccessKind {
  bool load = false, store = false;  // an atomic is both
  bool strong = false;               // atomic, volatile, relaxed, ...: not a race with its like
};

// Base register op[slot] plus inst.imm, per lane.
void lane_addresses(const Warp& warp, const Inst& inst, std::size_t slot, u64* addresses);

// Checks an access of `bytes` bytes per lane in inst.space, counts it, and finds the host bytes.
// Lanes outside the mask get no pointer. Throws Abort where the access is illegal.
void reach(Warp& warp, const Inst& inst, Mask mask, const u64* addresses, u32 bytes,
           AccessKind kind, Pointers& pointers);
// The same in a given space.
void reach_space(Warp& warp, const Inst& inst, Mask mask, Space space, const u64* addresses,
                 u32 bytes, AccessKind kind, Pointers& pointers);

// 32-byte sectors touched by the lanes; passes over the 32 banks of shared memory.
u32 count_sectors(Mask mask, const u64* addresses, u32 bytes);
u32 count_wavefronts(Mask mask, const u64* addresses, u32 bytes);

}  // namespace cermet::ptxsim
