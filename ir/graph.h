#pragma once
// A graph: the expressions of its results over its parameters. It is what passes take and return,
// what is printed and parsed, verified, interpreted and compiled.

#include <functional>
#include <vector>

#include "ir/node.h"

namespace cermet::ir {

struct Graph {
  std::vector<Value> parameters;  // Parameter nodes; parameters[i] has slot i; unused ones are kept
  std::vector<Value> results;
};

// Every node that the roots need, each once, operands before users; the order is a function of the
// graph only. A node for which `stop` returns true is listed, but its operands are not visited.
// Empty values, which only a broken graph has, are passed over.
std::vector<const Node*> topological_order(std::span<const Value> roots,
                                           const std::function<bool(const Node&)>& stop = nullptr);

// Rebuilds what the roots need, operands first. `rule` gets each old node with its new operands and
// returns the node that replaces it; an empty Value stands for "the same op on the new operands".
// A node of which nothing changed is that node still: where no rule applies, nothing is copied.
using RewriteRule = std::function<Value(const Node& node, std::span<const Value> operands)>;
std::vector<Value> rewrite(std::span<const Value> roots, const RewriteRule& rule);
Graph rewrite(const Graph& graph, const RewriteRule& rule);

// The node with other operands: same op, attributes and dtype.
Value with_operands(const Node& node, std::span<const Value> operands);

}  // namespace cermet::ir
