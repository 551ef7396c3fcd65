// The pipeline, from a graph to what the runtime runs. Reads as the table of contents of the
// compiler.

#include "compiler/fuse.h"
#include "compiler/lower_chain.h"
#include "compiler/memory_plan.h"
#include "compiler/program.h"
#include "compiler/rematerialize.h"
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
  size_t next_chain = 0;
  for (size_t i = 0; i < kernels.kernels.size(); ++i) {
    const Kernel& kernel = kernels.kernels[i];
    Program::Launch launch{kernel.kind, {}, 0, 0, false};
    if (kernel.kind == Kernel::Kind::Sort) {
      launch.kernel.buffers = {kernel.sort_input, kernel.stores[0].buffer};
      launch.rows = numel(kernel.outer), launch.columns = numel(kernel.inner);
      launch.descending = kernel.descending;
    } else if (next_chain < kernels.chains.size() &&
               kernels.chains[next_chain].first == int32_t(i)) {
      const Chain& chain = kernels.chains[next_chain++];
      launch.kernel = lower_chain(chain, kernels, target);
      i += size_t(chain.count) - 1;
    } else {
      launch.kernel = lower(kernel, kernels, target);
    }
    out.launches.push_back(std::move(launch));
  }
  return out;
}

int64_t planned_bytes(const ir::Graph& graph, const Target& target) {
  return needed_bytes(fuse(simplify(graph), target));
}

}  // namespace cermet::compiler
