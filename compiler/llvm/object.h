#pragma once
// From an LLVM module to an object file or assembly text.

#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <memory>
#include <string>

#include "cermet/error.h"
#include "compiler/target.h"

namespace cermet::compiler::llvm_backend {

// A fatal error inside LLVM. Its frames were unwound without cleaning up, so what they used is in
// no state to be destroyed: whoever owns it lets go of it.
class LlvmFailure : public InternalError {
 public:
  using InternalError::InternalError;
};

enum class Output : uint8_t { Object, Assembly };

// What LLVM knows about a target; made once for a thread and used for its compiles one after the
// other. Throws InternalError for a processor or feature that LLVM does not have.
llvm::LLVMTargetMachine& machine(const Target& target);

// Forgets machine(), whose state may be broken after an error inside LLVM.
void abandon_machine();

// The bytes of the object or the text of the assembly. The module is used up. Throws InternalError
// with LLVM's text if it refuses the module.
std::string generate(llvm::Module& module, llvm::LLVMTargetMachine& machine, Output output);

}  // namespace cermet::compiler::llvm_backend
