#pragma once
// Algebra on the graph. Every rewrite here is safe under strict IEEE arithmetic: for all inputs,
// NaN, infinities and both zeros included, the result has the same bits as before (of a NaN only
// that it is one: its sign and payload are not kept; pow(x, 2) and pow(x, -1) come out correctly
// rounded, which pow does not promise). Integers wrap, so more is safe for them. What
// is true of real numbers only, such as x * 0 => 0, x - x => 0 or x + 0.0 => x (which loses -0.0),
// is not done.
//
// The rules are a table (simplify_rules.cpp). A rule looks at a node whose operands are simplified
// already, and at their operands, no further, and gives a node that is no more work. Nodes are
// visited once, operands first, so the pass is linear in the graph; a second run changes nothing.
//
// Leaf, StopGradient and CustomGradient mean nothing to execution and disappear: gradients are
// taken before. Parameters stay as they are, used or not.

#include <map>
#include <string_view>

#include "ir/graph.h"

namespace cermet::compiler {

// How often each rule was used, by its text: "x * 1 => x".
using RuleCounts = std::map<std::string_view, int64_t>;

ir::Graph simplify(const ir::Graph& graph, RuleCounts* used = nullptr);

}  // namespace cermet::compiler
