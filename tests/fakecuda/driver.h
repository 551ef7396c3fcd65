#pragma once
// The fake driver's state, and the frame of every entry point: one lock, the checks that come
// before all others, and failures turned into results.

#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "fakecuda/abi.h"
#include "fakecuda/api.h"
#include "fakecuda/context.h"
#include "fakecuda/failure.h"
#include "fakecuda/graph.h"
#include "fakecuda/handles.h"
#include "fakecuda/memory.h"
#include "fakecuda/module.h"
#include "fakecuda/options.h"
#include "fakecuda/report.h"
#include "fakecuda/stream.h"

namespace cermet::fakecuda {

struct Driver {
  explicit Driver(Options settings);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  Options options;
  Report report;
  bool initialised = false;
  int process = 0;          // in which cuInit was called: a child of it cannot use the driver
  uint64_t generation = 0;  // differs from that of every other driver
  std::vector<std::unique_ptr<Device>> devices;
  PinnedMemory pinned;
  Handles<Context, CUcontext> contexts{1};
  Handles<Stream, CUstream> streams{2};
  Handles<Event, CUevent> events{3};
  Handles<Module, CUmodule> modules{4};
  Handles<Function, CUfunction> functions{5};
  Handles<Graph, CUgraph> graphs{6};
  Handles<Node, CUgraphNode> nodes{7};
  Handles<Exec, CUgraphExec> execs{8};
  Handles<Pool, CUmemoryPool> pools{9};
  std::vector<std::shared_ptr<Capture>> captures;        // that go on
  std::vector<std::shared_ptr<Context>> ended_contexts;  // others may still point to them
  std::map<std::string, int64_t> calls;                  // of those in options.injections
  std::map<std::string_view, uint64_t> called;           // of all, since the counters were reset
  std::mt19937_64 random;
  uint64_t clock = 0;  // nanoseconds, simulated: the work that ran
  uint64_t last_id = 0;

  Device& device(CUdevice ordinal);
  // The device in whose range the address lies; null for an address of the host.
  Device* device_of(uint64_t address);
  void violation(const std::string& line) { report.violation(line, options.quiet); }
  // As violation, for something that ends with a failure.
  [[noreturn]] void violate(CUresult code, const std::string& line);
};

// The driver, made from the environment when it is first asked for. Only inside of a call.
Driver& driver();

// ---- Frames of entry points. `name` is what FAKECUDA_FAIL calls it -----------------------------

// What needs neither cuInit nor a context.
CUresult anytime(const char* name, const std::function<void()>& body) noexcept;
// What needs cuInit.
CUresult initialised(const char* name, const std::function<void()>& body) noexcept;
// What needs a current context that is not lost.
CUresult in_context(const char* name, const std::function<void(Context&)>& body) noexcept;

// Failure if the context was lost.
void require_alive(const Context& context);

// What a pointer that the caller gave for a result points to. Failure 1 if it is null.
template <class T>
T& out(T* pointer) {
  if (pointer == nullptr) fail(CUDA_ERROR_INVALID_VALUE, "a null pointer for a result");
  return *pointer;
}

}  // namespace cermet::fakecuda
