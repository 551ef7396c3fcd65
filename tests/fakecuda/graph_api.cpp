// Entry points that make and inspect graphs.

#include <algorithm>

#include "fakecuda/driver.h"
#include "fakecuda/node_parameters.h"

namespace cermet::fakecuda {
namespace {

using NodePointer = std::shared_ptr<Node>;

std::vector<NodePointer> nodes_of(const CUgraphNode* handles, size_t count) {
  require(count == 0 || handles != nullptr);
  std::vector<NodePointer> nodes;
  for (size_t i = 0; i < count; ++i) {
    nodes.push_back(driver().nodes.get(handles[i], CUDA_ERROR_INVALID_VALUE));
  }
  return nodes;
}

std::shared_ptr<Graph> graph_of(CUgraph handle) {
  return driver().graphs.get(handle, CUDA_ERROR_INVALID_VALUE);
}

NodePointer node_of(CUgraphNode handle) {
  return driver().nodes.get(handle, CUDA_ERROR_INVALID_VALUE);
}

// `make` gives the node's work; `context` says where it runs, the current context if null.
template <class Make>
CUresult add(const char* name, CUgraphNode* result, CUgraph graph, const CUgraphNode* dependencies,
             size_t count, CUcontext context, Make make) {
  return in_context(name, [&](Context& current) {
    require(result != nullptr);
    Context& home = context == nullptr ? current : *driver().contexts.get(context);
    *result = add_node(graph_of(graph), make(), home, nodes_of(dependencies, count))->handle;
  });
}

// The protocol of all lists: with no array the number is told, with one it is filled, the rest of
// it with null.
void put_nodes(const std::vector<NodePointer>& nodes, CUgraphNode* result, size_t* count) {
  require(count != nullptr);
  if (result != nullptr) {
    for (size_t i = 0; i < *count; ++i) result[i] = i < nodes.size() ? nodes[i]->handle : nullptr;
    *count = std::min(*count, nodes.size());
  } else {
    *count = nodes.size();
  }
}

CUresult get_edges(CUgraph handle, CUgraphNode* from, CUgraphNode* to, CUgraphEdgeData* data,
                   size_t* count) {
  return initialised("cuGraphGetEdges", [&] {
    std::vector<NodePointer> sources, targets;
    for (const auto& node : graph_of(handle)->nodes) {
      for (const auto& before : node->dependencies) {
        sources.push_back(before);
        targets.push_back(node);
      }
    }
    require(count != nullptr && (from == nullptr) == (to == nullptr));
    size_t room = *count;
    put_nodes(sources, from, &room);
    put_nodes(targets, to, count);
    for (size_t i = 0; data != nullptr && i < *count; ++i) data[i] = CUgraphEdgeData{};
  });
}

CUresult get_dependencies(CUgraphNode node, CUgraphNode* dependencies, CUgraphEdgeData* data,
                          size_t* count) {
  return initialised("cuGraphNodeGetDependencies", [&] {
    put_nodes(node_of(node)->dependencies, dependencies, count);
    for (size_t i = 0; data != nullptr && i < *count; ++i) data[i] = CUgraphEdgeData{};
  });
}

CUresult add_dependencies(CUgraph handle, const CUgraphNode* from, const CUgraphNode* to,
                          size_t count) {
  return initialised("cuGraphAddDependencies", [&] {
    const auto graph = graph_of(handle);
    const std::vector<NodePointer> sources = nodes_of(from, count), targets = nodes_of(to, count);
    for (size_t i = 0; i < count; ++i) {
      require(sources[i]->graph.lock() == graph && targets[i]->graph.lock() == graph);
      auto& all = targets[i]->dependencies;
      require(std::find(all.begin(), all.end(), sources[i]) == all.end());
      all.push_back(sources[i]);
    }
  });
}

}  // namespace

CUresult cuGraphCreate(CUgraph* graph, unsigned flags) {
  return initialised("cuGraphCreate", [&] {
    require(flags == 0);
    out(graph) = create_graph()->handle;
  });
}

CUresult cuGraphDestroy(CUgraph graph) {
  return initialised("cuGraphDestroy", [&] { destroy_graph(*graph_of(graph)); });
}

CUresult cuGraphClone(CUgraph* clone, CUgraph handle) {
  return initialised("cuGraphClone", [&] {
    require(clone != nullptr);
    const auto original = graph_of(handle);
    const auto plan = make_plan(*original);
    const auto copy = create_graph();
    for (const auto& node : original->nodes) add_node(copy, node->work, *node->context, {});
    for (size_t i = 0; i < plan->nodes.size(); ++i) {
      for (const size_t before : plan->nodes[i].dependencies) {
        copy->nodes[i]->dependencies.push_back(copy->nodes[before]);
      }
    }
    *clone = copy->handle;
  });
}

// ---- Nodes -------------------------------------------------------------------------------------

CUresult cuGraphAddKernelNode_v2(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                                 size_t count, const CUDA_KERNEL_NODE_PARAMS* parameters) {
  return add("cuGraphAddKernelNode", node, graph, dependencies, count,
             parameters == nullptr ? nullptr : parameters->ctx,
             [&] { return kernel_work(parameters); });
}

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS* parameters) {
  return initialised("cuGraphKernelNodeGetParams",
                     [&] { out(parameters) = kernel_parameters(node_of(node)->work); });
}

CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode handle,
                                       const CUDA_KERNEL_NODE_PARAMS* parameters) {
  return in_context("cuGraphKernelNodeSetParams", [&](Context&) {
    const auto node = node_of(handle);
    require(std::holds_alternative<KernelWork>(node->work));
    node->work = kernel_work(parameters);
  });
}

CUresult cuGraphAddMemcpyNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                              size_t count, const CUDA_MEMCPY3D* parameters, CUcontext context) {
  return add("cuGraphAddMemcpyNode", node, graph, dependencies, count, context,
             [&] { return copy_work(parameters); });
}

CUresult cuGraphMemcpyNodeGetParams(CUgraphNode node, CUDA_MEMCPY3D* parameters) {
  return initialised("cuGraphMemcpyNodeGetParams",
                     [&] { out(parameters) = copy_parameters(node_of(node)->work); });
}

CUresult cuGraphAddMemsetNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                              size_t count, const CUDA_MEMSET_NODE_PARAMS* parameters,
                              CUcontext context) {
  return add("cuGraphAddMemsetNode", node, graph, dependencies, count, context,
             [&] { return fill_work(parameters); });
}

CUresult cuGraphMemsetNodeGetParams(CUgraphNode node, CUDA_MEMSET_NODE_PARAMS* parameters) {
  return initialised("cuGraphMemsetNodeGetParams",
                     [&] { out(parameters) = fill_parameters(node_of(node)->work); });
}

CUresult cuGraphAddHostNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                            size_t count, const CUDA_HOST_NODE_PARAMS* parameters) {
  return add("cuGraphAddHostNode", node, graph, dependencies, count, nullptr, [&] {
    require(parameters != nullptr && parameters->fn != nullptr);
    return HostWork{parameters->fn, parameters->userData};
  });
}

CUresult cuGraphAddEmptyNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                             size_t count) {
  return add("cuGraphAddEmptyNode", node, graph, dependencies, count, nullptr,
             [] { return EmptyWork{}; });
}

CUresult cuGraphAddChildGraphNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                                  size_t count, CUgraph child) {
  return add("cuGraphAddChildGraphNode", node, graph, dependencies, count, nullptr,
             [&] { return GraphWork{make_plan(*graph_of(child)), false}; });
}

CUresult cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType* type) {
  return initialised("cuGraphNodeGetType", [&] { out(type) = node_type(node_of(node)->work); });
}

CUresult cuGraphDestroyNode(CUgraphNode handle) {
  return initialised("cuGraphDestroyNode", [&] {
    const auto node = node_of(handle);
    const auto graph = node->graph.lock();
    std::erase(graph->nodes, node);
    for (const auto& other : graph->nodes) std::erase(other->dependencies, node);
    driver().nodes.remove(handle);
  });
}

// ---- Edges -------------------------------------------------------------------------------------

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode* nodes, size_t* count) {
  return initialised("cuGraphGetNodes", [&] { put_nodes(graph_of(graph)->nodes, nodes, count); });
}

CUresult cuGraphGetRootNodes(CUgraph graph, CUgraphNode* nodes, size_t* count) {
  return initialised("cuGraphGetRootNodes", [&] {
    std::vector<NodePointer> roots;
    for (const auto& node : graph_of(graph)->nodes) {
      if (node->dependencies.empty()) roots.push_back(node);
    }
    put_nodes(roots, nodes, count);
  });
}

CUresult cuGraphGetEdges(CUgraph graph, CUgraphNode* from, CUgraphNode* to, size_t* count) {
  return get_edges(graph, from, to, nullptr, count);
}

CUresult cuGraphGetEdges_v2(CUgraph graph, CUgraphNode* from, CUgraphNode* to,
                            CUgraphEdgeData* data, size_t* count) {
  return get_edges(graph, from, to, data, count);
}

CUresult cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode* dependencies, size_t* count) {
  return get_dependencies(node, dependencies, nullptr, count);
}

CUresult cuGraphNodeGetDependencies_v2(CUgraphNode node, CUgraphNode* dependencies,
                                       CUgraphEdgeData* data, size_t* count) {
  return get_dependencies(node, dependencies, data, count);
}

CUresult cuGraphAddDependencies(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to,
                                size_t count) {
  return add_dependencies(graph, from, to, count);
}

CUresult cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to,
                                   const CUgraphEdgeData*, size_t count) {
  return add_dependencies(graph, from, to, count);
}

CUresult cuGraphRemoveDependencies(CUgraph handle, const CUgraphNode* from, const CUgraphNode* to,
                                   size_t count) {
  return initialised("cuGraphRemoveDependencies", [&] {
    graph_of(handle);
    const std::vector<NodePointer> sources = nodes_of(from, count), targets = nodes_of(to, count);
    for (size_t i = 0; i < count; ++i) {
      require(std::erase(targets[i]->dependencies, sources[i]) == 1);
    }
  });
}

}  // namespace cermet::fakecuda
