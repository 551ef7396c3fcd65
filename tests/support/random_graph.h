#pragma once
// Random valid graphs, for tests that two ways of computing a graph agree. Everything is a function
// of the seed and the options, on every machine; a failing test prints describe().

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/host_array.h"

namespace cermet::test {

struct RandomGraphOptions {
  int64_t steps = 12;           // how many times the graph grows; a step adds one op or a pattern
  int64_t max_elements = 3000;  // of any value
  std::vector<DType> dtypes = {DType::F32};  // of parameters and of casts; bool and i64 also come
                                             // from comparisons and positions
  std::vector<ir::Op> elementwise;           // which elementwise ops; empty: all of the op table
  bool views = true;                         // every kind of view
  bool reductions = true;  // reduce, arg_reduce, softmax and normalisation patterns
  bool scans = true;
  bool products = true;    // dot and conv
  bool float_sums = true;  // sums and products of floats, wherever they occur but elementwise
  bool indexing = true;    // gather, scatter, concat, argsort
  bool casts = true;
  bool empty_extents = true;  // sometimes an extent is 0
  bool special_values =
      false;  // parameters hold NaN, infinities, -0.0, denormals, extreme integers

  // Only elementwise ops and the broadcasts between their operands.
  static RandomGraphOptions only_elementwise();
  // No float arithmetic whose result depends on how it is computed: elementwise ops that are exact
  // or correctly rounded, views, extrema, indexing, casts. All ways to compute must give the same
  // bits, but for the sign of a zero that is a maximum or minimum over several elements.
  static RandomGraphOptions only_exact();
};

// The elementwise ops whose results are exact or correctly rounded for every dtype.
std::vector<ir::Op> exact_elementwise_ops();

struct RandomGraph {
  uint64_t seed = 0;
  ir::Graph graph;
  std::vector<ir::HostArray> parameters;  // values for graph.parameters
};

RandomGraph random_graph(uint64_t seed, const RandomGraphOptions& options = {});

// The seed, the graph's text and the parameters' values.
std::string describe(const RandomGraph& graph);

}  // namespace cermet::test
