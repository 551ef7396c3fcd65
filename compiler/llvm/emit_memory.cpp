// Loads, stores, and what reaches out of the kernel. A masked access never touches the elements
// that its mask leaves out: LLVM's masked intrinsics become instructions that do not fault there,
// or, on processors without them, a test and a scalar access for each lane.

#include <llvm/IR/MDBuilder.h>

#include "compiler/llvm/emit_elementwise.h"
#include "compiler/llvm/emitter.h"
#include "ir/check.h"

namespace cermet::compiler::llvm_backend {

using loops::Buffer;
using loops::Instruction;

namespace {

constexpr int64_t local_alignment = 64;
constexpr const char* field_names[] = {"buffers", "integers", "scratch", "error", "helpers"};

llvm::Align alignment_of(DType dtype) { return llvm::Align(size_of(dtype)); }

}  // namespace

// A value that is the same for the whole run of the kernel, read at its start.
llvm::Value* Emitter::load_constant(llvm::Type* type, llvm::Value* table, int64_t index,
                                    const char* name) {
  IRBuilder entry(entry_);
  llvm::Value* address = entry.CreateConstInBoundsGEP1_64(type, table, uint64_t(index));
  llvm::LoadInst* load = entry.CreateAlignedLoad(type, address, llvm::Align(8), name);
  load->setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(context_, {}));
  return load;
}

llvm::Value* Emitter::field(Field which) {
  llvm::Value*& known = fields_[size_t(which)];
  if (!known)
    known = load_constant(builder_.getPtrTy(), kernel_->getArg(0), int64_t(which),
                          field_names[size_t(which)]);
  return known;
}

llvm::AllocaInst* Emitter::stack(llvm::Type* type, llvm::Align alignment) {
  IRBuilder entry(entry_, entry_->begin());
  llvm::AllocaInst* space = entry.CreateAlloca(type);
  space->setAlignment(alignment);
  return space;
}

llvm::Value* Emitter::base(int32_t buffer) {
  const Buffer& b = function_.buffers[size_t(buffer)];
  // The offset into scratch is defined somewhere in the body, so its sum is made where it is used.
  if (b.kind == Buffer::Kind::Scratch)
    return builder_.CreateGEP(builder_.getInt8Ty(), field(Field::Scratch), value(b.offset));
  llvm::Value*& known = bases_[size_t(buffer)];
  if (!known) known = make_base(b);
  return known;
}

llvm::Value* Emitter::make_base(const Buffer& b) {
  if (b.kind == Buffer::Kind::Argument)
    return load_constant(builder_.getPtrTy(), field(Field::Buffers), b.index, "buffer");
  return stack(llvm::ArrayType::get(memory_type(context_, b.dtype), uint64_t(b.elements)),
               llvm::Align(local_alignment));
}

// Not "inbounds": where a mask is, positions that it leaves out may be anything.
llvm::Value* Emitter::element(int32_t buffer, llvm::Value* position) {
  const DType dtype = function_.buffers[size_t(buffer)].dtype;
  return builder_.CreateGEP(memory_type(context_, dtype), base(buffer), position);
}

void Emitter::prepare_aliasing() {
  const size_t count = function_.buffers.size();
  scopes_.assign(count, nullptr), others_.assign(count, nullptr);
  llvm::MDBuilder metadata(context_);
  llvm::MDNode* domain = metadata.createAnonymousAliasScopeDomain(function_.name);
  std::vector<llvm::Metadata*> scopes(count);
  for (size_t i = 0; i < count; ++i)
    if (function_.buffers[i].restrict_) scopes[i] = metadata.createAnonymousAliasScope(domain);
  for (size_t i = 0; i < count; ++i) {
    llvm::SmallVector<llvm::Metadata*, 16> others;
    for (size_t k = 0; k < count; ++k)
      if (k != i && scopes[k]) others.push_back(scopes[k]);
    if (scopes[i]) scopes_[i] = llvm::MDNode::get(context_, scopes[i]);
    if (!others.empty()) others_[i] = llvm::MDNode::get(context_, others);
  }
}

template <class Access>
Access* Emitter::annotate(Access* access, int32_t buffer) {
  const Buffer& b = function_.buffers[size_t(buffer)];
  if (llvm::MDNode* own = scopes_[size_t(buffer)])
    access->setMetadata(llvm::LLVMContext::MD_alias_scope, own);
  if (llvm::MDNode* others = others_[size_t(buffer)])
    access->setMetadata(llvm::LLVMContext::MD_noalias, others);
  if (access->mayReadFromMemory() && !b.written && b.restrict_)
    access->setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(context_, {}));
  return access;
}

llvm::Value* Emitter::from_memory(DType dtype, llvm::Value* x) {
  return is_bool(dtype) ? builder_.CreateIsNotNull(x) : x;
}
llvm::Value* Emitter::to_memory(DType dtype, llvm::Value* x) {
  return is_bool(dtype) ? builder_.CreateZExt(x, memory_type(context_, dtype, lanes_of(x))) : x;
}

llvm::Value* Emitter::emit_load(const Instruction& i) {
  const auto buffer = int32_t(i.imm);
  llvm::Type* type = memory_type(context_, i.dtype, i.lanes);
  llvm::Value* mask = optional(i, 1);
  const auto whole = [&] {
    llvm::Value* address = element(buffer, operand(i, 0));
    return annotate(builder_.CreateAlignedLoad(type, address, alignment_of(i.dtype)), buffer);
  };
  if (!mask) return from_memory(i.dtype, whole());
  llvm::Constant* zero = llvm::Constant::getNullValue(type);
  if (i.lanes > 1) {
    llvm::CallInst* load = builder_.CreateMaskedLoad(type, element(buffer, operand(i, 0)),
                                                     alignment_of(i.dtype), mask, zero);
    return from_memory(i.dtype, annotate(load, buffer));
  }
  llvm::BasicBlock* before = builder_.GetInsertBlock();
  llvm::Value* loaded = nullptr;
  guarded(mask, false, [&] { loaded = whole(); });
  auto* phi = builder_.CreatePHI(type, 2);
  phi->addIncoming(zero, before);
  phi->addIncoming(loaded, llvm::cast<llvm::Instruction>(loaded)->getParent());
  return from_memory(i.dtype, phi);
}

void Emitter::emit_store(const Instruction& i) {
  const auto buffer = int32_t(i.imm);
  llvm::Value* x = to_memory(i.dtype, operand(i, 1));
  llvm::Value* mask = optional(i, 2);
  const auto whole = [&] {
    llvm::Value* address = element(buffer, operand(i, 0));
    annotate(builder_.CreateAlignedStore(x, address, alignment_of(i.dtype)), buffer);
  };
  if (!mask) return whole();
  if (i.lanes == 1) return guarded(mask, false, whole);
  annotate(
      builder_.CreateMaskedStore(x, element(buffer, operand(i, 0)), alignment_of(i.dtype), mask),
      buffer);
}

// Gather instructions are no faster than scalar loads where they were measured, so they are used
// only where a mask would otherwise need a branch for each lane.
llvm::Value* Emitter::emit_gather(const Instruction& i) {
  if (i.lanes == 1) return emit_load(i);
  const auto buffer = int32_t(i.imm);
  llvm::Type* type = memory_type(context_, i.dtype, i.lanes);
  if (llvm::Value* mask = optional(i, 1)) {
    llvm::CallInst* gather =
        builder_.CreateMaskedGather(type, element(buffer, operand(i, 0)), alignment_of(i.dtype),
                                    mask, llvm::Constant::getNullValue(type));
    return from_memory(i.dtype, annotate(gather, buffer));
  }
  llvm::Value* result = llvm::PoisonValue::get(type);
  for (uint64_t lane = 0; lane < i.lanes; ++lane) {
    llvm::Value* position = builder_.CreateExtractElement(operand(i, 0), lane);
    auto* load = builder_.CreateAlignedLoad(memory_type(context_, i.dtype),
                                            element(buffer, position), alignment_of(i.dtype));
    result = builder_.CreateInsertElement(result, annotate(load, buffer), lane);
  }
  return from_memory(i.dtype, result);
}

// Scatter instructions write in the order of the lanes, too.
void Emitter::emit_scatter(const Instruction& i) {
  if (i.lanes == 1) return emit_store(i);
  const auto buffer = int32_t(i.imm);
  llvm::Value* x = to_memory(i.dtype, operand(i, 1));
  if (llvm::Value* mask = optional(i, 2)) {
    annotate(builder_.CreateMaskedScatter(x, element(buffer, operand(i, 0)), alignment_of(i.dtype),
                                          mask),
             buffer);
    return;
  }
  for (uint64_t lane = 0; lane < i.lanes; ++lane) {
    llvm::Value* position = builder_.CreateExtractElement(operand(i, 0), lane);
    annotate(builder_.CreateAlignedStore(builder_.CreateExtractElement(x, lane),
                                         element(buffer, position), alignment_of(i.dtype)),
             buffer);
  }
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
  if (i.lanes > 1) return emit_vector_call(i);
  llvm::BasicBlock* before = builder_.GetInsertBlock();
  llvm::Value* called = nullptr;
  field(Field::Helpers);
  guarded(operand(i, 0), true, [&] {
    llvm::SmallVector<llvm::Value*, 2> x;
    for (size_t k = 2; k < i.operands.size(); ++k) x.push_back(operand(i, k));
    called = emit_scalar_call(i, x);
  });
  auto* phi = builder_.CreatePHI(called->getType(), 2);
  phi->addIncoming(operand(i, 1), before);
  phi->addIncoming(called, llvm::cast<llvm::Instruction>(called)->getParent());
  return phi;
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
  llvm::Value* result = builder_.CreateFPCast(call, register_type(context_, i.dtype));
  return result;
}

// The operands go through the stack, so that the usual path, on which no lane is set, pays for one
// test.
llvm::Value* Emitter::emit_vector_call(const Instruction& i) {
  llvm::Value *const mask = operand(i, 0), *const otherwise = operand(i, 1);
  llvm::Type *const type = otherwise->getType(), *const scalar = type->getScalarType();
  const llvm::Align alignment(local_alignment);
  const auto lane_of = [&](llvm::Value* space, llvm::Value* lane) {
    return builder_.CreateInBoundsGEP(scalar, space, lane);
  };
  field(Field::Helpers);
  llvm::BasicBlock* const before = builder_.GetInsertBlock();
  llvm::Value* called = nullptr;
  guarded(any_lane(builder_, mask), true, [&] {
    llvm::SmallVector<llvm::AllocaInst*, 3> spaces;
    for (size_t k = 1; k < i.operands.size(); ++k) {
      spaces.push_back(stack(type, alignment));
      builder_.CreateAlignedStore(operand(i, k), spaces.back(), alignment);
    }
    llvm::Value* bits = builder_.CreateBitCast(mask, builder_.getIntNTy(i.lanes));
    llvm::BasicBlock* const head = builder_.GetInsertBlock();
    auto* const loop = llvm::BasicBlock::Create(context_, "lane", kernel_);
    auto* const done = llvm::BasicBlock::Create(context_, "called", kernel_);
    builder_.CreateBr(loop);
    builder_.SetInsertPoint(loop);
    auto* left = builder_.CreatePHI(bits->getType(), 2);
    left->addIncoming(bits, head);
    llvm::Value* lane = builder_.CreateZExtOrTrunc(
        builder_.CreateBinaryIntrinsic(llvm::Intrinsic::cttz, left, builder_.getTrue()),
        builder_.getInt64Ty());
    llvm::SmallVector<llvm::Value*, 2> x;
    for (size_t k = 1; k < spaces.size(); ++k)
      x.push_back(builder_.CreateLoad(scalar, lane_of(spaces[k], lane)));
    builder_.CreateStore(emit_scalar_call(i, x), lane_of(spaces[0], lane));
    // Clears the lowest set bit.
    llvm::Value* next = builder_.CreateAnd(
        left, builder_.CreateSub(left, llvm::ConstantInt::get(left->getType(), 1)));
    left->addIncoming(next, builder_.GetInsertBlock());
    builder_.CreateCondBr(builder_.CreateIsNull(next), done, loop);
    builder_.SetInsertPoint(done);
    called = builder_.CreateAlignedLoad(type, spaces[0], alignment);
  });
  auto* phi = builder_.CreatePHI(type, 2);
  phi->addIncoming(otherwise, before);
  phi->addIncoming(called, llvm::cast<llvm::Instruction>(called)->getParent());
  return phi;
}

}  // namespace cermet::compiler::llvm_backend
