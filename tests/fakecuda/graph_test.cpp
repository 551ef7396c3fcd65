// Graphs: captured, built by hand, instantiated, changed and launched. Fills and copies stand for
// kernels here; launch_test.cpp has graphs of kernels.

#include <algorithm>
#include <thread>
#include <vector>

#include "fakecuda/harness.h"
#include "support/catch.h"

using namespace cermet::fakecuda;

namespace {

void begin(const Session& cuda, CUstream stream,
           CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) {
  OK(cuda.cuStreamBeginCapture_v2(stream, mode));
}

CUgraph end(const Session& cuda, CUstream stream) {
  CUgraph graph = nullptr;
  OK(cuda.cuStreamEndCapture(stream, &graph));
  return graph;
}

CUgraphExec instantiate(const Session& cuda, CUgraph graph) {
  CUgraphExec exec = nullptr;
  OK(cuda.cuGraphInstantiateWithFlags(&exec, graph, 0));
  return exec;
}

unsigned word(const Session& cuda, CUdeviceptr at) {
  unsigned value = 0;
  OK(cuda.cuMemcpyDtoH_v2(&value, at, 4));
  return value;
}

size_t node_count(const Session& cuda, CUgraph graph) {
  size_t count = 0;
  OK(cuda.cuGraphGetNodes(graph, nullptr, &count));
  return count;
}

}  // namespace

TEST_CASE("graph: a captured stream does nothing until the graph is launched, then as often") {
  const std::string schedule = GENERATE(from_range(schedules()));
  CAPTURE(schedule);
  const Session cuda("FAKECUDA_SCHEDULE=" + schedule);
  const CUstream stream = cuda.stream();
  const CUdeviceptr a = cuda.allocate(4), b = cuda.allocate(4);
  OK(cuda.cuMemsetD32Async(b, 1, 1, stream));
  OK(cuda.cuStreamSynchronize(stream));

  begin(cuda, stream);
  CUstreamCaptureStatus status{};
  OK(cuda.cuStreamIsCapturing(stream, &status));
  CHECK(status == CU_STREAM_CAPTURE_STATUS_ACTIVE);
  OK(cuda.cuMemsetD32Async(a, 5, 1, stream));
  OK(cuda.cuMemcpyDtoDAsync_v2(b, a, 4, stream));
  const CUgraph graph = end(cuda, stream);
  OK(cuda.cuStreamIsCapturing(stream, &status));
  CHECK(status == CU_STREAM_CAPTURE_STATUS_NONE);
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(word(cuda, b) == 1);
  CHECK(node_count(cuda, graph) == 2);

  const CUgraphExec exec = instantiate(cuda, graph);
  OK(cuda.cuGraphDestroy(graph));
  for (int i = 0; i < 3; ++i) {
    OK(cuda.cuMemsetD32Async(b, 0, 1, stream));
    OK(cuda.cuGraphLaunch(exec, stream));
    OK(cuda.cuStreamSynchronize(stream));
    CHECK(word(cuda, b) == 5);
  }
  CHECK(cuda.counters().graph_launches == 3);
  OK(cuda.cuGraphExecDestroy(exec));
  OK(cuda.cuMemFree_v2(a));
  OK(cuda.cuMemFree_v2(b));
  OK(cuda.cuStreamDestroy_v2(stream));
  OK(cuda.cuDevicePrimaryCtxRelease_v2(0));
  CHECK(cuda.violations().empty());
}

TEST_CASE("graph: a fork and a join by events are captured with their order") {
  const std::string schedule = GENERATE(from_range(schedules()));
  CAPTURE(schedule);
  const Session cuda("FAKECUDA_SCHEDULE=" + schedule);
  const CUstream main = cuda.stream(), side = cuda.stream();
  const CUevent fork = cuda.event(), join = cuda.event();
  const CUdeviceptr a = cuda.allocate(16);
  begin(cuda, main);
  OK(cuda.cuMemsetD32Async(a, 1, 4, main));
  OK(cuda.cuEventRecord(fork, main));
  OK(cuda.cuStreamWaitEvent(side, fork, 0));
  OK(cuda.cuMemsetD32Async(a + 4, 2, 1, side));
  OK(cuda.cuMemsetD32Async(a + 8, 3, 1, main));
  OK(cuda.cuEventRecord(join, side));
  OK(cuda.cuStreamWaitEvent(main, join, 0));
  OK(cuda.cuMemcpyDtoDAsync_v2(a + 12, a + 4, 4, main));
  const CUgraph graph = end(cuda, main);

  size_t roots = 0, edges = 0;
  OK(cuda.cuGraphGetRootNodes(graph, nullptr, &roots));
  CHECK(roots == 1);
  OK(cuda.cuGraphGetEdges(graph, nullptr, nullptr, &edges));
  CHECK(edges == 4);
  OK(cuda.cuGraphLaunch(instantiate(cuda, graph), main));
  OK(cuda.cuStreamSynchronize(main));
  CHECK(word(cuda, a) == 1);
  CHECK(word(cuda, a + 4) == 2);
  CHECK(word(cuda, a + 8) == 3);
  CHECK(word(cuda, a + 12) == 2);
}

TEST_CASE("graph: nodes can be added by hand, in any shape without a cycle") {
  const Session cuda;
  const CUdeviceptr a = cuda.allocate(8);
  CUgraph graph = nullptr;
  OK(cuda.cuGraphCreate(&graph, 0));
  CUDA_MEMSET_NODE_PARAMS fill{a, 0, 9, 4, 1, 1};
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.srcDevice = a;
  copy.dstDevice = a + 4;
  copy.WidthInBytes = 4;
  copy.Height = copy.Depth = 1;
  CUgraphNode first = nullptr, second = nullptr, third = nullptr;
  OK(cuda.cuGraphAddMemcpyNode(&second, graph, nullptr, 0, &copy, cuda.context));
  OK(cuda.cuGraphAddMemsetNode(&first, graph, nullptr, 0, &fill, cuda.context));
  OK(cuda.cuGraphAddDependencies(graph, &first, &second, 1));
  OK(cuda.cuGraphAddEmptyNode(&third, graph, &second, 1));
  CUgraphNodeType type{};
  OK(cuda.cuGraphNodeGetType(second, &type));
  CHECK(type == CU_GRAPH_NODE_TYPE_MEMCPY);

  const CUgraphExec exec = instantiate(cuda, graph);
  OK(cuda.cuGraphLaunch(exec, nullptr));
  CHECK(word(cuda, a + 4) == 9);

  CUDA_MEMSET_NODE_PARAMS read{};
  OK(cuda.cuGraphMemsetNodeGetParams(first, &read));
  CHECK((read.dst == a && read.value == 9));
  fill.value = 10;
  OK(cuda.cuGraphExecMemsetNodeSetParams(exec, first, &fill, cuda.context));
  OK(cuda.cuGraphLaunch(exec, nullptr));
  CHECK(word(cuda, a + 4) == 10);
  OK(cuda.cuGraphNodeSetEnabled(exec, second, 0));
  fill.value = 11;
  OK(cuda.cuGraphExecMemsetNodeSetParams(exec, first, &fill, cuda.context));
  OK(cuda.cuGraphLaunch(exec, nullptr));
  CHECK(word(cuda, a) == 11);
  CHECK(word(cuda, a + 4) == 10);

  OK(cuda.cuGraphAddDependencies(graph, &third, &first, 1));
  CUgraphExec none = nullptr;
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuGraphInstantiateWithFlags(&none, graph, 0));
  OK(cuda.cuGraphRemoveDependencies(graph, &third, &first, 1));
  OK(cuda.cuGraphDestroyNode(third));
  CHECK(node_count(cuda, graph) == 2);
}

TEST_CASE("graph: a change for the next launch does not reach one that is queued") {
  const Session cuda;
  const CUdeviceptr a = cuda.allocate(4), seen = cuda.allocate(8);
  const CUstream stream = cuda.stream();
  CUgraph graph = nullptr;
  CUgraphNode node = nullptr;
  OK(cuda.cuGraphCreate(&graph, 0));
  CUDA_MEMSET_NODE_PARAMS fill{a, 0, 1, 4, 1, 1};
  OK(cuda.cuGraphAddMemsetNode(&node, graph, nullptr, 0, &fill, cuda.context));
  const CUgraphExec exec = instantiate(cuda, graph);
  OK(cuda.cuGraphLaunch(exec, stream));
  OK(cuda.cuMemcpyDtoDAsync_v2(seen, a, 4, stream));
  fill.value = 2;
  OK(cuda.cuGraphExecMemsetNodeSetParams(exec, node, &fill, cuda.context));
  OK(cuda.cuGraphLaunch(exec, stream));
  OK(cuda.cuMemcpyDtoDAsync_v2(seen + 4, a, 4, stream));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(word(cuda, seen) == 1);
  CHECK(word(cuda, seen + 4) == 2);
}

TEST_CASE("graph: an update takes a graph of the same shape and refuses another") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  const CUdeviceptr a = cuda.allocate(8);
  const auto capture = [&](unsigned value, int nodes, bool copy) {
    begin(cuda, stream);
    for (int i = 0; i < nodes; ++i) OK(cuda.cuMemsetD32Async(a, value, 1, stream));
    if (copy) OK(cuda.cuMemcpyDtoDAsync_v2(a + 4, a, 4, stream));
    return end(cuda, stream);
  };
  const CUgraphExec exec = instantiate(cuda, capture(1, 2, false));
  CUgraphExecUpdateResultInfo result{};
  OK(cuda.cuGraphExecUpdate_v2(exec, capture(2, 2, false), &result));
  CHECK(result.result == CU_GRAPH_EXEC_UPDATE_SUCCESS);
  OK(cuda.cuGraphLaunch(exec, stream));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(word(cuda, a) == 2);
  EXPECT(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE,
         cuda.cuGraphExecUpdate_v2(exec, capture(3, 3, false), &result));
  CHECK(result.result == CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
  EXPECT(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE,
         cuda.cuGraphExecUpdate_v2(exec, capture(3, 1, true), &result));
  CHECK(result.result == CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED);
  CHECK(result.errorNode != nullptr);
  OK(cuda.cuGraphLaunch(exec, stream));  // as it was
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(word(cuda, a) == 2);
  CHECK(cuda.counters().graph_updates == 1);
}

TEST_CASE("graph: graphs nest, captured or added") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  const CUdeviceptr a = cuda.allocate(8);
  begin(cuda, stream);
  OK(cuda.cuMemsetD32Async(a, 3, 1, stream));
  const CUgraph inner = end(cuda, stream);
  const CUgraphExec inner_exec = instantiate(cuda, inner);
  begin(cuda, stream);
  OK(cuda.cuGraphLaunch(inner_exec, stream));
  OK(cuda.cuMemcpyDtoDAsync_v2(a + 4, a, 4, stream));
  const CUgraph outer = end(cuda, stream);
  CUgraphNode child = nullptr;
  OK(cuda.cuGraphAddChildGraphNode(&child, outer, nullptr, 0, inner));
  OK(cuda.cuGraphLaunch(instantiate(cuda, outer), stream));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(word(cuda, a + 4) == 3);
  CHECK(cuda.counters().graph_launches == 1);
}

TEST_CASE("graph: memory allocated in a capture lives from launch to launch") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  const CUdeviceptr a = cuda.allocate(4);
  begin(cuda, stream);
  CUdeviceptr inside = 0;
  OK(cuda.cuMemAllocAsync(&inside, 4, stream));
  OK(cuda.cuMemsetD32Async(inside, 8, 1, stream));
  OK(cuda.cuMemcpyDtoDAsync_v2(a, inside, 4, stream));
  OK(cuda.cuMemFreeAsync(inside, stream));
  const CUgraphExec exec = instantiate(cuda, end(cuda, stream));
  for (int i = 0; i < 2; ++i) OK(cuda.cuGraphLaunch(exec, stream));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(word(cuda, a) == 8);
  CHECK(cuda.violations().empty());
}

TEST_CASE("graph: launches of one executable graph do not overlap, on whatever streams") {
  const std::string schedule = GENERATE(from_range(schedules()));
  const Session cuda("FAKECUDA_SCHEDULE=" + schedule);
  const CUstream a = cuda.stream(), b = cuda.stream();
  std::vector<int> list;
  begin(cuda, a);
  OK(cuda.cuLaunchHostFunc(
      a, [](void* data) { static_cast<std::vector<int>*>(data)->push_back(1); }, &list));
  const CUgraphExec exec = instantiate(cuda, end(cuda, a));
  OK(cuda.cuGraphLaunch(exec, a));
  OK(cuda.cuGraphLaunch(exec, b));
  OK(cuda.cuStreamSynchronize(b));
  CHECK(list.size() == 2);
}

TEST_CASE("graph: an event recorded or waited for from outside becomes a node") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  const CUevent event = cuda.event();
  begin(cuda, stream);
  OK(cuda.cuEventRecordWithFlags(event, stream, CU_EVENT_RECORD_EXTERNAL));
  const CUgraph graph = end(cuda, stream);
  CHECK(node_count(cuda, graph) == 1);
  const CUgraphExec exec = instantiate(cuda, graph);
  OK(cuda.cuGraphLaunch(exec, stream));
  OK(cuda.cuStreamSynchronize(stream));
  OK(cuda.cuEventQuery(event));
}

TEST_CASE("graph: a clone is a graph of its own") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  const CUdeviceptr a = cuda.allocate(4);
  begin(cuda, stream);
  OK(cuda.cuMemsetD32Async(a, 3, 1, stream));
  OK(cuda.cuMemsetD32Async(a, 4, 1, stream));
  const CUgraph graph = end(cuda, stream);
  CUgraph clone = nullptr;
  OK(cuda.cuGraphClone(&clone, graph));
  OK(cuda.cuGraphDestroy(graph));
  CHECK(node_count(cuda, clone) == 2);
  OK(cuda.cuGraphLaunch(instantiate(cuda, clone), stream));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(word(cuda, a) == 4);
}

TEST_CASE("graph: a capture tells its id, graph and dependencies, and they can be changed") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  const CUdeviceptr a = cuda.allocate(8);
  CUstreamCaptureStatus status{};
  uint64_t id = 0;
  CUgraph graph = nullptr;
  const CUgraphNode* nodes = nullptr;
  size_t count = 9;
  OK(cuda.cuStreamGetCaptureInfo_v2(stream, &status, &id, &graph, &nodes, &count));
  CHECK(status == CU_STREAM_CAPTURE_STATUS_NONE);
  begin(cuda, stream);
  OK(cuda.cuMemsetD32Async(a, 3, 1, stream));
  OK(cuda.cuStreamGetCaptureInfo_v2(stream, &status, &id, &graph, &nodes, &count));
  CHECK(status == CU_STREAM_CAPTURE_STATUS_ACTIVE);
  REQUIRE(count == 1);
  CUDA_MEMSET_NODE_PARAMS fill{a, 0, 4, 4, 1, 1};
  CUgraphNode added = nullptr;
  OK(cuda.cuGraphAddMemsetNode(&added, graph, nodes, 1, &fill, cuda.context));
  OK(cuda.cuStreamUpdateCaptureDependencies(stream, &added, 1, 1));
  OK(cuda.cuMemcpyDtoDAsync_v2(a + 4, a, 4, stream));
  const CUgraph captured = end(cuda, stream);
  CHECK(captured == graph);
  OK(cuda.cuGraphLaunch(instantiate(cuda, captured), stream));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(word(cuda, a + 4) == 4);
}
