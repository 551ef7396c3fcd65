// A contraction C[m,n] = sum_k A[m,k] * B[k,n] in blocks, after Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication" (2008).
//
// The outer axes fall into three groups: those that only the left operand depends on (rows, m),
// those that only the right one depends on (columns, n) and those of both (batch); the inner axes
// are k. A group may be several axes: for a convolution the columns are images x height x width,
// and k is channels x window. Columns are the group in which the result is contiguous.
//
// A unit of the parallel range is a tile of rows x columns of one batch element:
//
//   for each block of k:  pack A's panels (row_panel rows side by side) and B's (column_panel
//   columns side by side), with
//                         the operands' prologues, into scratch memory; multiply panel by panel,
//                         with row_panel x column_panel sums in registers, and add them to the
//                         tile, which is scratch too
//   epilogue:             the row expressions of the kernel, lane by lane along the columns, while
//   the tile is in cache
//
// Packed panels are padded with zeros, so only the epilogue knows where the result ends. Where a
// group has several axes, their indices are computed once per tile into a table, since taking an
// index apart costs a division per axis. Where columns have several axes and the last one is long,
// it is rounded up to whole vectors: then no vector holds the end of one line and the beginning of
// the next, and images are read and written by vectors instead of lane by lane.

#include "compiler/lower_contract.h"

#include <fmt/format.h>

#include "compiler/contract_groups.h"
#include "compiler/elementwise.h"
#include "compiler/lower_scope.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

using loops::Ref;
using Kind = Expr::Kind;

constexpr double least_used = 0.75;  // of the lanes of a line

int64_t round_up(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

class ContractLowering {
 public:
  ContractLowering(const Kernel& kernel, const KernelProgram& program, const Target& target,
                   FunctionFrame& frame)
      : kernel_(kernel),
        target_(target),
        out_(frame.out),
        w_(kernel, program, frame),
        b_(w_.builder()),
        g_(contract_groups(kernel)),
        contract_(kernel.exprs[size_t(g_.contract)]) {
    dtype_ = held(kernel.exprs[size_t(contract_.operands[0])].dtype);
  }
  void run();
  ContractGrid grid();

 private:
  // One side of the product: its axes, and the part of them that the current tile covers.
  struct Side {
    std::vector<int64_t> axes;
    int32_t expr = -1;
    int64_t extent = 1, tile = 1;     // of the flattened axes; the tile's size
    int64_t panel = 1;                // rows or columns side by side in a packed panel
    int32_t packed = -1, table = -1;  // scratch buffers; table only for several axes: [axis][tile]
    Ref first, count;                 // of the current tile
    Ref size;                         // extent, as an argument
    // The last axis counts as whole vectors: a multiple of the lanes is the first of a vector along
    // it, and the table has entries for those only.
    bool lines = false;
    int64_t line = 1;  // the last axis, rounded up
  };
  void plan_sizes();
  void plan_scratch();
  void emit_unit(Ref unit);
  void fill_table(Side& side);
  // Points `scope` at the flattened index first + i of a side, for scope.lanes consecutive ones.
  // Masks those that are not there because a line is rounded up.
  void set_index(Scope& scope, const Side& side, Ref i);
  Ref panels_of(const Side& side);
  void pack(Side& side, const std::vector<Ref>& at, Ref k_first, Ref k_count);
  void multiply(Ref k_length);
  void epilogue(const std::vector<Ref>& at);

  const Kernel& kernel_;
  const Target& target_;
  LoweredKernel& out_;
  KernelWriter w_;
  loops::Builder& b_;
  ContractGroups g_;
  const Expr& contract_;
  DType dtype_;  // in which sums are held
  int lanes_ = 1;
  Side rows_, columns_;
  int64_t k_block_ = 1;  // of the first inner axis
  int64_t k_rest_ = 1;   // product of the other inner axes
  int32_t tile_ = -1;    // scratch: [rows tile][columns tile]
};

// Register and cache blocking. With n vector registers, row_panel x (column_panel / lanes) sums,
// the column vectors and one broadcast must fit; 8 x 2 vectors saturate two FMA pipes with AVX-512,
// 6 x 2 is the classic for 16 registers.
void ContractLowering::plan_sizes() {
  lanes_ = std::max<int>(1, target_.vector_bytes / int(size_of(dtype_)));
  rows_.axes = g_.rows, rows_.expr = g_.left;
  columns_.axes = g_.columns, columns_.expr = g_.right;
  rows_.panel = target_.vector_bytes == 64 ? 8 : target_.vector_bytes == 32 ? 6 : 4;
  columns_.panel = 2 * lanes_;
  for (Side* side : {&rows_, &columns_}) side->extent = extent_along(kernel_, side->axes);
  if (columns_.axes.size() > 1 && target_.masked_memory) {
    const int64_t last = w_.space()[size_t(columns_.axes.back())];
    columns_.line = round_up(last, lanes_);
    columns_.lines = double(last) >= least_used * double(columns_.line);
    if (columns_.lines) columns_.extent = columns_.extent / last * columns_.line;
  }
  // The inner axes: whole, but for the first, so that a column panel stays within half of the L1
  // cache.
  const int64_t first = kernel_.inner.empty() ? 1 : kernel_.inner[0];
  for (size_t d = 1; d < kernel_.inner.size(); ++d) k_rest_ *= kernel_.inner[d];
  const int64_t k_target = target_.l1_bytes / 2 / (columns_.panel * int64_t(size_of(dtype_))) * 2;
  k_block_ =
      std::clamp<int64_t>(k_target / std::max<int64_t>(k_rest_, 1), 1, std::max<int64_t>(first, 1));
  // A tile's packed columns and the tile itself share the L2 cache. Small problems get smaller
  // tiles, so that there are some units to share out: a function of the shape, never of the
  // threads.
  rows_.tile = std::min(round_up(rows_.extent, rows_.panel), round_up(96, rows_.panel));
  columns_.tile =
      std::min(round_up(columns_.extent, columns_.panel), round_up(256, columns_.panel));
}

void ContractLowering::plan_scratch() {
  int64_t offset = 0;
  const auto take = [&](DType dtype, int64_t elements, int64_t which) {
    const int32_t buffer = w_.scratch_buffer(dtype, w_.integer("scratch", which, offset));
    offset += round_up(elements * int64_t(size_of(dtype)), 64);
    return buffer;
  };
  int64_t which = 0;
  for (Side* side : {&rows_, &columns_}) {
    side->packed = take(dtype_, side->tile * k_block_ * k_rest_, which++);
    if (side->axes.size() > 1)
      side->table = take(DType::I64, side->tile * int64_t(side->axes.size()), which++);
    side->size = w_.integer(side == &rows_ ? "rows" : "columns", 0, side->extent);
  }
  tile_ = take(dtype_, rows_.tile * columns_.tile, which);
  out_.scratch_bytes = offset;
}

void ContractLowering::run() {
  plan_sizes();
  plan_scratch();
  const int64_t batches = extent_along(kernel_, g_.batch);
  const int64_t row_tiles = (rows_.extent + rows_.tile - 1) / rows_.tile;
  const int64_t column_tiles = (columns_.extent + columns_.tile - 1) / columns_.tile;
  out_.range = batches * row_tiles * column_tiles;
  const double cycles = double(rows_.tile) * double(columns_.tile) * double(numel(kernel_.inner)) /
                        double(lanes_) / 2;
  out_.grain = std::max<int64_t>(1, int64_t(90000.0 / (cycles + 100)));
  b_.for_loop(w_.begin(), w_.end(), 1, [&](Ref unit) { emit_unit(unit); });
}

ContractGrid ContractLowering::grid() {
  plan_sizes();
  const int64_t column_tiles = (columns_.extent + columns_.tile - 1) / columns_.tile;
  return {g_.batch,     g_.rows,    extent_along(kernel_, g_.batch),
          rows_.extent, rows_.tile, column_tiles};
}

void ContractLowering::emit_unit(Ref unit) {
  // unit = (batch * row_tiles + row_tile) * column_tiles + column_tile
  Ref rest = unit;
  for (Side* side : {&columns_, &rows_}) {
    const bool is_rows = side == &rows_;
    const Ref tile = w_.integer(is_rows ? "row tile" : "column tile", 0, side->tile);
    const int64_t count = (side->extent + side->tile - 1) / side->tile;
    const Ref tiles = w_.integer(is_rows ? "row tiles" : "column tiles", 0, count);
    side->first = b_.mul(b_.rem(rest, tiles), tile);
    side->count = b_.min_index(tile, b_.sub(side->size, side->first));
    rest = b_.div(rest, tiles);
  }
  std::vector<Ref> at(size_t(w_.rank()), b_.index(0));
  for (size_t i = g_.batch.size(); i-- > 0;) {
    const size_t d = size_t(g_.batch[i]);
    at[d] = i == 0 ? rest : b_.rem(rest, w_.extent(int64_t(d)));
    if (i > 0) rest = b_.div(rest, w_.extent(int64_t(d)));
  }
  fill_table(rows_);
  fill_table(columns_);

  const Ref width = w_.integer("column tile", 0, columns_.tile);
  const Ref zero = b_.constant_bits(dtype_, 0, lanes_);
  const Ref elements = b_.mul(w_.integer("row tile", 0, rows_.tile), width);
  b_.for_loop(b_.index(0), elements, lanes_, [&](Ref i) { b_.store(tile_, i, zero); });

  if (g_.inner.empty()) {
    pack(rows_, at, b_.index(0), b_.index(1));
    pack(columns_, at, b_.index(0), b_.index(1));
    multiply(b_.index(1));
  } else {
    const Ref k_extent = w_.extent(g_.inner[0]);
    const Ref block = w_.integer("k block", 0, k_block_);
    const Ref blocks = b_.div(b_.add(k_extent, b_.sub(block, b_.index(1))), block);
    b_.for_loop(b_.index(0), blocks, 1, [&](Ref k) {
      const Ref first = b_.mul(k, block);
      const Ref count = b_.min_index(block, b_.sub(k_extent, first));
      pack(rows_, at, first, count);
      pack(columns_, at, first, count);
      multiply(b_.mul(count, w_.integer("k rest", 0, k_rest_)));
    });
  }
  epilogue(at);
}

// The index along each axis of a flattened group, for every element of the tile.
void ContractLowering::fill_table(Side& side) {
  if (side.table < 0) return;
  const Ref tile = w_.integer(&side == &rows_ ? "row tile" : "column tile", 0, side.tile);
  const int64_t step = side.lines ? lanes_ : 1;
  b_.for_loop(b_.index(0), tile, step, [&](Ref i) {
    // Past the end the last element repeats: what is computed there is never used, but must be a
    // valid place.
    Ref rest = b_.min_index(b_.add(side.first, i), b_.sub(side.size, b_.index(step)));
    for (size_t a = side.axes.size(); a-- > 0;) {
      const bool line = side.lines && a + 1 == side.axes.size();
      const Ref extent = line ? w_.integer("line", 0, side.line) : w_.extent(side.axes[a]);
      const Ref index = a == 0 ? rest : b_.rem(rest, extent);
      if (a > 0) rest = b_.div(rest, extent);
      b_.store(side.table, b_.add(b_.mul(tile, b_.index(int64_t(a))), i), index);
    }
  });
}

Ref ContractLowering::panels_of(const Side& side) {
  return b_.div(b_.add(side.count, b_.index(side.panel - 1)), b_.index(side.panel));
}

void ContractLowering::set_index(Scope& scope, const Side& side, Ref i) {
  if (side.table >= 0) {
    const Ref tile = w_.integer(&side == &rows_ ? "row tile" : "column tile", 0, side.tile);
    for (size_t a = 0; a < side.axes.size(); ++a)
      scope.index[size_t(side.axes[a])] = b_.load(
          side.table, b_.add(b_.mul(tile, b_.index(int64_t(a))), i), side.lines ? 1 : scope.lanes);
    w_.set_vector_axis(side.lines ? side.axes.back() : -1);
    if (side.lines) {
      const int64_t last = side.axes.back();
      const Ref inside = b_.lt(b_.ramp(scope.index[size_t(last)], scope.lanes), w_.extent(last));
      scope.mask = w_.both(scope.mask, inside);
    }
    return;
  }
  if (side.axes.empty()) return;
  scope.index[size_t(side.axes[0])] = b_.add(side.first, i);
  w_.set_vector_axis(side.axes[0]);
}

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

// Panels of side.panel rows (or columns), each [k][panel].
void ContractLowering::pack(Side& side, const std::vector<Ref>& at, Ref k_first, Ref k_count) {
  const Ref panels = panels_of(side);
  const Ref k_length = b_.mul(k_count, w_.integer("k rest", 0, k_rest_));
  const std::vector<int32_t> invariants = invariants_below(kernel_, side.expr);
  // Vectors of the panel: whole ones if they fit, else the largest power of two that divides it.
  const int width = side.panel % lanes_ == 0 ? lanes_ : int(side.panel & -side.panel);
  // Walks k, the part of the first inner axis and the other inner axes in full, and stores one
  // vector for each.
  const auto walk = [&](auto& self, Scope& scope, Ref base, size_t depth, Ref k) -> void {
    if (depth == g_.inner.size()) {
      Scope element = scope;
      Ref value = b_.splat(w_.evaluate(element, side.expr), width);
      if (scope.mask) value = b_.select(scope.mask, value, b_.constant_bits(dtype_, 0, width));
      b_.store(side.packed, b_.add(base, b_.mul(k, b_.index(side.panel))), value);
      return;
    }
    const int64_t axis = g_.inner[depth];
    const Ref lower = depth == 0 ? k_first : b_.index(0);
    const Ref upper = depth == 0 ? b_.add(k_first, k_count) : w_.extent(axis);
    b_.for_loop(lower, upper, 1, [&](Ref index) {
      scope.index[size_t(axis)] = index;
      const Ref next = depth == 0 ? b_.sub(index, k_first) : b_.add(b_.mul(k, upper), index);
      self(self, scope, base, depth + 1, next);
    });
  };
  const auto panel = [&](Ref p, bool whole) {
    for (int64_t v = 0; v < side.panel; v += width) {
      Scope scope{at, width, {}, std::vector<Ref>(kernel_.exprs.size())};
      const Ref i = b_.add(b_.mul(p, b_.index(side.panel)), b_.index(v));
      if (!whole) scope.mask = b_.lt(b_.ramp(i, width), side.count);
      set_index(scope, side, i);
      for (int32_t e : invariants) w_.evaluate(scope, e);
      const Ref start = b_.mul(b_.mul(p, k_length), b_.index(side.panel));
      walk(walk, scope, b_.add(start, b_.index(v)), 0, b_.index(0));
    }
  };
  // Masks cost nothing where the target has masked memory and positions are never out of range
  // anyway; elsewhere whole panels have code of their own.
  if (target_.masked_memory || side.table >= 0)
    return b_.for_loop(b_.index(0), panels, 1, [&](Ref p) { panel(p, false); });
  const Ref whole = b_.div(side.count, b_.index(side.panel));
  b_.for_loop(b_.index(0), whole, 1, [&](Ref p) { panel(p, true); });
  b_.for_loop(whole, panels, 1, [&](Ref p) { panel(p, false); });
}

// tile += packed rows x packed columns, over k_length.
void ContractLowering::multiply(Ref k_length) {
  const int64_t m = rows_.panel, vectors = columns_.panel / lanes_;
  const Ref width = w_.integer("column tile", 0, columns_.tile);
  b_.for_loop(b_.index(0), panels_of(columns_), 1, [&](Ref q) {
    b_.for_loop(b_.index(0), panels_of(rows_), 1, [&](Ref p) {
      const Ref left = b_.mul(b_.mul(p, k_length), b_.index(m));
      const Ref right = b_.mul(b_.mul(q, k_length), b_.index(columns_.panel));
      const std::vector<Ref> zeros(size_t(m * vectors), b_.constant_bits(dtype_, 0, lanes_));
      const auto sums =
          b_.for_loop(b_.index(0), k_length, 1, zeros, [&](Ref k, std::span<const Ref> carried) {
            std::vector<Ref> next(carried.begin(), carried.end()), y;
            const Ref from = b_.add(right, b_.mul(k, b_.index(columns_.panel)));
            for (int64_t v = 0; v < vectors; ++v)
              y.push_back(b_.load(columns_.packed, b_.add(from, b_.index(v * lanes_)), lanes_));
            const Ref row = b_.add(left, b_.mul(k, b_.index(m)));
            for (int64_t i = 0; i < m; ++i) {
              const Ref x = b_.splat(b_.load(rows_.packed, b_.add(row, b_.index(i))), lanes_);
              for (int64_t v = 0; v < vectors; ++v) {
                Ref& sum = next[size_t(i * vectors + v)];
                sum = multiply_add(b_, x, y[size_t(v)], sum);
              }
            }
            return next;
          });
      const Ref corner =
          b_.add(b_.mul(b_.mul(p, b_.index(m)), width), b_.mul(q, b_.index(columns_.panel)));
      for (int64_t i = 0; i < m; ++i)
        for (int64_t v = 0; v < vectors; ++v) {
          const Ref place =
              b_.add(b_.add(corner, b_.mul(b_.index(i), width)), b_.index(v * lanes_));
          b_.store(tile_, place,
                   b_.add(b_.load(tile_, place, lanes_), sums[size_t(i * vectors + v)]));
        }
    });
  });
}

// The kernel's row expressions and stores, over the finished tile.
void ContractLowering::epilogue(const std::vector<Ref>& at) {
  const Ref width = w_.integer("column tile", 0, columns_.tile);
  b_.for_loop(b_.index(0), rows_.count, 1, [&](Ref i) {
    Scope row{at, 1, {}, std::vector<Ref>(kernel_.exprs.size())};
    set_index(row, rows_, i);
    const auto columns = [&](Ref lower, Ref upper, int lanes, bool masked) {
      b_.for_loop(lower, upper, lanes, [&](Ref j) {
        Scope scope = row;
        scope.lanes = lanes;
        if (masked) scope.mask = b_.lt(b_.ramp(j, lanes), columns_.count);
        set_index(scope, columns_, j);
        const Ref sum = b_.load(tile_, b_.add(b_.mul(i, width), j), lanes);
        scope.values[size_t(g_.contract)] = w_.round(sum, contract_.dtype);
        for (const KernelStore& store : kernel_.stores) w_.store(scope, store);
      });
    };
    if (target_.masked_memory) return columns(b_.index(0), columns_.count, lanes_, true);
    const Ref whole = b_.mul(b_.div(columns_.count, b_.index(lanes_)), b_.index(lanes_));
    columns(b_.index(0), whole, lanes_, false);
    if (lanes_ > 1) columns(whole, columns_.count, 1, false);
  });
}

}  // namespace

bool worth_blocking(const Kernel& kernel) {
  const ContractGroups g = contract_groups(kernel);
  const int64_t rows = extent_along(kernel, g.rows), columns = extent_along(kernel, g.columns);
  return rows >= 4 && columns >= 4 && numel(kernel.inner) >= 4;
}

LoweredKernel lower_contract(const Kernel& kernel, const KernelProgram& program,
                             const Target& target) {
  LoweredKernel out;
  out.function.name = kernel.name;
  FunctionFrame frame(out, target);
  write_contract(kernel, program, target, frame);
  return out;
}

void write_contract(const Kernel& kernel, const KernelProgram& program, const Target& target,
                    FunctionFrame& frame) {
  ContractLowering(kernel, program, target, frame).run();
}

ContractGrid contract_grid(const Kernel& kernel, const KernelProgram& program,
                           const Target& target) {
  LoweredKernel nothing;
  FunctionFrame frame(nothing, target);
  return ContractLowering(kernel, program, target, frame).grid();
}

}  // namespace cermet::compiler
