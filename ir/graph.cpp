#include "ir/graph.h"

#include <unordered_map>
#include <utility>

namespace cermet::ir {

namespace {

// Nodes, in a table of slots with at least as many empty ones: each stage of the compiler orders
// the graph, and memory for every node alone would be most of that.
class NodeSet {
 public:
  // False if it was there.
  bool insert(const Node* node) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    const Node*& slot = find(node);
    if (slot) return false;
    slot = node, ++count_;
    return true;
  }

 private:
  const Node*& find(const Node* node) {
    // Fibonacci hashing: addresses are multiples of a large power of two.
    const uint64_t hash = reinterpret_cast<uintptr_t>(node) * 0x9E3779B97F4A7C15ULL;
    size_t i = size_t(hash >> shift_);
    while (slots_[i] && slots_[i] != node) i = (i + 1) & (slots_.size() - 1);
    return slots_[i];
  }
  void grow() {
    const std::vector<const Node*> old =
        std::exchange(slots_, std::vector<const Node*>(2 * slots_.size()));
    --shift_;
    for (const Node* node : old)
      if (node) find(node) = node;
  }

  std::vector<const Node*> slots_ = std::vector<const Node*>(64);
  int shift_ = 64 - 6;  // slots_ has 2^(64 - shift_) elements
  size_t count_ = 0;
};

}  // namespace

std::vector<const Node*> topological_order(std::span<const Value> roots,
                                           const std::function<bool(const Node&)>& stop) {
  std::vector<const Node*> order;
  NodeSet seen;
  struct Frame {
    const Node* node;
    size_t next;  // the operand to visit next
    size_t count;
  };
  std::vector<Frame> stack;
  const auto enter = [&](const Node* node) {
    if (node && seen.insert(node))
      stack.push_back({node, 0, stop && stop(*node) ? 0 : node->operands.size()});
  };
  for (const Value& root : roots) {
    enter(root.get());
    while (!stack.empty()) {
      Frame& top = stack.back();
      if (top.next < top.count) {
        enter(top.node->operands[top.next++].get());
      } else {
        order.push_back(top.node);
        stack.pop_back();
      }
    }
  }
  return order;
}

Value with_operands(const Node& node, std::span<const Value> operands) {
  return make(node.op, SmallVector<Value, 3>(operands), node.attr, node.dtype, node.shape);
}

std::vector<Value> rewrite(std::span<const Value> roots, const RewriteRule& rule) {
  std::unordered_map<const Node*, Value> replaced;  // what stays is in no table
  const auto current = [&](const Value& old) {
    const auto found = replaced.find(old.get());
    return found == replaced.end() ? old : found->second;
  };
  std::vector<Value> operands;
  for (const Node* node : topological_order(roots)) {
    std::span<const Value> now = node->operands;
    bool changed = false;
    if (!replaced.empty())
      for (const Value& old : node->operands) changed |= replaced.contains(old.get());
    if (changed) {
      operands.clear();
      for (const Value& old : node->operands) operands.push_back(current(old));
      now = operands;
    }
    Value fresh = rule(*node, now);
    if (!fresh && changed) fresh = with_operands(*node, operands);
    if (fresh && fresh.get() != node) replaced.emplace(node, std::move(fresh));
  }
  std::vector<Value> out;
  for (const Value& root : roots) out.push_back(current(root));
  return out;
}

Graph rewrite(const Graph& graph, const RewriteRule& rule) {
  return {graph.parameters, rewrite(std::span<const Value>(graph.results), rule)};
}

}  // namespace cermet::ir
