#pragma once
// Index maps as fusion sees them: which axes of a kernel's space a map depends on, whether it
// visits each element of a node once, and how the maps of a reduction's operand follow from the map
// of its result.

#include "ir/node.h"
#include "ir/view.h"

namespace cermet::compiler {

// One flag per axis of a space: does it belong to the inner axes.
using AxisFlags = SmallVector<uint8_t, 8>;

// The shape without its axes of extent 1.
Shape without_units(std::span<const int64_t> shape);

// Whether the map is a permutation of the axes of a row-major array of `elements` elements: every
// element is visited once.
bool is_permutation(const ir::ViewMap& map, int64_t elements);

// Whether the map does not change along the flagged axes.
bool is_invariant(const ir::ViewMap& map, const AxisFlags& flags);

// The map without the flagged axes, along which it is invariant.
ir::ViewMap without_axes(const ir::ViewMap& map, const AxisFlags& flags);
// The inverse: a map over the axes that are not flagged as one over all axes of `shape`.
ir::ViewMap with_axes(const ir::ViewMap& map, std::span<const int64_t> shape,
                      const AxisFlags& flags);

// A map to the elements of an array [n...] as one to the elements of [n..., inner...], over its own
// axes followed by `inner`.
ir::ViewMap extend(const ir::ViewMap& map, std::span<const int64_t> inner);

// The extents that a node sums, searches or scans over: reduced axes, K of Dot, [C, window...] of
// Conv.
Shape inner_extents(const ir::Node& node);
// For a Reduce, ArgReduce, Dot or Conv: result axes followed by inner_extents to elements of an
// operand.
ir::ViewMap operand_map(const ir::Node& node, size_t operand);

// A finer division of the axes of the map under which its first two levels may become one, as one
// extent list for each axis of the map; nothing if there is no such division.
std::optional<std::vector<Shape>> finer_axes(const ir::ViewMap& map);

// The coarsest shape of which both are merges of neighbouring axes, or nothing.
std::optional<Shape> common_refinement(std::span<const int64_t> a, std::span<const int64_t> b);

// 1 where the map is valid, 0 (masked) elsewhere: the map of a Position expression.
ir::ViewMap validity(const ir::ViewMap& map);

// How a Gather reads its source: the buffer below `x` (views stripped), and the map from elements
// of the gather's result, the stride and the extent along its axis. Nothing if the views in between
// are not one unmasked strided map.
struct GatherSource {
  const ir::Node* buffer;
  ir::ViewMap map;
  int64_t stride, extent;
};
std::optional<GatherSource> gather_source(const ir::Node& gather);

}  // namespace cermet::compiler
