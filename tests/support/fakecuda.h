#pragma once
// What the fake driver exports beside the driver API: the knobs and counters of tests. They are
// found by dlsym in the opened library, as they are in no table of the real driver:
//
//   fakecuda_counters(&counters)   what happened since the start or the last reset of the counters
//   fakecuda_instructions(prefix)  instructions of warps that ran, of all opcodes that begin with
//   it:
//                                  "ld.global", "mma.sync", "" for all
//   fakecuda_calls(prefix)         calls of the driver API, of all functions whose names begin with
//   it
//   fakecuda_reset_counters()      all counts to zero, all violations forgotten
//   fakecuda_reset()               a new driver, as if just loaded: the environment is read again,
//                                  all handles and device memory of before are gone
//
// The counters never change their place in the struct; texts live until the next call.

#include <cstdint>

extern "C" {

struct FakecudaCounters {
  // Work that ran, whether from a stream or from a graph.
  uint64_t launches;
  uint64_t graph_launches;
  uint64_t copies;  // of all kinds; the bytes by direction:
  uint64_t host_to_device_bytes;
  uint64_t device_to_host_bytes;
  uint64_t device_to_device_bytes;
  uint64_t fills;
  uint64_t fill_bytes;
  uint64_t host_functions;

  // Waits of the host: for a stream, an event, a context, or inside a copy that blocks.
  uint64_t waits;

  // Calls.
  uint64_t allocations;  // of device memory, by any call
  uint64_t allocated_bytes;
  uint64_t frees;
  uint64_t module_loads;
  uint64_t graph_instantiations;
  uint64_t graph_updates;  // of whole executable graphs
  uint64_t injected_failures;

  // What is alive now, and the most that was.
  uint64_t live_allocations;
  uint64_t live_bytes;
  uint64_t peak_bytes;
  uint64_t live_pinned;
  uint64_t live_streams;
  uint64_t live_events;
  uint64_t live_modules;
  uint64_t live_graphs;
  uint64_t live_graph_execs;

  // What the interpreter counted, summed over launches; ptxsim.h says what each means.
  uint64_t global_load_requests;
  uint64_t global_store_requests;
  uint64_t global_atomic_requests;
  uint64_t global_load_sectors;
  uint64_t global_store_sectors;
  uint64_t global_load_bytes;
  uint64_t global_store_bytes;
  uint64_t shared_load_requests;
  uint64_t shared_store_requests;
  uint64_t shared_load_wavefronts;
  uint64_t shared_store_wavefronts;
  uint64_t local_requests;
  uint64_t barriers;
  uint64_t mma;
  uint64_t warp_instructions;
  uint64_t thread_instructions;

  // What programs did wrong: how often, and one line for each (the first thousand).
  uint64_t violations;
  const char* violation_text;
};

using FakecudaCountersFunction = void (*)(FakecudaCounters*);
using FakecudaInstructionsFunction = uint64_t (*)(const char* prefix);
using FakecudaCallsFunction = uint64_t (*)(const char* prefix);
using FakecudaFunction = void (*)();

}  // extern "C"
