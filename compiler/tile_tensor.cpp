// Sums on tensor cores. A warp has warp_rows x warp_columns of the tile, as matrices of 16 x 8, of
// which each thread has 4 numbers: (lane / 4, 2 * (lane % 4)), the next column, and the same eight
// rows below. Which registers hold what is in the PTX ISA, "Matrix Fragments for mma.m16n8k16".
//
// Operands come from shared memory as four matrices of eight lines of 16 bytes at a time: of the
// rows' side 16 rows x 16 terms, of the columns' side 16 columns x 16 terms. Where a line of shared
// memory runs along the rows (or columns) the matrices are transposed on the way. Lines are not
// padded: the 16-byte chunks of neighbouring lines change places (shared_place), so that neither
// the eight lines of a matrix nor the chunks of a line meet in a bank.
//
// Numbers of f32 go to the tensor cores as tf32: 8 terms at a time instead of 16, so a line of a
// matrix is 4 terms and everything else is as above. Only these matrices cannot be transposed on
// the way; such operands are read number by number.

#include "compiler/tile_sums.h"

namespace cermet::compiler {
namespace {

using loops::Ref;

class TensorSums : public TileSums {
 public:
  TensorSums(KernelWriter& w, const TilePlan& plan) : b_(w.builder()), plan_(plan) {
    const Ref warp = b_.div(b_.thread(), b_.index(TilePlan::warp));
    lane_ = b_.rem(b_.thread(), b_.index(TilePlan::warp));
    warp_down_ = b_.div(warp, b_.index(plan.warps_across));
    warp_across_ = b_.rem(warp, b_.index(plan.warps_across));
  }

  // [16 rows][8 columns]
  std::vector<Ref> zeros() override {
    return {size_t(down() * across()), b_.constant_bits(DType::F32, 0, 4)};
  }

  void multiply(const TileLoads& left, Ref left_stage, const TileLoads& right, Ref right_stage,
                std::vector<Ref>& sums, const std::function<void()>& meanwhile) override {
    for (int64_t k = 0; k < plan_.depth; k += 2 * plan_.vector()) {
      std::vector<Ref> x, y;
      for (int64_t m = 0; m < down(); ++m)
        x.push_back(matrices(left, plan_.rows, left_stage, 16 * m, k));
      for (int64_t n = 0; n < across() / 2; ++n)
        y.push_back(matrices(right, plan_.columns, right_stage, 16 * n, k));
      if (k == 0) meanwhile();
      for (int64_t m = 0; m < down(); ++m)
        for (int64_t n = 0; n < across(); ++n) {
          const Ref both = y[size_t(n / 2)];
          const int first = int(n % 2 * 2);
          Ref& sum = sums[size_t(m * across() + n)];
          sum = b_.mma(plan_.shared_dtype, x[size_t(m)], b_.extract(both, first),
                       b_.extract(both, first + 1), sum);
        }
    }
  }

  // A slab has 16 rows of every warp.
  void put_slab(const TileEpilogue& epilogue, int64_t slab, const std::vector<Ref>& sums) override {
    const Ref row = b_.add(b_.mul(warp_down_, b_.index(16)), b_.div(lane_, b_.index(4)));
    const Ref column = b_.add(b_.mul(warp_across_, b_.index(plan_.warp_columns)),
                              b_.mul(b_.rem(lane_, b_.index(4)), b_.index(2)));
    const Ref place = b_.add(b_.mul(row, b_.index(plan_.slab_line)), column);
    for (int64_t n = 0; n < across(); ++n)
      for (int64_t e = 0; e < 4; ++e) {
        const int64_t further = e / 2 * 8 * plan_.slab_line + 8 * n + e % 2;
        b_.store(epilogue.shared(), b_.add(place, b_.index(further)),
                 b_.extract(sums[size_t(slab * across() + n)], int(e)));
      }
  }
  Ref row_of(int64_t slab, Ref slab_row) override {
    const Ref warp = b_.div(slab_row, b_.index(16)), row = b_.rem(slab_row, b_.index(16));
    return b_.add(b_.mul(warp, b_.index(plan_.warp_rows)), b_.add(row, b_.index(16 * slab)));
  }

 private:
  int64_t down() const { return plan_.warp_rows / 16; }
  int64_t across() const { return plan_.warp_columns / 8; }

  // 16 rows or columns of the warp from `first` on, two matrices' terms from k on, u32 x 4. Of rows
  // the second matrix is that of the next eight rows, of columns of the next terms.
  Ref matrices(const TileLoads& loads, const TileSide& side, Ref stage, int64_t first, int64_t k) {
    const Ref x = plan_.tf32() && !side.along_inner ? numbers(loads, side, stage, first, k)
                                                    : lines(loads, side, stage, first, k);
    // What was not copied was rounded before.
    if (!plan_.tf32() || !plan_.async) return x;
    return b_.bitcast(b_.round_tf32(b_.bitcast(x, DType::F32)), DType::U32);
  }

  // Where the warp's part of a side begins.
  Ref start(const TileSide& side) {
    return is_rows(side) ? b_.mul(warp_down_, b_.index(plan_.warp_rows))
                         : b_.mul(warp_across_, b_.index(plan_.warp_columns));
  }
  bool is_rows(const TileSide& side) const { return &side == &plan_.rows; }

  // Threads 8m to 8m + 7 give the lines of matrix m. What differs between the matrices of a warp
  // is a constant wherever it can be: it is an offset of the instruction then. That is so for whole
  // lines, 16 of which do not change how chunks are swizzled.
  Ref lines(const TileLoads& loads, const TileSide& side, Ref stage, int64_t first, int64_t k) {
    const Ref eight = b_.index(8), two = b_.index(2), vector = b_.index(plan_.vector());
    const Ref i = b_.rem(lane_, eight), matrix = b_.div(lane_, eight);
    const Ref next = is_rows(side) ? b_.rem(matrix, two) : b_.div(matrix, two);  // 8 rows
    const Ref more = is_rows(side) ? b_.div(matrix, two) : b_.rem(matrix, two);  // terms
    const Ref line = side.along_inner ? b_.add(start(side), b_.add(b_.mul(next, eight), i))
                                      : b_.add(b_.mul(more, eight), i);
    const Ref chunk = side.along_inner
                          ? b_.add(b_.index(k / plan_.vector()), more)
                          : b_.add(b_.div(start(side), eight), b_.add(b_.index(first / 8), next));
    const Ref place = b_.add(b_.mul(line, b_.index(side.line)),
                             b_.mul(swizzled_chunk(b_, plan_, side, i, chunk), vector));
    const int64_t whole_lines = side.along_inner ? first : k;
    return b_.load_matrix(loads.shared(),
                          b_.add(b_.add(stage, place), b_.index(whole_lines * side.line)),
                          !side.along_inner);
  }

  // The same of f32 whose lines run along the rows or columns: (lane / 4, lane % 4) of each matrix.
  Ref numbers(const TileLoads& loads, const TileSide& side, Ref stage, int64_t first, int64_t k) {
    const Ref four = b_.index(4), two = b_.index(2), matrix = b_.ramp(b_.index(0), 4);
    const Ref next = is_rows(side) ? b_.rem(matrix, two) : b_.div(matrix, two);
    const Ref more = is_rows(side) ? b_.div(matrix, two) : b_.rem(matrix, two);
    const Ref along = b_.add(start(side), b_.div(lane_, four));
    const Ref place = b_.add(b_.mul(b_.rem(lane_, four), b_.index(side.line)), along);
    const Ref further =
        b_.add(b_.add(b_.mul(next, b_.index(8)), b_.mul(more, b_.index(4 * side.line))),
               b_.index(k * side.line + first));
    return b_.bitcast(b_.gather_load(loads.shared(), b_.add(b_.add(stage, place), further)),
                      DType::U32);
  }

  loops::Builder& b_;
  const TilePlan& plan_;
  Ref lane_, warp_down_, warp_across_;
};

}  // namespace

std::unique_ptr<TileSums> tensor_sums(KernelWriter& w, const TilePlan& plan) {
  return std::make_unique<TensorSums>(w, plan);
}

}  // namespace cermet::compiler
