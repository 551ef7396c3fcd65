// One driver per process, under one lock: the calls of several threads run one after another, and
// so does the work that they wait for. What a program may not do from a host function of a stream
// is refused before the lock is asked for, which that thread already holds.

#include "fakecuda/driver.h"

#include <unistd.h>

#include <exception>
#include <new>
#include <utility>

#include "fakecuda/host_function.h"

namespace cermet::fakecuda {
namespace {

enum class Needs { Nothing, Initialisation, Context };

std::mutex mutex;
Driver* instance = nullptr;  // never deleted at exit: threads may still be in calls
uint64_t generations = 0;

// Set when the process ends: a driver that shuts down says so to whoever still calls it.
bool ended = false;
struct AtExit {
  ~AtExit() { ended = true; }
} at_exit;

Context& current_context() {
  const std::vector<CUcontext>& stack = context_stack();
  if (stack.empty() || stack.back() == nullptr) fail(CUDA_ERROR_INVALID_CONTEXT);
  return *driver().contexts.get(stack.back(), CUDA_ERROR_CONTEXT_IS_DESTROYED);
}

// An error that the environment asked for. One that is sticky takes the context with it.
void inject(Driver& state, const char* name) {
  const auto asked = state.options.injections.find(name);
  if (asked == state.options.injections.end()) return;
  const int64_t call = ++state.calls[name];
  for (const Injection& injection : asked->second) {
    if (injection.nth != 0 && injection.nth != call) continue;
    ++state.report.counters.injected_failures;
    if (is_sticky(injection.error) && !context_stack().empty()) {
      Context& context = current_context();
      context.lost = injection.error;
      discard(context);
    }
    fail(injection.error, "asked for by FAKECUDA_FAIL");
  }
}

CUresult frame(const char* name, Needs needs, const std::function<void(Context*)>& body) noexcept {
  if (in_host_function()) return CUDA_ERROR_NOT_PERMITTED;
  const std::lock_guard<std::mutex> guard(mutex);
  if (ended) return CUDA_ERROR_DEINITIALIZED;
  try {
    Driver& state = driver();
    ++state.called[name];
    if (state.process != 0 && state.process != getpid()) fail(CUDA_ERROR_NOT_INITIALIZED);
    inject(state, name);
    if (needs != Needs::Nothing && !state.initialised) fail(CUDA_ERROR_NOT_INITIALIZED);
    Context* context = nullptr;
    if (needs == Needs::Context) {
      context = &current_context();
      require_alive(*context);
    }
    body(context);
    return CUDA_SUCCESS;
  } catch (const Failure& failure) {
    return failure.code;
  } catch (const std::bad_alloc&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    driver().violation(std::string(name) + ": the fake driver failed: " + error.what());
    return CUDA_ERROR_UNKNOWN;
  }
}

// What devices of a compute capability have, or less.
Properties limited(int capability, const std::map<std::string, uint64_t>& limits) {
  Properties p = *find_properties(capability);
  const auto lower = [&](const char* name, int& value) {
    if (const auto at = limits.find(name); at != limits.end()) value = static_cast<int>(at->second);
  };
  lower("shared", p.shared_per_block_optin);
  lower("threads", p.threads_per_block);
  lower("grid", p.blocks_of_grid);
  lower("parameters", p.parameter_bytes);
  return p;
}

}  // namespace

Driver::Driver(Options settings)
    : options(std::move(settings)), generation(++generations), random(options.seed) {
  int ordinal = 0;
  for (const int capability : options.compute_capabilities) {
    devices.push_back(std::make_unique<Device>(ordinal++, limited(capability, options.limits),
                                               options.memory_bytes, options.checks.poison));
    const auto& pool = devices.back()->memory.default_pool;
    pool->handle = pools.add(pool);
  }
}

Driver::~Driver() = default;

Device& Driver::device(CUdevice ordinal) {
  require(ordinal >= 0 && static_cast<size_t>(ordinal) < devices.size(), CUDA_ERROR_INVALID_DEVICE);
  return *devices[static_cast<size_t>(ordinal)];
}

Device* Driver::device_of(uint64_t address) {
  for (const auto& device : devices) {
    if (device->memory.owns(address)) return device.get();
  }
  return nullptr;
}

void Driver::violate(CUresult code, const std::string& line) {
  violation(line);
  fail(code, line);
}

Driver& driver() {
  if (instance == nullptr) instance = new Driver(options_from_environment());
  return *instance;
}

CUresult anytime(const char* name, const std::function<void()>& body) noexcept {
  return frame(name, Needs::Nothing, [&](Context*) { body(); });
}

CUresult initialised(const char* name, const std::function<void()>& body) noexcept {
  return frame(name, Needs::Initialisation, [&](Context*) { body(); });
}

CUresult in_context(const char* name, const std::function<void(Context&)>& body) noexcept {
  return frame(name, Needs::Context, [&](Context* context) { body(*context); });
}

void require_alive(const Context& context) {
  if (context.lost != CUDA_SUCCESS) fail(context.lost, "the context was lost before");
}

// ---- What fakecuda.h exports -------------------------------------------------------------------

extern "C" {

FAKECUDA_EXPORT void fakecuda_counters(FakecudaCounters* counters) {
  const std::lock_guard<std::mutex> guard(mutex);
  Driver& state = driver();
  FakecudaCounters& now = state.report.counters;
  now.live_pinned = state.pinned.live();
  now.live_streams = state.streams.count();
  now.live_events = state.events.count();
  now.live_modules = state.modules.count();
  now.live_graphs = state.graphs.count();
  now.live_graph_execs = state.execs.count();
  *counters = state.report.snapshot();
}

FAKECUDA_EXPORT uint64_t fakecuda_instructions(const char* prefix) {
  const std::lock_guard<std::mutex> guard(mutex);
  return driver().report.simulated().count(prefix);
}

FAKECUDA_EXPORT uint64_t fakecuda_calls(const char* prefix) {
  const std::lock_guard<std::mutex> guard(mutex);
  uint64_t count = 0;
  for (const auto& [name, calls] : driver().called)
    if (name.starts_with(prefix)) count += calls;
  return count;
}

FAKECUDA_EXPORT void fakecuda_reset_counters() {
  const std::lock_guard<std::mutex> guard(mutex);
  driver().report.reset();
  driver().called.clear();
}

FAKECUDA_EXPORT void fakecuda_reset() {
  const std::lock_guard<std::mutex> guard(mutex);
  delete std::exchange(instance, nullptr);
  instance = new Driver(options_from_environment());
}

}  // extern "C"

}  // namespace cermet::fakecuda
