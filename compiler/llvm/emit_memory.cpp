// Loads and stores. A masked access never touches the elements that its mask leaves out: it is an
// instruction that does not fault there, or, on processors without such, a plain access where the
// mask is full and a loop over the lanes where it is not.

#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/MDBuilder.h>

#include "compiler/llvm/emit_elementwise.h"
#include "compiler/llvm/emitter.h"
#include "ir/check.h"

namespace cermet::compiler::llvm_backend {

using loops::Buffer;
using loops::Instruction;
using loops::Opcode;
using loops::Ref;

namespace {

constexpr int64_t local_alignment = 64;
constexpr uint64_t least_streamed = 16;  // bytes: the narrowest store past the caches
constexpr uint64_t line_bytes = 64;
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

// Of a sum, the part that is known outside of a loop becomes a pointer there, so that loops keep
// one register for each walk through memory, and constants are left to the instructions.
llvm::Value* Emitter::element(int32_t buffer, Ref position) {
  const Instruction& sum = at(position);
  const DType dtype = function_.buffers[size_t(buffer)].dtype;
  if (sum.op != Opcode::Add || sum.lanes != 1) return element(buffer, value(position));
  const Ref x = sum.operands[0], y = sum.operands[1];
  if (at(y).op == Opcode::Constant)
    return builder_.CreateGEP(memory_type(context_, dtype), element(buffer, x), value(y));
  const bool first = depth_[size_t(x.id)] < depth_[size_t(y.id)];
  const Ref outer = first ? x : y, inner = first ? y : x;
  size_t depth = depth_[size_t(outer.id)];
  if (depth == depth_[size_t(inner.id)]) return element(buffer, value(position));
  const Buffer& b = function_.buffers[size_t(buffer)];
  if (b.kind == Buffer::Kind::Scratch) depth = std::max(depth, depth_[size_t(b.offset.id)]);
  if (depth == loops_.size()) return element(buffer, value(position));
  return builder_.CreateGEP(memory_type(context_, dtype), outer_address(buffer, outer, depth),
                            value(inner));
}

// The address of a position that is known before the loop inside of `depth` others.
llvm::Value* Emitter::outer_address(int32_t buffer, Ref position, size_t depth) {
  Loop& loop = loops_[depth];
  llvm::Value*& known = loop.addresses[{buffer, position.id}];
  if (!known) {
    const llvm::IRBuilderBase::InsertPointGuard guard(builder_);
    builder_.SetInsertPoint(loop.before->getTerminator());
    known = element(buffer, value(position));
  }
  return known;
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

void Emitter::describe(llvm::Instruction& access, int32_t buffer) {
  const Buffer& b = function_.buffers[size_t(buffer)];
  if (llvm::MDNode* own = scopes_[size_t(buffer)])
    access.setMetadata(llvm::LLVMContext::MD_alias_scope, own);
  if (llvm::MDNode* others = others_[size_t(buffer)])
    access.setMetadata(llvm::LLVMContext::MD_noalias, others);
  if (access.mayReadFromMemory() && !b.written && b.restrict_)
    access.setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(context_, {}));
}

llvm::Value* Emitter::from_memory(DType dtype, llvm::Value* x) {
  return is_bool(dtype) ? builder_.CreateIsNotNull(x) : x;
}
llvm::Value* Emitter::to_memory(DType dtype, llvm::Value* x) {
  return is_bool(dtype) ? builder_.CreateZExt(x, memory_type(context_, dtype, lanes_of(x))) : x;
}

// AVX-512 has masked moves of all elements, AVX2 of those of 4 and 8 bytes.
bool Emitter::has_masked_moves(DType dtype) const {
  return target_.masked_memory || (target_.vector_bytes >= 32 && size_of(dtype) >= 4);
}

llvm::Value* Emitter::emit_load(const Instruction& i) {
  const auto buffer = int32_t(i.imm);
  llvm::Type* type = memory_type(context_, i.dtype, i.lanes);
  llvm::Value* mask = optional(i, 1);
  const auto whole = [&]() -> llvm::Value* {
    llvm::Value* address = element(buffer, i.operands[0]);
    return annotate(builder_.CreateAlignedLoad(type, address, alignment_of(i.dtype)), buffer);
  };
  llvm::Constant* zero = llvm::Constant::getNullValue(type);
  llvm::Value* loaded = nullptr;
  if (!mask) {
    loaded = whole();
  } else if (i.lanes == 1) {
    loaded = either(mask, whole, [&]() -> llvm::Value* { return zero; });
  } else if (has_masked_moves(i.dtype)) {
    loaded = annotate(builder_.CreateMaskedLoad(type, element(buffer, i.operands[0]),
                                                alignment_of(i.dtype), mask, zero),
                      buffer);
  } else {
    loaded = either(all_lanes(builder_, mask), whole, [&] {
      return load_lanes(i, mask,
                        [&](llvm::Value* lane) { return builder_.CreateAdd(operand(i, 0), lane); });
    });
  }
  return from_memory(i.dtype, loaded);
}

// Into the L2 cache, for reading.
void Emitter::emit_prefetch(const Instruction& i) {
  constexpr uint32_t read = 0, data = 1;
  const uint32_t near = i.op == Opcode::PrefetchNear ? 3 : 2;
  llvm::Value* const address = element(int32_t(i.imm), i.operands[0]);
  builder_.CreateIntrinsic(
      llvm::Intrinsic::prefetch, {builder_.getPtrTy()},
      {address, builder_.getInt32(read), builder_.getInt32(near), builder_.getInt32(data)});
}

void Emitter::emit_store(const Instruction& i) {
  const auto buffer = int32_t(i.imm);
  llvm::Value* x = to_memory(i.dtype, operand(i, 1));
  llvm::Value* mask = optional(i, 2);
  const auto whole = [&]() -> llvm::Value* {
    llvm::Value* address = element(buffer, i.operands[0]);
    const uint64_t bytes = i.lanes * size_of(i.dtype);
    const bool streamed = function_.buffers[size_t(buffer)].streamed && bytes >= least_streamed;
    const llvm::Align alignment =
        streamed ? llvm::Align(std::min(bytes, line_bytes)) : alignment_of(i.dtype);
    llvm::StoreInst* store = builder_.CreateAlignedStore(x, address, alignment);
    if (streamed)
      store->setMetadata(
          llvm::LLVMContext::MD_nontemporal,
          llvm::MDNode::get(context_, llvm::ConstantAsMetadata::get(builder_.getInt32(1))));
    annotate(store, buffer);
    return nullptr;
  };
  const auto masked = [&]() -> llvm::Value* {
    annotate(
        builder_.CreateMaskedStore(x, element(buffer, i.operands[0]), alignment_of(i.dtype), mask),
        buffer);
    return nullptr;
  };
  const auto by_lanes = [&]() -> llvm::Value* {
    store_lanes(i, x, mask,
                [&](llvm::Value* lane) { return builder_.CreateAdd(operand(i, 0), lane); });
    return nullptr;
  };
  if (!mask) {
    whole();
  } else if (i.lanes == 1) {
    guarded(mask, false, whole);
  } else if (target_.masked_memory) {
    masked();
  } else if (has_masked_moves(i.dtype)) {
    // AVX2's masked stores are slow on some processors.
    either(all_lanes(builder_, mask), whole, masked);
  } else {
    either(all_lanes(builder_, mask), whole, by_lanes);
  }
}

// Gather instructions are no faster than scalar loads where they were measured, so they are used
// only where a mask would otherwise need a branch for each lane.
bool Emitter::has_masked_gathers(DType dtype) const {
  return target_.masked_memory && size_of(dtype) >= 4;
}

llvm::Value* Emitter::emit_gather(const Instruction& i) {
  if (i.lanes == 1) return emit_load(i);
  const auto buffer = int32_t(i.imm);
  llvm::Type* type = memory_type(context_, i.dtype, i.lanes);
  llvm::Value* positions = operand(i, 0);
  llvm::Value* mask = optional(i, 1);
  if (const auto spaced = spacing(i))
    return from_memory(i.dtype, emit_spaced_load(i, *spaced, mask));
  if (mask && has_masked_gathers(i.dtype)) {
    llvm::CallInst* gather =
        builder_.CreateMaskedGather(type, element(buffer, positions), alignment_of(i.dtype), mask,
                                    llvm::Constant::getNullValue(type));
    return from_memory(i.dtype, annotate(gather, buffer));
  }
  if (mask) {
    llvm::Value* space = on_stack(positions);
    return from_memory(i.dtype, load_lanes(i, mask, [&](llvm::Value* lane) {
                         return load_from_stack(space, builder_.getInt64Ty(), lane);
                       }));
  }
  llvm::Value* result = llvm::PoisonValue::get(type);
  for (uint64_t lane = 0; lane < i.lanes; ++lane) {
    llvm::Value* position = builder_.CreateExtractElement(positions, lane);
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
  llvm::Value* positions = operand(i, 0);
  llvm::Value* x = to_memory(i.dtype, operand(i, 1));
  llvm::Value* mask = optional(i, 2);
  if (const auto spaced = spacing(i)) return emit_spaced_store(i, *spaced, x, mask);
  if (mask && has_masked_gathers(i.dtype)) {
    annotate(
        builder_.CreateMaskedScatter(x, element(buffer, positions), alignment_of(i.dtype), mask),
        buffer);
  } else if (mask) {
    llvm::Value* space = on_stack(positions);
    store_lanes(i, x, mask, [&](llvm::Value* lane) {
      return load_from_stack(space, builder_.getInt64Ty(), lane);
    });
  } else {
    for (uint64_t lane = 0; lane < i.lanes; ++lane) {
      llvm::Value* position = builder_.CreateExtractElement(positions, lane);
      annotate(builder_.CreateAlignedStore(builder_.CreateExtractElement(x, lane),
                                           element(buffer, position), alignment_of(i.dtype)),
               buffer);
    }
  }
}

}  // namespace cermet::compiler::llvm_backend
