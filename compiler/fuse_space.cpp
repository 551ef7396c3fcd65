// The index space of a kernel, tidied. Three steps, each a function of the maps only:
//
//   divide   [12] reading position (i / 4) + (i % 4) * 3 becomes [3,4] with strides 1 and 3. What a
//            division does not help is merged back by the last step.
//   order    the outer axes by the strides of the first store, largest first: memory order.
//   merge    [3,4] with strides 4 and 1 in every map becomes [12].

#include <algorithm>

#include "compiler/fuse_emit.h"
#include "ir/check.h"

namespace cermet::compiler {

using ir::StridedMap;
using ir::ViewMap;

namespace {

template <class F>
void for_each_map(Draft& draft, F&& f) {
  for (Expr& e : draft.kernel.exprs)
    if (e.map) f(*e.map);
  for (ViewMap& map : draft.store_maps) f(map);
}

size_t rank_of(const Kernel& k) { return k.outer.size() + k.inner.size(); }

Shape merged_shape(const std::vector<Shape>& parts, size_t count) {
  Shape out;
  for (size_t d = 0; d < count; ++d)
    for (int64_t extent : parts[d]) out.push_back(extent);
  return out;
}

// One division that some map asks for; false if there is none.
bool divide_once(Draft& draft) {
  Kernel& k = draft.kernel;
  std::vector<Shape> parts;
  for_each_map(draft, [&](const ViewMap& map) {
    if (!parts.empty()) return;
    auto finer = finer_axes(map);
    if (!finer) return;
    for (size_t d = k.outer.size(); draft.one_inner && d < finer->size(); ++d)
      if ((*finer)[d].size() > 1) return;
    parts = std::move(*finer);
  });
  if (parts.empty()) return false;
  for (size_t d = parts.size(); d < rank_of(k); ++d) parts.push_back({k.inner[d - k.outer.size()]});
  const Shape outer = merged_shape(parts, k.outer.size());
  const Shape space = merged_shape(parts, parts.size());
  const size_t old_outer = k.outer.size();
  for_each_map(draft, [&](ViewMap& map) {
    map = map.reshape(map.shape().size() == old_outer ? outer : space);
  });
  k.outer = outer;
  k.inner.clear();
  for (size_t d = outer.size(); d < space.size(); ++d) k.inner.push_back(space[d]);
  return true;
}

void permute_outer(Draft& draft, const Dims& order) {
  Kernel& k = draft.kernel;
  const Shape old = k.outer;
  for (size_t d = 0; d < order.size(); ++d) k.outer[d] = old[size_t(order[d])];
  Dims all = order;
  for (size_t d = order.size(); d < rank_of(k); ++d) all.push_back(int64_t(d));
  for_each_map(draft, [&](ViewMap& map) {
    map = map.permute(map.shape().size() == order.size() ? order : all);
  });
}

void order_outer(Draft& draft) {
  const Kernel& k = draft.kernel;
  if (draft.store_maps.empty()) return;
  const StridedMap& first = draft.store_maps[0].levels()[0];
  Dims order;
  for (size_t d = 0; d < k.outer.size(); ++d) order.push_back(int64_t(d));
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return first.strides[size_t(a)] > first.strides[size_t(b)];
  });
  if (!std::is_sorted(order.begin(), order.end())) permute_outer(draft, order);
}

// Whether axes d and d + 1 are one run in the map.
bool one_run(const ViewMap& map, size_t d) {
  const StridedMap& m = map.levels()[0];
  if (d + 1 >= m.shape.size()) return true;
  return m.begin[d + 1] == 0 && m.end[d + 1] == m.shape[d + 1] &&
         m.strides[d] == m.strides[d + 1] * m.shape[d + 1];
}

// Merges axis d + 1 into d, or drops it if its extent is 1.
ViewMap merged(const ViewMap& map, size_t d) {
  SmallVector<StridedMap, 1> levels = map.levels();
  StridedMap& m = levels[0];
  if (d + 1 >= m.shape.size()) return map;
  const int64_t extent = m.shape[d + 1];
  m.shape[d] *= extent, m.begin[d] *= extent, m.end[d] *= extent;
  m.strides[d] = m.strides[d + 1];
  for (Dims* dims : {&m.shape, &m.strides, &m.begin, &m.end}) dims->erase(dims->begin() + (d + 1));
  return ViewMap(std::move(levels));
}

void merge_axes(Draft& draft) {
  Kernel& k = draft.kernel;
  for (size_t d = rank_of(k); d-- > 0;) {
    const size_t outer = k.outer.size();
    if (d + 1 >= rank_of(k) || d + 1 == outer) continue;
    bool all = true;
    for_each_map(draft, [&](const ViewMap& map) { all = all && one_run(map, d); });
    if (!all) continue;
    for_each_map(draft, [&](ViewMap& map) { map = merged(map, d); });
    Shape& axes = d < outer ? k.outer : k.inner;
    const size_t at = d < outer ? d : d - outer;
    axes[at] *= axes[at + 1];
    axes.erase(axes.begin() + at + 1);
  }
}

}  // namespace

Kernel tidy_space(Draft draft) {
  if (draft.kernel.kind == Kernel::Kind::Fused) {
    constexpr int rounds = 6;
    for (int round = 0; round < rounds && divide_once(draft); ++round) {
    }
    order_outer(draft);
    merge_axes(draft);
  }
  for (size_t i = 0; i < draft.store_maps.size(); ++i) {
    CERMET_CHECK(draft.store_maps[i].single(), "a store of {} levels",
                 draft.store_maps[i].levels().size());
    draft.kernel.stores[i].map = draft.store_maps[i].levels()[0];
  }
  return std::move(draft.kernel);
}

}  // namespace cermet::compiler
