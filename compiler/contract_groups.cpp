#include "compiler/contract_groups.h"

#include <utility>

#include "ir/check.h"

namespace cermet::compiler {
namespace {

// Which axes of the space each expression varies along, as bits.
std::vector<uint64_t> dependences(const Kernel& kernel) {
  std::vector<uint64_t> out(kernel.exprs.size(), 0);
  for (size_t i = 0; i < kernel.exprs.size(); ++i) {
    const Expr& e = kernel.exprs[i];
    for (int32_t operand : e.operands) out[i] |= out[size_t(operand)];
    if (!e.map) continue;
    const ir::StridedMap& m = e.map->levels()[0];
    for (size_t d = 0; d < m.shape.size(); ++d)
      if (m.strides[d] != 0 || m.begin[d] != 0 || m.end[d] != m.shape[d])
        out[i] |= uint64_t(1) << d;
  }
  return out;
}

}  // namespace

ContractGroups contract_groups(const Kernel& kernel) {
  ContractGroups g;
  for (size_t i = 0; i < kernel.exprs.size(); ++i)
    if (kernel.exprs[i].kind == Expr::Kind::Contract) {
      CERMET_CHECK(g.contract < 0, "kernel {} has two contractions", kernel.name);
      g.contract = int32_t(i);
    }
  CERMET_CHECK(g.contract >= 0, "kernel {} has no contraction", kernel.name);
  g.left = kernel.exprs[size_t(g.contract)].operands[0];
  g.right = kernel.exprs[size_t(g.contract)].operands[1];
  const auto varies = dependences(kernel);
  // Columns are the side in which the stores are contiguous.
  for (const KernelStore& s : kernel.stores)
    for (size_t d = 0; d < kernel.outer.size(); ++d)
      if (s.map.strides[d] == 1 && kernel.outer[d] > 1) {
        const bool in_left = varies[size_t(g.left)] >> d & 1,
                   in_right = varies[size_t(g.right)] >> d & 1;
        if (in_left && !in_right) std::swap(g.left, g.right);
        if (in_left != in_right) goto decided;
      }
decided:
  for (size_t d = 0; d < kernel.outer.size(); ++d) {
    const bool in_left = varies[size_t(g.left)] >> d & 1,
               in_right = varies[size_t(g.right)] >> d & 1;
    if (in_left && in_right)
      g.batch.push_back(int64_t(d));
    else
      (in_right ? g.columns : g.rows).push_back(int64_t(d));
  }
  for (size_t d = 0; d < kernel.inner.size(); ++d)
    g.inner.push_back(int64_t(kernel.outer.size() + d));
  return g;
}

int64_t extent_along(const Kernel& kernel, const std::vector<int64_t>& axes) {
  int64_t out = 1;
  for (int64_t d : axes)
    out *= d < int64_t(kernel.outer.size()) ? kernel.outer[size_t(d)]
                                            : kernel.inner[size_t(d) - kernel.outer.size()];
  return out;
}

}  // namespace cermet::compiler
