// f32 and f64 arithmetic. Rounding modes and flushing are those of the x86 control register, under
// which map_floats runs the loop. NaN results of f32 are the canonical 0x7fffffff, as PTX says.
//
// The approximate instructions (ex2, lg2, sin, cos, tanh, rsqrt, rcp, div) are computed as exactly
// as the host can: within the error that PTX allows them, but not bit for bit what a GPU gives.

#include <bit>
#include <cmath>
#include <limits>

#include "ptxsim/decode.h"
#include "ptxsim/lanes.h"

namespace cermet::ptxsim {
namespace {

inline float canonical(float x) { return x != x ? std::bit_cast<float>(0x7fffffffU) : x; }
inline double canonical(double x) { return x; }
template <class T>
T saturated(T x) {
  return x > 0 ? (x < 1 ? x : T{1}) : T{0};
}  // NaN gives 0

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return canonical(a + b);
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    return canonical(a - b);
  }
};
struct Multiply {
  template <class T>
  T operator()(T a, T b) const {
    return canonical(a * b);
  }
};
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    return canonical(a / b);
  }
};
struct Fma {
  float operator()(float a, float b, float c) const { return canonical(__builtin_fmaf(a, b, c)); }
  double operator()(double a, double b, double c) const { return __builtin_fma(a, b, c); }
};
template <class Op>
struct Saturated {
  template <class... T>
  auto operator()(T... x) const {
    return saturated(Op{}(x...));
  }
};

// -0 is less than +0; of a number and a NaN the number is taken, unless kNan.
template <bool kMaximum, bool kNan>
struct Extreme {
  template <class T>
  T operator()(T a, T b) const {
    const bool less = a < b || (a == b && std::signbit(a) > std::signbit(b));
    const T pick = kMaximum ? (less ? b : a) : (less ? a : b);
    const T with_nan = a != a ? b : b != b ? a : pick;
    if (kNan) return a != a || b != b ? canonical(std::numeric_limits<T>::quiet_NaN()) : pick;
    return canonical(with_nan);
  }
};
// .xorsign.abs: of the magnitudes, with the product's sign.
template <bool kMaximum, bool kNan>
struct ExtremeXorSign {
  float operator()(float a, float b) const {
    const float magnitude = Extreme<kMaximum, kNan>{}(std::fabs(a), std::fabs(b));
    return std::copysign(magnitude, std::signbit(a) != std::signbit(b) ? -1.0F : 1.0F);
  }
};
template <class Op>
struct OfThree {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Op{}(Op{}(a, b), c);
  }
};

inline float flushed(float x) { return std::fabs(x) < 0x1p-126F ? std::copysign(0.0F, x) : x; }
template <class Op>
struct FlushedInputs {  // for what the control register does not reach: comparisons and sign bits
  template <class... T>
  float operator()(T... x) const {
    return Op{}(flushed(x)...);
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    return -a;
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return std::fabs(a);
  }
};

template <class Op, int N>
Exec exec_of(Type type) {
  if constexpr (N == 1) {
    return type == Type::F32 ? map_floats<Op{}, float, float> : map_floats<Op{}, double, double>;
  } else if constexpr (N == 2) {
    return type == Type::F32 ? map_floats<Op{}, float, float, float>
                             : map_floats<Op{}, double, double, double>;
  } else {
    return type == Type::F32 ? map_floats<Op{}, float, float, float, float>
                             : map_floats<Op{}, double, double, double, double>;
  }
}

// Both floats of a pair.
template <class Op, class... T>
u64 pair_op(T... x) {
  const auto low = [](u64 pair) { return std::bit_cast<float>(static_cast<u32>(pair)); };
  const auto high = [](u64 pair) { return std::bit_cast<float>(static_cast<u32>(pair >> 32)); };
  return std::bit_cast<u32>(Op{}(low(x)...)) | u64{std::bit_cast<u32>(Op{}(high(x)...))} << 32;
}

bool take_rounding(Modifiers& modifiers, Inst& inst) {
  static constexpr u16 kModes[] = {kRoundNearest, kRoundZero, kRoundDown, kRoundUp};
  const int mode = modifiers.take_one_of({"rn", "rz", "rm", "rp"});
  if (mode >= 0) inst.mode |= kModes[mode];
  return mode >= 0;
}
void take_flush(Decoder& decoder, Modifiers& modifiers, Type type, Inst& inst) {
  if (!modifiers.take("ftz")) return;
  if (type == Type::F64) decoder.fail("'.ftz' is not for .f64");
  inst.mode |= kFlush;
}

Inst operands_of(Decoder& decoder, const Statement& statement, Type type) {
  Inst inst = decoder.start(statement);
  inst.op[0] = decoder.destination(statement.operands[0], bytes_of(type));
  for (std::size_t i = 1; i < statement.operands.size(); ++i) {
    inst.op[i] = decoder.source(statement.operands[i], type);
  }
  return inst;
}

template <class Op, int N>
void decode_rounded(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type) {
  decoder.expect_operands(statement, N + 1);
  Inst inst = operands_of(decoder, statement, type);
  const bool rounded = take_rounding(modifiers, inst);
  if (!rounded && (N == 3 && modifiers.base() == "fma")) decoder.fail("fma needs a rounding mode");
  take_flush(decoder, modifiers, type, inst);
  const bool saturate = modifiers.take("sat");
  if (type == Type::F32x2) {
    if (saturate) decoder.fail("'.sat' is not for .f32x2");
    if constexpr (N == 2) decoder.add(inst, map_floats<pair_op<Op, u64, u64>, u64, u64, u64>);
    if constexpr (N == 3)
      decoder.add(inst, map_floats<pair_op<Op, u64, u64, u64>, u64, u64, u64, u64>);
    return;
  }
  if (saturate && type != Type::F32) decoder.fail("'.sat' is for .f32");
  decoder.add(inst, saturate ? exec_of<Saturated<Op>, N>(type) : exec_of<Op, N>(type));
}

template <bool kMaximum>
void decode_extreme(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type) {
  const bool three = statement.operands.size() == 4;
  decoder.expect_operands(statement, three ? 4 : 3);
  Inst inst = operands_of(decoder, statement, type);
  const bool flush = modifiers.take("ftz"), nan = modifiers.take("NaN");
  if (type != Type::F32) {
    if (flush || nan || three || type != Type::F64) decoder.fail("not for this type");
    decoder.add(inst, exec_of<Extreme<kMaximum, false>, 2>(type));
    return;
  }
  using Plain = Extreme<kMaximum, false>;
  using Nan = Extreme<kMaximum, true>;
  if (modifiers.take("xorsign")) {
    if (!modifiers.take("abs") || flush || three) decoder.fail("not supported with .xorsign");
    decoder.add(inst, nan ? map_lanes<ExtremeXorSign<kMaximum, true>{}, float, float, float>
                          : map_lanes<ExtremeXorSign<kMaximum, false>{}, float, float, float>);
  } else if (three) {
    if (flush) decoder.fail("'.ftz' is not supported with three inputs");
    decoder.add(inst, nan ? exec_of<OfThree<Nan>, 3>(type) : exec_of<OfThree<Plain>, 3>(type));
  } else if (flush) {
    decoder.add(inst, nan ? map_lanes<FlushedInputs<Nan>{}, float, float, float>
                          : map_lanes<FlushedInputs<Plain>{}, float, float, float>);
  } else {
    decoder.add(inst, nan ? exec_of<Nan, 2>(type) : exec_of<Plain, 2>(type));
  }
}

template <class Op>
void decode_sign(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type) {
  decoder.expect_operands(statement, 2);
  if (type == Type::F32x2) decoder.fail("not for this type");
  Inst inst = operands_of(decoder, statement, type);
  if (modifiers.take("ftz")) {
    if (type != Type::F32) decoder.fail("'.ftz' is for .f32");
    decoder.add(inst, map_lanes<FlushedInputs<Op>{}, float, float>);
  } else {
    decoder.add(inst, exec_of<Op, 1>(type));
  }
}

void decode_divide(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type) {
  decoder.expect_operands(statement, 3);
  if (type == Type::F32x2) decoder.fail("not for this type");
  Inst inst = operands_of(decoder, statement, type);
  const bool approximate = modifiers.take_one_of({"approx", "full"}) >= 0;
  if (!take_rounding(modifiers, inst) && !approximate) decoder.fail("div needs a rounding mode");
  take_flush(decoder, modifiers, type, inst);
  decoder.add(inst, exec_of<Divide, 2>(type));
}

// ---- One argument ------------------------------------------------------------------------------

struct SquareRoot {
  template <class T>
  T operator()(T a) const {
    return canonical(std::sqrt(a));
  }
};
struct Reciprocal {
  template <class T>
  T operator()(T a) const {
    return canonical(T{1} / a);
  }
};
struct ReciprocalRoot {
  float operator()(float a) const {
    return canonical(static_cast<float>(1.0 / std::sqrt(static_cast<double>(a))));
  }
};
struct Exp2 {
  float operator()(float a) const { return canonical(std::exp2(a)); }
};
struct Log2 {
  float operator()(float a) const { return canonical(std::log2(a)); }
};
struct Sine {
  float operator()(float a) const { return canonical(std::sin(a)); }
};
struct Cosine {
  float operator()(float a) const { return canonical(std::cos(a)); }
};
struct HyperbolicTangent {
  float operator()(float a) const { return canonical(std::tanh(a)); }
};
// The f64 approximations work on the upper 32 bits only.
inline double upper_half(double x) {
  return std::bit_cast<double>(std::bit_cast<u64>(x) & 0xffffffff00000000U);
}
inline double coarse_reciprocal(double a) { return upper_half(1.0 / upper_half(a)); }
inline double coarse_reciprocal_root(double a) {
  return upper_half(1.0 / std::sqrt(upper_half(a)));
}

void decode_root(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 2);
  const Type type = modifiers.take_type();
  if (type != Type::F32 && type != Type::F64) decoder.fail("not for this type");
  Inst inst = operands_of(decoder, statement, type);
  const bool approximate = modifiers.take("approx"), root = modifiers.base() == "sqrt";
  if (take_rounding(modifiers, inst) == approximate) decoder.fail("expected a rounding mode");
  if (approximate && type == Type::F64) {
    if (root || !modifiers.take("ftz")) decoder.fail("not for .f64");
    inst.mode = kFlush;
    decoder.add(inst, map_floats<coarse_reciprocal, double, double>);
    return;
  }
  take_flush(decoder, modifiers, type, inst);
  decoder.add(inst, root ? exec_of<SquareRoot, 1>(type) : exec_of<Reciprocal, 1>(type));
}

void decode_reciprocal_root(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 2);
  const Type type = modifiers.take_type();
  if (!modifiers.take("approx")) decoder.fail("rsqrt needs .approx");
  Inst inst = operands_of(decoder, statement, type);
  if (modifiers.take("ftz")) inst.mode = kFlush;
  if (type == Type::F64) {
    decoder.add(inst, map_floats<coarse_reciprocal_root, double, double>);
  } else if (type == Type::F32) {
    decoder.add(inst, map_floats<ReciprocalRoot{}, float, float>);
  } else {
    decoder.fail("not for this type");
  }
}

template <class Op>
void decode_approximate(Decoder& decoder, const Statement& statement, Modifiers& modifiers,
                        Type type) {
  decoder.expect_operands(statement, 2);
  if (type != Type::F32 || !modifiers.take("approx")) decoder.fail("expected .approx and .f32");
  Inst inst = operands_of(decoder, statement, type);
  take_flush(decoder, modifiers, type, inst);
  decoder.add(inst, map_floats<Op{}, float, float>);
}
template <class Op>
void decode_approximate_of(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decode_approximate<Op>(decoder, statement, modifiers, modifiers.take_type());
}

void decode_copysign(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 3);
  const Type type = modifiers.take_type();
  const Inst inst = operands_of(decoder, statement, type);
  if (type == Type::F32) {
    decoder.add(inst, map_lanes<[](float sign, float value) { return std::copysign(value, sign); },
                                float, float, float>);
  } else if (type == Type::F64) {
    decoder.add(inst,
                map_lanes<[](double sign, double value) { return std::copysign(value, sign); },
                          double, double, double>);
  } else {
    decoder.fail("not for this type");
  }
}

struct FloatOperation {
  std::string_view name;
  void (*decode)(Decoder&, const Statement&, Modifiers&, Type);
};
constexpr FloatOperation kOperations[] = {
    {"add", decode_rounded<Add, 2>},      {"sub", decode_rounded<Subtract, 2>},
    {"mul", decode_rounded<Multiply, 2>}, {"fma", decode_rounded<Fma, 3>},
    {"mad", decode_rounded<Fma, 3>},      {"div", decode_divide},
    {"min", decode_extreme<false>},       {"max", decode_extreme<true>},
    {"neg", decode_sign<Negate>},         {"abs", decode_sign<Absolute>},
    {"ex2", decode_approximate<Exp2>},    {"tanh", decode_approximate<HyperbolicTangent>},
};

constexpr Opcode kOpcodes[] = {
    {"sqrt", decode_root},
    {"rcp", decode_root},
    {"rsqrt", decode_reciprocal_root},
    {"lg2", decode_approximate_of<Log2>},
    {"sin", decode_approximate_of<Sine>},
    {"cos", decode_approximate_of<Cosine>},
    {"copysign", decode_copysign},
};

}  // namespace

void decode_float(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type) {
  for (const FloatOperation& operation : kOperations) {
    if (operation.name == modifiers.base()) {
      return operation.decode(decoder, statement, modifiers, type);
    }
  }
  decoder.fail("not for this type");
}

std::span<const Opcode> float_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
