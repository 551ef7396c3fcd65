#include "compiler/repeat_expression.h"

#include "ir/build.h"
#include "ir/graph.h"

namespace cermet::compiler {

using ir::Value;

Value repeat_expression(const Value& y, const Value& after,
                        const std::function<bool(const ir::Node&)>& is_given, Copies& copies) {
  const auto ends = [&](const ir::Node& n) { return copies.contains(&n) || is_given(n); };
  for (const ir::Node* node : ir::topological_order(std::span(&y, 1), ends)) {
    if (copies.contains(node)) continue;
    if (is_given(*node)) {
      copies.emplace(node, ir::recompute(Value(node), after));
      continue;
    }
    SmallVector<Value, 3> operands;
    for (const Value& operand : node->operands) operands.push_back(copies.at(operand.get()));
    copies.emplace(node, operands.empty() ? Value(node) : ir::with_operands(*node, operands));
  }
  return copies.at(y.get());
}

}  // namespace cermet::compiler
