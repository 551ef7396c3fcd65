#pragma once
// What the lowering of a row program decides before it writes anything.
//
// A row is a point of the outer axes with all of the inner axes. The plan says along which axis
// lanes run, which pass over the row (stage) computes and stores what, and which elements are kept
// in scratch memory from one stage to a later one. It depends on the kernel and the target alone;
// lower_rows.cpp turns it into loops.
//
// Stage s accumulates the reductions whose operands need only reductions of earlier stages, all of
// them in one loop; element stores happen in the first stage that can. An element expression that
// several stages need is computed again from its loads, unless it is expensive: then the first
// stage keeps it.

#include <vector>

#include "compiler/program.h"

namespace cermet::compiler {

struct RowPlan {
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

  int stages = 1;
  std::vector<int> stage_of;     // by expression: the first stage in which its value can exist
  std::vector<int> store_stage;  // by store; -1: after all stages, once per row
  std::vector<std::vector<int32_t>> accumulated;  // by stage: Reduce, ArgReduce, Scan, in order
  std::vector<bool> reversed;                     // by stage: walks the inner axis backwards
  std::vector<int64_t> nesting;                   // inner axes, outermost loop first

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

// Whether an expression's value exists only after a loop over its operand's elements.
bool accumulates(const Expr& expr);

// How the partial results of an accumulating expression combine.
ir::Combine combine_of(const Expr& expr);

}  // namespace cermet::compiler
