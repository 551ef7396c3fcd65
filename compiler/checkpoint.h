#pragma once
// Checkpoints: values whose gradient computes what it needs again instead of keeping it.

#include <span>

#include "ir/node.h"

namespace cermet::compiler {

// y, of which reverse mode keeps `inputs` only: its adjoints are those of a copy of y's expression
// from the inputs and variables up, made of Recompute nodes and so computed once the adjoint of y
// is there. y itself if nothing in it has a gradient.
ir::Value checkpoint(const ir::Value& y, std::span<const ir::Value> inputs);

}  // namespace cermet::compiler
