#pragma once
// Graphs run as compiled code: the whole way through simplification, fusion, lowering, LLVM and the
// engine, for any target that this machine can run. Every buffer ends at a page that cannot be
// read.

#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/host_array.h"
#include "runtime/engine.h"
#include "support/compare.h"

namespace cermet::test {

// Names for compiler::target() of what this machine can run; "host" is the last. If on_gpu() it is
// "cuda" alone: the first GPU.
const std::vector<std::string>& target_names();

// The targets of this machine as if their caches held next to nothing, so that small arrays are
// treated as large ones are; none if on_gpu().
const std::vector<std::string>& targets_with_tiny_caches();

// One engine for each target and number of threads, without a disk cache. Kept for the whole
// process, so that kernels that occur again are not compiled again.
runtime::Engine& engine_for(const std::string& target, int threads = 1);

// The results of the graph for these parameters, all computed as one program.
std::vector<ir::HostArray> run_compiled(runtime::Engine& engine, const ir::Graph& graph,
                                        std::span<const ir::HostArray> parameters);

// The same where results may be written over each parameter. `overwritten` counts those that are.
std::vector<ir::HostArray> run_in_place(runtime::Engine& engine, const ir::Graph& graph,
                                        std::span<const ir::HostArray> parameters,
                                        int* overwritten = nullptr);

// The same on a target of target_names().
std::vector<ir::HostArray> run_on(const std::string& target, const ir::Graph& graph,
                                  std::span<const ir::HostArray> parameters);

// Runs the graph on all targets, or the ones given, and compares with the interpreter.
void check_compiled(const ir::Graph& graph, std::span<const ir::HostArray> parameters,
                    const Tolerance& tolerance = {},
                    const std::vector<std::string>& targets = target_names());

// The graph of these results over the parameters that they use, whose slots must be 0, 1, ...
ir::Graph graph_over(std::vector<ir::Value> results);

// What makes edge cases likely: small whole numbers, numbers of all magnitudes, any bits, and the
// special values of the dtype.
ir::HostArray edge_values(DType dtype, const Shape& shape, uint64_t seed);
// Numbers in [low, high), whole ones for integers and bool.
ir::HostArray numbers_between(DType dtype, const Shape& shape, double low, double high,
                              uint64_t seed);

// For products and convolutions: numbers around 0 for each parameter, and the error of a sum of
// products of them with a few roundings after it.
std::vector<ir::HostArray> product_operands(const ir::Graph& graph);
Tolerance product_tolerance(DType dtype, int64_t terms);

}  // namespace cermet::test
