#include "ir/view.h"

#include <fmt/format.h>

#include <numeric>

namespace cermet::ir {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a / b - ((a % b != 0) && ((a < 0) != (b < 0))); }
int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }

// The half-open interval of i in [0, count) for which start + i * step lies in [begin, end).
std::pair<int64_t, int64_t> valid_steps(int64_t start, int64_t count, int64_t step, int64_t begin,
                                        int64_t end) {
  int64_t lo = 0, hi = count;
  if (step > 0) {
    lo = std::max(lo, ceil_div(begin - start, step));
    hi = std::min(hi, ceil_div(end - start, step));
  } else if (step < 0) {
    lo = std::max(lo, ceil_div(start - end + 1, -step));
    hi = std::min(hi, floor_div(start - begin, -step) + 1);
  } else if (start < begin || start >= end) {
    hi = 0;
  }
  if (lo >= hi) return {0, 0};
  return {lo, hi};
}

bool full(const StridedMap& m, size_t d) { return m.begin[d] == 0 && m.end[d] == m.shape[d]; }

// Reshapes one strided map, if the result is again one strided map. Works on groups of axes, from
// the left, whose element counts agree; within a group the old axes must merge into one run and the
// new axes split that run.
std::optional<StridedMap> reshape_strided(const StridedMap& m, std::span<const int64_t> shape) {
  StridedMap out;
  out.shape = Shape(shape);
  out.offset = m.offset;
  out.strides.resize(shape.size(), 0);
  out.begin.resize(shape.size(), 0);
  out.end = out.shape;
  if (numel(shape) == 0) {
    out.strides = row_major_strides(shape);
    return out;
  }
  size_t i = 0, j = 0;
  const size_t ni = m.shape.size(), nj = shape.size();
  while (i < ni || j < nj) {
    // One group: [i, i_end) of the old axes against [j, j_end) of the new ones.
    size_t i_end = i, j_end = j;
    int64_t old_count = 1, new_count = 1;
    if (i_end < ni) old_count = m.shape[i_end++];
    if (j_end < nj) new_count = shape[j_end++];
    while (old_count != new_count) {
      if (old_count < new_count) {
        if (i_end == ni) return std::nullopt;
        old_count *= m.shape[i_end++];
      } else {
        if (j_end == nj) return std::nullopt;
        new_count *= shape[j_end++];
      }
    }
    // Merge the old axes of the group, ignoring those of extent 1, into (extent, stride, valid
    // interval).
    int64_t extent = 1, stride = 0, begin = 0, end = 1;
    bool first = true;
    for (size_t d = i; d < i_end; ++d) {
      if (m.shape[d] == 1) {
        if (m.begin[d] >= m.end[d]) return std::nullopt;
        continue;
      }
      if (first) {
        extent = m.shape[d], stride = m.strides[d], begin = m.begin[d], end = m.end[d];
        first = false;
      } else {
        if (stride != m.strides[d] * m.shape[d] || !full(m, d)) {
          return std::nullopt;
        }
        stride = m.strides[d];
        extent *= m.shape[d], begin *= m.shape[d], end *= m.shape[d];
      }
    }
    // Split it into the new axes, from the right.
    int64_t step = stride;
    for (size_t d = j_end; d-- > j;) {
      out.strides[d] = shape[d] == 1 ? 0 : step;
      if (shape[d] == 1) continue;
      step *= shape[d];
      if (begin == 0 && end == extent) {
        extent /= shape[d], begin = 0, end = extent;
        continue;
      }
      if (extent == shape[d]) {  // the outermost non-unit axis of the group carries what is masked
        out.begin[d] = begin, out.end[d] = end;
        extent = 1, begin = 0, end = 1;
      } else if (begin % shape[d] == 0 && end % shape[d] == 0) {
        extent /= shape[d], begin /= shape[d], end /= shape[d];
      } else {
        return std::nullopt;
      }
    }
    i = i_end, j = j_end;
  }
  return out;
}

// outer over inner as one strided map, where every axis of outer moves along a single axis of inner
// without leaving it. Axes of outer that share an axis of inner may do so only where what inner
// masks of it is whole steps of one of them.
std::optional<StridedMap> merge(const StridedMap& outer, const StridedMap& inner) {
  if (inner.is_contiguous()) return outer;
  if (outer.never_valid()) {
    StridedMap out = outer;
    out.offset = 0;
    return out;
  }
  const size_t rank = inner.shape.size();
  const Strides row = row_major_strides(inner.shape);
  if (numel(inner.shape) == 0 || numel(outer.shape) == 0) return std::nullopt;
  // The index in inner at which outer's valid box starts, with every axis at its lower end.
  int64_t low = outer.offset;
  for (size_t d = 0; d < outer.shape.size(); ++d)
    low += outer.strides[d] * (outer.strides[d] >= 0 ? outer.begin[d] : outer.end[d] - 1);
  if (low < 0) return std::nullopt;
  Dims start(rank), high(rank);  // reached interval of each inner axis: [start, high]
  for (size_t a = 0; a < rank; ++a) {
    start[a] = high[a] = low / row[a] % inner.shape[a];
    if (a == 0 && low / row[0] >= inner.shape[0]) return std::nullopt;
  }
  Dims axis_of(outer.shape.size(), -1), factor(outer.shape.size(), 0);
  Dims users(rank, 0);
  for (size_t d = 0; d < outer.shape.size(); ++d) {
    const int64_t count = outer.end[d] - outer.begin[d];
    const int64_t stride = std::abs(outer.strides[d]);
    if (count <= 1 || stride == 0) continue;
    // The axis with the largest row-major stride that divides this stride and has room for the
    // walk.
    bool found = false;
    for (size_t a = 0; a < rank && !found; ++a) {
      if (inner.shape[a] == 1 || stride % row[a] != 0) continue;
      const int64_t k = stride / row[a];
      if (high[a] + k * (count - 1) >= inner.shape[a]) continue;
      high[a] += k * (count - 1);
      axis_of[d] = int64_t(a), factor[d] = outer.strides[d] >= 0 ? k : -k;
      ++users[a];
      found = true;
    }
    if (!found) return std::nullopt;
  }
  StridedMap out = outer;
  for (size_t a = 0; a < rank; ++a) {
    const bool inside = inner.begin[a] <= start[a] && high[a] < inner.end[a];
    if (inside) continue;
    if (high[a] < inner.begin[a] || start[a] >= inner.end[a]) {  // nothing valid at all
      for (size_t d = 0; d < out.shape.size(); ++d) out.begin[d] = out.end[d] = 0;
      if (out.shape.empty()) return std::nullopt;
      out.offset = 0;
      return out;
    }
    // The mask goes to the axis with the longest steps. Where others walk within its steps, each
    // step must be valid as a whole or not at all.
    size_t d = 0;
    for (size_t i = 0; i < outer.shape.size(); ++i) {
      if (axis_of[i] != int64_t(a)) continue;
      if (users[a] > 1 && factor[i] < 0) return std::nullopt;
      if (axis_of[d] != int64_t(a) || factor[i] > factor[d]) d = i;
    }
    if (axis_of[d] != int64_t(a)) return std::nullopt;
    const int64_t reach = std::abs(factor[d]) * (outer.end[d] - outer.begin[d] - 1);
    const int64_t within = high[a] - start[a] - reach;  // of one step
    // Axis d walks inner axis a from `first` (at index begin[d]) by factor[d].
    const int64_t first = factor[d] >= 0 ? start[a] : high[a];
    const int64_t zero = first - factor[d] * outer.begin[d];
    const auto valid =
        valid_steps(zero, outer.shape[d], factor[d], inner.begin[a], inner.end[a] - within);
    if (within > 0 && valid != valid_steps(zero, outer.shape[d], factor[d], inner.begin[a] - within,
                                           inner.end[a]))
      return std::nullopt;
    out.begin[d] = std::max(outer.begin[d], valid.first);
    out.end[d] = std::min(outer.end[d], valid.second);
    if (out.begin[d] >= out.end[d]) out.begin[d] = out.end[d] = 0;
  }
  // Position at `start`, then express it for index 0.
  out.offset = inner.offset;
  for (size_t a = 0; a < rank; ++a) out.offset += start[a] * inner.strides[a];
  for (size_t d = 0; d < out.shape.size(); ++d) {
    out.strides[d] = axis_of[d] < 0 ? 0 : factor[d] * inner.strides[size_t(axis_of[d])];
    const int64_t at_low = outer.strides[d] >= 0 ? outer.begin[d] : outer.end[d] - 1;
    out.offset -= out.strides[d] * at_low;
  }
  return out;
}

}  // namespace

StridedMap StridedMap::contiguous(std::span<const int64_t> shape) {
  StridedMap m;
  m.shape = Shape(shape);
  m.strides = row_major_strides(shape);
  m.begin.resize(shape.size(), 0);
  m.end = m.shape;
  return m;
}

bool StridedMap::masked() const {
  for (size_t d = 0; d < shape.size(); ++d)
    if (!full(*this, d)) return true;
  return false;
}

bool StridedMap::never_valid() const {
  for (size_t d = 0; d < shape.size(); ++d)
    if (begin[d] >= end[d]) return true;
  return false;
}

bool StridedMap::is_contiguous() const {
  if (offset != 0 || masked()) return false;
  int64_t expected = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    if (shape[d] != 1 && strides[d] != expected) return false;
    expected *= shape[d];
  }
  return true;
}

std::optional<std::pair<int64_t, int64_t>> StridedMap::range() const {
  int64_t low = offset, high = offset;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (begin[d] >= end[d]) return std::nullopt;
    const int64_t a = begin[d] * strides[d], b = (end[d] - 1) * strides[d];
    low += std::min(a, b), high += std::max(a, b);
  }
  return std::pair{low, high};
}

ViewMap ViewMap::identity(std::span<const int64_t> shape) {
  return ViewMap(StridedMap::contiguous(shape));
}

bool ViewMap::masked() const {
  for (const StridedMap& level : levels_)
    if (level.masked()) return true;
  return false;
}

bool ViewMap::never_valid() const {
  for (const StridedMap& level : levels_)
    if (level.never_valid()) return true;
  return false;
}

// Canonical form, so that equal maps compare equal more often: axes of extent 1 have stride 0,
// levels that can merge are merged.
void ViewMap::normalise() {
  for (size_t i = 0; i + 1 < levels_.size();) {
    if (auto one = merge(levels_[i], levels_[i + 1])) {
      levels_[i] = std::move(*one);
      levels_.erase(levels_.begin() + i + 1);
      if (i > 0) --i;
    } else {
      ++i;
    }
  }
  for (StridedMap& level : levels_)
    for (size_t d = 0; d < level.shape.size(); ++d) {
      if (level.shape[d] == 1 && level.begin[d] < level.end[d]) level.strides[d] = 0;
    }
}

ViewMap ViewMap::permute(std::span<const int64_t> order) const {
  ViewMap out = *this;
  StridedMap& m = out.levels_[0];
  const StridedMap& from = levels_[0];
  for (size_t d = 0; d < order.size(); ++d) {
    const size_t s = size_t(order[d]);
    m.shape[d] = from.shape[s], m.strides[d] = from.strides[s];
    m.begin[d] = from.begin[s], m.end[d] = from.end[s];
  }
  out.normalise();
  return out;
}

ViewMap ViewMap::expand(std::span<const int64_t> shape) const {
  ViewMap out = *this;
  StridedMap& m = out.levels_[0];
  for (size_t d = 0; d < shape.size(); ++d) {
    if (m.shape[d] == shape[d]) continue;
    const bool valid = m.begin[d] < m.end[d];
    m.shape[d] = shape[d], m.strides[d] = 0;
    m.begin[d] = 0, m.end[d] = valid ? shape[d] : 0;
  }
  out.normalise();
  return out;
}

ViewMap ViewMap::slice(int64_t axis, int64_t start, int64_t count, int64_t step) const {
  ViewMap out = *this;
  StridedMap& m = out.levels_[0];
  const size_t d = size_t(axis);
  const auto [begin, end] = valid_steps(start, count, step, m.begin[d], m.end[d]);
  if (count > 0) m.offset += start * m.strides[d];
  m.strides[d] *= step;
  m.shape[d] = count, m.begin[d] = begin, m.end[d] = end;
  out.normalise();
  return out;
}

ViewMap ViewMap::flip(int64_t axis) const {
  const int64_t n = shape()[size_t(axis)];
  return n == 0 ? *this : slice(axis, n - 1, n, -1);
}

ViewMap ViewMap::pad(int64_t axis, int64_t before, int64_t after) const {
  ViewMap out = *this;
  StridedMap& m = out.levels_[0];
  const size_t d = size_t(axis);
  m.offset -= before * m.strides[d];
  m.shape[d] += before + after;
  m.begin[d] = std::clamp(m.begin[d] + before, int64_t(0), m.shape[d]);
  m.end[d] = std::clamp(m.end[d] + before, int64_t(0), m.shape[d]);
  if (m.begin[d] >= m.end[d]) m.begin[d] = m.end[d] = 0;
  out.normalise();
  return out;
}

ViewMap ViewMap::reshape(std::span<const int64_t> shape) const {
  if (is_identity()) {
    ViewMap out = identity(shape);
    out.normalise();
    return out;
  }
  ViewMap out = *this;
  if (std::ranges::equal(shape, out.shape())) return out;
  if (out.levels_.size() > 1 && out.levels_[0].is_contiguous())
    out.levels_.erase(out.levels_.begin());
  if (auto one = reshape_strided(out.levels_[0], shape))
    out.levels_[0] = std::move(*one);
  else
    out.levels_.insert(out.levels_.begin(), StridedMap::contiguous(shape));
  out.normalise();
  return out;
}

ViewMap ViewMap::diagonal(int64_t offset, int64_t axis1, int64_t axis2) const {
  const size_t a = size_t(axis1), b = size_t(axis2);
  // Beyond the corners nothing is left, however far; -offset must not overflow.
  offset = std::clamp(offset, -shape()[a], shape()[b]);
  const int64_t row = std::max<int64_t>(-offset, 0), column = std::max<int64_t>(offset, 0);
  const int64_t count = std::max<int64_t>(0, std::min(shape()[a] - row, shape()[b] - column));
  ViewMap out = *this;
  StridedMap& m = out.levels_[0];
  const auto [begin1, end1] = valid_steps(row, count, 1, m.begin[a], m.end[a]);
  const auto [begin2, end2] = valid_steps(column, count, 1, m.begin[b], m.end[b]);
  if (count > 0) m.offset += row * m.strides[a] + column * m.strides[b];
  m.shape.push_back(count);
  m.strides.push_back(m.strides[a] + m.strides[b]);
  const int64_t begin = std::max(begin1, begin2), end = std::min(end1, end2);
  m.begin.push_back(begin < end ? begin : 0), m.end.push_back(begin < end ? end : 0);
  for (size_t gone : {std::max(a, b), std::min(a, b)})
    for (Dims* dims : {&m.shape, &m.strides, &m.begin, &m.end}) dims->erase(dims->begin() + gone);
  out.normalise();
  return out;
}

ViewMap ViewMap::unfold(int64_t axis, int64_t size, int64_t stride, int64_t dilation) const {
  const size_t d = size_t(axis);
  const int64_t reach = (size - 1) * dilation + 1;
  const int64_t count = shape()[d] < reach ? 0 : (shape()[d] - reach) / stride + 1;
  ViewMap out = *this;
  // Two axes along one axis need an unmasked walk: where this one is masked, a level of its own
  // keeps the mask.
  if (!full(out.levels_[0], d))
    out.levels_.insert(out.levels_.begin(), StridedMap::contiguous(shape()));
  StridedMap& m = out.levels_[0];
  const int64_t step = m.strides[d];
  m.shape[d] = count, m.strides[d] = step * stride, m.begin[d] = 0, m.end[d] = count;
  m.shape.push_back(size), m.strides.push_back(step * dilation);
  m.begin.push_back(0), m.end.push_back(size);
  out.normalise();
  return out;
}

ViewMap ViewMap::compose(const ViewMap& outer, const ViewMap& inner) {
  ViewMap out = outer;
  for (const StridedMap& level : inner.levels_) out.levels_.push_back(level);
  out.normalise();
  return out;
}

std::optional<int64_t> ViewMap::position(std::span<const int64_t> index) const {
  Dims at(index);
  int64_t linear = 0;
  for (size_t i = 0; i < levels_.size(); ++i) {
    const StridedMap& m = levels_[i];
    if (i > 0) {
      at.resize(m.shape.size());
      for (size_t d = m.shape.size(); d-- > 0;) at[d] = linear % m.shape[d], linear /= m.shape[d];
    }
    linear = m.offset;
    for (size_t d = 0; d < m.shape.size(); ++d) {
      if (at[d] < m.begin[d] || at[d] >= m.end[d]) return std::nullopt;
      linear += at[d] * m.strides[d];
    }
  }
  return linear;
}

namespace {

// offset plus the reach of every axis, masked or not, fits: no position computed from it overflows.
// An empty map computes none.
bool reach_fits(const StridedMap& m) {
  if (std::ranges::find(m.shape, 0) != m.shape.end()) return true;
  constexpr int64_t limit = int64_t(1) << 62;
  const auto small = [](int64_t x) { return x > -limit && x < limit; };
  int64_t reach = 0;
  bool fits = small(m.offset);
  for (size_t d = 0; fits && d < m.shape.size(); ++d) {
    int64_t axis = 0;
    fits = small(m.strides[d]) &&
           !__builtin_mul_overflow(std::abs(m.strides[d]), m.shape[d], &axis) &&
           !__builtin_add_overflow(reach, axis, &reach) && small(reach);
  }
  return fits;
}

std::optional<std::string> verify_level(const StridedMap& m, size_t i, int64_t limit) {
  const size_t rank = m.shape.size();
  if (m.strides.size() != rank || m.begin.size() != rank || m.end.size() != rank)
    return fmt::format("level {} has {} extents, {} strides and {} intervals", i, rank,
                       m.strides.size(), m.begin.size());
  for (size_t d = 0; d < rank; ++d)
    if (m.begin[d] < 0 || m.end[d] > m.shape[d] || (m.begin[d] > m.end[d]))
      return fmt::format("level {} axis {}: valid interval [{},{}) is not inside [0,{})", i, d,
                         m.begin[d], m.end[d], m.shape[d]);
  if (!reach_fits(m)) return fmt::format("level {} reaches further than 64 bits", i);
  if (auto range = m.range(); range && (range->first < 0 || range->second >= limit))
    return fmt::format("level {} reads positions {} to {} of {}", i, range->first, range->second,
                       limit);
  return std::nullopt;
}

}  // namespace

std::optional<std::string> verify_view(const ViewMap& map, int64_t source_elements) {
  if (map.levels().empty()) return "no levels";
  int64_t limit = source_elements;
  for (size_t i = map.levels().size(); i-- > 0;) {
    const StridedMap& m = map.levels()[i];
    if (auto why = verify_level(m, i, limit)) return why;
    const std::optional<int64_t> count = checked_numel(m.shape);
    if (!count) return fmt::format("level {} has more elements than fit in 64 bits", i);
    limit = *count;
  }
  return std::nullopt;
}

}  // namespace cermet::ir
