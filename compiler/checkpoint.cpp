// A checkpoint is a custom gradient: its operands are the inputs and the variables that the
// expression reads besides, and its rule differentiates the copy. Being a copy of ordinary nodes,
// it may hold further checkpoints, and can be differentiated again.

#include "compiler/checkpoint.h"

#include <algorithm>

#include "compiler/autograd.h"
#include "compiler/repeat_expression.h"
#include "ir/build.h"
#include "ir/graph.h"

namespace cermet::compiler {

using ir::Op;
using ir::Value;

namespace {

// Whether the node is in memory, or as good as that.
bool is_given(const ir::Node& n) {
  return n.op == Op::Data || n.op == Op::Parameter || n.op == Op::Iota ||
         (n.op != Op::Constant && !n.requires_grad && n.value() != nullptr);
}

class CheckpointRule : public ir::GradientRule {
 public:
  std::vector<Value> operands_adjoints(std::span<const Value> operands, const Value& result,
                                       const Value& adjoint) const override {
    const Value& y = result->operands[0];
    Copies copies;
    std::vector<Value> inputs;  // of the copy, that have gradients
    for (const Value& operand : operands) {
      const Value& input =
          copies.emplace(operand.get(), ir::recompute(operand, adjoint)).first->second;
      if (operand->requires_grad && is_float(operand->dtype)) inputs.push_back(input);
    }
    const Value copy = repeat_expression(y, adjoint, is_given, copies);
    const std::vector<Value> found = vjp(std::span(&copy, 1), inputs, std::span(&adjoint, 1));
    std::vector<Value> out;
    size_t next = 0;
    for (const Value& operand : operands)
      out.push_back(operand->requires_grad && is_float(operand->dtype) ? found[next++] : Value());
    return out;
  }
  bool follows_operand() const override { return true; }
};

}  // namespace

Value checkpoint(const Value& y, std::span<const Value> inputs) {
  if (!y->requires_grad) return y;
  std::vector<Value> operands;
  const auto known = [&](const ir::Node& n) {
    return std::ranges::any_of(operands, [&](const Value& v) { return v.get() == &n; });
  };
  for (const Value& input : inputs)
    if (!known(*input)) operands.push_back(input);
  const size_t given = operands.size();
  const auto ends = [&](const ir::Node& n) {
    return n.op == Op::Leaf || !n.requires_grad ||
           std::any_of(operands.begin(), operands.begin() + int64_t(given),
                       [&](const Value& v) { return v.get() == &n; });
  };
  for (const ir::Node* node : ir::topological_order(std::span(&y, 1), ends))
    if (node->op == Op::Leaf && !known(*node)) operands.push_back(Value(node));
  return ir::custom_gradient(y, operands, std::make_shared<const CheckpointRule>());
}

}  // namespace cermet::compiler
