// A contraction as code of one thread; compiler/tile_plan.h says which part of it is its.
//
//   fetch and put step 0; barrier
//   for each step of k:  fetch the next step into registers
//                        multiply this one, from shared memory
//                        put the next one where the step before this one was; barrier
//   for each slab:       sums to shared memory; barrier; epilogue; barrier
//
// What lies outside of the operands is zero in shared memory, so only the epilogue knows where the
// result ends. Beyond the last step the fetch is masked off altogether.

#include "compiler/lower_tiles.h"

#include "compiler/index_width.h"
#include "compiler/tile_epilogue.h"
#include "compiler/tile_loads.h"

namespace cermet::compiler {
namespace {

using loops::Ref;

constexpr int64_t raster_rows = 8;

class TileLowering {
 public:
  TileLowering(const Kernel& kernel, const KernelProgram& program, const Target& target,
               LoweredKernel& out)
      : out_(out),
        plan_(plan_tiles(kernel, program, target)),
        w_(kernel, program, target, out),
        b_(w_.builder()) {}
  void run();

 private:
  void find_tile();
  void find_thread();
  std::vector<Ref> main_loop(TileLoads& left, TileLoads& right);
  void multiply(const TileLoads& left, Ref left_stage, const TileLoads& right, Ref right_stage,
                std::vector<Ref>& sums);
  void finish(const std::vector<Ref>& sums);

  LoweredKernel& out_;
  const TilePlan plan_;
  KernelWriter w_;
  loops::Builder& b_;
  std::vector<Ref> at_;              // indices of the batch
  Ref first_row_, first_column_;     // of the tile
  Ref warp_down_, warp_across_;      // this thread's warp in the block,
  Ref thread_down_, thread_across_;  // and itself in the warp
};

void TileLowering::run() {
  out_.function.threads = int32_t(plan_.threads());
  out_.function.resident = plan_.resident;
  find_tile();
  find_thread();
  TileLoads left(w_, plan_, plan_.rows, at_, first_row_);
  TileLoads right(w_, plan_, plan_.columns, at_, first_column_);
  finish(main_loop(left, right));
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
  if (row_count <= raster_rows) {
    row = b_.rem(unit, rows), column = b_.div(unit, rows);
  } else {
    const Ref height = b_.index(raster_rows), band = b_.mul(height, columns);
    const Ref first = b_.mul(b_.div(unit, band), height), rest = b_.rem(unit, band);
    const Ref here =
        row_count % raster_rows == 0 ? height : b_.min_index(height, b_.sub(rows, first));
    row = b_.add(first, b_.rem(rest, here)), column = b_.div(rest, here);
  }
  first_row_ = b_.mul(row, b_.index(plan_.rows.tile));
  first_column_ = b_.mul(column, b_.index(plan_.columns.tile));
  Scope scope;
  scope.index.assign(size_t(w_.rank()), b_.index(0));
  if (plan_.batches > 1) spread_index(w_, scope, plan_.groups.batch, b_.div(b_.block(), tiles));
  at_ = scope.index;
}

void TileLowering::find_thread() {
  const Ref warp = b_.div(b_.thread(), b_.index(TilePlan::warp));
  const Ref lane = b_.rem(b_.thread(), b_.index(TilePlan::warp));
  warp_down_ = b_.div(warp, b_.index(plan_.warps_across));
  warp_across_ = b_.rem(warp, b_.index(plan_.warps_across));
  thread_down_ = b_.div(lane, b_.index(TilePlan::threads_across));
  thread_across_ = b_.rem(lane, b_.index(TilePlan::threads_across));
}

// Sums are chunks along the columns: [row][chunk].
std::vector<Ref> TileLowering::main_loop(TileLoads& left, TileLoads& right) {
  const Ref one = b_.index(1), zero = b_.index(0), depth = b_.index(plan_.depth);
  const Ref left_size = b_.index(plan_.depth * plan_.rows.line);
  const Ref right_size = b_.index(plan_.depth * plan_.columns.line);
  left.put(zero, left.fetch(zero, {}));
  right.put(zero, right.fetch(zero, {}));
  b_.barrier();
  const int64_t count = plan_.thread_rows * plan_.thread_columns / plan_.chunk;
  const std::vector<Ref> zeros(size_t(count), b_.constant_bits(plan_.dtype, 0, int(plan_.chunk)));
  const Ref steps = w_.integer("steps", 0, plan_.steps());
  return b_.for_loop(zero, steps, 1, zeros, [&](Ref step, std::span<const Ref> carried) {
    std::vector<Ref> sums(carried.begin(), carried.end());
    const Ref next = b_.add(step, one), exists = b_.lt(next, steps);
    const std::vector<Ref> next_left = left.fetch(b_.mul(next, depth), exists);
    const std::vector<Ref> next_right = right.fetch(b_.mul(next, depth), exists);
    const Ref stage = b_.rem(step, b_.index(2)), other = b_.sub(one, stage);
    multiply(left, b_.mul(stage, left_size), right, b_.mul(stage, right_size), sums);
    left.put(b_.mul(other, left_size), next_left);
    right.put(b_.mul(other, right_size), next_right);
    b_.barrier();
    return sums;
  });
}

void TileLowering::multiply(const TileLoads& left, Ref left_stage, const TileLoads& right,
                            Ref right_stage, std::vector<Ref>& sums) {
  const int64_t chunk = plan_.chunk;
  // The first element of this thread's chunks of a step, and how far they are apart.
  const auto chunks = [&](const TileLoads& side, Ref stage, int64_t line, Ref warp, Ref thread,
                          int64_t threads, int64_t elements, int64_t k) {
    const Ref start =
        b_.add(b_.mul(warp, b_.index(threads * elements)), b_.mul(thread, b_.index(chunk)));
    std::vector<Ref> out;
    for (int64_t c = 0; c < elements / chunk; ++c)
      out.push_back(b_.load(side.shared(),
                            b_.add(b_.add(stage, start), b_.index(k * line + c * threads * chunk)),
                            int(chunk)));
    return out;
  };
  for (int64_t k = 0; k < plan_.depth; ++k) {
    const std::vector<Ref> x = chunks(left, left_stage, plan_.rows.line, warp_down_, thread_down_,
                                      TilePlan::threads_down, plan_.thread_rows, k);
    const std::vector<Ref> y =
        chunks(right, right_stage, plan_.columns.line, warp_across_, thread_across_,
               TilePlan::threads_across, plan_.thread_columns, k);
    for (int64_t i = 0; i < plan_.thread_rows; ++i) {
      const Ref element = b_.splat(b_.extract(x[size_t(i / chunk)], int(i % chunk)), int(chunk));
      for (size_t j = 0; j < y.size(); ++j) {
        Ref& sum = sums[size_t(i) * y.size() + j];
        sum = multiply_add(b_, element, y[j], sum);
      }
    }
  }
}

// A slab has the same few rows of every thread; [row of a thread][warp down][thread down].
void TileLowering::finish(const std::vector<Ref>& sums) {
  TileEpilogue epilogue(w_, plan_, at_, first_row_, first_column_);
  const int64_t chunk = plan_.chunk, down = TilePlan::threads_down,
                across = TilePlan::threads_across, slab = plan_.thread_rows / plan_.slabs,
                chunks = plan_.thread_columns / chunk;
  for (int64_t first = 0; first < plan_.thread_rows; first += slab) {
    if (first > 0) b_.barrier();
    for (int64_t i = 0; i < slab; ++i) {
      const Ref warps = b_.add(b_.index(i * plan_.warps_down), warp_down_);
      const Ref row = b_.add(b_.mul(warps, b_.index(down)), thread_down_);
      const Ref column = b_.add(b_.mul(warp_across_, b_.index(across * plan_.thread_columns)),
                                b_.mul(thread_across_, b_.index(chunk)));
      const Ref place = b_.add(b_.mul(row, b_.index(plan_.slab_line)), column);
      for (int64_t c = 0; c < chunks; ++c)
        b_.store(epilogue.shared(), b_.add(place, b_.index(c * across * chunk)),
                 sums[size_t((first + i) * chunks + c)]);
    }
    b_.barrier();
    epilogue.finish_slab([&](Ref slab_row) {
      const Ref thread = b_.rem(slab_row, b_.index(down)), rest = b_.div(slab_row, b_.index(down));
      const Ref warp = b_.rem(rest, b_.index(plan_.warps_down));
      const Ref i = b_.add(b_.index(first), b_.div(rest, b_.index(plan_.warps_down)));
      const Ref in_warp =
          b_.add(b_.mul(b_.div(i, b_.index(chunk)), b_.index(down * chunk)),
                 b_.add(b_.mul(thread, b_.index(chunk)), b_.rem(i, b_.index(chunk))));
      return b_.add(b_.mul(warp, b_.index(down * plan_.thread_rows)), in_warp);
    });
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
