// Entry points about executable graphs.

#include <algorithm>

#include "fakecuda/driver.h"
#include "fakecuda/node_parameters.h"

namespace cermet::fakecuda {
namespace {

constexpr uint64_t known_flags = CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH |
                                 CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD |
                                 CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;

std::shared_ptr<Exec> exec_of(CUgraphExec handle) {
  return driver().execs.get(handle, CUDA_ERROR_INVALID_VALUE);
}

CUgraphExec instantiate(CUgraph graph, uint64_t flags) {
  require((flags & ~known_flags) == 0);
  auto exec = std::make_shared<Exec>();
  exec->flags = flags;
  exec->plan = make_plan(*driver().graphs.get(graph, CUDA_ERROR_INVALID_VALUE));
  exec->handle = driver().execs.add(exec);
  ++driver().report.counters.graph_instantiations;
  return exec->handle;
}

// Changes one node of the plan; launches that are queued keep the plan they have.
template <class Change>
CUresult change(const char* name, CUgraphExec handle, CUgraphNode origin, Change function) {
  return in_context(name, [&](Context&) {
    const auto exec = exec_of(handle);
    auto plan = std::make_shared<Plan>(*exec->plan);
    const auto node = std::find_if(plan->nodes.begin(), plan->nodes.end(),
                                   [&](const PlanNode& one) { return one.origin == origin; });
    require(node != plan->nodes.end());
    function(*node);
    exec->plan = std::move(plan);
  });
}

template <class Work>
void replace(PlanNode& node, Work work) {
  require(std::holds_alternative<Work>(node.work));
  node.work = std::move(work);
}

// Memory that the last launch left allocated is freed, where the graph was told to do so.
void free_left(const Plan& plan) {
  for (const PlanNode& node : plan.nodes) {
    const auto* work = std::get_if<AllocateWork>(&node.work);
    if (work == nullptr) continue;
    DeviceMemory& memory = driver().device_of(work->address)->memory;
    memory.suspend(*memory.find(work->address));
  }
}

}  // namespace

CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long flags) {
  return in_context("cuGraphInstantiate", [&](Context&) {
    require(exec != nullptr);
    *exec = instantiate(graph, flags);
  });
}

CUresult cuGraphInstantiateWithParams(CUgraphExec* exec, CUgraph graph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
  return in_context("cuGraphInstantiate", [&](Context&) {
    require(exec != nullptr && parameters != nullptr);
    parameters->hErrNode_out = nullptr;
    parameters->result_out = CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE;
    *exec = instantiate(graph, parameters->flags);
    parameters->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
  });
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
  return initialised("cuGraphExecDestroy", [&] {
    exec_of(exec);
    driver().execs.remove(exec);
  });
}

CUresult cuGraphExecGetFlags(CUgraphExec exec, uint64_t* flags) {
  return initialised("cuGraphExecGetFlags", [&] { out(flags) = exec_of(exec)->flags; });
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                           const CUDA_KERNEL_NODE_PARAMS* parameters) {
  return change("cuGraphExecKernelNodeSetParams", exec, node,
                [&](PlanNode& one) { replace(one, kernel_work(parameters)); });
}

CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_MEMCPY3D* parameters, CUcontext) {
  return change("cuGraphExecMemcpyNodeSetParams", exec, node,
                [&](PlanNode& one) { replace(one, copy_work(parameters)); });
}

CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_MEMSET_NODE_PARAMS* parameters, CUcontext) {
  return change("cuGraphExecMemsetNodeSetParams", exec, node,
                [&](PlanNode& one) { replace(one, fill_work(parameters)); });
}

CUresult cuGraphNodeSetEnabled(CUgraphExec exec, CUgraphNode node, unsigned enabled) {
  return change("cuGraphNodeSetEnabled", exec, node,
                [&](PlanNode& one) { one.enabled = enabled != 0; });
}

CUresult cuGraphNodeGetEnabled(CUgraphExec exec, CUgraphNode node, unsigned* enabled) {
  return in_context("cuGraphNodeGetEnabled", [&](Context&) {
    for (const PlanNode& one : exec_of(exec)->plan->nodes) {
      if (one.origin != node) continue;
      out(enabled) = one.enabled;
      return;
    }
    fail(CUDA_ERROR_INVALID_VALUE);
  });
}

CUresult cuGraphExecUpdate_v2(CUgraphExec handle, CUgraph graph,
                              CUgraphExecUpdateResultInfo* result) {
  return in_context("cuGraphExecUpdate", [&](Context&) {
    const auto exec = exec_of(handle);
    const auto wanted = driver().graphs.get(graph, CUDA_ERROR_INVALID_VALUE);
    CUgraphNode culprit = nullptr;
    const CUgraphExecUpdateResult found = update_plan(*exec, *wanted, culprit);
    if (result != nullptr) *result = {found, culprit, nullptr};
    require(found == CU_GRAPH_EXEC_UPDATE_SUCCESS, CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    ++driver().report.counters.graph_updates;
  });
}

CUresult cuGraphUpload(CUgraphExec exec, CUstream stream) {
  return in_context("cuGraphUpload", [&](Context& context) {
    exec_of(exec);
    stream_of(stream, context);
  });
}

// Launches of the same executable graph run one after another, on whatever streams.
CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream) {
  return in_context("cuGraphLaunch", [&](Context& context) {
    const auto exec = exec_of(handle);
    Stream& target = stream_of(stream, context);
    std::vector<std::shared_ptr<Completion>> after;
    if (exec->last_launch) after.push_back(exec->last_launch);
    if ((exec->flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH) != 0) {
      finish(exec->last_launch);
      free_left(*exec->plan);
    }
    const bool captured = target.capture != nullptr;
    auto completion = submit(target, GraphWork{exec->plan, !captured}, std::move(after));
    if (!captured) exec->last_launch = std::move(completion);
  });
}

}  // namespace cermet::fakecuda
