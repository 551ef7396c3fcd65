// Maps are ir::ViewMap; see ir/view.h for levels, masks and the rules of composition. Everything
// here looks at the first level only: deeper ones are reached through divisions, along which no
// axis of a kernel can be told apart. finer_axes() is how such maps get rid of their divisions.

#include "compiler/fuse_maps.h"

#include <algorithm>

#include "ir/check.h"

namespace cermet::compiler {

using ir::Op;
using ir::StridedMap;
using ir::ViewMap;

namespace {

bool full(const StridedMap& m, size_t d) { return m.begin[d] == 0 && m.end[d] == m.shape[d]; }

void append_axis(StridedMap& m, int64_t extent, int64_t stride, int64_t begin, int64_t end) {
  m.shape.push_back(extent);
  m.strides.push_back(stride);
  m.begin.push_back(begin);
  m.end.push_back(end);
}

// A map over [result axes..., inner axes...] from its strides; unmasked.
ViewMap strided(const Shape& shape, const Strides& strides) {
  StridedMap m = StridedMap::contiguous(shape);
  m.strides = strides;
  return ViewMap::compose(ViewMap::identity(shape), ViewMap(std::move(m)));
}

ViewMap conv_operand_map(const ir::Node& conv, size_t operand) {
  const auto& attr = conv.as<ir::ConvAttr>();
  const Shape& w = conv.operands[1]->shape;
  Shape shape = conv.shape;
  for (size_t d = 2; d < w.size(); ++d) shape.push_back(w[d]);
  const Strides row = row_major_strides(conv.operands[operand]->shape);
  const size_t spatial = w.size() - 3;
  Strides strides;
  if (operand == 0) {  // x [G,N,C,spatial...] at [G,N,-,windows..., C,taps...]
    strides = {row[0], row[1], 0};
    for (size_t s = 0; s < spatial; ++s) strides.push_back(row[3 + s] * attr.stride[s]);
    strides.push_back(row[2]);
    for (size_t s = 0; s < spatial; ++s) strides.push_back(row[3 + s] * attr.dilation[s]);
  } else {  // w [G,O,C,window...]
    strides = {row[0], 0, row[1]};
    for (size_t s = 0; s < spatial; ++s) strides.push_back(0);
    for (size_t d = 2; d < row.size(); ++d) strides.push_back(row[d]);
  }
  return strided(shape, strides);
}

}  // namespace

Shape without_units(std::span<const int64_t> shape) {
  Shape out;
  for (int64_t n : shape)
    if (n != 1) out.push_back(n);
  return out;
}

bool is_permutation(const ViewMap& map, int64_t elements) {
  const StridedMap& m = map.levels()[0];
  if (!map.single() || m.offset != 0 || m.masked() || numel(m.shape) != elements) return false;
  SmallVector<std::pair<int64_t, int64_t>, 8> axes;  // stride, extent
  for (size_t d = 0; d < m.shape.size(); ++d)
    if (m.shape[d] != 1) axes.push_back({m.strides[d], m.shape[d]});
  std::sort(axes.begin(), axes.end());
  int64_t expected = 1;
  for (const auto& [stride, extent] : axes) {
    if (stride != expected) return false;
    expected *= extent;
  }
  return true;
}

bool is_invariant(const ViewMap& map, const AxisFlags& flags) {
  const StridedMap& m = map.levels()[0];
  for (size_t d = 0; d < m.shape.size(); ++d)
    if (flags[d] && !(full(m, d) && (m.strides[d] == 0 || m.shape[d] == 1))) return false;
  return true;
}

ViewMap without_axes(const ViewMap& map, const AxisFlags& flags) {
  SmallVector<StridedMap, 1> levels = map.levels();
  const StridedMap& from = map.levels()[0];
  StridedMap to;
  to.offset = from.offset;
  for (size_t d = 0; d < from.shape.size(); ++d)
    if (!flags[d]) append_axis(to, from.shape[d], from.strides[d], from.begin[d], from.end[d]);
  levels[0] = std::move(to);
  return ViewMap(std::move(levels));
}

ViewMap with_axes(const ViewMap& map, std::span<const int64_t> shape, const AxisFlags& flags) {
  SmallVector<StridedMap, 1> levels = map.levels();
  const StridedMap& from = map.levels()[0];
  StridedMap to;
  to.offset = from.offset;
  for (size_t d = 0, k = 0; d < shape.size(); ++d) {
    if (flags[d]) {
      append_axis(to, shape[d], 0, 0, shape[d]);
    } else {
      append_axis(to, from.shape[k], from.strides[k], from.begin[k], from.end[k]);
      ++k;
    }
  }
  levels[0] = std::move(to);
  return ViewMap(std::move(levels));
}

ViewMap extend(const ViewMap& map, std::span<const int64_t> inner) {
  const int64_t count = numel(inner);
  const Strides row = row_major_strides(inner);
  SmallVector<StridedMap, 1> levels = map.levels();
  for (StridedMap& m : levels) {
    for (int64_t& stride : m.strides) stride *= count;
    m.offset *= count;
    for (size_t d = 0; d < inner.size(); ++d) append_axis(m, inner[d], row[d], 0, inner[d]);
  }
  return ViewMap(std::move(levels));
}

Shape inner_extents(const ir::Node& node) {
  const Shape& x = node.operands[0]->shape;
  Shape out;
  if (node.op == Op::Reduce) {
    for (int64_t axis : node.as<ir::ReduceAttr>().axes) out.push_back(x[size_t(axis)]);
  } else if (node.op == Op::ArgReduce) {
    out.push_back(x[size_t(node.as<ir::CombineAttr>().axis)]);
  } else if (node.op == Op::Scan) {
    out.push_back(x[size_t(node.as<ir::ScanAttr>().axis)]);
  } else if (node.op == Op::Dot) {
    out.push_back(x[2]);
  } else {
    CERMET_CHECK(node.op == Op::Conv, "{} has no inner extents", name(node.op));
    const Shape& w = node.operands[1]->shape;
    for (size_t d = 2; d < w.size(); ++d) out.push_back(w[d]);
  }
  return out;
}

ViewMap operand_map(const ir::Node& node, size_t operand) {
  if (node.op == Op::Conv) return conv_operand_map(node, operand);
  if (node.op == Op::Dot) {
    const int64_t m = node.shape[1], n = node.shape[2], k = node.operands[0]->shape[2];
    const Shape shape = {node.shape[0], m, n, k};
    return operand == 0 ? strided(shape, {m * k, k, 0, 1}) : strided(shape, {k * n, 0, 1, n});
  }
  const Shape& x = node.operands[0]->shape;
  Dims axes;
  if (node.op == Op::Reduce)
    axes = node.as<ir::ReduceAttr>().axes;
  else
    axes.push_back(node.as<ir::CombineAttr>().axis);
  Dims order;
  for (size_t d = 0; d < x.size(); ++d)
    if (std::find(axes.begin(), axes.end(), int64_t(d)) == axes.end()) order.push_back(int64_t(d));
  for (int64_t axis : axes) order.push_back(axis);
  return ViewMap::identity(x).permute(order);
}

std::optional<std::vector<Shape>> finer_axes(const ViewMap& map) {
  if (map.single()) return std::nullopt;
  const StridedMap &m = map.levels()[0], &below = map.levels()[1];
  const Strides row = row_major_strides(below.shape);
  std::vector<Shape> out;
  bool changed = false;
  for (size_t d = 0; d < m.shape.size(); ++d) {
    const int64_t stride = std::abs(m.strides[d]);
    Shape parts;
    int64_t rest = m.shape[d], step = stride;
    // From the innermost boundary outwards: the run below each boundary becomes an axis.
    for (size_t a = row.size(); stride != 0 && a-- > 0;) {
      const int64_t boundary = row[a];
      if (below.shape[a] == 1 || boundary <= step || boundary % step != 0) continue;
      const int64_t run = boundary / step;
      if (run >= rest || rest % run != 0) continue;
      parts.insert(parts.begin(), run);
      rest /= run, step = boundary;
      changed = true;
    }
    parts.insert(parts.begin(), rest);
    out.push_back(std::move(parts));
  }
  if (!changed) return std::nullopt;
  return out;
}

std::optional<Shape> common_refinement(std::span<const int64_t> a, std::span<const int64_t> b) {
  if (numel(a) != numel(b)) return std::nullopt;
  Shape out;
  size_t i = 0, j = 0;
  int64_t x = 1, y = 1;  // what is left of a[i - 1] and b[j - 1], counted from the left
  while (true) {
    while (x == 1 && i < a.size()) x = a[i++];
    while (y == 1 && j < b.size()) y = b[j++];
    if (x == 1 && y == 1) return out;
    if (x == y) {
      out.push_back(x), x = y = 1;
    } else if (x > y) {
      if (x % y != 0) return std::nullopt;
      out.push_back(y), x /= y, y = 1;
    } else {
      if (y % x != 0) return std::nullopt;
      out.push_back(x), y /= x, x = 1;
    }
  }
}

ViewMap validity(const ViewMap& map) {
  SmallVector<StridedMap, 1> levels = map.levels();
  while (levels.size() > 1 && !levels.back().masked()) levels.pop_back();
  for (int64_t& stride : levels.back().strides) stride = 0;
  levels.back().offset = 1;
  return ViewMap(std::move(levels));
}

std::optional<GatherSource> gather_source(const ir::Node& gather) {
  const size_t axis = size_t(gather.as<ir::AxisAttr>().axis);
  const ir::Node* x = gather.operands[0].get();
  const Shape& shape = x->shape;
  ViewMap map = ViewMap::identity(shape);
  while (x->op == Op::View || x->op == Op::Recompute) {
    if (x->op == Op::View) map = ViewMap::compose(map, x->view());
    x = x->operands[0].get();
  }
  if (!map.single() || map.masked()) return std::nullopt;
  StridedMap m = map.levels()[0];
  const int64_t stride = m.strides[axis];
  m.shape[axis] = m.end[axis] = gather.shape[axis];
  m.strides[axis] = 0;
  return GatherSource{x, ViewMap(std::move(m)), stride, shape[axis]};
}

}  // namespace cermet::compiler
