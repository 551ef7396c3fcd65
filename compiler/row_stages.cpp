#include "compiler/row_stages.h"

#include <algorithm>

#include "compiler/lower_scope.h"
#include "ir/check.h"

namespace cermet::compiler {

using Kind = Expr::Kind;

bool accumulates(const Expr& e) {
  return e.kind == Kind::Reduce || e.kind == Kind::ArgReduce || e.kind == Kind::Scan ||
         e.kind == Kind::Contract;
}

ir::Combine combine_of(const Expr& e) {
  return e.kind == Kind::Contract ? ir::Combine::Sum : e.combine;
}

// A reduction is known one stage after its operands; a scan in the first stage that can walk in its
// direction.
RowStages row_stages(const Kernel& kernel) {
  RowStages plan;
  const size_t n = kernel.exprs.size();
  plan.stage_of.assign(n, 0);
  std::vector<int> direction;  // by stage: -1 open, 0 forwards, 1 backwards
  for (size_t i = 0; i < n; ++i) {
    const Expr& e = kernel.exprs[i];
    int stage = 0;
    for (int32_t operand : e.operands) stage = std::max(stage, plan.stage_of[size_t(operand)]);
    if (e.kind == Kind::Scan) {
      for (;; ++stage) {
        if (int(direction.size()) <= stage) direction.resize(size_t(stage) + 1, -1);
        if (direction[size_t(stage)] < 0 || direction[size_t(stage)] == int(e.reverse)) break;
      }
      direction[size_t(stage)] = e.reverse;
    }
    if (accumulates(e)) {
      if (int(plan.accumulated.size()) <= stage) plan.accumulated.resize(size_t(stage) + 1);
      plan.accumulated[size_t(stage)].push_back(int32_t(i));
    }
    plan.stage_of[i] = stage + (accumulates(e) && e.kind != Kind::Scan ? 1 : 0);
  }
  for (int s : plan.stage_of) plan.stages = std::max(plan.stages, s + 1);
  CERMET_CHECK(plan.stages < 64, "kernel {} has {} stages", kernel.name, plan.stages);
  plan.accumulated.resize(size_t(plan.stages));
  plan.reversed.assign(size_t(plan.stages), false);
  for (size_t s = 0; s < direction.size(); ++s) plan.reversed[s] = direction[s] == 1;
  for (const KernelStore& s : kernel.stores) {
    const bool inner = kernel.exprs[size_t(s.value)].inner ||
                       (s.index >= 0 && kernel.exprs[size_t(s.index)].inner);
    const int stage =
        std::max(plan.stage_of[size_t(s.value)], s.index < 0 ? 0 : plan.stage_of[size_t(s.index)]);
    plan.store_stage.push_back(inner ? stage : -1);
  }
  return plan;
}

bool needs_order(const Kernel& kernel) {
  for (const Expr& e : kernel.exprs)
    if (e.kind == Kind::Scan) return true;
  for (const KernelStore& s : kernel.stores)
    if (s.index >= 0) return true;
  return false;
}

int cycles_of(const Expr& e) {
  switch (e.kind) {
    case Kind::Map: return std::max(1, ir::info(e.op).cycles);
    case Kind::Gather: return 16;
    case Kind::Load:
    case Kind::Reduce:
    case Kind::ArgReduce:
    case Kind::Scan:
    case Kind::Contract: return 1;
    case Kind::Position:
    case Kind::Constant: return 0;
  }
  __builtin_unreachable();
}

int cycles_of(const Kernel& kernel) {
  int cycles = int(kernel.stores.size());
  for (const Expr& e : kernel.exprs) cycles += cycles_of(e);
  return cycles;
}

std::vector<double> contiguous_bytes(const Kernel& kernel, const KernelProgram& program,
                                     bool spaced) {
  std::vector<double> bytes(kernel.outer.size() + kernel.inner.size(), 0.0);
  const auto count = [&](const ir::StridedMap& map, int32_t buffer, double weight) {
    const double size = double(size_of(program.buffers[size_t(buffer)].dtype)) * weight;
    for (size_t d = 0; d < map.shape.size(); ++d) {
      if (map.strides[d] == 1) bytes[d] += size;
      if ((map.strides[d] == 2 || map.strides[d] == 4) && spaced)
        bytes[d] += size / double(map.strides[d] + 1);
    }
  };
  // What happens once per row hardly counts next to what happens per element.
  const auto weight = [&](bool inner) { return inner || kernel.inner.empty() ? 1.0 : 1.0 / 64; };
  // Through divisions, neighbours are still likely to lie side by side.
  for (const Expr& e : kernel.exprs)
    if (e.buffer >= 0)
      count(e.map->levels()[0], e.buffer, weight(e.inner) / (e.map->single() ? 1 : 2));
  for (const KernelStore& s : kernel.stores)
    count(s.map, s.buffer, 2 * weight(kernel.exprs[size_t(s.value)].inner));
  return bytes;
}

}  // namespace cermet::compiler
