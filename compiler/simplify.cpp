#include "compiler/simplify.h"

#include "compiler/simplify_rules.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

using ir::Node;
using ir::Value;

// The first rule that applies to the node, used.
Value step(const Node& node, RuleCounts* used) {
  for (const std::span<const Rule> rules : {general_rules(), rules_of(node.op)})
    for (const Rule& rule : rules)
      if (Value better = rule.apply(node); better && better.get() != &node) {
        if (used) ++(*used)[rule.text];
        return better;
      }
  return {};
}

Value settle(Value value, RuleCounts* used) {
  // Each rule makes the expression smaller or moves a constant, so few of them apply in a row.
  constexpr int limit = 1000;
  for (int steps = 0;; ++steps) {
    CERMET_CHECK(steps < limit, "the rules for {} go round in circles", ir::name(value->op));
    Value better = step(*value, used);
    if (!better) return value;
    value = std::move(better);
  }
}

}  // namespace

Value settle(Value value) { return settle(std::move(value), nullptr); }

ir::Graph simplify(const ir::Graph& graph, RuleCounts* used) {
  return ir::rewrite(graph, [used](const Node& node, std::span<const Value> operands) {
    const bool same = std::ranges::equal(node.operands, operands);
    return settle(same ? Value(&node) : ir::with_operands(node, operands), used);
  });
}

}  // namespace cermet::compiler
