// What goes lane by lane, in loops out of the way of the usual path: masked accesses on processors
// without masked moves, reports, and calls of helpers. Vectors are put on the stack for it, where a
// lane can be reached by its number; so the code is short however many lanes there are.

#include <llvm/IR/MDBuilder.h>

#include <algorithm>
#include <bit>

#include "compiler/llvm/emit_elementwise.h"
#include "compiler/llvm/emitter.h"
#include "ir/check.h"

namespace cermet::compiler::llvm_backend {

using loops::Instruction;

namespace {

// A vector's own size, up to a cache line; more would cost an adjustment of the stack pointer.
llvm::Align stack_alignment(llvm::Type* type) {
  uint64_t bytes = (type->getScalarSizeInBits() + 7) / 8;
  if (const auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(type))
    bytes *= vector->getNumElements();
  return llvm::Align(std::min<uint64_t>(std::bit_ceil(bytes), 64));
}

}  // namespace

llvm::AllocaInst* Emitter::stack(llvm::Type* type, llvm::Align alignment) {
  IRBuilder entry(entry_, entry_->begin());
  llvm::AllocaInst* space = entry.CreateAlloca(type);
  space->setAlignment(alignment);
  return space;
}

llvm::Value* Emitter::on_stack(llvm::Value* x) {
  const llvm::Align alignment = stack_alignment(x->getType());
  llvm::Value* space = stack(x->getType(), alignment);
  builder_.CreateAlignedStore(x, space, alignment);
  return space;
}

llvm::Value* Emitter::load_from_stack(llvm::Value* space, llvm::Type* type, llvm::Value* lane) {
  return builder_.CreateAlignedLoad(type, builder_.CreateGEP(type, space, lane),
                                    stack_alignment(type));
}

void Emitter::store_to_stack(llvm::Value* space, llvm::Value* x, llvm::Value* lane) {
  builder_.CreateAlignedStore(x, builder_.CreateGEP(x->getType(), space, lane),
                              stack_alignment(x->getType()));
}

void Emitter::for_each_set_lane(llvm::Value* mask,
                                const std::function<void(llvm::Value* lane)>& body) {
  const int lanes = lanes_of(mask);
  llvm::Type* flag = builder_.getInt8Ty();
  llvm::Value* flags = on_stack(builder_.CreateZExt(mask, with_lanes(flag, lanes)));
  llvm::BasicBlock* const before = builder_.GetInsertBlock();
  auto* const loop = llvm::BasicBlock::Create(context_, "lane", kernel_);
  auto* const done = llvm::BasicBlock::Create(context_, "done", kernel_);
  builder_.CreateBr(loop);
  builder_.SetInsertPoint(loop);
  auto* lane = builder_.CreatePHI(builder_.getInt64Ty(), 2);
  lane->addIncoming(builder_.getInt64(0), before);
  guarded(builder_.CreateIsNotNull(load_from_stack(flags, flag, lane)), false, [&] { body(lane); });
  llvm::Value* next = builder_.CreateAdd(lane, builder_.getInt64(1));
  lane->addIncoming(next, builder_.GetInsertBlock());
  builder_.CreateCondBr(builder_.CreateICmpULT(next, builder_.getInt64(uint64_t(lanes))), loop,
                        done);
  builder_.SetInsertPoint(done);
}

llvm::Value* Emitter::either(llvm::Value* condition, const std::function<llvm::Value*()>& yes,
                             const std::function<llvm::Value*()>& no, bool mostly) {
  auto* const then = llvm::BasicBlock::Create(context_, mostly ? "then" : "rare", kernel_);
  auto* const otherwise = llvm::BasicBlock::Create(context_, mostly ? "rare" : "else", kernel_);
  auto* const after = llvm::BasicBlock::Create(context_, "after", kernel_);
  constexpr uint32_t often = 1 << 20;
  builder_.CreateCondBr(
      condition, then, otherwise,
      llvm::MDBuilder(context_).createBranchWeights(mostly ? often : 1, mostly ? 1 : often));
  const auto branch = [&](llvm::BasicBlock* block, const std::function<llvm::Value*()>& body) {
    builder_.SetInsertPoint(block);
    llvm::Value* result = body();
    llvm::BasicBlock* last = builder_.GetInsertBlock();
    builder_.CreateBr(after);
    return std::pair(result, last);
  };
  const auto [x, from_x] = branch(then, yes);
  const auto [y, from_y] = branch(otherwise, no);
  builder_.SetInsertPoint(after);
  if (!x) return nullptr;
  auto* phi = builder_.CreatePHI(x->getType(), 2);
  phi->addIncoming(x, from_x);
  phi->addIncoming(y, from_y);
  return phi;
}

llvm::Value* Emitter::load_lanes(const Instruction& i, llvm::Value* mask,
                                 const Position& position) {
  const auto buffer = int32_t(i.imm);
  llvm::Type *const type = memory_type(context_, i.dtype, i.lanes), *const scalar =
                                                                        type->getScalarType();
  llvm::Value* space = on_stack(llvm::Constant::getNullValue(type));
  for_each_set_lane(mask, [&](llvm::Value* lane) {
    llvm::Value* address = element(buffer, position(lane));
    auto* load = builder_.CreateAlignedLoad(scalar, address, llvm::Align(size_of(i.dtype)));
    store_to_stack(space, annotate(load, buffer), lane);
  });
  return builder_.CreateAlignedLoad(type, space, stack_alignment(type));
}

void Emitter::store_lanes(const Instruction& i, llvm::Value* x, llvm::Value* mask,
                          const Position& position) {
  const auto buffer = int32_t(i.imm);
  llvm::Value* space = on_stack(x);
  for_each_set_lane(mask, [&](llvm::Value* lane) {
    llvm::Value* v = load_from_stack(space, x->getType()->getScalarType(), lane);
    annotate(builder_.CreateAlignedStore(v, element(buffer, position(lane)),
                                         llvm::Align(size_of(i.dtype))),
             buffer);
  });
}

// Parts of the range run at the same time: whoever turns the code from 0 into its own owns the cell
// and writes the value. The cell is read when all parts are done.
void Emitter::emit_report(const Instruction& i) {
  llvm::Value* mask = operand(i, 0);
  llvm::Value* cell = field(Field::Error);
  guarded(any_lane(builder_, mask), true, [&] {
    llvm::Value* x = operand(i, 1);
    if (i.lanes > 1) {
      llvm::Value* bits = builder_.CreateBitCast(mask, builder_.getIntNTy(i.lanes));
      llvm::Value* first =
          builder_.CreateBinaryIntrinsic(llvm::Intrinsic::cttz, bits, builder_.getTrue());
      x = builder_.CreateExtractElement(x,
                                        builder_.CreateZExtOrTrunc(first, builder_.getInt64Ty()));
    }
    llvm::Value* exchange = builder_.CreateAtomicCmpXchg(
        cell, builder_.getInt64(0), builder_.getInt64(uint64_t(i.imm)), llvm::Align(8),
        llvm::AtomicOrdering::Monotonic, llvm::AtomicOrdering::Monotonic);
    guarded(builder_.CreateExtractValue(exchange, 1), true, [&] {
      llvm::Value* second = builder_.CreateConstInBoundsGEP1_64(builder_.getInt64Ty(), cell, 1);
      builder_.CreateAlignedStore(x, second, llvm::Align(8));
    });
  });
}

llvm::Value* Emitter::emit_call(const Instruction& i) {
  field(Field::Helpers);
  if (i.lanes > 1) return emit_vector_call(i);
  return either(
      operand(i, 0),
      [&] {
        llvm::SmallVector<llvm::Value*, 2> x;
        for (size_t k = 2; k < i.operands.size(); ++k) x.push_back(operand(i, k));
        return emit_scalar_call(i, x);
      },
      [&] { return operand(i, 1); }, false);
}

// helper(x...), which computes in f64.
llvm::Value* Emitter::emit_scalar_call(const Instruction& i, llvm::ArrayRef<llvm::Value*> x) {
  llvm::Type* wide = builder_.getDoubleTy();
  llvm::Value* slot = builder_.CreateConstInBoundsGEP1_64(builder_.getPtrTy(),
                                                          field(Field::Helpers), uint64_t(i.imm));
  llvm::Value* helper = builder_.CreateAlignedLoad(builder_.getPtrTy(), slot, llvm::Align(8));
  llvm::SmallVector<llvm::Value*, 2> arguments;
  for (llvm::Value* v : x) arguments.push_back(builder_.CreateFPCast(v, wide));
  const llvm::SmallVector<llvm::Type*, 2> types(arguments.size(), wide);
  auto* type = llvm::FunctionType::get(wide, types, false);
  llvm::CallInst* call = builder_.CreateCall(type, helper, arguments);
  call->setDoesNotThrow();
  return builder_.CreateFPCast(call, register_type(context_, i.dtype));
}

// The operands go through the stack, so that the usual path, on which no lane is set, pays for one
// test.
llvm::Value* Emitter::emit_vector_call(const Instruction& i) {
  llvm::Value *const mask = operand(i, 0), *const otherwise = operand(i, 1);
  llvm::Type *const type = otherwise->getType(), *const scalar = type->getScalarType();
  return either(
      any_lane(builder_, mask),
      [&]() -> llvm::Value* {
        llvm::SmallVector<llvm::Value*, 2> spaces;
        for (size_t k = 2; k < i.operands.size(); ++k) spaces.push_back(on_stack(operand(i, k)));
        llvm::Value* result = on_stack(otherwise);
        for_each_set_lane(mask, [&](llvm::Value* lane) {
          llvm::SmallVector<llvm::Value*, 2> x;
          for (llvm::Value* space : spaces) x.push_back(load_from_stack(space, scalar, lane));
          store_to_stack(result, emit_scalar_call(i, x), lane);
        });
        return builder_.CreateAlignedLoad(type, result, stack_alignment(type));
      },
      [&] { return otherwise; }, false);
}

}  // namespace cermet::compiler::llvm_backend
