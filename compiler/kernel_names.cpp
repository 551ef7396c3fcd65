// Names that say what a kernel does, and the order in which kernels run.

#include <fmt/format.h>

#include <queue>
#include <unordered_map>

#include "compiler/fuse_emit.h"
#include "ir/check.h"

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

void order_kernels(std::vector<Kernel>& kernels, std::span<const int32_t> numbers,
                   size_t buffer_count) {
  const size_t count = kernels.size();
  std::vector<std::vector<int32_t>> writers(buffer_count), scatterers(buffer_count);
  for (size_t i = 0; i < count; ++i)
    for (const KernelStore& s : kernels[i].stores)
      (s.index >= 0 ? scatterers : writers)[size_t(s.buffer)].push_back(int32_t(i));
  std::vector<std::vector<int32_t>> next(count);
  std::vector<int32_t> missing(count, 0);
  const auto after = [&](const std::vector<int32_t>& first, size_t i) {
    for (int32_t w : first)
      if (w != int32_t(i)) next[size_t(w)].push_back(int32_t(i)), ++missing[i];
  };
  for (size_t i = 0; i < count; ++i) {
    const auto reads = [&](int32_t buffer) {
      after(writers[size_t(buffer)], i), after(scatterers[size_t(buffer)], i);
    };
    for (const Expr& e : kernels[i].exprs)
      if (e.buffer >= 0) reads(e.buffer);
    if (kernels[i].sort_input >= 0) reads(kernels[i].sort_input);
    for (const KernelStore& s : kernels[i].stores)
      if (s.index >= 0) after(writers[size_t(s.buffer)], i);
  }
  using Entry = std::pair<int32_t, int32_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready;
  for (size_t i = 0; i < count; ++i)
    if (missing[i] == 0) ready.push({numbers[i], int32_t(i)});
  std::vector<Kernel> ordered;
  ordered.reserve(count);
  while (!ready.empty()) {
    const int32_t i = ready.top().second;
    ready.pop();
    ordered.push_back(std::move(kernels[size_t(i)]));
    for (int32_t n : next[size_t(i)])
      if (--missing[size_t(n)] == 0) ready.push({numbers[size_t(n)], n});
  }
  CERMET_CHECK(ordered.size() == count, "{} of {} kernels wait for each other",
               count - ordered.size(), count);
  kernels = std::move(ordered);
  std::unordered_map<std::string, int> used;
  for (Kernel& k : kernels) {
    std::string base = kernel_name(k);
    const int n = ++used[base];
    k.name = n == 1 ? base : fmt::format("{}_{}", base, n);
  }
}

}  // namespace cermet::compiler
