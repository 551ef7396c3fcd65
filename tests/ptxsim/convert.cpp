// cvt between all numeric types. The general way goes through one wide value per lane: integers
// through 64 bits and a sign, floats through double, which holds all of them exactly; rounding then
// happens once, into the destination. Common conversions that need no modifiers have loops of their
// own. A register may be wider than the type that is read from it or written to it.

#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "ptxsim/decode.h"
#include "ptxsim/half.h"
#include "ptxsim/lanes.h"

namespace cermet::ptxsim {
namespace {

struct Conversion {
  Type to, from;
  int to_register, from_register;  // bytes
  std::optional<Round> round;      // of a result that is a float
  std::optional<Round> round_to_integer;
  bool saturate = false, flush = false, relu = false, finite = false;
};

u64 load_bits(const Warp& warp, std::int32_t slot, int register_bytes, int lane) {
  switch (register_bytes) {
    case 2: return warp.at<u16>(slot)[lane];
    case 4: return warp.at<u32>(slot)[lane];
    default: return warp.at<u64>(slot)[lane];
  }
}
void store_bits(const Warp& warp, std::int32_t slot, int register_bytes, int lane, u64 value) {
  switch (register_bytes) {
    case 2: warp.at<u16>(slot)[lane] = static_cast<u16>(value); return;
    case 4: warp.at<u32>(slot)[lane] = static_cast<u32>(value); return;
    default: warp.at<u64>(slot)[lane] = value;
  }
}

// The value of `bytes` bytes with their sign or zeros above.
u64 extended(u64 bits, int bytes, bool sign) {
  const int shift = 64 - 8 * bytes;
  return sign ? static_cast<u64>(static_cast<s64>(bits << shift) >> shift) : bits << shift >> shift;
}

double load_float(u64 bits, Type type) {
  switch (type) {
    case Type::F16: return half_to_float(static_cast<u16>(bits));
    case Type::BF16: return bfloat_to_float(static_cast<u16>(bits));
    case Type::F32:
    case Type::TF32: return std::bit_cast<float>(static_cast<u32>(bits));
    default: return std::bit_cast<double>(bits);
  }
}

// A double in f32, rounded in a direction, by comparing with the nearest.
float round_to_float(double x, Round mode) {
  float nearest = static_cast<float>(x);
  if (std::isnan(x) || static_cast<double>(nearest) == x) return nearest;
  const bool above = static_cast<double>(nearest) > x;
  const bool want_down = mode == Round::Down || (mode == Round::Zero && x > 0);
  const bool want_up = mode == Round::Up || (mode == Round::Zero && x < 0);
  constexpr float infinity = std::numeric_limits<float>::infinity();
  if (want_down && above) return std::nextafter(nearest, -infinity);
  if (want_up && !above) return std::nextafter(nearest, infinity);
  return nearest;
}

u64 store_float(double x, const Conversion& c) {
  const Round mode = c.round.value_or(Round::Nearest);
  if (c.saturate) x = x > 0 ? std::min(x, 1.0) : 0.0;
  if (c.relu) x = x > 0 || std::isnan(x) ? x : 0.0;
  switch (c.to) {
    case Type::F64: return std::bit_cast<u64>(x);
    case Type::F32: {
      const float result = round_to_float(x, mode);
      if (result != result) return 0x7fffffffU;
      const u32 bits = std::bit_cast<u32>(result);
      return c.flush && (bits & 0x7f800000U) == 0 ? bits & 0x80000000U : bits;
    }
    case Type::F16: {
      const u32 bits = round_to_format(x, kHalf, mode);
      return c.finite && (bits & 0x7fff) == 0x7c00 ? bits - 1 : bits;
    }
    case Type::BF16: {
      const u32 bits = round_to_format(x, kBFloat, mode);
      return c.finite && (bits & 0x7fff) == 0x7f80 ? bits - 1 : bits;
    }
    default: {
      const u32 bits = round_to_format(x, kTensorFloat, mode);
      return u64{c.finite && (bits & 0x3ffff) == 0x3fc00 ? bits - 1 : bits} << 13;
    }
  }
}

// To an integer type: always clamped to its range, NaN gives 0.
u64 float_to_integer(double x, const Conversion& c) {
  if (std::isnan(x)) return 0;
  x = round_integer(x, c.round_to_integer.value_or(Round::Zero));
  const int bits = 8 * bytes_of(c.to);
  const bool sign = is_signed(c.to);
  const double top = std::ldexp(1.0, sign ? bits - 1 : bits);
  const double bottom = sign ? -top : 0.0;
  const u64 highest = sign         ? (u64{1} << (bits - 1)) - 1
                      : bits == 64 ? ~u64{0}
                                   : (u64{1} << bits) - 1;
  if (x >= top) return highest;
  if (x <= bottom) return sign ? ~highest : 0;
  return sign ? static_cast<u64>(static_cast<s64>(x)) : static_cast<u64>(x);
}

// An integer as a double that rounds to the same f16, bf16 or f32 as the integer does: to odd where
// 53 bits are not enough.
double integer_to_double(u64 value, bool sign) {
  const bool negative = sign && static_cast<s64>(value) < 0;
  const u64 magnitude = negative ? 0 - value : value;
  const int excess = 64 - std::countl_zero(magnitude) - 53;
  if (excess <= 0)
    return negative ? -static_cast<double>(magnitude) : static_cast<double>(magnitude);
  const u64 lost = magnitude & ((u64{1} << excess) - 1);
  const u64 kept = (magnitude >> excess) | (lost != 0 ? 1 : 0);
  const double result = std::ldexp(static_cast<double>(kept), excess);
  return negative ? -result : result;
}
double integer_to_f64(u64 value, bool sign, Round mode) {
  const bool negative = sign && static_cast<s64>(value) < 0;
  const u64 magnitude = negative ? 0 - value : value;
  const double nearest = static_cast<double>(magnitude);  // to nearest even
  const Round outward = negative && mode == Round::Down ? Round::Up
                        : negative && mode == Round::Up ? Round::Down
                                                        : mode;
  const u128 back = static_cast<u128>(nearest);
  double result = nearest;
  if (outward == Round::Up && back < magnitude) result = std::nextafter(nearest, INFINITY);
  if ((outward == Round::Down || outward == Round::Zero) && back > magnitude)
    result = std::nextafter(nearest, 0.0);
  return negative ? -result : result;
}

u64 integer_to_integer(u64 value, const Conversion& c) {
  if (!c.saturate) return value;
  const int bits = 8 * bytes_of(c.to);
  const bool from_sign = is_signed(c.from), to_sign = is_signed(c.to);
  const u64 highest = to_sign      ? (u64{1} << (bits - 1)) - 1
                      : bits == 64 ? ~u64{0}
                                   : (u64{1} << bits) - 1;
  if (from_sign && static_cast<s64>(value) < 0) {
    if (!to_sign) return 0;
    return static_cast<s64>(value) < static_cast<s64>(~highest) ? ~highest : value;
  }
  return std::min(value, highest);
}

u64 converted(u64 bits, const Conversion& c) {
  const bool from_float = kind_of(c.from) == Kind::Float, to_float = kind_of(c.to) == Kind::Float;
  if (from_float) {
    double x = load_float(bits, c.from);
    if (c.flush && c.from == Type::F32 && std::fabs(x) < 0x1p-126) x = std::copysign(0.0, x);
    if (!to_float) return float_to_integer(x, c);
    if (c.round_to_integer) x = round_integer(x, *c.round_to_integer);
    return store_float(x, c);
  }
  const u64 value = extended(bits, bytes_of(c.from), is_signed(c.from));
  if (!to_float) return integer_to_integer(value, c);
  if (c.to == Type::F64) {
    return std::bit_cast<u64>(
        integer_to_f64(value, is_signed(c.from), c.round.value_or(Round::Nearest)));
  }
  return store_float(integer_to_double(value, is_signed(c.from)), c);
}

// The conversion of an instruction, packed into its free fields.
void pack(Inst& inst, const Conversion& c) {
  inst.imm = static_cast<s64>(c.to) | static_cast<s64>(c.from) << 8 | s64{c.to_register} << 16 |
             s64{c.from_register} << 24 |
             static_cast<s64>(c.round ? static_cast<int>(*c.round) + 1 : 0) << 32 |
             static_cast<s64>(c.round_to_integer ? static_cast<int>(*c.round_to_integer) + 1 : 0)
                 << 40;
  inst.mode = static_cast<u16>(c.saturate | c.flush << 1 | c.relu << 2 | c.finite << 3);
}
Conversion unpack(const Inst& inst) {
  const auto byte = [&](int i) { return static_cast<int>(inst.imm >> (8 * i) & 0xff); };
  Conversion c{static_cast<Type>(byte(0)), static_cast<Type>(byte(1)), byte(2), byte(3), {}, {}};
  if (byte(4) != 0) c.round = static_cast<Round>(byte(4) - 1);
  if (byte(5) != 0) c.round_to_integer = static_cast<Round>(byte(5) - 1);
  c.saturate = (inst.mode & 1) != 0;
  c.flush = (inst.mode & 2) != 0;
  c.relu = (inst.mode & 4) != 0;
  c.finite = (inst.mode & 8) != 0;
  return c;
}

void exec_convert(Warp& warp, const Inst& inst, Mask mask) {
  const Conversion c = unpack(inst);
  for_lanes(mask, [&](int lane) {
    u64 result = converted(load_bits(warp, inst.op[1], c.from_register, lane), c);
    // What is narrower than its register is extended as its type says.
    if (is_integer(c.to)) result = extended(result, bytes_of(c.to), is_signed(c.to));
    store_bits(warp, inst.op[0], c.to_register, lane, result);
  });
}

// cvt.rn.f16x2.f32 d, a, b: a is the upper half.
void exec_convert_pair(Warp& warp, const Inst& inst, Mask mask) {
  const Conversion c = unpack(inst);
  u32* d = warp.at<u32>(inst.op[0]);
  for_lanes(mask, [&](int lane) {
    const u64 high = converted(warp.at<u32>(inst.op[1])[lane], c);
    const u64 low = converted(warp.at<u32>(inst.op[2])[lane], c);
    d[lane] = static_cast<u32>(high << 16 | low);
  });
}

inline u32 half_pair(float high, float low) {
  return static_cast<u32>(float_to_half(high)) << 16 | float_to_half(low);
}
inline u32 bfloat_pair(float high, float low) {
  return static_cast<u32>(float_to_bfloat(high)) << 16 | float_to_bfloat(low);
}

// The loops for conversions without modifiers, between registers as wide as the types.
struct FastConversion {
  Type to, from;
  std::optional<Round> round, round_to_integer;
  Exec exec;
};
template <class D, class S>
D cast(S x) {
  return static_cast<D>(x);
}
inline float narrow(double x) {
  const auto f = static_cast<float>(x);
  return f != f ? std::bit_cast<float>(0x7fffffffU) : f;
}
inline s32 truncate(float x) {
  return x != x ? 0 : x >= 0x1p31F ? INT32_MAX : x < -0x1p31F ? INT32_MIN : static_cast<s32>(x);
}
const FastConversion kFast[] = {
    {Type::S64, Type::S32, {}, {}, map_lanes<cast<s64, s32>, s64, s32>},
    {Type::U64, Type::U32, {}, {}, map_lanes<cast<u64, u32>, u64, u32>},
    {Type::U32, Type::U64, {}, {}, map_lanes<cast<u32, u64>, u32, u64>},
    {Type::S32, Type::S64, {}, {}, map_lanes<cast<u32, u64>, u32, u64>},
    {Type::U32, Type::U16, {}, {}, map_lanes<cast<u32, u16>, u32, u16>},
    {Type::S32, Type::S16, {}, {}, map_lanes<cast<s32, s16>, s32, s16>},
    {Type::U16, Type::U32, {}, {}, map_lanes<cast<u16, u32>, u16, u32>},
    {Type::F64, Type::F32, {}, {}, map_lanes<cast<double, float>, double, float>},
    {Type::F32, Type::F64, Round::Nearest, {}, map_lanes<narrow, float, double>},
    {Type::F32, Type::S32, Round::Nearest, {}, map_lanes<cast<float, s32>, float, s32>},
    {Type::F32, Type::U32, Round::Nearest, {}, map_lanes<cast<float, u32>, float, u32>},
    {Type::F64, Type::S32, Round::Nearest, {}, map_lanes<cast<double, s32>, double, s32>},
    {Type::S32, Type::F32, {}, Round::Zero, map_lanes<truncate, s32, float>},
    {Type::F32, Type::F16, {}, {}, map_lanes<half_to_float, float, u16>},
    {Type::F32, Type::BF16, {}, {}, map_lanes<bfloat_to_float, float, u16>},
    {Type::F16, Type::F32, Round::Nearest, {}, map_lanes<float_to_half, u16, float>},
    {Type::BF16, Type::F32, Round::Nearest, {}, map_lanes<float_to_bfloat, u16, float>},
};

Exec fast_exec(const Conversion& c) {
  if (c.saturate || c.flush || c.relu || c.finite || c.to_register != bytes_of(c.to) ||
      c.from_register != bytes_of(c.from)) {
    return nullptr;
  }
  for (const FastConversion& fast : kFast) {
    if (fast.to == c.to && fast.from == c.from && fast.round == c.round &&
        fast.round_to_integer == c.round_to_integer) {
      return fast.exec;
    }
  }
  return nullptr;
}

void decode_pair(Decoder& decoder, const Statement& statement, Inst inst, Conversion c) {
  decoder.expect_operands(statement, 3);
  if (c.from != Type::F32) decoder.fail("not for these types");
  const bool bfloat = c.to == Type::BF16x2;
  c.to = bfloat ? Type::BF16 : Type::F16;
  c.from_register = 4;
  pack(inst, c);
  inst.op[0] = decoder.destination(statement.operands[0], 4);
  inst.op[1] = decoder.source(statement.operands[1], Type::F32);
  inst.op[2] = decoder.source(statement.operands[2], Type::F32);
  if (inst.mode == 0 && c.round == Round::Nearest) {
    decoder.add(inst, bfloat ? map_lanes<bfloat_pair, u32, float, float>
                             : map_lanes<half_pair, u32, float, float>);
  } else {
    decoder.add(inst, exec_convert_pair);
  }
}

void decode_cvt(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  Conversion c{};
  c.to = modifiers.take_type();
  c.from = modifiers.take_type();
  static constexpr Round kRounds[] = {Round::Nearest, Round::Zero, Round::Down, Round::Up,
                                      Round::Away};
  const int round = modifiers.take_one_of({"rn", "rz", "rm", "rp", "rna"});
  const int integer = modifiers.take_one_of({"rni", "rzi", "rmi", "rpi"});
  if (round >= 0) c.round = kRounds[round];
  if (integer >= 0) c.round_to_integer = kRounds[integer];
  c.flush = modifiers.take("ftz");
  c.relu = modifiers.take("relu");
  c.finite = modifiers.take("satfinite");
  c.saturate = modifiers.take("sat");
  Inst inst = decoder.start(statement);
  if (c.to == Type::F16x2 || c.to == Type::BF16x2) return decode_pair(decoder, statement, inst, c);
  decoder.expect_operands(statement, 2);
  const auto number = [](Type t) { return is_integer(t) || kind_of(t) == Kind::Float; };
  if (!number(c.to) || !number(c.from) || c.from == Type::TF32) decoder.fail("not for these types");
  if (kind_of(c.from) == Kind::Float && is_integer(c.to) && !c.round_to_integer) {
    decoder.fail("a float becomes an integer by .rni, .rzi, .rmi or .rpi");
  }
  const Operand &to = statement.operands[0], &from = statement.operands[1];
  c.to_register = decoder.register_bytes(to, c.to);
  c.from_register = decoder.register_bytes(from, c.from);
  if (c.to_register < bytes_of(c.to) || c.from_register < bytes_of(c.from)) {
    decoder.fail("a register is narrower than the type");
  }
  static constexpr Type kRegister[] = {Type::B16, Type::B16, Type::B16, Type::B32, Type::B32,
                                       Type::B64, Type::B64, Type::B64, Type::B64};
  inst.op[0] = decoder.destination(to, c.to_register);
  inst.op[1] = decoder.immediate(from, c.from) ? decoder.source(from, c.from)
                                               : decoder.source(from, kRegister[c.from_register]);
  pack(inst, c);
  const Exec fast = fast_exec(c);
  decoder.add(inst, fast != nullptr ? fast : exec_convert);
}

constexpr Opcode kOpcodes[] = {{"cvt", decode_cvt}};

}  // namespace

std::span<const Opcode> convert_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
