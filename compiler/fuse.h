#pragma once
// From a simplified graph to kernels (compiler/kernels.h).

#include <span>

#include "compiler/kernels.h"
#include "compiler/target.h"

namespace cermet::compiler {

// Decides which nodes become buffers and which kernel computes what, in time linear in the graph.
// Deterministic: the answer is a function of the graph and the target only. The graph must be free
// of Data, Leaf, StopGradient and CustomGradient nodes; InternalError otherwise. On CPUs the
// parameters whose slots are `donated` may be written over once they were read.
KernelProgram fuse(const ir::Graph& graph, const Target& target,
                   std::span<const int64_t> donated = {});

}  // namespace cermet::compiler
