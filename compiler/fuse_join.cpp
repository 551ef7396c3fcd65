// The geometry of joining. A node that is computed once must be visited once: its map from the
// group's space, or from its rows, has to be a permutation of its elements. Where the axes of the
// space are too coarse to see that (a reshape on the way), they are divided first.
//
// What may stand together: a Row group takes any number of reductions with its rows and columns,
// and scans along its one inner axis; a Contract group one contraction, with everything else per
// row above it and cheap ops per element below.

#include "compiler/fuse_join.h"

#include <algorithm>

#include "ir/check.h"

namespace cermet::compiler {

using ir::Op;
using ir::ViewMap;

namespace {

Shape outer_axes(const Group& g) {
  Shape out;
  for (size_t d = 0; d < g.axes.size(); ++d)
    if (!g.inner[d]) out.push_back(g.axes[d]);
  return out;
}

size_t inner_count(const Group& g) {
  return size_t(std::count(g.inner.begin(), g.inner.end(), uint8_t(1)));
}

// Whether the map picks some of the elements, as a slice does.
bool is_part(const ViewMap& map, int64_t elements) {
  const ir::StridedMap& m = map.levels()[0];
  if (!map.single() || map.masked() || numel(m.shape) > elements) return false;
  for (size_t d = 0; d < m.shape.size(); ++d)
    if (m.strides[d] == 0 && m.shape[d] > 1) return false;
  return true;
}

constexpr const char* other_order = "its elements are needed in another order or more than once";
// Reductions take the elements of a row several at a time and in parallel.
constexpr const char* other_walk = "a scan walks rows in order, a reduction does not";

}  // namespace

void Joiner::set_axes(Group& g, const std::vector<Shape>& parts) {
  Shape axes;
  AxisFlags inner;
  for (size_t d = 0; d < parts.size(); ++d)
    for (int64_t extent : parts[d]) axes.push_back(extent), inner.push_back(g.inner[d]);
  g.axes = std::move(axes), g.inner = std::move(inner);
}

// Divides the group's axes so that the map becomes one strided map, where that is possible.
void Joiner::divide(int32_t group, int32_t map) {
  for (int round = 0; round < 3; ++round) {
    const Plan::Place place = plan_.place(group, map);
    Group& g = plan_.groups[size_t(group)];
    const auto parts = finer_axes(plan_.maps[size_t(place.map)]);
    if (!parts) return;
    std::vector<Shape> all;
    for (size_t d = 0, k = 0; d < g.axes.size(); ++d) {
      if (place.row && g.inner[d]) {
        all.push_back({g.axes[d]});
        continue;
      }
      if (g.inner[d] && g.one_inner && (*parts)[k].size() > 1) return;
      all.push_back((*parts)[k++]);
    }
    set_axes(g, all);
  }
}

std::string Joiner::join(const NodeFacts& facts, const Site& site, bool part) {
  divide(site.group, site.map);
  const Plan::Place place = plan_.place(site.group, site.map);
  const Site now{site.group, place.map, place.row, site.consumer};
  std::string refused;
  if (facts.kind == NodeKind::Pointwise)
    refused = join_pointwise(facts, now);
  else if (facts.node->op == Op::Scan)
    refused = join_scan(facts, now);
  else if (facts.node->op == Op::Dot || facts.node->op == Op::Conv)
    refused = join_contraction(facts, now, part);
  else
    refused = join_reduction(facts, now, part);
  if (refused.empty()) joined_map_ = plan_.place(site.group, now.map).map;
  return refused;
}

std::string Joiner::join_pointwise(const NodeFacts& facts, const Site& site) {
  const Group& g = plan_.groups[size_t(site.group)];
  if (g.kind == Group::Kind::Contract && !site.row)
    return "a contraction reads its operands from buffers or repeats cheap ops";
  if (!is_permutation(plan_.maps[size_t(site.map)], facts.node->numel())) return other_order;
  return "";
}

std::string Joiner::join_contraction(const NodeFacts& facts, const Site& site, bool part) {
  Group& g = plan_.groups[size_t(site.group)];
  if (g.kind == Group::Kind::Contract && !site.row) return "contraction operand is a contraction";
  if (g.kind == Group::Kind::Contract) return "the kernel has a contraction already";
  if (g.kind == Group::Kind::Row)
    return "the consumer reduces over rows, a contraction is computed in tiles";
  if (g.kind != Group::Kind::Map) return "the consumer walks its inner axis in order";
  const ViewMap& map = plan_.maps[size_t(site.map)];
  const int64_t elements = facts.node->numel();
  if (!is_permutation(map, elements) && !(part && is_part(map, elements))) return other_order;
  for (int64_t extent : without_units(inner_extents(*facts.node)))
    g.axes.push_back(extent), g.inner.push_back(1);
  g.kind = Group::Kind::Contract;
  return "";
}

std::string Joiner::join_reduction(const NodeFacts& facts, const Site& site, bool part) {
  Group& g = plan_.groups[size_t(site.group)];
  const bool position = facts.node->op == Op::ArgReduce;
  const int64_t rows = facts.node->numel();
  const int64_t columns = numel(inner_extents(*facts.node));
  if (g.kind == Group::Kind::Map) return become_rows(facts, site, part);
  if (g.kind == Group::Kind::Contract)
    return site.row ? "the kernel has a contraction already" : "contraction operand is a reduction";
  if (g.kind != Group::Kind::Row) return "the consumer walks its inner axis in order";
  if (g.scans != 0) return other_walk;
  if (!site.row) return "reduction over other axes than the consumer's";
  if (g.rows() != rows || g.columns() != columns)
    return "reduction over other extents than the consumer's";
  if (!is_permutation(plan_.maps[size_t(site.map)], rows)) return other_order;
  if (position && inner_count(g) != 1) return "positions are counted along one axis";
  g.one_inner |= position;
  return "";
}

std::string Joiner::become_rows(const NodeFacts& facts, const Site& site, bool part) {
  Group& g = plan_.groups[size_t(site.group)];
  const ViewMap& map = plan_.maps[size_t(site.map)];
  const bool position = facts.node->op == Op::ArgReduce;
  const int64_t rows = facts.node->numel();
  const Shape inner = without_units(inner_extents(*facts.node));
  if (numel(g.axes) == rows || (part && is_part(map, rows))) {
    // An epilogue: the reduced axes are new.
    if (!is_permutation(map, rows) && !(part && is_part(map, rows))) return other_order;
    add_reduced(g, facts, map);
  } else {  // broadcast back: some axes of the space are the reduced ones
    if (numel(g.axes) != rows * numel(inner)) return "different index space";
    if (!map.single() || map.masked()) return "its broadcast is not along axes of the consumer";
    AxisFlags flags(g.axes.size(), 0);
    for (size_t d = 0; d < g.axes.size(); ++d) flags[d] = map.levels()[0].strides[d] == 0;
    if (!is_permutation(without_axes(map, flags), rows)) return other_order;
    if (position && std::count(flags.begin(), flags.end(), uint8_t(1)) != 1)
      return "positions are counted along one axis";
    g.inner = std::move(flags);
  }
  g.kind = Group::Kind::Row;
  g.one_inner |= position;
  return "";
}

// The group's axes and those that the node reduces: for row programs in the order of the operand,
// so that all groups over one array have the same axes. But what is right behind a contraction
// stays in the kernel of that, which a group with other axes does not take it from.
void Joiner::add_reduced(Group& g, const NodeFacts& facts, const ViewMap& map) const {
  const NodeFacts& x = plan_.nodes[size_t(facts.operands[0])];
  const Shape& shape = x.node->shape;
  AxisFlags flags(shape.size(), 0);
  if (facts.node->op == Op::Reduce)
    for (int64_t axis : facts.node->as<ir::ReduceAttr>().axes) flags[size_t(axis)] = 1;
  Shape kept, axes;
  AxisFlags inner;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1) continue;
    if (!flags[d]) kept.push_back(shape[d]);
    axes.push_back(shape[d]), inner.push_back(flags[d]);
  }
  const bool behind_contraction = x.kind == NodeKind::Once || (x.epilogue && x.anchor < 0);
  const bool program =
      facts.node->op == Op::Reduce && plan_.programs.contains(frame_of(*facts.node));
  if (program && !behind_contraction && kept == g.axes && map.is_identity()) {
    g.axes = std::move(axes), g.inner = std::move(inner);
    return;
  }
  for (int64_t extent : without_units(inner_extents(*facts.node)))
    g.axes.push_back(extent), g.inner.push_back(1);
}

bool Joiner::has_other_frame(int32_t group, const NodeFacts& reduction) const {
  const Group& g = plan_.groups[size_t(group)];
  if (g.kind == Group::Kind::Map) return false;
  return g.kind != Group::Kind::Row || g.rows() != reduction.node->numel() ||
         g.columns() != numel(inner_extents(*reduction.node));
}

bool Joiner::anticipate(const NodeFacts& reduction, const Site& site) {
  const Group& g = plan_.groups[size_t(site.group)];
  if (g.kind != Group::Kind::Map || numel(g.axes) == reduction.node->numel()) return false;
  divide(site.group, site.map);
  const Plan::Place place = plan_.place(site.group, site.map);
  return become_rows(reduction, {site.group, place.map, place.row, site.consumer}, false).empty();
}

std::string Joiner::join_scan(const NodeFacts& facts, const Site& site) {
  Group& g = plan_.groups[size_t(site.group)];
  const ir::Node& node = *facts.node;
  if (g.kind != Group::Kind::Map && g.kind != Group::Kind::Row)
    return "the consumer does not walk the scanned axis in order";
  if (site.row) return "the consumer needs it for each row only";
  const int32_t direction = node.as<ir::ScanAttr>().reverse ? -1 : 1;
  if (g.scans == -direction) return "the consumer's kernel scans in the other direction";
  if (g.kind == Group::Kind::Row && g.scans == 0) return other_walk;
  int32_t map = site.map;
  if (g.kind == Group::Kind::Map && plan_.maps[size_t(map)].is_identity()) {
    if (auto refined = common_refinement(g.axes, without_units(node.shape))) {
      g.axes = std::move(*refined);
      g.inner = AxisFlags(g.axes.size(), 0);
      map = plan_.place(site.group, map).map;
    }
  }
  const ViewMap& at = plan_.maps[size_t(map)];
  if (!is_permutation(at, node.numel())) return other_order;
  const size_t axis = size_t(node.as<ir::ScanAttr>().axis);
  const int64_t stride = row_major_strides(node.shape)[axis];
  AxisFlags flags(g.axes.size(), 0);
  bool found = false;
  for (size_t d = 0; d < g.axes.size(); ++d) {
    flags[d] = at.levels()[0].strides[d] == stride && g.axes[d] == node.shape[axis];
    found |= flags[d] != 0;
  }
  if (!found) return "the scanned axis is not an axis of the consumer";
  if (g.kind == Group::Kind::Row && g.inner != flags) return "the consumer reduces over other axes";
  g.inner = std::move(flags);
  g.kind = Group::Kind::Row, g.one_inner = true, g.scans = direction;
  return "";
}

bool Joiner::merge(int32_t a, int32_t b, int32_t map_a, int32_t map_b, int64_t elements) {
  const auto framed = [&](int32_t g) {
    const auto kind = plan_.groups[size_t(g)].kind;
    return kind == Group::Kind::Row || kind == Group::Kind::Contract;
  };
  if (!framed(a) && framed(b)) std::swap(a, b), std::swap(map_a, map_b);
  Group &x = plan_.groups[size_t(a)], &y = plan_.groups[size_t(b)];
  const auto mergeable = [](const Group& g) {
    return g.kind != Group::Kind::Scatter && g.kind != Group::Kind::Sort;
  };
  if (!mergeable(x) || !mergeable(y) || y.kind == Group::Kind::Contract) return false;
  const int32_t stage = std::max(x.stage, y.stage);
  if (stage >= std::min(x.feeder, y.feeder)) return false;
  if (x.ops + y.ops > max_group_ops ||
      x.streams + y.streams + x.pending + y.pending + int(x.roots.size() + y.roots.size()) >
          max_group_buffers)
    return false;
  const Plan::Place at_x = plan_.place(a, map_a), at_y = plan_.place(b, map_b);
  const ViewMap mx = plan_.maps[size_t(at_x.map)], my = plan_.maps[size_t(at_y.map)];
  if (elements < numel(mx.shape())) return false;  // sharing a broadcast operand saves nothing
  if (framed(a) && framed(b)) {
    if (x.kind == Group::Kind::Contract || x.scans != y.scans || x.axes != y.axes ||
        x.inner != y.inner || at_x.row != at_y.row || mx != my)
      return false;
  } else if (framed(a)) {
    if (x.kind == Group::Kind::Contract && !at_x.row) return false;
    const Shape space = at_x.row ? outer_axes(x) : x.axes;
    const auto refined = common_refinement(space, y.axes);
    if (!refined || *refined != space || my.reshape(space) != mx) return false;
  } else {
    const auto refined = common_refinement(x.axes, y.axes);
    if (!refined || mx.reshape(*refined) != my.reshape(*refined)) return false;
    x.axes = *refined;
    x.inner = AxisFlags(x.axes.size(), 0);
  }
  x.roots.insert(x.roots.end(), y.roots.begin(), y.roots.end());
  x.awaited.insert(x.awaited.end(), y.awaited.begin(), y.awaited.end());
  x.ops += y.ops, x.streams += y.streams, x.pending += y.pending;
  x.feeder = std::min(x.feeder, y.feeder), x.stage = stage;
  x.one_inner |= y.one_inner;
  x.number = std::min(x.number, y.number);
  y.merged_into = a;
  y.roots.clear();
  return true;
}

ViewMap Joiner::operand_at(const ir::Node& node, size_t operand, const Site& site) {
  Group& g = plan_.groups[size_t(site.group)];
  const Plan::Place place = plan_.place(site.group, site.map);
  const ViewMap& at = plan_.maps[size_t(place.map)];
  if (node.op == Op::Scan) return at;
  CERMET_CHECK(place.row, "a {} is used for each element of its own axes", name(node.op));
  const ViewMap full =
      ViewMap::compose(extend(at, inner_extents(node)), operand_map(node, operand));
  Shape space = outer_axes(g);
  Dims order(g.axes.size(), 0);
  int64_t next_outer = 0, next_inner = int64_t(space.size());
  for (size_t d = 0; d < g.axes.size(); ++d) order[d] = g.inner[d] ? next_inner++ : next_outer++;
  for (size_t d = 0; d < g.axes.size(); ++d)
    if (g.inner[d]) space.push_back(g.axes[d]);
  return full.reshape(space).permute(order);
}

}  // namespace cermet::compiler
