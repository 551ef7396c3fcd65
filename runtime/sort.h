#pragma once
// The Sort kernel: the one kernel that is C++ of ours and not generated code.

#include "compiler/program.h"
#include "runtime/thread_pool.h"

namespace cermet::runtime {

// Writes, for each row of the launch's input, the positions that sort it, stable; NaN last, when
// descending NaN first. `memory` holds the program's buffers.
void sort_rows(const compiler::Program::Launch& launch, const compiler::Program& program,
               std::span<void* const> memory, ThreadPool& threads);

}  // namespace cermet::runtime
