#pragma once
// Scatters of many updates to few places, made parallel for GPUs.

#include "ir/graph.h"

namespace cermet::compiler {

// An equal graph (sums and products of floats within rounding) in which scatters with many more
// updates than places are done in two steps: chunks of the updates are scattered to places of their
// own, which a reduction combines. How they are divided follows from the shape alone.
ir::Graph split_scatters(const ir::Graph& graph);

}  // namespace cermet::compiler
