#include "compiler/thin_plan.h"

#include <algorithm>

#include "compiler/lower_scope.h"
#include "compiler/operand_reads.h"

namespace cermet::compiler {
namespace {

constexpr int64_t most_thin = 15;       // more are tiles
constexpr int64_t least_wide = 64;      // less is a row program
constexpr int64_t least_terms = 128;    // of a sum
constexpr int64_t wanted_blocks = 132;  // one for each multiprocessor of an H100
constexpr int64_t access_bytes = 16;    // the widest
constexpr int64_t most_lanes = 8;
constexpr int64_t least_run = 64;         // bytes that are read together along the wide axis
constexpr int64_t most_sums = 64;         // of a thread
constexpr int64_t most_vector_sums = 32;  // numbers of sums that have lanes
constexpr int64_t loads_together = 4;

// How the large operand is read: along which axis, and how many elements at once.
void choose_reads(const Kernel& kernel, const KernelProgram& program, ThinPlan& plan) {
  const Expr* load = main_load(kernel, program, plan.wide.expr);
  if (load == nullptr) return;
  const int64_t inner = plan.groups.inner.back(), outer = plan.wide.axes.back();
  plan.along_inner = closer_along(*load, inner, outer);
  const DType dtype = program.buffers[size_t(load->buffer)].dtype;
  const int64_t most = std::min(access_bytes / int64_t(size_of(dtype)), most_lanes);
  plan.lanes = whole_lanes(*load, plan.along_inner ? inner : outer, most);
}

// Lanes follow each other along k; few wide elements are shared by all warps of a block.
void lay_along_inner(ThinPlan& plan) {
  plan.terms = plan.lanes;
  plan.wide_per_thread = plan.thin.extent * plan.lanes > 32 ? 2 : loads_together;
  const auto blocks_of = [&](int64_t each) {
    return plan.batches * (plan.wide.extent / (ThinPlan::warps * each));
  };
  while (plan.wide_per_thread > 1 && blocks_of(plan.wide_per_thread) < wanted_blocks)
    plan.wide_per_thread /= 2;
  if (blocks_of(plan.wide_per_thread) < wanted_blocks) plan.team_warps = ThinPlan::warps;
  // Reads of many vectors keep the memory busy as they are, and the registers.
  plan.unrolled = plan.thin.extent > 4 ? 1 : loads_together / plan.wide_per_thread;
  plan.vector_sums = plan.sums() * plan.lanes <= most_vector_sums;
}

// A few lanes follow each other along the wide axis.
void lay_along_wide(const KernelProgram& program, const Kernel& kernel, ThinPlan& plan) {
  while (plan.lanes > 1 && plan.lanes * plan.thin.extent > most_sums) plan.lanes /= 2;
  plan.wide_per_thread = plan.lanes;
  plan.team_warps = ThinPlan::warps;
  // There is about one block for a multiprocessor, so each thread has to ask for much at once.
  plan.terms = plan.thin.extent <= 8 ? 2 * loads_together : loads_together;
  while (plan.inner % plan.terms != 0) plan.terms /= 2;
  const Expr* load = main_load(kernel, program, plan.wide.expr);
  const int64_t bytes =
      plan.lanes * int64_t(load ? size_of(program.buffers[size_t(load->buffer)].dtype) : 4);
  plan.lanes_across = 8;
  while (plan.lanes_across * bytes > least_run && plan.blocks() < wanted_blocks)
    plan.lanes_across /= 2;
}

}  // namespace

bool is_thin(const Kernel& kernel) {
  const ContractGroups g = contract_groups(kernel);
  const int64_t rows = extent_along(kernel, g.rows), columns = extent_along(kernel, g.columns);
  return kernel.inner.size() == 1 && kernel.inner[0] >= least_terms &&
         std::min(rows, columns) >= 1 && std::min(rows, columns) <= most_thin &&
         std::max(rows, columns) >= least_wide;
}

ThinPlan plan_thin(const Kernel& kernel, const KernelProgram& program) {
  ThinPlan plan;
  plan.groups = contract_groups(kernel);
  const ContractGroups& g = plan.groups;
  plan.dtype = held(kernel.exprs[size_t(kernel.exprs[size_t(g.contract)].operands[0])].dtype);
  plan.batches = extent_along(kernel, g.batch);
  plan.inner = kernel.inner[0];
  ThinPlan::Side rows{g.rows, g.left, extent_along(kernel, g.rows)};
  ThinPlan::Side columns{g.columns, g.right, extent_along(kernel, g.columns)};
  plan.wide_is_fast = rows.extent < columns.extent;  // results are contiguous along columns
  plan.thin = plan.wide_is_fast ? rows : columns;
  plan.wide = plan.wide_is_fast ? columns : rows;
  choose_reads(kernel, program, plan);
  if (plan.along_inner)
    lay_along_inner(plan);
  else
    lay_along_wide(program, kernel, plan);
  return plan;
}

}  // namespace cermet::compiler
