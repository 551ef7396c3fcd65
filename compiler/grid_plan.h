#pragma once
// How a row program is laid out over threads: decided before anything is written, from the kernel
// and this shape alone.
//
// A thread does `lanes` neighbours at once, a vector of up to 16 bytes, along the axis that most
// memory is contiguous in. The vectors of a row are its slots. A row (with lanes along an outer
// axis: `lanes` rows side by side) belongs to a team of `team` threads, which take its slots in
// turn; a block of `threads` threads is threads / team teams, for rows that follow each other.
//
//   lanes along an inner axis   a team's threads follow each other: they read one row in turn, and
//                               combine their partial results by shuffles, in teams larger than a
//                               warp also through shared memory
//                               scans: in every step over the slots, with a carry between steps
//   lanes along an outer axis   the threads of one part of all teams follow each other: they read
//                               neighbouring columns; partial results go through shared memory
//
// Scatters, and scans with lanes along an outer axis, are done by one thread for each row: teams of
// one.
//
// Where every thread of a team has at most 8 slots, they are unrolled (`unrolled`): what one stage
// loaded and computed stays in registers for the later ones. Longer rows are read again, and so are
// those of kernels with so many values that registers would not do; such kernels have fewer lanes.

#include "compiler/row_stages.h"

namespace cermet::compiler {

struct GridPlan : RowStages {
  Shape space;    // outer, then inner
  int64_t outer;  // how many axes of the space are outer

  int64_t vector_axis = -1;  // of the space; -1: none
  int lanes = 1;
  std::vector<int64_t> row_axes;   // outer axes, the fastest last
  std::vector<int64_t> slot_axes;  // inner axes, the fastest last

  int64_t rows = 1;       // vectors of rows, if lanes run along an outer axis
  int64_t slots = 1;      // of a row
  int64_t threads = 1;    // of a block
  int64_t team = 1;       // threads that share a row
  int64_t unrolled = 0;   // slots of a thread, all at once; 0: a loop
  int64_t copies = 1;     // rows of a team in one unit; maps only
  int64_t units = 1;      // of threads / team * copies rows each
  int64_t per_block = 1;  // units that a block does, one after another
  int64_t blocks = 1;

  bool scans = false;  // a team scans its row together

  bool along_inner() const { return vector_axis >= outer; }
  bool along_outer() const { return vector_axis >= 0 && vector_axis < outer; }
  int64_t teams() const { return threads / team; }
  // How many steps of `lanes` an axis has for rows or slots.
  int64_t steps(int64_t axis) const {
    return space[size_t(axis)] / (axis == vector_axis ? lanes : 1);
  }
};

GridPlan plan_grid(const Kernel& kernel, const KernelProgram& program);

}  // namespace cermet::compiler
