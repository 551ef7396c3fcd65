#include "compiler/column_plan.h"

#include <algorithm>

#include "compiler/lower_scope.h"
#include "compiler/stage_needs.h"

namespace cermet::compiler {
namespace {

using Kind = Expr::Kind;

constexpr int64_t block_rows = 8;      // elements of a column between two visits
constexpr int64_t most_blocks = 1024;  // partial sums of a column that are added up one by one
constexpr int64_t wide_tile = 1024;    // columns: long enough runs of memory for prefetchers
constexpr int64_t narrow_tile = 512;
constexpr int64_t enough_units = 4;

// What a stage's elements use of their rows, and which of it must be kept: reductions, and what is
// made of them. Loads and constants are as good where they are.
void choose_row_uses(const Kernel& kernel, RowPlan& plan) {
  const StageNeeds needs = stage_needs(kernel, plan);
  std::vector<bool> kept(kernel.exprs.size(), false);
  for (const std::vector<int32_t>& computed : needs.computed) {
    std::vector<bool> used(kernel.exprs.size(), false);
    for (int32_t i : computed)
      for (int32_t operand : kernel.exprs[size_t(i)].operands)
        used[size_t(operand)] = !kernel.exprs[size_t(operand)].inner;
    std::vector<int32_t>& uses = plan.row_uses.emplace_back();
    for (size_t i = 0; i < used.size(); ++i) {
      if (!used[i]) continue;
      uses.push_back(int32_t(i));
      const Kind kind = kernel.exprs[i].kind;
      kept[i] = kept[i] || kind == Kind::Map || kind == Kind::Gather;
    }
  }
  for (size_t i = 0; i < kept.size(); ++i)
    if (kept[i] || accumulates(kernel.exprs[i])) plan.row_kept.push_back({int32_t(i), 0});
}

int64_t row_bytes(const Kernel& kernel, const RowPlan& plan) {  // of one column
  int64_t bytes = 0;
  for (const RowPlan::RowKept& kept : plan.row_kept)
    bytes += int64_t(size_of(kernel.exprs[size_t(kept.expr)].dtype));
  for (const std::vector<int32_t>& accumulated : plan.accumulated)
    for (int32_t i : accumulated)
      bytes += int64_t(size_of(held(kernel.exprs[size_t(i)].dtype))) +
               (kernel.exprs[size_t(i)].kind == Kind::ArgReduce ? 8 : 0);
  return bytes;
}

// Bytes that a row program reads and writes for each element.
int64_t element_bytes(const Kernel& kernel, const KernelProgram& program) {
  int64_t bytes = 0;
  const auto add = [&](int32_t buffer) {
    bytes += int64_t(size_of(program.buffers[size_t(buffer)].dtype));
  };
  for (const Expr& e : kernel.exprs)
    if (e.inner && e.buffer >= 0) add(e.buffer);
  for (const KernelStore& s : kernel.stores)
    if (kernel.exprs[size_t(s.value)].inner) add(s.buffer);
  return bytes;
}

}  // namespace

// What is in near memory can be read in any order, with partial results in registers.
void choose_columns(const Kernel& kernel, const KernelProgram& program, const Target& target,
                    RowPlan& plan) {
  if (!plan.along_outer() || plan.nesting.empty() || needs_order(kernel)) return;
  const int64_t extent = plan.space[size_t(plan.vector_axis)], elements = numel(kernel.inner);
  if (extent <= plan.lanes || elements <= 2 * block_rows ||
      extent * elements * element_bytes(kernel, program) <= target.l2_bytes / 2)
    return;
  plan.copies = 1;  // the processor overlaps neighbouring columns by itself
  choose_row_uses(kernel, plan);
  const int64_t blocks = (elements / most_blocks + block_rows - 1) / block_rows;
  plan.block = std::max<int64_t>(1, blocks) * block_rows;
  int64_t others = 1;
  for (int64_t d = 0; d < plan.outer; ++d)
    if (d != plan.vector_axis) others *= plan.space[size_t(d)];
  const int64_t near = target.l1_bytes / 2 / std::max<int64_t>(1, row_bytes(kernel, plan));
  const int64_t wanted =
      std::min(std::clamp(extent * others / enough_units, narrow_tile, wide_tile), near);
  const auto vectors = [&](int64_t columns) { return (columns + plan.lanes - 1) / plan.lanes; };
  plan.columns = std::min(vectors(wanted), vectors(extent)) * plan.lanes;
}

void plan_column_scratch(const Kernel& kernel, RowPlan& plan) {
  if (plan.block == 0) return;
  const auto place = [&](DType dtype) {
    const int64_t offset = plan.scratch_bytes;
    plan.scratch_bytes += (plan.columns * int64_t(size_of(dtype)) + 63) / 64 * 64;
    return offset;
  };
  for (RowPlan::RowKept& kept : plan.row_kept)
    kept.offset = place(kernel.exprs[size_t(kept.expr)].dtype);
  for (const std::vector<int32_t>& accumulated : plan.accumulated) {
    std::vector<int64_t>& offsets = plan.totals.emplace_back();
    for (int32_t i : accumulated) {
      const Expr& e = kernel.exprs[size_t(i)];
      offsets.push_back(place(held(kernel.exprs[size_t(e.operands[0])].dtype)));
      if (e.kind == Kind::ArgReduce) offsets.push_back(place(DType::I64));
    }
  }
}

}  // namespace cermet::compiler
