#include "compiler/short_axes.h"

#include <algorithm>
#include <unordered_set>

#include "compiler/chunks.h"
#include "compiler/fuse_maps.h"
#include "compiler/row_stages.h"
#include "ir/build.h"

namespace cermet::compiler {
namespace {

using ir::Op;
using ir::Value;
using ir::ViewMap;
using Kind = Expr::Kind;

// Computed wherever it is needed.
bool passes_on(const ir::Node& node) { return ir::is_pointwise(node.op) || node.op == Op::View; }

class ReductionExpander {
 public:
  // Users come before their operands: which values nothing but reductions need.
  explicit ReductionExpander(const ir::Graph& graph) {
    const std::vector<const ir::Node*> order = ir::topological_order(graph.results);
    for (const Value& result : graph.results) stored_.insert(result.get());
    for (size_t n = order.size(); n-- > 0;) {
      const ir::Node& node = *order[n];
      const bool passes = passes_on(node) || (node.op == Op::Reduce && is_short(terms(node)));
      if (passes ? !stored_.contains(&node) : node.op == Op::Reduce) continue;
      for (const Value& operand : node.operands) stored_.insert(operand.get());
    }
  }

  Value operator()(const ir::Node& node, std::span<const Value> operands) const {
    if (node.op != Op::Reduce || !is_short(terms(node))) return {};
    if (node.dtype != DType::F32 && node.dtype != DType::F64) return {};
    if (stored_.contains(&node) || !is_of_smaller(node)) return {};
    Shape shape = node.shape;
    shape.push_back(terms(node));
    const ViewMap all = operand_map(node, 0).reshape(shape);
    const ir::Combine combine = node.as<ir::ReduceAttr>().combine;
    Value out;
    for (int64_t i = 0; i < shape.back(); ++i) {
      const ViewMap one = all.slice(int64_t(shape.size()) - 1, i, 1, 1).reshape(node.shape);
      const Value term = ir::view(operands[0], one);
      out = out ? combined(combine, out, term) : term;
    }
    return out;
  }

 private:
  static int64_t terms(const ir::Node& node) { return numel(inner_extents(node)); }

  // Whether what the reduction's operand is computed from is much smaller than its result.
  static bool is_of_smaller(const ir::Node& reduction) {
    constexpr size_t most = 16;
    constexpr int64_t times = 8;
    std::vector<const ir::Node*> pending{reduction.operands[0].get()};
    for (size_t n = 0; n < pending.size(); ++n) {
      const ir::Node& node = *pending[n];
      if (!passes_on(node) && node.op != Op::Constant && times * node.numel() > reduction.numel())
        return false;
      if (!passes_on(node)) continue;
      for (const Value& operand : node.operands) pending.push_back(operand.get());
      if (pending.size() > most) return false;
    }
    return true;
  }

  std::unordered_set<const ir::Node*> stored_;  // needed by more than reductions
};

// Rows along one outer axis side by side.
class RowJoiner {
 public:
  RowJoiner(const Kernel& kernel, size_t axis) : kernel_(kernel), axis_(axis) {
    for (const Expr& e : kernel.exprs) {
      bool varies = e.map && e.map->levels()[0].strides[axis] != 0;
      for (int32_t operand : e.operands) varies = varies || varies_[size_t(operand)];
      varies_.push_back(varies);
    }
  }

  bool pays() const {
    constexpr int enough_cycles = 5;
    constexpr size_t most_exprs = 128;
    const int64_t extent = kernel_.outer[axis_];
    if (!is_short(extent) || numel(kernel_.outer) / extent < rows_beside) return false;
    int shared = 0;
    size_t apart = 0;
    for (size_t i = 0; i < kernel_.exprs.size(); ++i) {
      const Expr& e = kernel_.exprs[i];
      if (e.kind == Kind::ArgReduce || e.kind == Kind::Scan || e.kind == Kind::Contract ||
          e.kind == Kind::Gather || (e.map && !is_plain(*e.map)))
        return false;
      if (varies_[i])
        ++apart;
      else if (e.inner)
        shared += cycles_of(e);
    }
    for (const KernelStore& s : kernel_.stores)
      if (s.index >= 0) return false;
    return shared > enough_cycles && apart * size_t(extent) <= most_exprs;
  }

  Kernel run() const {
    Kernel out{.kind = kernel_.kind,
               .name = kernel_.name,
               .outer = kernel_.outer,
               .inner = kernel_.inner,
               .exprs = {},
               .stores = {}};
    out.outer.erase(out.outer.begin() + int64_t(axis_));
    std::vector<std::vector<int32_t>> place;  // by row, then by expression
    for (int64_t row = 0; row < kernel_.outer[axis_]; ++row) {
      std::vector<int32_t>& here = place.emplace_back();
      for (size_t i = 0; i < kernel_.exprs.size(); ++i) {
        if (row > 0 && !varies_[i]) {
          here.push_back(place[0][i]);
          continue;
        }
        Expr e = kernel_.exprs[i];
        for (int32_t& operand : e.operands) operand = here[size_t(operand)];
        if (e.map) e.map = at_row(*e.map, row);
        here.push_back(shared(out.exprs, std::move(e)));
      }
      for (const KernelStore& s : kernel_.stores) {
        KernelStore one = s;
        one.value = here[size_t(s.value)];
        one.map = at_row(ViewMap(s.map), row).levels()[0];
        out.stores.push_back(std::move(one));
      }
    }
    return out;
  }

 private:
  static bool is_plain(const ViewMap& map) { return map.single() && !map.masked(); }

  // The expression's place: an equal one's, or the end. Terms of expanded reductions are rows.
  static int32_t shared(std::vector<Expr>& exprs, Expr e) {
    const auto same = [&](const Expr& x) {
      return x.kind == e.kind && x.dtype == e.dtype && x.inner == e.inner && x.op == e.op &&
             x.combine == e.combine && x.operands == e.operands && x.buffer == e.buffer &&
             x.bits == e.bits && x.map == e.map;
    };
    const auto at = std::find_if(exprs.begin(), exprs.end(), same);
    const auto place = int32_t(at - exprs.begin());
    if (at == exprs.end()) exprs.push_back(std::move(e));
    return place;
  }

  ViewMap at_row(const ViewMap& map, int64_t row) const {
    ir::StridedMap m = map.levels()[0];
    m.offset += row * m.strides[axis_];
    for (Dims* dims : {&m.shape, &m.strides, &m.begin, &m.end})
      dims->erase(dims->begin() + int64_t(axis_));
    return ViewMap(std::move(m));
  }

  const Kernel& kernel_;
  size_t axis_;
  std::vector<bool> varies_;  // by expression: along the axis
};

}  // namespace

ir::Graph expand_short_reductions(const ir::Graph& graph) {
  const ReductionExpander expand(graph);
  return ir::rewrite(graph, [&](const ir::Node& node, std::span<const Value> operands) {
    return expand(node, operands);
  });
}

Kernel join_short_rows(Kernel kernel) {
  if (kernel.kind != Kernel::Kind::Fused || kernel.inner.empty()) return kernel;
  for (size_t axis = 0; axis < kernel.outer.size(); ++axis) {
    const RowJoiner joiner(kernel, axis);
    if (joiner.pays()) return joiner.run();
  }
  return kernel;
}

}  // namespace cermet::compiler
