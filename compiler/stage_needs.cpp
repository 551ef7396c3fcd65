#include "compiler/stage_needs.h"

#include <algorithm>

#include "compiler/lower_scope.h"
#include "ir/check.h"

namespace cermet::compiler {

using Kind = Expr::Kind;

// Everything below a stage's stores and reductions that is not known by the row. Scans are part of
// it in every stage that uses them, since their values are not kept.
StageNeeds stage_needs(const Kernel& kernel, const RowStages& stages) {
  StageNeeds out;
  out.accumulated.resize(size_t(stages.stages)), out.computed.resize(size_t(stages.stages));
  for (int stage = 0; stage < stages.stages; ++stage) {
    std::vector<bool> needed(kernel.exprs.size(), false), here(kernel.exprs.size(), false);
    for (int32_t i : stages.accumulated[size_t(stage)]) needed[size_t(i)] = here[size_t(i)] = true;
    for (size_t s = 0; s < kernel.stores.size(); ++s) {
      if (stages.store_stage[s] != stage) continue;
      needed[size_t(kernel.stores[s].value)] = true;
      if (kernel.stores[s].index >= 0) needed[size_t(kernel.stores[s].index)] = true;
    }
    for (size_t i = needed.size(); i-- > 0;) {
      const Expr& e = kernel.exprs[i];
      if (!needed[i] || (!e.inner && !here[i])) continue;
      for (int32_t operand : e.operands) needed[size_t(operand)] = true;
      CERMET_CHECK(e.kind != Kind::Scan || e.reverse == stages.reversed[size_t(stage)],
                   "kernel {}: stage {} needs a scan against its direction", kernel.name, stage);
    }
    for (size_t i = 0; i < needed.size(); ++i) {
      const Expr& e = kernel.exprs[i];
      if (!needed[i]) continue;
      if (here[i] || e.kind == Kind::Scan) out.accumulated[size_t(stage)].push_back(int32_t(i));
      if (here[i] || e.inner) out.computed[size_t(stage)].push_back(int32_t(i));
    }
  }
  return out;
}

RegisterNeed register_need(const Kernel& kernel, const RowStages& stages, const StageNeeds& needs) {
  const auto words = [&](size_t i) -> int64_t {
    const Expr& e = kernel.exprs[i];
    if (e.kind == Kind::Constant) return 0;
    return e.kind == Kind::ArgReduce ? 4 : int64_t(std::max<size_t>(4, size_of(held(e.dtype))) / 4);
  };
  // A map is one stage, whose values are those of a row.
  const bool map = kernel.inner.empty();
  RegisterNeed out;
  const size_t n = kernel.exprs.size();
  std::vector<int> first(n, -1), last(n, -1);  // stages that compute a value
  for (int stage = 0; stage < stages.stages; ++stage) {
    std::vector<int32_t> computed = needs.computed[size_t(stage)];
    if (map)
      for (size_t i = 0; i < n; ++i) computed.push_back(int32_t(i));
    std::vector<size_t> last_use(n, 0);
    for (int32_t i : computed) {
      last_use[size_t(i)] = size_t(i);
      for (int32_t operand : kernel.exprs[size_t(i)].operands)
        last_use[size_t(operand)] = size_t(i);
    }
    std::vector<int64_t> ends(n + 1, 0);  // words that are free after an expression
    int64_t live = 0;
    for (int32_t i : computed) {
      if (first[size_t(i)] < 0) first[size_t(i)] = stage;
      last[size_t(i)] = stage;
      if (accumulates(kernel.exprs[size_t(i)])) {
        live -= ends[size_t(i)];
      } else {
        live += words(size_t(i));
        ends[last_use[size_t(i)]] += words(size_t(i));
        out.element = std::max(out.element, live);
        live -= ends[size_t(i)];
      }
    }
    int64_t sums = 0;
    for (int32_t i : needs.accumulated[size_t(stage)]) sums += words(size_t(i));
    out.sums = std::max(out.sums, sums);
  }
  for (size_t i = 0; i < n; ++i)
    if (!map && !kernel.exprs[i].inner) out.rows += words(i);
  for (int stage = 0; stage + 1 < stages.stages; ++stage) {
    int64_t kept = 0;
    for (size_t i = 0; i < n; ++i)
      if (kernel.exprs[i].inner && first[i] >= 0 && first[i] <= stage && last[i] > stage)
        kept += words(i);
    out.kept = std::max(out.kept, kept);
  }
  return out;
}

}  // namespace cermet::compiler
