// The gradient for the input of a layer norm needs reductions along rows, those for its weight and
// bias sum the same arrays down columns. One walks rows, the other waits for all of them, so they
// cannot be one kernel; but a chunk of rows that was just used is still in the cache.
//
// A reduction over leading axes is divided if what it reduces is computed from a value of each row
// that itself is a reduction of the row; and so is every other over the same axes of an array that
// such a one reads. Small arrays stay in the cache as a whole and are left alone.

#include "compiler/split_columns.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "compiler/chunks.h"
#include "ir/build.h"

namespace cermet::compiler {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

constexpr int64_t chunk_bytes = 128 << 10;  // of one array: several are in the second cache
constexpr int64_t least_bytes = 1 << 20;    // of one array
constexpr int64_t least_length = 4;         // rows of a chunk
constexpr size_t most_nodes = 48;           // looked at for one reduction

// Rows of a reduction over leading axes, else 0.
int64_t leading_rows(const Node& node) {
  if (node.op != Op::Reduce) return 0;
  const Dims& axes = node.as<ir::ReduceAttr>().axes;
  int64_t rows = 1;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] != int64_t(i)) return 0;
    rows *= node.operands[0]->shape[i];
  }
  return axes.size() < node.operands[0]->shape.size() ? rows : 0;
}

// Into how many chunks its rows are divided; 0 if they are not.
int64_t chunk_count(const Node& node) {
  const int64_t rows = leading_rows(node);
  if (rows == 0 || node.numel() == 0) return 0;
  if (node.dtype == DType::F16 || node.dtype == DType::BF16)
    return 0;  // their sums are kept in f32
  const int64_t row_bytes = node.numel() * int64_t(size_of(node.dtype));
  const int64_t length = std::max(least_length, chunk_bytes / row_bytes);
  if (row_bytes > chunk_bytes || rows * row_bytes < least_bytes || rows / length < 2) return 0;
  const int64_t count = chunks_near(rows, rows / length);
  return rows % count == 0 ? count : 0;
}

// Whether x, of `rows` elements or such a value repeated, comes from reductions of rows of an array
// of so many elements.
bool from_row(const Node* x, int64_t rows, int64_t elements) {
  for (size_t steps = 0; steps < most_nodes; ++steps) {
    if (x->op == Op::Reduce) {
      const Dims& axes = x->as<ir::ReduceAttr>().axes;
      const Node& operand = *x->operands[0];
      return x->numel() == rows && operand.numel() == elements && !axes.empty() &&
             axes[0] + int64_t(axes.size()) == int64_t(operand.shape.size());
    }
    if (x->operands.empty() || x->numel() != rows ||
        !(x->op == Op::View || ir::is_pointwise(x->op)))
      return false;
    const Node* next = nullptr;  // the operand that most likely does
    for (const Value& v : x->operands)
      if (v->op != Op::Constant && v->numel() == rows && (!next || v->op != Op::View))
        next = v.get();
    if (!next) return false;
    x = next;
  }
  return false;
}

// What a reduction of columns is computed from, element by element.
struct Cone {
  std::vector<const Node*> nodes;
  bool uses_rows = false;
};

Cone cone_of(const Node& node) {
  const Node& operand = *node.operands[0];
  const int64_t elements = operand.numel(), rows = leading_rows(node);
  Cone cone{{&operand}, false};
  for (size_t i = 0; i < cone.nodes.size() && i < most_nodes; ++i) {
    const Node& at = *cone.nodes[i];
    const bool same =
        at.op == Op::View && at.operands[0]->numel() == elements && at.view().is_identity();
    if (at.op == Op::View && !same) {
      cone.uses_rows |= from_row(at.operands[0].get(), rows, elements);
    } else if (same || ir::is_pointwise(at.op)) {
      for (const Value& v : at.operands)
        if (std::ranges::find(cone.nodes, v.get()) == cone.nodes.end())
          cone.nodes.push_back(v.get());
    }
  }
  return cone;
}

}  // namespace

ir::Graph split_columns(const ir::Graph& graph) {
  std::vector<const Node*> candidates;
  for (const Node* node : ir::topological_order(graph.results))
    if (chunk_count(*node) > 0) candidates.push_back(node);
  std::unordered_set<const Node*> read, divided;
  for (const Node* node : candidates) {
    const Cone cone = cone_of(*node);
    if (!cone.uses_rows) continue;
    divided.insert(node);
    read.insert(cone.nodes.begin(), cone.nodes.end());
  }
  if (divided.empty()) return graph;
  for (const Node* node : candidates)
    if (read.contains(node->operands[0].get())) divided.insert(node);
  return ir::rewrite(graph, [&](const Node& node, std::span<const Value> operands) {
    if (!divided.contains(&node)) return Value();
    const int64_t count = chunk_count(node), rows = leading_rows(node);
    Shape shape = {count, rows / count};
    for (int64_t extent : node.shape) shape.push_back(extent);
    const ir::Combine combine = node.as<ir::ReduceAttr>().combine;
    const Value parts = ir::reduce(combine, ir::reshape(operands[0], shape), Dims{1});
    return ir::reduce(combine, parts, Dims{0});
  });
}

}  // namespace cermet::compiler
