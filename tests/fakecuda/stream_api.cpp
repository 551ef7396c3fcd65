// Entry points about streams, events and capture.

#include <algorithm>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

CUresult create_stream(const char* name, CUstream* handle, unsigned flags, int priority) {
  return in_context(name, [&](Context& context) {
    require(handle != nullptr && flags <= CU_STREAM_NON_BLOCKING);
    auto stream = std::make_shared<Stream>();
    stream->context = &context;
    stream->flags = flags;
    stream->priority = std::clamp(priority, -5, 0);  // as the driver does
    stream->id = ++driver().last_id;
    stream->handle = driver().streams.add(stream);
    context.streams.push_back(stream);
    *handle = stream->handle;
  });
}

// What may not be asked of a stream, or done anywhere, while something is captured.
void forbid_captures(Stream& stream) {
  forbid_capturing(stream);
  if (stream.legacy) forbid_implicit_dependency(*stream.context);
  forbid_unsafe_call();
}

std::shared_ptr<Event> event_of(CUevent handle) {
  auto event = driver().events.get(handle);
  require_alive(*event->context);
  return event;
}

// The host may not wait for what is only recorded.
void forbid_captured(const Event& event) {
  if (event.capture) {
    if (goes_on(event.capture)) event.capture->invalidated = true;
    fail(CUDA_ERROR_CAPTURED_EVENT);
  }
  forbid_unsafe_call();
}

CUresult record(const char* name, CUevent handle, CUstream stream, unsigned flags) {
  return in_context(name, [&](Context& context) {
    const auto event = event_of(handle);
    Stream& target = stream_of(stream, context);
    require(flags <= CU_EVENT_RECORD_EXTERNAL);
    require(event->context == target.context, CUDA_ERROR_INVALID_HANDLE);
    if (target.capture && flags == CU_EVENT_RECORD_EXTERNAL) {
      submit(target, RecordWork{event});
    } else if (target.capture) {
      capture_record(target, *event);
    } else {
      require(flags == 0);
      event->recorded = submit(target, EmptyWork{});
      event->ever_recorded = true;
      event->capture = nullptr;
      event->capture_dependencies.clear();
    }
  });
}

CUresult elapsed_time(float* milliseconds, CUevent start, CUevent end) {
  return in_context("cuEventElapsedTime", [&](Context&) {
    const auto first = event_of(start), last = event_of(end);
    for (const auto& event : {first, last}) {
      const bool timed = (event->flags & CU_EVENT_DISABLE_TIMING) == 0;
      require(timed && event->recorded, CUDA_ERROR_INVALID_HANDLE);
      require(event->recorded->done, CUDA_ERROR_NOT_READY);
    }
    const auto from = static_cast<double>(first->recorded->time);
    const auto to = static_cast<double>(last->recorded->time);
    out(milliseconds) = static_cast<float>((to - from) * 1e-6);
  });
}

struct CaptureView {
  CUstreamCaptureStatus* status;
  uint64_t* id;
  CUgraph* graph;
  const CUgraphNode** dependencies;
  const CUgraphEdgeData** data;
  size_t* count;
};

CUresult capture_info(CUstream handle, const CaptureView& view) {
  return in_context("cuStreamGetCaptureInfo", [&](Context& context) {
    const Stream& stream = stream_of(handle, context);
    out(view.status) = CU_STREAM_CAPTURE_STATUS_NONE;
    if (view.count != nullptr) *view.count = 0;
    if (view.data != nullptr) *view.data = nullptr;
    if (!stream.capture) return;
    *view.status = stream.capture->invalidated ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                               : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    if (view.id != nullptr) *view.id = stream.capture->id;
    if (view.graph != nullptr) *view.graph = stream.capture->graph->handle;
    // Valid until the thread asks again.
    thread_local std::vector<CUgraphNode> nodes;
    nodes.clear();
    for (const auto& node : stream.capture_dependencies) nodes.push_back(node->handle);
    if (view.dependencies != nullptr) *view.dependencies = nodes.data();
    if (view.count != nullptr) *view.count = nodes.size();
  });
}

CUresult update_dependencies(CUstream handle, CUgraphNode* dependencies, size_t count,
                             unsigned flags) {
  return in_context("cuStreamUpdateCaptureDependencies", [&](Context& context) {
    Stream& stream = stream_of(handle, context);
    require(stream.capture != nullptr, CUDA_ERROR_ILLEGAL_STATE);
    require(flags <= 1 && (count == 0 || dependencies != nullptr));
    std::vector<std::shared_ptr<Node>> nodes;
    if (flags == 0) nodes = stream.capture_dependencies;
    for (size_t i = 0; i < count; ++i) {
      auto node = driver().nodes.get(dependencies[i]);
      require(node->graph.lock() == stream.capture->graph);
      if (std::find(nodes.begin(), nodes.end(), node) == nodes.end()) nodes.push_back(node);
    }
    stream.capture_dependencies = std::move(nodes);
  });
}

}  // namespace

// ---- Streams -----------------------------------------------------------------------------------

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
  return create_stream("cuStreamCreate", stream, flags, 0);
}

CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int priority) {
  return create_stream("cuStreamCreateWithPriority", stream, flags, priority);
}

// The stream finishes its work, whenever that runs.
CUresult cuStreamDestroy_v2(CUstream handle) {
  return in_context("cuStreamDestroy", [&](Context&) {
    const auto stream = driver().streams.get(handle);
    forbid_capturing(*stream);
    stream->destroyed = true;
    driver().streams.remove(handle);
    std::erase_if(stream->context->streams, [](const std::shared_ptr<Stream>& one) {
      return one->destroyed && one->queue.empty();
    });
  });
}

CUresult cuStreamGetPriority(CUstream stream, int* priority) {
  return in_context("cuStreamGetPriority",
                    [&](Context& context) { out(priority) = stream_of(stream, context).priority; });
}

CUresult cuStreamGetFlags(CUstream stream, unsigned* flags) {
  return in_context("cuStreamGetFlags",
                    [&](Context& context) { out(flags) = stream_of(stream, context).flags; });
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext* result) {
  return in_context("cuStreamGetCtx", [&](Context& context) {
    out(result) = stream_of(stream, context).context->handle;
  });
}

CUresult cuStreamGetCtx_v2(CUstream stream, CUcontext* result, CUgreenCtx* green) {
  return in_context("cuStreamGetCtx", [&](Context& context) {
    out(result) = stream_of(stream, context).context->handle;
    if (green != nullptr) *green = nullptr;
  });
}

CUresult cuStreamGetId(CUstream stream, unsigned long long* id) {
  return in_context("cuStreamGetId",
                    [&](Context& context) { out(id) = stream_of(stream, context).id; });
}

CUresult cuStreamGetDevice(CUstream stream, CUdevice* device) {
  return in_context("cuStreamGetDevice", [&](Context& context) {
    out(device) = stream_of(stream, context).context->device.ordinal;
  });
}

CUresult cuStreamQuery(CUstream stream) {
  return in_context("cuStreamQuery", [&](Context& context) {
    Stream& target = stream_of(stream, context);
    forbid_captures(target);
    const bool done = poll(target.last);
    require_alive(*target.context);
    require(done, CUDA_ERROR_NOT_READY);
  });
}

CUresult cuStreamSynchronize(CUstream stream) {
  return in_context("cuStreamSynchronize", [&](Context& context) {
    Stream& target = stream_of(stream, context);
    forbid_captures(target);
    wait(target.last, *target.context);
  });
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent handle, unsigned flags) {
  return in_context("cuStreamWaitEvent", [&](Context& context) {
    const auto event = event_of(handle);
    Stream& target = stream_of(stream, context);
    require(flags <= CU_EVENT_WAIT_EXTERNAL);
    if (target.capture && flags == CU_EVENT_WAIT_EXTERNAL) {
      submit(target, WaitWork{event});
    } else if (target.capture || goes_on(event->capture)) {
      capture_wait(target, *event);
    } else {
      require(flags == 0);
      if (event->capture) fail(CUDA_ERROR_CAPTURED_EVENT);
      if (event->recorded && !event->recorded->done) {
        submit(target, EmptyWork{}, {event->recorded});
      }
    }
  });
}

// ---- Events ------------------------------------------------------------------------------------

CUresult cuEventCreate(CUevent* handle, unsigned flags) {
  return in_context("cuEventCreate", [&](Context& context) {
    require(handle != nullptr && flags <= (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING));
    auto event = std::make_shared<Event>();
    event->context = &context;
    event->flags = flags;
    event->handle = driver().events.add(event);
    *handle = event->handle;
  });
}

CUresult cuEventDestroy_v2(CUevent event) {
  return in_context("cuEventDestroy", [&](Context&) {
    driver().events.get(event);
    driver().events.remove(event);
  });
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  return record("cuEventRecord", event, stream, 0);
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags) {
  return record("cuEventRecordWithFlags", event, stream, flags);
}

CUresult cuEventQuery(CUevent handle) {
  return in_context("cuEventQuery", [&](Context& context) {
    const auto event = event_of(handle);
    forbid_captured(*event);
    const bool done = poll(event->recorded);
    require_alive(context);
    require(done, CUDA_ERROR_NOT_READY);
  });
}

CUresult cuEventSynchronize(CUevent handle) {
  return in_context("cuEventSynchronize", [&](Context&) {
    const auto event = event_of(handle);
    forbid_captured(*event);
    wait(event->recorded, *event->context);
  });
}

CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  return elapsed_time(milliseconds, start, end);
}

CUresult cuEventElapsedTime_v2(float* milliseconds, CUevent start, CUevent end) {
  return elapsed_time(milliseconds, start, end);
}

// ---- Capture -----------------------------------------------------------------------------------

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
  return in_context("cuStreamBeginCapture",
                    [&](Context& context) { begin_capture(stream_of(stream, context), mode); });
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  return in_context("cuStreamEndCapture", [&](Context& context) {
    out(graph) = nullptr;
    *graph = end_capture(stream_of(stream, context))->handle;
  });
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus* status) {
  return in_context("cuStreamIsCapturing", [&](Context& context) {
    Stream& target = stream_of(stream, context);
    if (target.legacy) forbid_implicit_dependency(context);
    out(status) = CU_STREAM_CAPTURE_STATUS_NONE;
    if (!target.capture) return;
    *status = target.capture->invalidated ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                          : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  });
}

CUresult cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus* status, uint64_t* id,
                                   CUgraph* graph, const CUgraphNode** dependencies,
                                   size_t* count) {
  return capture_info(stream, {status, id, graph, dependencies, nullptr, count});
}

CUresult cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus* status, uint64_t* id,
                                   CUgraph* graph, const CUgraphNode** dependencies,
                                   const CUgraphEdgeData** data, size_t* count) {
  return capture_info(stream, {status, id, graph, dependencies, data, count});
}

CUresult cuStreamUpdateCaptureDependencies(CUstream stream, CUgraphNode* dependencies, size_t count,
                                           unsigned flags) {
  return update_dependencies(stream, dependencies, count, flags);
}

CUresult cuStreamUpdateCaptureDependencies_v2(CUstream stream, CUgraphNode* dependencies,
                                              const CUgraphEdgeData*, size_t count,
                                              unsigned flags) {
  return update_dependencies(stream, dependencies, count, flags);
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  return anytime("cuThreadExchangeStreamCaptureMode", [&] {
    require(mode != nullptr && *mode <= CU_STREAM_CAPTURE_MODE_RELAXED);
    std::swap(*mode, thread_capture_mode());
  });
}

}  // namespace cermet::fakecuda
