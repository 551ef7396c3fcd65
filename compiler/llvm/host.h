#pragma once
// The processor this process runs on, as LLVM sees it.

#include "compiler/target.h"

namespace cermet::compiler::llvm_backend {

// Throws DeviceError if the processor lacks SSE4.2 (x86-64-v2).
Target host_target();

}  // namespace cermet::compiler::llvm_backend
