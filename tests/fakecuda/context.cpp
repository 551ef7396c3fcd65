// Contexts, and the stack of them that each thread has. Objects of a destroyed context stay in
// memory until the driver is reset, so that nothing that still points to them dangles; their
// handles are gone.

#include "fakecuda/context.h"

#include <fmt/format.h>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

std::shared_ptr<Stream> add_stream(Context& context) {
  auto stream = std::make_shared<Stream>();
  stream->context = &context;
  stream->id = ++driver().last_id;
  context.streams.push_back(stream);
  return stream;
}

void count(std::string& text, uint64_t number, const char* what) {
  if (number == 0) return;
  text += fmt::format("{}{} {}", text.empty() ? "" : ", ", number, what);
}

// What belongs to the context and was not given back.
std::string leaks(const Context& context) {
  Driver& state = driver();
  uint64_t allocations = 0, bytes = 0, pinned = 0, streams = 0, events = 0, modules = 0;
  context.device.memory.each_live([&](const Allocation& allocation) {
    const bool ours = allocation.context == context.handle && allocation.origin != Origin::Module;
    allocations += ours;
    bytes += ours ? allocation.bytes : 0;
  });
  state.pinned.each_live([&](const Pinned& one) { pinned += one.context == context.handle; });
  state.streams.each([&](const Stream& one) { streams += one.context == &context; });
  state.events.each([&](const Event& one) { events += one.context == &context; });
  state.modules.each([&](const Module& one) { modules += one.context == &context; });
  std::string text;
  count(text, allocations, "allocations");
  if (bytes != 0) text += fmt::format(" of {} bytes", bytes);
  count(text, pinned, "pinned buffers");
  count(text, streams, "streams");
  count(text, events, "events");
  count(text, modules, "modules");
  return text;
}

template <class T, class H>
void remove_all(Handles<T, H>& handles, const Context& context) {
  std::vector<H> ours;
  handles.each([&](const T& object) {
    if (object.context == &context) ours.push_back(object.handle);
  });
  for (const H handle : ours) handles.remove(handle);
}

void release_memory(Context& context) {
  Driver& state = driver();
  DeviceMemory& memory = context.device.memory;
  memory.each_live([&](Allocation& allocation) {
    if (allocation.context != context.handle) return;
    memory.end(allocation);
    if (allocation.origin == Origin::Module) return;
    --state.report.counters.live_allocations;
    state.report.counters.live_bytes -= allocation.bytes;
  });
  for (const auto& pool : memory.pools) pool->trim_to(0);
  for (const auto& other : state.devices) {
    if (memory.allows(other->memory)) memory.deny(other->memory);
    if (other->memory.allows(memory)) other->memory.deny(memory);
  }
}

}  // namespace

void show_pinned(const Pinned& pinned) {
  const auto address = reinterpret_cast<uint64_t>(pinned.pointer);
  for (const auto& device : driver().devices) {
    device->memory.simulated.add(address, pinned.bytes, pinned.pointer, "pinned host memory");
    device->memory.simulated.mark_initialised(address, pinned.bytes);
  }
}

void hide_pinned(const Pinned& pinned) {
  for (const auto& device : driver().devices) {
    device->memory.simulated.release(reinterpret_cast<uint64_t>(pinned.pointer));
  }
}

std::vector<CUcontext>& context_stack() {
  // Never destroyed: static objects of the program may call when the main thread's are.
  thread_local auto* const stack = new std::vector<CUcontext>;
  thread_local uint64_t generation = 0;
  if (generation != driver().generation) {  // of a driver that is no more
    generation = driver().generation;
    stack->clear();
  }
  return *stack;
}

std::shared_ptr<Context> create_context(Device& device, unsigned flags) {
  auto context = std::make_shared<Context>(device);
  context->flags = flags;
  context->handle = driver().contexts.add(context);
  context->legacy_stream = add_stream(*context);
  context->legacy_stream->legacy = true;
  context->legacy_stream->handle = CU_STREAM_LEGACY;
  context->limits = {{CU_LIMIT_STACK_SIZE, 1024},
                     {CU_LIMIT_PRINTF_FIFO_SIZE, 1 << 20},
                     {CU_LIMIT_MALLOC_HEAP_SIZE, 8 << 20}};
  return context;
}

void destroy_context(const std::shared_ptr<Context>& context) {
  Driver& state = driver();
  finish(*context);
  const std::string text = leaks(*context);
  const bool report = state.options.checks.leaks && context->lost == CUDA_SUCCESS;
  if (report && !text.empty()) state.violation("a context ends with live objects: " + text);
  context->lost = CUDA_ERROR_CONTEXT_IS_DESTROYED;
  discard(*context);
  release_memory(*context);
  remove_all(state.streams, *context);
  remove_all(state.events, *context);
  state.modules.each([&](Module& module) {
    if (module.context == context.get()) forget_functions(module);
  });
  remove_all(state.modules, *context);
  state.contexts.remove(context->handle);
  state.ended_contexts.push_back(context);
}

Stream& stream_of(CUstream handle, Context& current) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY) return *current.legacy_stream;
  if (handle == CU_STREAM_PER_THREAD) {
    std::shared_ptr<Stream>& mine = current.thread_streams[std::this_thread::get_id()];
    if (!mine) {
      mine = add_stream(current);
      mine->handle = CU_STREAM_PER_THREAD;
    }
    return *mine;
  }
  Stream& stream = *driver().streams.get(handle);
  require_alive(*stream.context);
  return stream;
}

}  // namespace cermet::fakecuda
