// f16 and bf16 arithmetic, single and in pairs. Sums, differences and products of two small numbers
// are exact or correctly rounded in double; a fused sum is rounded to odd first. The result is then
// rounded to nearest even, the only mode these instructions have.

#include <bit>
#include <cmath>

#include "ptxsim/decode.h"
#include "ptxsim/half.h"
#include "ptxsim/lanes.h"

namespace cermet::ptxsim {
namespace {

struct Half {
  static constexpr SmallFormat format = kHalf;
  static constexpr u16 infinity = 0x7c00;
  static double load(u16 bits) { return half_to_float(bits); }
};
struct BFloat {
  static constexpr SmallFormat format = kBFloat;
  static constexpr u16 infinity = 0x7f80;
  static double load(u16 bits) { return bfloat_to_float(bits); }
};
template <class F>
u16 store(double x) {
  return static_cast<u16>(round_to_format(x, F::format, Round::Nearest));
}
template <class F>
bool is_nan(u16 x) {
  return (x & 0x7fff) > F::infinity;
}

enum Flags : u16 { kFtz = 1, kSat = 2, kRelu = 4, kNan = 8, kXorSign = 16 };

template <class F>
u16 flush(u16 x) {
  return (x & F::infinity) == 0 ? x & 0x8000 : x;
}

// What the modifiers do to a result.
template <class F>
u16 finish(double x, u16 flags) {
  if ((flags & kSat) != 0) x = x > 0 ? std::min(x, 1.0) : 0.0;
  if ((flags & kRelu) != 0 && x < 0) x = 0;
  const u16 result = store<F>(x);
  return (flags & kFtz) != 0 ? flush<F>(result) : result;
}

struct Add {
  static constexpr std::size_t arity = 2;
  template <class F>
  static u16 run(const u16* x, u16 flags) {
    return finish<F>(fused_to_odd(1, F::load(x[0]), F::load(x[1])), flags);
  }
};
struct Subtract {
  static constexpr std::size_t arity = 2;
  template <class F>
  static u16 run(const u16* x, u16 flags) {
    return finish<F>(fused_to_odd(1, F::load(x[0]), -F::load(x[1])), flags);
  }
};
struct Multiply {
  static constexpr std::size_t arity = 2;
  template <class F>
  static u16 run(const u16* x, u16 flags) {
    return finish<F>(F::load(x[0]) * F::load(x[1]), flags);
  }
};
struct Fma {
  static constexpr std::size_t arity = 3;
  template <class F>
  static u16 run(const u16* x, u16 flags) {
    return finish<F>(fused_to_odd(F::load(x[0]), F::load(x[1]), F::load(x[2])), flags);
  }
};
struct Negate {
  static constexpr std::size_t arity = 1;
  template <class F>
  static u16 run(const u16* x, u16) {
    return x[0] ^ 0x8000;
  }
};
struct Absolute {
  static constexpr std::size_t arity = 1;
  template <class F>
  static u16 run(const u16* x, u16) {
    return x[0] & 0x7fff;
  }
};
template <bool kMaximum>
struct Extreme {
  static constexpr std::size_t arity = 2;
  template <class F>
  static u16 run(const u16* x, u16 flags) {
    u16 a = x[0], b = x[1];
    const u16 sign = (flags & kXorSign) != 0 ? (a ^ b) & 0x8000 : 0;
    if ((flags & kXorSign) != 0) a &= 0x7fff, b &= 0x7fff;
    const bool nan_a = is_nan<F>(a), nan_b = is_nan<F>(b);
    if ((nan_a && nan_b) || ((nan_a || nan_b) && (flags & kNan) != 0)) return 0x7fff;
    if (nan_a || nan_b) return (nan_a ? b : a) | sign;
    const double left = F::load(a), right = F::load(b);
    const bool less = left < right || (left == right && (a & 0x8000) > (b & 0x8000));
    return (kMaximum == less ? b : a) | sign;
  }
};
struct Exp2 {
  static constexpr std::size_t arity = 1;
  template <class F>
  static u16 run(const u16* x, u16 flags) {
    return finish<F>(std::exp2(F::load(x[0])), flags);
  }
};
struct HyperbolicTangent {
  static constexpr std::size_t arity = 1;
  template <class F>
  static u16 run(const u16* x, u16 flags) {
    return finish<F>(std::tanh(F::load(x[0])), flags);
  }
};

// kParts: 1, or 2 for a pair in one register. T: u16 or u32.
template <class Op, class F, class T>
void exec(Warp& warp, const Inst& inst, Mask mask) {
  T* d = warp.at<T>(inst.op[0]);
  for_lanes(mask, [&](int lane) {
    T result = 0;
    for (unsigned part = 0; part < sizeof(T) / 2; ++part) {
      u16 x[Op::arity];
      for (std::size_t i = 0; i < Op::arity; ++i) {
        x[i] = static_cast<u16>(warp.at<T>(inst.op[i + 1])[lane] >> (16 * part));
        if ((inst.mode & kFtz) != 0) x[i] = flush<F>(x[i]);
      }
      result = static_cast<T>(result | static_cast<u32>(Op::template run<F>(x, inst.mode))
                                           << (16 * part));
    }
    d[lane] = result;
  });
}

template <class Op>
Exec exec_of(Type type) {
  switch (type) {
    case Type::F16: return exec<Op, Half, u16>;
    case Type::F16x2: return exec<Op, Half, u32>;
    case Type::BF16: return exec<Op, BFloat, u16>;
    case Type::BF16x2: return exec<Op, BFloat, u32>;
    default: return nullptr;
  }
}

struct Operation {
  std::string_view name;
  std::size_t arity;
  Exec (*exec)(Type);
};
constexpr Operation kOperations[] = {
    {"add", 2, exec_of<Add>},
    {"sub", 2, exec_of<Subtract>},
    {"mul", 2, exec_of<Multiply>},
    {"fma", 3, exec_of<Fma>},
    {"neg", 1, exec_of<Negate>},
    {"abs", 1, exec_of<Absolute>},
    {"min", 2, exec_of<Extreme<false>>},
    {"max", 2, exec_of<Extreme<true>>},
    {"ex2", 1, exec_of<Exp2>},
    {"tanh", 1, exec_of<HyperbolicTangent>},
};

}  // namespace

void decode_half(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type) {
  for (const Operation& operation : kOperations) {
    if (operation.name != modifiers.base()) continue;
    decoder.expect_operands(statement, operation.arity + 1);
    Inst inst = decoder.start(statement);
    modifiers.take("rn");
    modifiers.take("approx");
    static constexpr std::string_view kNames[] = {"ftz", "sat", "relu", "NaN", "xorsign"};
    for (unsigned i = 0; i < std::size(kNames); ++i) {
      if (modifiers.take(kNames[i])) inst.mode |= static_cast<u16>(1U << i);
    }
    if ((inst.mode & kXorSign) != 0 && !modifiers.take("abs"))
      decoder.fail("expected .xorsign.abs");
    inst.op[0] = decoder.destination(statement.operands[0], bytes_of(type));
    for (std::size_t i = 1; i <= operation.arity; ++i) {
      inst.op[i] = decoder.source(statement.operands[i], type);
    }
    decoder.add(inst, operation.exec(type));
    return;
  }
  decoder.fail("not for this type");
}

}  // namespace cermet::ptxsim
