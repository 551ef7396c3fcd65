#pragma once
// How a contraction is laid out over the blocks and threads of a GPU: decided before anything is
// written, from the kernel and this shape alone.
//
// A block computes a tile of rows x columns of one batch element. It walks k in steps of `depth`:
// the operands of a step are read once by all threads together and kept in shared memory, from
// which every thread takes what its sums need. There are several such steps in shared memory, so
// that some are filled while one is used.
//
// Every warp has a part of the tile. On tensor cores (f16, bf16 and, where it was asked for, f32 as
// tf32; all with sums in f32) it is made of 16 x 8 matrices. Else it is 4 x 8 threads of
// `thread_rows` x `thread_columns` sums each; a thread's rows (and columns) are chunks of 16 bytes,
// which lie so far apart that the chunks of neighbouring threads are neighbours in memory.
//
// Operands that are loads of whole 16-byte vectors are copied by the memory system itself where it
// can do that (from sm_80 on); all others, and all prologues, go through registers.
//
// The finished tile goes through shared memory, a slab of rows at a time, to the epilogue, whose
// threads follow each other along the columns.

#include "compiler/contract_groups.h"
#include "compiler/loops_builder.h"
#include "compiler/program.h"

namespace cermet::compiler {

// One operand: which part of it a block needs in a step, and how that is read.
struct TileSide {
  std::vector<int64_t> axes;  // of the space; the last runs fastest
  int32_t expr = -1;
  int64_t extent = 1;         // of all its axes
  int64_t tile = 1;           // of them, what a block has
  bool along_inner = false;   // what is read together follows along k, not along the axes
  int lanes = 1;              // elements that a thread reads at once
  int64_t line = 1;           // elements of a line of shared memory: [depth][line], but on tensor
                              // cores [tile][line] where along_inner
  bool swizzled = false;      // chunks of neighbouring lines change places
  int64_t shared_offset = 0;  // bytes
};

struct TilePlan {
  ContractGroups groups;
  DType dtype;         // of sums
  DType shared_dtype;  // of operands in shared memory
  bool tensor = false;
  bool tf32() const { return tensor && shared_dtype == DType::F32; }
  bool async = false;  // operands are copied, not fetched and put
  int64_t batches = 1;
  TileSide rows, columns;
  int64_t inner = 1;                            // extent of k
  int64_t depth = 8;                            // of a step
  int64_t stages = 2;                           // steps in shared memory
  int64_t chunk = 4;                            // elements of 16 bytes (of smaller elements: 4)
  int64_t thread_rows = 1, thread_columns = 1;  // not on tensor cores
  int64_t warp_rows = 1, warp_columns = 1;
  int64_t warps_down = 1, warps_across = 1;
  int64_t slabs = 1;       // in which the tile goes to the epilogue
  int64_t slab_line = 1;   // elements of a row of a slab in shared memory
  int epilogue_axis = -1;  // of the space, along which the epilogue has lanes
  int epilogue_lanes = 1;
  int64_t shared_bytes = 0;
  int32_t resident = 1;  // blocks of a multiprocessor

  static constexpr int64_t warp = 32;
  static constexpr int64_t threads_down = 4, threads_across = 8;  // of a warp
  int64_t threads() const { return warps_down * warps_across * warp; }
  int64_t row_tiles() const { return (rows.extent + rows.tile - 1) / rows.tile; }
  int64_t column_tiles() const { return (columns.extent + columns.tile - 1) / columns.tile; }
  int64_t blocks() const { return batches * row_tiles() * column_tiles(); }
  // Elements of 16 bytes in shared memory.
  int64_t vector() const { return 16 / int64_t(size_of(shared_dtype)); }
  int64_t steps() const { return (inner + depth - 1) / depth; }
  // Elements of a step of an operand in shared memory.
  int64_t stage(const TileSide& side) const {
    return (tensor && side.along_inner ? side.tile : depth) * side.line;
  }
  int64_t slab_rows() const { return rows.tile / slabs; }
};

// Whether tiles are worth it for this kernel: with few rows, columns or terms most of a tile would
// be idle, and a row program reads as little.
bool worth_tiling(const Kernel& kernel);

// Of a kernel with exactly one Contract.
TilePlan plan_tiles(const Kernel& kernel, const KernelProgram& program, const Target& target);

// On tensor cores 16-byte chunks of neighbouring lines change places, where they are read as
// matrices: where chunk `chunk` of a line lies in it. Sixteen lines further it is the same.
loops::Ref swizzled_chunk(loops::Builder& b, const TilePlan& plan, const TileSide& side,
                          loops::Ref line, loops::Ref chunk);
// Where an element of a stage lies: `along` in line `line`.
loops::Ref shared_place(loops::Builder& b, const TilePlan& plan, const TileSide& side,
                        loops::Ref line, loops::Ref along);

}  // namespace cermet::compiler
