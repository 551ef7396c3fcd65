// Lanes at every second or fourth element, as in pooling. A gather of 16 lanes costs about as much
// as 16 loads; the whole range that they lie in is two or four vectors. So it is one wide masked
// access, which LLVM cuts into vectors, and a shuffle: elements between the lanes are masked out,
// they are neither read nor written. Needs masked moves of all element sizes (AVX-512).

#include "compiler/llvm/emitter.h"

namespace cermet::compiler::llvm_backend {

using loops::Instruction;
using loops::Opcode;
using loops::Ref;

namespace {

constexpr int64_t widest_bytes = 256;  // four vectors

// One lane in `step` of a vector `step` times as long.
llvm::SmallVector<int, 64> spread_lanes(int lanes, int step, int filler) {
  llvm::SmallVector<int, 64> out(size_t(lanes) * size_t(step), filler);
  for (int lane = 0; lane < lanes; ++lane) out[size_t(lane) * size_t(step)] = lane;
  return out;
}

llvm::SmallVector<int, 64> picked_lanes(int lanes, int step) {
  llvm::SmallVector<int, 64> out;
  for (int lane = 0; lane < lanes; ++lane) out.push_back(lane * step);
  return out;
}

}  // namespace

// Positions written as first + ramp(0) * step, with a step that is part of the code.
std::optional<Emitter::Spacing> Emitter::spacing(const Instruction& i) const {
  if (!target_.masked_memory) return {};
  const Instruction* steps = &at(i.operands[0]);
  Ref first;
  if (steps->op == Opcode::Add) {
    const bool left = at(steps->operands[0]).op == Opcode::Splat;
    first = steps->operands[left ? 0 : 1];
    if (at(first).op != Opcode::Splat) return {};
    first = at(first).operands[0];
    steps = &at(steps->operands[left ? 1 : 0]);
  }
  if (steps->op != Opcode::Mul || at(steps->operands[0]).op != Opcode::Ramp ||
      at(steps->operands[1]).op != Opcode::Constant)
    return {};
  const Instruction& start = at(at(steps->operands[0]).operands[0]);
  const int64_t step = at(steps->operands[1]).imm;
  const DType dtype = function_.buffers[size_t(i.imm)].dtype;
  if (start.op != Opcode::Constant || start.imm != 0 || (step != 2 && step != 4) ||
      int64_t(i.lanes) * step * int64_t(size_of(dtype)) > widest_bytes)
    return {};
  return Spacing{first, int(step)};
}

llvm::Value* Emitter::spaced_mask(llvm::Value* mask, int lanes, int step) {
  llvm::Type* type = llvm::FixedVectorType::get(builder_.getInt1Ty(), unsigned(lanes));
  if (!mask) mask = llvm::Constant::getAllOnesValue(type);
  return builder_.CreateShuffleVector(mask, llvm::Constant::getNullValue(type),
                                      spread_lanes(lanes, step, lanes));
}

llvm::Value* Emitter::spaced_address(const Instruction& i, const Spacing& spaced) {
  return element(int32_t(i.imm), spaced.first ? value(spaced.first) : builder_.getInt64(0));
}

llvm::Value* Emitter::emit_spaced_load(const Instruction& i, const Spacing& spaced,
                                       llvm::Value* mask) {
  llvm::Type* type = memory_type(context_, i.dtype, i.lanes * uint32_t(spaced.step));
  llvm::CallInst* wide = builder_.CreateMaskedLoad(
      type, spaced_address(i, spaced), llvm::Align(size_of(i.dtype)),
      spaced_mask(mask, i.lanes, spaced.step), llvm::Constant::getNullValue(type));
  return builder_.CreateShuffleVector(annotate(wide, int32_t(i.imm)),
                                      picked_lanes(i.lanes, spaced.step));
}

void Emitter::emit_spaced_store(const Instruction& i, const Spacing& spaced, llvm::Value* x,
                                llvm::Value* mask) {
  llvm::Value* wide = builder_.CreateShuffleVector(x, spread_lanes(i.lanes, spaced.step, -1));
  annotate(
      builder_.CreateMaskedStore(wide, spaced_address(i, spaced), llvm::Align(size_of(i.dtype)),
                                 spaced_mask(mask, i.lanes, spaced.step)),
      int32_t(i.imm));
}

}  // namespace cermet::compiler::llvm_backend
