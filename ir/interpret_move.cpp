// The structured ops that only move elements. Elements are copied as bytes, so every bit of them
// stays, whatever the dtype.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "cermet/error.h"
#include "ir/element.h"
#include "ir/interpret_structured.h"
#include "ir/walk.h"
#include "ir/word.h"

namespace cermet::ir {
namespace {

void copy_element(HostArray& to, int64_t i, const HostArray& from, int64_t k) {
  store_bits(to.dtype, to.bytes.data(), i, load_bits(from.dtype, from.bytes.data(), k));
}

// For each element of index, the position in x of the element that it selects along the axis.
std::vector<int64_t> selected(Op op, const HostArray& x, const HostArray& index, int64_t axis) {
  Strides strides = row_major_strides(x.shape);
  const int64_t stride = std::exchange(strides[size_t(axis)], 0);
  const int64_t extent = x.shape[size_t(axis)];
  std::vector<int64_t> positions;
  positions.reserve(size_t(index.numel()));
  Walk walk(index.shape, strides);
  for (const int64_t i : index.as<int64_t>()) {
    if (i < 0 || i >= extent)
      throw Error(
          fmt::format("{}: index {} is out of range for axis {} of {}, which has {} elements",
                      name(op), i, axis, type_string(x.dtype, x.shape), extent));
    positions.push_back(walk.position() + i * stride);
    walk.next();
  }
  return positions;
}

}  // namespace

HostArray interpret_view(const Node& node, const HostArray& x) {
  HostArray out(node.dtype, node.shape);
  const ViewMap& map = node.view();
  Walk walk(node.shape, Strides(node.shape.size(), 0));
  for (int64_t i = 0; i < out.numel(); ++i, walk.next())
    if (const auto position = map.position(walk.index())) copy_element(out, i, x, *position);
  return out;
}

HostArray interpret_gather(const Node& node, const HostArray& x, const HostArray& index) {
  HostArray out(node.dtype, node.shape);
  int64_t i = 0;
  for (int64_t position : selected(Op::Gather, x, index, node.as<AxisAttr>().axis))
    copy_element(out, i++, x, position);
  return out;
}

HostArray interpret_scatter(const Node& node, const HostArray& x, const HostArray& index,
                            const HostArray& updates) {
  const auto& [combine, axis] = node.as<CombineAttr>();
  const std::vector<int64_t> targets = selected(Op::Scatter, x, index, axis);
  if (combine != Combine::Set) return interpret_scatter_combine(node, x, targets, updates);
  HostArray out = x;
  for (size_t i = 0; i < targets.size(); ++i) copy_element(out, targets[i], updates, int64_t(i));
  return out;
}

HostArray interpret_concat(const Node& node, std::span<const HostArray* const> parts) {
  const int64_t axis = node.as<AxisAttr>().axis;
  const AxisSplit whole(node.shape, axis);
  HostArray out(node.dtype, node.shape);
  std::byte* to = out.bytes.data();
  for (int64_t o = 0; o < whole.outer; ++o)
    for (const HostArray* part : parts) {
      const size_t run = part->bytes.size() / size_t(whole.outer);
      if (run > 0) std::memcpy(to, part->bytes.data() + size_t(o) * run, run);
      to += run;
    }
  return out;
}

// NaN counts as the greatest element, as in PyTorch: last in ascending order, first in descending
// order. Equal elements, and NaNs, stay in the order they have; -0.0 equals 0.0.
HostArray interpret_argsort(const Node& node, const HostArray& x) {
  const auto& [axis, descending] = node.as<SortAttr>();
  const AxisSplit split(x.shape, axis);
  HostArray out(node.dtype, node.shape);
  const std::span<int64_t> result = out.as<int64_t>();
  visit_word(x.dtype, [&, descending = descending]<class W>(W) {
    const std::vector<W> words = words_of<W>(x);
    const auto before = [&](W a, W b) {
      return descending ? a > b || (a != a && b == b) : a < b || (b != b && a == a);
    };
    std::vector<int64_t> order(size_t(split.extent));
    for (int64_t o = 0; o < split.outer; ++o)
      for (int64_t i = 0; i < split.inner; ++i) {
        const int64_t first = o * split.extent * split.inner + i;
        const auto at = [&](int64_t k) { return words[size_t(first + k * split.inner)]; };
        std::iota(order.begin(), order.end(), 0);
        std::ranges::sort(order, [&](int64_t a, int64_t b) {
          return before(at(a), at(b)) || (!before(at(b), at(a)) && a < b);
        });
        for (int64_t k = 0; k < split.extent; ++k)
          result[size_t(first + k * split.inner)] = order[size_t(k)];
      }
  });
  return out;
}

}  // namespace cermet::ir
