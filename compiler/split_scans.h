#pragma once
// Long scans of few rows, made parallel for GPUs.

#include "ir/graph.h"

namespace cermet::compiler {

// An equal graph (sums and products of floats within rounding) in which scans with too few rows to
// keep a GPU busy are done in three steps: chunks of a row are reduced, their results scanned, and
// the chunks scanned, each with what comes before it. How they are divided follows from the shape
// alone.
ir::Graph split_scans(const ir::Graph& graph);

}  // namespace cermet::compiler
