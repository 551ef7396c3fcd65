// Asynchronous copies and the barriers they work with.
//
// cp.async reads its source when it is issued and writes its destination only when its thread waits
// for it; until then the destination holds NaN and is marked as pending. So a kernel that waits for
// too few groups computes NaN, and its read is reported, whatever the hardware's luck would be.
//
// An mbarrier's state lives beside shared memory, not in its 64 bits: the bytes themselves mean
// nothing here, and an mbarrier that was never initialised is recognised.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ptxsim/access.h"
#include "ptxsim/decode.h"

namespace cermet::ptxsim {
namespace {

// ---- cp.async ----------------------------------------------------------------------------------

// op: 0 destination, 1 source, 2 number of source bytes. imm and imm2: their offsets; bytes: the
// size.
void exec_copy(Warp& warp, const Inst& inst, Mask mask) {
  alignas(64) u64 to[kLanes], from[kLanes];
  Pointers destination, source;
  lane_addresses(warp, inst, 0, to);
  const u64* base = inst.op[1] == kNoSlot ? nullptr : warp.at<u64>(inst.op[1]);
  for (int i = 0; i < kLanes; ++i)
    from[i] = (base == nullptr ? 0 : base[i]) + static_cast<u64>(inst.imm2);
  reach_space(warp, inst, mask, Space::Shared, to, inst.bytes, {false, true, false}, destination);
  u32 sizes[kLanes];
  const u32* given = inst.op[2] == kNoSlot ? nullptr : warp.at<u32>(inst.op[2]);
  Mask whole = 0;
  for_lanes(mask, [&](int lane) {
    sizes[lane] = given == nullptr ? inst.bytes : std::min<u32>(given[lane], inst.bytes);
    if (sizes[lane] == inst.bytes) whole |= lane_bit(lane);
  });
  if (whole != 0)
    reach_space(warp, inst, whole, Space::Global, from, inst.bytes, {true, false, false}, source);
  for_lanes(mask & ~whole, [&](int lane) {  // byte by byte: any number of bytes is allowed
    for (u32 i = 0; i < sizes[lane]; ++i) {
      Pointers byte;
      u64 address[kLanes] = {};
      address[lane] = from[lane] + i;
      reach_space(warp, inst, lane_bit(lane), Space::Global, address, 1, {true, false, false},
                  byte);
      if (i == 0) source.at[lane] = byte.at[lane];
    }
  });
  for_lanes(mask, [&](int lane) {
    PendingCopy copy{lane,
                     warp.commits[static_cast<std::size_t>(lane)],
                     static_cast<u32>(to[lane]),
                     inst.bytes,
                     inst.line,
                     {}};
    if (sizes[lane] != 0) std::memcpy(copy.data.data(), source.at[lane], sizes[lane]);
    std::memset(destination.at[lane], 0xff, inst.bytes);
    if (warp.launch->shared_shadow != nullptr)
      warp.launch->shared_shadow->begin_copy(copy.shared_address, inst.bytes);
    warp.copies.push_back(copy);
  });
}

// Writes what the copies of these lanes hold, of groups that leave at most `pending` after them.
void finish_copies(Warp& warp, const Inst& inst, Mask mask, u32 pending, bool uncommitted) {
  const auto done = [&](const PendingCopy& copy) {
    if ((mask >> copy.lane & 1) == 0) return false;
    const u32 commits = warp.commits[static_cast<std::size_t>(copy.lane)];
    if (!uncommitted && copy.group + pending >= commits) return false;
    std::memcpy(warp.block->shared.data() + copy.shared_address, copy.data.data(), copy.bytes);
    if (warp.launch->shared_shadow != nullptr) {
      warp.launch->shared_shadow->end_copy(warp, inst, copy.lane, copy.shared_address, copy.bytes);
    }
    return true;
  };
  warp.copies.erase(std::remove_if(warp.copies.begin(), warp.copies.end(), done),
                    warp.copies.end());
}

void exec_commit(Warp& warp, const Inst&, Mask mask) {
  for_lanes(mask, [&](int lane) { ++warp.commits[static_cast<std::size_t>(lane)]; });
}
void exec_wait_group(Warp& warp, const Inst& inst, Mask mask) {
  finish_copies(warp, inst, mask, static_cast<u32>(inst.imm), false);
}
void exec_wait_all(Warp& warp, const Inst& inst, Mask mask) {
  finish_copies(warp, inst, mask, 0, true);
}

MBarrier& mbarrier_at(Warp& warp, const Inst& inst, int lane, u64 address);
void arrive(Warp& warp, const Inst& inst, int lane, MBarrier& barrier, u32 count);

// cp.async.mbarrier.arrive: the copies so far are done when the mbarrier's phase completes. Here
// they are done at once; who reads without waiting on the mbarrier races with them.
void exec_copy_arrive(Warp& warp, const Inst& inst, Mask mask) {
  finish_copies(warp, inst, mask, 0, true);
  alignas(64) u64 addresses[kLanes];
  lane_addresses(warp, inst, 0, addresses);
  for_lanes(mask, [&](int lane) {
    MBarrier& barrier = mbarrier_at(warp, inst, lane, addresses[lane]);
    if (!inst.flag2) ++barrier.pending;
    arrive(warp, inst, lane, barrier, 1);
  });
}

void decode_cp(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.require_sm(80);
  if (!modifiers.take("async")) decoder.fail("only cp.async is supported");
  Inst inst = decoder.start(statement);
  const auto& operands = statement.operands;
  if (modifiers.take("commit_group")) {
    decoder.expect_operands(statement, 0);
    decoder.add(inst, exec_commit);
    return;
  }
  if (modifiers.take("wait_all")) {
    decoder.expect_operands(statement, 0);
    decoder.add(inst, exec_wait_all);
    return;
  }
  if (modifiers.take("wait_group")) {
    decoder.expect_operands(statement, 1);
    const auto count = decoder.immediate(operands[0], Type::U32);
    if (!count) decoder.fail("expected a constant");
    inst.imm = static_cast<s64>(*count);
    decoder.add(inst, exec_wait_group);
    return;
  }
  if (modifiers.take("mbarrier")) {
    if (!modifiers.take("arrive")) decoder.fail("expected .arrive");
    inst.flag2 = modifiers.take("noinc");
    const bool shared = modifiers.take_one_of({"shared", "shared::cta"}) >= 0;
    if (modifiers.take_type() != Type::B64) decoder.fail("not for this type");
    decoder.expect_operands(statement, 1);
    decoder.address(inst, 0, operands[0], shared ? Space::Shared : Space::Generic);
    decoder.add(inst, exec_copy_arrive);
    return;
  }
  const int cache = modifiers.take_one_of({"ca", "cg"});
  if (cache < 0 || modifiers.take_one_of({"shared", "shared::cta"}) < 0 ||
      !modifiers.take("global")) {
    decoder.fail("this form is not supported");
  }
  modifiers.take_one_of({"L2::64B", "L2::128B", "L2::256B"});
  if (operands.size() < 3 || operands.size() > 4) decoder.fail("expected 3 or 4 operands");
  const auto size = decoder.immediate(operands[2], Type::U32);
  if (!size || (*size != 16 && (cache == 1 || (*size != 4 && *size != 8))))
    decoder.fail("a copy of this size is not allowed");
  inst.bytes = static_cast<u8>(*size);
  if (operands.size() == 4) inst.op[2] = decoder.source(operands[3], Type::U32);
  Inst source = inst;
  decoder.address(source, 1, operands[1], Space::Global);
  if (!source.flag) decoder.fail("the source address has 64 bits");
  decoder.address(inst, 0, operands[0], Space::Shared);
  inst.op[1] = source.op[1];
  inst.imm2 = source.imm;
  decoder.add(inst, exec_copy);
}

// ---- mbarrier ----------------------------------------------------------------------------------

// The shared address of a lane's mbarrier, from a shared or generic address.
u32 mbarrier_address(Warp& warp, const Inst& inst, int lane, u64 address, Touch touch) {
  if (inst.space == Space::Generic) {
    if ((address & kWindowMask) != kSharedWindow) {
      warp.launch->violation(Fault::OutOfBounds, warp, inst, lane,
                             "an mbarrier outside shared memory");
    }
    address &= ~kWindowMask;
  }
  if (address % 8 != 0)
    warp.launch->violation(Fault::Misaligned, warp, inst, lane,
                           fmt::format("an mbarrier at {}", address));
  if (address + 8 > warp.block->shared.size()) {
    warp.launch->violation(Fault::OutOfBounds, warp, inst, lane,
                           fmt::format("an mbarrier at {} of {} bytes of shared memory", address,
                                       warp.block->shared.size()));
  }
  const u32 result = static_cast<u32>(address);
  if (warp.launch->shared_shadow != nullptr) {
    u32 addresses[kLanes];
    addresses[lane] = result;
    warp.launch->shared_shadow->touch(warp, inst, lane_bit(lane), addresses, 8, touch);
  }
  return result;
}

MBarrier& mbarrier_at(Warp& warp, const Inst& inst, int lane, u64 address) {
  const u32 at = mbarrier_address(warp, inst, lane, address, Touch::Atomic);
  const auto found = warp.block->mbarriers.find(at);
  if (found == warp.block->mbarriers.end()) {
    warp.launch->violation(Fault::IllegalInstruction, warp, inst, lane,
                           fmt::format("no mbarrier was initialised at {}", at));
    throw Abort{};
  }
  return found->second;
}

void check_phase(Warp& warp, MBarrier& barrier) {
  ++warp.block->progress;
  if (barrier.pending != 0 || barrier.transactions != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.expected;
}

void arrive(Warp& warp, const Inst& inst, int lane, MBarrier& barrier, u32 count) {
  if (count > barrier.pending) {
    warp.launch->violation(
        Fault::Barrier, warp, inst, lane,
        fmt::format("{} arrivals at an mbarrier that waits for {}", count, barrier.pending));
  }
  if (warp.launch->shared_shadow != nullptr)
    warp.launch->shared_shadow->arrive(warp, barrier.clock);
  barrier.pending -= count;
  check_phase(warp, barrier);
}

enum class MOp : u16 {
  Init,
  Inval,
  Arrive,
  ArriveDrop,
  ExpectTx,
  ArriveExpectTx,
  CompleteTx,
  Test,
  TestParity
};

// op: 0 state or predicate, 1 address, 2 count, bytes, state or parity. mode: which.
void exec_mbarrier(Warp& warp, const Inst& inst, Mask mask) {
  alignas(64) u64 addresses[kLanes];
  lane_addresses(warp, inst, 1, addresses);
  const auto operation = static_cast<MOp>(inst.mode);
  const bool state = operation == MOp::Test;
  const auto value = [&](int lane) -> u64 {
    if (inst.op[2] == kNoSlot) return 1;
    return state ? warp.at<u64>(inst.op[2])[lane] : warp.at<u32>(inst.op[2])[lane];
  };
  if (operation == MOp::Init || operation == MOp::Inval) {
    for_lanes(mask, [&](int lane) {
      const u32 at = mbarrier_address(warp, inst, lane, addresses[lane], Touch::Write);
      if (operation == MOp::Inval) {
        warp.block->mbarriers.erase(at);
        return;
      }
      const u32 count = static_cast<u32>(value(lane));
      warp.block->mbarriers[at] = {count, count, 0, 0, {}};
    });
    return;
  }
  bool failed = false;
  for_lanes(mask, [&](int lane) {
    MBarrier& barrier = mbarrier_at(warp, inst, lane, addresses[lane]);
    const u64 given = value(lane);
    if (operation == MOp::Test || operation == MOp::TestParity) {
      const bool complete = state ? barrier.phase > given : (barrier.phase & 1) != (given & 1);
      Mask& p = warp.predicate(inst.op[0]);
      p = complete ? p | lane_bit(lane) : p & ~lane_bit(lane);
      if (complete && warp.launch->shared_shadow != nullptr)
        warp.launch->shared_shadow->waited(warp, barrier.clock);
      failed = failed || !complete;
      return;
    }
    if (inst.op[0] != kNoSlot) warp.at<u64>(inst.op[0])[lane] = barrier.phase;
    switch (operation) {
      case MOp::Arrive: arrive(warp, inst, lane, barrier, static_cast<u32>(given)); return;
      case MOp::ArriveDrop:
        barrier.expected -= static_cast<u32>(given);
        arrive(warp, inst, lane, barrier, static_cast<u32>(given));
        return;
      case MOp::ExpectTx: barrier.transactions += static_cast<s64>(given); return;
      case MOp::ArriveExpectTx:
        barrier.transactions += static_cast<s64>(given);
        arrive(warp, inst, lane, barrier, 1);
        return;
      case MOp::CompleteTx:
        barrier.transactions -= static_cast<s64>(given);
        check_phase(warp, barrier);
        return;
      case MOp::Init:
      case MOp::Inval:
      case MOp::Test:
      case MOp::TestParity: return;
    }
  });
  if (failed) warp.state = WarpState::Yielded;  // another warp's turn
}

MOp take_operation(Decoder& decoder, Modifiers& modifiers) {
  if (modifiers.take("init")) return MOp::Init;
  if (modifiers.take("inval")) return MOp::Inval;
  const bool expect = modifiers.take("expect_tx");
  if (modifiers.take("arrive")) return expect ? MOp::ArriveExpectTx : MOp::Arrive;
  if (modifiers.take("arrive_drop")) {
    if (expect) decoder.fail("not supported");
    return MOp::ArriveDrop;
  }
  if (expect) return MOp::ExpectTx;
  if (modifiers.take("complete_tx")) return MOp::CompleteTx;
  if (modifiers.take_one_of({"test_wait", "try_wait"}) >= 0) {
    return modifiers.take("parity") ? MOp::TestParity : MOp::Test;
  }
  decoder.fail("unknown operation");
}

void decode_mbarrier(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.require_sm(80);
  Inst inst = decoder.start(statement);
  const MOp operation = take_operation(decoder, modifiers);
  inst.mode = static_cast<u16>(operation);
  modifiers.take_one_of({"release", "acquire", "relaxed"});
  modifiers.take("cta");
  const bool shared = modifiers.take_one_of({"shared", "shared::cta"}) >= 0;
  if (modifiers.take_type() != Type::B64) decoder.fail("not for this type");
  const auto& operands = statement.operands;
  const bool test = operation == MOp::Test || operation == MOp::TestParity;
  const bool arrives =
      operation == MOp::Arrive || operation == MOp::ArriveDrop || operation == MOp::ArriveExpectTx;
  const std::size_t first = test || arrives ? 1 : 0;
  if (operands.size() <= first || operands.size() > first + 3)
    decoder.fail("wrong number of operands");
  if (test) inst.op[0] = decoder.predicate_destination(operands[0]);
  if (arrives && operands[0].name != "_") inst.op[0] = decoder.destination(operands[0], 8);
  decoder.address(inst, 1, operands[first], shared ? Space::Shared : Space::Generic);
  if (operands.size() > first + 1) {
    inst.op[2] =
        decoder.source(operands[first + 1], operation == MOp::Test ? Type::B64 : Type::U32);
  } else if (operation != MOp::Arrive && operation != MOp::ArriveDrop && operation != MOp::Inval) {
    decoder.fail("an operand is missing");
  }
  // What may follow is the time try_wait may suspend for.
  if (operands.size() > first + 2 && !test) decoder.fail("too many operands");
  decoder.add(inst, exec_mbarrier);
}

constexpr Opcode kOpcodes[] = {{"cp", decode_cp}, {"mbarrier", decode_mbarrier}};

}  // namespace

std::span<const Opcode> async_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
