#pragma once
// Graphs run as GPU kernels on the PTX interpreter: the whole compiler and NVRTC, without a driver.
// Every buffer is an allocation of its own, so that an access outside of it is seen.

#include <span>
#include <string>
#include <vector>

#include "compiler/target.h"
#include "ir/graph.h"
#include "ir/host_array.h"
#include "ptxsim/ptxsim.h"
#include "support/compare.h"

namespace cermet::test {

struct PtxRun {
  std::vector<ir::HostArray> results;
  ptxsim::Counters counters;
  int launches = 0;
  std::string violations;  // what the interpreter's checks saw; empty if nothing
  std::string report;      // what the kernels reported: an index out of range
};

// Runs the graph's kernels for this compute capability (times ten). Kernels are compiled once in a
// process. The order of blocks and warps is drawn from the seed. A parameter may be given by its
// last elements alone; nothing lies where the others would be.
PtxRun run_ptx(const ir::Graph& graph, std::span<const ir::HostArray> parameters, int compute = 90,
               uint64_t seed = 0, compiler::Numerics numerics = {});

// run_ptx() with checks that nothing was reported or did what a GPU would punish.
PtxRun clean_run(const ir::Graph& graph, std::span<const ir::HostArray> parameters,
                 int compute = 90, uint64_t seed = 0, compiler::Numerics numerics = {});
// Checks results with those that are expected.
void expect_same(const std::vector<ir::HostArray>& got, const std::vector<ir::HostArray>& expected,
                 const Tolerance& tolerance);
// clean_run() of products of product_operands(), compared with the interpreter.
PtxRun check_products_ptx(std::vector<ir::Value> results, const Tolerance& tolerance,
                          int compute = 90, uint64_t seed = 0, compiler::Numerics numerics = {});
// Runs the values over random parameters and compares with the interpreter. Indices (I64) are 0, 1
// or 2.
PtxRun check_ptx(std::vector<ir::Value> results, const Tolerance& tolerance = {},
                 uint64_t seed = 0);

}  // namespace cermet::test
