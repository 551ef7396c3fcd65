// The driver of fusion: graph in, kernels out.
//
//   prepare    sums over batches join their products (fold_batches.h); short ones become terms
//              (short_axes.h); rewrite what has a simpler form (fuse_prepare.cpp), split long
//              reductions
//   plan       which group computes what (fuse_plan.h, fuse_groups.cpp, fuse_join.cpp)
//   emit       each group as a kernel (fuse_emit.cpp)
//   tidy       its index space (fuse_space.cpp)
//   order      which runs when (kernel_order.cpp), and names (kernel_names.cpp)
//   chain      kernels that run block by block (chain_kernels.h)

#include "compiler/fuse.h"

#include <algorithm>

#include "compiler/chain_kernels.h"
#include "compiler/fold_batches.h"
#include "compiler/fuse_emit.h"
#include "compiler/fuse_prepare.h"
#include "compiler/rematerialize.h"
#include "compiler/short_axes.h"
#include "compiler/sort_scatters.h"
#include "compiler/split_columns.h"
#include "compiler/split_reductions.h"
#include "compiler/split_scans.h"
#include "compiler/split_scatters.h"

namespace cermet::compiler {

namespace {

// Which parameters results may be written over.
void mark_donated(std::vector<KernelBuffer>& buffers, std::span<const int64_t> slots) {
  for (KernelBuffer& b : buffers)
    b.donated =
        b.kind == KernelBuffer::Kind::Parameter && std::ranges::find(slots, b.slot) != slots.end();
}

FusedGraph fuse_prepared(const ir::Graph& graph, const Target& target,
                         std::span<const int64_t> donated, bool chains) {
  Plan plan = plan_nodes(graph);
  if (target.numerics.fast) plan.once = used_once(graph, plan);
  plan_groups(graph, target, plan);
  FusedGraph out{graph, {}, std::vector<const ir::Node*>(plan.buffers.size(), nullptr)};
  for (size_t n = 0; n < plan.nodes.size(); ++n)
    if (plan.buffer_of[n] >= 0) out.values[size_t(plan.buffer_of[n])] = plan.nodes[n].node;
  KernelProgram& program = out.program;
  std::vector<int32_t> numbers;
  for (size_t g = 0; g < plan.groups.size(); ++g) {
    if (plan.groups[g].merged_into >= 0) continue;
    program.kernels.push_back(join_short_rows(tidy_space(emit_group(plan, int32_t(g)))));
    numbers.push_back(plan.groups[g].number);
  }
  program.buffers = std::move(plan.buffers);
  program.refusals = std::move(plan.refusals);
  program.in_place = target.compute == 0;
  if (program.in_place) mark_donated(program.buffers, donated);
  order_kernels(program.kernels, numbers, program.buffers);
  name_kernels(program.kernels);
  if (target.compute > 0)
    sort_scatters(program);
  else if (chains)
    chain_kernels(program, target);
  out.values.resize(program.buffers.size(), nullptr);
  for (const Chain& chain : program.chains)
    for (int32_t local : chain.locals) out.values[size_t(local)] = nullptr;  // a block at a time
  return out;
}

}  // namespace

KernelProgram fuse(const ir::Graph& graph, const Target& target, std::span<const int64_t> donated) {
  const ir::Graph folded = fold_batches(graph);
  const ir::Graph parallel =
      target.compute > 0 ? split_scatters(split_scans(folded)) : split_columns(folded);
  const ir::Graph expanded = expand_short_reductions(split_reductions(parallel, target));
  const ir::Graph prepared = prepare_for_fusion(expanded);
  const auto fuse_with = [&](const ir::Graph& g, bool chains) {
    return fuse_prepared(g, target, donated, chains);
  };
  KernelProgram whole = fuse_with(prepared, true).program;
  if (target.memory_budget == 0) return whole;
  if (needed_bytes(whole) <= target.memory_budget) return whole;
  // The choice looks at temporaries in places of their own: with others it ends too early.
  const auto fuse_apart = [&](const ir::Graph& g, bool chains) {
    FusedGraph out = fuse_with(g, chains);
    out.program.in_place = false;
    return out;
  };
  // What the kernels of a chain share stays until the whole chain has run.
  const auto fuse_small = [&](const ir::Graph& g) {
    FusedGraph chained = fuse_apart(g, true);
    if (needed_bytes(chained.program) <= target.memory_budget) return chained;
    FusedGraph apart = fuse_apart(g, false);
    return needed_bytes(apart.program) < needed_bytes(chained.program) ? apart : chained;
  };
  return rematerialize(fuse_small(prepared), target.memory_budget, fuse_small).program;
}

}  // namespace cermet::compiler
