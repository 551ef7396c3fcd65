#include "compiler/stages/stages.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "cermet/error.h"
#include "compiler/codegen.h"
#include "compiler/cuda/nvrtc.h"
#include "compiler/cuda/print.h"
#include "compiler/cuda/resources_table.h"
#include "compiler/fuse.h"
#include "compiler/kernels_text.h"
#include "compiler/kernels_verify.h"
#include "compiler/llvm_module.h"
#include "compiler/loops_text.h"
#include "compiler/memory_plan.h"
#include "compiler/program.h"
#include "compiler/simplify.h"
#include "ir/text.h"

namespace cermet::compiler {
namespace {

std::string graph_text(const ir::Graph& graph, const Target&, bool) { return ir::print(graph); }

std::string simplified_text(const ir::Graph& graph, const Target&, bool why) {
  RuleCounts used;
  std::string text = ir::print(simplify(graph, &used));
  if (why)
    for (const auto& [rule, count] : used) text += fmt::format("# {} x  {}\n", count, rule);
  return text;
}

std::string kernels_text(const ir::Graph& graph, const Target& target, bool why) {
  const KernelProgram program = fuse(simplify(graph), target);
  check_kernels(program);
  std::string text = print_kernels(program);
  if (!why) return text;
  for (const Refusal& refusal : program.refusals)
    text += fmt::format("# not fused: {}\n#   into {}\n#   {}\n", refusal.producer,
                        refusal.consumer, refusal.reason);
  if (target.compute > 0)
    for (const Kernel& kernel : program.kernels)
      if (kernel.kind == Kernel::Kind::Fused)
        text += fmt::format("# {}: {}\n", kernel.name, how_lowered(kernel, program, target));
  return text;
}

// What each kernel finds or makes in memory, and what comes of it.
std::string memory_text(const ir::Graph& graph, const Target& target, bool) {
  const KernelProgram program = fuse(simplify(graph), target);
  const MemoryPlan plan = plan_memory(program);
  std::string text;
  for (size_t k = 0; k < program.kernels.size(); ++k)
    text += fmt::format("{:>16}  {}\n", plan.alive[k], program.kernels[k].name);
  text += fmt::format("{:>16}  bytes for temporaries\n{:>16}  bytes for results\n",
                      plan.arena_bytes, result_bytes(program));
  return text;
}

// Every launch of the compiled graph: a line that says what it runs on, and the text of its kernel.
// `comment` begins a comment in that text.
template <class KernelText>
std::string launches_text(const ir::Graph& graph, const Target& target, std::string_view comment,
                          const KernelText& kernel_text) {
  std::string text;
  for (const Program::Launch& launch : compile(graph, target).launches) {
    const LoweredKernel& kernel = launch.kernel;
    const std::string buffers = fmt::format("buffers=[{}]", fmt::join(kernel.buffers, ","));
    if (launch.kind == Kernel::Kind::Sort) {
      text += fmt::format("{} sort {} rows={} columns={}{}\n", comment, buffers, launch.rows,
                          launch.columns, launch.descending ? " descending" : "");
      continue;
    }
    text += fmt::format("{} {} {} integers=[{}] range={} grain={} scratch={}\n", comment,
                        kernel.function.name, buffers, fmt::join(kernel.integers, ","),
                        kernel.range, kernel.grain, kernel.scratch_bytes);
    for (const LoweredKernel& more : launch.more)
      text += fmt::format("{}   and buffers=[{}] integers=[{}] range={} grain={}\n", comment,
                          fmt::join(more.buffers, ","), fmt::join(more.integers, ","), more.range,
                          more.grain);
    text += kernel_text(kernel.function);
    if (!text.ends_with('\n')) text += '\n';
  }
  return text;
}

std::string loops_text(const ir::Graph& graph, const Target& target, bool) {
  return launches_text(graph, target, "#",
                       [](const loops::Function& f) { return loops::print(f); });
}
// What a stage of one kind of target says of the other kind.
void require_gpu(std::string_view stage, const Target& target, bool gpu) {
  if ((target.compute > 0) == gpu) return;
  throw cermet::Error(fmt::format("stage {}: {} is a {}, give a {}", stage, target.cpu,
                                  gpu ? "CPU" : "GPU",
                                  gpu ? "GPU such as sm_90" : "CPU such as x86-64-v3"));
}

std::string cuda_text(const ir::Graph& graph, const Target& target, bool) {
  require_gpu("cuda", target, true);
  return launches_text(graph, target, "//",
                       [&](const loops::Function& f) { return print_cuda(f, f.name); });
}
std::string ptx_text(const ir::Graph& graph, const Target& target, bool) {
  require_gpu("ptx", target, true);
  CudaOptions options;
  options.arch.number = target.compute;
  options.cubin = false;
  return launches_text(graph, target, "//", [&](const loops::Function& f) {
    const loops::Function* const unit[] = {&f};
    return compile_cuda(print_cuda_unit(unit), options).ptx;
  });
}
// All kernels as one program, as a realize compiles them.
std::string resources_text(const ir::Graph& graph, const Target& target, bool) {
  require_gpu("resources", target, true);
  const Program program = compile(graph, target);
  std::vector<const loops::Function*> unit;
  std::vector<CudaLaunchCost> costs;
  for (const Program::Launch& launch : program.launches) {
    if (launch.kind == Kernel::Kind::Sort) continue;
    const LoweredKernel& kernel = launch.kernel;
    unit.push_back(&kernel.function);
    costs.push_back({.threads = kernel.function.threads, .dynamic_shared = kernel.scratch_bytes});
  }
  const CudaArch arch{.number = target.compute};
  const CudaObject object = compile_cuda(print_cuda_unit(unit), {.arch = arch});
  if (object.cubin.empty())
    throw cermet::Error(
        fmt::format("stage resources: this NVRTC makes no machine code for {}, "
                    "only {}",
                    to_string(arch), object.target));
  for (const CudaResources& found : object.kernels) {
    // print_cuda_unit calls them k0, k1, ...
    const size_t k = std::stoul(found.kernel.substr(1));
    costs.at(k).resources = found;
    costs.at(k).resources.kernel = unit.at(k)->name;
  }
  return resources_table(arch, costs);
}
std::string llvm_text(const ir::Graph& graph, const Target& target, bool) {
  require_gpu("llvm", target, false);
  return launches_text(graph, target, ";", [&](const loops::Function& f) {
    return llvm_backend().to_llvm_ir(f, target);
  });
}
std::string assembly_text(const ir::Graph& graph, const Target& target, bool) {
  require_gpu("asm", target, false);
  return launches_text(graph, target, "#", [&](const loops::Function& f) {
    return llvm_backend().to_assembly(f, target);
  });
}

constexpr Stage table[] = {
    {"graph", "the graph as it was given", false, graph_text},
    {"simplified", "after the safe rewrites", false, simplified_text},
    {"kernels", "the fused kernels and their buffers", true, kernels_text},
    {"memory", "bytes of temporaries alive at each kernel", true, memory_text},
    {"loops", "each kernel as loops over vectors", true, loops_text},
    {"cuda", "each kernel as CUDA C, for GPUs", true, cuda_text},
    {"ptx", "each kernel as NVRTC's PTX", true, ptx_text},
    {"resources", "what each kernel costs on a GPU", true, resources_text},
    {"llvm", "each kernel as LLVM IR", true, llvm_text},
    {"asm", "each kernel as assembly of the target", true, assembly_text},
};

}  // namespace

std::span<const Stage> stages() { return table; }

const Stage* find_stage(std::string_view name) {
  for (const Stage& stage : table)
    if (stage.name == name) return &stage;
  return nullptr;
}

}  // namespace cermet::compiler
