// How one level of a view is transposed.
//
// Cut off what is masked, sum over the axes that repeat (stride 0), flip those that run backwards.
// What remains are axes that walk upwards through the target from some offset. Where each walk
// stays on one axis of the target (nearly always), the target's axes are treated one by one, else
// the target is taken flat. Along one axis the walks form a hierarchy if each step is at least as
// long as the reach of all smaller walks: then the result is made by padding each walk's element
// out to its step and merging the axes. Walks that overlap (windows) are unrolled until the rest is
// a hierarchy.

#include "ir/view_transpose.h"

#include <numeric>

#include "ir/check.h"
#include "ir/gradient.h"

namespace cermet::ir {
namespace {

constexpr int64_t most_slices = 64;

// The axes of x walk through the target from `offset`: axis d by steps[d], which are positive.
struct Walks {
  Value x;
  Strides steps;
  int64_t offset;
};

// A level's axes as walks of at least two elements; the map has at least one valid element.
Walks walks_of(const StridedMap& m, const Value& adjoint) {
  Walks w{adjoint, {}, m.offset};
  Dims repeated;
  Shape kept;
  for (size_t d = 0; d < m.shape.size(); ++d) {
    const int64_t axis = int64_t(d), count = m.end[d] - m.begin[d], stride = m.strides[d];
    w.x = pad(w.x, axis, -m.begin[d], m.end[d] - m.shape[d]);
    w.offset += m.begin[d] * stride;
    if (count == 1) continue;
    if (stride == 0) {
      repeated.push_back(axis);
      continue;
    }
    if (stride < 0) {
      w.x = flip(w.x, axis);
      w.offset += (count - 1) * stride;
    }
    kept.push_back(count);
    w.steps.push_back(std::abs(stride));
  }
  w.x = reshape(reduce(Combine::Sum, w.x, repeated), kept);
  return w;
}

// What goes onto one axis of the target: these axes of the source, longest step first.
struct Group {
  Dims axes;
  Strides steps;  // in elements of the target's axis
  int64_t start = 0, extent = 1;
};

// The walks by axis of the target, or nothing if one of them crosses axes.
std::optional<std::vector<Group>> groups_of(const Walks& w, const Shape& target) {
  const Strides row = row_major_strides(target);
  std::vector<Group> groups(target.size());
  Dims highest(target.size());
  for (size_t a = 0; a < target.size(); ++a) {
    groups[a].extent = target[a];
    groups[a].start = highest[a] = w.offset / row[a] % target[a];
  }
  Dims order(w.steps.size());
  std::iota(order.begin(), order.end(), int64_t(0));
  std::ranges::sort(order, {},
                    [&](int64_t axis) { return std::pair(-w.steps[size_t(axis)], axis); });
  for (int64_t axis : order) {
    const int64_t step = w.steps[size_t(axis)], last = w.x->shape[size_t(axis)] - 1;
    size_t a = 0;
    while (a < target.size() &&
           (step % row[a] != 0 || highest[a] + step / row[a] * last >= target[a]))
      ++a;
    if (a == target.size()) return std::nullopt;
    highest[a] += step / row[a] * last;
    groups[a].axes.push_back(axis);
    groups[a].steps.push_back(step / row[a]);
  }
  return groups;
}

// For each axis of a group whether it has to be unrolled: of two that overlap, the shorter one.
std::vector<bool> unrolled_axes(const Group& g, const Shape& shape) {
  const auto count = [&](size_t i) { return shape[size_t(g.axes[i])]; };
  std::vector<bool> unrolled(g.axes.size(), false);
  for (bool again = true; again;) {
    again = false;
    int64_t reach = 1;
    size_t inner = 0;
    for (size_t i = g.axes.size(); i-- > 0 && !again;) {
      if (unrolled[i]) continue;
      if (g.steps[i] < reach) {
        unrolled[count(i) < count(inner) ? i : inner] = true;
        again = true;
      }
      reach += (count(i) - 1) * g.steps[i];
      inner = i;
    }
  }
  return unrolled;
}

// Replaces the axes [at, at + steps.size()) of x, which form a hierarchy of these steps, by one of
// `extent` elements on which they begin at `start`.
Value fold_hierarchy(Value x, int64_t at, const Strides& steps, int64_t start, int64_t extent) {
  const int64_t axes = int64_t(steps.size());
  x = unsqueeze(x, at + axes);  // what one step of the innermost walk covers
  for (int64_t j = axes; j-- > 0;) {
    const int64_t axis = at + j, step = steps[size_t(j)];
    x = pad(x, axis + 1, 0, step - x->shape[size_t(axis) + 1]);
    Shape merged = x->shape;
    merged[size_t(axis)] *= step;
    merged.erase(merged.begin() + axis + 1);
    x = reshape(x, merged);
  }
  return pad(x, at, start, extent - start - x->shape[size_t(at)]);
}

// As above for the axes of any group, which begin at axis `at` of x.
Value fold(const Value& x, int64_t at, const Group& g, const std::vector<bool>& unrolled) {
  int64_t slices = 1;
  Strides kept_steps;
  for (size_t j = 0; j < g.axes.size(); ++j) {
    if (unrolled[j])
      slices *= x->shape[size_t(at) + j];
    else
      kept_steps.push_back(g.steps[j]);
  }
  std::vector<Value> parts;
  for (int64_t i = 0; i < slices; ++i) {
    Value part = x;
    int64_t start = g.start, rest = i;
    for (size_t j = g.axes.size(); j-- > 0;) {
      if (!unrolled[j]) continue;
      const int64_t axis = at + int64_t(j), count = part->shape[size_t(axis)], k = rest % count;
      rest /= count;
      start += k * g.steps[j];
      part = squeeze(slice(part, axis, k, k + 1), axis);
    }
    parts.push_back(fold_hierarchy(part, at, kept_steps, start, g.extent));
  }
  return sum_gradients(parts);
}

// Places the walks on the target, or nothing if they cross its axes or overlap too much.
std::optional<Value> place(const Walks& w, const Shape& target) {
  const auto groups = groups_of(w, target);
  if (!groups) return std::nullopt;
  Dims order;
  std::vector<std::vector<bool>> unrolled;
  int64_t slices = 1;
  for (const Group& g : *groups) {
    unrolled.push_back(unrolled_axes(g, w.x->shape));
    for (size_t i = 0; i < g.axes.size(); ++i) {
      order.push_back(g.axes[i]);
      if (unrolled.back()[i] &&
          (__builtin_mul_overflow(slices, w.x->shape[size_t(g.axes[i])], &slices) ||
           slices > most_slices))
        return std::nullopt;
    }
  }
  Value x = permute(w.x, order);
  for (size_t a = 0; a < groups->size(); ++a) x = fold(x, int64_t(a), (*groups)[a], unrolled[a]);
  return x;
}

Value scatter_walks(const Walks& w, int64_t target_elements) {
  Value position = constant(DType::I64, {}, w.offset);
  const size_t rank = w.steps.size();
  for (size_t d = 0; d < rank; ++d) {
    Shape line(rank, 1);
    line[d] = w.x->shape[d];
    position = position + mul(reshape(iota(line[d]), line), constant(DType::I64, {}, w.steps[d]));
  }
  const Shape flat = {w.x->numel()};
  return scatter(Combine::Sum, constant_bits(w.x->dtype, {target_elements}, 0),
                 reshape(expand(position, w.x->shape), flat), reshape(w.x, flat), 0);
}

Value transpose_level(const StridedMap& m, const Shape& target, const Value& adjoint) {
  if (!m.range()) return constant_bits(adjoint->dtype, target, 0);
  const Walks w = walks_of(m, adjoint);
  if (auto placed = place(w, target)) return *placed;
  const int64_t elements = numel(target);
  if (auto placed = place(w, {elements})) return reshape(*placed, target);
  return reshape(scatter_walks(w, elements), target);
}

}  // namespace

Value transpose_view(const ViewMap& map, const Shape& source_shape, const Value& adjoint) {
  CERMET_CHECK(adjoint->shape == map.shape(), "adjoint {} of a view of shape {}",
               type_string(*adjoint), to_string(map.shape()));
  Value x = adjoint;
  const auto& levels = map.levels();
  for (size_t i = 0; i < levels.size(); ++i)
    x = transpose_level(levels[i], i + 1 < levels.size() ? levels[i + 1].shape : source_shape, x);
  return x;
}

}  // namespace cermet::ir
