// The structured ops that compute: reductions, scans, products. Elements are unpacked to words
// (ir/word.h), so each loop exists for double, int64_t and uint64_t.

#include <limits>
#include <optional>

#include "ir/check.h"
#include "ir/eval.h"
#include "ir/interpret_structured.h"
#include "ir/walk.h"
#include "ir/word.h"

namespace cermet::ir {
namespace {

template <class W>
HostArray packed(const Node& node, const std::vector<W>& words) {
  HostArray out(node.dtype, node.shape);
  pack(out.dtype, words.data(), out.numel(), out.bytes.data(), 0);
  return out;
}

// Calls f with the functor that combines two elements.
template <class F>
HostArray visit_combine(Combine combine, F&& f) {
  switch (combine) {
    case Combine::Sum: return f(eval::Add{});
    case Combine::Prod: return f(eval::Mul{});
    case Combine::Max: return f(eval::Maximum{});
    case Combine::Min: return f(eval::Minimum{});
    case Combine::Set: break;
  }
  CERMET_CHECK(false, "{} does not combine", name(combine));
  __builtin_unreachable();
}

// What changes no element of the dtype it is combined with.
template <class W>
W identity(Combine combine, DType dtype) {
  if (combine == Combine::Sum) return 0;
  if (combine == Combine::Prod) return 1;
  const bool least = combine == Combine::Max;
  if constexpr (std::is_same_v<W, double>)
    return least ? -std::numeric_limits<W>::infinity() : std::numeric_limits<W>::infinity();
  else
    return visit(dtype, [&]<class T>(T) {
      using Limits = std::numeric_limits<T>;
      return least ? W(Limits::lowest()) : W(Limits::max());
    });
}

}  // namespace

HostArray interpret_reduce(const Node& node, const HostArray& x) {
  const auto& [combine, axes] = node.as<ReduceAttr>();
  // Position in the result of each element of x: its strides, and 0 along the axes that disappear.
  const Strides kept = row_major_strides(node.shape);
  Strides strides;
  for (size_t d = 0, next = 0; d < x.shape.size(); ++d) {
    const bool reduced = std::ranges::find(axes, int64_t(d)) != axes.end();
    strides.push_back(reduced ? 0 : kept[next++]);
  }
  return visit_word(x.dtype, [&]<class W>(W) {
    return visit_combine(combine, [&](auto both) {
      const std::vector<W> in = words_of<W>(x);
      std::vector<W> out(size_t(node.numel()), identity<W>(combine, x.dtype));
      std::vector<bool> started(out.size());
      Walk to(x.shape, strides);
      for (const W element : in) {
        const size_t at = size_t(to.position());
        out[at] = started[at] ? both(out[at], element) : element;
        started[at] = true;
        to.next();
      }
      return packed(node, out);
    });
  });
}

HostArray interpret_arg_reduce(const Node& node, const HostArray& x) {
  const auto& [combine, axis] = node.as<CombineAttr>();
  const AxisSplit split(x.shape, axis);
  HostArray out(node.dtype, node.shape);
  visit_word(x.dtype, [&]<class W>(W) {
    const std::vector<W> in = words_of<W>(x);
    const auto beats = [&, combine = combine](W a, W b) {
      if (b != b) return false;
      return a != a || (combine == Combine::Max ? a > b : a < b);
    };
    for (int64_t lane = 0; lane < out.numel(); ++lane) {
      const int64_t o = lane / split.inner, i = lane % split.inner;
      const W* first = in.data() + o * split.extent * split.inner + i;
      int64_t best = 0;
      for (int64_t k = 1; k < split.extent; ++k)
        if (beats(first[k * split.inner], first[best * split.inner])) best = k;
      out.as<int64_t>()[size_t(lane)] = best;
    }
  });
  return out;
}

HostArray interpret_scan(const Node& node, const HostArray& x) {
  const auto& [combine, axis, reverse, exclusive] = node.as<ScanAttr>();
  const AxisSplit split(x.shape, axis);
  return visit_word(x.dtype, [&]<class W>(W) {
    return visit_combine(combine, [&](auto both) {
      const std::vector<W> in = words_of<W>(x);
      std::vector<W> out(in.size());
      for (int64_t o = 0; o < split.outer; ++o)
        for (int64_t i = 0; i < split.inner; ++i) {
          std::optional<W> running;
          for (int64_t step = 0; step < split.extent; ++step) {
            const int64_t k = reverse ? split.extent - 1 - step : step;
            const size_t at = size_t((o * split.extent + k) * split.inner + i);
            if (exclusive) out[at] = running ? *running : identity<W>(combine, x.dtype);
            running = running ? both(*running, in[at]) : in[at];
            if (!exclusive) out[at] = *running;
          }
        }
      return packed(node, out);
    });
  });
}

HostArray interpret_dot(const Node& node, const HostArray& a, const HostArray& b) {
  const int64_t batches = a.shape[0], rows = a.shape[1], depth = a.shape[2], columns = b.shape[2];
  return visit_word(node.dtype, [&]<class W>(W) {
    const std::vector<W> left = words_of<W>(a), right = words_of<W>(b);
    std::vector<W> out(size_t(node.numel()));
    for (int64_t row = 0; row < batches * rows; ++row) {
      const int64_t batch = row / rows;
      W* sums = out.data() + row * columns;
      for (int64_t k = 0; k < depth; ++k) {
        const W factor = left[size_t(row * depth + k)];
        const W* from = right.data() + (batch * depth + k) * columns;
        for (int64_t n = 0; n < columns; ++n)
          sums[n] = eval::Add()(sums[n], eval::Mul()(factor, from[n]));
      }
    }
    return packed(node, out);
  });
}

HostArray interpret_conv(const Node& node, const HostArray& x, const HostArray& w) {
  const auto& [stride, dilation] = node.as<ConvAttr>();
  const Strides xs = row_major_strides(x.shape), ws = row_major_strides(w.shape);
  // Where a window starts in x, and its filter in w, for the result's index (g, n, o, spatial...).
  Strides x_start = {xs[0], xs[1], 0}, w_start = {ws[0], 0, ws[1]};
  // Where the taps (c, window...) lie, seen from there; those of w lie one after the other.
  Shape tap_shape = {w.shape[2]};
  Strides tap_strides = {xs[2]};
  for (size_t s = 0; s < stride.size(); ++s) {
    x_start.push_back(stride[s] * xs[3 + s]), w_start.push_back(0);
    tap_shape.push_back(w.shape[3 + s]), tap_strides.push_back(dilation[s] * xs[3 + s]);
  }
  std::vector<int64_t> taps;
  Walk tap(tap_shape, tap_strides);
  for (int64_t t = 0; t < numel(tap_shape); ++t, tap.next()) taps.push_back(tap.position());

  return visit_word(node.dtype, [&]<class W>(W) {
    const std::vector<W> in = words_of<W>(x), filter = words_of<W>(w);
    std::vector<W> out(size_t(node.numel()));
    if (taps.empty()) return packed(node, out);  // without channels there is nothing to point at
    Walk in_at(node.shape, x_start), filter_at(node.shape, w_start);
    for (W& sum : out) {
      const W* window = in.data() + in_at.position();
      const W* factors = filter.data() + filter_at.position();
      for (size_t t = 0; t < taps.size(); ++t)
        sum = eval::Add()(sum, eval::Mul()(window[taps[t]], factors[t]));
      in_at.next(), filter_at.next();
    }
    return packed(node, out);
  });
}

// In f64 and exact integers as well: what several updates give is rounded once.
HostArray interpret_scatter_combine(const Node& node, const HostArray& x,
                                    std::span<const int64_t> targets, const HostArray& updates) {
  return visit_word(x.dtype, [&]<class W>(W) {
    return visit_combine(node.as<CombineAttr>().combine, [&](auto both) {
      std::vector<W> out = words_of<W>(x);
      const std::vector<W> in = words_of<W>(updates);
      for (size_t i = 0; i < in.size(); ++i) {
        W& target = out[size_t(targets[i])];
        target = both(target, in[i]);
      }
      return packed(node, out);
    });
  });
}

}  // namespace cermet::ir
