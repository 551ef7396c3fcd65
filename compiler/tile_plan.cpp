#include "compiler/tile_plan.h"

#include <algorithm>
#include <array>
#include <limits>

#include "compiler/lower_scope.h"

namespace cermet::compiler {
namespace {

using loops::Ref;
using Kind = Expr::Kind;

constexpr int64_t least_side = 16;        // rows and columns
constexpr int64_t least_terms = 8;        // of a sum
constexpr int64_t multiprocessors = 132;  // of an H100
constexpr int64_t access_bytes = 16;      // the widest
constexpr int64_t most_lanes = 8;
constexpr int64_t slab_bytes = 20 << 10;  // about what the operands take anyway

// Tiles to choose from. `cost` is the time of one product, relative to that in the largest tile: a
// small one reads more from shared memory for each.
struct Tile {
  int64_t rows, columns, warp_rows, warp_columns;
  double cost;
};
constexpr auto tiles4 = std::to_array<Tile>({{128, 128, 32, 64, 1.0},
                                             {64, 64, 32, 32, 1.25},
                                             {32, 128, 16, 64, 1.4},
                                             {128, 32, 32, 32, 1.4},
                                             {32, 32, 16, 32, 1.9}});
constexpr auto tiles8 = std::to_array<Tile>({{64, 64, 16, 32, 1.0}, {32, 32, 16, 32, 1.4}});
// Copied operands leave the registers to the sums.
constexpr auto copied_tiles =
    std::to_array<Tile>({{128, 256, 64, 64, 1.0}, {128, 128, 64, 64, 1.15}, {64, 64, 32, 32, 1.8}});
constexpr auto fetched_tiles =
    std::to_array<Tile>({{128, 128, 64, 32, 1.0}, {64, 64, 32, 32, 1.5}});
constexpr int64_t copied_stages = 4;

int64_t pieces(int64_t extent, int64_t size) { return (extent + size - 1) / size; }

// The one whose busiest multiprocessor is done first.
const Tile& choose_tile(const TilePlan& plan) {
  std::span<const Tile> tiles = tiles4;
  if (size_of(plan.dtype) == 8) tiles = tiles8;
  if (plan.tensor) tiles = fetched_tiles;
  if (plan.async) tiles = copied_tiles;
  const Tile* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const Tile& t : tiles) {
    const int64_t blocks =
        plan.batches * pieces(plan.rows.extent, t.rows) * pieces(plan.columns.extent, t.columns);
    const double time =
        double(pieces(blocks, multiprocessors)) * double(t.rows) * double(t.columns) * t.cost;
    if (time < least) least = time, best = &t;
  }
  return *best;
}

int64_t stride_along(const ir::StridedMap& map, int64_t axis) {
  return size_t(axis) < map.strides.size() ? std::abs(map.strides[size_t(axis)]) : 0;
}

// The load below an operand that has the most to read.
const Expr* main_load(const Kernel& kernel, const KernelProgram& program, int32_t root) {
  std::vector<bool> below(kernel.exprs.size(), false);
  below[size_t(root)] = true;
  const Expr* out = nullptr;
  size_t most = 0;
  for (size_t i = size_t(root) + 1; i-- > 0;) {
    const Expr& e = kernel.exprs[i];
    if (!below[i]) continue;
    for (int32_t operand : e.operands) below[size_t(operand)] = true;
    if (e.kind != Kind::Load || !e.inner) continue;
    size_t axes = 0;
    for (int64_t stride : e.map->levels()[0].strides) axes += stride != 0;
    const size_t bytes = axes * 16 + size_of(program.buffers[size_t(e.buffer)].dtype);
    if (bytes > most) most = bytes, out = &e;
  }
  return out;
}

// Along which axis an operand is read, and how many elements at once.
void choose_reads(const Kernel& kernel, const KernelProgram& program, const TilePlan& plan,
                  TileSide& side) {
  const Expr* load = main_load(kernel, program, side.expr);
  if (load == nullptr) return;
  const ir::StridedMap& map = load->map->levels()[0];
  const int64_t inner = plan.groups.inner.back(), outer = side.axes.back();
  const int64_t step = stride_along(map, inner), across = stride_along(map, outer);
  side.along_inner = step != 0 && (across == 0 || step < across);
  const auto axis = size_t(side.along_inner ? inner : outer);
  const bool whole = map.begin[axis] == 0 && map.end[axis] == map.shape[axis];
  if (map.strides[axis] != 1 || !load->map->single() || !whole) return;
  const DType dtype = program.buffers[size_t(load->buffer)].dtype;
  int64_t lanes = std::min(access_bytes / int64_t(size_of(dtype)), most_lanes);
  while (lanes > 1 && !(map.shape[axis] % lanes == 0 && aligned_along(map, axis, lanes)))
    lanes /= 2;
  side.lanes = int(lanes);
}

// Tensor cores multiply f16 from sm_75 on, bf16 from sm_80 on, which is also the first to copy.
void choose_unit(const Kernel& kernel, const KernelProgram& program, const Target& target,
                 TilePlan& plan) {
  const DType dtype = kernel.exprs[size_t(plan.rows.expr)].dtype;
  plan.shared_dtype = plan.dtype;
  plan.tensor = (dtype == DType::F16 && target.compute >= 75) ||
                (dtype == DType::BF16 && target.compute >= 80);
  if (!plan.tensor) return;
  plan.shared_dtype = dtype, plan.depth = 32;
  plan.async = target.compute >= 80;
  for (const TileSide* side : {&plan.rows, &plan.columns}) {
    const Expr& e = kernel.exprs[size_t(side->expr)];
    plan.async &= e.kind == Kind::Load && e.inner && side->lanes == 8 &&
                  program.buffers[size_t(e.buffer)].dtype == dtype;
  }
  if (plan.async) plan.stages = copied_stages;
}

// Whole vectors of what is stored, and read beside it, along the last column axis.
void choose_epilogue(const Kernel& kernel, const KernelProgram& program, TilePlan& plan) {
  const int64_t axis = plan.columns.axes.back();
  size_t narrowest = access_bytes;
  bool contiguous = true;
  for (const KernelStore& s : kernel.stores) {
    contiguous &= s.map.strides[size_t(axis)] == 1;
    narrowest = std::min(narrowest, size_of(program.buffers[size_t(s.buffer)].dtype));
  }
  if (!contiguous) return;
  int64_t lanes = std::min(access_bytes / int64_t(narrowest), most_lanes);
  const auto fits = [&] {
    if (kernel.outer[size_t(axis)] % lanes != 0) return false;
    return std::ranges::all_of(kernel.stores, [&](const KernelStore& s) {
      return aligned_along(s.map, size_t(axis), lanes);
    });
  };
  while (lanes > 1 && !fits()) lanes /= 2;
  plan.epilogue_axis = int(axis), plan.epilogue_lanes = int(lanes);
}

// The axis in which the results are contiguous last, so that neighbours are neighbours in memory.
void order_columns(const Kernel& kernel, std::vector<int64_t>& axes) {
  for (const KernelStore& s : kernel.stores)
    for (size_t k = 0; k < axes.size(); ++k)
      if (s.map.strides[size_t(axes[k])] == 1 && kernel.outer[size_t(axes[k])] > 1) {
        std::rotate(axes.begin() + int64_t(k), axes.begin() + int64_t(k) + 1, axes.end());
        return;
      }
}

// All stages of one operand, then those of the other; the slabs take the same place later. Lines
// are 16 bytes longer than they need be: then the elements of several lines that a warp writes at
// once, where it reads along k, are in different banks. On tensor cores swizzled_chunk does that.
void place_in_shared(TilePlan& plan) {
  const auto size = int64_t(size_of(plan.dtype));
  int64_t end = 0;
  for (TileSide* side : {&plan.rows, &plan.columns}) {
    side->shared_offset = end;
    side->line = side->tile + std::max<int64_t>(plan.chunk, access_bytes / size);
    if (plan.tensor) side->line = side->along_inner ? plan.depth : side->tile;
    const int64_t elements = plan.stages * plan.stage(*side);
    end += (elements * int64_t(size_of(plan.shared_dtype)) + 63) / 64 * 64;
  }
  // 8 rows of 4 threads with 2 numbers each are written at once on tensor cores.
  plan.slab_line = plan.columns.tile + (plan.tensor ? 8 : 0);
  if (plan.tensor) plan.slabs = plan.warp_rows / 16;
  while (!plan.tensor && plan.slabs < plan.thread_rows &&
         plan.slab_rows() * plan.slab_line * size > std::max(end, slab_bytes))
    plan.slabs *= 2;
  plan.shared_bytes = std::max(end, plan.slab_rows() * plan.slab_line * size);
}

}  // namespace

Ref swizzled_chunk(loops::Builder& b, const TileSide& side, Ref line, Ref chunk) {
  // 8 chunks are all banks once: a line of 8 or more, or two lines of 4.
  const bool half = side.line == 32;
  const Ref lines = half ? b.div(line, b.index(2)) : line;
  return b.xor_(chunk, b.rem(lines, b.index(half ? 4 : 8)));
}

bool aligned_along(const ir::StridedMap& map, size_t axis, int64_t lanes) {
  if (map.offset % lanes != 0) return false;
  for (size_t d = 0; d < map.shape.size(); ++d)
    if (d != axis && map.strides[d] % lanes != 0) return false;
  return true;
}

bool worth_tiling(const Kernel& kernel) {
  const ContractGroups g = contract_groups(kernel);
  return extent_along(kernel, g.rows) >= least_side &&
         extent_along(kernel, g.columns) >= least_side && numel(kernel.inner) >= least_terms;
}

TilePlan plan_tiles(const Kernel& kernel, const KernelProgram& program, const Target& target) {
  TilePlan plan;
  plan.groups = contract_groups(kernel);
  const Expr& contract = kernel.exprs[size_t(plan.groups.contract)];
  plan.dtype = held(kernel.exprs[size_t(contract.operands[0])].dtype);
  plan.batches = extent_along(kernel, plan.groups.batch);
  plan.inner = numel(kernel.inner);
  order_columns(kernel, plan.groups.columns);
  plan.rows.axes = plan.groups.rows, plan.rows.expr = plan.groups.left;
  plan.columns.axes = plan.groups.columns, plan.columns.expr = plan.groups.right;
  for (TileSide* side : {&plan.rows, &plan.columns})
    side->extent = extent_along(kernel, side->axes);
  for (TileSide* side : {&plan.rows, &plan.columns}) choose_reads(kernel, program, plan, *side);
  choose_unit(kernel, program, target, plan);
  const Tile& tile = choose_tile(plan);
  plan.rows.tile = tile.rows, plan.columns.tile = tile.columns;
  plan.warp_rows = tile.warp_rows, plan.warp_columns = tile.warp_columns;
  plan.thread_rows = tile.warp_rows / TilePlan::threads_down;
  plan.thread_columns = tile.warp_columns / TilePlan::threads_across;
  plan.chunk = std::min<int64_t>(4, access_bytes / int64_t(size_of(plan.dtype)));
  plan.warps_down = tile.rows / tile.warp_rows;
  plan.warps_across = tile.columns / tile.warp_columns;
  choose_epilogue(kernel, program, plan);
  place_in_shared(plan);
  // Two blocks of the largest tile hide each other's waits. Before sm_90 the assembler needs a few
  // registers more than that leaves, and would spill.
  const bool largest = !plan.tensor && plan.thread_rows * plan.thread_columns == 64;
  if (largest && target.compute >= 90 && is_float(plan.dtype)) plan.resident = 2;
  return plan;
}

}  // namespace cermet::compiler
