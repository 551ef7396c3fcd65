#include "compiler/tile_plan.h"

#include <algorithm>
#include <array>
#include <limits>

#include "compiler/lower_scope.h"
#include "compiler/operand_reads.h"
#include "compiler/row_stages.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

using loops::Ref;
using Kind = Expr::Kind;

constexpr int64_t least_side = 16;        // rows and columns
constexpr int64_t least_terms = 8;        // of a sum
constexpr int64_t multiprocessors = 132;  // of an H100
constexpr int64_t access_bytes = 16;      // the widest
constexpr int64_t most_lanes = 8;
constexpr int64_t step_bytes = 64;        // of a row of an operand on tensor cores
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

// Along which axis an operand is read, and how many elements at once.
void choose_reads(const Kernel& kernel, const KernelProgram& program, const TilePlan& plan,
                  TileSide& side) {
  const Expr* load = main_load(kernel, program, side.expr);
  if (load == nullptr) return;
  const int64_t inner = plan.groups.inner.back(), outer = side.axes.back();
  side.along_inner = closer_along(*load, inner, outer);
  const DType dtype = program.buffers[size_t(load->buffer)].dtype;
  const int64_t most = std::min(access_bytes / int64_t(size_of(dtype)), most_lanes);
  side.lanes = whole_lanes(*load, side.along_inner ? inner : outer, most);
}

// Where both operands are f16, or both bf16, that were made f32, their products are exact in f32,
// which is what tensor cores make of them as they are.
void see_through_casts(const Kernel& kernel, TilePlan& plan) {
  const auto source = [&](const TileSide& side) -> int32_t {
    const Expr& e = kernel.exprs[size_t(side.expr)];
    const bool cast = e.kind == Kind::Map && e.op == ir::Op::Cast && e.dtype == DType::F32;
    return cast ? e.operands[0] : -1;
  };
  const int32_t left = source(plan.rows), right = source(plan.columns);
  if (left < 0 || right < 0) return;
  const DType dtype = kernel.exprs[size_t(left)].dtype;
  if (dtype != kernel.exprs[size_t(right)].dtype || held(dtype) == dtype) return;
  plan.rows.expr = left, plan.columns.expr = right;
}

// Tensor cores multiply f16 from sm_75 on, bf16 and tf32 from sm_80 on, which is also the first to
// copy.
void choose_unit(const Kernel& kernel, const KernelProgram& program, const Target& target,
                 TilePlan& plan) {
  const DType dtype = kernel.exprs[size_t(plan.rows.expr)].dtype;
  plan.shared_dtype = plan.dtype;
  plan.tensor = (dtype == DType::F16 && target.compute >= 75) ||
                (dtype == DType::BF16 && target.compute >= 80) ||
                (dtype == DType::F32 && target.compute >= 80 && target.numerics.tf32);
  if (!plan.tensor) return;
  plan.shared_dtype = dtype, plan.depth = step_bytes / int64_t(size_of(dtype));
  plan.async = target.compute >= 80;
  for (const TileSide* side : {&plan.rows, &plan.columns}) {
    const Expr& e = kernel.exprs[size_t(side->expr)];
    plan.async &= e.kind == Kind::Load && e.inner && side->lanes == plan.vector() &&
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
// once, where it reads along k, are in different banks. On tensor cores chunks change places for
// that, but where tf32 is read number by number: four lines of 8 numbers at once.
void place_in_shared(TilePlan& plan) {
  const auto size = int64_t(size_of(plan.dtype));
  int64_t end = 0;
  for (TileSide* side : {&plan.rows, &plan.columns}) {
    side->shared_offset = end;
    side->line = side->tile + std::max<int64_t>(plan.chunk, access_bytes / size);
    if (plan.tensor) side->line = side->along_inner ? plan.depth : side->tile;
    side->swizzled = plan.tensor && (side->along_inner || !plan.tf32());
    if (plan.tensor && !side->swizzled) side->line += 8;
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

// The plan with this tile.
void lay_out(TilePlan& plan, const Tile& tile) {
  plan.rows.tile = tile.rows, plan.columns.tile = tile.columns;
  plan.warp_rows = tile.warp_rows, plan.warp_columns = tile.warp_columns;
  plan.thread_rows = tile.warp_rows / TilePlan::threads_down;
  plan.thread_columns = tile.warp_columns / TilePlan::threads_across;
  plan.warps_down = tile.rows / tile.warp_rows;
  plan.warps_across = tile.columns / tile.warp_columns;
  place_in_shared(plan);
}

// With the tile whose busiest multiprocessor is done first, of those that fit into a block's shared
// memory.
void choose_tile(TilePlan& plan, int64_t most_shared) {
  std::span<const Tile> tiles = tiles4;
  if (size_of(plan.dtype) == 8) tiles = tiles8;
  if (plan.tensor) tiles = fetched_tiles;
  if (plan.async) tiles = copied_tiles;
  TilePlan best;
  double least = std::numeric_limits<double>::infinity();
  for (const Tile& t : tiles) {
    TilePlan with = plan;
    lay_out(with, t);
    const double time = double(pieces(with.blocks(), multiprocessors)) * double(t.rows) *
                        double(t.columns) * t.cost;
    if (time >= least || with.shared_bytes > most_shared) continue;
    least = time;
    best = std::move(with);
  }
  CERMET_CHECK(best.rows.tile > 1, "no tile fits {} bytes of shared memory", most_shared);
  plan = std::move(best);
}

// Whether two blocks of the largest tile fit, which then hide each other's waits. A prologue, an
// index of several axes, before sm_90 reads of single elements, and from sm_100 on any epilogue
// need more registers than that leaves: the assembler would spill.
bool fits_twice(const Kernel& kernel, const Target& target, const TilePlan& plan) {
  if (!is_float(plan.dtype) || plan.groups.inner.size() > 1) return false;
  if (target.compute >= 100 && cycles_of(kernel) > 4) return false;
  for (const TileSide* side : {&plan.rows, &plan.columns})
    if (kernel.exprs[size_t(side->expr)].kind != Kind::Load ||
        (side->lanes == 1 && target.compute < 90))
      return false;
  return true;
}

}  // namespace

Ref swizzled_chunk(loops::Builder& b, const TilePlan& plan, const TileSide& side, Ref line,
                   Ref chunk) {
  // 8 chunks are all banks once: a line of 8 or more, or two lines of 4.
  const bool half = side.line == 4 * plan.vector();
  const Ref lines = half ? b.div(line, b.index(2)) : line;
  return b.xor_(chunk, b.rem(lines, b.index(half ? 4 : 8)));
}

Ref shared_place(loops::Builder& b, const TilePlan& plan, const TileSide& side, Ref line,
                 Ref along) {
  const Ref start = b.mul(line, b.index(side.line));
  if (!side.swizzled) return b.add(start, along);
  const Ref vector = b.index(plan.vector());
  const Ref chunk = swizzled_chunk(b, plan, side, line, b.div(along, vector));
  return b.add(start, b.add(b.mul(chunk, vector), b.rem(along, vector)));
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
  see_through_casts(kernel, plan);
  for (TileSide* side : {&plan.rows, &plan.columns}) choose_reads(kernel, program, plan, *side);
  choose_unit(kernel, program, target, plan);
  plan.chunk = std::min<int64_t>(4, access_bytes / int64_t(size_of(plan.dtype)));
  choose_tile(plan, target.shared_bytes);
  choose_epilogue(kernel, program, plan);
  const bool largest = !plan.tensor && plan.thread_rows * plan.thread_columns == 64;
  if (largest && fits_twice(kernel, target, plan)) plan.resident = 2;
  return plan;
}

}  // namespace cermet::compiler
