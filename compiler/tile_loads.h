#pragma once
// What a block reads of one operand in a step over k: fetched into registers by all threads
// together, its prologue evaluated, and put into shared memory.

#include "compiler/lower_scope.h"
#include "compiler/tile_plan.h"

namespace cermet::compiler {

// The index along each of these axes of a flattened number; the last one runs fastest.
// `literal`: small extents are part of the code, since dividing by a constant is cheap.
void spread_index(KernelWriter& w, Scope& scope, const std::vector<int64_t>& axes,
                  loops::Ref number, bool literal = false);

class TileLoads {
 public:
  // `at` has the batch's indices; `first` is the first row or column of the tile.
  TileLoads(KernelWriter& w, const TilePlan& plan, const TileSide& side,
            const std::vector<loops::Ref>& at, loops::Ref first);

  // This thread's elements of the step that begins at `k`; zeros beyond the end of k, and where
  // `exists` is not set.
  std::vector<loops::Ref> fetch(loops::Ref k, loops::Ref exists);
  // Puts them into shared memory, whose elements begin at `stage`.
  void put(loops::Ref stage, const std::vector<loops::Ref>& values);
  // Both at once, without registers, and done only when it is waited for.
  void copy(loops::Ref stage, loops::Ref k, loops::Ref exists);

  int32_t shared() const { return shared_; }

 private:
  // One vector of this thread.
  struct Slot {
    loops::Ref k;       // in the step
    loops::Ref place;   // in the tile, along the side's axes
    loops::Ref exists;  // none: it does
    Scope scope;        // with everything that does not vary along k
  };
  Scope scope_at(const Slot& slot, loops::Ref k, loops::Ref exists);
  // Of the first element of a slot in shared memory.
  loops::Ref place_of(const Slot& slot, loops::Ref stage);
  void add_slot(loops::Ref number, loops::Ref exists, const std::vector<loops::Ref>& at,
                loops::Ref first);

  KernelWriter& w_;
  loops::Builder& b_;
  const TilePlan& plan_;
  const TileSide& side_;
  const bool flat_;  // the inner axes are one
  int32_t shared_ = -1;
  std::vector<Slot> slots_;
};

}  // namespace cermet::compiler
