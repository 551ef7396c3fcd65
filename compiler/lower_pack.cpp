// Where tiles lie, and how operands that are not read where they lie get to scratch memory.
//
// Columns of a packed panel past the edge are zeros, rows past the edge repeat the last row. Where
// a group has several axes, their indices are computed once per tile into a table, since taking an
// index apart costs a division per axis. Where columns have several axes and the last one is long,
// it is rounded up to whole vectors: then no vector holds the end of one line and the beginning of
// the next, and images are read and written by vectors instead of lane by lane.

#include "compiler/lower_pack.h"

#include <fmt/format.h>

#include <algorithm>

namespace cermet::compiler {
namespace {

using loops::Ref;

constexpr int64_t lines_ahead = 32;  // of k, when panels are packed line by line

int64_t round_up(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

// Expressions without inner axes below an operand: evaluated once, before the loops over k.
std::vector<int32_t> invariants_below(const Kernel& kernel, int32_t root) {
  std::vector<bool> below(kernel.exprs.size(), false);
  below[size_t(root)] = true;
  std::vector<int32_t> out;
  for (int32_t i = root; i >= 0; --i) {
    if (!below[size_t(i)]) continue;
    for (int32_t operand : kernel.exprs[size_t(i)].operands) below[size_t(operand)] = true;
    if (!kernel.exprs[size_t(i)].inner) out.insert(out.begin(), i);
  }
  return out;
}

}  // namespace

Ref OperandPacker::integer(const OperandTile& side, std::string_view what, int64_t value) {
  return w_.integer(fmt::format("{} {}", side.name, what), 0, value);
}

Ref OperandPacker::panels_of(const OperandTile& side) {
  return b_.div(b_.add(side.count, b_.index(side.plan.panel - 1)), b_.index(side.plan.panel));
}

// Vectors of a panel: whole ones if they fit, else the largest power of two that divides it.
int64_t OperandPacker::packed_lanes(const OperandTile& side) const {
  const int64_t size = side.plan.panel;
  return size % p_.lanes == 0 ? p_.lanes : size & -size;
}

// Panels that are packed together, so that a cache line is read once.
int64_t OperandPacker::panels_at_once(const OperandTile& side) const {
  return std::max<int64_t>(1, p_.lanes / side.plan.panel);
}

int64_t OperandPacker::packed_elements(const OperandTile& side) const {
  const int64_t lines = round_up(side.plan.tile, side.plan.panel * panels_at_once(side));
  const bool in_lines = side.plan.source == OperandSource::Lines;
  return lines * (in_lines ? side.line_step : p_.k_block * p_.k_rest) + p_.lanes * p_.columns.panel;
}

// The index along each axis of a flattened group, for every element of the tile.
void OperandPacker::fill_table(OperandTile& side) {
  if (side.table < 0) return;
  const Ref tile = tile_of(side);
  const int64_t step = side.plan.lines ? p_.lanes : 1;
  const std::vector<int64_t>& axes = side.plan.axes;
  b_.for_loop(b_.index(0), tile, step, [&](Ref i) {
    // Past the end the last element repeats: what is computed there is never used, but must be a
    // valid place.
    Ref rest = b_.min_index(b_.add(side.first, i), b_.sub(side.size, b_.index(step)));
    for (size_t a = axes.size(); a-- > 0;) {
      const bool line = side.plan.lines && a + 1 == axes.size();
      const Ref extent = line ? w_.integer("line", 0, side.plan.line) : w_.extent(axes[a]);
      const Ref index = a == 0 ? rest : b_.rem(rest, extent);
      if (a > 0) rest = b_.div(rest, extent);
      b_.store(side.table, b_.add(b_.mul(tile, b_.index(int64_t(a))), i), index);
    }
  });
}

// Points `scope` at the flattened index first + i of a side, for scope.lanes consecutive ones.
// Masks those that are not there because a line is rounded up.
void OperandPacker::set_index(Scope& scope, const OperandTile& side, Ref i) {
  const std::vector<int64_t>& axes = side.plan.axes;
  if (side.table >= 0) {
    const Ref tile = tile_of(side);
    for (size_t a = 0; a < axes.size(); ++a)
      scope.index[size_t(axes[a])] =
          b_.load(side.table, b_.add(b_.mul(tile, b_.index(int64_t(a))), i),
                  side.plan.lines ? 1 : scope.lanes);
    w_.set_vector_axis(side.plan.lines ? axes.back() : -1);
    if (side.plan.lines) {
      const int64_t last = axes.back();
      const Ref inside = b_.lt(b_.ramp(scope.index[size_t(last)], scope.lanes), w_.extent(last));
      scope.mask = w_.both(scope.mask, inside);
    }
    return;
  }
  if (axes.empty()) return;
  scope.index[size_t(axes[0])] = b_.add(side.first, i);
  w_.set_vector_axis(axes[0]);
}

void OperandPacker::pack(OperandTile& side, const Position& at, const InnerBlock& block) {
  switch (side.plan.source) {
    case OperandSource::Direct: return;
    case OperandSource::Panels: return pack_panels(side, at, block);
    case OperandSource::Turned: return pack_turned(side, at, block);
    case OperandSource::Lines: return pack_lines(side, at, block);
  }
}

// Rows one after the other, vectors along k.
void OperandPacker::pack_lines(OperandTile& side, const Position& at, const InnerBlock& block) {
  const int64_t axis = p_.groups.inner[0];
  const std::vector<int32_t> invariants = invariants_below(kernel_, side.plan.expr);
  const Ref step = integer(side, "line", side.line_step);
  b_.for_loop(b_.index(0), side.count, 1, [&](Ref i) {
    Scope row = scope_at(at, 1);
    set_index(row, side, i);
    w_.set_vector_axis(axis);
    for (int32_t e : invariants) w_.evaluate(row, e);
    const auto vectors = [&](Ref lower, Ref upper, int lanes, bool masked) {
      b_.for_loop(lower, upper, lanes, [&](Ref k) {
        Scope scope = row;
        scope.lanes = lanes;
        scope.index[size_t(axis)] = b_.add(block.first, k);
        if (masked) scope.mask = b_.lt(b_.ramp(k, lanes), block.count);
        const Ref value = b_.splat(w_.evaluate(scope, side.plan.expr), lanes);
        b_.store(side.packed, b_.add(b_.mul(i, step), k), value);
      });
    };
    if (target_.masked_memory) return vectors(b_.index(0), block.count, p_.lanes, true);
    const Ref lanes = b_.index(p_.lanes), whole = b_.mul(b_.div(block.count, lanes), lanes);
    vectors(b_.index(0), whole, p_.lanes, false);
    if (p_.lanes > 1) vectors(whole, block.count, 1, false);
  });
}

// Panels of columns, each [k][panel], from columns whose elements follow each other along the last
// inner axis: squares of as many columns as there are lanes are transposed. Columns past the edge
// repeat the last one. Squares past the end of that axis write zeros, which the next line or panel
// overwrites.
void OperandPacker::pack_turned(OperandTile& side, const Position& at, const InnerBlock& block) {
  const std::vector<int64_t>& inner = p_.groups.inner;
  const int64_t n = p_.lanes;
  const Ref width = b_.index(side.plan.panel), last = b_.sub(side.count, b_.index(1));
  const int32_t square = w_.local_buffer(p_.dtype, n * n);
  const auto squares = [&](const Position& line, Ref column, Ref corner, Ref first, Ref count) {
    b_.for_loop(b_.index(0), count, n, [&](Ref k) {
      const Ref inside = b_.lt(b_.ramp(k, int(n)), count);
      const auto source = [&](Ref i) {
        Scope scope = scope_at(line, 1);
        set_index(scope, side, b_.min_index(b_.add(column, i), last));
        scope.index[size_t(inner.back())] = b_.add(first, k);
        scope.lanes = int(n), scope.mask = inside;
        w_.set_vector_axis(inner.back());
        // The next square of columns, if they lie side by side.
        if (side.table < 0 && !side.plan.axes.empty()) prefetch(side, scope, side.plan.axes[0], n);
        return b_.splat(w_.evaluate(scope, side.plan.expr), int(n));
      };
      turn_square(square, source, side.packed, b_.add(corner, b_.mul(k, width)), width);
    });
  };
  // The lines: `k` of the inner axes before `depth`.
  const auto walk = [&](auto& self, const Position& line, Ref column, Ref corner, size_t depth,
                        Ref k) -> void {
    const Ref lower = depth == 0 ? block.first : b_.index(0);
    const Ref count = depth == 0 ? block.count : w_.extent(inner[depth]);
    if (depth + 1 == inner.size())
      return squares(line, column, b_.add(corner, b_.mul(b_.mul(k, count), width)), lower, count);
    b_.for_loop(b_.index(0), count, 1, [&](Ref i) {
      Position next = line;
      next[size_t(inner[depth])] = b_.add(lower, i);
      self(self, next, column, corner, depth + 1, b_.add(b_.mul(k, count), i));
    });
  };
  b_.for_loop(b_.index(0), panels_of(side), 1, [&](Ref q) {
    b_.for_loop(b_.index(0), width, n, [&](Ref v) {
      const Ref corner = b_.add(b_.mul(b_.mul(q, block.length), width), v);
      walk(walk, at, b_.add(b_.mul(q, width), v), corner, 0, b_.index(0));
    });
  });
}

// Transposes as many vectors as there are lanes, source(i), into lines of `to`. Taking vector i and
// vector i + lanes / 2 apart and together rotates the bits of (vector, lane) by one; as many
// rotations as a vector's number has bits exchange the two. A round does two of them with four
// vectors at a time, in a loop: all of them at once in registers are no faster, and the many
// shuffles take LLVM three times as long to compile.
void OperandPacker::turn_square(int32_t square, const std::function<Ref(Ref i)>& source, int32_t to,
                                Ref start, Ref step) {
  const int64_t n = p_.lanes;
  int64_t left = n;  // 2 to the power of the rotations that are still to be done
  for (bool first = true; left > 1; first = false) {
    const int64_t together = std::min<int64_t>(left, 4);
    left /= together;
    b_.for_loop(b_.index(0), b_.index(n / together), 1, [&](Ref i) {
      std::vector<Ref> x;
      for (int64_t j = 0; j < together; ++j) {
        const Ref vector = b_.add(i, b_.index(j * (n / together)));
        x.push_back(first ? source(vector) : b_.load(square, b_.mul(vector, b_.index(n)), int(n)));
      }
      for (int64_t rotations = 1; rotations < together; rotations *= 2) {
        std::vector<Ref> y;
        for (size_t j = 0; j < size_t(together) / 2; ++j) {
          y.push_back(b_.zip_low(x[j], x[j + size_t(together) / 2]));
          y.push_back(b_.zip_high(x[j], x[j + size_t(together) / 2]));
        }
        x = std::move(y);
      }
      const Ref line = b_.mul(i, b_.index(together));
      for (int64_t j = 0; j < together; ++j) {
        const Ref vector = b_.add(line, b_.index(j));
        if (left > 1)
          b_.store(square, b_.mul(vector, b_.index(n)), x[size_t(j)]);
        else
          b_.store(to, b_.add(start, b_.mul(vector, step)), x[size_t(j)]);
      }
    });
  }
}

// Panels of side.panel rows (or columns), each [k][panel].
void OperandPacker::pack_panels(OperandTile& side, const Position& at, const InnerBlock& block) {
  const Ref panels = panels_of(side);
  const std::vector<int32_t> invariants = invariants_below(kernel_, side.plan.expr);
  const int64_t size = side.plan.panel, width = packed_lanes(side);
  // A vector of each line of k, and where it goes.
  struct Strip {
    Scope scope;
    Ref start;
  };
  // Walks k, the part of the first inner axis and the other inner axes in full, and stores one
  // vector of each strip for each.
  const auto walk = [&](auto& self, std::vector<Strip>& strips, size_t depth, Ref k) -> void {
    if (depth == p_.groups.inner.size()) {
      for (Strip& strip : strips) {
        if (!p_.groups.inner.empty())
          prefetch(side, strip.scope, p_.groups.inner.back(), lines_ahead);
        Scope element = strip.scope;
        Ref value = b_.splat(w_.evaluate(element, side.plan.expr), int(width));
        if (element.mask)
          value = b_.select(element.mask, value, b_.constant_bits(p_.dtype, 0, int(width)));
        b_.store(side.packed, b_.add(strip.start, b_.mul(k, b_.index(size))), value);
      }
      return;
    }
    const int64_t axis = p_.groups.inner[depth];
    const Ref lower = depth == 0 ? block.first : b_.index(0);
    const Ref upper = depth == 0 ? b_.add(block.first, block.count) : w_.extent(axis);
    b_.for_loop(lower, upper, 1, [&](Ref index) {
      for (Strip& strip : strips) strip.scope.index[size_t(axis)] = index;
      const Ref next = depth == 0 ? b_.sub(index, block.first) : b_.add(b_.mul(k, upper), index);
      self(self, strips, depth + 1, next);
    });
  };
  const auto pack_some = [&](Ref first, int64_t count, bool whole) {
    std::vector<Strip> strips;
    for (int64_t v = 0; v < count * size; v += width) {
      Scope scope = scope_at(at, int(width));
      const Ref p = b_.add(first, b_.index(v / size));
      const Ref i = b_.add(b_.mul(p, b_.index(size)), b_.index(v % size));
      if (!whole) scope.mask = b_.lt(b_.ramp(i, int(width)), side.count);
      set_index(scope, side, i);
      for (int32_t e : invariants) w_.evaluate(scope, e);
      const Ref start = b_.mul(b_.mul(p, block.length), b_.index(size));
      strips.push_back({std::move(scope), b_.add(start, b_.index(v % size))});
    }
    walk(walk, strips, 0, b_.index(0));
  };
  // Masks cost nothing where the target has masked memory and positions are never out of range
  // anyway; elsewhere whole panels have code of their own.
  if (target_.masked_memory || side.table >= 0) {
    const int64_t count = panels_at_once(side);
    return b_.for_loop(b_.index(0), panels, count, [&](Ref p) { pack_some(p, count, false); });
  }
  const Ref whole = b_.div(side.count, b_.index(size));
  b_.for_loop(b_.index(0), whole, 1, [&](Ref p) { pack_some(p, 1, true); });
  b_.for_loop(whole, panels, 1, [&](Ref p) { pack_some(p, 1, false); });
}

// What lies `ahead` elements further along an axis: too far apart for a processor to foresee it, or
// one walk among too many.
void OperandPacker::prefetch(const OperandTile& side, const Scope& scope, int64_t axis,
                             int64_t ahead) {
  const Expr& e = kernel_.exprs[size_t(side.plan.expr)];
  if (e.kind != Expr::Kind::Load || !e.map->single()) return;
  Scope later = scope;
  Ref& index = later.index[size_t(axis)];
  index = b_.add(index, b_.index(ahead));
  w_.prefetch(later, side.plan.expr);
}

}  // namespace cermet::compiler
