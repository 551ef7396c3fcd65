// Stream capture: work asked of a capturing stream becomes nodes of a graph, and events carry
// dependencies, and the capture itself, from stream to stream. What must not happen meanwhile has a
// result of its own for each rule, and most of it spoils the capture.

#include <algorithm>
#include <set>
#include <utility>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

[[noreturn]] void spoil(Capture& capture, CUresult code) {
  capture.invalidated = true;
  fail(code);
}

void join(Stream& stream, const std::shared_ptr<Capture>& capture) {
  stream.capture = capture;
  stream.capture_dependencies.clear();
  capture->streams.push_back(&stream);
}

void add_dependencies(Stream& stream, const std::vector<std::shared_ptr<Node>>& nodes) {
  auto& all = stream.capture_dependencies;
  for (const auto& node : nodes) {
    if (std::find(all.begin(), all.end(), node) == all.end()) all.push_back(node);
  }
}

void close(const std::shared_ptr<Capture>& capture) {
  for (Stream* stream : capture->streams) {
    stream->capture = nullptr;
    stream->capture_dependencies.clear();
  }
  std::erase(driver().captures, capture);
}

// Whether everything that other streams did leads to what the origin did last.
bool joined(const Capture& capture) {
  std::set<const Node*> reached;
  std::vector<const Node*> left;
  for (const auto& node : capture.origin->capture_dependencies) left.push_back(node.get());
  while (!left.empty()) {
    const Node* node = left.back();
    left.pop_back();
    if (!reached.insert(node).second) continue;
    for (const auto& before : node->dependencies) left.push_back(before.get());
  }
  return std::all_of(capture.graph->nodes.begin(), capture.graph->nodes.end(),
                     [&](const auto& node) { return reached.contains(node.get()); });
}

}  // namespace

CUstreamCaptureMode& thread_capture_mode() {
  thread_local CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  return mode;
}

bool goes_on(const std::shared_ptr<Capture>& capture) {
  const auto& all = driver().captures;
  return capture && std::find(all.begin(), all.end(), capture) != all.end();
}

void begin_capture(Stream& stream, CUstreamCaptureMode mode) {
  require(mode <= CU_STREAM_CAPTURE_MODE_RELAXED);
  if (stream.legacy) fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  if (stream.capture) fail(CUDA_ERROR_ILLEGAL_STATE);
  auto capture = std::make_shared<Capture>();
  capture->id = ++driver().last_id;
  capture->graph = create_graph();
  capture->mode = mode;
  capture->owner = std::this_thread::get_id();
  capture->origin = &stream;
  join(stream, capture);
  driver().captures.push_back(capture);
}

std::shared_ptr<Graph> end_capture(Stream& stream) {
  const std::shared_ptr<Capture> capture = stream.capture;
  if (!capture) fail(CUDA_ERROR_ILLEGAL_STATE);
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
      capture->owner != std::this_thread::get_id()) {
    fail(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
  }
  if (capture->origin != &stream) spoil(*capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  const bool complete = joined(*capture);
  close(capture);
  if (!capture->invalidated && complete) return capture->graph;
  destroy_graph(*capture->graph);
  fail(capture->invalidated ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
                            : CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
}

void capture_work(Stream& stream, Work work) {
  if (stream.capture->invalidated) fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  auto node = add_node(stream.capture->graph, std::move(work), *stream.context,
                       stream.capture_dependencies);
  stream.capture_dependencies = {std::move(node)};
}

void capture_record(Stream& stream, Event& event) {
  if (stream.capture->invalidated) fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  event.capture = stream.capture;
  event.capture_dependencies = stream.capture_dependencies;
}

void capture_wait(Stream& stream, const Event& event) {
  if (!goes_on(event.capture)) {
    // The event may have been recorded by work that no graph contains.
    if (event.capture || event.ever_recorded) {
      spoil(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    }
    return;
  }
  if (event.capture->invalidated) fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  if (!stream.capture) {
    if (stream.legacy) spoil(*event.capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    join(stream, event.capture);
  } else if (stream.capture != event.capture) {
    event.capture->invalidated = true;
    spoil(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_MERGE);
  }
  add_dependencies(stream, event.capture_dependencies);
}

void forbid_capturing(Stream& stream) {
  if (stream.capture) spoil(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

// The rules are those of cuThreadExchangeStreamCaptureMode.
void forbid_unsafe_call() {
  const CUstreamCaptureMode mine = thread_capture_mode();
  if (mine == CU_STREAM_CAPTURE_MODE_RELAXED) return;
  for (const auto& capture : driver().captures) {
    const bool local = capture->owner == std::this_thread::get_id() &&
                       capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    const bool global =
        capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL && mine == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (local || global) spoil(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  }
}

void forbid_implicit_dependency(Context& context) {
  for (const auto& stream : context.streams) {
    if (stream->capture && stream->blocking()) {
      spoil(*stream->capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    }
  }
}

}  // namespace cermet::fakecuda
