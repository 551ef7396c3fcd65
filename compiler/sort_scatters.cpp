// One thread for each row walks the updates in order, which is what a scatter means; a row of a
// million updates would keep one thread busy for a second. Sorted by destination, the updates of
// one element follow each other, in their order, and destinations are independent.
//
// Rows often share their indices: of the gradient of a table of vectors, all columns do. They are
// sorted once.

#include "compiler/sort_scatters.h"

#include <fmt/format.h>

#include <algorithm>

#include "compiler/row_stages.h"

namespace cermet::compiler {
namespace {

using Kind = Expr::Kind;

constexpr int64_t least_updates = 128;    // of a row
constexpr int64_t enough_rows = 1 << 15;  // that walk their updates side by side

bool worth_sorting(const Kernel& k) {
  if (k.kind != Kernel::Kind::Fused || k.stores.size() != 1 || k.inner.size() != 1) return false;
  const KernelStore& s = k.stores[0];
  if (s.index < 0 || !k.exprs[size_t(s.index)].inner || !k.exprs[size_t(s.value)].inner)
    return false;
  for (const Expr& e : k.exprs)
    if (accumulates(e)) return false;
  const int64_t rows = numel(k.outer);
  return k.inner[0] >= least_updates && rows > 0 && rows < enough_rows;
}

// By expression: whether the index needs it.
std::vector<bool> below_index(const Kernel& k) {
  std::vector<bool> out(k.exprs.size(), false);
  out[size_t(k.stores[0].index)] = true;
  for (size_t i = out.size(); i-- > 0;)
    if (out[i])
      for (int32_t operand : k.exprs[i].operands) out[size_t(operand)] = true;
  return out;
}

// The outer axes along which the index varies.
std::vector<int64_t> index_axes(const Kernel& k, const std::vector<bool>& needed) {
  std::vector<int64_t> out;
  for (size_t d = 0; d < k.outer.size(); ++d) {
    bool varies = false;
    for (size_t i = 0; i < k.exprs.size(); ++i) {
      if (!needed[i] || !k.exprs[i].map) continue;
      const ir::StridedMap& m = k.exprs[i].map->levels()[0];
      varies |= m.strides[d] != 0 || m.begin[d] != 0 || m.end[d] != m.shape[d];
    }
    if (varies) out.push_back(int64_t(d));
  }
  return out;
}

class Sorter {
 public:
  Sorter(KernelProgram& program, Kernel& scatter)
      : program_(program),
        scatter_(scatter),
        needed_(below_index(scatter)),
        axes_(index_axes(scatter, needed_)) {
    for (int64_t axis : axes_) sorted_.push_back(scatter.outer[size_t(axis)]);
    sorted_.push_back(scatter.inner[0]);
  }

  // The kernels that come before the scatter.
  std::vector<Kernel> run() {
    std::vector<Kernel> out;
    const Expr& index = scatter_.exprs[size_t(scatter_.stores[0].index)];
    int32_t indices = index.buffer;
    if (index.kind != Kind::Load || !index.map->single() ||
        program_.buffers[size_t(indices)].elements != numel(sorted_) ||
        index.map->levels()[0] != in_scatter()) {
      indices = temporary();
      out.push_back(write_indices(indices));
    }
    Kernel sort;
    sort.kind = Kernel::Kind::Sort;
    sort.name = scatter_.name + "_sort";
    sort.outer = {numel(sorted_) / sorted_.back()}, sort.inner = {sorted_.back()};
    sort.sort_input = indices;
    const int32_t order = temporary();
    const Shape space = {sort.outer[0], sort.inner[0]};
    sort.stores.push_back({.value = -1, .buffer = order, .map = ir::StridedMap::contiguous(space)});
    out.push_back(std::move(sort));
    Expr load;
    load.kind = Kind::Load, load.dtype = DType::I64, load.inner = true;
    load.buffer = order, load.map = ir::ViewMap(in_scatter());
    scatter_.stores[0].order = int32_t(scatter_.exprs.size());
    scatter_.exprs.push_back(std::move(load));
    return out;
  }

 private:
  int32_t temporary() {
    program_.buffers.push_back({KernelBuffer::Kind::Temporary, 0, DType::I64, numel(sorted_)});
    return int32_t(program_.buffers.size()) - 1;
  }
  // Row-major over the sorted axes, in the space of the scatter.
  ir::StridedMap in_scatter() const {
    Shape space = scatter_.outer;
    space.push_back(scatter_.inner[0]);
    ir::StridedMap map = ir::StridedMap::contiguous(space);
    const Strides strides = row_major_strides(sorted_);
    std::ranges::fill(map.strides, 0);
    for (size_t a = 0; a < axes_.size(); ++a) map.strides[size_t(axes_[a])] = strides[a];
    map.strides.back() = 1;
    return map;
  }
  // A map over the scatter's space, or its rows, as one over the sorted axes.
  ir::ViewMap over_sorted(const ir::ViewMap& map) const {
    SmallVector<ir::StridedMap, 1> levels = map.levels();
    const ir::StridedMap old = levels[0];
    ir::StridedMap& m = levels[0];
    m = ir::StridedMap::contiguous(sorted_);
    m.offset = old.offset;
    for (size_t a = 0; a < sorted_.size(); ++a) {
      const size_t d = a < axes_.size() ? size_t(axes_[a]) : scatter_.outer.size();
      const bool has = d < old.shape.size();
      m.strides[a] = has ? old.strides[d] : 0;
      if (has) m.begin[a] = old.begin[d], m.end[a] = old.end[d];
    }
    return ir::ViewMap(std::move(levels));
  }
  Kernel write_indices(int32_t to) const {
    Kernel out;
    out.name = scatter_.name + "_index";
    out.outer = sorted_;
    std::vector<int32_t> number(scatter_.exprs.size(), -1);
    for (size_t i = 0; i < scatter_.exprs.size(); ++i) {
      if (!needed_[i]) continue;
      number[i] = int32_t(out.exprs.size());
      Expr e = scatter_.exprs[i];
      e.inner = false;
      if (e.map) e.map = over_sorted(*e.map);
      for (int32_t& operand : e.operands) operand = number[size_t(operand)];
      out.exprs.push_back(std::move(e));
    }
    out.stores.push_back({.value = number[size_t(scatter_.stores[0].index)],
                          .buffer = to,
                          .map = ir::StridedMap::contiguous(sorted_)});
    return out;
  }

  KernelProgram& program_;
  Kernel& scatter_;
  const std::vector<bool> needed_;
  const std::vector<int64_t> axes_;
  Shape sorted_;  // the axes that the index varies along, the updates last
};

}  // namespace

void sort_scatters(KernelProgram& program) {
  if (std::ranges::none_of(program.kernels, worth_sorting)) return;
  std::vector<Kernel> kernels;
  for (Kernel& k : program.kernels) {
    if (worth_sorting(k))
      for (Kernel& before : Sorter(program, k).run()) kernels.push_back(std::move(before));
    kernels.push_back(std::move(k));
  }
  program.kernels = std::move(kernels);
}

}  // namespace cermet::compiler
