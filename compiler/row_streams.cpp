#include "compiler/row_streams.h"

#include <algorithm>

namespace cermet::compiler {
namespace {

constexpr int64_t least_vector = 16;  // bytes of a store past the caches
// Machines report the caches of all their dies as one; a thread has that of its own.
constexpr int64_t largest_die = int64_t(32) << 20;

// Large, read by no kernel of the program, and written by one alone.
bool leaves_caches(const KernelProgram& program, int32_t which, const Target& target) {
  const KernelBuffer& buffer = program.buffers[size_t(which)];
  if (buffer.kind != KernelBuffer::Kind::Result ||
      2 * bytes_of(buffer) < double(std::min(target.l3_bytes, largest_die)))
    return false;
  int writers = 0;
  for (const Kernel& kernel : program.kernels) {
    bool reads = false;
    each_read(kernel, [&](int32_t b) { reads |= b == which; });
    if (reads) return false;
    const auto writes = [&](const KernelStore& s) { return s.buffer == which; };
    writers += std::any_of(kernel.stores.begin(), kernel.stores.end(), writes);
  }
  return writers == 1;
}

// Whether every vector that this store writes is aligned.
bool is_aligned(const Kernel& kernel, const KernelStore& store, const KernelProgram& program,
                const RowPlan& plan) {
  const Expr& value = kernel.exprs[size_t(store.value)];
  const bool element = plan.along_outer() || value.inner;
  const auto axis = size_t(plan.vector_axis);
  const auto size = int64_t(size_of(program.buffers[size_t(store.buffer)].dtype));
  if (!element || store.index >= 0 || plan.lanes * size < least_vector) return false;
  if (program.buffers[size_t(store.buffer)].elements % plan.lanes != 0) return false;
  if (store.map.strides[axis] != 1 || store.map.offset % plan.lanes != 0) return false;
  for (size_t d = 0; d < store.map.shape.size(); ++d)
    if (d != axis && store.map.shape[d] > 1 && store.map.strides[d] % plan.lanes != 0) return false;
  return true;
}

}  // namespace

void choose_streams(const Kernel& kernel, const KernelProgram& program, const Target& target,
                    RowPlan& plan) {
  if (plan.lanes == 1 || plan.space[size_t(plan.vector_axis)] % plan.lanes != 0) return;
  for (const KernelStore& store : kernel.stores) {
    const auto same = [&](const KernelStore& s) { return s.buffer == store.buffer; };
    const auto aligned = [&](const KernelStore& s) {
      return !same(s) || is_aligned(kernel, s, program, plan);
    };
    if (leaves_caches(program, store.buffer, target) &&
        std::all_of(kernel.stores.begin(), kernel.stores.end(), aligned))
      plan.streamed.push_back(store.buffer);
  }
  if (plan.streamed.empty()) return;
  plan.whole = true;
  const int64_t vectors = plan.space[size_t(plan.vector_axis)] / plan.lanes;
  const auto fit = [&](int& copies) {
    while (vectors % copies != 0) copies /= 2;
  };
  for (int& copies : plan.stage_copies) fit(copies);
  if (kernel.inner.empty()) fit(plan.copies);
}

void choose_ahead(const Kernel& kernel, RowPlan& plan) {
  constexpr int least_walks = 3;
  if (plan.streamed.empty() || !plan.along_inner() || plan.stages < least_walks) return;
  for (size_t i = 0; i < kernel.exprs.size(); ++i) {
    const Expr& e = kernel.exprs[i];
    if (e.kind != Expr::Kind::Load || !e.inner || !e.map->single()) continue;
    const auto& strides = e.map->levels()[0].strides;
    if (strides[size_t(plan.vector_axis)] == 1 &&
        std::any_of(strides.begin(), strides.begin() + plan.outer, [](auto s) { return s != 0; }))
      plan.ahead.push_back(int32_t(i));
  }
  // One array is read in time by itself, unless it is worked on for long.
  if (plan.ahead.size() == 1 && plan.kept.empty()) plan.ahead.clear();
}

}  // namespace cermet::compiler
