#pragma once
// How a contraction with few rows, or few columns, is laid out over the blocks and threads of a
// GPU: matrix times vector, or times a few vectors. Such a product is as fast as its large operand
// is read, so every element of that one is read once, 16 bytes at a time, and used for all vectors
// while it is in registers.
//
// The axis with few points is `thin`, the other one `wide`. Where the large operand lies along k, a
// thread has a few wide elements and the lanes of a warp follow each other along k; where it lies
// along the wide axis, a thread has the elements of one vector, a few lanes follow each other along
// the wide axis and all others have steps of k of their own. Threads that share a wide element are
// a team; their sums meet by shuffles, then in shared memory, in an order that the plan decides.

#include "compiler/contract_groups.h"
#include "compiler/program.h"

namespace cermet::compiler {

struct ThinPlan {
  struct Side {
    std::vector<int64_t> axes;  // of the space; the last runs fastest
    int32_t expr = -1;
    int64_t extent = 1;  // of all its axes
  };
  ContractGroups groups;
  DType dtype;  // of sums
  Side thin, wide;
  int64_t batches = 1, inner = 1;
  bool along_inner = false;     // the wide operand lies along k
  int lanes = 1;                // of it, that a thread reads at once
  int64_t wide_per_thread = 1;  // elements
  int64_t terms = 1;            // that a thread reads at once of the thin operand, along k
  int64_t unrolled = 1;         // such steps that are loaded together
  int64_t lanes_across = 1;     // of a warp, along the wide axis; the others are along k
  int64_t team_warps = 1;       // with the same wide elements and other steps of k
  bool vector_sums = false;     // along k, too, sums have lanes
  bool wide_is_fast = true;     // results that follow each other do so along the wide axis

  static constexpr int64_t warp = 32, warps = 8, threads = warp * warps;
  int64_t wide_per_team() const { return lanes_across * wide_per_thread; }
  int64_t wide_per_block() const { return warps / team_warps * wide_per_team(); }
  int64_t wide_blocks() const { return (wide.extent + wide_per_block() - 1) / wide_per_block(); }
  int64_t blocks() const { return batches * wide_blocks(); }
  int64_t slices() const { return team_warps * warp / lanes_across; }  // of a step of k
  int64_t step() const { return slices() * terms * unrolled; }
  // Blocks of a multiprocessor that registers shall leave room for.
  int32_t resident() const { return sums() <= 32 ? 2 : 1; }
  int64_t sums() const { return wide_per_thread * thin.extent; }  // of a thread
};

// Whether this is such a product: few rows or columns, many of the other, and long sums over one
// axis.
bool is_thin(const Kernel& kernel);

// Of a kernel with exactly one Contract, which is_thin.
ThinPlan plan_thin(const Kernel& kernel, const KernelProgram& program);

}  // namespace cermet::compiler
