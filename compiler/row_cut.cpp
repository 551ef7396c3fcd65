#include "compiler/row_cut.h"

#include <algorithm>

#include "compiler/lower_contract.h"
#include "compiler/row_plan.h"

namespace cermet::compiler {
namespace {

std::optional<RowCut> cut_contraction(const ContractGrid& grid, int64_t rows) {
  const int64_t row_tiles = (grid.rows + grid.row_tile - 1) / grid.row_tile;
  RowCut cut;
  cut.axes = grid.batch_axes;
  if (rows == grid.batches) {
    cut.units = row_tiles * grid.column_tiles;
    return cut;
  }
  if (rows != grid.batches * grid.rows) return std::nullopt;
  cut.axes.insert(cut.axes.end(), grid.row_axes.begin(), grid.row_axes.end());
  cut.units = grid.column_tiles, cut.tile = grid.row_tile, cut.group = grid.rows;
  return cut;
}

}  // namespace

std::optional<RowCut> cut_rows(const Kernel& kernel, const KernelProgram& program,
                               const Target& target, int64_t rows) {
  if (kernel.kind != Kernel::Kind::Fused) return std::nullopt;
  if (contracts(kernel) && worth_blocking(kernel))
    return cut_contraction(contract_grid(kernel, program, target), rows);
  const RowPlan plan = plan_rows(kernel, program, target);
  if (!plan.packed.empty()) return std::nullopt;
  RowCut cut;
  int64_t indices = 1;
  for (int64_t d = 0; d < plan.outer; ++d) {
    if (d == plan.vector_axis) continue;
    cut.axes.push_back(d);
    indices *= kernel.outer[size_t(d)];
  }
  // A unit of a kernel over pairs of rows is more than a row.
  if (indices % rows != 0 || plan.range != indices * plan.chunks) return std::nullopt;
  cut.rest = indices / rows, cut.units = plan.range / rows;
  return cut;
}

bool stays_in_row(const ir::StridedMap& map, const Kernel& kernel, const RowCut& cut,
                  int64_t length) {
  int64_t span = map.offset;  // the last position within a row
  if (span < 0) return false;
  std::vector<bool> done(map.shape.size(), false);
  int64_t width = 1;  // of one step along the axis, in flattened indices
  for (size_t i = cut.axes.size(); i-- > 0;) {
    const size_t d = size_t(cut.axes[i]);
    const int64_t extent = kernel.outer[d], stride = map.strides[d];
    done[d] = true;
    const int64_t within = std::clamp<int64_t>(cut.rest / width, 1, extent);  // steps inside a row
    if (extent > within && (within * width) % cut.rest != 0) return false;
    if (extent > within && stride * within != length * (within * width / cut.rest)) return false;
    if (within > 1) span += (within - 1) * stride;
    if (stride < 0) return false;
    width *= extent;
  }
  for (size_t d = 0; d < map.shape.size(); ++d) {
    if (done[d]) continue;
    if (map.strides[d] < 0) return false;
    span += (map.shape[d] - 1) * map.strides[d];
  }
  return span < length;
}

}  // namespace cermet::compiler
