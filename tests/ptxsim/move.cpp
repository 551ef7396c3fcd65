// Moves: mov with packing and unpacking of vectors, cvta, isspacep, and hints that do nothing here.

#include <cstring>

#include "ptxsim/decode.h"
#include "ptxsim/lanes.h"

namespace cermet::ptxsim {
namespace {

template <class T>
T same(T a) {
  return a;
}

Exec move_exec(int bytes) {
  return bytes <= 2   ? map_lanes<same<u16>, u16, u16>
         : bytes == 4 ? map_lanes<same<u32>, u32, u32>
                      : map_lanes<same<u64>, u64, u64>;
}

void exec_move_predicate(Warp& warp, const Inst& inst, Mask mask) {
  Mask& d = warp.predicate(inst.op[0]);
  d = (d & ~mask) | (warp.predicate(inst.op[1]) & mask);
}

u64 read_lane(const Warp& warp, std::int32_t slot, int bytes, int lane) {
  u64 result = 0;
  std::memcpy(&result, warp.at<std::byte>(slot) + lane * bytes, static_cast<std::size_t>(bytes));
  return result;
}
void write_lane(const Warp& warp, std::int32_t slot, int bytes, int lane, u64 value) {
  std::memcpy(warp.at<std::byte>(slot) + lane * bytes, &value, static_cast<std::size_t>(bytes));
}

// inst.vector parts of inst.bytes each. In packing, op[0] is the whole and the parts follow; in
// unpacking, the parts come from op[1] on and op[0] is the whole too.
void exec_pack(Warp& warp, const Inst& inst, Mask mask) {
  const int whole = inst.bytes * inst.vector;
  for_lanes(mask, [&](int lane) {
    u64 value = 0;
    for (unsigned part = 0; part < inst.vector; ++part) {
      value |= read_lane(warp, inst.op[part + 1], inst.bytes, lane) << (8U * inst.bytes * part);
    }
    write_lane(warp, inst.op[0], whole, lane, value);
  });
}
void exec_unpack(Warp& warp, const Inst& inst, Mask mask) {
  const int whole = inst.bytes * inst.vector;
  for_lanes(mask, [&](int lane) {
    const u64 value = read_lane(warp, inst.op[0], whole, lane);
    for (unsigned part = 0; part < inst.vector; ++part) {
      if (inst.op[part + 1] == kNoSlot) continue;
      write_lane(warp, inst.op[part + 1], inst.bytes, lane, value >> (8U * inst.bytes * part));
    }
  });
}

void decode_vector_move(Decoder& decoder, const Statement& statement, Type type, bool pack) {
  const Operand& vector = statement.operands[pack ? 1 : 0];
  const Operand& whole = statement.operands[pack ? 0 : 1];
  const auto parts = vector.elements.size();
  if ((parts != 2 && parts != 4) || bytes_of(type) / static_cast<int>(parts) < 2) {
    decoder.fail("a vector of this many parts is not supported");
  }
  Inst inst = decoder.start(statement);
  inst.vector = static_cast<u8>(parts);
  inst.bytes = static_cast<u8>(static_cast<std::size_t>(bytes_of(type)) / parts);
  const Type part_type = inst.bytes == 2 ? Type::B16 : Type::B32;
  inst.op[0] = pack ? decoder.destination(whole, bytes_of(type)) : decoder.source(whole, type);
  for (std::size_t i = 0; i < parts; ++i) {
    const Operand& part = vector.elements[i];
    if (pack) {
      inst.op[i + 1] = decoder.source(part, part_type);
    } else if (part.name != "_") {
      inst.op[i + 1] = decoder.destination(part, inst.bytes);
    }
  }
  decoder.add(inst, pack ? exec_pack : exec_unpack);
}

void decode_mov(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 2);
  const Type type = modifiers.take_type();
  const Operand &to = statement.operands[0], &from = statement.operands[1];
  if (to.kind == Operand::Kind::Vector) return decode_vector_move(decoder, statement, type, false);
  if (from.kind == Operand::Kind::Vector) return decode_vector_move(decoder, statement, type, true);
  Inst inst = decoder.start(statement);
  if (type == Type::Pred) {
    inst.op[0] = decoder.predicate_destination(to);
    inst.op[1] = decoder.predicate_source(from);
    decoder.add(inst, exec_move_predicate);
    return;
  }
  inst.op[0] = decoder.destination(to, bytes_of(type));
  const SpecialRegister* special =
      from.kind == Operand::Kind::Name ? special_register(from.name) : nullptr;
  if (special != nullptr && special->bytes == bytes_of(type) && inst.guard == 0) {
    decoder.add(inst, special->read);
    return;
  }
  inst.op[1] = decoder.source(from, type);
  decoder.add(inst, move_exec(bytes_of(type)));
}

// Global and constant addresses are generic ones; the other spaces have windows.
void decode_cvta(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 2);
  const bool to = modifiers.take("to");
  modifiers.take("cta");
  const int space =
      modifiers.take_one_of({"global", "const", "shared", "local", "param", "shared::cta"});
  const Type type = modifiers.take_type();
  if (space < 0 || bytes_of(type) != 8) decoder.fail("unknown space");
  static constexpr u64 kWindows[] = {
      0, 0, kSharedWindow, kLocalWindow, kParameterWindow, kSharedWindow};
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], 8);
  inst.op[1] = decoder.source(statement.operands[1], type);
  const u64 window = kWindows[space];
  inst.op[2] = decoder.constant(to ? 0 - window : window, 8);
  decoder.add(inst, map_lanes<[](u64 a, u64 b) { return a + b; }, u64, u64, u64>);
}

void decode_isspacep(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 2);
  const int space =
      modifiers.take_one_of({"global", "const", "shared", "local", "param", "shared::cta"});
  if (space < 0 || space == 1) decoder.fail("unknown space");
  static constexpr u64 kWindows[] = {
      0, 0, kSharedWindow, kLocalWindow, kParameterWindow, kSharedWindow};
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.predicate_destination(statement.operands[0]);
  inst.op[1] = decoder.source(statement.operands[1], Type::U64);
  inst.imm = static_cast<s64>(kWindows[space]);
  decoder.add(inst, [](Warp& warp, const Inst& in, Mask mask) {
    const u64* a = warp.at<u64>(in.op[1]);
    Mask& p = warp.predicate(in.op[0]);
    for_lanes(mask, [&](int lane) {
      const bool inside = (a[lane] & kWindowMask) == static_cast<u64>(in.imm);
      p = inside ? p | lane_bit(lane) : p & ~lane_bit(lane);
    });
  });
}

// Hints to caches. The address is not looked at: a prefetch of a bad address does nothing.
void decode_prefetch(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  modifiers.take("global");
  if (modifiers.take_one_of({"L1", "L2", "L2::evict_last", "L2::evict_normal"}) < 0) {
    decoder.fail("unknown cache level");
  }
  Inst inst = decoder.start(statement);
  decoder.address(inst, 0, statement.operands.at(0), Space::Global);
  decoder.add(inst, [](Warp&, const Inst&, Mask) {});
}

constexpr Opcode kOpcodes[] = {{"mov", decode_mov},
                               {"cvta", decode_cvta},
                               {"isspacep", decode_isspacep},
                               {"prefetch", decode_prefetch}};

}  // namespace

std::span<const Opcode> move_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
