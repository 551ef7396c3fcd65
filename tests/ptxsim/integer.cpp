// Integer arithmetic: add to rem, the wide and high products, saturation, dot products of bytes.
// Division by zero, which PTX leaves unspecified, gives all ones, and the remainder the dividend.

#include <limits>
#include <type_traits>

#include "ptxsim/decode.h"
#include "ptxsim/lanes.h"

namespace cermet::ptxsim {
namespace {

// Wrapping arithmetic is done on unsigned values at least as wide as int, where it is defined.
template <class T>
using Wide = std::conditional_t<(sizeof(T) < 4), u32, std::make_unsigned_t<T>>;

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wide<T>>(a) + static_cast<Wide<T>>(b));
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wide<T>>(a) - static_cast<Wide<T>>(b));
  }
};
struct MultiplyLow {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b));
  }
};
struct MultiplyHigh {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (sizeof(T) == 8) {
      using Double = std::conditional_t<std::is_signed_v<T>, s128, u128>;
      return static_cast<T>((static_cast<Double>(a) * static_cast<Double>(b)) >> 64);
    } else {
      using Double = std::conditional_t<std::is_signed_v<T>, s64, u64>;
      return static_cast<T>((static_cast<Double>(a) * static_cast<Double>(b)) >> (8 * sizeof(T)));
    }
  }
};
struct MadLow {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Add{}(MultiplyLow{}(a, b), c);
  }
};
struct MadHigh {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Add{}(MultiplyHigh{}(a, b), c);
  }
};
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return static_cast<T>(-1);
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return Subtract{}(T{0}, a);
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
    return static_cast<T>(a % b);
  }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    return Subtract{}(T{0}, a);
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return a < 0 ? Negate{}(a) : a;
  }
};
struct AbsoluteDifference {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Add{}(a < b ? Subtract{}(b, a) : Subtract{}(a, b), c);
  }
};

s32 clamp_s32(s64 x) {
  return static_cast<s32>(x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : x);
}

template <class Op, class T, int N>
Exec same_types() {
  if constexpr (N == 1) return map_lanes<Op{}, T, T>;
  if constexpr (N == 2) return map_lanes<Op{}, T, T, T>;
  if constexpr (N == 3) return map_lanes<Op{}, T, T, T, T>;
}

// The instance of an operation for a type; null where there is none.
template <class Op, int N>
Exec for_type(Type type) {
  switch (type) {
    case Type::U16: return same_types<Op, u16, N>();
    case Type::S16: return same_types<Op, s16, N>();
    case Type::U32: return same_types<Op, u32, N>();
    case Type::S32: return same_types<Op, s32, N>();
    case Type::U64: return same_types<Op, u64, N>();
    case Type::S64: return same_types<Op, s64, N>();
    default: return nullptr;
  }
}

// The two halves of a register, each on its own.
template <class Op, class T>
Exec packed() {
  return map_lanes<[](u32 a, u32 b) {
    const auto low = static_cast<u16>(Op{}(static_cast<T>(a), static_cast<T>(b)));
    const auto high = static_cast<u16>(Op{}(static_cast<T>(a >> 16), static_cast<T>(b >> 16)));
    return static_cast<u32>(low) | static_cast<u32>(high) << 16;
  },
                   u32, u32, u32>;
}
template <class Op>
Exec for_packed(Type type) {
  return type == Type::U16x2 ? packed<Op, u16>() : packed<Op, s16>();
}

// mul.wide and mad.wide: the result is twice as wide as the factors.
template <class D, class T>
Exec wide(bool with_sum) {
  if (with_sum) {
    return map_lanes<[](T a, T b, D c) {
      return Add{}(static_cast<D>(static_cast<D>(a) * static_cast<D>(b)), c);
    },
                     D, T, T, D>;
  }
  return map_lanes<[](T a, T b) { return static_cast<D>(static_cast<D>(a) * static_cast<D>(b)); },
                   D, T, T>;
}

void decode_wide(Decoder& decoder, const Statement& statement, Type type, bool with_sum) {
  decoder.expect_operands(statement, with_sum ? 4 : 3);
  const auto& operands = statement.operands;
  Inst inst = decoder.start(statement);
  const int bytes = 2 * bytes_of(type);
  inst.op[0] = decoder.destination(operands[0], bytes);
  inst.op[1] = decoder.source(operands[1], type);
  inst.op[2] = decoder.source(operands[2], type);
  if (with_sum) inst.op[3] = decoder.source(operands[3], bytes == 8 ? Type::B64 : Type::B32);
  switch (type) {
    case Type::U16: decoder.add(inst, wide<u32, u16>(with_sum)); return;
    case Type::S16: decoder.add(inst, wide<s32, s16>(with_sum)); return;
    case Type::U32: decoder.add(inst, wide<u64, u32>(with_sum)); return;
    case Type::S32: decoder.add(inst, wide<s64, s32>(with_sum)); return;
    default: decoder.fail("no wide product of this type");
  }
}

void decode_same(Decoder& decoder, const Statement& statement, Type type, Exec exec) {
  if (exec == nullptr) decoder.fail("not for this type");
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], bytes_of(type));
  for (std::size_t i = 1; i < statement.operands.size(); ++i) {
    inst.op[i] = decoder.source(statement.operands[i], type);
  }
  decoder.add(inst, exec);
}

void decode_add(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type) {
  decoder.expect_operands(statement, 3);
  const bool subtract = modifiers.base() == "sub";
  if (modifiers.take("sat")) {
    if (type != Type::S32) decoder.fail("'.sat' needs .s32");
    const Exec add = map_lanes<[](s32 a, s32 b) { return clamp_s32(s64{a} + b); }, s32, s32, s32>;
    const Exec sub = map_lanes<[](s32 a, s32 b) { return clamp_s32(s64{a} - b); }, s32, s32, s32>;
    return decode_same(decoder, statement, type, subtract ? sub : add);
  }
  if (kind_of(type) == Kind::Packed) {
    if (subtract) decoder.fail("not for this type");
    return decode_same(decoder, statement, type, for_packed<Add>(type));
  }
  decode_same(decoder, statement, type,
              subtract ? for_type<Subtract, 2>(type) : for_type<Add, 2>(type));
}

void decode_product(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type) {
  const bool with_sum = modifiers.base() == "mad";
  decoder.expect_operands(statement, with_sum ? 4 : 3);
  if (modifiers.take("wide")) return decode_wide(decoder, statement, type, with_sum);
  const bool high = modifiers.take("hi");
  if (!high && !modifiers.take("lo")) decoder.fail("expected .lo, .hi or .wide");
  if (modifiers.take("sat")) {
    if (!with_sum || !high || type != Type::S32) decoder.fail("'.sat' needs mad.hi.s32");
    return decode_same(
        decoder, statement, type,
        map_lanes<[](s32 a, s32 b, s32 c) { return clamp_s32(s64{MultiplyHigh{}(a, b)} + c); }, s32,
                  s32, s32, s32>);
  }
  if (with_sum) {
    decode_same(decoder, statement, type,
                high ? for_type<MadHigh, 3>(type) : for_type<MadLow, 3>(type));
  } else {
    decode_same(decoder, statement, type,
                high ? for_type<MultiplyHigh, 2>(type) : for_type<MultiplyLow, 2>(type));
  }
}

void decode_extreme(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type) {
  decoder.expect_operands(statement, 3);
  const bool minimum = modifiers.base() == "min";
  if (modifiers.take("relu")) {
    if (type != Type::S32) decoder.fail("'.relu' is supported for .s32 only");
    const Exec min =
        map_lanes<[](s32 a, s32 b) { return Maximum{}(Minimum{}(a, b), 0); }, s32, s32, s32>;
    const Exec max =
        map_lanes<[](s32 a, s32 b) { return Maximum{}(Maximum{}(a, b), 0); }, s32, s32, s32>;
    return decode_same(decoder, statement, type, minimum ? min : max);
  }
  if (kind_of(type) == Kind::Packed) {
    return decode_same(decoder, statement, type,
                       minimum ? for_packed<Minimum>(type) : for_packed<Maximum>(type));
  }
  decode_same(decoder, statement, type,
              minimum ? for_type<Minimum, 2>(type) : for_type<Maximum, 2>(type));
}

void decode_dot4(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 4);
  const Type a = modifiers.take_type(), b = modifiers.take_type();
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], 4);
  for (std::size_t i = 1; i < 4; ++i) inst.op[i] = decoder.source(statement.operands[i], Type::B32);
  inst.flag = is_signed(a);
  inst.flag2 = is_signed(b);
  if (!is_integer(a) || !is_integer(b) || bytes_of(a) != 4 || bytes_of(b) != 4) {
    decoder.fail("expected .s32 or .u32");
  }
  decoder.add(inst, [](Warp& warp, const Inst& in, Mask mask) {
    const u32 *a = warp.at<u32>(in.op[1]), *b = warp.at<u32>(in.op[2]), *c = warp.at<u32>(in.op[3]);
    u32* d = warp.at<u32>(in.op[0]);
    for_lanes(mask, [&](int lane) {
      u32 sum = c[lane];
      for (int byte = 0; byte < 4; ++byte) {
        const u8 x = static_cast<u8>(a[lane] >> (8 * byte)),
                 y = static_cast<u8>(b[lane] >> (8 * byte));
        const s32 left = in.flag ? static_cast<s8>(x) : x,
                  right = in.flag2 ? static_cast<s8>(y) : y;
        sum += static_cast<u32>(left * right);
      }
      d[lane] = sum;
    });
  });
}

void decode_product24(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  const bool with_sum = modifiers.base() == "mad24";
  const Type type = modifiers.take_type();
  decoder.expect_operands(statement, with_sum ? 4 : 3);
  if (!modifiers.take("lo")) decoder.fail("only .lo is supported");
  if (type == Type::U32) {
    const Exec mul =
        map_lanes<[](u32 a, u32 b) { return (a & 0xffffffU) * (b & 0xffffffU); }, u32, u32, u32>;
    const Exec mad =
        map_lanes<[](u32 a, u32 b, u32 c) { return (a & 0xffffffU) * (b & 0xffffffU) + c; }, u32,
                  u32, u32, u32>;
    return decode_same(decoder, statement, type, with_sum ? mad : mul);
  }
  if (type != Type::S32) decoder.fail("not for this type");
  const Exec mul = map_lanes<[](u32 a, u32 b) {
    return static_cast<u32>(s64{static_cast<s32>(a << 8) >> 8} * (static_cast<s32>(b << 8) >> 8));
  },
                             u32, u32, u32>;
  const Exec mad = map_lanes<[](u32 a, u32 b, u32 c) {
    return static_cast<u32>(s64{static_cast<s32>(a << 8) >> 8} * (static_cast<s32>(b << 8) >> 8)) +
           c;
  },
                             u32, u32, u32, u32>;
  decode_same(decoder, statement, type, with_sum ? mad : mul);
}

void decode_arithmetic(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  if (modifiers.has("cc")) return decode_carry(decoder, statement, modifiers);
  const Type type = modifiers.take_type();
  switch (type) {
    case Type::F32:
    case Type::F64:
    case Type::F32x2: return decode_float(decoder, statement, modifiers, type);
    case Type::F16:
    case Type::F16x2:
    case Type::BF16:
    case Type::BF16x2: return decode_half(decoder, statement, modifiers, type);
    default: return decode_integer(decoder, statement, modifiers, type);
  }
}

constexpr Opcode kOpcodes[] = {
    {"add", decode_arithmetic},  {"sub", decode_arithmetic},  {"mul", decode_arithmetic},
    {"mad", decode_arithmetic},  {"fma", decode_arithmetic},  {"div", decode_arithmetic},
    {"rem", decode_arithmetic},  {"min", decode_arithmetic},  {"max", decode_arithmetic},
    {"abs", decode_arithmetic},  {"neg", decode_arithmetic},  {"sad", decode_arithmetic},
    {"dp4a", decode_dot4},       {"mul24", decode_product24}, {"mad24", decode_product24},
    {"tanh", decode_arithmetic}, {"ex2", decode_arithmetic},
};

}  // namespace

void decode_integer(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type) {
  const std::string_view base = modifiers.base();
  if (base == "add" || base == "sub") return decode_add(decoder, statement, modifiers, type);
  if (base == "mul" || base == "mad") return decode_product(decoder, statement, modifiers, type);
  if (base == "min" || base == "max") return decode_extreme(decoder, statement, modifiers, type);
  const bool unary = base == "abs" || base == "neg";
  decoder.expect_operands(statement, unary ? 2 : base == "sad" ? 4 : 3);
  Exec exec = nullptr;
  if (base == "div") exec = for_type<Divide, 2>(type);
  if (base == "rem") exec = for_type<Remainder, 2>(type);
  if (base == "abs" && is_signed(type)) exec = for_type<Absolute, 1>(type);
  if (base == "neg" && is_signed(type)) exec = for_type<Negate, 1>(type);
  if (base == "sad") exec = for_type<AbsoluteDifference, 3>(type);
  decode_same(decoder, statement, type, exec);
}

std::span<const Opcode> integer_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
