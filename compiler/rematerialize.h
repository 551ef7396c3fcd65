#pragma once
// Rematerialisation: values that are long in memory before they are needed again are dropped and
// computed a second time, so that a program stays within a number of bytes.

#include <functional>
#include <vector>

#include "compiler/kernels.h"
#include "ir/graph.h"

namespace cermet::compiler {

// Kernels and what they were made from.
struct FusedGraph {
  ir::Graph graph;
  KernelProgram program;
  std::vector<const ir::Node*> values;  // per buffer: the node of `graph` that it holds, or null
};

// Bytes that running the program takes besides its parameters: one arena of temporaries, and the
// results.
int64_t needed_bytes(const KernelProgram& program);

// The graph, fused, with as many values computed again as it takes to stay within `budget` bytes:
// first what repeats elementwise ops, then what repeats reductions and moves, then products. Throws
// Error if that is not enough, saying how many bytes it comes to. Deterministic.
FusedGraph rematerialize(FusedGraph fused, int64_t budget,
                         const std::function<FusedGraph(const ir::Graph&)>& fuse);

}  // namespace cermet::compiler
