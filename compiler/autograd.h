#pragma once
// Differentiation as a transform: expressions in, expressions out. The result consists of ordinary
// nodes, so it is differentiated again for higher orders, and simplified, fused and compiled like
// what the user wrote.
//
// Any node can be an input, a Leaf or not, also one that another input is computed from: the
// gradient with respect to it then includes what flows through that other input. Gradients flow
// through floats only, and not through StopGradient. Where several adjoints meet in a node they are
// added in an order that the graph determines; those of f16 and bf16 in f32, rounded once. Nothing
// here recurses over a graph.
//
// All of these throw Error if an input or output is empty or not a float, if a cotangent or tangent
// has another dtype or shape than what it belongs to, and if an op on the way has no gradient.

#include <span>
#include <vector>

#include "ir/node.h"

namespace cermet::compiler {

// Reverse mode: for each input the sum over the outputs of cotangent times derivative. An empty
// cotangent stands for zero. The result is empty for an input that no output depends on, and zeros
// for one on which the outputs depend with a derivative that is zero everywhere (floor).
std::vector<ir::Value> vjp(std::span<const ir::Value> outputs, std::span<const ir::Value> inputs,
                           std::span<const ir::Value> cotangents);

// Forward mode: for each output the sum over the inputs of derivative times tangent. An empty
// tangent stands for zero. The result is empty and zeros as for vjp. A custom gradient is
// transposed, which its rule must allow: Error if it is not linear in the adjoint.
std::vector<ir::Value> jvp(std::span<const ir::Value> outputs, std::span<const ir::Value> inputs,
                           std::span<const ir::Value> tangents);

// Every Leaf that gradients of the outputs flow to, in the order in which the outputs need them.
std::vector<ir::Value> leaves_of(std::span<const ir::Value> outputs);

}  // namespace cermet::compiler
