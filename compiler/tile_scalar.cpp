// Sums of one thread are chunks along the columns: [row][chunk]. For every k the thread reads its
// rows and its columns, a chunk at a time, and multiplies each with each. What is fetched meanwhile
// is asked for half way: from there on there are registers for it.

#include "compiler/tile_sums.h"

namespace cermet::compiler {
namespace {

using loops::Ref;

class ScalarSums : public TileSums {
 public:
  ScalarSums(KernelWriter& w, const TilePlan& plan) : b_(w.builder()), plan_(plan) {
    const Ref warp = b_.div(b_.thread(), b_.index(TilePlan::warp));
    const Ref lane = b_.rem(b_.thread(), b_.index(TilePlan::warp));
    warp_down_ = b_.div(warp, b_.index(plan.warps_across));
    warp_across_ = b_.rem(warp, b_.index(plan.warps_across));
    thread_down_ = b_.div(lane, b_.index(across));
    thread_across_ = b_.rem(lane, b_.index(across));
  }

  std::vector<Ref> zeros() override {
    const int64_t count = plan_.thread_rows * plan_.thread_columns / plan_.chunk;
    return {size_t(count), b_.constant_bits(plan_.dtype, 0, int(plan_.chunk))};
  }

  void multiply(const TileLoads& left, Ref left_stage, const TileLoads& right, Ref right_stage,
                std::vector<Ref>& sums, const std::function<void()>& meanwhile) override {
    const int64_t chunk = plan_.chunk;
    for (int64_t k = 0; k < plan_.depth; ++k) {
      if (k == plan_.depth / 2) meanwhile();
      const std::vector<Ref> x = chunks(left, b_.add(left_stage, b_.index(k * plan_.rows.line)),
                                        warp_down_, thread_down_, down, plan_.thread_rows);
      const std::vector<Ref> y =
          chunks(right, b_.add(right_stage, b_.index(k * plan_.columns.line)), warp_across_,
                 thread_across_, across, plan_.thread_columns);
      for (int64_t i = 0; i < plan_.thread_rows; ++i) {
        const Ref element = b_.splat(b_.extract(x[size_t(i / chunk)], int(i % chunk)), int(chunk));
        for (size_t j = 0; j < y.size(); ++j) {
          Ref& sum = sums[size_t(i) * y.size() + j];
          sum = multiply_add(b_, element, y[j], sum);
        }
      }
    }
  }

  // A slab has the same few rows of every thread: [row of a thread][warp down][thread down].
  void put_slab(const TileEpilogue& epilogue, int64_t slab, const std::vector<Ref>& sums) override {
    const int64_t chunk = plan_.chunk, chunks = plan_.thread_columns / chunk;
    const Ref column = b_.add(b_.mul(warp_across_, b_.index(across * plan_.thread_columns)),
                              b_.mul(thread_across_, b_.index(chunk)));
    for (int64_t i = 0; i < rows_of_slab(); ++i) {
      const Ref warps = b_.add(b_.index(i * plan_.warps_down), warp_down_);
      const Ref row = b_.add(b_.mul(warps, b_.index(down)), thread_down_);
      const Ref place = b_.add(b_.mul(row, b_.index(plan_.slab_line)), column);
      for (int64_t c = 0; c < chunks; ++c)
        b_.store(epilogue.shared(), b_.add(place, b_.index(c * across * chunk)),
                 sums[size_t((slab * rows_of_slab() + i) * chunks + c)]);
    }
  }
  Ref row_of(int64_t slab, Ref slab_row) override {
    const Ref chunk = b_.index(plan_.chunk), warps = b_.index(plan_.warps_down);
    const Ref thread = b_.rem(slab_row, b_.index(down)), rest = b_.div(slab_row, b_.index(down));
    const Ref i = b_.add(b_.index(slab * rows_of_slab()), b_.div(rest, warps));
    const Ref chunks = b_.mul(b_.div(i, chunk), b_.index(down * plan_.chunk));
    const Ref in_warp = b_.add(chunks, b_.add(b_.mul(thread, chunk), b_.rem(i, chunk)));
    return b_.add(b_.mul(b_.rem(rest, warps), b_.index(down * plan_.thread_rows)), in_warp);
  }

 private:
  static constexpr int64_t down = TilePlan::threads_down, across = TilePlan::threads_across;
  int64_t rows_of_slab() const { return plan_.thread_rows / plan_.slabs; }

  // What a thread has of a line: its chunks are as far apart as the warp's threads are wide.
  std::vector<Ref> chunks(const TileLoads& side, Ref line, Ref warp, Ref thread, int64_t threads,
                          int64_t elements) {
    const int64_t chunk = plan_.chunk;
    const Ref start = b_.add(
        line, b_.add(b_.mul(warp, b_.index(threads * elements)), b_.mul(thread, b_.index(chunk))));
    std::vector<Ref> out;
    for (int64_t c = 0; c < elements / chunk; ++c)
      out.push_back(
          b_.load(side.shared(), b_.add(start, b_.index(c * threads * chunk)), int(chunk)));
    return out;
  }

  loops::Builder& b_;
  const TilePlan& plan_;
  Ref warp_down_, warp_across_;      // this thread's warp in the block,
  Ref thread_down_, thread_across_;  // and itself in the warp
};

}  // namespace

std::unique_ptr<TileSums> scalar_sums(KernelWriter& w, const TilePlan& plan) {
  return std::make_unique<ScalarSums>(w, plan);
}

}  // namespace cermet::compiler
