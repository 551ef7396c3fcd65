#pragma once
// The stages of the compiler as text, by name: what ir-dump prints, and what CERMET_DUMP makes any
// program print.

#include <span>
#include <string>
#include <string_view>

#include "compiler/kernels.h"
#include "compiler/target.h"

namespace cermet::compiler {

struct Stage {
  std::string_view name, shows;
  // The graph as it is after this stage. Throws what the stages throw.
  std::string (*text)(const ir::Graph& graph, const Target& target);
};

// In the order of the pipeline: graph, simplified, kernels, loops, llvm, asm.
std::span<const Stage> stages();

// The stage of a name, or null.
const Stage* find_stage(std::string_view name);

// The fusions that were considered and not made, and why; one paragraph each.
std::string refused_fusions(const ir::Graph& graph, const Target& target);

}  // namespace cermet::compiler
