#include "ptxsim/access.h"

#include <fmt/format.h>

#include <algorithm>

#include "ptxsim/global_shadow.h"
#include "ptxsim/memory.h"

namespace cermet::ptxsim {
namespace {

int first_lane(Mask mask) { return __builtin_ctz(mask); }

void check_aligned(Warp& warp, const Inst& inst, Mask mask, const u64* addresses, u32 bytes) {
  u64 low = 0;
  for_lanes(mask, [&](int lane) { low |= addresses[lane]; });
  if ((low & (bytes - 1)) == 0) return;
  for_lanes(mask, [&](int lane) {
    if ((addresses[lane] & (bytes - 1)) == 0) return;
    warp.launch->violation(Fault::Misaligned, warp, inst, lane,
                           fmt::format("address {:#x} is no multiple of the access's {} bytes",
                                       addresses[lane], bytes));
  });
}

// ---- Global ------------------------------------------------------------------------------------

[[noreturn]] void refuse_global(Warp& warp, const Inst& inst, int lane, u64 address, u32 bytes) {
  const Allocation* found = warp.launch->memory->find(address);
  const bool freed = found != nullptr && !found->alive;
  warp.launch->violation(
      freed ? Fault::UseAfterFree : Fault::OutOfBounds, warp, inst, lane,
      fmt::format("{} bytes at {:#x}: {}", bytes, address, warp.launch->memory->describe(address)));
  throw Abort{};
}

// The allocation of a lane's access, which must be alive and hold all of it.
Allocation& allocation_of(Warp& warp, const Inst& inst, int lane, u64 address, u32 bytes) {
  Allocation* found = warp.launch->memory->find(address);
  if (found == nullptr || !found->alive || !found->contains(address, bytes)) {
    refuse_global(warp, inst, lane, address, bytes);
  }
  return *found;
}

void note_global(Warp& warp, const Inst& inst, int lane, u64 address, u32 bytes, AccessKind kind,
                 Space space, Allocation& allocation) {
  Launch& launch = *warp.launch;
  if (kind.load && launch.options.checks.uninitialised && !allocation.is_written(address, bytes) &&
      !launch.known(Fault::Uninitialised, inst)) {
    launch.violation(
        Fault::Uninitialised, warp, inst, lane,
        fmt::format("{} bytes were never written: {}", bytes, launch.memory->describe(address)));
  }
  if (kind.store) allocation.set_written(address, bytes);
  if (launch.global_shadow != nullptr && space != Space::Constant) {
    const Touch touch = kind.strong ? Touch::Atomic : kind.store ? Touch::Write : Touch::Read;
    launch.global_shadow->touch(warp, inst, lane, address, bytes, allocation, touch);
  }
}

void count_global(Launch& launch, Mask mask, const u64* addresses, u32 bytes, AccessKind kind) {
  Counters& counters = launch.report.counters;
  const u32 sectors = count_sectors(mask, addresses, bytes);
  const u64 asked = u64{bytes} * static_cast<u64>(__builtin_popcount(mask));
  if (kind.load && kind.store) {
    ++counters.global_atomic_requests;
  } else if (kind.store) {
    ++counters.global_store_requests;
    counters.global_store_sectors += sectors;
    counters.global_store_bytes += asked;
  } else {
    ++counters.global_load_requests;
    counters.global_load_sectors += sectors;
    counters.global_load_bytes += asked;
  }
}

void reach_global(Warp& warp, const Inst& inst, Mask mask, Space space, const u64* addresses,
                  u32 bytes, AccessKind kind, Pointers& pointers) {
  Launch& launch = *warp.launch;
  check_aligned(warp, inst, mask, addresses, bytes);
  if (launch.options.checks.counters) count_global(launch, mask, addresses, bytes, kind);
  Allocation*& cached =
      launch.cached_allocation[static_cast<std::size_t>(&inst - launch.program->code.data())];
  const int first = first_lane(mask);
  if (cached == nullptr || !cached->contains(addresses[first], bytes)) {
    cached = &allocation_of(warp, inst, first, addresses[first], bytes);
  }
  const bool note =
      launch.options.checks.uninitialised || launch.global_shadow != nullptr || kind.store;
  Allocation* mine = cached;
  for_lanes(mask, [&](int lane) {
    const u64 address = addresses[lane];
    if (!mine->contains(address, bytes)) mine = &allocation_of(warp, inst, lane, address, bytes);
    pointers.at[lane] = mine->host + (address - mine->address);
    if (note) note_global(warp, inst, lane, address, bytes, kind, space, *mine);
  });
}

// ---- Shared, local and parameter memory --------------------------------------------------------

void reach_shared(Warp& warp, const Inst& inst, Mask mask, const u64* addresses, u32 bytes,
                  AccessKind kind, Pointers& pointers) {
  Launch& launch = *warp.launch;
  check_aligned(warp, inst, mask, addresses, bytes);
  const u64 size = warp.block->shared.size();
  u32 offsets[kLanes];
  for_lanes(mask, [&](int lane) {
    const u64 address = addresses[lane];
    if (address > size || bytes > size - address) {
      launch.violation(
          Fault::OutOfBounds, warp, inst, lane,
          fmt::format("{} bytes at {:#x} of {} bytes of shared memory", bytes, address, size));
    }
    offsets[lane] = static_cast<u32>(address);
    pointers.at[lane] = warp.block->shared.data() + address;
  });
  if (launch.options.checks.counters) {
    Counters& counters = launch.report.counters;
    ++(kind.store ? counters.shared_store_requests : counters.shared_load_requests);
    (kind.store ? counters.shared_store_wavefronts : counters.shared_load_wavefronts) +=
        count_wavefronts(mask, addresses, bytes);
  }
  if (launch.shared_shadow != nullptr) {
    launch.shared_shadow->touch(warp, inst, mask, offsets, bytes,
                                kind.strong && kind.load && kind.store ? Touch::Atomic
                                : kind.store                           ? Touch::Write
                                                                       : Touch::Read);
  }
}

void reach_local(Warp& warp, const Inst& inst, Mask mask, const u64* addresses, u32 bytes,
                 Pointers& pointers) {
  check_aligned(warp, inst, mask, addresses, bytes);
  const u64 size = warp.launch->program->local_bytes;
  ++warp.launch->report.counters.local_requests;
  for_lanes(mask, [&](int lane) {
    const u64 address = addresses[lane];
    if (address > size || bytes > size - address) {
      warp.launch->violation(
          Fault::OutOfBounds, warp, inst, lane,
          fmt::format("{} bytes at {:#x} of {} bytes of local memory", bytes, address, size));
    }
    pointers.at[lane] = warp.local.data() + static_cast<u64>(lane) * size + address;
  });
}

void reach_parameters(Warp& warp, const Inst& inst, Mask mask, const u64* addresses, u32 bytes,
                      AccessKind kind, Pointers& pointers) {
  check_aligned(warp, inst, mask, addresses, bytes);
  const auto parameters = warp.launch->parameters;
  for_lanes(mask, [&](int lane) {
    const u64 address = addresses[lane];
    if (kind.store || address > parameters.size() || bytes > parameters.size() - address) {
      warp.launch->violation(
          Fault::OutOfBounds, warp, inst, lane,
          fmt::format("{} {} bytes at {:#x} of {} bytes of parameters",
                      kind.store ? "store of" : "load of", bytes, address, parameters.size()));
    }
    pointers.at[lane] = const_cast<std::byte*>(parameters.data()) + address;
  });
}

Space space_of(u64 address, u64& window) {
  window = address & kWindowMask;
  if (window == kSharedWindow) return Space::Shared;
  if (window == kLocalWindow) return Space::Local;
  if (window == kParameterWindow) return Space::Parameter;
  window = 0;
  return Space::Global;
}

}  // namespace

void lane_addresses(const Warp& warp, const Inst& inst, std::size_t slot, u64* addresses) {
  const u64 offset = static_cast<u64>(inst.imm);
  if (inst.op[slot] == kNoSlot) {
    for (int i = 0; i < kLanes; ++i) addresses[i] = offset;
  } else if (inst.flag) {
    const u64* base = warp.at<u64>(inst.op[slot]);
    for (int i = 0; i < kLanes; ++i) addresses[i] = base[i] + offset;
  } else {
    const u32* base = warp.at<u32>(inst.op[slot]);
    for (int i = 0; i < kLanes; ++i) addresses[i] = static_cast<u32>(base[i] + offset);
  }
}

void reach_space(Warp& warp, const Inst& inst, Mask mask, Space space, const u64* addresses,
                 u32 bytes, AccessKind kind, Pointers& pointers) {
  switch (space) {
    case Space::Global:
    case Space::Constant:
      return reach_global(warp, inst, mask, space, addresses, bytes, kind, pointers);
    case Space::Shared: return reach_shared(warp, inst, mask, addresses, bytes, kind, pointers);
    case Space::Local: return reach_local(warp, inst, mask, addresses, bytes, pointers);
    case Space::Parameter:
      return reach_parameters(warp, inst, mask, addresses, bytes, kind, pointers);
    case Space::Generic:
    case Space::Register: break;
  }
  // Generic: lanes by the window they point into, most often all into one.
  u64 within[kLanes];
  while (mask != 0) {
    u64 window = 0, other = 0;
    const Space actual = space_of(addresses[first_lane(mask)], window);
    Mask same = 0;
    for_lanes(mask, [&](int lane) {
      if (space_of(addresses[lane], other) != actual) return;
      same |= lane_bit(lane);
      within[lane] = addresses[lane] - window;
    });
    reach_space(warp, inst, same, actual, within, bytes, kind, pointers);
    mask &= ~same;
  }
}

void reach(Warp& warp, const Inst& inst, Mask mask, const u64* addresses, u32 bytes,
           AccessKind kind, Pointers& pointers) {
  reach_space(warp, inst, mask, inst.space, addresses, bytes, kind, pointers);
}

u32 count_sectors(Mask mask, const u64* addresses, u32 bytes) {
  u64 sectors[kLanes];
  u32 lanes = 0;
  bool sorted = true;
  for_lanes(mask, [&](int lane) {
    sectors[lanes] = addresses[lane] / 32;
    sorted = sorted && (lanes == 0 || sectors[lanes] >= sectors[lanes - 1]);
    ++lanes;
  });
  if (!sorted) std::sort(sectors, sectors + lanes);
  u32 count = 1;
  for (u32 i = 1; i < lanes; ++i) count += sectors[i] != sectors[i - 1];
  return count * std::max(1U, bytes / 32);
}

// Lanes are served in groups whose bytes fill the banks once; within a group, words of one bank
// that differ take a pass each.
u32 count_wavefronts(Mask mask, const u64* addresses, u32 bytes) {
  const u32 words = std::max(1U, bytes / 4);
  const int group = kLanes / static_cast<int>(words);
  u32 total = 0;
  for (int begin = 0; begin < kLanes; begin += group) {
    const Mask lanes = mask & (group == kLanes ? kAllLanes : ((Mask{1} << group) - 1) << begin);
    if (lanes == 0) continue;
    u64 seen[kLanes][kLanes];  // distinct words by bank
    u32 used[kLanes] = {}, most = 1;
    for_lanes(lanes, [&](int lane) {
      for (u32 i = 0; i < words; ++i) {
        const u64 word = addresses[lane] / 4 + i, bank = word % 32;
        u32& count = used[bank];
        if (std::find(seen[bank], seen[bank] + count, word) == seen[bank] + count) {
          seen[bank][count++] = word;
          most = std::max(most, count);
        }
      }
    });
    total += most;
  }
  return total;
}

}  // namespace cermet::ptxsim
