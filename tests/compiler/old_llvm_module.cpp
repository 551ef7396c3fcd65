// A module whose interface is of a version that never was.

#include "compiler/codegen.h"

extern "C" const cermet::compiler::LlvmBackend* cermet_llvm_backend() {
  static const cermet::compiler::LlvmBackend backend = [] {
    cermet::compiler::LlvmBackend result{};
    result.abi = -1;
    return result;
  }();
  return &backend;
}
