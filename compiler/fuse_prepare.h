#pragma once
// Rewrites before fusion, so that its rules need no special cases.

#include "ir/graph.h"

namespace cermet::compiler {

// An equal graph in which reductions, scans and contractions combine at least two elements, sorts
// are along the last axis, a gather of a few elements of a computed value computes only those, and
// a scatter of one update to each row of a constant compares positions.
ir::Graph prepare_for_fusion(const ir::Graph& graph);

}  // namespace cermet::compiler
