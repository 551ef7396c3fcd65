#pragma once
// The LLVM backend lies in a shared object of its own, opened at the first compile that needs it: a
// process whose kernels are all cached never pays for LLVM, and an embedder's LLVM never meets
// ours.
//
// The module is looked for in this order:
//   1. the file that the environment variable CERMET_LLVM_MODULE names; no other is tried then,
//   2. beside the object that holds this code, and in ../lib/cermet and cermet/ seen from there,
//   3. where the dynamic linker looks: the run path of the program, LD_LIBRARY_PATH,
//   4. the build directory of this library, and the directory it was configured to be installed in.

#include <filesystem>
#include <string>
#include <vector>

namespace cermet::compiler {

struct LlvmBackend;

// The backend; opened by the first call, which may come from several threads at once. Throws
// DeviceError, naming every file that was tried and why it was not taken; a later call tries again.
// Also throws DeviceError in destructors of static objects that run after LLVM's own.
const LlvmBackend& llvm_backend();

// The files that llvm_backend() tries, in order; a bare name is left to the dynamic linker.
std::vector<std::filesystem::path> llvm_module_candidates();

// Opens the first candidate that can be opened and speaks our version of LlvmBackend. It stays open
// until the process ends. Throws as llvm_backend() does.
const LlvmBackend& open_llvm_module(const std::vector<std::filesystem::path>& candidates);

}  // namespace cermet::compiler
