#include "compiler/contract_plan.h"

#include <algorithm>

#include "compiler/lower_scope.h"
#include "compiler/operand_reads.h"

namespace cermet::compiler {
namespace {

constexpr double least_used = 0.75;  // of the lanes of a line
// A block of k: a panel of rows and the results of a register tile share the L1 cache.
constexpr int64_t most_block = 512;
// Columns are packed if at least so many rows use them: the panels of columns of a block are often
// too far apart to share a cache, and vectors may lie across cache lines.
constexpr int64_t many_rows = 256;
// Columns that make it worth to pack rows which do not lie along k.
constexpr int64_t few_columns = 64;
// Rows of a tile: as many as repay packing the columns, but of matrices that are not large, fewer,
// so that there are several tiles.
constexpr int64_t most_rows = 512, small_matrix = 512, most_rows_of_small = 256,
                  most_rows_of_batch = 96;
// Columns of a tile, in bytes of one line of k: a block of them takes half of an L2 cache.
constexpr int64_t most_column_bytes = 1024;
// Tiles get narrower where there would be few units to share out, but not below this much work,
// counted in vectors of products, nor below so many panels.
constexpr int64_t wanted_units = 16, least_work = 1 << 19, least_panels = 4;

int64_t round_up(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }
int64_t divide_up(int64_t x, int64_t y) { return (x + y - 1) / y; }

class Planner {
 public:
  Planner(const Kernel& kernel, const KernelProgram& program, const Target& target)
      : kernel_(kernel), program_(program), target_(target) {}
  ContractPlan run();

 private:
  void panels();
  const ir::StridedMap* plain_load(int32_t expr) const;
  bool flat_along_k(const ir::StridedMap& map) const;
  OperandSource rows_source() const;
  OperandSource columns_source() const;
  bool stores_sums() const;
  void tiles();

  const Kernel& kernel_;
  const KernelProgram& program_;
  const Target& target_;
  ContractPlan p_;
};

// With n vector registers, rows x (columns / lanes) sums, the column vectors and one broadcast must
// fit; 8 x 2 vectors saturate two FMA pipes with AVX-512, 6 x 2 is the classic for 16 registers.
void Planner::panels() {
  p_.lanes = std::max<int>(1, target_.vector_bytes / int(size_of(p_.dtype)));
  p_.rows.axes = p_.groups.rows, p_.rows.expr = p_.groups.left;
  p_.columns.axes = p_.groups.columns, p_.columns.expr = p_.groups.right;
  for (ContractSide* side : {&p_.rows, &p_.columns})
    side->extent = extent_along(kernel_, side->axes);
  p_.rows.panel = target_.vector_bytes == 64 ? 8 : target_.vector_bytes == 32 ? 6 : 4;
  p_.columns.panel = p_.columns.extent <= p_.lanes ? p_.lanes : 2 * p_.lanes;
  if (p_.columns.axes.size() > 1 && target_.masked_memory) {
    const int64_t last = kernel_.outer[size_t(p_.columns.axes.back())];
    p_.columns.line = round_up(last, p_.lanes);
    p_.columns.lines = double(last) >= least_used * double(p_.columns.line);
    if (p_.columns.lines) p_.columns.extent = p_.columns.extent / last * p_.columns.line;
  }
}

// The map of an operand that is nothing but a load of elements that are all there; else null.
const ir::StridedMap* Planner::plain_load(int32_t expr) const {
  const Expr& e = kernel_.exprs[size_t(expr)];
  if (e.kind != Expr::Kind::Load || !e.inner || !e.map->single() || e.map->masked()) return nullptr;
  return &e.map->levels()[0];
}

bool Planner::flat_along_k(const ir::StridedMap& map) const {
  const std::vector<int64_t>& inner = p_.groups.inner;
  for (size_t i = 0; i + 1 < inner.size(); ++i) {
    const auto d = size_t(inner[i]), next = size_t(inner[i + 1]);
    if (map.strides[d] != map.strides[next] * map.shape[next]) return false;
  }
  return true;
}

OperandSource Planner::rows_source() const {
  const Expr& e = kernel_.exprs[size_t(p_.rows.expr)];
  const ir::StridedMap* map = plain_load(p_.rows.expr);
  // Matrices that lie along the rows, a line for each k, are copied line by line.
  const bool turned = map && target_.masked_memory && p_.groups.inner.size() == 1 &&
                      p_.rows.axes.size() == 1 && map->strides[size_t(p_.rows.axes[0])] == 1 &&
                      p_.columns.extent > few_columns;
  if (map && e.dtype == p_.dtype && !turned) return OperandSource::Direct;
  if (p_.groups.inner.size() != 1) return OperandSource::Panels;
  const Expr* load = main_load(kernel_, program_, p_.rows.expr);
  const bool along_k = load && load->map->levels()[0].strides[size_t(p_.groups.inner[0])] == 1;
  return along_k ? OperandSource::Lines : OperandSource::Panels;
}

OperandSource Planner::columns_source() const {
  const ir::StridedMap* map = plain_load(p_.columns.expr);
  const Expr& e = kernel_.exprs[size_t(p_.columns.expr)];
  const bool vectors = p_.columns.axes.size() == 1 || p_.columns.lines;
  const bool reused = p_.columns.axes.size() == 1 && p_.rows.extent >= many_rows &&
                      extent_along(kernel_, p_.groups.batch) == 1;
  if (map && e.dtype == p_.dtype && target_.masked_memory && vectors && !reused &&
      map->strides[size_t(p_.columns.axes.back())] == 1 &&
      (p_.rows.extent < many_rows || aligned_along(*map, size_t(p_.columns.axes.back()), p_.lanes)))
    return OperandSource::Direct;
  const Expr* load = main_load(kernel_, program_, p_.columns.expr);
  if (!load || p_.lanes == 1 || p_.groups.inner.empty()) return OperandSource::Panels;
  // Columns of several axes are the windows of a convolution, in the gradient of its weights.
  const Strides& strides = load->map->levels()[0].strides;
  const bool across =
      p_.columns.lines || (p_.columns.axes.size() == 1 && strides[size_t(p_.columns.axes[0])] == 1);
  const int64_t line = kernel_.inner.back();
  const bool short_lines =
      p_.groups.inner.size() > 1 && double(line) < least_used * double(round_up(line, p_.lanes));
  const bool along_k = strides[size_t(p_.groups.inner.back())] == 1;
  return along_k && !across && !short_lines ? OperandSource::Turned : OperandSource::Panels;
}

bool Planner::stores_sums() const {
  if (kernel_.stores.size() != 1) return false;
  const KernelStore& store = kernel_.stores[0];
  const bool vectors = p_.columns.axes.size() == 1 || p_.columns.lines;
  return target_.masked_memory && vectors && store.value == p_.groups.contract && store.index < 0 &&
         program_.buffers[size_t(store.buffer)].dtype == p_.dtype &&
         store.map.strides[size_t(p_.columns.axes.back())] == 1;
}

// A function of the shape, never of the threads. The rows of a tile depend on nothing but the
// number of rows, so that contractions which follow each other can be done tile by tile
// (chain_kernels.h).
void Planner::tiles() {
  const int64_t k = numel(kernel_.inner), batches = extent_along(kernel_, p_.groups.batch);
  const auto cut = [](ContractSide& side, int64_t most) {
    const int64_t parts = divide_up(side.extent, most);
    side.tile = round_up(divide_up(side.extent, parts), side.panel);
    return divide_up(side.extent, side.tile);
  };
  const int64_t row_tiles = cut(p_.rows, batches > 1                      ? most_rows_of_batch
                                         : p_.rows.extent <= small_matrix ? most_rows_of_small
                                                                          : most_rows);
  for (int64_t limit = most_column_bytes / int64_t(size_of(p_.dtype));;
       limit = p_.columns.tile / 2) {
    const int64_t column_tiles = cut(p_.columns, limit);
    const int64_t work = p_.rows.tile * p_.columns.tile * k / p_.lanes;
    if (batches * row_tiles * column_tiles >= wanted_units || work < 2 * least_work ||
        p_.columns.tile < 2 * least_panels * p_.columns.panel)
      return;
  }
}

ContractPlan Planner::run() {
  p_.groups = contract_groups(kernel_);
  const Expr& contract = kernel_.exprs[size_t(p_.groups.contract)];
  p_.dtype = held(kernel_.exprs[size_t(contract.operands[0])].dtype);
  panels();
  p_.rows.source = rows_source(), p_.columns.source = columns_source();
  for (ContractSide* side : {&p_.rows, &p_.columns})
    if (side->source == OperandSource::Direct) side->flat = flat_along_k(*plain_load(side->expr));
  p_.plain = stores_sums();
  for (size_t d = 1; d < kernel_.inner.size(); ++d) p_.k_rest *= kernel_.inner[d];
  const int64_t first = std::max<int64_t>(1, kernel_.inner.empty() ? 1 : kernel_.inner[0]);
  const int64_t most = std::max<int64_t>(1, most_block / std::max<int64_t>(p_.k_rest, 1));
  p_.k_blocks = divide_up(first, most);
  p_.k_block = divide_up(first, p_.k_blocks);
  p_.k_blocks = divide_up(first, p_.k_block);
  tiles();
  return p_;
}

}  // namespace

ContractPlan plan_contract(const Kernel& kernel, const KernelProgram& program,
                           const Target& target) {
  return Planner(kernel, program, target).run();
}

}  // namespace cermet::compiler
