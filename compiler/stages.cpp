#include "compiler/stages.h"

#include <fmt/format.h>

#include "compiler/codegen.h"
#include "compiler/fuse.h"
#include "compiler/kernels_text.h"
#include "compiler/llvm_module.h"
#include "compiler/loops_text.h"
#include "compiler/program.h"
#include "compiler/simplify.h"
#include "ir/text.h"

namespace cermet::compiler {
namespace {

KernelProgram kernels_of(const ir::Graph& graph, const Target& target) {
  return fuse(simplify(graph), target);
}

// The text of every kernel that is loops, by `text`; equal kernels once.
template <class F>
std::string each_function(const ir::Graph& graph, const Target& target, F text) {
  std::string out;
  std::vector<std::string> seen;
  for (const Program::Launch& launch : compile(graph, target).launches) {
    if (launch.kind != Kernel::Kind::Fused) continue;
    const std::string key = loops::print(launch.kernel.function);
    if (std::ranges::find(seen, key) != seen.end()) continue;
    seen.push_back(key);
    out +=
        fmt::format("; {}\n{}\n", launch.kernel.function.name, text(launch.kernel.function, key));
  }
  return out;
}

std::string graph_text(const ir::Graph& graph, const Target&) { return ir::print(graph); }
std::string simplified_text(const ir::Graph& graph, const Target&) {
  return ir::print(simplify(graph));
}
std::string kernels_text(const ir::Graph& graph, const Target& target) {
  return print_kernels(kernels_of(graph, target));
}
std::string loops_text(const ir::Graph& graph, const Target& target) {
  return each_function(graph, target,
                       [](const loops::Function&, const std::string& text) { return text; });
}
std::string llvm_text(const ir::Graph& graph, const Target& target) {
  return each_function(graph, target, [&](const loops::Function& f, const std::string&) {
    return llvm_backend().to_llvm_ir(f, target);
  });
}
std::string assembly_text(const ir::Graph& graph, const Target& target) {
  return each_function(graph, target, [&](const loops::Function& f, const std::string&) {
    return llvm_backend().to_assembly(f, target);
  });
}

constexpr Stage table[] = {
    {"graph", "the graph as it was given", graph_text},
    {"simplified", "after the safe rewrites", simplified_text},
    {"kernels", "the fused kernels and their buffers", kernels_text},
    {"loops", "each kernel as loops", loops_text},
    {"llvm", "each kernel as LLVM IR", llvm_text},
    {"asm", "each kernel as assembly", assembly_text},
};

}  // namespace

std::span<const Stage> stages() { return table; }

const Stage* find_stage(std::string_view name) {
  for (const Stage& stage : table)
    if (stage.name == name) return &stage;
  return nullptr;
}

std::string refused_fusions(const ir::Graph& graph, const Target& target) {
  std::string out;
  for (const Refusal& refusal : kernels_of(graph, target).refusals)
    out += fmt::format("not fused: {}\n  into {}\n  {}\n", refusal.producer, refusal.consumer,
                       refusal.reason);
  return out;
}

}  // namespace cermet::compiler
