#pragma once
// Which maps for GPUs go through tiles in shared memory, and how.
//
// A warp moves whole sectors of 32 bytes, so threads that follow each other must read and write
// neighbours. In a map that reads or writes one buffer along one axis and another along another
// axis (a transpose, whatever else is fused with it) that cannot be so for both. Such a map takes
// the space apart into tiles of two axes: `fast`, along which the threads compute and which most
// memory is contiguous in, and `slow`, along which they read the staged loads into shared memory
// first, and write the staged stores from there last. A block does one tile.
//
// Shared memory holds an element in a word of 4 or 8 bytes, and a line of a tile (its elements
// along `fast`) is followed by one word that nobody uses. A phase whose threads take `lanes`
// elements along one axis is done by groups of `lanes` threads across and as many along as it takes
// to have all banks in use: then neither direction has bank conflicts.

#include <optional>

#include "compiler/program.h"

namespace cermet::compiler {

struct TransposePlan {
  // A load or store that takes the way through shared memory.
  struct Staged {
    int32_t which;         // the expression, or the store
    int lanes;             // along `slow`
    DType word;            // as which shared memory holds it
    int64_t shared_bytes;  // where its tile begins
  };
  int64_t fast, slow;            // axes of the space
  int64_t fast_tile, slow_tile;  // powers of two
  int lanes;                     // along `fast`
  std::vector<Staged> loads, stores;
  std::vector<int64_t> others;  // the other axes
  int64_t fast_tiles, slow_tiles, tiles;
  int64_t threads;  // of a block
  int64_t shared_bytes;

  int64_t cells() const { return fast_tile * slow_tile; }
  int64_t line() const { return fast_tile + 1; }  // words
};

// Nothing if the kernel is no map, or would not touch considerably fewer sectors.
std::optional<TransposePlan> plan_transpose(const Kernel& kernel, const KernelProgram& program);

}  // namespace cermet::compiler
