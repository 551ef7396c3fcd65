#pragma once
// Rewrites before fusion, so that its rules need no special cases.

#include "ir/graph.h"

namespace cermet::compiler {

// An equal graph in which reductions, scans and contractions combine at least two elements, sorts
// are along the last axis, and a gather of a few elements of a computed value computes only those.
ir::Graph prepare_for_fusion(const ir::Graph& graph);

}  // namespace cermet::compiler
