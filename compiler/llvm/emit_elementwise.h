#pragma once
// The opcodes that work lane by lane or across the lanes of one value, and the conversions, as LLVM
// instructions that every target of ours turns into machine code without a library call.

#include <llvm/ADT/ArrayRef.h>

#include "compiler/llvm/types.h"
#include "compiler/lookup_tables.h"
#include "compiler/loops.h"
#include "compiler/target.h"

namespace cermet::compiler::llvm_backend {

// An opcode from Add to Select (not Convert, not Bitcast). `dtype` is that of the last operand.
llvm::Value* emit_elementwise(IRBuilder& b, loops::Opcode op, DType dtype,
                              llvm::ArrayRef<llvm::Value*> operands);

// Where a Select takes the lesser or the greater of two registers of AVX-512: the instruction for
// that, which takes the second where one is NaN; else null. LLVM takes selects that it sees apart:
// of (1 < x ? 1 : x) * y it makes a comparison, a multiplication and a masked move.
llvm::Value* emit_extremum_select(IRBuilder& b, DType dtype, llvm::ArrayRef<llvm::Value*> operands);

// The numbers that the low five bits of i32 lanes say.
llvm::Value* emit_lookup(IRBuilder& b, const float (&row)[lookup_entries], llvm::Value* index);

// ReduceAdd to ReduceAnd.
llvm::Value* emit_reduction(IRBuilder& b, loops::Opcode op, DType dtype, llvm::Value* x);

// Whether any, all lanes of a mask are set, as i1.
llvm::Value* any_lane(IRBuilder& b, llvm::Value* mask);
llvm::Value* all_lanes(IRBuilder& b, llvm::Value* mask);

llvm::Value* emit_convert(IRBuilder& b, const Target& target, llvm::Value* x, DType from, DType to);
llvm::Value* emit_bitcast(IRBuilder& b, llvm::Value* x, DType from, DType to);

}  // namespace cermet::compiler::llvm_backend
