#include "compiler/autograd.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <unordered_map>

#include "cermet/error.h"
#include "ir/gradient.h"
#include "ir/graph.h"

namespace cermet::compiler {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

void expect_floats(std::string_view transform, std::string_view role,
                   std::span<const Value> values) {
  for (const Value& v : values) {
    if (!v) throw Error(fmt::format("{}: an {} is empty", transform, role));
    if (!is_float(v->dtype))
      throw Error(fmt::format("{}: only floats have gradients, an {} is {}", transform, role,
                              type_string(*v)));
  }
}

// Cotangents or tangents against what they belong to.
void expect_fitting(std::string_view transform, std::string_view what, std::string_view role,
                    std::span<const Value> given, std::span<const Value> values) {
  if (given.size() != values.size())
    throw Error(
        fmt::format("{}: {} {}s for {} {}s", transform, given.size(), what, values.size(), role));
  for (size_t i = 0; i < given.size(); ++i)
    if (given[i] && (given[i]->dtype != values[i]->dtype || given[i]->shape != values[i]->shape))
      throw Error(fmt::format("{}: {} {} is {}, its {} is {}", transform, what, i,
                              type_string(*given[i]), role, type_string(*values[i])));
}

// Whether forward mode goes through operand 0 of a CustomGradient. Reverse mode never does.
bool follows_operand(const Node& node) {
  return node.op == Op::CustomGradient && node.as<ir::CustomGradientAttr>().rule->follows_operand();
}

// Whether a gradient flows from operand i of the node into the node, whatever its value.
bool connects(const Node& node, size_t i) {
  if (node.op == Op::StopGradient || (node.op == Op::Recompute && i > 0)) return false;
  if (node.op == Op::CustomGradient && i == 0 && !follows_operand(node)) return false;
  return is_float(node.dtype) && is_float(node.operands[i]->dtype);
}

// The nodes below the outputs, operands first, with what the transforms note about each.
class Tape {
 public:
  struct Entry {
    const Node* node;
    bool depends = false;  // on an input, by a way that gradients take
    bool reached = false;  // reverse mode: an output depends on it in that way
    SmallVector<Value, 2> gradients;
  };

  Tape(std::span<const Value> outputs, std::span<const Value> inputs) {
    // Nothing that a Leaf is not below can lie between Leaves and outputs.
    const bool prune = std::ranges::all_of(inputs, [](const Value& v) { return v->requires_grad; });
    const auto order = ir::topological_order(
        outputs, [&](const Node& node) { return prune && !node.requires_grad; });
    entries_.reserve(order.size());
    index_.reserve(order.size());
    for (const Node* node : order) {
      index_.emplace(node, entries_.size());
      entries_.push_back({node, false, false, {}});
    }
    for (const Value& input : inputs)
      if (Entry* entry = find(input.get())) entry->depends = true;
    for (Entry& entry : entries_)
      for (size_t i = 0; i < entry.node->operands.size() && !entry.depends; ++i)
        entry.depends = operand(entry, i) != nullptr;
  }

  std::vector<Entry>& entries() { return entries_; }  // operands before users
  Entry* find(const Node* node) {
    const auto at = index_.find(node);
    return at == index_.end() ? nullptr : &entries_[at->second];
  }
  // The entry of operand i, if gradients flow through it to an input.
  Entry* operand(const Entry& entry, size_t i) {
    if (!connects(*entry.node, i)) return nullptr;
    Entry* found = find(entry.node->operands[i].get());
    return found && found->depends ? found : nullptr;
  }

 private:
  std::vector<Entry> entries_;
  std::unordered_map<const Node*, size_t> index_;
};

// Hands what the operands of the entry get from the adjoint of its node to them.
void propagate(Tape& tape, const Tape::Entry& entry, const Value& adjoint) {
  const size_t count = entry.node->operands.size();
  bool any = false;
  for (size_t i = 0; i < count; ++i)
    if (Tape::Entry* operand = tape.operand(entry, i)) operand->reached = any = true;
  if (!any || !adjoint) return;
  const ir::Grads grads = ir::adjoints(Value(entry.node), adjoint);
  for (size_t i = 0; i < count; ++i)
    if (grads[i])
      if (Tape::Entry* operand = tape.operand(entry, i)) operand->gradients.push_back(grads[i]);
}

// The tangent of a custom gradient. Its rule maps an adjoint u linearly to adjoints g(u) of the
// operands; the transpose of that map, taken by reverse mode with respect to u, maps the operands'
// tangents to the result's.
Value custom_tangent(const Node& node, std::span<const Value> tangents) {
  const Value y(&node);
  const Value u = ir::leaf(ir::zeros_like(y), std::make_shared<ir::Variable>());
  const ir::Grads rule = ir::adjoints(y, u);
  std::vector<Value> outputs, cotangents;
  for (size_t i = 1; i < rule.size(); ++i) {
    if (!rule[i] || !tangents[i]) continue;
    outputs.push_back(rule[i]);
    cotangents.push_back(tangents[i]);
  }
  Value found = vjp(outputs, std::span(&u, 1), cotangents)[0];
  if (!found) return {};
  // The result must not contain u any more. What is below the operands or the tangents cannot.
  std::unordered_map<const Node*, bool> known{{&node, true}};
  for (const Value& v : node.operands) known.emplace(v.get(), true);
  for (const Value& v : tangents)
    if (v) known.emplace(v.get(), true);
  for (const Node* below : ir::topological_order(std::span(&found, 1),
                                                 [&](const Node& n) { return known.contains(&n); }))
    if (below == u.get())
      throw Error(fmt::format(
          "jvp: a custom gradient ({}) is not linear in the adjoint, so it has no forward mode",
          type_string(node)));
  return found;
}

}  // namespace

std::vector<Value> vjp(std::span<const Value> outputs, std::span<const Value> inputs,
                       std::span<const Value> cotangents) {
  expect_floats("vjp", "output", outputs);
  expect_floats("vjp", "input", inputs);
  expect_fitting("vjp", "cotangent", "output", cotangents, outputs);
  Tape tape(outputs, inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    Tape::Entry& entry = *tape.find(outputs[i].get());
    entry.reached = true;
    if (cotangents[i]) entry.gradients.push_back(cotangents[i]);
  }
  std::unordered_map<const Node*, Value> wanted;
  for (const Value& input : inputs) wanted.emplace(input.get(), Value());

  for (Tape::Entry& entry : tape.entries() | std::views::reverse) {
    if (!entry.depends || !entry.reached) continue;
    const Value adjoint = ir::sum_gradients(entry.gradients);
    entry.gradients.clear();
    if (const auto at = wanted.find(entry.node); at != wanted.end())
      at->second = adjoint ? adjoint : ir::zeros_like(Value(entry.node));
    propagate(tape, entry, adjoint);
  }
  std::vector<Value> out;
  for (const Value& input : inputs) out.push_back(wanted.at(input.get()));
  return out;
}

std::vector<Value> jvp(std::span<const Value> outputs, std::span<const Value> inputs,
                       std::span<const Value> tangents) {
  expect_floats("jvp", "output", outputs);
  expect_floats("jvp", "input", inputs);
  expect_fitting("jvp", "tangent", "input", tangents, inputs);
  Tape tape(outputs, inputs);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (Tape::Entry* entry = tape.find(inputs[i].get()); entry && tangents[i])
      entry->gradients.push_back(tangents[i]);

  std::vector<Value> operands;
  for (Tape::Entry& entry : tape.entries()) {
    if (!entry.depends) continue;
    operands.clear();
    bool any = false;
    for (size_t i = 0; i < entry.node->operands.size(); ++i) {
      const Tape::Entry* operand = tape.operand(entry, i);
      operands.push_back(operand && !operand->gradients.empty() ? operand->gradients[0] : Value());
      any |= bool(operands.back());
    }
    if (any) {
      const Value through = follows_operand(*entry.node) ? operands[0]
                            : entry.node->op == Op::CustomGradient
                                ? custom_tangent(*entry.node, operands)
                                : ir::tangent(Value(entry.node), operands);
      if (through) entry.gradients.push_back(through);
    }
    const Value total = ir::sum_gradients(entry.gradients);
    entry.gradients.clear();
    if (total) entry.gradients.push_back(total);
  }
  std::vector<Value> out;
  for (const Value& output : outputs) {
    const Tape::Entry& entry = *tape.find(output.get());
    Value found = entry.gradients.empty() ? Value() : entry.gradients[0];
    if (!found && entry.depends) found = ir::zeros_like(output);
    out.push_back(std::move(found));
  }
  return out;
}

std::vector<Value> leaves_of(std::span<const Value> outputs) {
  std::vector<Value> out;
  for (const Node* node :
       ir::topological_order(outputs, [](const Node& n) { return !n.requires_grad; }))
    if (node->op == Op::Leaf) out.push_back(Value(node));
  return out;
}

}  // namespace cermet::compiler
