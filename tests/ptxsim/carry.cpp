// Arithmetic that reads or writes the carry bit CC.CF: add.cc, addc, sub.cc, subc, mad.cc, madc.
// Plain add, sub and mad are in integer.cpp; the decoder tells them apart by '.cc'.

#include "ptxsim/decode.h"
#include "ptxsim/lanes.h"

namespace cermet::ptxsim {
namespace {

enum class Operation { Add, Subtract, MadLow, MadHigh };

// inst.flag: the carry is read; inst.flag2: it is written. For subtraction it is the borrow.
template <class T, Operation kOperation, bool kSigned>
void exec_carry(Warp& warp, const Inst& inst, Mask mask) {
  constexpr int width = 8 * sizeof(T);
  const T *a = warp.at<T>(inst.op[1]), *b = warp.at<T>(inst.op[2]);
  T* d = warp.at<T>(inst.op[0]);
  for_lanes(mask, [&](int lane) {
    const u128 carry = inst.flag ? (warp.carry >> lane & 1) : 0;
    T left = a[lane], right = b[lane];
    if constexpr (kOperation == Operation::MadLow || kOperation == Operation::MadHigh) {
      u128 product;
      if constexpr (kSigned) {
        using S = std::make_signed_t<T>;
        product =
            static_cast<u128>(static_cast<s128>(static_cast<S>(left)) * static_cast<S>(right));
      } else {
        product = static_cast<u128>(left) * right;
      }
      left = static_cast<T>(kOperation == Operation::MadLow ? product : product >> width);
      right = warp.at<T>(inst.op[3])[lane];
    }
    u128 sum;
    if constexpr (kOperation == Operation::Subtract) {
      sum = static_cast<u128>(left) - right - carry;
    } else {
      sum = static_cast<u128>(left) + right + carry;
    }
    d[lane] = static_cast<T>(sum);
    if (inst.flag2) {
      const bool out = (sum >> width & 1) != 0;
      warp.carry = out ? warp.carry | lane_bit(lane) : warp.carry & ~lane_bit(lane);
    }
  });
}

template <Operation kOperation>
Exec exec_of(Type type) {
  if (bytes_of(type) == 8) {
    return is_signed(type) ? exec_carry<u64, kOperation, true> : exec_carry<u64, kOperation, false>;
  }
  return is_signed(type) ? exec_carry<u32, kOperation, true> : exec_carry<u32, kOperation, false>;
}

}  // namespace

void decode_carry(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  const std::string_view base = modifiers.base();
  const Type type = modifiers.take_type();
  if (!is_integer(type) || bytes_of(type) < 4) decoder.fail("not for this type");
  const bool product = base == "mad" || base == "madc";
  decoder.expect_operands(statement, product ? 4 : 3);
  Inst inst = decoder.start(statement);
  inst.flag = base == "addc" || base == "subc" || base == "madc";
  inst.flag2 = modifiers.take("cc");
  inst.op[0] = decoder.destination(statement.operands[0], bytes_of(type));
  for (std::size_t i = 1; i < statement.operands.size(); ++i) {
    inst.op[i] = decoder.source(statement.operands[i], type);
  }
  if (!product) {
    const bool add = base == "add" || base == "addc";
    decoder.add(inst, add ? exec_of<Operation::Add>(type) : exec_of<Operation::Subtract>(type));
    return;
  }
  const bool high = modifiers.take("hi");
  if (!high && !modifiers.take("lo")) decoder.fail("expected .lo or .hi");
  decoder.add(inst, high ? exec_of<Operation::MadHigh>(type) : exec_of<Operation::MadLow>(type));
}

namespace {

constexpr Opcode kOpcodes[] = {
    {"addc", decode_carry}, {"subc", decode_carry}, {"madc", decode_carry}};

}  // namespace

std::span<const Opcode> carry_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
