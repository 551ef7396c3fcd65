#pragma once
// Which kernels become chains (kernels.h): runs of contractions and row programs that hand rows to
// each other. Attention is the case that matters: scores, softmax and the mixing of values become
// one launch in which the scores of a few rows exist at a time, and its backward pass one in which
// those of one head do. A layer norm's backward pass is another: the sums of its columns read rows
// that have just been computed.

#include "compiler/kernels.h"
#include "compiler/target.h"

namespace cermet::compiler {

// Finds the chains, brings the kernels of each next to each other, and says in the program's
// refusals why contractions whose result is used row by row are in none. CPUs only: a GPU does the
// rows of a kernel in no order.
void chain_kernels(KernelProgram& program, const Target& target);

// Where the locals of a chain lie in the scratch memory of a worker, for one block; bytes.
struct LocalMemory {
  std::vector<int64_t> offsets;  // by chain.locals
  int64_t bytes = 0;
};
LocalMemory plan_locals(const KernelProgram& program, const Chain& chain);

}  // namespace cermet::compiler
