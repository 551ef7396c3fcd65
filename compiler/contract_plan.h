#pragma once
// How a contraction is cut into blocks on a CPU, and how each operand gets to the registers.
//
// The register tile is rows.panel rows x columns.panel columns. An operand that is a plain load is
// read where it lies, if the processor can mask what is past an edge and the caches can hold it:
// numbers of the rows one by one, vectors along the columns. Everything else (a prologue, another
// dtype, columns that do not follow each other, columns that many rows use) is packed first, once
// for each tile and block of k.
//
// Numbers of f16 and bf16 are packed as f32. The dot products of AVX512_BF16 are not used: they
// take subnormal numbers for zeros and round each product before it is added, which strict numerics
// rule out.
//
// What is decided here by comparing extents decides the kernel's text, so these are few classes;
// the sizes themselves are arguments.

#include <cstdint>
#include <vector>

#include "compiler/contract_groups.h"
#include "compiler/target.h"

namespace cermet::compiler {

enum class OperandSource : uint8_t {
  Direct,  // read where it lies
  Panels,  // packed as [panel][k][rows or columns side by side]
  Turned,  // columns only, whose elements follow each other along the last axis of k: panels, by
           // transposing
  Lines,   // rows only, whose elements follow each other along k: packed as [row][k]
};

// One side of the product: its axes, and the part of them that a tile covers.
struct ContractSide {
  std::vector<int64_t> axes;
  int32_t expr = -1;
  OperandSource source = OperandSource::Panels;
  // Where the operand is read, one number is enough for k: the last inner axis, continued over the
  // others.
  bool flat = true;
  int64_t extent = 1, tile = 1;  // of the flattened axes; the tile's size
  int64_t panel = 1;             // rows or columns of a register tile
  // The last axis counts as whole vectors: a multiple of the lanes is the first of a vector along
  // it, and no vector holds the end of one line and the beginning of the next.
  bool lines = false;
  int64_t line = 1;  // the last axis, rounded up
};

struct ContractPlan {
  ContractGroups groups;
  DType dtype = DType::F32;  // in which sums are held
  int lanes = 1;
  ContractSide rows, columns;
  int64_t k_block = 1;   // of the first inner axis
  int64_t k_blocks = 1;  // how many of them
  int64_t k_rest = 1;    // product of the other inner axes
  // The only store is of the sums themselves: they go to the result from the registers, and blocks
  // of k are added up there. Rows past the edge repeat the last row, so storing them changes
  // nothing.
  bool plain = false;
};

ContractPlan plan_contract(const Kernel& kernel, const KernelProgram& program,
                           const Target& target);

}  // namespace cermet::compiler
