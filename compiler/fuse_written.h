#pragma once
// Planning of nodes that are buffers filled by groups of their own: concatenations, scatters, sorts
// and barriers (NodeKind::Written).

#include "compiler/fuse_book.h"

namespace cermet::compiler {

// `uses` are all uses of the node, `stores` the buffers of the results that it is.
void plan_written(PlanBook& book, int32_t node, Uses uses, const std::vector<int32_t>& stores);

}  // namespace cermet::compiler
