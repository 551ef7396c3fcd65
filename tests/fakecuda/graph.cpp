// Graphs and plans. A plan keeps the order in which nodes were created, which is what updates
// compare; the order of a run is found anew each time, so that an edge that is missing shows.

#include "fakecuda/graph.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

// Calls `visit` with the index of each node, after those it depends on. Of the nodes that could be
// next, the schedule takes the oldest (eager), the youngest (lazy), or any. False if there is a
// cycle.
template <class Visit>
bool walk(const std::vector<std::vector<size_t>>& dependencies, Visit visit) {
  const size_t count = dependencies.size();
  std::vector<std::vector<size_t>> followers(count);
  std::vector<size_t> missing(count), ready;
  for (size_t i = 0; i < count; ++i) {
    missing[i] = dependencies[i].size();
    for (const size_t before : dependencies[i]) followers[before].push_back(i);
    if (missing[i] == 0) ready.push_back(i);
  }
  size_t visited = 0;
  while (!ready.empty()) {
    auto next = ready.begin();
    switch (driver().options.schedule) {
      case Schedule::Eager: next = std::min_element(ready.begin(), ready.end()); break;
      case Schedule::Lazy: next = std::max_element(ready.begin(), ready.end()); break;
      case Schedule::Random:
        next += static_cast<std::ptrdiff_t>(driver().random() % ready.size());
        break;
    }
    const size_t node = *next;
    ready.erase(next);
    visit(node);
    ++visited;
    for (const size_t follower : followers[node]) {
      if (--missing[follower] == 0) ready.push_back(follower);
    }
  }
  return visited == count;
}

std::vector<std::vector<size_t>> dependencies_of(const Plan& plan) {
  std::vector<std::vector<size_t>> result;
  for (const PlanNode& node : plan.nodes) result.push_back(node.dependencies);
  return result;
}

// The memory that a copy is between: an update may change addresses, but not these.
std::pair<bool, bool> sides(const CopyWork& copy) {
  return {driver().device_of(copy.to.address) != nullptr,
          driver().device_of(copy.from.address) != nullptr};
}

bool updatable(const Work& from, const Work& to) {
  if (const auto* copy = std::get_if<CopyWork>(&from)) {
    return sides(*copy) == sides(std::get<CopyWork>(to));
  }
  if (const auto* graph = std::get_if<GraphWork>(&from)) {
    return graph->plan->nodes.size() == std::get<GraphWork>(to).plan->nodes.size();
  }
  return true;
}

}  // namespace

std::shared_ptr<Graph> create_graph() {
  auto graph = std::make_shared<Graph>();
  graph->handle = driver().graphs.add(graph);
  return graph;
}

void destroy_graph(Graph& graph) {
  for (const auto& node : graph.nodes) {
    driver().nodes.remove(node->handle);
    node->dependencies.clear();  // else a chain of a million nodes is freed by recursion
  }
  driver().graphs.remove(graph.handle);
}

std::shared_ptr<Node> add_node(const std::shared_ptr<Graph>& graph, Work work, Context& context,
                               std::vector<std::shared_ptr<Node>> dependencies) {
  for (size_t i = 0; i < dependencies.size(); ++i) {
    require(dependencies[i]->graph.lock() == graph);
    const auto rest = dependencies.begin() + static_cast<std::ptrdiff_t>(i) + 1;
    require(std::find(rest, dependencies.end(), dependencies[i]) == dependencies.end());
  }
  auto node = std::make_shared<Node>();
  node->graph = graph;
  node->work = std::move(work);
  node->context = &context;
  node->dependencies = std::move(dependencies);
  node->handle = driver().nodes.add(node);
  graph->nodes.push_back(node);
  return node;
}

std::shared_ptr<const Plan> make_plan(const Graph& graph) {
  std::unordered_map<const Node*, size_t> index;
  for (const auto& node : graph.nodes) index.emplace(node.get(), index.size());
  auto plan = std::make_shared<Plan>();
  for (const auto& node : graph.nodes) {
    PlanNode& made = plan->nodes.emplace_back();
    made.work = node->work;
    made.context = node->context;
    made.origin = node->handle;
    for (const auto& before : node->dependencies) {
      made.dependencies.push_back(index.at(before.get()));
    }
    std::sort(made.dependencies.begin(), made.dependencies.end());
  }
  require(walk(dependencies_of(*plan), [](size_t) {}));
  return plan;
}

CUgraphExecUpdateResult update_plan(Exec& exec, const Graph& graph, CUgraphNode& culprit) {
  const std::shared_ptr<const Plan> wanted = make_plan(graph);
  const std::vector<PlanNode>& now = exec.plan->nodes;
  if (now.size() != wanted->nodes.size()) return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
  for (size_t i = 0; i < now.size(); ++i) {
    const PlanNode& node = wanted->nodes[i];
    culprit = node.origin;
    if (node.dependencies != now[i].dependencies)
      return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    if (node_type(node.work) != node_type(now[i].work)) {
      return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
    }
    if (node.context != now[i].context || !updatable(now[i].work, node.work)) {
      return CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
    }
  }
  culprit = nullptr;
  // Nodes are still named as in the graph that the executable one was made of.
  auto updated = std::make_shared<Plan>(*exec.plan);
  for (size_t i = 0; i < now.size(); ++i) updated->nodes[i].work = wanted->nodes[i].work;
  exec.plan = std::move(updated);
  return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

void execute_plan(const Plan& plan) {
  walk(dependencies_of(plan), [&](size_t index) {
    const PlanNode& node = plan.nodes[index];
    if (node.enabled) execute(node.work, *node.context);
  });
}

}  // namespace cermet::fakecuda
