#pragma once
// The sums of a tile in the registers of its threads: how they grow by one step of k, and where in
// the tile each of them is. One kind for each way to multiply.

#include <functional>
#include <memory>

#include "compiler/tile_epilogue.h"
#include "compiler/tile_loads.h"

namespace cermet::compiler {

class TileSums {
 public:
  virtual ~TileSums() = default;
  // This thread's sums before the first step.
  virtual std::vector<loops::Ref> zeros() = 0;
  // Adds the products of a step, which lies in shared memory from these elements on. `meanwhile`
  // writes what is to be done while the first elements are on their way from there.
  virtual void multiply(const TileLoads& left, loops::Ref left_stage, const TileLoads& right,
                        loops::Ref right_stage, std::vector<loops::Ref>& sums,
                        const std::function<void()>& meanwhile) = 0;
  // Puts this thread's part of a slab into the shared memory of the epilogue.
  virtual void put_slab(const TileEpilogue& epilogue, int64_t slab,
                        const std::vector<loops::Ref>& sums) = 0;
  // Which row of the tile a row of a slab is.
  virtual loops::Ref row_of(int64_t slab, loops::Ref slab_row) = 0;
};

// Multiplies number by number, exactly as the dtype does.
std::unique_ptr<TileSums> scalar_sums(KernelWriter& w, const TilePlan& plan);
// f16 and bf16 on tensor cores, with sums in f32.
std::unique_ptr<TileSums> tensor_sums(KernelWriter& w, const TilePlan& plan);

}  // namespace cermet::compiler
