#pragma once
// From loop IR to machine code. The LLVM part is a shared object of its own (compiler/llvm/), which
// is loaded at the first compile that no cache answers, so that a process whose kernels are cached
// never pays for LLVM.

#include <cstddef>
#include <string>
#include <vector>

#include "compiler/loops.h"
#include "compiler/target.h"

namespace cermet::compiler {

// What a kernel gets when it is called: void kernel(const KernelArguments*, int64_t begin, int64_t
// end). `begin` and `end` are the part of the parallel range that this call is to do.
struct KernelArguments {
  void* const* buffers;
  const int64_t* integers;
  void* scratch;               // of this worker; 64-byte aligned
  int64_t* error;              // {code or 0, value}: see Opcode::Report
  const void* const* helpers;  // by loops::Helper
};
using KernelFunction = void (*)(const KernelArguments*, int64_t begin, int64_t end);

// The interface of the LLVM module; cermet_llvm_backend() is the only symbol it exports.
struct LlvmBackend {
  int abi;  // llvm_backend_abi; a module with another number is refused
  std::string (*version)();
  // A relocatable ELF object that defines `function.name`. Throws InternalError with LLVM's own
  // text.
  std::vector<std::byte> (*to_object)(const loops::Function& function, const Target& target);
  std::string (*to_llvm_ir)(const loops::Function& function, const Target& target);
  std::string (*to_assembly)(const loops::Function& function, const Target& target);
  // The processor this runs on.
  Target (*host_target)();
};
inline constexpr int llvm_backend_abi = 2;

}  // namespace cermet::compiler
