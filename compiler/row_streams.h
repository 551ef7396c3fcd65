#pragma once
// Which results of a row program are stored past the caches, and which rows are prefetched.
//
// A store that misses the caches reads the line first, and what is written drives out what will be
// read. Where a result is larger than the caches keep, and nobody reads it soon, its lines go to
// memory directly. That needs whole aligned vectors, so it is a class of kernels of its own.

#include "compiler/row_plan.h"

namespace cermet::compiler {

// Sets streamed, and with it whole; may lower the copies, so that whole groups of vectors fit.
void choose_streams(const Kernel& kernel, const KernelProgram& program, const Target& target,
                    RowPlan& plan);

// Sets ahead, where results are streamed: what is read comes from memory, too. A row that is walked
// several times waits for memory in its first walk and not in the others, which is when the next
// row can be on its way; processors do not fetch it by themselves, as it lies on another page.
void choose_ahead(const Kernel& kernel, RowPlan& plan);

}  // namespace cermet::compiler
