#pragma once
// The stages of a row program: how often its rows are walked, and what happens when.
//
// Stage s accumulates the reductions whose operands need only reductions of earlier stages, all of
// them in one loop; element stores happen in the first stage that can. This is the same for every
// target; what a stage keeps for a later one is not.

#include <vector>

#include "compiler/program.h"

namespace cermet::compiler {

struct RowStages {
  int stages = 1;
  std::vector<int> stage_of;     // by expression: the first stage in which its value can exist
  std::vector<int> store_stage;  // by store; -1: after all stages, once per row
  std::vector<std::vector<int32_t>> accumulated;  // by stage: Reduce, ArgReduce, Scan, in order
  std::vector<bool> reversed;                     // by stage: walks the inner axis backwards
};

// Of a fused kernel; a Contract in it counts as a sum of products.
RowStages row_stages(const Kernel& kernel);

// Whether an expression's value exists only after a loop over its operand's elements.
bool accumulates(const Expr& expr);

// How the partial results of an accumulating expression combine.
ir::Combine combine_of(const Expr& expr);

// Scans and scatters depend on the order of the inner axis.
bool needs_order(const Kernel& kernel);

// Roughly, of one core: of an expression for one element, and of all of a kernel's.
int cycles_of(const Expr& expr);
int cycles_of(const Kernel& kernel);

// By axis of the space: the bytes that lanes along it read and write without going one by one.
// `spaced`: every second or fourth element is so many vectors and a shuffle, not one by one.
std::vector<double> contiguous_bytes(const Kernel& kernel, const KernelProgram& program,
                                     bool spaced);

}  // namespace cermet::compiler
