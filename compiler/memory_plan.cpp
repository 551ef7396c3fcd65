// Buffers are placed in the order in which they come alive, each into the smallest gap that is
// large enough (best fit), or at the end. Gaps are kept twice: by position, to join neighbours when
// a buffer dies, and by size, to find the best one. Both are ordered sets, so the whole takes
// n log n steps.

#include "compiler/memory_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "cermet/error.h"

namespace cermet::compiler {

namespace {

class Arena {
 public:
  int64_t allocate(int64_t bytes) {
    const auto best = by_size_.lower_bound({bytes, 0});
    if (best == by_size_.end()) return extend(bytes);
    const auto [size, offset] = *best;
    erase(offset, size);
    if (size > bytes) insert(offset + bytes, size - bytes);
    return offset;
  }
  void free(int64_t offset, int64_t bytes) {
    auto next = by_offset_.lower_bound(offset);
    if (next != by_offset_.begin()) {
      const auto [start, size] = *std::prev(next);
      if (start + size == offset) erase(start, size), offset = start, bytes += size;
    }
    next = by_offset_.lower_bound(offset);
    if (next != by_offset_.end() && next->first == offset + bytes) {
      const int64_t size = next->second;
      erase(next->first, size);
      bytes += size;
    }
    insert(offset, bytes);
  }
  int64_t size() const { return end_; }

 private:
  // No gap is large enough; one at the very end counts in part.
  int64_t extend(int64_t bytes) {
    int64_t offset = end_;
    if (!by_offset_.empty()) {
      const auto [start, size] = *std::prev(by_offset_.end());
      if (start + size == end_) erase(start, size), offset = start;
    }
    if (__builtin_add_overflow(offset, bytes, &end_))
      throw Error("compile: the temporary buffers do not fit in 64 bits");
    return offset;
  }
  void insert(int64_t offset, int64_t size) {
    by_offset_.emplace(offset, size);
    by_size_.emplace(size, offset);
  }
  void erase(int64_t offset, int64_t size) {
    by_offset_.erase(offset);
    by_size_.erase({size, offset});
  }

  std::map<int64_t, int64_t> by_offset_;
  std::set<std::pair<int64_t, int64_t>> by_size_;
  int64_t end_ = 0;
};

int64_t padded_bytes(const KernelBuffer& b) {
  int64_t bytes = 0;
  if (__builtin_mul_overflow(b.elements, int64_t(size_of(b.dtype)), &bytes) ||
      __builtin_add_overflow(bytes, arena_alignment - 1, &bytes))
    throw Error("compile: the temporary buffers do not fit in 64 bits");
  return bytes / arena_alignment * arena_alignment;
}

}  // namespace

MemoryPlan plan_memory(const KernelProgram& program) {
  // The kernels of a chain take turns, so what any of them uses is alive for all of them.
  std::vector<int64_t> steps(program.kernels.size());
  for (size_t i = 0; i < steps.size(); ++i) steps[i] = int64_t(i);
  for (const Chain& chain : program.chains)
    for (int32_t k = 0; k < chain.count; ++k) steps[size_t(chain.first) + size_t(k)] = chain.first;
  return plan_memory(program, steps);
}

MemoryPlan plan_memory(const KernelProgram& program, std::span<const int64_t> steps) {
  MemoryPlan plan;
  plan.offsets.assign(program.buffers.size(), 0);
  const int64_t never = -1;
  std::vector<int64_t> first(program.buffers.size(), never), last(program.buffers.size(), never);
  const auto touch = [&](int32_t buffer, int64_t step) {
    int64_t& begin = first[size_t(buffer)];
    begin = begin == never ? step : std::min(begin, step);
    last[size_t(buffer)] = std::max(last[size_t(buffer)], step);
  };
  for (size_t i = 0; i < program.kernels.size(); ++i)
    each_access(program.kernels[i], [&](int32_t buffer) { touch(buffer, steps[i]); });
  for (const Chain& chain : program.chains)
    for (int32_t local : chain.locals) first[size_t(local)] = never;  // in scratch memory
  std::vector<std::vector<size_t>> begins(program.kernels.size()), ends(program.kernels.size());
  for (size_t b = 0; b < program.buffers.size(); ++b) {
    const KernelBuffer& buffer = program.buffers[b];
    if (buffer.kind != KernelBuffer::Kind::Temporary || first[b] == never || buffer.elements == 0)
      continue;
    begins[size_t(first[b])].push_back(b);
    ends[size_t(last[b])].push_back(b);
  }
  Arena arena;
  std::vector<int64_t> alive_in;  // by step
  int64_t alive = 0;
  for (size_t i = 0; i < program.kernels.size(); ++i) {
    for (size_t b : begins[i]) {
      const int64_t bytes = padded_bytes(program.buffers[b]);
      plan.offsets[b] = arena.allocate(bytes), alive += bytes;
    }
    alive_in.push_back(alive);
    for (size_t b : ends[i]) {
      const int64_t bytes = padded_bytes(program.buffers[b]);
      arena.free(plan.offsets[b], bytes), alive -= bytes;
    }
  }
  for (int64_t step : steps) plan.alive.push_back(alive_in[size_t(step)]);
  plan.arena_bytes = arena.size();
  return plan;
}

int64_t result_bytes(const KernelProgram& program) {
  int64_t sum = 0;
  for (const KernelBuffer& b : program.buffers)
    if (b.kind == KernelBuffer::Kind::Result && __builtin_add_overflow(sum, padded_bytes(b), &sum))
      throw Error("compile: the results do not fit in 64 bits");
  return sum;
}

}  // namespace cermet::compiler
