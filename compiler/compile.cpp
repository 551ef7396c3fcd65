// The pipeline, from a graph to what the runtime runs. Reads as the table of contents of the
// compiler.

#include "compiler/fuse.h"
#include "compiler/memory_plan.h"
#include "compiler/program.h"
#include "compiler/simplify.h"

namespace cermet::compiler {

Program compile(const ir::Graph& graph, const Target& target) {
  // Algebra that is exact; removes what only autograd needs.
  const ir::Graph simple = simplify(graph);
  // Nodes become kernels.
  const KernelProgram kernels = fuse(simple, target);
  // Temporaries get their places in one arena.
  const MemoryPlan memory = plan_memory(kernels);

  Program out;
  out.arena_bytes = memory.arena_bytes;
  out.refusals = kernels.refusals;
  for (size_t i = 0; i < kernels.buffers.size(); ++i) {
    const KernelBuffer& b = kernels.buffers[i];
    out.buffers.push_back({b.kind, b.slot, b.dtype, b.elements, memory.offsets[i]});
  }
  // Kernels become loops.
  for (const Kernel& kernel : kernels.kernels) {
    Program::Launch launch{kernel.kind, {}, 0, 0, false};
    if (kernel.kind == Kernel::Kind::Sort) {
      launch.kernel.buffers = {kernel.sort_input, kernel.stores[0].buffer};
      launch.rows = numel(kernel.outer), launch.columns = numel(kernel.inner);
      launch.descending = kernel.descending;
    } else {
      launch.kernel = lower(kernel, kernels, target);
    }
    out.launches.push_back(std::move(launch));
  }
  return out;
}

}  // namespace cermet::compiler
