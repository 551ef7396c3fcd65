#pragma once
// Fuses a graph and proves the kernels against the graph's own meaning, on random parameters.

#include "compiler/kernels.h"
#include "ir/graph.h"
#include "support/compare.h"

namespace cermet::test {

// Elements for the graph's parameters: floats in [-2, 2), integers in [-8, 8) (bool and unsigned
// from 0), except those of `ranges`, which are in [0, ranges[i]) if that is positive.
std::vector<ir::HostArray> random_parameters(const ir::Graph& graph, uint64_t seed,
                                             std::span<const int64_t> ranges = {});

// The fused program. CHECKs that it is valid, that its text can be read, and that it computes what
// ir::interpret says: bit for bit, or within the tolerance.
compiler::KernelProgram check_fusion(const ir::Graph& graph, const Tolerance& tolerance = {},
                                     std::span<const int64_t> ranges = {});

compiler::KernelProgram check_fusion(const ir::Graph& graph,
                                     std::span<const ir::HostArray> parameters,
                                     const Tolerance& tolerance);

// The graph of these results; its parameters are those that the results need, by slot, and scalars
// for the slots between them.
ir::Graph graph_of(std::vector<ir::Value> results);

}  // namespace cermet::test
