// Tensor-core instructions: mma.sync and the loads and stores of its operands, ldmatrix and
// stmatrix.
//
// Where the elements of a fragment lie (PTX ISA, "Matrix Fragments for mma.m16n8k*"): with
// g = lane / 4, t = lane % 4 and E elements of A and B in a register, register r of A holds row
// g + 8 * (r % 2), columns E * t + 4E * (r / 2) onwards; register r of B holds column g, rows
// E * t + 4E * r onwards; C and D hold row g + 8 * (i / 2), column 2 * t + i % 2 at element i.
//
// Products are exact in f32 and summed in f32 in the order of k. Hardware sums in another order and
// truncates, so results agree within a few units in the last place of the largest term only.

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "ptxsim/access.h"
#include "ptxsim/decode.h"
#include "ptxsim/half.h"

namespace cermet::ptxsim {
namespace {

constexpr int kRows = 16, kColumns = 8, kMaxDepth = 32;

// Operand slots: D at 0, A at 4, B at 8, C at 10; a missing register is kNoSlot.
constexpr std::size_t kA = 4, kB = 8, kC = 10;

bool whole_warp_here(Warp& warp, const Inst& inst, Mask mask) {
  if (!gather_lanes(warp, inst, mask, warp.alive, Fault::WarpMask)) return false;
  if (mask != kAllLanes) {
    warp.launch->violation(
        Fault::WarpMask, warp, inst, __builtin_ctz(mask),
        fmt::format("the whole warp must be here, only lanes {:#010x} are", mask));
  }
  return true;
}

struct HalfElement {
  using Value = float;
  static constexpr int kBits = 16;
  static float value(u32 bits) { return half_to_float(static_cast<u16>(bits)); }
};
struct BFloatElement {
  using Value = float;
  static constexpr int kBits = 16;
  static float value(u32 bits) { return bfloat_to_float(static_cast<u16>(bits)); }
};
struct TensorFloatElement {  // the low 13 bits are not looked at
  using Value = float;
  static constexpr int kBits = 32;
  static float value(u32 bits) { return std::bit_cast<float>(bits & 0xffffe000U); }
};
template <class T>
struct ByteElement {
  using Value = s32;
  static constexpr int kBits = 8;
  static s32 value(u32 bits) { return static_cast<T>(bits); }
};

template <class Element, class T>
void read_a(const Warp& warp, const Inst& inst, int depth, T (*a)[kMaxDepth]) {
  constexpr int per_register = 32 / Element::kBits;
  constexpr u32 element_mask = Element::kBits == 32 ? ~0U : (1U << (Element::kBits % 32)) - 1;
  for (int r = 0; r < depth / (4 * per_register) * 2; ++r) {
    const u32* bits = warp.at<u32>(inst.op[kA + static_cast<std::size_t>(r)]);
    for (int lane = 0; lane < kLanes; ++lane) {
      T* row = a[lane / 4 + 8 * (r % 2)] + per_register * (lane % 4 + 4 * (r / 2));
      for (int e = 0; e < per_register; ++e)
        row[e] = Element::value(bits[lane] >> (Element::kBits * e) & element_mask);
    }
  }
}

template <class Element, class T>
void read_b(const Warp& warp, const Inst& inst, int depth, T (*b)[kColumns]) {
  constexpr int per_register = 32 / Element::kBits;
  constexpr u32 element_mask = Element::kBits == 32 ? ~0U : (1U << (Element::kBits % 32)) - 1;
  for (int r = 0; r < depth / (4 * per_register); ++r) {
    const u32* bits = warp.at<u32>(inst.op[kB + static_cast<std::size_t>(r)]);
    for (int lane = 0; lane < kLanes; ++lane) {
      const int first = per_register * (lane % 4 + 4 * r);
      for (int e = 0; e < per_register; ++e) {
        b[first + e][lane / 4] = Element::value(bits[lane] >> (Element::kBits * e) & element_mask);
      }
    }
  }
}

template <class T>
void accumulate(T (*c)[kColumns], const T (*a)[kMaxDepth], const T (*b)[kColumns], int depth) {
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < depth; ++k) {
      for (int column = 0; column < kColumns; ++column) {
        if constexpr (std::is_same_v<T, float>) {
          c[row][column] = __builtin_fmaf(a[row][k], b[k][column], c[row][column]);
        } else {
          c[row][column] =
              static_cast<T>(static_cast<u32>(c[row][column]) +
                             static_cast<u32>(a[row][k]) * static_cast<u32>(b[k][column]));
        }
      }
    }
  }
}

// inst.imm: k; inst.flag: accumulators are pairs of f16.
template <class A, class B>
void exec_mma(Warp& warp, const Inst& inst, Mask mask) {
  using T = typename A::Value;
  if (!whole_warp_here(warp, inst, mask)) return;
  ++warp.launch->report.counters.mma;
  const int depth = static_cast<int>(inst.imm);
  alignas(64) T a[kRows][kMaxDepth], b[kMaxDepth][kColumns], c[kRows][kColumns];
  read_a<A>(warp, inst, depth, a);
  read_b<B>(warp, inst, depth, b);
  for (int i = 0; i < 4; ++i) {
    for (int lane = 0; lane < kLanes; ++lane) {
      T& to = c[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
      if (inst.flag) {
        const u32 pair = warp.at<u32>(inst.op[kC + static_cast<std::size_t>(i / 2)])[lane];
        to = static_cast<T>(half_to_float(static_cast<u16>(pair >> (16 * (i % 2)))));
      } else {
        to = warp.at<T>(inst.op[kC + static_cast<std::size_t>(i)])[lane];
      }
    }
  }
  accumulate(c, a, b, depth);
  for (int i = 0; i < 4; ++i) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const T from = c[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
      if (inst.flag2) {
        u32& pair = warp.at<u32>(inst.op[static_cast<std::size_t>(i / 2)])[lane];
        const u32 half = float_to_half(static_cast<float>(from));
        pair = i % 2 == 0 ? half : pair | half << 16;
      } else {
        warp.at<T>(inst.op[static_cast<std::size_t>(i)])[lane] = from;
      }
    }
  }
}

struct Shape {
  std::string_view name;
  Type a, b;
  int depth, sm;
  Exec exec;
};
using S8 = ByteElement<s8>;
using U8 = ByteElement<u8>;
constexpr Shape kShapes[] = {
    {"m16n8k8", Type::F16, Type::F16, 8, 75, exec_mma<HalfElement, HalfElement>},
    {"m16n8k16", Type::F16, Type::F16, 16, 80, exec_mma<HalfElement, HalfElement>},
    {"m16n8k8", Type::BF16, Type::BF16, 8, 80, exec_mma<BFloatElement, BFloatElement>},
    {"m16n8k16", Type::BF16, Type::BF16, 16, 80, exec_mma<BFloatElement, BFloatElement>},
    {"m16n8k4", Type::TF32, Type::TF32, 4, 80, exec_mma<TensorFloatElement, TensorFloatElement>},
    {"m16n8k8", Type::TF32, Type::TF32, 8, 80, exec_mma<TensorFloatElement, TensorFloatElement>},
    {"m16n8k16", Type::S8, Type::S8, 16, 80, exec_mma<S8, S8>},
    {"m16n8k16", Type::S8, Type::U8, 16, 80, exec_mma<S8, U8>},
    {"m16n8k16", Type::U8, Type::S8, 16, 80, exec_mma<U8, S8>},
    {"m16n8k16", Type::U8, Type::U8, 16, 80, exec_mma<U8, U8>},
    {"m16n8k32", Type::S8, Type::S8, 32, 80, exec_mma<S8, S8>},
    {"m16n8k32", Type::S8, Type::U8, 32, 80, exec_mma<S8, U8>},
    {"m16n8k32", Type::U8, Type::S8, 32, 80, exec_mma<U8, S8>},
    {"m16n8k32", Type::U8, Type::U8, 32, 80, exec_mma<U8, U8>},
};

void registers_of(Decoder& decoder, Inst& inst, std::size_t first, const Operand& operand,
                  std::size_t count, bool destination) {
  if (operand.kind != Operand::Kind::Vector || operand.elements.size() != count) {
    decoder.fail(fmt::format("expected a vector of {} registers", count));
  }
  for (std::size_t i = 0; i < count; ++i) {
    inst.op[first + i] = destination ? decoder.destination(operand.elements[i], 4)
                                     : decoder.source(operand.elements[i], Type::B32);
  }
}

void decode_mma(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  decoder.expect_operands(statement, 4);
  if (!modifiers.take("sync") || !modifiers.take("aligned") || !modifiers.take("row") ||
      !modifiers.take("col")) {
    decoder.fail("expected mma.sync.aligned with .row.col");
  }
  const Type d = modifiers.take_type(), a = modifiers.take_type();
  const Type b = modifiers.take_type(), c = modifiers.take_type();
  const Shape* shape = nullptr;
  for (const Shape& candidate : kShapes) {
    if (candidate.a == a && candidate.b == b && modifiers.has(candidate.name)) shape = &candidate;
  }
  if (shape == nullptr) decoder.fail("this shape with these types is not supported");
  modifiers.take(shape->name);
  decoder.require_sm(shape->sm);
  const bool integer = is_integer(a);
  const bool half = a == Type::F16 && (d == Type::F16 || c == Type::F16);
  if (integer ? d != Type::S32 || c != Type::S32
              : !(half || d == Type::F32) || !(half || c == Type::F32)) {
    decoder.fail("accumulators of these types are not supported");
  }
  Inst inst = decoder.start(statement);
  inst.imm = shape->depth;
  inst.flag = c == Type::F16;
  inst.flag2 = d == Type::F16;
  const auto width = static_cast<std::size_t>(bytes_of(a));  // elements in a register: 4 / width
  const std::size_t a_registers = static_cast<std::size_t>(shape->depth) * width / 8;
  registers_of(decoder, inst, 0, statement.operands[0], inst.flag2 ? 2 : 4, true);
  registers_of(decoder, inst, kA, statement.operands[1], a_registers, false);
  registers_of(decoder, inst, kB, statement.operands[2], a_registers / 2, false);
  registers_of(decoder, inst, kC, statement.operands[3], inst.flag ? 2 : 4, false);
  decoder.add(inst, shape->exec);
}

// ---- ldmatrix, stmatrix ------------------------------------------------------------------------

// Registers at op[0..3], the address at op[8]. Lanes 8m to 8m + 7 give the rows of matrix m. Lane l
// holds elements 2(l % 4) and 2(l % 4) + 1 of row l / 4, or of column l / 4 if transposed.
template <bool kLoad>
void exec_matrix_access(Warp& warp, const Inst& inst, Mask mask) {
  if (!whole_warp_here(warp, inst, mask)) return;
  alignas(64) u64 addresses[kLanes];
  Pointers pointers;
  lane_addresses(warp, inst, 8, addresses);
  const Mask rows = inst.vector == 4 ? kAllLanes : lane_bit(8 * inst.vector) - 1;
  reach(warp, inst, rows, addresses, 16, {kLoad, !kLoad, false}, pointers);
  for (int m = 0; m < inst.vector; ++m) {
    u32* registers = warp.at<u32>(inst.op[static_cast<std::size_t>(m)]);
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int e = 0; e < 2; ++e) {
        const int across = 2 * (lane % 4) + e, row = inst.flag2 ? across : lane / 4,
                  column = inst.flag2 ? lane / 4 : across;
        std::byte* const at = pointers.at[8 * m + row] + 2 * column;
        u16 value = static_cast<u16>(registers[lane] >> (16 * e));
        if constexpr (kLoad) {
          std::memcpy(&value, at, 2);
          registers[lane] = (registers[lane] & (e == 0 ? 0xffff0000U : 0xffffU)) |
                            static_cast<u32>(value) << (16 * e);
        } else {
          std::memcpy(at, &value, 2);
        }
      }
    }
  }
}

void decode_matrix_access(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  const bool load = modifiers.base() == "ldmatrix";
  decoder.require_sm(load ? 75 : 90);
  decoder.expect_operands(statement, 2);
  if (!modifiers.take("sync") || !modifiers.take("aligned") || !modifiers.take("m8n8"))
    decoder.fail("expected .sync.aligned.m8n8");
  const int count = modifiers.take_one_of({"x1", "x2", "x4"});
  Inst inst = decoder.start(statement);
  inst.flag2 = modifiers.take("trans");
  const bool shared = modifiers.take_one_of({"shared", "shared::cta"}) >= 0;
  if (count < 0 || modifiers.take_type() != Type::B16) decoder.fail("not supported");
  inst.vector = static_cast<u8>(1 << count);
  registers_of(decoder, inst, 0, statement.operands[load ? 0 : 1], inst.vector, load);
  decoder.address(inst, 8, statement.operands[load ? 1 : 0],
                  shared ? Space::Shared : Space::Generic);
  decoder.add(inst, load ? exec_matrix_access<true> : exec_matrix_access<false>);
}

constexpr Opcode kOpcodes[] = {
    {"mma", decode_mma}, {"ldmatrix", decode_matrix_access}, {"stmatrix", decode_matrix_access}};

}  // namespace

std::span<const Opcode> matrix_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim
