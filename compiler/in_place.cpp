#include "compiler/in_place.h"

#include <algorithm>
#include <map>

namespace cermet::compiler {
namespace {

bool is_map(const Kernel& kernel) {
  using Kind = Expr::Kind;
  return kernel.kind == Kernel::Kind::Fused && kernel.inner.empty() && !scatters(kernel) &&
         std::ranges::all_of(kernel.exprs, [](const Expr& e) {
           return e.kind == Kind::Load || e.kind == Kind::Position || e.kind == Kind::Constant ||
                  e.kind == Kind::Map || e.kind == Kind::Gather;
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

}  // namespace

std::vector<Overwrite> overwrites_of(const Kernel& kernel,
                                     const std::vector<KernelBuffer>& buffers) {
  std::vector<Overwrite> out;
  if (!is_map(kernel)) return out;
  std::map<int32_t, std::vector<const Expr*>> reads;  // by buffer
  for (const Expr& e : kernel.exprs)
    if (e.buffer >= 0) reads[e.buffer].push_back(&e);
  for (size_t s = 0; s < kernel.stores.size(); ++s) {
    const KernelStore& store = kernel.stores[s];
    const KernelBuffer& to = buffers[size_t(store.buffer)];
    const auto stores = [&](const KernelStore& other) { return other.buffer == store.buffer; };
    if (numel(store.map.shape) != to.elements || std::ranges::count_if(kernel.stores, stores) != 1)
      continue;
    const auto in_place = [&](const Expr* e) {
      return e->kind == Expr::Kind::Load && same_place(*e->map, store.map);
    };
    for (const auto& [b, exprs] : reads) {
      const KernelBuffer& from = buffers[size_t(b)];
      if (from.elements == to.elements && size_of(from.dtype) == size_of(to.dtype) &&
          std::ranges::all_of(exprs, in_place))
        out.push_back({int32_t(s), b});
    }
  }
  return out;
}

}  // namespace cermet::compiler
