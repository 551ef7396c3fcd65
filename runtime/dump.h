#pragma once
// CERMET_DUMP=stage[,stage]: every program that is compiled is printed to standard error, at these
// stages (see compiler/stages/stages.h). For looking into a program without changing it.

#include <vector>

#include "compiler/stages/stages.h"

namespace cermet::runtime {

// The stages that the environment asks for. Throws Error for a name that is none, listing those
// that are.
std::vector<const compiler::Stage*> dump_stages();

void dump(const std::vector<const compiler::Stage*>& stages, const ir::Graph& graph,
          const compiler::Target& target);

}  // namespace cermet::runtime
