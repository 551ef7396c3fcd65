// What each node costs to repeat, found from the operands upwards before anything is decided. The
// estimate stops where a value is certainly in a buffer: at reductions and contractions, and at
// expensive values that are broadcast (they are stored rather than computed for every copy).

#include <fmt/format.h>

#include <algorithm>

#include "compiler/fuse_plan.h"
#include "ir/check.h"

namespace cermet::compiler {

using ir::Op;

namespace {

constexpr int gather_cycles = 4;

NodeKind kind_of(const ir::Node& node) {
  if (ir::is_elementwise(node.op)) return NodeKind::Pointwise;
  switch (node.op) {
    case Op::Parameter:
    case Op::Constant:
    case Op::Iota:
    case Op::View:
    case Op::Recompute: return NodeKind::Free;
    case Op::Cast:
    case Op::Bitcast:
    case Op::Gather: return NodeKind::Pointwise;
    case Op::Reduce:
    case Op::ArgReduce:
    case Op::Scan:
    case Op::Dot:
    case Op::Conv: return NodeKind::Once;
    case Op::Scatter:
    case Op::Concat:
    case Op::ArgSort:
    case Op::Barrier: return NodeKind::Written;
    default: break;
  }
  CERMET_CHECK(false, "fusion does not take {} nodes", name(node.op));
  return NodeKind::Free;
}

int own_cycles(const ir::Node& node) {
  if (node.op == Op::Gather) return gather_cycles;
  return ir::is_elementwise(node.op) ? ir::info(node.op).cycles : 1;
}

void follow_anchor(const NodeFacts& x, int32_t index, NodeFacts& facts) {
  if (x.kind != NodeKind::Once && !x.epilogue) return;
  facts.epilogue = true;
  if (x.node->op == Op::Reduce || x.node->op == Op::ArgReduce) facts.anchor = index;
  if (x.epilogue && x.anchor >= 0) facts.anchor = x.anchor;
}

// The value behind a contraction that an epilogue is computed from, if there is one and all else is
// the same for many elements; and what that costs.
void follow_source(const Plan& plan, int32_t index, NodeFacts& facts) {
  if (!facts.epilogue || facts.anchor >= 0) return;
  if (facts.node->op == Op::View) {
    const NodeFacts& x = plan.nodes[size_t(facts.operands[0])];
    facts.source = x.source, facts.again = x.again;
    return;
  }
  facts.again = std::max(1, own_cycles(*facts.node));
  bool first = false, one = true;
  for (int32_t operand : facts.operands) {
    const NodeFacts& x = plan.nodes[size_t(operand)];
    const ir::Node* from = x.node;
    while (from->op == Op::View) from = from->operands[0].get();
    if (from->op == Op::Dot || from->op == Op::Conv) {
      first = true;
    } else if (x.source >= 0 && (facts.source < 0 || facts.source == x.source)) {
      facts.source = x.source, facts.again += x.again;
    } else {
      one &= x.source < 0 && (from->op == Op::Constant || from->numel() < facts.node->numel());
    }
  }
  if (first) {
    facts.source = index, facts.again = 0;
  } else if (!one) {
    facts.source = -1;
  }
}

// Which reduction's kernel would compute this node as well, if nothing else decided.
void follow_frame(const Plan& plan, int32_t index, NodeFacts& facts) {
  const Op op = facts.node->op;
  for (int32_t operand : facts.operands)
    facts.contractions = std::max(facts.contractions, plan.nodes[size_t(operand)].contractions);
  for (int32_t operand : facts.operands) {
    const NodeFacts& x = plan.nodes[size_t(operand)];
    if (x.frame >= 0 && x.contractions == facts.contractions)
      facts.frame = std::max(facts.frame, x.frame);
  }
  if (op == Op::Dot || op == Op::Conv) ++facts.contractions, facts.frame = -1;
  if (op == Op::Reduce || op == Op::ArgReduce) facts.frame = index;
}

void estimate(const Plan& plan, NodeFacts& facts) {
  constexpr int enough = 1000;
  if (facts.node->op == Op::View || facts.node->op == Op::Recompute) {
    const NodeFacts& x = plan.nodes[size_t(facts.operands[0])];
    facts.cycles = x.cycles, facts.reads = x.reads;
    if (facts.node->op == Op::View && x.node->numel() == facts.node->numel() &&
        !facts.node->view().masked())
      follow_anchor(x, facts.operands[0], facts);
    return;
  }
  if (facts.node->op == Op::Parameter) facts.reads = 1;
  if (facts.kind == NodeKind::Once || facts.kind == NodeKind::Written) facts.reads = 1;
  if (facts.kind != NodeKind::Pointwise) return;
  facts.cycles = own_cycles(*facts.node);
  if (facts.node->op == Op::Gather) facts.reads = 1;
  for (size_t k = 0; k < facts.operands.size(); ++k) {
    if (facts.node->op == Op::Gather && k == 0) continue;
    const NodeFacts& x = plan.nodes[size_t(facts.operands[k])];
    if (x.node->numel() == facts.node->numel()) follow_anchor(x, facts.operands[k], facts);
    const int64_t elements = facts.node->numel();
    const ir::Node* source = x.node;
    while (source->op == Op::View || source->op == Op::Recompute)
      source = source->operands[0].get();
    const bool stored = x.epilogue || (source->numel() < elements && x.cycles > 5);
    facts.cycles = std::min(enough, facts.cycles + (stored ? 0 : x.cycles));
    facts.reads = std::min(enough, facts.reads + (stored ? 1 : x.reads));
  }
}

}  // namespace

Frame frame_of(const ir::Node& reduction) {
  const int64_t axis = reduction.op == Op::Reduce ? reduction.as<ir::ReduceAttr>().axes[0]
                                                  : reduction.as<ir::CombineAttr>().axis;
  return {reduction.numel(), numel(inner_extents(reduction)), axis};
}

int64_t Group::rows() const {
  int64_t count = 1;
  for (size_t d = 0; d < axes.size(); ++d) count *= inner[d] ? 1 : axes[d];
  return count;
}

int64_t Group::columns() const { return numel(axes) / rows(); }

Plan plan_nodes(const ir::Graph& graph) {
  Plan plan;
  const std::vector<const ir::Node*> order = ir::topological_order(graph.results);
  plan.nodes.reserve(order.size());
  plan.index.reserve(order.size());
  for (const ir::Node* node : order) {
    NodeFacts facts{.node = node, .kind = kind_of(*node), .operands = {}};
    for (const ir::Value& v : node->operands) facts.operands.push_back(plan.index.at(v.get()));
    if (node->op == Op::Reduce) {
      const int32_t before = plan.nodes[size_t(facts.operands[0])].frame;
      const Frame frame = frame_of(*node);
      if (before >= 0 && frame_of(*plan.nodes[size_t(before)].node) == frame)
        plan.programs.insert(frame);
    }
    follow_frame(plan, int32_t(plan.nodes.size()), facts);
    estimate(plan, facts);
    follow_source(plan, int32_t(plan.nodes.size()), facts);
    plan.index.emplace(node, int32_t(plan.nodes.size()));
    plan.nodes.push_back(std::move(facts));
  }
  return plan;
}

std::string Plan::describe(int32_t node) const {
  const ir::Node& n = *nodes[size_t(node)].node;
  return fmt::format("%{} = {} : {}", node, name(n.op), type_string(n));
}

int32_t Plan::find(int32_t group) {
  while (groups[size_t(group)].merged_into >= 0) {
    Group& g = groups[size_t(group)];
    Group& next = groups[size_t(g.merged_into)];
    if (next.merged_into >= 0) g.merged_into = next.merged_into;
    group = g.merged_into;
  }
  return group;
}

Plan::Place Plan::place(int32_t group, int32_t map) {
  const Group& g = groups[size_t(group)];
  const bool has_rows = g.kind == Group::Kind::Row || g.kind == Group::Kind::Contract;
  const int64_t elements = numel(maps[size_t(map)].shape());
  if (elements == numel(g.axes)) {
    if (maps[size_t(map)].shape() != g.axes) {
      maps.push_back(maps[size_t(map)].reshape(g.axes));
      map = int32_t(maps.size()) - 1;
    }
    if (!has_rows || !is_invariant(maps[size_t(map)], g.inner)) return {map, false};
    maps.push_back(without_axes(maps[size_t(map)], g.inner));
    return {int32_t(maps.size()) - 1, true};
  }
  CERMET_CHECK(elements == g.rows(), "a map over {} elements in a space of {} rows, {} columns",
               elements, g.rows(), g.columns());
  Shape outer;
  for (size_t d = 0; d < g.axes.size(); ++d)
    if (!g.inner[d]) outer.push_back(g.axes[d]);
  if (maps[size_t(map)].shape() != outer) {
    maps.push_back(maps[size_t(map)].reshape(outer));
    map = int32_t(maps.size()) - 1;
  }
  return {map, true};
}

std::vector<bool> used_once(const ir::Graph& graph, const Plan& plan) {
  std::vector<int32_t> uses(plan.nodes.size(), 0);  // 2: or more
  const auto add = [&](int32_t node, int32_t more) {
    uses[size_t(node)] = std::min(2, uses[size_t(node)] + more);
  };
  for (const ir::Value& result : graph.results) add(plan.index.at(result.get()), 2);
  for (size_t n = plan.nodes.size(); n-- > 0;)
    for (int32_t operand : plan.nodes[n].operands)
      add(operand, plan.nodes[n].node->op == ir::Op::View ? uses[n] : 1);
  std::vector<bool> out;
  for (int32_t count : uses) out.push_back(count == 1);
  return out;
}

}  // namespace cermet::compiler
