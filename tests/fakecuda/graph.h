#pragma once
// Graphs: nodes of work and what each depends on; how streams are captured into them; what is made
// of them when they are instantiated.

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "fakecuda/abi.h"
#include "fakecuda/stream.h"
#include "fakecuda/work.h"

namespace cermet::fakecuda {

struct Graph;

struct Node {
  CUgraphNode handle = nullptr;
  std::weak_ptr<Graph> graph;
  Work work;
  Context* context = nullptr;  // that its work runs in
  std::vector<std::shared_ptr<Node>> dependencies;
};

struct Graph {
  CUgraph handle = nullptr;
  std::vector<std::shared_ptr<Node>> nodes;  // in the order of creation
};

// An executable graph: a plan, which a launch holds on to, so that it can be changed for the next.
struct PlanNode {
  Work work;
  Context* context = nullptr;
  std::vector<size_t> dependencies;
  CUgraphNode origin = nullptr;
  bool enabled = true;
};
struct Plan {
  std::vector<PlanNode> nodes;
};

struct Exec {
  CUgraphExec handle = nullptr;
  uint64_t flags = 0;
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<Completion> last_launch;
};

std::shared_ptr<Graph> create_graph();
void destroy_graph(Graph& graph);

// Adds a node. Failure if a dependency is not of this graph.
std::shared_ptr<Node> add_node(const std::shared_ptr<Graph>& graph, Work work, Context& context,
                               std::vector<std::shared_ptr<Node>> dependencies);

// Failure 1 if the graph has a cycle.
std::shared_ptr<const Plan> make_plan(const Graph& graph);

// Makes a plan that runs what `graph` says now. Says what is different if they do not match.
CUgraphExecUpdateResult update_plan(Exec& exec, const Graph& graph, CUgraphNode& culprit);

// Runs the nodes, each after what it depends on and otherwise in an order of the schedule's choice.
void execute_plan(const Plan& plan);

// ---- Capture -----------------------------------------------------------------------------------

struct Capture {
  uint64_t id = 0;
  std::shared_ptr<Graph> graph;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::thread::id owner;
  Stream* origin = nullptr;
  std::vector<Stream*> streams;  // that take part
  bool invalidated = false;
};

// Whether it has begun and not ended.
bool goes_on(const std::shared_ptr<Capture>& capture);

void begin_capture(Stream& stream, CUstreamCaptureMode mode);
// The captured graph. Failure 900 to 908 if the capture was not done as it must be.
std::shared_ptr<Graph> end_capture(Stream& stream);

// The stream's work is recorded as a node.
void capture_work(Stream& stream, Work work);
void capture_record(Stream& stream, Event& event);
// The stream waits for the event: it joins the event's capture if it was not in one.
void capture_wait(Stream& stream, const Event& event);

// Failure 900 if the stream is capturing, which invalidates the capture: the call cannot be
// captured.
void forbid_capturing(Stream& stream);
// Failure 900 if any capture forbids calls that are unsafe while it goes on.
void forbid_unsafe_call();
// Failure 906 if work on the legacy stream would depend on a stream that is capturing.
void forbid_implicit_dependency(Context& context);

// The thread's own mode, which decides what forbid_unsafe_call forbids.
CUstreamCaptureMode& thread_capture_mode();

}  // namespace cermet::fakecuda
