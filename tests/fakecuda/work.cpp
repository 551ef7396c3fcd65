// Doing the work. All memory is looked up here, at the moment of use: what is freed by then, or not
// yet allocated, or outside of its allocation is a violation and costs the context, as on a GPU.

#include "fakecuda/work.h"

#include <fmt/format.h>

#include <cstring>

#include "fakecuda/driver.h"
#include "fakecuda/host_function.h"

namespace cermet::fakecuda {
namespace {

// ---- Kernels -----------------------------------------------------------------------------------

CUresult result_of(ptxsim::Fault fault) {
  using ptxsim::Fault;
  switch (fault) {
    case Fault::OutOfBounds:
    case Fault::UseAfterFree: return CUDA_ERROR_ILLEGAL_ADDRESS;
    case Fault::Misaligned: return CUDA_ERROR_MISALIGNED_ADDRESS;
    case Fault::IllegalInstruction: return CUDA_ERROR_ILLEGAL_INSTRUCTION;
    case Fault::Deadlock:
    case Fault::Budget: return CUDA_ERROR_LAUNCH_TIMEOUT;
    case Fault::Trap:
    case Fault::Barrier:
    case Fault::WarpMask:
    case Fault::LaunchBounds:
    case Fault::Uninitialised:
    case Fault::AsyncWait:
    case Fault::SharedRace:
    case Fault::GlobalRace: return CUDA_ERROR_LAUNCH_FAILED;
  }
  return CUDA_ERROR_UNKNOWN;
}

ptxsim::Options launch_options(const Device& device) {
  const Options& options = driver().options;
  return {
      .checks = {.uninitialised = options.checks.uninitialised,
                 .shared_races = options.checks.shared_races,
                 .global_races = options.checks.global_races,
                 .counters = options.checks.counters},
      .seed = options.schedule == Schedule::Random ? driver().random() | 1 : 0,
      .instruction_budget = options.instruction_budget,
      .compute_capability = device.properties.compute_capability,
  };
}

void run(const KernelWork& work, Context& context) {
  Driver& state = driver();
  const Function& function = *work.function;
  ++state.report.counters.launches;
  if (function.module->unloaded) {
    state.violate(
        CUDA_ERROR_LAUNCH_FAILED,
        fmt::format("kernel {} runs after its module was unloaded", function.kernel->name));
  }
  ptxsim::Report result;
  try {
    result =
        ptxsim::launch(*function.module->program, *function.kernel, work.shape, work.parameters,
                       context.device.memory.simulated, launch_options(context.device));
  } catch (const ptxsim::Error& error) {
    state.violate(CUDA_ERROR_LAUNCH_FAILED,
                  fmt::format("kernel {}: {}", function.kernel->name, error.what()));
  }
  state.report.add(result.counters);
  if (result.clean()) return;
  for (const ptxsim::Violation& violation : result.violations) state.violation(violation.text);
  // What ended the launch is what a GPU would have reported.
  for (const ptxsim::Violation& violation : result.violations) {
    if (ends_launch(violation.fault)) fail(result_of(violation.fault), violation.text);
  }
  fail(CUDA_ERROR_LAUNCH_FAILED, result.violations.front().text);
}

// ---- Copies and fills --------------------------------------------------------------------------

// The bytes at an address of a device or of the host.
std::byte* locate(uint64_t address, uint64_t bytes, const char* action) {
  Driver& state = driver();
  if (Device* device = state.device_of(address)) {
    std::byte* host = device->memory.host(address, bytes);
    if (host == nullptr) {
      const Allocation* allocation = device->memory.find(address);
      const char* why = "out of bounds";
      if (allocation != nullptr && allocation->life == Life::Freed) why = "use after free";
      if (allocation != nullptr && allocation->life == Life::Pending) why = "not yet allocated";
      state.violate(CUDA_ERROR_ILLEGAL_ADDRESS,
                    fmt::format("{} {} bytes at {:#x}: {}: {}", action, bytes, address, why,
                                device->memory.simulated.describe(address)));
    }
    return host;
  }
  const Pinned* pinned = state.pinned.find(address, bytes, true);
  if (pinned != nullptr && pinned->freed) {
    state.violate(CUDA_ERROR_ILLEGAL_ADDRESS,
                  fmt::format("{} {} bytes of pinned host memory at {:#x} that was freed", action,
                              bytes, address));
  }
  return reinterpret_cast<std::byte*>(address);
}

void run(const CopyWork& work) {
  Driver& state = driver();
  Device* to_device = state.device_of(work.to.address);
  Device* from_device = state.device_of(work.from.address);
  for (uint64_t z = 0; z < work.depth; ++z) {
    for (uint64_t y = 0; y < work.height; ++y) {
      const uint64_t from = work.from.address + z * work.from.slice + y * work.from.pitch;
      const uint64_t to = work.to.address + z * work.to.slice + y * work.to.pitch;
      std::memmove(locate(to, work.width, "a copy to"), locate(from, work.width, "a copy from"),
                   work.width);
      if (to_device == nullptr) continue;
      if (from_device == nullptr) {
        to_device->memory.mark_initialised(to, work.width);
      } else {
        to_device->memory.copy_initialised(to, from_device->memory, from, work.width);
      }
    }
  }
  FakecudaCounters& counters = state.report.counters;
  ++counters.copies;
  const uint64_t bytes = work.width * work.height * work.depth;
  if (to_device != nullptr && from_device != nullptr) {
    counters.device_to_device_bytes += bytes;
  } else if (to_device != nullptr) {
    counters.host_to_device_bytes += bytes;
  } else if (from_device != nullptr) {
    counters.device_to_host_bytes += bytes;
  }
}

void run(const FillWork& work) {
  const uint64_t row_bytes = work.width * work.element_bytes;
  for (uint64_t y = 0; y < work.height; ++y) {
    const CUdeviceptr row = work.to + y * work.pitch;
    std::byte* bytes = locate(row, row_bytes, "a fill of");
    for (uint64_t at = 0; at < row_bytes; at += work.element_bytes) {
      std::memcpy(bytes + at, &work.value, work.element_bytes);
    }
    if (Device* device = driver().device_of(row)) device->memory.mark_initialised(row, row_bytes);
  }
  ++driver().report.counters.fills;
  driver().report.counters.fill_bytes += row_bytes * work.height;
}

// ---- The rest ----------------------------------------------------------------------------------

void run(const AllocateWork& work) {
  DeviceMemory& memory = driver().device_of(work.address)->memory;
  Allocation& allocation = *memory.find(work.address);
  if (allocation.life != Life::Pending) {
    driver().violate(CUDA_ERROR_LAUNCH_FAILED,
                     "a graph was launched again while memory that it allocates is alive");
  }
  memory.begin(allocation);
}

void run(const FreeWork& work) {
  DeviceMemory& memory = driver().device_of(work.address)->memory;
  Allocation& allocation = *memory.find(work.address);
  if (allocation.life != Life::Live) {
    driver().violate(
        CUDA_ERROR_LAUNCH_FAILED,
        fmt::format("memory at {:#x} is freed before it is allocated, or twice", work.address));
  }
  if (allocation.origin == Origin::Graph) {
    memory.suspend(allocation);
    return;
  }
  memory.end(allocation);
  FakecudaCounters& counters = driver().report.counters;
  --counters.live_allocations;
  counters.live_bytes -= allocation.bytes;
}

struct Runner {
  Context& context;

  void operator()(const EmptyWork&) const {}
  void operator()(const KernelWork& work) const { run(work, context); }
  void operator()(const CopyWork& work) const { run(work); }
  void operator()(const FillWork& work) const { run(work); }
  void operator()(const HostWork& work) const {
    ++driver().report.counters.host_functions;
    call_host_function(work.function, work.data);
  }
  void operator()(const AllocateWork& work) const { run(work); }
  void operator()(const FreeWork& work) const { run(work); }
  void operator()(const GraphWork& work) const {
    driver().report.counters.graph_launches += work.launched;
    execute_plan(*work.plan);
  }
  void operator()(const RecordWork& work) const {
    work.event->recorded = std::make_shared<Completion>();
    work.event->recorded->done = true;
    work.event->recorded->time = driver().clock;
    work.event->ever_recorded = true;
  }
  void operator()(const WaitWork& work) const { finish(work.event->recorded); }
};

struct Typer {
  CUgraphNodeType operator()(const EmptyWork&) const { return CU_GRAPH_NODE_TYPE_EMPTY; }
  CUgraphNodeType operator()(const KernelWork&) const { return CU_GRAPH_NODE_TYPE_KERNEL; }
  CUgraphNodeType operator()(const CopyWork&) const { return CU_GRAPH_NODE_TYPE_MEMCPY; }
  CUgraphNodeType operator()(const FillWork&) const { return CU_GRAPH_NODE_TYPE_MEMSET; }
  CUgraphNodeType operator()(const HostWork&) const { return CU_GRAPH_NODE_TYPE_HOST; }
  CUgraphNodeType operator()(const AllocateWork&) const { return CU_GRAPH_NODE_TYPE_MEM_ALLOC; }
  CUgraphNodeType operator()(const FreeWork&) const { return CU_GRAPH_NODE_TYPE_MEM_FREE; }
  CUgraphNodeType operator()(const GraphWork&) const { return CU_GRAPH_NODE_TYPE_GRAPH; }
  CUgraphNodeType operator()(const RecordWork&) const { return CU_GRAPH_NODE_TYPE_EVENT_RECORD; }
  CUgraphNodeType operator()(const WaitWork&) const { return CU_GRAPH_NODE_TYPE_WAIT_EVENT; }
};

}  // namespace

void execute(const Work& work, Context& context) { std::visit(Runner{context}, work); }

CUgraphNodeType node_type(const Work& work) { return std::visit(Typer{}, work); }

}  // namespace cermet::fakecuda
