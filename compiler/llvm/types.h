#pragma once
// How the loop IR's values look in LLVM: a scalar for one lane, a fixed vector for more. Bool is i1
// in registers and a byte in memory. f16 and bf16 are i16: nothing computes with them, and LLVM
// would call library functions for LLVM's own 16-bit float types on processors that lack them.

#include <llvm/IR/DerivedTypes.h>
#include <llvm/IR/IRBuilder.h>

#include "cermet/dtype.h"

namespace cermet::compiler::llvm_backend {

using IRBuilder = llvm::IRBuilder<>;

inline llvm::Type* with_lanes(llvm::Type* type, int lanes) {
  return lanes == 1 ? type : llvm::FixedVectorType::get(type, unsigned(lanes));
}

inline llvm::Type* register_type(llvm::LLVMContext& context, DType dtype, int lanes = 1) {
  llvm::Type* type = nullptr;
  if (dtype == DType::F32) {
    type = llvm::Type::getFloatTy(context);
  } else if (dtype == DType::F64) {
    type = llvm::Type::getDoubleTy(context);
  } else {
    type = llvm::IntegerType::get(context, is_bool(dtype) ? 1 : unsigned(bits_of(dtype)));
  }
  return with_lanes(type, lanes);
}

inline llvm::Type* memory_type(llvm::LLVMContext& context, DType dtype, int lanes = 1) {
  return register_type(context, is_bool(dtype) ? DType::U8 : dtype, lanes);
}

inline int lanes_of(const llvm::Value* value) {
  const auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(value->getType());
  return vector ? int(vector->getNumElements()) : 1;
}

}  // namespace cermet::compiler::llvm_backend
