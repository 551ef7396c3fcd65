// Conversions. The 16-bit floats are converted through f32: by F16C instructions where there are
// any, else by integer operations; results are those of cermet/half.h. f64 and wide integers are
// first rounded to odd (truncated, with the last bit set if anything was lost): a second rounding
// to far fewer bits then equals one direct rounding (Boldo and Melquiond, "Emulation of FMA and
// correctly rounded sums: proved algorithms using rounding to odd", 2008).

#include <llvm/IR/Intrinsics.h>

#include "compiler/llvm/emit_elementwise.h"
#include "ir/check.h"

namespace cermet::compiler::llvm_backend {
namespace {

bool is_half(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16; }

llvm::Type* like(llvm::Value* x, llvm::Type* element) { return with_lanes(element, lanes_of(x)); }
llvm::Constant* integer(llvm::Value* x, uint64_t value) {
  return llvm::ConstantInt::get(x->getType(), value);
}
llvm::Constant* real(llvm::Value* x, double value) {
  return llvm::ConstantFP::get(x->getType(), value);
}
llvm::Value* bits32(IRBuilder& b, llvm::Value* x) {
  return b.CreateBitCast(x, like(x, b.getInt32Ty()));
}
llvm::Value* float_of_bits(IRBuilder& b, llvm::Value* x) {
  return b.CreateBitCast(x, like(x, b.getFloatTy()));
}
llvm::Value* narrow16(IRBuilder& b, llvm::Value* x) {
  return b.CreateTrunc(x, like(x, b.getInt16Ty()));
}

llvm::Value* f16_to_f32(IRBuilder& b, const Target& target, llvm::Value* x) {
  if (target.f16_conversion)
    return b.CreateFPExt(b.CreateBitCast(x, like(x, b.getHalfTy())), like(x, b.getFloatTy()));
  // Shifted into place the exponent is short by 112, which a product makes good, denormals
  // included, without rounding.
  llvm::Value* bits = b.CreateZExt(x, like(x, b.getInt32Ty()));
  llvm::Value* size = b.CreateShl(b.CreateAnd(bits, integer(bits, 0x7fff)), integer(bits, 13));
  llvm::Value* sign = b.CreateShl(b.CreateAnd(bits, integer(bits, 0x8000)), integer(bits, 16));
  llvm::Value* scaled = float_of_bits(b, size);
  llvm::Value* finite = bits32(b, b.CreateFMul(scaled, real(scaled, 0x1p112)));
  llvm::Value* special = b.CreateOr(size, integer(size, 0x7f800000));
  llvm::Value* is_special = b.CreateICmpUGE(size, integer(size, 0x0f800000));
  return float_of_bits(b, b.CreateOr(b.CreateSelect(is_special, special, finite), sign));
}

llvm::Value* f32_to_f16(IRBuilder& b, const Target& target, llvm::Value* x) {
  if (target.f16_conversion)
    return b.CreateBitCast(b.CreateFPTrunc(x, like(x, b.getHalfTy())), like(x, b.getInt16Ty()));
  llvm::Value* bits = bits32(b, x);
  const auto c = [&](uint64_t value) { return integer(bits, value); };
  llvm::Value* sign = b.CreateAnd(b.CreateLShr(bits, c(16)), c(0x8000));
  llvm::Value* size = b.CreateAnd(bits, c(0x7fffffff));
  llvm::Value* kept = b.CreateLShr(size, c(13));
  // Rebias and round the lower 13 bits away, ties to even.
  llvm::Value* odd = b.CreateAnd(kept, c(1));
  llvm::Value* normal =
      b.CreateLShr(b.CreateSub(b.CreateAdd(size, odd), c(0x38000000 - 0xfff)), c(13));
  // Adding 1/2 puts the units of 2^-24 at the end of the significand: the addition rounds.
  llvm::Value* small = float_of_bits(b, size);
  llvm::Value* denormal =
      b.CreateSub(bits32(b, b.CreateFAdd(small, real(small, 0.5))), c(0x3f000000));
  llvm::Value* nan = b.CreateOr(b.CreateAnd(kept, c(0x1ff)), c(0x7e00));
  llvm::Value* result = b.CreateSelect(b.CreateICmpULT(size, c(0x38800000)), denormal, normal);
  result = b.CreateSelect(b.CreateICmpUGE(size, c(0x477ff000)), c(0x7c00), result);
  result = b.CreateSelect(b.CreateICmpUGT(size, c(0x7f800000)), nan, result);
  return narrow16(b, b.CreateOr(result, sign));
}

llvm::Value* f32_to_bf16(IRBuilder& b, llvm::Value* x) {
  llvm::Value* bits = bits32(b, x);
  const auto c = [&](uint64_t value) { return integer(bits, value); };
  llvm::Value* high = b.CreateLShr(bits, c(16));
  llvm::Value* up = b.CreateAdd(b.CreateAnd(high, c(1)), c(0x7fff));
  llvm::Value* rounded = b.CreateLShr(b.CreateAdd(bits, up), c(16));
  llvm::Value* size = b.CreateAnd(bits, c(0x7fffffff));
  llvm::Value* is_nan = b.CreateICmpUGT(size, c(0x7f800000));
  return narrow16(b, b.CreateSelect(is_nan, b.CreateOr(high, c(0x40)), rounded));
}

llvm::Value* half_to_f32(IRBuilder& b, const Target& target, llvm::Value* x, DType from) {
  if (from == DType::F16) return f16_to_f32(b, target, x);
  llvm::Value* wide = b.CreateZExt(x, like(x, b.getInt32Ty()));
  return float_of_bits(b, b.CreateShl(wide, integer(wide, 16)));
}

// f64 to f32, rounded to odd.
llvm::Value* f64_to_odd_f32(IRBuilder& b, llvm::Value* x) {
  llvm::Value* nearest = b.CreateFPTrunc(x, like(x, b.getFloatTy()));
  llvm::Value* back = b.CreateFPExt(nearest, x->getType());
  llvm::Value* inexact = b.CreateFCmpONE(back, x);  // not for NaN
  const auto size = [&](llvm::Value* v) {
    return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, v);
  };
  llvm::Value* too_large = b.CreateFCmpOGT(size(back), size(x));
  // The order of the bits is that of the magnitudes, so one less is the next towards zero.
  llvm::Value* bits = bits32(b, nearest);
  llvm::Value* truncated = b.CreateSub(bits, b.CreateZExt(too_large, bits->getType()));
  llvm::Value* odd = b.CreateOr(truncated, b.CreateZExt(inexact, bits->getType()));
  return float_of_bits(b, odd);
}

// An integer of 64 bits in f64, which has 53: the lowest 11 bits of large ones are replaced by
// whether any was set, so that the conversion is exact and a later rounding sees what was lost.
llvm::Value* i64_to_odd_f64(IRBuilder& b, llvm::Value* x, bool is_signed) {
  const auto c = [&](uint64_t value) { return integer(x, value); };
  llvm::Value* lost = b.CreateAdd(b.CreateAnd(x, c(0x7ff)), c(0x7ff));
  llvm::Value* sticky = b.CreateAnd(b.CreateOr(x, lost), c(~uint64_t(0x7ff)));
  constexpr uint64_t exact = uint64_t(1) << 53;
  llvm::Value* large = is_signed ? b.CreateICmpUGT(b.CreateAdd(x, c(exact)), c(2 * exact))
                                 : b.CreateICmpUGT(x, c(exact));
  llvm::Value* safe = b.CreateSelect(large, sticky, x);
  llvm::Type* type = like(x, b.getDoubleTy());
  return is_signed ? b.CreateSIToFP(safe, type) : b.CreateUIToFP(safe, type);
}

llvm::Value* to_half(IRBuilder& b, const Target& target, llvm::Value* x, DType from, DType to) {
  if (is_integer(from) && size_of(from) >= 4) {
    if (size_of(from) == 8) {
      x = i64_to_odd_f64(b, x, is_signed(from));
    } else {
      llvm::Type* type = like(x, b.getDoubleTy());
      x = is_signed(from) ? b.CreateSIToFP(x, type) : b.CreateUIToFP(x, type);
    }
    from = DType::F64;
  }
  x = from == DType::F64 ? f64_to_odd_f32(b, x) : emit_convert(b, target, x, from, DType::F32);
  return to == DType::F16 ? f32_to_f16(b, target, x) : f32_to_bf16(b, x);
}

llvm::Value* from_bool(IRBuilder& b, llvm::Value* x, DType to) {
  llvm::Type* type = register_type(b.getContext(), to, lanes_of(x));
  if (is_integer(to)) return b.CreateZExt(x, type);
  llvm::Constant* one = nullptr;
  if (is_half(to)) {
    one = llvm::ConstantInt::get(type, to == DType::F16 ? 0x3c00 : 0x3f80);
  } else {
    one = llvm::ConstantFP::get(type, 1.0);
  }
  return b.CreateSelect(x, one, llvm::Constant::getNullValue(type));
}

llvm::Value* to_bool(IRBuilder& b, llvm::Value* x, DType from) {
  if (is_half(from)) x = b.CreateAnd(x, integer(x, 0x7fff));
  if (is_integer(from) || is_half(from)) return b.CreateIsNotNull(x);
  return b.CreateFCmpUNE(x, real(x, 0.0));
}

}  // namespace

llvm::Value* emit_convert(IRBuilder& b, const Target& target, llvm::Value* x, DType from,
                          DType to) {
  if (from == to) return x;
  if (is_bool(from)) return from_bool(b, x, to);
  if (is_bool(to)) return to_bool(b, x, from);
  if (is_half(to)) return to_half(b, target, x, from, to);
  if (is_half(from))
    return emit_convert(b, target, half_to_f32(b, target, x, from), DType::F32, to);
  llvm::Type* type = register_type(b.getContext(), to, lanes_of(x));
  if (is_float(from) && is_float(to)) return b.CreateFPCast(x, type);
  if (is_float(from)) return is_signed(to) ? b.CreateFPToSI(x, type) : b.CreateFPToUI(x, type);
  if (is_float(to)) return is_signed(from) ? b.CreateSIToFP(x, type) : b.CreateUIToFP(x, type);
  return b.CreateIntCast(x, type, is_signed(from));
}

llvm::Value* emit_bitcast(IRBuilder& b, llvm::Value* x, DType from, DType to) {
  CERMET_CHECK(size_of(from) == size_of(to), "bitcast of {} to {}", name(from), name(to));
  llvm::Type* type = register_type(b.getContext(), to, lanes_of(x));
  if (is_bool(from)) return b.CreateZExt(x, type);
  if (is_bool(to)) return b.CreateIsNotNull(x);
  return b.CreateBitCast(x, type);
}

}  // namespace cermet::compiler::llvm_backend
