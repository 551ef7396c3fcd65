// Bits: logic, shifts, funnel shifts, bit fields, counts, byte permutation, and the same on
// predicates.

#include <fmt/format.h>

#include <bit>

#include "ptxsim/decode.h"
#include "ptxsim/lanes.h"

namespace cermet::ptxsim {
namespace {

struct And {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a & b);
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a | b);
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a ^ b);
  }
};
struct Not {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};
struct CNot {
  template <class T>
  T operator()(T a) const {
    return a == 0 ? 1 : 0;
  }
};
// Shifts by the width or more give zero, or the sign.
struct ShiftLeft {
  template <class T>
  T operator()(T a, u32 n) const {
    return n < 8 * sizeof(T) ? static_cast<T>(a << n) : T{0};
  }
};
struct ShiftRight {
  template <class T>
  T operator()(T a, u32 n) const {
    constexpr u32 width = 8 * sizeof(T);
    if constexpr (std::is_signed_v<T>) return static_cast<T>(a >> (n < width ? n : width - 1));
    return n < width ? static_cast<T>(a >> n) : T{0};
  }
};

Type bits_type(Decoder& decoder, Modifiers& modifiers) {
  const Type type = modifiers.take_type();
  if (kind_of(type) == Kind::Float || kind_of(type) == Kind::Packed || bytes_of(type) == 1) {
    decoder.fail("not for this type");
  }
  return type;
}

template <class Op, int N>
Exec by_width(int bytes) {
  if constexpr (N == 1) {
    return bytes == 2   ? map_lanes<Op{}, u16, u16>
           : bytes == 4 ? map_lanes<Op{}, u32, u32>
                        : map_lanes<Op{}, u64, u64>;
  } else {
    return bytes == 2   ? map_lanes<Op{}, u16, u16, u16>
           : bytes == 4 ? map_lanes<Op{}, u32, u32, u32>
                        : map_lanes<Op{}, u64, u64, u64>;
  }
}

// Of predicates: one operation on the mask does all lanes.
template <class Op, int N>
void predicate_exec(Warp& warp, const Inst& inst, Mask mask) {
  Mask result;
  if constexpr (N == 1) {
    result = Op{}(warp.predicate(inst.op[1]));
  } else {
    result = Op{}(warp.predicate(inst.op[1]), warp.predicate(inst.op[2]));
  }
  Mask& d = warp.predicate(inst.op[0]);
  d = (d & ~mask) | (result & mask);
}

template <class Op, int N>
void decode_logic(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, N + 1);
  const Type type = bits_type(decoder, modifiers);
  Inst inst = decoder.start(statement);
  const auto& operands = statement.operands;
  if (type == Type::Pred) {
    inst.op[0] = decoder.predicate_destination(operands[0]);
    for (std::size_t i = 1; i <= N; ++i) inst.op[i] = decoder.predicate_source(operands[i]);
    decoder.add(inst, predicate_exec<Op, N>);
    return;
  }
  inst.op[0] = decoder.destination(operands[0], bytes_of(type));
  for (std::size_t i = 1; i <= N; ++i) inst.op[i] = decoder.source(operands[i], type);
  decoder.add(inst, by_width<Op, N>(bytes_of(type)));
}

void decode_shift(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 3);
  const Type type = bits_type(decoder, modifiers);
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], bytes_of(type));
  inst.op[1] = decoder.source(statement.operands[1], type);
  inst.op[2] = decoder.source(statement.operands[2], Type::U32);
  Exec exec = nullptr;
  if (modifiers.base() == "shl") {
    exec = bytes_of(type) == 2   ? map_lanes<ShiftLeft{}, u16, u16, u32>
           : bytes_of(type) == 4 ? map_lanes<ShiftLeft{}, u32, u32, u32>
                                 : map_lanes<ShiftLeft{}, u64, u64, u32>;
  } else if (is_signed(type)) {
    exec = type == Type::S16   ? map_lanes<ShiftRight{}, s16, s16, u32>
           : type == Type::S32 ? map_lanes<ShiftRight{}, s32, s32, u32>
                               : map_lanes<ShiftRight{}, s64, s64, u32>;
  } else {
    exec = bytes_of(type) == 2   ? map_lanes<ShiftRight{}, u16, u16, u32>
           : bytes_of(type) == 4 ? map_lanes<ShiftRight{}, u32, u32, u32>
                                 : map_lanes<ShiftRight{}, u64, u64, u32>;
  }
  decoder.add(inst, exec);
}

// The pair b:a shifted; left gives the high word, right the low one.
template <bool kLeft, bool kWrap>
u32 funnel(u32 a, u32 b, u32 c) {
  const u32 n = kWrap ? c & 31 : std::min(c, 32U);
  const u64 pair = u64{b} << 32 | a;
  return static_cast<u32>(kLeft ? pair << n >> 32 : pair >> n);
}

void decode_funnel(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 4);
  const int direction = modifiers.take_one_of({"l", "r"});
  const int mode = modifiers.take_one_of({"wrap", "clamp"});
  if (direction < 0 || mode < 0 || modifiers.take_type() != Type::B32) decoder.fail("bad shf");
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], 4);
  for (std::size_t i = 1; i < 4; ++i) inst.op[i] = decoder.source(statement.operands[i], Type::B32);
  constexpr Exec kExec[2][2] = {{map_lanes<funnel<true, true>, u32, u32, u32, u32>,
                                 map_lanes<funnel<true, false>, u32, u32, u32, u32>},
                                {map_lanes<funnel<false, true>, u32, u32, u32, u32>,
                                 map_lanes<funnel<false, false>, u32, u32, u32, u32>}};
  decoder.add(inst, kExec[direction][mode]);
}

// Position and length are taken modulo 256, as PTX says.
template <class T>
T extract_field(T a, u32 position, u32 length) {
  constexpr u32 width = 8 * sizeof(T);
  using U = std::make_unsigned_t<T>;
  const u32 p = position & 0xff, n = length & 0xff;
  if (n == 0) return 0;
  const auto bit = [&](u32 i) { return (static_cast<U>(a) >> i) & U{1}; };
  const U sign = std::is_signed_v<T> ? bit(std::min(p + n - 1, width - 1)) : U{0};
  U result = p < width ? static_cast<U>(static_cast<U>(a) >> p) : U{0};
  const u32 valid = std::min(n, p < width ? width - p : 0U);
  if (valid < width) {
    const U low = static_cast<U>((U{1} << valid) - 1);
    result = static_cast<U>((result & low) | (sign != 0 ? ~low : U{0}));
  }
  return static_cast<T>(result);
}
template <class T>
T insert_field(T a, T b, u32 position, u32 length) {
  constexpr u32 width = 8 * sizeof(T);
  const u32 p = position & 0xff, n = length & 0xff;
  if (p >= width || n == 0) return b;
  const u32 valid = std::min(n, width - p);
  const T low = valid < width ? static_cast<T>((T{1} << valid) - 1) : static_cast<T>(~T{0});
  const T field = static_cast<T>(low << p);
  return static_cast<T>((b & ~field) | ((a << p) & field));
}

void decode_field(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  const bool insert = modifiers.base() == "bfi";
  decoder.expect_operands(statement, insert ? 5 : 4);
  const Type type = modifiers.take_type();
  const bool wide = bytes_of(type) == 8;
  if ((!wide && bytes_of(type) != 4) || (insert && kind_of(type) != Kind::Bits)) {
    decoder.fail("not for this type");
  }
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], bytes_of(type));
  const std::size_t values = insert ? 2 : 1;
  for (std::size_t i = 1; i < statement.operands.size(); ++i) {
    inst.op[i] = decoder.source(statement.operands[i], i <= values ? type : Type::U32);
  }
  if (insert) {
    decoder.add(inst, wide ? map_lanes<insert_field<u64>, u64, u64, u64, u32, u32>
                           : map_lanes<insert_field<u32>, u32, u32, u32, u32, u32>);
  } else if (is_signed(type)) {
    decoder.add(inst, wide ? map_lanes<extract_field<s64>, s64, s64, u32, u32>
                           : map_lanes<extract_field<s32>, s32, s32, u32, u32>);
  } else {
    decoder.add(inst, wide ? map_lanes<extract_field<u64>, u64, u64, u32, u32>
                           : map_lanes<extract_field<u32>, u32, u32, u32, u32>);
  }
}

u32 reverse32(u32 x) {
  x = (x >> 1 & 0x55555555U) | (x & 0x55555555U) << 1;
  x = (x >> 2 & 0x33333333U) | (x & 0x33333333U) << 2;
  x = (x >> 4 & 0x0f0f0f0fU) | (x & 0x0f0f0f0fU) << 4;
  return __builtin_bswap32(x);
}
u64 reverse64(u64 x) {
  return u64{reverse32(static_cast<u32>(x))} << 32 | reverse32(static_cast<u32>(x >> 32));
}

// bfind: the place of the highest bit that differs from the sign, or that one's distance from the
// top; all ones if there is none.
template <class T, bool kAmount>
u32 find_bit(T a) {
  using U = std::make_unsigned_t<T>;
  const U x = static_cast<U>(std::is_signed_v<T> && a < 0 ? ~a : a);
  if (x == 0) return ~0U;
  const auto zeros = static_cast<u32>(std::countl_zero(x));
  return kAmount ? zeros : static_cast<u32>(8 * sizeof(T)) - 1 - zeros;
}

template <class T>
void decode_find(Decoder& decoder, const Statement& statement, bool amount, Inst inst) {
  (void)statement;
  decoder.add(
      inst, amount ? map_lanes<find_bit<T, true>, u32, T> : map_lanes<find_bit<T, false>, u32, T>);
}

void decode_count(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 2);
  const std::string_view base = modifiers.base();
  const bool amount = base == "bfind" && modifiers.take("shiftamt");
  const Type type = modifiers.take_type();
  const bool wide = bytes_of(type) == 8;
  if (!wide && bytes_of(type) != 4) decoder.fail("not for this type");
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], base == "brev" ? bytes_of(type) : 4);
  inst.op[1] = decoder.source(statement.operands[1], type);
  if (base == "popc") {
    decoder.add(
        inst, wide ? map_lanes<[](u64 a) { return static_cast<u32>(std::popcount(a)); }, u32, u64>
                   : map_lanes<[](u32 a) { return static_cast<u32>(std::popcount(a)); }, u32, u32>);
  } else if (base == "clz") {
    decoder.add(
        inst,
        wide ? map_lanes<[](u64 a) { return static_cast<u32>(std::countl_zero(a)); }, u32, u64>
             : map_lanes<[](u32 a) { return static_cast<u32>(std::countl_zero(a)); }, u32, u32>);
  } else if (base == "brev") {
    decoder.add(inst, wide ? map_lanes<reverse64, u64, u64> : map_lanes<reverse32, u32, u32>);
  } else if (is_signed(type)) {
    if (wide) return decode_find<s64>(decoder, statement, amount, inst);
    decode_find<s32>(decoder, statement, amount, inst);
  } else {
    if (wide) return decode_find<u64>(decoder, statement, amount, inst);
    decode_find<u32>(decoder, statement, amount, inst);
  }
}

u32 byte_of(u32 a, u32 b, u32 selector) {
  const u64 bytes = u64{b} << 32 | a;
  const u32 value = static_cast<u32>(bytes >> (8 * (selector & 7))) & 0xff;
  return (selector & 8) != 0 ? ((value & 0x80) != 0 ? 0xffU : 0U) : value;
}
// The selectors of the modes, by the two low bits of c (PTX ISA, prmt).
u32 permute_selector(int mode, u32 c) {
  static constexpr u32 kSelectors[6][4] = {
      {0x3210, 0x4321, 0x5432, 0x6543},  // f4e: forward 4 extract
      {0x5670, 0x6701, 0x7012, 0x0123},  // b4e: backward 4 extract
      {0x0000, 0x1111, 0x2222, 0x3333},  // rc8: replicate 8
      {0x3210, 0x3211, 0x3222, 0x3333},  // ecl: edge clamp left
      {0x0000, 0x1110, 0x2210, 0x3210},  // ecr: edge clamp right
      {0x1010, 0x3232, 0x1010, 0x3232},  // rc16: replicate 16
  };
  return mode < 0 ? c : kSelectors[mode][c & 3];
}

void decode_permute(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 4);
  if (modifiers.take_type() != Type::B32) decoder.fail("not for this type");
  Inst inst = decoder.start(statement);
  inst.imm = modifiers.take_one_of({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  inst.op[0] = decoder.destination(statement.operands[0], 4);
  for (std::size_t i = 1; i < 4; ++i) inst.op[i] = decoder.source(statement.operands[i], Type::B32);
  decoder.add(inst, [](Warp& warp, const Inst& in, Mask mask) {
    const u32 *a = warp.at<u32>(in.op[1]), *b = warp.at<u32>(in.op[2]), *c = warp.at<u32>(in.op[3]);
    u32* d = warp.at<u32>(in.op[0]);
    for_lanes(mask, [&](int lane) {
      const u32 selector = permute_selector(static_cast<int>(in.imm), c[lane]);
      u32 result = 0;
      for (u32 i = 0; i < 4; ++i) {
        result |= byte_of(a[lane], b[lane], selector >> (4 * i) & 0xf) << (8 * i);
      }
      d[lane] = result;
    });
  });
}

// Any function of three bits, by its table of eight.
void decode_logic3(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 5);
  if (modifiers.take_type() != Type::B32) decoder.fail("not for this type");
  const auto table = decoder.immediate(statement.operands[4], Type::B32);
  if (!table || *table > 255) decoder.fail("expected a table from 0 to 255");
  Inst inst = decoder.start(statement);
  inst.imm = static_cast<s64>(*table);
  inst.op[0] = decoder.destination(statement.operands[0], 4);
  for (std::size_t i = 1; i < 4; ++i) inst.op[i] = decoder.source(statement.operands[i], Type::B32);
  decoder.add(inst, [](Warp& warp, const Inst& in, Mask mask) {
    const u32 *a = warp.at<u32>(in.op[1]), *b = warp.at<u32>(in.op[2]), *c = warp.at<u32>(in.op[3]);
    alignas(64) u32 result[kLanes] = {};
    for (u32 row = 0; row < 8; ++row) {
      if ((in.imm >> row & 1) == 0) continue;
      const u32 x = (row & 4) != 0 ? 0 : ~0U, y = (row & 2) != 0 ? 0 : ~0U,
                z = (row & 1) != 0 ? 0 : ~0U;
      for (int i = 0; i < kLanes; ++i) result[i] |= (a[i] ^ x) & (b[i] ^ y) & (c[i] ^ z);
    }
    blend(warp.at<u32>(in.op[0]), result, mask);
  });
}

constexpr Opcode kOpcodes[] = {
    {"and", decode_logic<And, 2>}, {"or", decode_logic<Or, 2>},     {"xor", decode_logic<Xor, 2>},
    {"not", decode_logic<Not, 1>}, {"cnot", decode_logic<CNot, 1>}, {"lop3", decode_logic3},
    {"shl", decode_shift},         {"shr", decode_shift},           {"shf", decode_funnel},
    {"bfe", decode_field},         {"bfi", decode_field},           {"popc", decode_count},
    {"clz", decode_count},         {"brev", decode_count},          {"bfind", decode_count},
    {"prmt", decode_permute},
};

}  // namespace

std::span<const Opcode> bit_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
