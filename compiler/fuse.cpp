// The driver of fusion: graph in, kernels out.
//
//   prepare    sums over batches join their products (fold_batches.h); rewrite what has a simpler
//              form (fuse_prepare.cpp), split long reductions
//   plan       which group computes what (fuse_plan.h, fuse_groups.cpp, fuse_join.cpp)
//   emit       each group as a kernel (fuse_emit.cpp)
//   tidy       its index space (fuse_space.cpp)
//   order      and names (kernel_names.cpp)
//   chain      kernels that run block by block (chain_kernels.h)

#include "compiler/fuse.h"

#include "compiler/chain_kernels.h"
#include "compiler/fold_batches.h"
#include "compiler/fuse_emit.h"
#include "compiler/fuse_prepare.h"
#include "compiler/sort_scatters.h"
#include "compiler/split_reductions.h"
#include "compiler/split_scans.h"

namespace cermet::compiler {

KernelProgram fuse(const ir::Graph& graph, const Target& target) {
  const ir::Graph folded = fold_batches(graph);
  const ir::Graph parallel = target.compute > 0 ? split_scans(folded) : folded;
  const ir::Graph prepared = prepare_for_fusion(split_reductions(parallel, target));
  Plan plan = plan_nodes(prepared);
  if (target.numerics.fast) plan.once = used_once(prepared, plan);
  plan_groups(prepared, plan);
  KernelProgram program;
  std::vector<int32_t> numbers;
  for (size_t g = 0; g < plan.groups.size(); ++g) {
    if (plan.groups[g].merged_into >= 0) continue;
    program.kernels.push_back(tidy_space(emit_group(plan, int32_t(g))));
    numbers.push_back(plan.groups[g].number);
  }
  program.buffers = std::move(plan.buffers);
  program.refusals = std::move(plan.refusals);
  order_kernels(program.kernels, numbers, program.buffers.size());
  if (target.compute > 0)
    sort_scatters(program);
  else
    chain_kernels(program, target);
  return program;
}

}  // namespace cermet::compiler
