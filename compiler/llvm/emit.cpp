#include "compiler/llvm/emit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsX86.h>
#include <llvm/IR/MDBuilder.h>
#include <llvm/Transforms/Utils/Local.h>

#include <algorithm>

#include "compiler/llvm/emit_elementwise.h"
#include "compiler/llvm/emitter.h"
#include "compiler/loops_verify.h"
#include "ir/check.h"

namespace cermet::compiler::llvm_backend {

using loops::Instruction;
using loops::Opcode;
using loops::Ref;

Emitter::Emitter(const loops::Function& function, const Target& target, llvm::Module& module)
    : function_(function),
      target_(target),
      module_(module),
      context_(module.getContext()),
      builder_(context_),
      values_(function.instructions.size()),
      last_(function.instructions.size()),
      depth_(function.instructions.size()),
      fields_(5),
      bases_(function.buffers.size()) {}

void Emitter::run() {
  CERMET_CHECK(function_.threads == 0, "kernel {} is for a GPU", function_.name);
  declare();
  prepare_aliasing();
  entry_ = llvm::BasicBlock::Create(context_, "entry", kernel_);
  llvm::BasicBlock* body = llvm::BasicBlock::Create(context_, "body", kernel_);
  builder_.SetInsertPoint(body);
  emit_block(0);
  // Stores past the caches are seen by other threads in order only after a fence.
  for (const loops::Buffer& b : function_.buffers)
    if (b.streamed) {
      builder_.CreateIntrinsic(llvm::Intrinsic::x86_sse_sfence, {}, {});
      break;
    }
  builder_.CreateRetVoid();
  // Pointers and stack space were added to the entry as they were met.
  builder_.SetInsertPoint(entry_);
  builder_.CreateBr(body);
  drop_unused();
}

// Ramps whose comparison became a mask without them, positions that became addresses.
void Emitter::drop_unused() {
  for (llvm::BasicBlock& block : llvm::reverse(*kernel_))
    for (llvm::Instruction& i : llvm::make_early_inc_range(llvm::reverse(block)))
      if (llvm::isInstructionTriviallyDead(&i)) i.eraseFromParent();
}

void Emitter::declare() {
  llvm::Type* const index = builder_.getInt64Ty();
  auto* type =
      llvm::FunctionType::get(builder_.getVoidTy(), {builder_.getPtrTy(), index, index}, false);
  kernel_ =
      llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, function_.name, module_);
  kernel_->setDSOLocal(true);
  kernel_->addFnAttr(llvm::Attribute::NoUnwind);
  kernel_->addFnAttr("no-builtins");
  kernel_->addFnAttr("target-cpu", target_.cpu);
  if (!target_.features.empty()) kernel_->addFnAttr("target-features", target_.features);
  // Some processors are described as preferring half their width; the lowering has decided already.
  kernel_->addFnAttr("prefer-vector-width", std::to_string(target_.vector_bytes * 8));
  llvm::Argument* arguments = kernel_->getArg(0);
  arguments->addAttr(llvm::Attribute::NoAlias);
  arguments->addAttr(llvm::Attribute::ReadOnly);
  arguments->addAttr(llvm::Attribute::NonNull);
  static constexpr const char* names[] = {"arguments", "begin", "end"};
  for (llvm::Argument& argument : kernel_->args()) argument.setName(names[argument.getArgNo()]);
}

void Emitter::emit_block(int32_t block) {
  for (Ref ref : function_.blocks[size_t(block)].instructions) {
    const Instruction& i = at(ref);
    if (class_of(i.op) == loops::OpcodeClass::Structure) {
      emit_structure(ref);
    } else {
      values_[size_t(ref.id)] = emit_value(i);
      depth_[size_t(ref.id)] = loops_.size();
    }
  }
}

void Emitter::emit_structure(Ref ref) {
  if (at(ref).op == Opcode::For) {
    emit_for(ref);
  } else {
    emit_if(at(ref));
  }
}

// Rotated: a test before the loop, and one at the end of each round.
void Emitter::emit_for(Ref ref) {
  const Instruction& loop = at(ref);
  const loops::Block& block = function_.blocks[size_t(loop.block)];
  const size_t carried = loop.operands.size() - 2;
  llvm::Value *const lower = operand(loop, 0), *const upper = operand(loop, 1);
  llvm::BasicBlock* const before = builder_.GetInsertBlock();
  auto* const body = llvm::BasicBlock::Create(context_, "loop", kernel_);
  auto* const after = llvm::BasicBlock::Create(context_, "after", kernel_);
  builder_.CreateCondBr(builder_.CreateICmpSLT(lower, upper), body, after);

  builder_.SetInsertPoint(body);
  loops_.push_back({before, {}});
  std::vector<llvm::PHINode*> parameters;
  for (size_t k = 0; k <= carried; ++k) {
    llvm::Value* initial = k == 0 ? lower : operand(loop, k + 1);
    auto* phi = builder_.CreatePHI(initial->getType(), 2);
    phi->addIncoming(initial, before);
    values_[size_t(block.parameters[k].id)] = phi;
    depth_[size_t(block.parameters[k].id)] = loops_.size();
    parameters.push_back(phi);
  }
  emit_block(loop.block);
  llvm::Value* next = builder_.CreateNSWAdd(parameters[0], builder_.getInt64(uint64_t(loop.imm)));
  llvm::BasicBlock* const last = builder_.GetInsertBlock();
  parameters[0]->addIncoming(next, last);
  for (size_t k = 0; k < carried; ++k) parameters[k + 1]->addIncoming(value(block.yields[k]), last);
  builder_.CreateCondBr(builder_.CreateICmpSLT(next, upper), body, after);
  loops_.pop_back();

  builder_.SetInsertPoint(after);
  for (size_t k = 0; k < carried; ++k) {
    auto* phi = builder_.CreatePHI(parameters[k + 1]->getType(), 2);
    phi->addIncoming(operand(loop, k + 2), before);
    phi->addIncoming(value(block.yields[k]), last);
    last_[size_t(ref.id)].push_back(phi);
  }
}

void Emitter::emit_if(const Instruction& i) {
  guarded(operand(i, 0), false, [&] { emit_block(i.block); });
}

void Emitter::guarded(llvm::Value* condition, bool rarely, const std::function<void()>& body) {
  auto* const then = llvm::BasicBlock::Create(context_, rarely ? "rare" : "then", kernel_);
  auto* const after = llvm::BasicBlock::Create(context_, "after", kernel_);
  llvm::MDNode* weights =
      rarely ? llvm::MDBuilder(context_).createBranchWeights(1, 1 << 20) : nullptr;
  builder_.CreateCondBr(condition, then, after, weights);
  builder_.SetInsertPoint(then);
  body();
  builder_.CreateBr(after);
  builder_.SetInsertPoint(after);
}

llvm::Value* Emitter::emit_value(const Instruction& i) {
  switch (i.op) {
    case Opcode::Constant: return emit_constant(i);
    case Opcode::Argument:
      return load_constant(builder_.getInt64Ty(), field(Field::Integers), i.imm, "argument");
    case Opcode::Begin: return kernel_->getArg(1);
    case Opcode::End: return kernel_->getArg(2);
    case Opcode::Convert:
      return emit_convert(builder_, target_, operand(i, 0), operand_dtype(i, 0), i.dtype);
    case Opcode::Bitcast:
      return emit_bitcast(builder_, operand(i, 0), operand_dtype(i, 0), i.dtype);
    case Opcode::Splat: return emit_splat(i);
    case Opcode::Ramp: return emit_ramp(i);
    case Opcode::Lt:
      if (llvm::Value* mask = emit_tail_mask(i)) return mask;
      break;
    case Opcode::Extract:
      return lanes_of(operand(i, 0)) == 1
                 ? operand(i, 0)
                 : builder_.CreateExtractElement(operand(i, 0), uint64_t(i.imm));
    case Opcode::ReduceAdd:
    case Opcode::ReduceMul:
    case Opcode::ReduceMax:
    case Opcode::ReduceMin:
    case Opcode::ReduceOr:
    case Opcode::ReduceAnd: return emit_reduction(builder_, i.op, i.dtype, operand(i, 0));
    case Opcode::Load: return emit_load(i);
    case Opcode::GatherLoad: return emit_gather(i);
    case Opcode::ZipLow:
    case Opcode::ZipHigh: return emit_zip(i);
    case Opcode::Lookup: return emit_lookup(builder_, lookup_rows[size_t(i.imm)], operand(i, 0));
    case Opcode::Prefetch:
    case Opcode::PrefetchNear: emit_prefetch(i); return nullptr;
    case Opcode::Store: emit_store(i); return nullptr;
    case Opcode::ScatterStore: emit_scatter(i); return nullptr;
    case Opcode::Report: emit_report(i); return nullptr;
    case Opcode::CallScalar: return emit_call(i);
    case Opcode::Result: return last_[size_t(i.operands[0].id)][size_t(i.imm)];
    default: break;
  }
  if (i.op == Opcode::Fma)
    CERMET_CHECK(target_.fma, "fma for {}, which has no such instruction", target_.cpu);
  llvm::SmallVector<llvm::Value*, 3> operands;
  for (Ref r : i.operands) operands.push_back(value(r));
  if (i.op == Opcode::Select && target_.masked_memory)
    if (llvm::Value* out = emit_extremum_select(builder_, i.dtype, operands)) return out;
  return emit_elementwise(builder_, i.op, at(i.operands.back()).dtype, operands);
}

llvm::Value* Emitter::emit_constant(const Instruction& i) {
  llvm::Type* type = register_type(context_, i.dtype);
  llvm::Constant* scalar = nullptr;
  if (is_bool(i.dtype)) {
    scalar = builder_.getInt1(i.imm != 0);
  } else {
    const auto bits = unsigned(bits_of(i.dtype));
    llvm::Constant* pattern =
        llvm::ConstantInt::get(context_, llvm::APInt(64, uint64_t(i.imm)).trunc(bits));
    scalar = llvm::ConstantExpr::getBitCast(pattern, type);
  }
  if (i.lanes == 1) return scalar;
  return llvm::ConstantVector::getSplat(llvm::ElementCount::getFixed(i.lanes), scalar);
}

llvm::Value* Emitter::emit_splat(const Instruction& i) {
  return i.lanes == 1 ? operand(i, 0) : builder_.CreateVectorSplat(i.lanes, operand(i, 0));
}

llvm::Value* Emitter::emit_ramp(const Instruction& i) {
  if (i.lanes == 1) return operand(i, 0);
  llvm::SmallVector<llvm::Constant*, 64> steps;
  for (uint64_t k = 0; k < i.lanes; ++k) steps.push_back(builder_.getInt64(k));
  return builder_.CreateAdd(builder_.CreateVectorSplat(i.lanes, operand(i, 0)),
                            llvm::ConstantVector::get(steps));
}

llvm::Value* Emitter::emit_zip(const Instruction& i) {
  const int first = i.op == Opcode::ZipLow ? 0 : i.lanes / 2;
  llvm::SmallVector<int, 64> lanes;
  for (int k = 0; k < i.lanes; ++k) lanes.push_back(first + k / 2 + (k % 2) * i.lanes);
  return builder_.CreateShuffleVector(operand(i, 0), operand(i, 1), lanes);
}

// ramp(start) < bound, the mask of a last vector that is not full, or null if this is none.
// Compared as they stand, positions of 64 bits would fill several registers. The number of lanes
// below the bound is a small integer, so elements are as narrow as makes all lanes fit into one.
llvm::Value* Emitter::emit_tail_mask(const Instruction& i) {
  const Instruction &ramp = at(i.operands[0]), &splat = at(i.operands[1]);
  if (i.lanes == 1 || ramp.op != Opcode::Ramp) return nullptr;
  llvm::Value* bound = nullptr;
  if (splat.op == Opcode::Splat) bound = operand(splat, 0);
  if (splat.op == Opcode::Constant) bound = builder_.getInt64(uint64_t(splat.imm));
  if (!bound) return nullptr;
  // Both are positions, far from the ends of 64 bits.
  llvm::Value* start =
      builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, operand(ramp, 0), bound);
  llvm::Value* rest = builder_.CreateSub(bound, start);
  rest = builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, rest, builder_.getInt64(i.lanes));
  if (target_.masked_memory && i.lanes <= 64) {  // a register of masks: ones cut off by BMI2's bzhi
    llvm::Value* ones = builder_.CreateIntrinsic(llvm::Intrinsic::x86_bmi_bzhi_64, {},
                                                 {builder_.getInt64(-1), rest});
    return builder_.CreateBitCast(builder_.CreateTrunc(ones, builder_.getIntNTy(i.lanes)),
                                  with_lanes(builder_.getInt1Ty(), i.lanes));
  }
  const int least_bits = i.lanes >= 128 ? 16 : 8;  // signed, the number of lanes included
  const int bits = std::clamp(target_.vector_bytes * 8 / i.lanes, least_bits, 64);
  llvm::IntegerType* type = builder_.getIntNTy(unsigned(bits));
  llvm::SmallVector<llvm::Constant*, 64> lanes;
  for (uint64_t k = 0; k < i.lanes; ++k) lanes.push_back(llvm::ConstantInt::get(type, k));
  llvm::Value* count = builder_.CreateVectorSplat(i.lanes, builder_.CreateTrunc(rest, type));
  return builder_.CreateICmpSLT(llvm::ConstantVector::get(lanes), count);
}

std::unique_ptr<llvm::Module> emit(const loops::Function& function, const Target& target,
                                   llvm::LLVMContext& context) {
  const std::vector<std::string> wrong = loops::verify_loops(function);
  if (!wrong.empty())
    throw InternalError(
        fmt::format("kernel {}: invalid loop IR\n  {}", function.name, fmt::join(wrong, "\n  ")));
  auto module = std::make_unique<llvm::Module>(function.name, context);
  Emitter(function, target, *module).run();
  return module;
}

}  // namespace cermet::compiler::llvm_backend
