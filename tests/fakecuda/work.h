#pragma once
// What a stream or a graph does, one thing at a time, and doing it. Everything is checked when it
// runs, not when it is asked for: only then is it known which memory is alive.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "fakecuda/abi.h"
#include "ptxsim/ptxsim.h"

namespace cermet::fakecuda {

struct Context;
struct Function;
struct Plan;
struct Completion;
struct Event;

struct EmptyWork {};

struct KernelWork {
  std::shared_ptr<Function> function;
  ptxsim::LaunchShape shape;
  std::vector<std::byte> parameters;
};

// A box of `depth` slices of `height` rows of `width` bytes. An address belongs to a device or, if
// it is in no device's range, to the host.
struct CopySide {
  uint64_t address = 0;
  uint64_t pitch = 0;  // bytes from row to row
  uint64_t slice = 0;  // bytes from slice to slice
};
struct CopyWork {
  CopySide to, from;
  uint64_t width = 0, height = 1, depth = 1;
  // What pageable memory held when the copy was asked for; `from` points into it.
  std::shared_ptr<std::vector<std::byte>> staged;
};

struct FillWork {
  CUdeviceptr to = 0;
  unsigned value = 0, element_bytes = 1;
  uint64_t width = 0, height = 1, pitch = 0;  // width in elements, pitch in bytes
};

struct HostWork {
  CUhostFn function = nullptr;
  void* data = nullptr;
};

struct AllocateWork {
  CUdeviceptr address = 0;
};

struct FreeWork {
  CUdeviceptr address = 0;
};

struct GraphWork {
  std::shared_ptr<const Plan> plan;
  bool launched = true;  // by a call; else a graph inside another
};

// Nodes made by an event that is recorded or waited for as external to the graph.
struct RecordWork {
  std::shared_ptr<Event> event;
};
struct WaitWork {
  std::shared_ptr<Event> event;
};

using Work = std::variant<EmptyWork, KernelWork, CopyWork, FillWork, HostWork, AllocateWork,
                          FreeWork, GraphWork, RecordWork, WaitWork>;

// Runs it on behalf of a context. Failure if it went wrong: the context is then lost.
void execute(const Work& work, Context& context);

// The type that a graph node with this work has.
CUgraphNodeType node_type(const Work& work);

}  // namespace cermet::fakecuda
