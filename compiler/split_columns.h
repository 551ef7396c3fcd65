#pragma once
// Sums down the columns of arrays that are also reduced along their rows.

#include "ir/graph.h"

namespace cermet::compiler {

// An equal graph (sums within rounding) in which such reductions are done in two steps: of chunks
// of rows, and of their results. The backward pass of a layer norm computes its rows and the first
// step chunk by chunk then, and reads each array once (chain_kernels.h). How rows are divided
// follows from shapes alone.
ir::Graph split_columns(const ir::Graph& graph);

}  // namespace cermet::compiler
