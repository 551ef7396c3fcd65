#pragma once
// From finished sums to results: a slab of the tile lies in shared memory, and the threads of the
// block take its vectors in turn, evaluate the kernel's row expressions and store them.

#include "compiler/lower_scope.h"
#include "compiler/tile_plan.h"

namespace cermet::compiler {

class TileEpilogue {
 public:
  // `at` has the batch's indices; first_row and first_column are those of the tile.
  TileEpilogue(KernelWriter& w, const TilePlan& plan, std::vector<loops::Ref> at,
               loops::Ref first_row, loops::Ref first_column);

  int32_t shared() const { return shared_; }  // of a slab: [slab_rows][slab_line]
  // Between barriers. row_of: the row of the tile that a row of the slab is.
  void finish_slab(const std::function<loops::Ref(loops::Ref)>& row_of);

 private:
  KernelWriter& w_;
  loops::Builder& b_;
  const TilePlan& plan_;
  std::vector<loops::Ref> at_;
  loops::Ref first_row_, first_column_;
  int32_t shared_;
};

}  // namespace cermet::compiler
