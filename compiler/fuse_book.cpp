#include "compiler/fuse_book.h"

#include <algorithm>

namespace cermet::compiler {

using ir::ViewMap;

PlanBook::PlanBook(const ir::Graph& graph, Plan& plan)
    : plan_(plan), uses_(plan.nodes.size()), must_store_(plan.nodes.size(), 0) {
  plan.buffer_of.assign(plan.nodes.size(), -1);
  plan.group_of.assign(plan.nodes.size(), -1);
  for (const ir::Value& p : graph.parameters) {
    const int64_t slot = p->as<ir::ParameterAttr>().slot;
    plan_.buffers.push_back({KernelBuffer::Kind::Parameter, slot, p->dtype, p->numel()});
    if (auto found = plan_.index.find(p.get()); found != plan_.index.end())
      plan_.buffer_of[size_t(found->second)] = int32_t(plan_.buffers.size()) - 1;
  }
  for (size_t i = 0; i < graph.results.size(); ++i) {
    const ir::Node& r = *graph.results[i];
    const ir::Node* source = &r;  // a reshaped value is stored as the value itself
    while (source->op == ir::Op::View && source->view().is_identity() &&
           source->numel() == source->operands[0]->numel())
      source = source->operands[0].get();
    results_[plan_.index.at(source)].push_back(int32_t(plan_.buffers.size()));
    plan_.buffers.push_back({KernelBuffer::Kind::Result, int64_t(i), r.dtype, r.numel()});
  }
}

int32_t PlanBook::temporary(int32_t n) {
  plan_.buffers.push_back({KernelBuffer::Kind::Temporary, 0, node(n).dtype, node(n).numel()});
  return int32_t(plan_.buffers.size()) - 1;
}

int32_t PlanBook::add_map(ViewMap map) {
  plan_.maps.push_back(std::move(map));
  return int32_t(plan_.maps.size()) - 1;
}

int32_t PlanBook::new_group(int32_t n, const Shape& shape, const Uses& uses, int32_t& identity) {
  Group g;
  g.number = n;
  g.axes = without_units(shape);
  g.inner.resize(g.axes.size(), 0);
  for (const Use& use : uses) g.stage = std::max(g.stage, group(plan_.find(use.group)).stage + 1);
  identity = add_map(ViewMap::identity(shape).reshape(g.axes));
  plan_.groups.push_back(std::move(g));
  return int32_t(plan_.groups.size()) - 1;
}

void PlanBook::add_root(int32_t g, int32_t n, int32_t map, int32_t buffer) {
  Group::Root root;
  root.node = n, root.map = map, root.buffer = buffer;
  group(g).roots.push_back(std::move(root));
}

void PlanBook::add_use(int32_t n, int32_t g, int32_t map, int32_t consumer, bool late) {
  if (node(n).numel() == 0 && map >= 0) return;
  Uses& uses = uses_[size_t(n)];
  bool known = false;
  // Constants cost no stream, and a parameter may have very many users: look at recent ones only.
  constexpr size_t window = 16;
  for (size_t i = uses.size() > window ? uses.size() - window : 0; i < uses.size(); ++i) {
    if (plan_.find(uses[i].group) != g) continue;
    if (uses[i].map == map) return;
    known = true;
  }
  const bool counted = !known && !constant_like(n);
  group(g).pending += counted;
  if (counted) group(g).awaited.push_back(n);
  uses.push_back({g, map, consumer, counted, late});
}

void PlanBook::need_buffer(int32_t n, int32_t g, int32_t consumer) {
  must_store_[size_t(n)] = 1;
  add_use(n, g, -1, consumer);
}

void PlanBook::loads(int32_t g, int32_t stage) {
  ++group(g).streams;
  group(g).feeder = std::min(group(g).feeder, stage);
}

void PlanBook::load_all(const Uses& uses, int32_t stage) {
  SmallVector<int32_t, 8> done;
  for (const Use& use : uses) {
    if (std::find(done.begin(), done.end(), use.group) != done.end()) continue;
    loads(use.group, stage);
    done.push_back(use.group);
  }
}

int PlanBook::leaves_below(int32_t g, int32_t n) {
  constexpr size_t most = 96;  // nodes looked at
  std::vector<int32_t>& below = group(g).awaited;
  std::erase_if(below, [&](int32_t m) { return m >= n; });  // their turn was earlier
  std::vector<int32_t> found;
  const auto add = [&](int32_t m) {
    if (!constant_like(m) && std::ranges::find(found, m) == found.end()) found.push_back(m);
  };
  std::ranges::for_each(below, add);
  std::ranges::for_each(facts(n).operands, add);
  int leaves = 0;
  for (size_t i = 0; i < found.size() && found.size() <= most; ++i) {
    const NodeFacts& f = facts(found[i]);
    const ir::Op op = f.node->op;
    const bool computed = op == ir::Op::Reduce || op == ir::Op::View ||
                          (f.kind == NodeKind::Pointwise && op != ir::Op::Gather);
    if (computed && !must_store(found[i]))
      std::ranges::for_each(f.operands, add);
    else
      ++leaves;
  }
  return found.size() <= most ? leaves : int(most);
}

Uses PlanBook::take_uses(int32_t n) {
  Uses uses = std::move(uses_[size_t(n)]);
  for (Use& use : uses) {
    use.group = plan_.find(use.group);
    group(use.group).pending -= use.counted;
  }
  return uses;
}

std::vector<int32_t> PlanBook::take_results(int32_t n) {
  const auto found = results_.find(n);
  return found == results_.end() ? std::vector<int32_t>() : std::move(found->second);
}

}  // namespace cermet::compiler
