// Comparisons: setp, set, selp, slct, testp. A comparison is decoded into a function that gives a
// mask of lanes; what is then done with the mask does not depend on the types.

#include <cmath>

#include "ptxsim/decode.h"
#include "ptxsim/half.h"
#include "ptxsim/lanes.h"

namespace cermet::ptxsim {
namespace {

// In the order of kComparisons. The second half is true for unordered operands too.
enum class Comparison { Eq, Ne, Lt, Le, Gt, Ge, Equ, Neu, Ltu, Leu, Gtu, Geu, Num, Nan };

template <Comparison kComparison, class T>
bool compare(T a, T b) {
  using C = Comparison;
  if constexpr (kComparison == C::Eq) return a == b;
  if constexpr (kComparison == C::Ne) return (a < b) | (a > b);
  if constexpr (kComparison == C::Lt) return a < b;
  if constexpr (kComparison == C::Le) return a <= b;
  if constexpr (kComparison == C::Gt) return a > b;
  if constexpr (kComparison == C::Ge) return a >= b;
  if constexpr (kComparison == C::Equ) return !((a < b) | (a > b));
  if constexpr (kComparison == C::Neu) return !(a == b);
  if constexpr (kComparison == C::Ltu) return !(a >= b);
  if constexpr (kComparison == C::Leu) return !(a > b);
  if constexpr (kComparison == C::Gtu) return !(a <= b);
  if constexpr (kComparison == C::Geu) return !(a < b);
  if constexpr (kComparison == C::Num) return (a == a) & (b == b);
  if constexpr (kComparison == C::Nan) return (a != a) | (b != b);
}

using CompareLanes = Mask (*)(const Warp&, const Inst&);

// How the lanes of a type are read for comparing.
struct FlushedFloat {
  using Stored = float;
  static float value(float x) { return std::fabs(x) < 0x1p-126F ? 0.0F : x; }
};
struct HalfValue {
  using Stored = u16;
  static float value(u16 x) { return half_to_float(x); }
};
struct BFloatValue {
  using Stored = u16;
  static float value(u16 x) { return bfloat_to_float(x); }
};
template <class T>
struct Plain {
  using Stored = T;
  static T value(T x) { return x; }
};

template <Comparison kComparison, class Reader>
Mask compare_lanes(const Warp& warp, const Inst& inst) {
  using T = typename Reader::Stored;
  return test_lanes<
      [](T a, T b) { return compare<kComparison>(Reader::value(a), Reader::value(b)); }, T, T>(
      warp.at<const T>(inst.op[2]), warp.at<const T>(inst.op[3]));
}

template <class Reader>
CompareLanes comparison_of(Comparison comparison) {
  using C = Comparison;
  static constexpr CompareLanes kAll[] = {
      compare_lanes<C::Eq, Reader>,  compare_lanes<C::Ne, Reader>,  compare_lanes<C::Lt, Reader>,
      compare_lanes<C::Le, Reader>,  compare_lanes<C::Gt, Reader>,  compare_lanes<C::Ge, Reader>,
      compare_lanes<C::Equ, Reader>, compare_lanes<C::Neu, Reader>, compare_lanes<C::Ltu, Reader>,
      compare_lanes<C::Leu, Reader>, compare_lanes<C::Gtu, Reader>, compare_lanes<C::Geu, Reader>,
      compare_lanes<C::Num, Reader>, compare_lanes<C::Nan, Reader>};
  return kAll[static_cast<int>(comparison)];
}

CompareLanes comparison_for(Decoder& decoder, Type type, Comparison comparison, bool flush) {
  const bool integer = kind_of(type) != Kind::Float;
  if (integer && comparison > Comparison::Ge) decoder.fail("not a comparison of integers");
  if (flush && type != Type::F32 && type != Type::F16) decoder.fail("'.ftz' is for .f32 and .f16");
  switch (type) {
    case Type::B16:
    case Type::U16: return comparison_of<Plain<u16>>(comparison);
    case Type::S16: return comparison_of<Plain<s16>>(comparison);
    case Type::B32:
    case Type::U32: return comparison_of<Plain<u32>>(comparison);
    case Type::S32: return comparison_of<Plain<s32>>(comparison);
    case Type::B64:
    case Type::U64: return comparison_of<Plain<u64>>(comparison);
    case Type::S64: return comparison_of<Plain<s64>>(comparison);
    case Type::F32:
      return flush ? comparison_of<FlushedFloat>(comparison)
                   : comparison_of<Plain<float>>(comparison);
    case Type::F64: return comparison_of<Plain<double>>(comparison);
    case Type::F16: return comparison_of<HalfValue>(comparison);
    case Type::BF16: return comparison_of<BFloatValue>(comparison);
    default: decoder.fail("not for this type");
  }
}

Comparison take_comparison(Decoder& decoder, Modifiers& modifiers, Type type) {
  int found = modifiers.take_one_of(
      {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
  if (found < 0) {  // the unsigned names of lt, le, gt, ge
    found = modifiers.take_one_of({"lo", "ls", "hi", "hs"});
    if (found < 0 || is_signed(type)) decoder.fail("unknown comparison");
    found += static_cast<int>(Comparison::Lt);
  }
  return static_cast<Comparison>(found);
}

// The comparison of an instruction lives in imm, as a pointer to function.
Mask compared(const Warp& warp, const Inst& inst) {
  return reinterpret_cast<CompareLanes>(inst.imm)(warp, inst);
}

enum class Combine : u16 { None, And, Or, Xor };

Mask combined(u16 combine, Mask result, Mask other) {
  switch (static_cast<Combine>(combine)) {
    case Combine::None: return result;
    case Combine::And: return result & other;
    case Combine::Or: return result | other;
    case Combine::Xor: return result ^ other;
  }
  return result;
}

// op: 0 p, 1 q, 2 a, 3 b, 4 c. q gets the complement of the comparison, combined alike.
void exec_setp(Warp& warp, const Inst& inst, Mask mask) {
  const Mask result = compared(warp, inst);
  const Mask other = inst.op[4] == kNoSlot ? 0 : warp.predicate(inst.op[4]);
  const auto write = [&](std::int32_t slot, Mask value) {
    if (slot == kNoSlot) return;
    Mask& p = warp.predicate(slot);
    p = (p & ~mask) | (value & mask);
  };
  write(inst.op[0], combined(inst.mode, result, other));
  write(inst.op[1], combined(inst.mode, ~result, other));
}

Operand second_of(const Operand& operand) {
  Operand result;
  result.name = operand.second;
  return result;
}

// Reads ".cmp[.bool][.ftz].type" and the operands a, b and c, which stand from `first`.
void decode_comparison(Decoder& decoder, const Statement& statement, Modifiers& modifiers,
                       Inst& inst, Type type, std::size_t first) {
  const Comparison comparison = take_comparison(decoder, modifiers, type);
  const int combine = modifiers.take_one_of({"and", "or", "xor"});
  inst.imm =
      reinterpret_cast<s64>(comparison_for(decoder, type, comparison, modifiers.take("ftz")));
  inst.mode = static_cast<u16>(combine + 1);
  decoder.expect_operands(statement, first + (combine < 0 ? 2 : 3));
  inst.op[2] = decoder.source(statement.operands[first], type);
  inst.op[3] = decoder.source(statement.operands[first + 1], type);
  if (combine >= 0) inst.op[4] = decoder.predicate_source(statement.operands[first + 2]);
}

void exec_setp_pair(Warp& warp, const Inst& inst, Mask mask);

void decode_setp(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  const Type type = modifiers.take_type();
  Inst inst = decoder.start(statement);
  if (statement.operands.empty()) decoder.fail("no operands");
  const Operand& d = statement.operands[0];
  if (type == Type::F16x2 || type == Type::BF16x2) {  // p|q: of the low and the high halves
    const Comparison comparison = take_comparison(decoder, modifiers, type);
    decoder.expect_operands(statement, 3);
    inst.imm = static_cast<s64>(comparison);
    inst.flag = type == Type::BF16x2;
    inst.flag2 = modifiers.take("ftz");
    inst.op[0] = decoder.predicate_destination(d);
    inst.op[1] = decoder.predicate_destination(second_of(d));
    inst.op[2] = decoder.source(statement.operands[1], type);
    inst.op[3] = decoder.source(statement.operands[2], type);
    decoder.add(inst, exec_setp_pair);
    return;
  }
  inst.op[0] = decoder.predicate_destination(d);
  if (!d.second.empty()) inst.op[1] = decoder.predicate_destination(second_of(d));
  decode_comparison(decoder, statement, modifiers, inst, type, 1);
  decoder.add(inst, exec_setp);
}

bool compare_by(Comparison comparison, float a, float b) {
  using F = bool (*)(float, float);
  using K = Comparison;
  static constexpr F kAll[] = {
      compare<K::Eq, float>,  compare<K::Ne, float>,  compare<K::Lt, float>,
      compare<K::Le, float>,  compare<K::Gt, float>,  compare<K::Ge, float>,
      compare<K::Equ, float>, compare<K::Neu, float>, compare<K::Ltu, float>,
      compare<K::Leu, float>, compare<K::Gtu, float>, compare<K::Geu, float>,
      compare<K::Num, float>, compare<K::Nan, float>};
  return kAll[static_cast<int>(comparison)](a, b);
}

// A half of a pair. flag: of bf16; flag2: subnormal f16 count as zero.
float pair_part(const Inst& inst, u32 pair, int part) {
  const u16 bits = static_cast<u16>(pair >> (16 * part));
  if (!inst.flag && inst.flag2 && (bits & 0x7c00) == 0) return 0.0F;
  return inst.flag ? bfloat_to_float(bits) : half_to_float(bits);
}

void exec_setp_pair(Warp& warp, const Inst& inst, Mask mask) {
  const u32 *a = warp.at<u32>(inst.op[2]), *b = warp.at<u32>(inst.op[3]);
  for (int part = 0; part < 2; ++part) {
    Mask& p = warp.predicate(inst.op[static_cast<std::size_t>(part)]);
    for_lanes(mask, [&](int lane) {
      const bool result =
          compare_by(static_cast<Comparison>(inst.imm), pair_part(inst, a[lane], part),
                     pair_part(inst, b[lane], part));
      p = result ? p | lane_bit(lane) : p & ~lane_bit(lane);
    });
  }
}

// set of pairs: each half of the result is 1.0 or, for an integer, all ones where the comparison of
// the halves holds. target: what a half holds then.
void exec_set_pair(Warp& warp, const Inst& inst, Mask mask) {
  const u32 *a = warp.at<u32>(inst.op[2]), *b = warp.at<u32>(inst.op[3]);
  u32* d = warp.at<u32>(inst.op[0]);
  for_lanes(mask, [&](int lane) {
    u32 result = 0;
    for (int part = 0; part < 2; ++part) {
      const float x = pair_part(inst, a[lane], part), y = pair_part(inst, b[lane], part);
      if (compare_by(static_cast<Comparison>(inst.imm), x, y)) result |= inst.target << (16 * part);
    }
    d[lane] = result;
  });
}

void decode_set_pair(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type to,
                     Type from) {
  decoder.expect_operands(statement, 3);
  Inst inst = decoder.start(statement);
  inst.imm = static_cast<s64>(take_comparison(decoder, modifiers, from));
  inst.flag = from == Type::BF16x2;
  inst.flag2 = modifiers.take("ftz");
  inst.target = to == Type::F16x2 ? 0x3c00U : to == Type::BF16x2 ? 0x3f80U : 0xffffU;
  if (bytes_of(to) != 4 || to == Type::F32) decoder.fail("not for these types");
  inst.op[0] = decoder.destination(statement.operands[0], 4);
  inst.op[2] = decoder.source(statement.operands[1], from);
  inst.op[3] = decoder.source(statement.operands[2], from);
  decoder.add(inst, exec_set_pair);
}

// set: all ones or 1.0 where the comparison holds, else zero.
void decode_set(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  const Type to = modifiers.take_type(), from = modifiers.take_type();
  const Type type = from;
  if (from == Type::F16x2 || from == Type::BF16x2) {
    return decode_set_pair(decoder, statement, modifiers, to, from);
  }
  if (bytes_of(to) > 4 || kind_of(from) == Kind::Packed) decoder.fail("not for these types");
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands.at(0), bytes_of(to));
  decode_comparison(decoder, statement, modifiers, inst, type, 1);
  const u32 one = to == Type::F32    ? 0x3f800000U
                  : to == Type::F16  ? 0x3c00U
                  : to == Type::BF16 ? 0x3f80U
                                     : ~0U;
  inst.target = one;
  inst.bytes = static_cast<u8>(std::max(bytes_of(to), 2));
  decoder.add(inst, [](Warp& warp, const Inst& in, Mask mask) {
    const Mask other = in.op[4] == kNoSlot ? 0 : warp.predicate(in.op[4]);
    const Mask result = combined(in.mode, compared(warp, in), other);
    for_lanes(mask, [&](int lane) {
      const u32 value = (result >> lane & 1) != 0 ? in.target : 0;
      if (in.bytes == 2)
        warp.at<u16>(in.op[0])[lane] = static_cast<u16>(value);
      else
        warp.at<u32>(in.op[0])[lane] = value;
    });
  });
}

// d = p ? a : b; the predicate is op[3].
template <class T>
void exec_selp(Warp& warp, const Inst& inst, Mask mask) {
  const T *a = warp.at<T>(inst.op[1]), *b = warp.at<T>(inst.op[2]);
  const Mask choose = warp.predicate(inst.op[3]);
  alignas(64) T t[kLanes];
  CERMET_PTX_VECTORIZE
  for (int i = 0; i < kLanes; ++i) t[i] = ((choose >> i) & 1) != 0 ? a[i] : b[i];
  blend(warp.at<T>(inst.op[0]), t, mask);
}

void decode_selp(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 4);
  const Type type = modifiers.take_type();
  if (bytes_of(type) == 1 || type == Type::Pred) decoder.fail("not for this type");
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], bytes_of(type));
  inst.op[1] = decoder.source(statement.operands[1], type);
  inst.op[2] = decoder.source(statement.operands[2], type);
  inst.op[3] = decoder.predicate_source(statement.operands[3]);
  decoder.add(inst, bytes_of(type) == 2   ? exec_selp<u16>
                    : bytes_of(type) == 4 ? exec_selp<u32>
                                          : exec_selp<u64>);
}

// d = c >= 0 ? a : b.
template <class T, class C>
Exec slct() {
  return map_lanes<[](T a, T b, C c) { return c >= 0 ? a : b; }, T, T, T, C>;
}
void decode_slct(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 4);
  const Type type = modifiers.take_type(), by = modifiers.take_type();
  if (modifiers.take("ftz") || (by != Type::S32 && by != Type::F32)) decoder.fail("not supported");
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], bytes_of(type));
  inst.op[1] = decoder.source(statement.operands[1], type);
  inst.op[2] = decoder.source(statement.operands[2], type);
  inst.op[3] = decoder.source(statement.operands[3], by);
  const bool real = by == Type::F32;
  switch (bytes_of(type)) {
    case 2: decoder.add(inst, real ? slct<u16, float>() : slct<u16, s32>()); return;
    case 4: decoder.add(inst, real ? slct<u32, float>() : slct<u32, s32>()); return;
    case 8: decoder.add(inst, real ? slct<u64, float>() : slct<u64, s32>()); return;
    default: decoder.fail("not for this type");
  }
}

// testp's properties, by std::fpclassify.
template <class T>
bool has_property(int property, T x) {
  switch (property) {
    case 0: return std::isfinite(x);
    case 1: return std::isinf(x);
    case 2: return !std::isnan(x);
    case 3: return std::isnan(x);
    case 4: return std::isnormal(x);
    default: return std::fpclassify(x) == FP_SUBNORMAL;
  }
}

void decode_testp(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 2);
  const Type type = modifiers.take_type();
  if (type != Type::F32 && type != Type::F64) decoder.fail("not for this type");
  Inst inst = decoder.start(statement);
  inst.imm =
      modifiers.take_one_of({"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
  if (inst.imm < 0) decoder.fail("unknown property");
  inst.flag = type == Type::F64;
  inst.op[0] = decoder.predicate_destination(statement.operands[0]);
  inst.op[1] = decoder.source(statement.operands[1], type);
  decoder.add(inst, [](Warp& warp, const Inst& in, Mask mask) {
    Mask& p = warp.predicate(in.op[0]);
    for_lanes(mask, [&](int lane) {
      const int property = static_cast<int>(in.imm);
      const bool result = in.flag ? has_property(property, warp.at<double>(in.op[1])[lane])
                                  : has_property(property, warp.at<float>(in.op[1])[lane]);
      p = result ? p | lane_bit(lane) : p & ~lane_bit(lane);
    });
  });
}

constexpr Opcode kOpcodes[] = {{"setp", decode_setp},
                               {"set", decode_set},
                               {"selp", decode_selp},
                               {"slct", decode_slct},
                               {"testp", decode_testp}};

}  // namespace

std::span<const Opcode> compare_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
