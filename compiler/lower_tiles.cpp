// A contraction as code of one thread; compiler/tile_plan.h says which part of it is its.
//
//   fetch and put step 0; barrier
//   for each step of k:  fetch the next step into registers
//                        multiply this one, from shared memory
//                        put the next one where the step before this one was; barrier
//   for each slab:       sums to shared memory; barrier; epilogue; barrier
//
// Or, where operands are copied without registers, several steps ahead:
//
//   start to copy the first steps but one, each a group
//   for each step of k:  wait for its group; barrier
//                        multiply this one, and meanwhile
//                        start to copy the step that takes the place of the one before this
//
// What lies outside of the operands is zero in shared memory, so only the epilogue knows where the
// result ends. Beyond the last step the fetch is masked off altogether.

#include "compiler/lower_tiles.h"

#include <algorithm>

#include "compiler/index_width.h"
#include "compiler/tile_sums.h"

namespace cermet::compiler {
namespace {

using loops::Ref;

// How many rows of tiles are taken together: about as many numbers of both operands as blocks that
// run at the same time need, where these are a hundred.
int64_t raster_rows(const TilePlan& plan) {
  return std::clamp<int64_t>(8 * plan.columns.tile / plan.rows.tile, 4, 16);
}

class TileLowering {
 public:
  TileLowering(const Kernel& kernel, const KernelProgram& program, const Target& target,
               LoweredKernel& out)
      : out_(out),
        plan_(plan_tiles(kernel, program, target)),
        w_(kernel, program, target, out),
        b_(w_.builder()),
        sums_(plan_.tensor ? tensor_sums(w_, plan_) : scalar_sums(w_, plan_)) {}
  void run();

 private:
  void find_tile();
  std::vector<Ref> fetched_steps(TileLoads& left, TileLoads& right);
  std::vector<Ref> copied_steps(TileLoads& left, TileLoads& right);
  void finish(const std::vector<Ref>& sums);

  LoweredKernel& out_;
  const TilePlan plan_;
  KernelWriter w_;
  loops::Builder& b_;
  const std::unique_ptr<TileSums> sums_;
  std::vector<Ref> at_;           // indices of the batch
  Ref first_row_, first_column_;  // of the tile
};

void TileLowering::run() {
  out_.function.threads = int32_t(plan_.threads());
  out_.function.resident = plan_.resident;
  find_tile();
  TileLoads left(w_, plan_, plan_.rows, at_, first_row_);
  TileLoads right(w_, plan_, plan_.columns, at_, first_column_);
  finish(plan_.async ? copied_steps(left, right) : fetched_steps(left, right));
  out_.range = plan_.blocks();
  out_.scratch_bytes = plan_.shared_bytes;
  out_.function.index_bits = index_bits(out_.function, out_.integers, out_.range);
}

// Blocks that run at the same time are a few rows of tiles high, so that they share both operands
// in the L2 cache, and not one operand only.
void TileLowering::find_tile() {
  const int64_t row_count = plan_.row_tiles(), column_count = plan_.column_tiles();
  const Ref columns = w_.integer("column tiles", 0, column_count);
  const Ref rows = w_.integer("row tiles", 0, row_count);
  const Ref tiles = b_.mul(rows, columns);
  const Ref unit = plan_.batches == 1 ? b_.block() : b_.rem(b_.block(), tiles);
  Ref row, column;
  const int64_t together = raster_rows(plan_);
  if (row_count <= together) {
    row = b_.rem(unit, rows), column = b_.div(unit, rows);
  } else {
    const Ref height = b_.index(together), band = b_.mul(height, columns);
    const Ref first = b_.mul(b_.div(unit, band), height), rest = b_.rem(unit, band);
    const Ref here = row_count % together == 0 ? height : b_.min_index(height, b_.sub(rows, first));
    row = b_.add(first, b_.rem(rest, here)), column = b_.div(rest, here);
  }
  first_row_ = b_.mul(row, b_.index(plan_.rows.tile));
  first_column_ = b_.mul(column, b_.index(plan_.columns.tile));
  Scope scope;
  scope.index.assign(size_t(w_.rank()), b_.index(0));
  if (plan_.batches > 1) spread_index(w_, scope, plan_.groups.batch, b_.div(b_.block(), tiles));
  at_ = scope.index;
}

std::vector<Ref> TileLowering::fetched_steps(TileLoads& left, TileLoads& right) {
  const Ref one = b_.index(1), zero = b_.index(0), depth = b_.index(plan_.depth);
  const Ref left_size = b_.index(plan_.stage(plan_.rows));
  const Ref right_size = b_.index(plan_.stage(plan_.columns));
  left.put(zero, left.fetch(zero, {}));
  right.put(zero, right.fetch(zero, {}));
  b_.barrier();
  const Ref steps = w_.integer("steps", 0, plan_.steps());
  return b_.for_loop(zero, steps, 1, sums_->zeros(), [&](Ref step, std::span<const Ref> carried) {
    std::vector<Ref> sums(carried.begin(), carried.end());
    const Ref next = b_.add(step, one), exists = b_.lt(next, steps);
    std::vector<Ref> next_left, next_right;
    const Ref stage = b_.rem(step, b_.index(2)), other = b_.sub(one, stage);
    sums_->multiply(left, b_.mul(stage, left_size), right, b_.mul(stage, right_size), sums, [&] {
      next_left = left.fetch(b_.mul(next, depth), exists);
      next_right = right.fetch(b_.mul(next, depth), exists);
    });
    left.put(b_.mul(other, left_size), next_left);
    right.put(b_.mul(other, right_size), next_right);
    b_.barrier();
    return sums;
  });
}

std::vector<Ref> TileLowering::copied_steps(TileLoads& left, TileLoads& right) {
  const Ref depth = b_.index(plan_.depth), stages = b_.index(plan_.stages);
  const Ref left_size = b_.index(plan_.stage(plan_.rows));
  const Ref right_size = b_.index(plan_.stage(plan_.columns));
  const Ref steps = w_.integer("steps", 0, plan_.steps());
  const auto copy = [&](Ref step) {
    const Ref stage = b_.rem(step, stages), exists = b_.lt(step, steps);
    left.copy(b_.mul(stage, left_size), b_.mul(step, depth), exists);
    right.copy(b_.mul(stage, right_size), b_.mul(step, depth), exists);
    b_.copy_commit();
  };
  const int64_t ahead = plan_.stages - 1;
  for (int64_t s = 0; s < ahead; ++s) copy(b_.index(s));
  const std::vector<Ref> sums = b_.for_loop(
      b_.index(0), steps, 1, sums_->zeros(), [&](Ref step, std::span<const Ref> carried) {
        std::vector<Ref> next(carried.begin(), carried.end());
        b_.copy_wait(ahead - 1);
        b_.barrier();
        const Ref stage = b_.rem(step, stages);
        sums_->multiply(left, b_.mul(stage, left_size), right, b_.mul(stage, right_size), next,
                        [&] { copy(b_.add(step, b_.index(ahead))); });
        return next;
      });
  b_.copy_wait(0);
  b_.barrier();  // before the epilogue writes there
  return sums;
}

void TileLowering::finish(const std::vector<Ref>& sums) {
  TileEpilogue epilogue(w_, plan_, at_, first_row_, first_column_);
  for (int64_t slab = 0; slab < plan_.slabs; ++slab) {
    if (slab > 0) b_.barrier();
    sums_->put_slab(epilogue, slab, sums);
    b_.barrier();
    epilogue.finish_slab([&](Ref row) { return sums_->row_of(slab, row); });
  }
}

}  // namespace

LoweredKernel lower_tiles(const Kernel& kernel, const KernelProgram& program,
                          const Target& target) {
  LoweredKernel out;
  out.function.name = kernel.name;
  TileLowering(kernel, program, target, out).run();
  return out;
}

}  // namespace cermet::compiler
