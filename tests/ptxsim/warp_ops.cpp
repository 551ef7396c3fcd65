// Instructions in which the lanes of a warp speak to each other: shfl, vote, match, redux,
// activemask, elect. Each names the lanes that take part; all of them that have not exited must be
// here, or the result is undefined on hardware and a violation here.

#include <fmt/format.h>

#include "ptxsim/decode.h"
#include "ptxsim/lanes.h"

namespace cermet::ptxsim {
namespace {

// Whether all the lanes that the executing lanes name are here; each must name itself. If not, the
// instruction returns and runs again when they are.
bool members_here(Warp& warp, const Inst& inst, Mask mask, const u32* members) {
  Mask named = 0;
  for_lanes(mask, [&](int lane) {
    named |= members[lane];
    if ((members[lane] & lane_bit(lane)) == 0) {
      warp.launch->violation(
          Fault::WarpMask, warp, inst, lane,
          fmt::format("the lane is not in its own mask {:#010x}", members[lane]));
    }
  });
  return gather_lanes(warp, inst, mask, named & warp.alive, Fault::WarpMask);
}

enum Mode { kUp, kDown, kButterfly, kIndex };

// op: 0 d, 1 p, 2 a, 3 b, 4 c, 5 members.
void exec_shuffle(Warp& warp, const Inst& inst, Mask mask) {
  const u32 *a = warp.at<u32>(inst.op[2]), *b = warp.at<u32>(inst.op[3]),
            *c = warp.at<u32>(inst.op[4]);
  if (!members_here(warp, inst, mask, warp.at<u32>(inst.op[5]))) return;
  alignas(64) u32 result[kLanes] = {};
  Mask inside_lanes = 0;
  for_lanes(mask, [&](int lane) {  // as the pseudocode of the PTX manual
    const int by = static_cast<int>(b[lane] & 31), clamp = static_cast<int>(c[lane] & 31);
    const int segment = static_cast<int>(c[lane] >> 8 & 31);
    const int highest = (lane & segment) | (clamp & ~segment), lowest = lane & segment;
    int from = 0;
    bool inside = false;
    switch (inst.imm) {
      case kUp:
        from = lane - by;
        inside = from >= highest;
        break;
      case kDown:
        from = lane + by;
        inside = from <= highest;
        break;
      case kButterfly:
        from = lane ^ by;
        inside = from <= highest;
        break;
      default:
        from = lowest | (by & ~segment);
        inside = from <= highest;
        break;
    }
    if (!inside) from = lane;
    if ((mask >> from & 1) == 0) {
      warp.launch->violation(Fault::WarpMask, warp, inst, lane,
                             fmt::format("reads lane {}, which is not taking part", from));
    }
    result[lane] = a[from];
    if (inside) inside_lanes |= lane_bit(lane);
  });
  blend(warp.at<u32>(inst.op[0]), result, mask);
  if (inst.op[1] != kNoSlot) {
    Mask& p = warp.predicate(inst.op[1]);
    p = (p & ~mask) | inside_lanes;
  }
}

Operand second_of(const Operand& operand) {
  Operand result;
  result.name = operand.second;
  return result;
}

void decode_shuffle(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  if (!modifiers.take("sync")) decoder.fail("only shfl.sync is supported");
  decoder.expect_operands(statement, 5);
  Inst inst = decoder.start(statement);
  inst.imm = modifiers.take_one_of({"up", "down", "bfly", "idx"});
  if (inst.imm < 0 || modifiers.take_type() != Type::B32) decoder.fail("unknown mode or type");
  const auto& operands = statement.operands;
  inst.op[0] = decoder.destination(operands[0], 4);
  if (!operands[0].second.empty())
    inst.op[1] = decoder.predicate_destination(second_of(operands[0]));
  for (std::size_t i = 1; i < 5; ++i) inst.op[i + 1] = decoder.source(operands[i], Type::B32);
  decoder.add(inst, exec_shuffle);
}

// op: 0 d, 1 predicate, 2 members. imm: all, any, uni, ballot.
void exec_vote(Warp& warp, const Inst& inst, Mask mask) {
  const u32* members = warp.at<u32>(inst.op[2]);
  if (!members_here(warp, inst, mask, members)) return;
  const Mask yes = warp.predicate(inst.op[1]) & mask;
  if (inst.imm == 3) {
    u32* d = warp.at<u32>(inst.op[0]);
    for_lanes(mask, [&](int lane) { d[lane] = yes & members[lane]; });
    return;
  }
  Mask& p = warp.predicate(inst.op[0]);
  Mask result = 0;
  for_lanes(mask, [&](int lane) {
    const Mask all = members[lane] & mask, mine = yes & all;
    const bool holds = inst.imm == 0   ? mine == all
                       : inst.imm == 1 ? mine != 0
                                       : mine == all || mine == 0;
    if (holds) result |= lane_bit(lane);
  });
  p = (p & ~mask) | result;
}

void decode_vote(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  if (!modifiers.take("sync")) decoder.fail("only vote.sync is supported");
  decoder.expect_operands(statement, 3);
  Inst inst = decoder.start(statement);
  inst.imm = modifiers.take_one_of({"all", "any", "uni", "ballot"});
  if (inst.imm < 0) decoder.fail("unknown mode");
  const bool ballot = inst.imm == 3;
  if (modifiers.take_type() != (ballot ? Type::B32 : Type::Pred)) decoder.fail("not for this type");
  inst.op[0] = ballot ? decoder.destination(statement.operands[0], 4)
                      : decoder.predicate_destination(statement.operands[0]);
  inst.op[1] = decoder.predicate_source(statement.operands[1]);
  inst.op[2] = decoder.source(statement.operands[2], Type::B32);
  decoder.add(inst, exec_vote);
}

// op: 0 d, 1 p, 2 a, 3 members. flag: all rather than any.
template <class T>
void exec_match(Warp& warp, const Inst& inst, Mask mask) {
  const T* a = warp.at<T>(inst.op[2]);
  const u32* members = warp.at<u32>(inst.op[3]);
  if (!members_here(warp, inst, mask, members)) return;
  u32 result[kLanes];
  for_lanes(mask, [&](int lane) {
    result[lane] = 0;
    for_lanes(members[lane] & mask,
              [&](int other) { result[lane] |= a[other] == a[lane] ? lane_bit(other) : 0; });
    if (!inst.flag) return;
    const bool all = result[lane] == (members[lane] & mask);
    if (!all) result[lane] = 0;
    if (inst.op[1] == kNoSlot) return;
    Mask& p = warp.predicate(inst.op[1]);
    p = all ? p | lane_bit(lane) : p & ~lane_bit(lane);
  });
  u32* d = warp.at<u32>(inst.op[0]);
  for_lanes(mask, [&](int lane) { d[lane] = result[lane]; });
}

void decode_match(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  if (!modifiers.take("sync")) decoder.fail("expected match.sync");
  decoder.expect_operands(statement, 3);
  Inst inst = decoder.start(statement);
  const int mode = modifiers.take_one_of({"any", "all"});
  const Type type = modifiers.take_type();
  if (mode < 0 || kind_of(type) != Kind::Bits || bytes_of(type) < 4)
    decoder.fail("unknown mode or type");
  inst.flag = mode == 1;
  const Operand& d = statement.operands[0];
  inst.op[0] = decoder.destination(d, 4);
  if (!d.second.empty()) inst.op[1] = decoder.predicate_destination(second_of(d));
  inst.op[2] = decoder.source(statement.operands[1], type);
  inst.op[3] = decoder.source(statement.operands[2], Type::B32);
  decoder.add(inst, bytes_of(type) == 8 ? exec_match<u64> : exec_match<u32>);
}

// op: 0 d, 1 a, 2 members. imm: which reduction; flag: signed.
void exec_redux(Warp& warp, const Inst& inst, Mask mask) {
  const u32 *a = warp.at<u32>(inst.op[1]), *members = warp.at<u32>(inst.op[2]);
  if (!members_here(warp, inst, mask, members)) return;
  const auto combine = [&](u32 x, u32 y) {
    const bool less = inst.flag ? static_cast<s32>(x) < static_cast<s32>(y) : x < y;
    switch (inst.imm) {
      case 0: return x + y;
      case 1: return less ? x : y;
      case 2: return less ? y : x;
      case 3: return x & y;
      case 4: return x | y;
      default: return x ^ y;
    }
  };
  u32 result[kLanes];
  for_lanes(mask, [&](int lane) {
    Mask rest = members[lane] & mask;
    u32 value = a[__builtin_ctz(rest)];
    for_lanes(rest & (rest - 1), [&](int other) { value = combine(value, a[other]); });
    result[lane] = value;
  });
  u32* d = warp.at<u32>(inst.op[0]);
  for_lanes(mask, [&](int lane) { d[lane] = result[lane]; });
}

void decode_redux(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.require_sm(80);
  if (!modifiers.take("sync")) decoder.fail("expected redux.sync");
  decoder.expect_operands(statement, 3);
  Inst inst = decoder.start(statement);
  inst.imm = modifiers.take_one_of({"add", "min", "max", "and", "or", "xor"});
  const Type type = modifiers.take_type();
  if (inst.imm < 0 || kind_of(type) == Kind::Float || bytes_of(type) != 4)
    decoder.fail("unknown operation or type");
  inst.flag = is_signed(type);
  inst.op[0] = decoder.destination(statement.operands[0], 4);
  inst.op[1] = decoder.source(statement.operands[1], type);
  inst.op[2] = decoder.source(statement.operands[2], Type::B32);
  decoder.add(inst, exec_redux);
}

void decode_activemask(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 1);
  if (modifiers.take_type() != Type::B32) decoder.fail("not for this type");
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], 4);
  decoder.add(inst, [](Warp& warp, const Inst& in, Mask mask) {
    u32* d = warp.at<u32>(in.op[0]);
    for_lanes(mask, [&](int lane) { d[lane] = mask; });
  });
}

// elect.sync d|p, members: the lowest member is the leader.
void decode_elect(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.require_sm(90);
  if (!modifiers.take("sync")) decoder.fail("expected elect.sync");
  decoder.expect_operands(statement, 2);
  const Operand& d = statement.operands[0];
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(d, 4);
  inst.op[1] = decoder.predicate_destination(second_of(d));
  inst.op[2] = decoder.source(statement.operands[1], Type::B32);
  decoder.add(inst, [](Warp& warp, const Inst& in, Mask mask) {
    const u32* members = warp.at<u32>(in.op[2]);
    if (!members_here(warp, in, mask, members)) return;
    const int leader = __builtin_ctz(members[__builtin_ctz(mask)] & mask);
    for_lanes(mask, [&](int lane) { warp.at<u32>(in.op[0])[lane] = static_cast<u32>(leader); });
    Mask& p = warp.predicate(in.op[1]);
    p = (p & ~mask) | lane_bit(leader);
  });
}

constexpr Opcode kOpcodes[] = {{"shfl", decode_shuffle},          {"vote", decode_vote},
                               {"match", decode_match},           {"redux", decode_redux},
                               {"activemask", decode_activemask}, {"elect", decode_elect}};

}  // namespace

std::span<const Opcode> warp_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
