// Names that say what a kernel does.

#include <fmt/format.h>

#include <unordered_map>

#include "compiler/fuse_emit.h"

namespace cermet::compiler {

namespace {

constexpr size_t longest_name = 60;

std::string_view kind_word(const Kernel& k) {
  if (k.kind == Kernel::Kind::Sort) return "sort";
  for (const KernelStore& s : k.stores)
    if (s.index >= 0) return "scatter";
  bool reduces = false;
  for (const Expr& e : k.exprs) {
    if (e.kind == Expr::Kind::Contract) return "contract";
    if (e.kind == Expr::Kind::Scan) return "scan";
    reduces |= e.kind == Expr::Kind::Reduce || e.kind == Expr::Kind::ArgReduce;
  }
  return reduces ? "row" : "map";
}

// Empty for what says nothing: loads, constants, the contraction that the first word names.
std::string word(const Expr& e) {
  switch (e.kind) {
    case Expr::Kind::Map: return e.op == ir::Op::Cast ? "" : std::string(ir::name(e.op));
    case Expr::Kind::Reduce: return std::string(ir::name(e.combine));
    case Expr::Kind::ArgReduce: return fmt::format("arg{}", ir::name(e.combine));
    case Expr::Kind::Scan: return fmt::format("cum{}", ir::name(e.combine));
    case Expr::Kind::Gather: return "gather";
    case Expr::Kind::Load:
    case Expr::Kind::Position:
    case Expr::Kind::Constant:
    case Expr::Kind::Contract: return "";
  }
  return "";
}

}  // namespace

std::string kernel_name(const Kernel& kernel) {
  std::string name(kind_word(kernel));
  std::string last;
  bool copies = kernel.kind == Kernel::Kind::Fused;
  for (const Expr& e : kernel.exprs) {
    std::string next = word(e);
    copies &= next.empty() && e.kind != Expr::Kind::Contract;
    if (next.empty() || next == last) continue;
    if (name.size() + 1 + next.size() > longest_name) break;
    name += "_" + next;
    last = std::move(next);
  }
  if (copies && name == "map") return "map_copy";
  return name;
}

void name_kernels(std::span<Kernel> kernels) {
  std::unordered_map<std::string, int> used;
  for (Kernel& k : kernels) {
    std::string base = kernel_name(k);
    const int n = ++used[base];
    k.name = n == 1 ? base : fmt::format("{}_{}", base, n);
  }
}

}  // namespace cermet::compiler
