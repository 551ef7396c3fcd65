#include "runtime/dump.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "cermet/error.h"

namespace cermet::runtime {

std::vector<const compiler::Stage*> dump_stages() {
  std::vector<const compiler::Stage*> out;
  const char* wanted = std::getenv("CERMET_DUMP");
  std::string_view rest = wanted ? wanted : "";
  while (!rest.empty()) {
    const std::string_view name = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    const compiler::Stage* stage = compiler::find_stage(name);
    if (!stage) {
      std::string known;
      for (const compiler::Stage& s : compiler::stages()) known += fmt::format(" {}", s.name);
      throw Error(fmt::format("CERMET_DUMP: '{}' is no stage; there are{}", name, known));
    }
    out.push_back(stage);
  }
  return out;
}

void dump(const std::vector<const compiler::Stage*>& stages, const ir::Graph& graph,
          const compiler::Target& target) {
  for (const compiler::Stage* stage : stages)
    fmt::print(stderr, "# stage: {}\n{}", stage->name, stage->text(graph, target, false));
}

}  // namespace cermet::runtime
