#pragma once
// What cermet/memory.h was told last.

#include <cstdint>

namespace cermet::runtime {

int64_t current_memory_budget();

}  // namespace cermet::runtime
