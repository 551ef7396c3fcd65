#pragma once
// Lowering of contractions (matrix products and convolutions) by blocking and packing.

#include "compiler/program.h"

namespace cermet::compiler {

struct FunctionFrame;

// Whether blocking is worth it for this kernel; if not, lower_rows takes it.
bool worth_blocking(const Kernel& kernel);

// The kernel has exactly one Contract.
LoweredKernel lower_contract(const Kernel& kernel, const KernelProgram& program,
                             const Target& target);
// The same into a function that may hold other kernels as well.
void write_contract(const Kernel& kernel, const KernelProgram& program, const Target& target,
                    FunctionFrame& frame);

// How its units follow each other: unit = (batch * row tiles + row tile) * column_tiles + column
// tile.
struct ContractGrid {
  std::vector<int64_t> batch_axes, row_axes;  // of the space, outermost first
  int64_t batches, rows, row_tile, column_tiles;
};
ContractGrid contract_grid(const Kernel& kernel, const KernelProgram& program,
                           const Target& target);

}  // namespace cermet::compiler
