// A contraction C[m,n] = sum_k A[m,k] * B[k,n] in blocks, after Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication" (2008). How it is cut, and which operand is packed, is
// decided by contract_plan.h.
//
// A unit of the parallel range is a tile of rows x columns of one batch element:
//
//   for each block of k:
//     pack the operands that are not read where they lie, with their prologues, into scratch memory
//     for each panel of columns, for each panel of rows:
//       a register tile: sums over the block of k
//       added to the result itself if it is nothing but these sums, else to a tile in scratch
//       after the last block: the row expressions of the kernel, lane by lane along the columns,
//       while the register tile's numbers are in the L1 cache

#include "compiler/lower_contract.h"

#include <fmt/format.h>

#include <algorithm>

#include "compiler/contract_plan.h"
#include "compiler/elementwise.h"
#include "compiler/lower_pack.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

using loops::Ref;

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
        p_(plan_contract(kernel, program, target)),
        operands_(kernel, target, p_, w_),
        contract_(kernel.exprs[size_t(p_.groups.contract)]) {}
  void run();

 private:
  using Side = OperandTile;
  using Block = InnerBlock;
  using At = OperandPacker::Position;

  void plan_scratch();
  void emit_unit(Ref unit);
  void block(const At& at, const Block& block);
  void register_tile(const At& at, const Block& block, Ref q, Ref p);
  std::vector<Scope> row_scopes(const At& at, Ref p, std::vector<Ref>& numbers);
  std::vector<Scope> column_scopes(const At& at, Ref q);
  std::vector<Ref> sums(const Block& block, Ref q, Ref p, const std::vector<Scope>& rows,
                        const std::vector<Ref>& row_numbers, const std::vector<Scope>& columns);
  std::vector<Scope> store_places(const std::vector<Scope>& rows,
                                  const std::vector<Scope>& columns);
  void store_sums(const Block& block, std::vector<Scope>& places, std::vector<Ref> sums);
  void keep_sums(const Block& block, Ref corner, std::span<const Ref> sums);
  void prefetch_epilogue(const At& at, Ref q, Ref p);
  void epilogue(const At& at, Ref q, Ref p, Ref corner);

  const Kernel& kernel_;
  const Target& target_;
  LoweredKernel& out_;
  KernelWriter w_;
  loops::Builder& b_;
  const ContractPlan p_;
  OperandPacker operands_;
  const Expr& contract_;
  Side rows_{p_.rows, "row"}, columns_{p_.columns, "column"};
  int32_t tile_ = -1;  // scratch: [rows][columns] of a tile; of one block: of a register tile
  Ref width_;          // from one row of it to the next
};

void ContractLowering::plan_scratch() {
  int64_t offset = 0;
  const auto take = [&](DType dtype, int64_t elements, int64_t which) {
    const int32_t buffer = w_.scratch_buffer(dtype, w_.integer("scratch", which, offset));
    offset += round_up(elements * int64_t(size_of(dtype)), 64);
    return buffer;
  };
  int64_t which = 0;
  for (Side* side : {&rows_, &columns_}) {
    side->size = operands_.integer(*side, "size", side->plan.extent);
    // Not a power of two: rows would lie in the same few sets of the cache.
    side->line_step = round_up(p_.k_block * p_.k_rest, p_.lanes) + p_.lanes;
    if (side->plan.source != OperandSource::Direct)
      side->packed = take(p_.dtype, operands_.packed_elements(*side), which++);
    if (side->plan.axes.size() > 1)
      side->table = take(DType::I64, side->plan.tile * int64_t(side->plan.axes.size()), which++);
  }
  if (!p_.plain) {
    const bool whole = p_.k_blocks > 1;
    const int64_t width = whole ? p_.columns.tile : p_.columns.panel;
    tile_ = take(p_.dtype, (whole ? p_.rows.tile : p_.rows.panel) * width, which);
    width_ = whole ? operands_.tile_of(columns_) : b_.index(width);
  }
  out_.scratch_bytes = offset;
}

void ContractLowering::run() {
  w_.allow_overwrites();
  plan_scratch();
  const auto tiles = [](const ContractSide& side) {
    return (side.extent + side.tile - 1) / side.tile;
  };
  out_.range = extent_along(kernel_, p_.groups.batch) * tiles(p_.rows) * tiles(p_.columns);
  const double cycles = double(p_.rows.tile) * double(p_.columns.tile) *
                        double(numel(kernel_.inner)) / double(p_.lanes);
  out_.grain = std::max<int64_t>(1, int64_t(90000.0 / (cycles + 100)));
  b_.for_loop(w_.begin(), w_.end(), 1, [&](Ref unit) { emit_unit(unit); });
}

void ContractLowering::emit_unit(Ref unit) {
  // unit = (batch * row_tiles + row_tile) * column_tiles + column_tile
  Ref rest = unit;
  for (Side* side : {&columns_, &rows_}) {
    const int64_t count = (side->plan.extent + side->plan.tile - 1) / side->plan.tile;
    const Ref tile = operands_.tile_of(*side), tiles = w_.counted("tiles", side == &rows_, count);
    side->first = b_.mul(b_.rem(rest, tiles), tile);
    side->count = b_.min_index(tile, b_.sub(side->size, side->first));
    rest = b_.div(rest, tiles);
  }
  At at(size_t(w_.rank()), b_.index(0));
  const std::vector<int64_t>& batch = p_.groups.batch;
  for (size_t i = batch.size(); i-- > 0;) {
    const size_t d = size_t(batch[i]);
    at[d] = i == 0 ? rest : b_.rem(rest, w_.extent(int64_t(d)));
    if (i > 0) rest = b_.div(rest, w_.extent(int64_t(d)));
  }
  operands_.fill_table(rows_);
  operands_.fill_table(columns_);

  const Ref k_rest = w_.integer("k rest", 0, p_.k_rest);
  const Ref k_extent = p_.groups.inner.empty() ? b_.index(1) : w_.extent(p_.groups.inner[0]);
  if (p_.k_blocks == 1) return block(at, {b_.index(0), k_extent, b_.mul(k_extent, k_rest), {}, {}});
  const Ref step = w_.integer("k block", 0, p_.k_block);
  const Ref blocks = w_.integer("k blocks", 0, p_.k_blocks);
  b_.for_loop(b_.index(0), blocks, 1, [&](Ref k) {
    const Ref first = b_.mul(k, step);
    const Ref count = b_.min_index(step, b_.sub(k_extent, first));
    block(at, {first, count, b_.mul(count, k_rest), b_.eq(k, b_.index(0)),
               b_.eq(k, b_.sub(blocks, b_.index(1)))});
  });
}

// While columns are packed, they are read again and again by one panel of rows after the other;
// columns that are read where they lie pass by once.
void ContractLowering::block(const At& at, const Block& block) {
  operands_.pack(rows_, at, block);
  operands_.pack(columns_, at, block);
  const bool rows_outside = p_.columns.source != OperandSource::Direct;
  const Ref rows = operands_.panels_of(rows_), columns = operands_.panels_of(columns_);
  b_.for_loop(b_.index(0), rows_outside ? rows : columns, 1, [&](Ref outer) {
    b_.for_loop(b_.index(0), rows_outside ? columns : rows, 1, [&](Ref inner) {
      register_tile(at, block, rows_outside ? inner : outer, rows_outside ? outer : inner);
    });
  });
}

std::vector<Scope> ContractLowering::row_scopes(const At& at, Ref p, std::vector<Ref>& numbers) {
  std::vector<Scope> out;
  const Ref last = b_.sub(rows_.count, b_.index(1));
  for (int64_t i = 0; i < p_.rows.panel; ++i) {
    const Ref number = b_.add(b_.mul(p, b_.index(p_.rows.panel)), b_.index(i));
    numbers.push_back(b_.min_index(number, last));
    out.push_back(operands_.scope_at(at, 1));
    if (p_.rows.source == OperandSource::Direct || p_.plain)
      operands_.set_index(out.back(), rows_, numbers.back());
  }
  return out;
}

std::vector<Scope> ContractLowering::column_scopes(const At& at, Ref q) {
  std::vector<Scope> out;
  for (int64_t v = 0; v < p_.columns.panel; v += p_.lanes) {
    const Ref j = b_.add(b_.mul(q, b_.index(p_.columns.panel)), b_.index(v));
    out.push_back(operands_.scope_at(at, p_.lanes));
    out.back().mask = b_.lt(b_.ramp(j, p_.lanes), columns_.count);
    if (p_.columns.source == OperandSource::Direct || p_.plain)
      operands_.set_index(out.back(), columns_, j);
  }
  return out;
}

void ContractLowering::register_tile(const At& at, const Block& block, Ref q, Ref p) {
  std::vector<Ref> numbers;
  const std::vector<Scope> rows = row_scopes(at, p, numbers), columns = column_scopes(at, q);
  std::vector<Scope> places = p_.plain ? store_places(rows, columns) : std::vector<Scope>();
  if (block.is_first)
    for (Scope& place : places) w_.prefetch(place, kernel_.stores[0]);
  if (!p_.plain) {
    if (block.is_last)
      b_.if_then(block.is_last, [&] { prefetch_epilogue(at, q, p); });
    else
      prefetch_epilogue(at, q, p);
  }
  const std::vector<Ref> results = sums(block, q, p, rows, numbers, columns);
  if (p_.plain) return store_sums(block, places, results);
  Ref corner = b_.index(0);
  if (block.is_first)
    corner = b_.add(b_.mul(b_.mul(p, b_.index(p_.rows.panel)), width_),
                    b_.mul(q, b_.index(p_.columns.panel)));
  keep_sums(block, corner, results);
  if (block.is_last)
    b_.if_then(block.is_last, [&] { epilogue(at, q, p, corner); });
  else
    epilogue(at, q, p, corner);
}

// The sums of a register tile over a block of k, row by row.
std::vector<Ref> ContractLowering::sums(const Block& block, Ref q, Ref p,
                                        const std::vector<Scope>& rows,
                                        const std::vector<Ref>& row_numbers,
                                        const std::vector<Scope>& columns) {
  const std::vector<int64_t>& inner = p_.groups.inner;
  const bool flat = p_.rows.flat && p_.columns.flat;
  const int64_t m = p_.rows.panel, n = p_.columns.panel;
  const auto set_k = [&](Scope& scope, const At& index, Ref k) {
    for (size_t d = 0; d < inner.size(); ++d)
      scope.index[size_t(inner[d])] =
          !flat ? index[d]
          : d + 1 == inner.size()
              ? b_.add(b_.mul(block.first, w_.integer("k rest", 0, p_.k_rest)), k)
              : b_.index(0);
  };
  const auto step = [&](const At& index, Ref k, std::span<const Ref> carried) {
    std::vector<Ref> next(carried.begin(), carried.end()), y;
    for (size_t v = 0; v < columns.size(); ++v) {
      const Ref packed = b_.add(b_.mul(b_.mul(q, block.length), b_.index(n)),
                                b_.add(b_.mul(k, b_.index(n)), b_.index(int64_t(v) * p_.lanes)));
      if (p_.columns.source != OperandSource::Direct) {
        y.push_back(b_.load(columns_.packed, packed, p_.lanes));
        continue;
      }
      Scope scope = columns[v];
      set_k(scope, index, k);
      w_.set_vector_axis(p_.columns.axes.back());
      y.push_back(w_.evaluate(scope, p_.columns.expr));
      if (p_.columns.axes.size() > 1) continue;
      // The same line of the next panel: far enough ahead, and never far from what is there. Its
      // vectors' last numbers: where vectors lie across cache lines, the first ones come with the
      // vectors before them.
      Scope next = columns[v];
      set_k(next, index, k);
      Ref& j = next.index[size_t(p_.columns.axes[0])];
      j = b_.add(j, b_.index(n + p_.lanes - 1));
      w_.prefetch(next, p_.columns.expr);
    }
    for (int64_t i = 0; i < m; ++i) {
      Ref x;
      if (p_.rows.source == OperandSource::Direct) {
        Scope scope = rows[size_t(i)];
        set_k(scope, index, k);
        x = w_.evaluate(scope, p_.rows.expr);
      } else if (p_.rows.source == OperandSource::Lines) {
        const Ref line =
            b_.mul(row_numbers[size_t(i)], operands_.integer(rows_, "line", rows_.line_step));
        x = b_.load(rows_.packed, b_.add(line, k));
      } else {
        const Ref row =
            b_.add(b_.mul(b_.mul(p, block.length), b_.index(m)), b_.mul(k, b_.index(m)));
        x = b_.load(rows_.packed, b_.add(row, b_.index(i)));
      }
      for (size_t v = 0; v < columns.size(); ++v) {
        Ref& sum = next[size_t(i) * columns.size() + v];
        sum = multiply_add(b_, b_.splat(x, p_.lanes), y[v], sum);
      }
    }
    return next;
  };
  const std::vector<Ref> zeros(size_t(m) * columns.size(), b_.constant_bits(p_.dtype, 0, p_.lanes));
  if (flat || inner.empty())
    return b_.for_loop(b_.index(0), block.length, 1, zeros,
                       [&](Ref k, std::span<const Ref> carried) { return step({}, k, carried); });
  At index(inner.size());
  const auto walk = [&](auto& self, size_t depth, Ref k,
                        std::span<const Ref> carried) -> std::vector<Ref> {
    if (depth == inner.size()) return step(index, k, carried);
    const Ref lower = depth == 0 ? block.first : b_.index(0);
    const Ref upper = depth == 0 ? b_.add(block.first, block.count) : w_.extent(inner[depth]);
    return b_.for_loop(lower, upper, 1, carried, [&](Ref i, std::span<const Ref> inside) {
      index[depth] = i;
      const Ref next = depth == 0 ? b_.sub(i, block.first) : b_.add(b_.mul(k, upper), i);
      return self(self, depth + 1, next, inside);
    });
  };
  return walk(walk, 0, b_.index(0), zeros);
}

// The points of a register tile, row by row.
std::vector<Scope> ContractLowering::store_places(const std::vector<Scope>& rows,
                                                  const std::vector<Scope>& columns) {
  std::vector<Scope> places;
  w_.set_vector_axis(p_.columns.axes.back());
  for (const Scope& row : rows)
    for (const Scope& column : columns) {
      places.push_back(column);
      for (int64_t axis : p_.rows.axes) places.back().index[size_t(axis)] = row.index[size_t(axis)];
    }
  return places;
}

// Sums go to the result, or are added to what earlier blocks left there. Rows past the edge have
// the place of the last row, so all is read before anything is written, and the last row after
// them.
void ContractLowering::store_sums(const Block& block, std::vector<Scope>& places,
                                  std::vector<Ref> sums) {
  const KernelStore& store = kernel_.stores[0];
  w_.set_vector_axis(p_.columns.axes.back());
  const Ref zero = b_.constant_bits(p_.dtype, 0, p_.lanes);
  if (block.is_first)
    for (size_t i = 0; i < sums.size(); ++i)
      sums[i] = b_.add(b_.select(block.is_first, zero, w_.stored(places[i], store)), sums[i]);
  for (size_t i = sums.size(); i-- > 0;) {
    places[i].values[size_t(store.value)] = sums[i];
    w_.store(places[i], store);
  }
}

// Sums go to the tile in scratch memory, or are added to what earlier blocks left there.
void ContractLowering::keep_sums(const Block& block, Ref corner, std::span<const Ref> sums) {
  const int64_t vectors = p_.columns.panel / p_.lanes;
  const Ref zero = b_.constant_bits(p_.dtype, 0, p_.lanes);
  for (size_t s = 0; s < sums.size(); ++s) {
    const int64_t i = int64_t(s) / vectors, v = int64_t(s) % vectors;
    const Ref place = b_.add(b_.add(corner, b_.mul(b_.index(i), width_)), b_.index(v * p_.lanes));
    Ref value = sums[s];
    if (block.is_first)
      value = b_.add(b_.select(block.is_first, zero, b_.load(tile_, place, p_.lanes)), value);
    b_.store(tile_, place, value);
  }
}

// What the epilogue will read and write beside the sums: it arrives while they are made.
void ContractLowering::prefetch_epilogue(const At& at, Ref q, Ref p) {
  const auto differs = [&](const Strides& strides, const std::vector<int64_t>& axes) {
    return std::ranges::any_of(axes, [&](int64_t d) { return strides[size_t(d)] != 0; });
  };
  if (columns_.table >= 0 && !p_.columns.lines) return;  // these do not lie side by side
  std::vector<int32_t> loads;
  for (size_t e = 0; e < kernel_.exprs.size(); ++e) {
    const Expr& expr = kernel_.exprs[e];
    if (expr.kind != Expr::Kind::Load || expr.inner || !expr.map->single()) continue;
    const Strides& strides = expr.map->levels()[0].strides;
    if (differs(strides, p_.rows.axes) && differs(strides, p_.columns.axes))
      loads.push_back(int32_t(e));
  }
  const Ref first = b_.mul(p, b_.index(p_.rows.panel));
  const Ref last = b_.sub(rows_.count, b_.index(1));
  b_.for_loop(b_.index(0), b_.index(p_.rows.panel), 1, [&](Ref i) {
    Scope row = operands_.scope_at(at, 1);
    operands_.set_index(row, rows_, b_.min_index(b_.add(first, i), last));
    for (int64_t v = 0; v < p_.columns.panel; v += p_.lanes) {
      Scope scope = row;
      scope.lanes = p_.lanes;
      operands_.set_index(scope, columns_,
                          b_.add(b_.mul(q, b_.index(p_.columns.panel)), b_.index(v)));
      for (int32_t e : loads) w_.prefetch(scope, e);
      for (const KernelStore& store : kernel_.stores)
        if (store.index < 0) w_.prefetch(scope, store);
    }
  });
}

// The kernel's row expressions and stores, over a finished register tile.
void ContractLowering::epilogue(const At& at, Ref q, Ref p, Ref corner) {
  const Ref first_row = b_.mul(p, b_.index(p_.rows.panel));
  const Ref first_column = b_.mul(q, b_.index(p_.columns.panel));
  const Ref height = b_.min_index(b_.index(p_.rows.panel), b_.sub(rows_.count, first_row));
  const Ref width = b_.min_index(b_.index(p_.columns.panel), b_.sub(columns_.count, first_column));
  b_.for_loop(b_.index(0), height, 1, [&](Ref i) {
    Scope row = operands_.scope_at(at, 1);
    operands_.set_index(row, rows_, b_.add(first_row, i));
    const auto columns = [&](Ref lower, Ref upper, int lanes, bool masked) {
      b_.for_loop(lower, upper, lanes, [&](Ref j) {
        Scope scope = row;
        scope.lanes = lanes;
        if (masked) scope.mask = b_.lt(b_.ramp(j, lanes), width);
        operands_.set_index(scope, columns_, b_.add(first_column, j));
        const Ref sum = b_.load(tile_, b_.add(b_.add(corner, b_.mul(i, width_)), j), lanes);
        scope.values[size_t(p_.groups.contract)] = w_.round(sum, contract_.dtype);
        for (const KernelStore& store : kernel_.stores) w_.store(scope, store);
      });
    };
    if (target_.masked_memory) return columns(b_.index(0), width, p_.lanes, true);
    const Ref lanes = b_.index(p_.lanes), whole = b_.mul(b_.div(width, lanes), lanes);
    columns(b_.index(0), whole, p_.lanes, false);
    if (p_.lanes > 1) columns(whole, width, 1, false);
  });
}

// Whether a row program would read both operands in whole vectors: along k, or along the rows.
bool reads_vectors(const Kernel& kernel, const ContractGroups& g) {
  const auto along = [&](int64_t axis) {
    return std::ranges::all_of(kernel.exprs, [&](const Expr& e) {
      if (e.kind != Expr::Kind::Load || !e.inner) return true;
      const int64_t stride = e.map->levels()[0].strides[size_t(axis)];
      return e.map->single() && (stride == 0 || stride == 1);
    });
  };
  return along(g.inner.back()) || along(g.rows.back());
}

}  // namespace

bool worth_blocking(const Kernel& kernel) {
  constexpr int64_t enough_columns = 4;  // of the lanes of a tile
  const ContractGroups g = contract_groups(kernel);
  const int64_t rows = extent_along(kernel, g.rows), columns = extent_along(kernel, g.columns);
  if (rows < 2 || columns < 2 || numel(kernel.inner) < 2) return false;
  return columns >= enough_columns || !g.batch.empty() || !reads_vectors(kernel, g);
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
  const ContractPlan plan = plan_contract(kernel, program, target);
  const ContractSide &rows = plan.rows, &columns = plan.columns;
  return {plan.groups.batch, rows.axes, extent_along(kernel, plan.groups.batch),
          rows.extent,       rows.tile, (columns.extent + columns.tile - 1) / columns.tile};
}

}  // namespace cermet::compiler
