#pragma once
// What the lowering of a row program decides before it writes anything.
//
// A row is a point of the outer axes with all of the inner axes. The plan says along which axis
// lanes run and which elements are kept in scratch memory from one stage (compiler/row_stages.h) to
// a later one: those that several stages need and that are expensive to compute again. It depends
// on the kernel and the target alone; lower_rows.cpp turns it into loops.

#include <vector>

#include "compiler/row_stages.h"

namespace cermet::compiler {

struct RowPlan : RowStages {
  // An element expression that scratch memory keeps: filled by one stage, read by later ones.
  struct Kept {
    int32_t expr;
    int stage;
    int64_t offset;  // in bytes
  };

  Shape space;      // outer, then inner
  int64_t outer;    // how many axes of the space are outer
  int64_t columns;  // of an outer vector axis: what one unit of the range does

  int64_t vector_axis = -1;  // of the space; -1: none
  int lanes = 1;
  int copies = 1;      // vectors in flight
  bool masks = false;  // the end of an axis is one masked step, not a scalar loop

  std::vector<int64_t> nesting;  // inner axes, outermost loop first

  std::vector<Kept> kept;
  int64_t scratch_bytes = 0;

  int64_t chunks = 1;  // units that share a row, by columns
  int64_t range = 1;   // units in all
  int64_t grain = 1;   // units that are worth another thread

  bool along_inner() const { return vector_axis >= outer; }
  bool along_outer() const { return vector_axis >= 0 && vector_axis < outer; }

  // How many elements of the inner axes a lane meets inside of one step of nesting[depth].
  int64_t steps_below(size_t depth) const;
};

// For a kernel that lower_rows takes; a Contract in it counts as a sum of products.
RowPlan plan_rows(const Kernel& kernel, const KernelProgram& program, const Target& target);

}  // namespace cermet::compiler
