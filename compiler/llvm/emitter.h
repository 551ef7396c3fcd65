#pragma once
// The walk over one loops::Function. emit.cpp holds the structure: entry, blocks, loops;
// emit_memory.cpp loads and stores, emit_spaced.cpp those of every nth element; emit_lanes.cpp what
// goes lane by lane; emit_elementwise.h the rest.

#include <llvm/IR/Module.h>

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "compiler/llvm/types.h"
#include "compiler/loops.h"
#include "compiler/target.h"

namespace cermet::compiler::llvm_backend {

class Emitter {
 public:
  Emitter(const loops::Function& function, const Target& target, llvm::Module& module);
  void run();

 private:
  // The fields of KernelArguments, in order.
  enum class Field : uint8_t { Buffers, Integers, Scratch, Error, Helpers };

  const loops::Instruction& at(loops::Ref r) const { return function_.instructions[size_t(r.id)]; }
  llvm::Value* value(loops::Ref r) const { return values_[size_t(r.id)]; }
  llvm::Value* operand(const loops::Instruction& i, size_t which) const {
    return value(i.operands[which]);
  }
  DType operand_dtype(const loops::Instruction& i, size_t which) const {
    return at(i.operands[which]).dtype;
  }
  // The operand, or null if there are not so many: masks.
  llvm::Value* optional(const loops::Instruction& i, size_t which) const {
    return which < i.operands.size() ? operand(i, which) : nullptr;
  }

  void declare();
  void drop_unused();
  void emit_block(int32_t block);
  void emit_structure(loops::Ref ref);
  void emit_for(loops::Ref ref);
  void emit_if(const loops::Instruction& i);
  llvm::Value* emit_value(const loops::Instruction& i);
  llvm::Value* emit_constant(const loops::Instruction& i);
  llvm::Value* emit_splat(const loops::Instruction& i);
  llvm::Value* emit_zip(const loops::Instruction& i);
  void emit_prefetch(const loops::Instruction& i);
  llvm::Value* emit_ramp(const loops::Instruction& i);
  llvm::Value* emit_tail_mask(const loops::Instruction& i);

  // Runs body in a block of its own, when `condition` is set; rarely: it is moved out of the way.
  void guarded(llvm::Value* condition, bool rarely, const std::function<void()>& body);

  // yes() where the condition holds, else no(); both give a value, or null. `mostly`: whether it
  // holds as a rule, the other path is moved out of the way.
  llvm::Value* either(llvm::Value* condition, const std::function<llvm::Value*()>& yes,
                      const std::function<llvm::Value*()>& no, bool mostly = true);

  llvm::Value* field(Field which);
  llvm::Value* load_constant(llvm::Type* type, llvm::Value* table, int64_t index, const char* name);
  llvm::Value* base(int32_t buffer);
  llvm::Value* make_base(const loops::Buffer& buffer);
  llvm::Value* element(int32_t buffer, llvm::Value* position);
  llvm::Value* element(int32_t buffer, loops::Ref position);
  llvm::Value* outer_address(int32_t buffer, loops::Ref position, size_t depth);
  void prepare_aliasing();
  // Adds what is known about a buffer to an access to it.
  template <class Access>
  Access* annotate(Access* access, int32_t buffer) {
    describe(*access, buffer);
    return access;
  }
  void describe(llvm::Instruction& access, int32_t buffer);
  bool has_masked_moves(DType dtype) const;
  bool has_masked_gathers(DType dtype) const;
  llvm::Value* from_memory(DType dtype, llvm::Value* x);
  llvm::Value* to_memory(DType dtype, llvm::Value* x);
  // Lanes of a gather or scatter at every `step`th element; first: none for position 0.
  struct Spacing {
    loops::Ref first;
    int step;
  };
  std::optional<Spacing> spacing(const loops::Instruction& i) const;
  llvm::Value* spaced_mask(llvm::Value* mask, int lanes, int step);
  llvm::Value* spaced_address(const loops::Instruction& i, const Spacing& spaced);
  llvm::Value* emit_spaced_load(const loops::Instruction& i, const Spacing& spaced,
                                llvm::Value* mask);
  void emit_spaced_store(const loops::Instruction& i, const Spacing& spaced, llvm::Value* x,
                         llvm::Value* mask);
  llvm::Value* emit_load(const loops::Instruction& i);
  llvm::Value* emit_gather(const loops::Instruction& i);
  void emit_store(const loops::Instruction& i);
  void emit_scatter(const loops::Instruction& i);
  void emit_report(const loops::Instruction& i);
  llvm::Value* emit_call(const loops::Instruction& i);
  llvm::Value* emit_scalar_call(const loops::Instruction& i, llvm::ArrayRef<llvm::Value*> x);
  llvm::Value* emit_vector_call(const loops::Instruction& i);

  // Space that lives as long as the call; a vector put there; its lanes.
  llvm::AllocaInst* stack(llvm::Type* type, llvm::Align alignment);
  llvm::Value* on_stack(llvm::Value* x);
  llvm::Value* load_from_stack(llvm::Value* space, llvm::Type* type, llvm::Value* lane);
  void store_to_stack(llvm::Value* space, llvm::Value* x, llvm::Value* lane);
  // body(lane) in the order of the lanes, where the mask is set.
  void for_each_set_lane(llvm::Value* mask, const std::function<void(llvm::Value* lane)>& body);
  // Loads, or stores x, where the mask is set, one lane after the other.
  using Position = std::function<llvm::Value*(llvm::Value* lane)>;
  llvm::Value* load_lanes(const loops::Instruction& i, llvm::Value* mask, const Position& position);
  void store_lanes(const loops::Instruction& i, llvm::Value* x, llvm::Value* mask,
                   const Position& position);

  // A loop that is being written.
  struct Loop {
    llvm::BasicBlock* before;
    std::map<std::pair<int32_t, int32_t>, llvm::Value*> addresses;  // by buffer and position
  };

  const loops::Function& function_;
  const Target& target_;
  llvm::Module& module_;
  llvm::LLVMContext& context_;
  IRBuilder builder_;
  llvm::Function* kernel_ = nullptr;
  llvm::BasicBlock* entry_ = nullptr;
  std::vector<llvm::Value*> values_;             // by Ref
  std::vector<std::vector<llvm::Value*>> last_;  // by Ref of a For: its results
  std::vector<Loop> loops_;                      // outermost first
  std::vector<size_t> depth_;                    // by Ref: how many loops it is in
  std::vector<llvm::Value*> fields_;             // by Field
  std::vector<llvm::Value*> bases_;              // by buffer
  std::vector<llvm::MDNode*> scopes_, others_;   // by buffer: its alias scope, those of the others
};

}  // namespace cermet::compiler::llvm_backend
