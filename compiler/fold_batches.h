#pragma once
// Sums over the batch of a product become part of the product.

#include "ir/graph.h"

namespace cermet::compiler {

// The gradient of a weight that a batch of matrices shares is sum_b A_b^T B_b: a batch of products
// that is summed. It is one product with the batch as more of the summed axis, which neither writes
// the products out nor reads them again. Products that something else needs, and small ones, whose
// batch is all that could be shared out among threads, stay.
ir::Graph fold_batches(const ir::Graph& graph);

}  // namespace cermet::compiler
