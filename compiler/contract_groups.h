#pragma once
// The axes of a contraction C[m,n] = sum_k A[m,k] * B[k,n], by which operand varies along them.
//
// The outer axes fall into three groups: those that only the left operand depends on (rows, m),
// those that only the right one depends on (columns, n) and those of both (batch); the inner axes
// are k. A group may be several axes: for a convolution the columns are images x height x width,
// and k is channels x window. Columns are the group in which the result is contiguous.

#include <cstdint>
#include <vector>

#include "compiler/kernels.h"

namespace cermet::compiler {

struct ContractGroups {
  std::vector<int64_t> batch, rows, columns, inner;  // axes of the space
  int32_t contract = -1, left = -1, right = -1;      // expressions; left goes with rows
};

// Of a kernel with exactly one Contract.
ContractGroups contract_groups(const Kernel& kernel);

// The number of points along these axes of the space.
int64_t extent_along(const Kernel& kernel, const std::vector<int64_t>& axes);

}  // namespace cermet::compiler
