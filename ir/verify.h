#pragma once
// What must hold for every graph, checked in full. make() and infer() already refuse most of what
// is listed here; the verifier proves that no pass went around them. Tests run it after every pass.
//
// The invariants:
//   - No parameter, result or operand is empty.
//   - parameters[i] is a Parameter node whose slot is i.
//   - Every Parameter node that the results need is one of the graph's parameters.
//   - The attributes of a node are those of its op, and an op without attributes has none.
//   - dtype and shape of every node are what ir/infer.h gives for its op, attributes and operands.
//     That covers: the number of operands, their dtypes and equal shapes of elementwise ops; axes
//     in range, those of a reduction ascending and unique; view maps that stay inside of their
//     source (ir/view.h); index types and extents of gather and scatter; sizes that fit in 64 bits.
//   - The bits of a Constant are zero outside of its dtype, and 0 or 1 for bool.
//   - Data has storage, a Leaf a variable, a CustomGradient a rule.
//   - requires_grad and reads_borrowed follow from the operands.
//   - Hash-consing is intact: making the expression of a node again gives that node.

#include <string>
#include <vector>

#include "ir/graph.h"

namespace cermet::ir {

// Every violation, one line each, that names the node by its number in print(graph); nothing for a
// valid graph.
std::vector<std::string> verify(const Graph& graph);

// Throws InternalError that lists all violations and the text of the graph, if there are any.
void check(const Graph& graph);

}  // namespace cermet::ir
