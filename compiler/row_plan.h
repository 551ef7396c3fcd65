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
    int stage;       // -1: before the first
    int64_t offset;  // in bytes
  };

  Shape space;      // outer, then inner
  int64_t outer;    // how many axes of the space are outer
  int64_t columns;  // of an outer vector axis: what one unit of the range does

  int64_t vector_axis = -1;  // of the space; -1: none
  int lanes = 1;
  int copies = 1;                 // vectors in flight
  std::vector<int> stage_copies;  // by stage, of an inner vector axis; at most `copies`
  bool masks = false;             // the end of an axis is one masked step, not a scalar loop
  bool whole = false;             // the vector axis ends with whole groups of vectors
  std::vector<int32_t> streamed;  // buffers of the program that are stored past the caches

  std::vector<int32_t> ahead;  // loads of the row after this one that are prefetched

  std::vector<int64_t> nesting;  // inner axes, outermost loop first

  std::vector<Kept> kept;
  int64_t scratch_bytes = 0;

  // With lanes along an outer axis and many elements in a row, all columns of a unit advance
  // together, `block` elements of the innermost axis at a time, so that memory is read along its
  // rows. Scratch memory then holds what one column's registers would: the partial results of each
  // stage, and the values of rows that elements use. 0: columns are done one after another.
  int64_t block = 0;
  struct RowKept {
    int32_t expr;
    int64_t offset;  // in bytes
  };
  std::vector<RowKept> row_kept;
  std::vector<std::vector<int64_t>> totals;    // by stage: offsets of its partial results
  std::vector<std::vector<int32_t>> row_uses;  // by stage: values of rows that its elements use

  // Reductions over pairs (pair_plan.h): loads that a unit packs for its columns, and the rows that
  // it does with them.
  std::vector<int32_t> packed;
  int64_t pair_rows = 1;

  bool broadcasts = false;  // the lanes, along an outer axis, read one element for all of them

  int64_t chunks = 1;  // units that share a row, by columns
  int64_t range = 1;   // units in all
  int64_t grain = 1;   // units that are worth another thread

  // Whether scratch memory holds elements of all columns of a unit.
  bool holds_columns() const { return block > 0 || !packed.empty(); }
  bool along_inner() const { return vector_axis >= outer; }
  bool along_outer() const { return vector_axis >= 0 && vector_axis < outer; }

  // How many elements of the inner axes a lane meets inside of one step of nesting[depth].
  int64_t steps_below(int stage, size_t depth) const;
  int copies_in(int stage) const { return along_inner() ? stage_copies[size_t(stage)] : copies; }
};

// For a kernel that lower_rows takes; a Contract in it counts as a sum of products.
RowPlan plan_rows(const Kernel& kernel, const KernelProgram& program, const Target& target);

}  // namespace cermet::compiler
