#include "compiler/fold_batches.h"

#include <algorithm>
#include <unordered_map>

#include "compiler/fuse_maps.h"
#include "ir/build.h"

namespace cermet::compiler {

using ir::Op;
using ir::Value;
using ir::ViewMap;

namespace {

constexpr int64_t enough_results = 96 * 256 * 4;  // a few tiles, which threads can share
constexpr int64_t little_work = 1 << 20;          // not worth sharing

class Folder {
 public:
  explicit Folder(const ir::Graph& graph) {
    const auto use = [&](const ir::Node* node) {
      if (node->op == Op::Dot || node->op == Op::View) ++uses_[node];
    };
    for (const ir::Node* node : ir::topological_order(graph.results))
      for (const Value& operand : node->operands) use(operand.get());
    for (const Value& result : graph.results) use(result.get());
  }

  Value operator()(const ir::Node& node, std::span<const Value> operands) const {
    if (node.op != Op::Reduce || node.as<ir::ReduceAttr>().combine != ir::Combine::Sum) return {};
    const ir::Node* below = node.operands[0].get();
    for (; below->op == Op::View; below = below->operands[0].get())
      if (uses_.at(below) > 1) return {};
    if (below->op != Op::Dot || uses_.at(below) > 1 || !worth_folding(*below)) return {};
    // The same node with its new operands, and how the sum sees it.
    ViewMap map = ViewMap::identity(operands[0]->shape);
    Value x = operands[0];
    for (; x->op == Op::View; x = x->operands[0]) map = ViewMap::compose(map, x->view());
    return x->op == Op::Dot ? fold(node, *x, map) : Value();
  }

 private:
  static bool worth_folding(const ir::Node& dot) {
    const int64_t results = dot.shape[1] * dot.shape[2];
    const int64_t work = dot.numel() * dot.operands[0]->shape[2];
    return dot.shape[0] > 1 && dot.numel() > 0 &&
           (results >= enough_results || work <= little_work);
  }

  // `map` goes from the elements that `sum` adds to those of the dot: the summed axes must be its
  // batch, and the others each element of a matrix once.
  static Value fold(const ir::Node& sum, const ir::Node& dot, const ViewMap& map) {
    if (!map.single() || map.masked()) return {};
    const ir::StridedMap& m = map.levels()[0];
    const int64_t results = dot.shape[1] * dot.shape[2];
    AxisFlags flags(m.shape.size(), 0);
    for (int64_t axis : sum.as<ir::ReduceAttr>().axes) flags[size_t(axis)] = 1;
    ir::StridedMap batch, rest;
    for (size_t d = 0; d < m.shape.size(); ++d) {
      ir::StridedMap& part = flags[d] ? batch : rest;
      if (flags[d] && m.shape[d] > 1 && m.strides[d] % results != 0) return {};
      part.shape.push_back(m.shape[d]);
      part.strides.push_back(flags[d] ? m.strides[d] / results : m.strides[d]);
    }
    for (ir::StridedMap* part : {&batch, &rest})
      part->begin.resize(part->shape.size(), 0), part->end = part->shape;
    if (m.offset != 0 || !is_permutation(ViewMap(batch), dot.shape[0]) ||
        !is_permutation(ViewMap(rest), results))
      return {};
    const Value &a = dot.operands[0], &b = dot.operands[1];
    const int64_t rows = a->shape[1], inner = a->shape[0] * a->shape[2], columns = b->shape[2];
    const Value left = ir::reshape(ir::permute(a, Dims{1, 0, 2}), Dims{1, rows, inner});
    const Value right = ir::reshape(b, Dims{1, inner, columns});
    return ir::reshape(ir::view(ir::dot(left, right), ViewMap(rest)), sum.shape);
  }

  std::unordered_map<const ir::Node*, int> uses_;
};

}  // namespace

ir::Graph fold_batches(const ir::Graph& graph) {
  const auto order = ir::topological_order(graph.results);
  const auto batched = [](const ir::Node* n) { return n->op == Op::Dot && n->shape[0] > 1; };
  if (std::none_of(order.begin(), order.end(), batched)) return graph;
  const Folder folder(graph);
  return ir::rewrite(graph, [&](const ir::Node& node, std::span<const Value> operands) {
    return folder(node, operands);
  });
}

}  // namespace cermet::compiler
