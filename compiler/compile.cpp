// The pipeline, from a graph to what the runtime runs. Reads as the table of contents of the
// compiler.

#include <algorithm>

#include "compiler/fuse.h"
#include "compiler/lower_chain.h"
#include "compiler/memory_plan.h"
#include "compiler/pack_launches.h"
#include "compiler/program.h"
#include "compiler/rematerialize.h"
#include "compiler/simplify.h"

namespace cermet::compiler {
namespace {

Program::Launch sort_of(const Kernel& kernel) {
  Program::Launch launch{kernel.kind, {}, 0, 0, false, {}};
  launch.kernel.buffers = {kernel.sort_input, kernel.stores[0].buffer};
  launch.rows = numel(kernel.outer), launch.columns = numel(kernel.inner);
  launch.descending = kernel.descending;
  return launch;
}

// Kernels that are one launch: a chain, or one kernel.
struct Span {
  size_t first, count;
  const Chain* chain;
};

std::vector<Span> spans_of(const KernelProgram& program) {
  std::vector<Span> out;
  size_t next_chain = 0;
  for (size_t i = 0; i < program.kernels.size(); i += out.back().count) {
    const bool chained =
        next_chain < program.chains.size() && program.chains[next_chain].first == int32_t(i);
    const Chain* chain = chained ? &program.chains[next_chain++] : nullptr;
    out.push_back({i, chain ? size_t(chain->count) : 1, chain});
  }
  return out;
}

Program::Launch launch_of(const Span& span, const KernelProgram& program, const Target& target) {
  const Kernel& kernel = program.kernels[span.first];
  if (!span.chain && kernel.kind == Kernel::Kind::Sort) return sort_of(kernel);
  return {kernel.kind,
          span.chain ? lower_chain(*span.chain, program, target) : lower(kernel, program, target),
          0,
          0,
          false,
          {}};
}

std::vector<std::vector<size_t>> apart(size_t launches) {
  std::vector<std::vector<size_t>> out;
  for (size_t i = 0; i < launches; ++i) out.push_back({i});
  return out;
}

// By kernel: which pack its launch is in.
std::vector<int64_t> steps_of(const std::vector<std::vector<size_t>>& packs,
                              const std::vector<Span>& spans) {
  std::vector<int64_t> pack_of(spans.size());
  for (size_t p = 0; p < packs.size(); ++p)
    for (size_t launch : packs[p]) pack_of[launch] = int64_t(p);
  std::vector<int64_t> steps;
  for (size_t i = 0; i < spans.size(); ++i) steps.insert(steps.end(), spans[i].count, pack_of[i]);
  return steps;
}

// The memory that a buffer lies in: another buffer, or itself.
size_t memory_of(const std::vector<Program::Buffer>& buffers, size_t b) {
  while (buffers[b].home >= 0) b = size_t(buffers[b].home);
  return b;
}

bool overwrites(const LoweredKernel& kernel, const std::vector<Program::Buffer>& buffers) {
  return std::ranges::any_of(kernel.buffers, [&](int32_t b) {
    const size_t memory = memory_of(buffers, size_t(b));
    return memory != size_t(b) && buffers[memory].kind == KernelBuffer::Kind::Parameter;
  });
}

bool overwrites(const Program::Launch& launch, const std::vector<Program::Buffer>& buffers) {
  const auto one = [&](const LoweredKernel& kernel) { return overwrites(kernel, buffers); };
  return one(launch.kernel) || std::ranges::any_of(launch.more, one);
}

}  // namespace

Program compile(const ir::Graph& graph, const Target& target, const ForEach& for_each,
                std::span<const int64_t> donated) {
  // Algebra that is exact; removes what only autograd needs.
  const ir::Graph simple = simplify(graph);
  // Nodes become kernels.
  const KernelProgram kernels = fuse(simple, target, donated);
  // Kernels become loops.
  const std::vector<Span> spans = spans_of(kernels);
  std::vector<Program::Launch> launches(spans.size());
  const auto lower_one = [&](int64_t i) {
    launches[size_t(i)] = launch_of(spans[size_t(i)], kernels, target);
  };
  if (for_each)
    for_each(int64_t(spans.size()), lower_one);
  else
    for (int64_t i = 0; i < int64_t(spans.size()); ++i) lower_one(i);
  // Temporaries get their places in one arena.
  MemoryPlan memory = plan_memory(kernels);
  // Launches of one function are put together, unless that takes more memory; a GPU has one
  // function a launch.
  auto packs = apart(launches.size());
  if (target.compute == 0) {
    auto together = pack_launches(launches, kernels.buffers, target.l2_bytes);
    if (together.size() < packs.size()) {
      MemoryPlan plan = plan_memory(kernels, steps_of(together, spans));
      if (plan.bytes <= memory.bytes) memory = std::move(plan), packs = std::move(together);
    }
  }

  Program out;
  out.arena_bytes = memory.arena_bytes;
  out.refusals = kernels.refusals;
  for (size_t i = 0; i < kernels.buffers.size(); ++i) {
    const KernelBuffer& b = kernels.buffers[i];
    out.buffers.push_back({b.kind, b.slot, b.dtype, b.elements, memory.offsets[i], memory.home[i]});
  }
  for (const std::vector<size_t>& pack : packs) {
    Program::Launch& launch = out.launches.emplace_back(std::move(launches[pack[0]]));
    for (size_t i = 1; i < pack.size(); ++i) {
      LoweredKernel& kernel = launch.more.emplace_back(std::move(launches[pack[i]].kernel));
      kernel.function = {};
    }
    if (out.first_overwrite == SIZE_MAX && overwrites(launch, out.buffers))
      out.first_overwrite = out.launches.size() - 1;
  }
  return out;
}

int64_t planned_bytes(const ir::Graph& graph, const Target& target) {
  return needed_bytes(fuse(simplify(graph), target));
}

}  // namespace cermet::compiler
