// atom and red: each lane of the mask in turn reads, changes and writes its place. As warps run one
// after another, that is atomic.

#include <bit>
#include <cstring>

#include "ptxsim/access.h"
#include "ptxsim/decode.h"
#include "ptxsim/global_shadow.h"
#include "ptxsim/half.h"

namespace cermet::ptxsim {
namespace {

enum class Change { Add, Min, Max, And, Or, Xor, Inc, Dec, Exch, Cas };

template <class T>
T add_values(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<u64>(a) + static_cast<u64>(b));
  } else {
    return a + b;
  }
}

// A pair of small floats, or one.
struct HalfPair {
  u32 bits;
};
struct BFloatPair {
  u32 bits;
};
struct HalfOne {
  u16 bits;
};
struct BFloatOne {
  u16 bits;
};
u16 add_half(u16 a, u16 b, bool bfloat) {
  if (bfloat) return float_to_bfloat(bfloat_to_float(a) + bfloat_to_float(b));
  return float_to_half(half_to_float(a) + half_to_float(b));
}
u32 add_pair(u32 a, u32 b, bool bfloat) {
  const u32 low = add_half(static_cast<u16>(a), static_cast<u16>(b), bfloat);
  return low |
         static_cast<u32>(add_half(static_cast<u16>(a >> 16), static_cast<u16>(b >> 16), bfloat))
             << 16;
}

template <class T>
T changed(Change change, T old, T b, T c) {
  if constexpr (std::is_same_v<T, HalfPair> || std::is_same_v<T, BFloatPair>) {
    return {add_pair(old.bits, b.bits, std::is_same_v<T, BFloatPair>)};
  } else if constexpr (std::is_same_v<T, HalfOne> || std::is_same_v<T, BFloatOne>) {
    return {add_half(old.bits, b.bits, std::is_same_v<T, BFloatOne>)};
  } else {
    if (change == Change::Add) return add_values(old, b);
    if (change == Change::Exch) return b;
    if constexpr (std::is_integral_v<T>) {
      switch (change) {
        case Change::Min: return std::min(old, b);
        case Change::Max: return std::max(old, b);
        case Change::And: return old & b;
        case Change::Or: return old | b;
        case Change::Xor: return old ^ b;
        case Change::Inc: return old >= b ? T{0} : static_cast<T>(old + 1);
        case Change::Dec: return old == 0 || old > b ? b : static_cast<T>(old - 1);
        case Change::Cas: return old == b ? c : old;
        case Change::Add:
        case Change::Exch: break;
      }
    }
    return old;
  }
}

// op: 0 result or none, 1 address, 2 b, 3 c. mode: the change. flag2: it is a fence too.
template <class T>
void exec_atomic(Warp& warp, const Inst& inst, Mask mask) {
  alignas(64) u64 addresses[kLanes];
  Pointers pointers;
  lane_addresses(warp, inst, 1, addresses);
  reach(warp, inst, mask, addresses, sizeof(T), {true, true, true}, pointers);
  GlobalShadow* const shadow = warp.launch->global_shadow.get();
  if (shadow != nullptr && inst.flag2) shadow->fence(warp);
  const auto change = static_cast<Change>(inst.mode);
  const T *b = warp.at<T>(inst.op[2]), *c = inst.op[3] == kNoSlot ? b : warp.at<T>(inst.op[3]);
  T old[kLanes];
  for_lanes(mask, [&](int lane) {
    std::memcpy(&old[lane], pointers.at[lane], sizeof(T));
    const T now = changed(change, old[lane], b[lane], c[lane]);
    std::memcpy(pointers.at[lane], &now, sizeof(T));
    if (shadow != nullptr && inst.space != Space::Shared)
      shadow->synchronise(warp, addresses[lane]);
  });
  if (inst.op[0] == kNoSlot) return;
  T* d = warp.at<T>(inst.op[0]);
  for_lanes(mask, [&](int lane) { d[lane] = old[lane]; });
}

Exec exec_for(Decoder& decoder, Change change, Type type) {
  const bool exchange = change == Change::Exch || change == Change::Cas;
  const bool logic = change == Change::And || change == Change::Or || change == Change::Xor;
  const bool counter = change == Change::Inc || change == Change::Dec;
  if (counter && type != Type::U32) decoder.fail("not for this type");
  if (change == Change::Add && kind_of(type) == Kind::Bits) decoder.fail("not for this type");
  if (kind_of(type) == Kind::Float || kind_of(type) == Kind::Packed) {
    if (change != Change::Add) decoder.fail("floats have .add only");
  }
  switch (type) {
    case Type::B16:
      if (exchange) return exec_atomic<u16>;
      break;
    case Type::B32:
      if (exchange || logic) return exec_atomic<u32>;
      break;
    case Type::B64:
      if (exchange || logic) return exec_atomic<u64>;
      break;
    case Type::U32: return exec_atomic<u32>;
    case Type::S32: return exec_atomic<s32>;
    case Type::U64: return exec_atomic<u64>;
    case Type::S64: return exec_atomic<s64>;
    case Type::F32: return exec_atomic<float>;
    case Type::F64: return exec_atomic<double>;
    case Type::F16x2: return exec_atomic<HalfPair>;
    case Type::BF16x2: return exec_atomic<BFloatPair>;
    case Type::F16: return exec_atomic<HalfOne>;
    case Type::BF16: return exec_atomic<BFloatOne>;
    default: break;
  }
  decoder.fail("not for this type");
}

void decode_atomic(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  const bool has_result = modifiers.base() == "atom";
  Inst inst = decoder.start(statement);
  const int order = modifiers.take_one_of({"acq_rel", "release", "acquire", "relaxed"});
  modifiers.take_one_of({"cta", "cluster", "gpu", "sys"});
  const int space = modifiers.take_one_of({"global", "shared", "shared::cta"});
  modifiers.take("noftz");
  const int change =
      modifiers.take_one_of({"add", "min", "max", "and", "or", "xor", "inc", "dec", "exch", "cas"});
  if (change < 0) decoder.fail("unknown operation");
  const Type type = modifiers.take_type();
  inst.mode = static_cast<u16>(change);
  inst.flag2 = order == 0 || order == 1;
  const std::size_t first = has_result ? 1 : 0;
  decoder.expect_operands(statement, first + (static_cast<Change>(change) == Change::Cas ? 3 : 2));
  if (has_result && statement.operands[0].name != "_") {
    inst.op[0] = decoder.destination(statement.operands[0], bytes_of(type));
  }
  decoder.address(inst, 1, statement.operands[first],
                  space < 0    ? Space::Generic
                  : space == 0 ? Space::Global
                               : Space::Shared);
  for (std::size_t i = first + 1; i < statement.operands.size(); ++i) {
    inst.op[i - first + 1] = decoder.source(statement.operands[i], type);
  }
  decoder.add(inst, exec_for(decoder, static_cast<Change>(change), type));
}

constexpr Opcode kOpcodes[] = {{"atom", decode_atomic}, {"red", decode_atomic}};

}  // namespace

std::span<const Opcode> atomic_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
