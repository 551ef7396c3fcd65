#pragma once
// What the compiler hands to the runtime: kernels as loop IR (whose text is their cache key), the
// launches in order, and where every buffer lives.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/kernels.h"
#include "compiler/loops.h"
#include "compiler/target.h"

namespace cermet::compiler {

// One kernel lowered for one shape: the function is shared by all shapes of its class, the rest is
// this shape's.
struct LoweredKernel {
  loops::Function function;       // buffer arguments in the order of `buffers`
  std::vector<int32_t> buffers;   // indices into KernelProgram::buffers
  std::vector<int64_t> integers;  // the int64 arguments
  int64_t range = 0;  // the parallel range is [0, range); each part of it may run on another thread
  int64_t grain = 1;  // parts begin at multiples of this and are not worth splitting below it
  int64_t scratch_bytes = 0;         // for each worker
  std::vector<std::string> reports;  // text for error code i + 1; "{}" stands for the value
};

// Lowers a fused kernel (not Sort) for a target. Results do not depend on how the range is split.
LoweredKernel lower(const Kernel& kernel, const KernelProgram& program, const Target& target);
// Which way it takes, for people.
std::string_view how_lowered(const Kernel& kernel, const KernelProgram& program,
                             const Target& target);

struct Program {
  struct Buffer {
    KernelBuffer::Kind kind;
    int64_t slot;  // Parameter, Result: which
    DType dtype;
    int64_t elements;
    int64_t offset;  // Temporary: bytes from the start of the arena, a multiple of 64
    // Another buffer in whose memory it lies (MemoryPlan::home). A result may also lie elsewhere.
    int32_t home = -1;
  };
  struct Launch {
    Kernel::Kind kind;
    LoweredKernel kernel;           // Fused
    int64_t rows = 0, columns = 0;  // Sort: of kernel.buffers[0] into kernel.buffers[1]
    bool descending = false;        // Sort
    // Fused, CPUs: more kernels of the same function, whose own stays empty, with buffers and
    // integers of their own. They need nothing of each other (pack_launches.h).
    std::vector<LoweredKernel> more;
  };
  std::vector<Buffer> buffers;
  std::vector<Launch> launches;
  int64_t arena_bytes = 0;
  // The first launch that writes to a result in the place of a donated parameter; none that can
  // report an error is that one, or comes later.
  size_t first_overwrite = SIZE_MAX;
  std::vector<Refusal> refusals;
};

// Calls body(i) for each i below count, in any order or at the same time, and returns when all have
// returned.
using ForEach = std::function<void(int64_t count, const std::function<void(int64_t i)>& body)>;

// Simplifies, fuses, lowers and plans memory. Pure: no device, thread, file or clock; `for_each`
// says how kernels are lowered, by default one after the other. Results may be written over the
// parameters whose slots are `donated`.
Program compile(const ir::Graph& graph, const Target& target, const ForEach& for_each = {},
                std::span<const int64_t> donated = {});

// What running that program would take for temporaries and results, without making its code.
int64_t planned_bytes(const ir::Graph& graph, const Target& target);

}  // namespace cermet::compiler
