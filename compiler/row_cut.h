#pragma once
// How a kernel for the CPU falls into rows that can be computed one run at a time: equal parts of
// its space whose units follow each other, so that a range of rows is a range of units. Chains of
// kernels (kernels.h) are cut along them.

#include <optional>
#include <vector>

#include "compiler/kernels.h"
#include "compiler/target.h"

namespace cermet::compiler {

struct RowCut {
  // The row is the flattened index along these axes of the space, divided by `rest`.
  std::vector<int64_t> axes;
  int64_t rest = 1;
  int64_t units = 1;  // of a row, or of a tile of rows
  // A contraction cut along the rows of its matrices: these come in tiles, and no tile crosses from
  // one matrix of `group` rows to the next. 0: rows are independent.
  int64_t tile = 0;
  int64_t group = 1;
};

// Nothing if the kernel's units do not follow so many rows.
std::optional<RowCut> cut_rows(const Kernel& kernel, const KernelProgram& program,
                               const Target& target, int64_t rows);

// Whether the map reaches, from each row of the kernel's space, only that row of a row-major buffer
// [rows, length].
bool stays_in_row(const ir::StridedMap& map, const Kernel& kernel, const RowCut& cut,
                  int64_t length);

}  // namespace cermet::compiler
