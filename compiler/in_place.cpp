#include "compiler/in_place.h"

#include <algorithm>
#include <map>

#include "compiler/row_stages.h"

namespace cermet::compiler {
namespace {

using Kind = Expr::Kind;

// Scans, indices and scatters are left alone.
bool is_plain(const Kernel& kernel) {
  return kernel.kind == Kernel::Kind::Fused && !scatters(kernel) &&
         std::ranges::none_of(kernel.exprs, [](const Expr& e) {
           return e.kind == Kind::Scan || e.kind == Kind::ArgReduce;
         });
}

// Whether each index of the space reads the element that the store writes.
bool same_place(const ir::ViewMap& load, const ir::StridedMap& store) {
  if (!load.single()) return false;
  const ir::StridedMap& map = load.levels()[0];
  if (map.masked() || map.shape != store.shape || map.offset != store.offset) return false;
  for (size_t d = 0; d < map.shape.size(); ++d)
    if (map.shape[d] > 1 && map.strides[d] != store.strides[d]) return false;
  return true;
}

// Whether vectors of a row program are neighbours in memory. Else they are read and written in
// between each other, and a vector that is read would wait for several that were just stored there:
// that takes longer than other memory.
constexpr int64_t neighbours = 16;
bool in_whole_vectors(const ir::StridedMap& store) {
  for (size_t d = 0; d < store.shape.size(); ++d)
    if (store.strides[d] == 1 && store.shape[d] >= neighbours) return true;
  return false;
}

// When a kernel uses what it reads. Of a map nothing is stored before all is read.
class Reads {
 public:
  explicit Reads(const Kernel& kernel)
      : kernel_(kernel),
        is_map_(kernel.inner.empty() && std::ranges::none_of(kernel.exprs, accumulates)) {
    if (!is_map_) stages_ = row_stages(kernel);
  }

  // Whether the store goes to other memory no faster.
  bool pay_at(size_t store) const {
    return is_map_ || stages_.store_stage[store] < 0 || in_whole_vectors(kernel_.stores[store].map);
  }

  // Whether nothing that is computed from the buffer is needed after the store.
  bool end_with(size_t store, int32_t buffer) const {
    if (is_map_) return true;
    std::vector<bool> made_of(kernel_.exprs.size());  // of its elements, or of its rows
    for (size_t i = 0; i < kernel_.exprs.size(); ++i) {
      const Expr& e = kernel_.exprs[i];
      made_of[i] = e.buffer == buffer;
      if (!accumulates(e))
        for (int32_t operand : e.operands)
          if (made_of[size_t(operand)]) made_of[i] = true;
    }
    const int last = stages_.store_stage[store];
    // What rows store may be stored while their elements are still to be walked.
    if (last < 0 && kernel_.stores.size() > 1) return false;
    for (int stage = 0; stage < stages_.stages; ++stage)
      for (int32_t i : stages_.accumulated[size_t(stage)])
        for (int32_t operand : kernel_.exprs[size_t(i)].operands)
          if (made_of[size_t(operand)] && (last < 0 || stage > last)) return false;
    for (size_t s = 0; s < kernel_.stores.size(); ++s) {
      const int stage = stages_.store_stage[s];
      const bool after = stage < 0 || stage > last || (stage == last && s > store);
      if (s != store && after && made_of[size_t(kernel_.stores[s].value)]) return false;
    }
    return true;
  }

 private:
  const Kernel& kernel_;
  const bool is_map_;
  RowStages stages_;
};

}  // namespace

std::vector<Overwrite> overwrites_of(const Kernel& kernel,
                                     const std::vector<KernelBuffer>& buffers) {
  std::vector<Overwrite> out;
  if (!is_plain(kernel)) return out;
  std::map<int32_t, std::vector<const Expr*>> loads;  // by buffer
  for (const Expr& e : kernel.exprs)
    if (e.buffer >= 0) loads[e.buffer].push_back(&e);
  const Reads reads(kernel);
  for (size_t s = 0; s < kernel.stores.size(); ++s) {
    const KernelStore& store = kernel.stores[s];
    const KernelBuffer& to = buffers[size_t(store.buffer)];
    const auto stores = [&](const KernelStore& other) { return other.buffer == store.buffer; };
    if (numel(store.map.shape) != to.elements || std::ranges::count_if(kernel.stores, stores) != 1)
      continue;
    const auto in_place = [&](const Expr* e) {
      return e->kind == Kind::Load && e->inner == kernel.exprs[size_t(store.value)].inner &&
             same_place(*e->map, store.map);
    };
    for (const auto& [b, exprs] : loads) {
      const KernelBuffer& from = buffers[size_t(b)];
      if (from.elements == to.elements && size_of(from.dtype) == size_of(to.dtype) &&
          std::ranges::all_of(exprs, in_place) && reads.end_with(s, b))
        out.push_back({int32_t(s), b, reads.pay_at(s)});
    }
  }
  return out;
}

bool reports(const Kernel& kernel) {
  return scatters(kernel) ||
         std::ranges::any_of(kernel.exprs, [](const Expr& e) { return e.kind == Kind::Gather; });
}

}  // namespace cermet::compiler
