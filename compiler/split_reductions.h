#pragma once
// Long reductions with few results, made parallel.

#include "compiler/target.h"
#include "ir/graph.h"

namespace cermet::compiler {

// An equal graph (sums within rounding) in which reductions to fewer than 64 results of more than
// 32768 elements each are done in two steps, and contractions with small results and long sums in
// parts. How they are divided follows from the shape and the kind of target alone, so that results
// do not depend on the number of threads.
ir::Graph split_reductions(const ir::Graph& graph, const Target& target);

}  // namespace cermet::compiler
