#pragma once
// The stages of the compiler as text, by name: what ir-dump prints, and what CERMET_DUMP makes any
// program print.

#include <span>
#include <string>
#include <string_view>

#include "compiler/target.h"
#include "ir/graph.h"

namespace cermet::compiler {

struct Stage {
  std::string_view name, shows;
  bool needs_target;  // else the text does not look at it
  // The graph as it is after this stage; `why` adds reasons as comments: the rewrites that were
  // used, the fusions that were refused. Throws what the stages throw.
  std::string (*text)(const ir::Graph& graph, const Target& target, bool why);
};

// In the order of the pipeline: graph, simplified, kernels, memory, loops, cuda, ptx, resources,
// llvm, asm.
std::span<const Stage> stages();

// The stage of a name, or null.
const Stage* find_stage(std::string_view name);

}  // namespace cermet::compiler
