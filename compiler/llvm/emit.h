#pragma once
// From loop IR to an LLVM module with one function, `void name(ptr arguments, i64 begin, i64 end)`.
// Everything is SSA and already optimised, so no pass over LLVM IR has to run afterwards.

#include <llvm/IR/Module.h>

#include <memory>

#include "compiler/loops.h"
#include "compiler/target.h"

namespace cermet::compiler::llvm_backend {

// Throws InternalError if the function breaks an invariant of loops.h, names all of them then.
std::unique_ptr<llvm::Module> emit(const loops::Function& function, const Target& target,
                                   llvm::LLVMContext& context);

}  // namespace cermet::compiler::llvm_backend
