#pragma once
// The reference interpreter: what a graph means, as plain loops. Compiled code is tested against
// it, so it shares no code with the compiler and prefers the obvious to the fast.
//
// Elements are computed in double or in exact 64-bit integers and rounded to the dtype of each
// node. Sums, products, scans, dot and conv accumulate in double and round once at the end; integer
// ones are exact modulo 2^64. A sum starts from its first element (so the sum of -0.0 is -0.0); an
// empty sum is 0, an empty product 1. Values die after their last use: a long chain of small arrays
// needs little memory.

#include <vector>

#include "ir/graph.h"
#include "ir/host_array.h"

namespace cermet::ir {

// The results of the graph for these parameters. Throws Error where a parameter does not have its
// node's dtype and shape, where gather or scatter get an index out of range, and where the host
// cannot read a Data node's storage. Values that nodes have already (Node::value) are not used.
std::vector<HostArray> interpret(const Graph& graph, std::span<const HostArray> parameters);

}  // namespace cermet::ir
