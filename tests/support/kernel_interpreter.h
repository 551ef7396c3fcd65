#pragma once
// Runs a kernel program on host arrays by plain loops, to test fusion without generating code.
//
// For each row, each expression is computed for all elements of the row before the next one is.
// Every value is rounded to its dtype; reductions, scans and contractions accumulate in double or
// exact integers and round once, as ir::interpret does.

#include "compiler/kernels.h"
#include "ir/host_array.h"

namespace cermet::test {

// One array of shape [elements] for each Result buffer. Throws Error where a gather or scatter gets
// an index out of range, and std::out_of_range where a position is outside of its buffer.
std::vector<ir::HostArray> interpret_kernels(const compiler::KernelProgram& program,
                                             std::span<const ir::HostArray> parameters);

}  // namespace cermet::test
