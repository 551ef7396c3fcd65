#include "compiler/llvm/emit_elementwise.h"

#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <algorithm>

#include "ir/check.h"

namespace cermet::compiler::llvm_backend {
namespace {

using loops::Opcode;

llvm::Value* emit_division(IRBuilder& b, DType dtype, llvm::Value* x, llvm::Value* y) {
  if (is_float(dtype)) return b.CreateFDiv(x, y);
  return is_signed(dtype) ? b.CreateSDiv(x, y) : b.CreateUDiv(x, y);
}

llvm::Value* emit_remainder(IRBuilder& b, DType dtype, llvm::Value* x, llvm::Value* y) {
  CERMET_CHECK(!is_float(dtype), "rem of {} is a library function, not an instruction",
               name(dtype));
  return is_signed(dtype) ? b.CreateSRem(x, y) : b.CreateURem(x, y);
}

llvm::Value* emit_abs(IRBuilder& b, DType dtype, llvm::Value* x) {
  if (is_float(dtype)) return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
  if (!is_signed(dtype)) return x;
  return b.CreateBinaryIntrinsic(llvm::Intrinsic::abs, x, b.getFalse());
}

struct Predicates {
  llvm::CmpInst::Predicate float_, signed_, unsigned_;
};
Predicates predicates(Opcode op) {
  using P = llvm::CmpInst;
  switch (op) {
    case Opcode::Lt: return {P::FCMP_OLT, P::ICMP_SLT, P::ICMP_ULT};
    case Opcode::Le: return {P::FCMP_OLE, P::ICMP_SLE, P::ICMP_ULE};
    case Opcode::Gt: return {P::FCMP_OGT, P::ICMP_SGT, P::ICMP_UGT};
    case Opcode::Ge: return {P::FCMP_OGE, P::ICMP_SGE, P::ICMP_UGE};
    case Opcode::Eq: return {P::FCMP_OEQ, P::ICMP_EQ, P::ICMP_EQ};
    default: return {P::FCMP_UNE, P::ICMP_NE, P::ICMP_NE};
  }
}

llvm::Value* emit_compare(IRBuilder& b, Opcode op, DType dtype, llvm::Value* x, llvm::Value* y) {
  const Predicates p = predicates(op);
  if (is_float(dtype)) return b.CreateFCmp(p.float_, x, y);
  return b.CreateICmp(is_signed(dtype) ? p.signed_ : p.unsigned_, x, y);
}

// The intrinsics that are one instruction on every target, which has SSE4.1 at least.
llvm::Intrinsic::ID rounding(Opcode op) {
  switch (op) {
    case Opcode::Floor: return llvm::Intrinsic::floor;
    case Opcode::Ceil: return llvm::Intrinsic::ceil;
    case Opcode::Trunc: return llvm::Intrinsic::trunc;
    case Opcode::RoundEven: return llvm::Intrinsic::roundeven;
    default: return llvm::Intrinsic::sqrt;
  }
}

// By opcode and dtype: the instructions of AVX-512 for registers of 16, 32 and 64 bytes.
struct ExponentIntrinsics {
  Opcode op;
  DType dtype;
  llvm::Intrinsic::ID ids[3];
};
#define CERMET_BY_WIDTH(name)                                                                    \
  {llvm::Intrinsic::x86_avx512_mask_##name##_128, llvm::Intrinsic::x86_avx512_mask_##name##_256, \
   llvm::Intrinsic::x86_avx512_mask_##name##_512}
constexpr ExponentIntrinsics exponent_intrinsics[] = {
    {Opcode::Scale, DType::F32, CERMET_BY_WIDTH(scalef_ps)},
    {Opcode::Scale, DType::F64, CERMET_BY_WIDTH(scalef_pd)},
    {Opcode::Exponent, DType::F32, CERMET_BY_WIDTH(getexp_ps)},
    {Opcode::Exponent, DType::F64, CERMET_BY_WIDTH(getexp_pd)},
    {Opcode::Significand, DType::F32, CERMET_BY_WIDTH(getmant_ps)},
    {Opcode::Significand, DType::F64, CERMET_BY_WIDTH(getmant_pd)},
};
#undef CERMET_BY_WIDTH

// Scale, Exponent or Significand of whole registers.
llvm::Value* emit_exponent_register(IRBuilder& b, Opcode op, DType dtype,
                                    llvm::ArrayRef<llvm::Value*> v) {
  const int lanes = lanes_of(v[0]);
  const size_t bytes = size_t(lanes) * size_of(dtype);
  const size_t width = bytes == 64 ? 2 : bytes == 32 ? 1 : 0;
  constexpr int from_three_quarters = 3, nan_if_negative = 2 << 2, current_rounding = 4;
  llvm::SmallVector<llvm::Value*, 6> arguments(v.begin(), v.end());
  if (op == Opcode::Significand)
    arguments.push_back(b.getInt32(from_three_quarters | nan_if_negative));
  arguments.push_back(llvm::Constant::getNullValue(v[0]->getType()));
  arguments.push_back(llvm::Constant::getAllOnesValue(b.getIntNTy(unsigned(std::max(8, lanes)))));
  if (width == 2) arguments.push_back(b.getInt32(current_rounding));
  for (const ExponentIntrinsics& row : exponent_intrinsics)
    if (row.op == op && row.dtype == dtype) return b.CreateIntrinsic(row.ids[width], {}, arguments);
  CERMET_CHECK(false, "no instruction for {} of {}", name(op), name(dtype));
  return nullptr;
}

// An operation on whole registers of so many lanes for any number of lanes: in several registers,
// or one that is filled up.
template <class Operation>
llvm::Value* in_registers(IRBuilder& b, int step, llvm::ArrayRef<llvm::Value*> v,
                          Operation operation) {
  const int lanes = lanes_of(v[0]);
  const auto part = [&](llvm::Value* x, int first) {
    if (!x->getType()->isVectorTy())
      return b.CreateInsertElement(
          llvm::PoisonValue::get(llvm::FixedVectorType::get(x->getType(), unsigned(step))), x,
          uint64_t(0));
    llvm::SmallVector<int, 16> which;
    for (int i = 0; i < step; ++i) which.push_back(first + i < lanes ? first + i : -1);
    return step == lanes ? x : b.CreateShuffleVector(x, which);
  };
  llvm::SmallVector<llvm::Value*, 8> parts;
  for (int first = 0; first < lanes; first += step) {
    llvm::SmallVector<llvm::Value*, 2> operands;
    for (llvm::Value* x : v) operands.push_back(part(x, first));
    parts.push_back(operation(operands));
  }
  if (!v[0]->getType()->isVectorTy()) return b.CreateExtractElement(parts[0], uint64_t(0));
  while (parts.size() > 1) {  // as many as a power of two
    llvm::SmallVector<int, 64> all;
    for (int i = 0; i < 2 * lanes_of(parts[0]); ++i) all.push_back(i);
    for (size_t i = 0; 2 * i < parts.size(); ++i)
      parts[i] = b.CreateShuffleVector(parts[2 * i], parts[2 * i + 1], all);
    parts.resize(parts.size() / 2);
  }
  if (lanes_of(parts[0]) == lanes) return parts[0];
  llvm::SmallVector<int, 16> own;
  for (int i = 0; i < lanes; ++i) own.push_back(i);
  return b.CreateShuffleVector(parts[0], own);
}

llvm::Value* emit_exponent_op(IRBuilder& b, Opcode op, DType dtype,
                              llvm::ArrayRef<llvm::Value*> v) {
  const int size = int(size_of(dtype));
  return in_registers(
      b, std::clamp(lanes_of(v[0]), 16 / size, 64 / size), v,
      [&](llvm::ArrayRef<llvm::Value*> x) { return emit_exponent_register(b, op, dtype, x); });
}

}  // namespace

llvm::Value* emit_extremum_select(IRBuilder& b, DType dtype, llvm::ArrayRef<llvm::Value*> v) {
  const auto* compare = llvm::dyn_cast<llvm::FCmpInst>(v[0]);
  if (!compare || !v[1]->getType()->isVectorTy() || (dtype != DType::F32 && dtype != DType::F64) ||
      lanes_of(v[1]) * int(size_of(dtype)) != 64)
    return nullptr;
  const bool less = compare->getPredicate() == llvm::CmpInst::FCMP_OLT;
  if (!less && compare->getPredicate() != llvm::CmpInst::FCMP_OGT) return nullptr;
  const bool first = compare->getOperand(0) == v[1] && compare->getOperand(1) == v[2];
  if (!first && (compare->getOperand(0) != v[2] || compare->getOperand(1) != v[1])) return nullptr;
  namespace id = llvm::Intrinsic;
  const bool single = dtype == DType::F32;
  const id::ID instruction = less == first
                                 ? (single ? id::x86_avx512_min_ps_512 : id::x86_avx512_min_pd_512)
                                 : (single ? id::x86_avx512_max_ps_512 : id::x86_avx512_max_pd_512);
  constexpr int current_rounding = 4;
  return b.CreateIntrinsic(instruction, {}, {v[1], v[2], b.getInt32(current_rounding)});
}

llvm::Value* emit_elementwise(IRBuilder& b, Opcode op, DType dtype,
                              llvm::ArrayRef<llvm::Value*> v) {
  const bool real = is_float(dtype);
  switch (op) {
    case Opcode::Add: return real ? b.CreateFAdd(v[0], v[1]) : b.CreateAdd(v[0], v[1]);
    case Opcode::Sub: return real ? b.CreateFSub(v[0], v[1]) : b.CreateSub(v[0], v[1]);
    case Opcode::Mul: return real ? b.CreateFMul(v[0], v[1]) : b.CreateMul(v[0], v[1]);
    case Opcode::Div: return emit_division(b, dtype, v[0], v[1]);
    case Opcode::Rem: return emit_remainder(b, dtype, v[0], v[1]);
    case Opcode::Neg: return real ? b.CreateFNeg(v[0]) : b.CreateNeg(v[0]);
    case Opcode::Abs: return emit_abs(b, dtype, v[0]);
    case Opcode::Fma:
      return b.CreateIntrinsic(llvm::Intrinsic::fma, {v[0]->getType()}, {v[0], v[1], v[2]});
    case Opcode::Sqrt:
    case Opcode::Floor:
    case Opcode::Ceil:
    case Opcode::Trunc:
    case Opcode::RoundEven: return b.CreateUnaryIntrinsic(rounding(op), v[0]);
    case Opcode::Scale:
    case Opcode::Exponent:
    case Opcode::Significand: return emit_exponent_op(b, op, dtype, v);
    case Opcode::Copysign: return b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, v[0], v[1]);
    case Opcode::And: return b.CreateAnd(v[0], v[1]);
    case Opcode::Or: return b.CreateOr(v[0], v[1]);
    case Opcode::Xor: return b.CreateXor(v[0], v[1]);
    case Opcode::Not: return b.CreateNot(v[0]);
    case Opcode::Shl: return b.CreateShl(v[0], v[1]);
    case Opcode::Shr: return is_signed(dtype) ? b.CreateAShr(v[0], v[1]) : b.CreateLShr(v[0], v[1]);
    case Opcode::Lt:
    case Opcode::Le:
    case Opcode::Gt:
    case Opcode::Ge:
    case Opcode::Eq:
    case Opcode::Ne: return emit_compare(b, op, dtype, v[0], v[1]);
    case Opcode::Select: return b.CreateSelect(v[0], v[1], v[2]);
    default: break;
  }
  CERMET_CHECK(false, "{} is no lane-by-lane opcode", name(op));
  return nullptr;
}

llvm::Value* emit_lookup(IRBuilder& b, const float (&row)[lookup_entries], llvm::Value* index) {
  constexpr int lanes = lookup_entries / 2;
  const auto half = [&](int first) {
    return llvm::ConstantDataVector::get(b.getContext(), llvm::ArrayRef(row + first, lanes));
  };
  const bool twice = std::equal(row, row + lanes, row + lanes);
  return in_registers(b, lanes, index, [&](llvm::ArrayRef<llvm::Value*> x) -> llvm::Value* {
    if (twice)
      return b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_permvar_sf_512, {}, {half(0), x[0]});
    return b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_vpermi2var_ps_512, {},
                             {half(0), x[0], half(lanes)});
  });
}

// One integer of as many bits as there are lanes: a movmsk or a mask register.
static llvm::Value* mask_bits(IRBuilder& b, llvm::Value* mask) {
  return b.CreateBitCast(mask, b.getIntNTy(unsigned(lanes_of(mask))));
}

llvm::Value* any_lane(IRBuilder& b, llvm::Value* mask) {
  return lanes_of(mask) == 1 ? mask : b.CreateIsNotNull(mask_bits(b, mask));
}

llvm::Value* all_lanes(IRBuilder& b, llvm::Value* mask) {
  if (lanes_of(mask) == 1) return mask;
  llvm::Value* bits = mask_bits(b, mask);
  return b.CreateICmpEQ(bits, llvm::Constant::getAllOnesValue(bits->getType()));
}

// Keeps x where the comparison is false, takes y where it is true or anything is NaN, and x again
// where that is NaN.
static llvm::Value* emit_extremum(IRBuilder& b, bool least, DType dtype, llvm::Value* x,
                                  llvm::Value* y) {
  llvm::Value *const low = least ? y : x, *const high = least ? x : y;
  if (!is_float(dtype)) return b.CreateSelect(emit_compare(b, Opcode::Lt, dtype, low, high), y, x);
  llvm::Value* ordered = b.CreateSelect(b.CreateFCmpULT(low, high), y, x);
  return b.CreateSelect(b.CreateFCmpUNO(x, x), x, ordered);
}

static llvm::Value* combine_halves(IRBuilder& b, Opcode op, DType dtype, llvm::Value* x,
                                   llvm::Value* y) {
  if (op == Opcode::ReduceAdd) return emit_elementwise(b, Opcode::Add, dtype, {x, y});
  if (op == Opcode::ReduceMul) return emit_elementwise(b, Opcode::Mul, dtype, {x, y});
  return emit_extremum(b, op == Opcode::ReduceMin, dtype, x, y);
}

llvm::Value* emit_reduction(IRBuilder& b, Opcode op, DType dtype, llvm::Value* x) {
  const int lanes = lanes_of(x);
  if (op == Opcode::ReduceOr) return any_lane(b, x);
  if (op == Opcode::ReduceAnd) return all_lanes(b, x);
  for (int half = lanes / 2; half >= 1; half /= 2) {
    llvm::SmallVector<int, 64> low, high;
    for (int i = 0; i < half; ++i) low.push_back(i), high.push_back(half + i);
    x = combine_halves(b, op, dtype, b.CreateShuffleVector(x, low), b.CreateShuffleVector(x, high));
  }
  return lanes == 1 ? x : b.CreateExtractElement(x, uint64_t(0));
}

}  // namespace cermet::compiler::llvm_backend
