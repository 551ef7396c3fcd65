#include "ptxsim/barrier.h"

#include <fmt/format.h>

#include "ptxsim/decode.h"
#include "ptxsim/global_shadow.h"
#include "ptxsim/lanes.h"
#include "ptxsim/shared_shadow.h"

namespace cermet::ptxsim {
namespace {

enum class Reduction : u16 { None, Popc, And, Or };

u32 first_value(const Warp& warp, std::int32_t slot, Mask mask) {
  return warp.at<u32>(slot)[__builtin_ctz(mask)];
}

void write_reduction(Warp& warp, u32 true_threads, u32 all_threads) {
  const Inst& inst = *warp.barrier_inst;
  switch (static_cast<Reduction>(inst.mode)) {
    case Reduction::None: return;
    case Reduction::Popc:
      for_lanes(warp.alive, [&](int lane) { warp.at<u32>(inst.op[0])[lane] = true_threads; });
      return;
    case Reduction::And:
    case Reduction::Or: {
      const bool all = true_threads == all_threads, any = true_threads != 0;
      const bool result = static_cast<Reduction>(inst.mode) == Reduction::And ? all : any;
      Mask& p = warp.predicate(inst.op[0]);
      p = result ? p | warp.alive : p & ~warp.alive;
    }
  }
}

void complete(Block& block, Barrier& barrier) {
  Launch& launch = *block.launch;
  if (launch.shared_shadow != nullptr) launch.shared_shadow->meet(barrier.arrived_warps);
  if (launch.global_shadow != nullptr) launch.global_shadow->barrier(barrier.arrived_warps);
  for_lanes(barrier.waiting_warps, [&](int w) {
    Warp& warp = block.warps[static_cast<std::size_t>(w)];
    write_reduction(warp, barrier.true_threads, barrier.arrived_threads);
    warp.state = WarpState::Running;
  });
  barrier = {};
  ++block.progress;
}

// Checks that a barrier may be entered here, by the whole warp and with this number of threads.
void check_entry(Warp& warp, const Inst& inst, Mask mask, u32 id, u32 expected, bool counted,
                 const Barrier& barrier) {
  Launch& launch = *warp.launch;
  const int lane = __builtin_ctz(mask);
  const auto refuse = [&](const std::string& why) {
    launch.violation(Fault::Barrier, warp, inst, lane, why);
  };
  if (id > 15) refuse(fmt::format("there is no barrier {}", id));
  if (!counted && warp.block->thread_exited) {
    refuse(fmt::format("threads of the block have exited (PTX line {}) before this barrier",
                       warp.block->exit_line));
  }
  if (counted && (expected == 0 || expected % 32 != 0)) {
    refuse(fmt::format("{} threads are no multiple of the warp size", expected));
  }
  if (barrier.expected_threads != 0 && barrier.expected_threads != expected) {
    refuse(fmt::format("barrier {} expects {} threads here and {} where others wait", id, expected,
                       barrier.expected_threads));
  }
  if ((barrier.arrived_warps >> warp.index & 1) != 0) {
    refuse(fmt::format("the warp arrives at barrier {} again before it is complete", id));
  }
}

// op: 0 result, 1 id, 2 thread count, 3 predicate. flag: it waits; flag2: the predicate is negated.
void exec_barrier(Warp& warp, const Inst& inst, Mask mask) {
  Block& block = *warp.block;
  if (!gather_lanes(warp, inst, mask, warp.alive, Fault::Barrier)) return;
  const u32 id = first_value(warp, inst.op[1], mask);
  const bool counted = inst.op[2] != kNoSlot;
  const u32 expected = counted ? first_value(warp, inst.op[2], mask) : block.threads;
  check_entry(warp, inst, mask, id, expected, counted, block.barriers[std::min(id, 15U)]);
  Barrier& barrier = block.barriers[id];
  ++warp.launch->report.counters.barriers;
  barrier.expected_threads = expected;
  barrier.arrived_warps |= lane_bit(warp.index);
  barrier.arrived_threads += counted ? 32 : static_cast<u32>(__builtin_popcount(warp.present));
  if (inst.op[3] != kNoSlot) {
    barrier.true_threads += static_cast<u32>(__builtin_popcount(warp.predicate(inst.op[3]) & mask));
  }
  if (inst.flag) {
    barrier.waiting_warps |= lane_bit(warp.index);
    warp.barrier = static_cast<int>(id);
    warp.barrier_inst = &inst;
    warp.state = WarpState::AtBarrier;
  }
  if (barrier.arrived_threads >= expected) complete(block, barrier);
}

void exec_warp_barrier(Warp& warp, const Inst& inst, Mask mask) {
  const u32* members = warp.at<u32>(inst.op[0]);
  Mask named = 0;
  for_lanes(mask, [&](int lane) {
    named |= members[lane];
    if ((members[lane] & lane_bit(lane)) == 0) {
      warp.launch->violation(
          Fault::WarpMask, warp, inst, lane,
          fmt::format("the lane is not in its own mask {:#010x}", members[lane]));
    }
  });
  if (!gather_lanes(warp, inst, mask, named & warp.alive, Fault::WarpMask)) return;
  if (warp.launch->shared_shadow != nullptr) warp.launch->shared_shadow->meet_lanes(warp);
}

// bar.warp.sync, {bar|barrier}{.cta}.{sync|arrive|red}{.aligned}
void decode_barrier(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  const auto& operands = statement.operands;
  Inst inst = decoder.start(statement);
  if (modifiers.take("warp")) {
    if (!modifiers.take("sync")) decoder.fail("expected bar.warp.sync");
    decoder.expect_operands(statement, 1);
    inst.op[0] = decoder.source(operands[0], Type::U32);
    decoder.add(inst, exec_warp_barrier);
    return;
  }
  modifiers.take("cta");
  const int what = modifiers.take_one_of({"sync", "arrive", "red"});
  if (what < 0) decoder.fail("unknown kind of barrier");
  modifiers.take("aligned");
  std::size_t next = 0;
  std::size_t last = operands.size();
  inst.flag = what != 1;
  if (what == 2) {
    const int reduction = modifiers.take_one_of({"popc", "and", "or"});
    if (reduction < 0) decoder.fail("unknown reduction");
    inst.mode = static_cast<u16>(reduction + 1);
    if (modifiers.take_type() != (reduction == 0 ? Type::U32 : Type::Pred))
      decoder.fail("not for this type");
    if (operands.size() < 3) decoder.fail("too few operands");
    inst.op[0] = reduction == 0 ? decoder.destination(operands[0], 4)
                                : decoder.predicate_destination(operands[0]);
    next = 1;
    inst.op[3] = decoder.predicate_source(operands[--last]);
  }
  if (last - next < 1 || last - next > 2)
    decoder.fail("expected a barrier and perhaps a thread count");
  inst.op[1] = decoder.source(operands[next], Type::U32);
  if (last - next == 2) inst.op[2] = decoder.source(operands[next + 1], Type::U32);
  if (what == 1 && inst.op[2] == kNoSlot) decoder.fail("arrive needs a thread count");
  decoder.add(inst, exec_barrier);
}

void exec_fence(Warp& warp, const Inst&, Mask) {
  if (warp.launch->global_shadow != nullptr) warp.launch->global_shadow->fence(warp);
}
void exec_nothing(Warp&, const Inst&, Mask) {}

// Memory is sequentially consistent here, so fences matter to the race checks only.
void decode_fence(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 0);
  const Inst inst = decoder.start(statement);
  if (modifiers.take("proxy")) {
    if (modifiers.take_one_of(
            {"async", "alias", "async::generic", "async.global", "async.shared::cta"}) < 0) {
      decoder.fail("unknown proxy");
    }
    modifiers.take_one_of({"global", "shared::cta"});
    decoder.add(inst, exec_nothing);
    return;
  }
  modifiers.take_one_of({"sc", "acq_rel", "acquire", "release"});
  if (modifiers.take("mbarrier_init")) {
    modifiers.take("cluster");
    decoder.add(inst, exec_nothing);
    return;
  }
  const int scope = modifiers.take_one_of({"cta", "gl", "sys", "gpu", "cluster"});
  if (scope < 0) decoder.fail("unknown scope");
  decoder.add(inst, scope == 0 ? exec_nothing : exec_fence);
}

void decode_nanosleep(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 1);
  if (modifiers.take_type() != Type::U32) decoder.fail("not for this type");
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.source(statement.operands[0], Type::U32);
  decoder.add(inst, exec_nothing);
}

constexpr Opcode kOpcodes[] = {{"bar", decode_barrier},
                               {"barrier", decode_barrier},
                               {"membar", decode_fence},
                               {"fence", decode_fence},
                               {"nanosleep", decode_nanosleep}};

}  // namespace

void report_stuck(Block& block) {
  Launch& launch = *block.launch;
  std::string waits;
  for (std::size_t i = 0; i < block.barriers.size(); ++i) {
    const Barrier& barrier = block.barriers[i];
    if (barrier.arrived_warps == 0) continue;
    waits += fmt::format("{}barrier {} has {} of {} threads", waits.empty() ? "" : ", ", i,
                         barrier.arrived_threads, barrier.expected_threads);
  }
  for (const auto& [address, barrier] : block.mbarriers) {
    if (barrier.pending == barrier.expected && barrier.transactions == 0) continue;
    waits += fmt::format("{}the mbarrier at {} waits for {} arrivals and {} bytes",
                         waits.empty() ? "" : ", ", address, barrier.pending, barrier.transactions);
  }
  for (Warp& warp : block.warps) {
    if (warp.state == WarpState::Done) continue;
    const Inst& inst = launch.program->code[std::max(warp.pc, 1U) - 1];
    const int lane = warp.active == 0 ? 0 : __builtin_ctz(warp.active);
    if (warp.state == WarpState::AtBarrier && block.thread_exited) {
      launch.violation(Fault::Barrier, warp, inst, lane,
                       fmt::format("waits for threads that have exited (PTX line {}): {}",
                                   block.exit_line, waits));
    }
    launch.violation(Fault::Deadlock, warp, inst, lane,
                     waits.empty() ? "nothing can go on" : waits);
  }
  throw Abort{};
}

std::span<const Opcode> barrier_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
