// Fusion distinguishes a value for each row from one for each element by their number, so rows have
// at least two elements: reductions of one element become views, those of none constants.
//
// A gather reads a buffer, so gathering from a computed value would store all of it. Picking one
// log probability of each row (the usual loss) needs few of them: gather(f(x, y), i) becomes
// f(gather(x, i), gather(y, i)), and where y is the same along the axis, only a view is left of its
// gather. The gradient of that is a scatter of one update to each row of zeros: comparing every
// position with the row's index needs no buffer either.

#include "compiler/fuse_prepare.h"

#include <limits>
#include <optional>
#include <ranges>
#include <unordered_set>

#include "compiler/chunks.h"
#include "compiler/fuse_maps.h"
#include "ir/build.h"
#include "ir/check.h"

namespace cermet::compiler {

using ir::Op;
using ir::Value;
using ir::ViewMap;

namespace {

Value identity_constant(ir::Combine combine, DType dtype, const Shape& shape) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  switch (combine) {
    case ir::Combine::Sum: return ir::constant(dtype, shape, 0.0);
    case ir::Combine::Prod: return ir::constant(dtype, shape, 1.0);
    case ir::Combine::Max: return ir::constant(dtype, shape, -inf);
    case ir::Combine::Min: return ir::constant(dtype, shape, inf);
    case ir::Combine::Set: break;
  }
  CERMET_CHECK(false, "{} has no identity", name(combine));
  return {};
}

// A reduction or contraction of one element: its operand, in the result's shape.
Value only_element(const ir::Node& node, const Value& x, size_t operand) {
  return ir::view(x, operand_map(node, operand).reshape(node.shape));
}

Value shorten(const ir::Node& node, std::span<const Value> operands) {
  const Value& x = operands[0];
  const int64_t inner = numel(inner_extents(node));
  if (inner > 1 || node.numel() == 0) return {};
  switch (node.op) {
    case Op::Reduce:
      if (inner == 0)
        return identity_constant(node.as<ir::ReduceAttr>().combine, node.dtype, node.shape);
      return only_element(node, x, 0);
    case Op::ArgReduce: return ir::constant(DType::I64, node.shape, int64_t(0));
    case Op::Scan: {
      const auto& attr = node.as<ir::ScanAttr>();
      return attr.exclusive ? identity_constant(attr.combine, node.dtype, node.shape) : x;
    }
    default: break;
  }
  if (inner == 0) return ir::constant_bits(node.dtype, node.shape, 0);
  return ir::mul(only_element(node, x, 0), only_element(node, operands[1], 1));
}

// A contraction reads each element of its operands many times, so a view that costs a division for
// each read (a padded image under the windows of a convolution) is written out first. Nothing if
// both operands are plain.
Value with_plain_operands(const ir::Node& node, std::span<const Value> operands) {
  SmallVector<Value, 3> plain(operands);
  bool changed = false;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i]->op != Op::View) continue;
    const ViewMap read = ViewMap::compose(operand_map(node, i), operands[i]->view());
    if (read.single() || !read.masked()) continue;  // without masks, dividing the axes does it
    plain[i] = ir::barrier(operands[i]);
    changed = true;
  }
  return changed ? ir::with_operands(node, plain) : Value();
}

Value sort_last(const ir::Node& node, const Value& x) {
  const auto& attr = node.as<ir::SortAttr>();
  const int64_t last = int64_t(node.shape.size()) - 1;
  if (attr.axis == last) return {};
  return ir::transpose(ir::argsort(ir::transpose(x, attr.axis, last), last, attr.descending),
                       attr.axis, last);
}

// An array of integers that lies in memory and from which the index is computed element by element;
// else the index.
Value stored_below(const Value& index) {
  constexpr size_t most = 16;
  std::vector<Value> pending{index};
  for (size_t i = 0; i < pending.size() && i < most; ++i) {
    const Value x = pending[i];
    if (x->shape != index->shape || is_bool(x->dtype) || is_float(x->dtype)) continue;
    const bool view = x->op == Op::View && x->view().single() && !x->view().masked();
    if ((view ? x->operands[0] : x)->op == Op::Parameter) return ir::cast(x, index->dtype);
    if (!ir::is_pointwise(x->op)) continue;
    for (const Value& operand : x->operands) pending.push_back(operand);
  }
  return index;
}

Value scatter_by_comparing(const ir::Node& node, std::span<const Value> operands) {
  const Value &x = operands[0], &index = operands[1], &updates = operands[2];
  const auto [combine, axis] = node.as<ir::CombineAttr>();
  Shape rows = x->shape;
  rows[size_t(axis)] = 1;
  if (x->op != Op::Constant || index->shape != rows || x->numel() == 0) return {};
  // Reading at the index reports one that is out of range: all elements of a row are the same
  // there.
  const Value stored = stored_below(index);
  const Value read = ir::gather(ir::expand(stored, x->shape), index, axis);
  const Value checked = stored == index ? read : index + (read - stored);
  Shape along(x->shape.size(), 1);
  along[size_t(axis)] = x->shape[size_t(axis)];
  const Value positions = ir::reshape(ir::iota(x->shape[size_t(axis)]), along);
  const Value here = ir::eq(ir::expand(positions, x->shape), ir::expand(checked, x->shape));
  const Value before = ir::constant_bits(x->dtype, rows, x->as<ir::ConstantAttr>().bits);
  const Value after = combine == ir::Combine::Set ? updates : combined(combine, before, updates);
  return ir::where(here, ir::expand(after, x->shape), x);
}

// Nodes of which something may read a part only, perhaps through views and pointwise ops.
std::unordered_set<const ir::Node*> read_in_part(const ir::Graph& graph) {
  const auto picks = [](const ir::Node& node, size_t operand) {
    if (node.op == Op::Gather) return operand == 0;
    if (node.op != Op::View) return false;
    if (!node.view().single() || node.view().masked()) return true;
    const ir::StridedMap& map = node.view().levels()[0];
    int64_t places = 1;
    for (size_t d = 0; d < map.shape.size(); ++d)
      if (map.strides[d] != 0) places *= map.shape[d];
    return places < node.operands[0]->numel();
  };
  std::unordered_set<const ir::Node*> out;
  for (const ir::Node* node : ir::topological_order(graph.results) | std::views::reverse) {
    const bool part = (ir::is_pointwise(node->op) || node->op == Op::View) && out.contains(node);
    for (size_t i = 0; i < node->operands.size(); ++i)
      if (part || picks(*node, i)) out.insert(node->operands[i].get());
  }
  return out;
}

class GatherSinker {
 public:
  GatherSinker(const Value& index, int64_t axis) : index_(index), axis_(axis) {}

  // The gathered elements of x, or nothing if that takes too many ops or does not pay.
  Value operator()(const Value& x) {
    Value out = ir::is_pointwise(x->op) ? sink(x) : Value();
    return gathers_ > 0 ? out : Value();
  }

 private:
  static constexpr int most_ops = 12;

  Value sink(const Value& x) {
    if (ops_ > most_ops) return {};
    if (ir::is_pointwise(x->op)) {
      ++ops_;
      SmallVector<Value, 3> operands;
      for (const Value& v : x->operands) {
        operands.push_back(sink(v));
        if (!operands.back()) return {};
      }
      return ir::with_operands(*x, operands);
    }
    if (x->op == Op::Constant)
      return ir::constant_bits(x->dtype, index_->shape, x->as<ir::ConstantAttr>().bits);
    if (x->op == Op::View) {
      AxisFlags flags(x->shape.size(), 0);
      flags[size_t(axis_)] = 1;
      if (x->shape[size_t(axis_)] > 0 && is_invariant(x->view(), flags))
        return ir::view(x->operands[0], x->view().slice(axis_, 0, 1, 1).expand(index_->shape));
    }
    ++gathers_;
    return ir::gather(x, index_, axis_);
  }

  const Value& index_;
  int64_t axis_;
  int ops_ = 0, gathers_ = 0;
};

Value simpler(const ir::Node& node, std::span<const Value> operands) {
  switch (node.op) {
    case Op::Reduce:
    case Op::ArgReduce:
    case Op::Scan: return shorten(node, operands);
    case Op::Dot:
    case Op::Conv: {
      const Value shorter = shorten(node, operands);
      return shorter ? shorter : with_plain_operands(node, operands);
    }
    case Op::ArgSort: return sort_last(node, operands[0]);
    case Op::Gather: {
      constexpr int64_t fewer = 4;
      if (node.numel() > operands[0]->numel() / fewer) return {};
      return GatherSinker(operands[1], node.as<ir::AxisAttr>().axis)(operands[0]);
    }
    default: return {};
  }
}

}  // namespace

ir::Graph prepare_for_fusion(const ir::Graph& graph) {
  std::optional<std::unordered_set<const ir::Node*>> parts;  // once there is a scatter
  return ir::rewrite(graph, [&](const ir::Node& node, std::span<const Value> operands) {
    if (node.op != Op::Scatter) return simpler(node, operands);
    if (!parts) parts = read_in_part(graph);
    // A scatter reports all of its indices, a comparison those of the rows that are computed.
    return parts->contains(&node) ? Value() : scatter_by_comparing(node, operands);
  });
}

}  // namespace cermet::compiler
