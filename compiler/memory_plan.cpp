// Buffers are placed in the order in which they come alive, each into the smallest gap that is
// large enough (best fit), or at the end. Gaps are kept twice: by position, to join neighbours when
// a buffer dies, and by size, to find the best one. Both are ordered sets, so the whole takes
// n log n steps.

#include "compiler/memory_plan.h"

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
  MemoryPlan plan;
  plan.offsets.assign(program.buffers.size(), 0);
  const int64_t never = -1;
  std::vector<int64_t> first(program.buffers.size(), never), last(program.buffers.size(), never);
  // The kernels of a chain run block by block: what one of them uses is in use by all.
  std::vector<std::pair<int64_t, int64_t>> together;
  for (size_t i = 0; i < program.kernels.size(); ++i) together.emplace_back(int64_t(i), int64_t(i));
  for (const Chain& c : program.chains)
    for (int32_t i = c.first; i < c.first + c.count; ++i)
      together[size_t(i)] = {c.first, c.first + c.count - 1};
  const auto touch = [&](int32_t buffer, int64_t kernel) {
    const auto [begin, end] = together[size_t(kernel)];
    if (first[size_t(buffer)] == never) first[size_t(buffer)] = begin;
    last[size_t(buffer)] = end;
  };
  for (size_t i = 0; i < program.kernels.size(); ++i) {
    const Kernel& k = program.kernels[i];
    for (const KernelStore& s : k.stores) touch(s.buffer, int64_t(i));
    for (const Expr& e : k.exprs)
      if (e.buffer >= 0) touch(e.buffer, int64_t(i));
    if (k.sort_input >= 0) touch(k.sort_input, int64_t(i));
  }
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
  int64_t alive = 0;
  for (size_t i = 0; i < program.kernels.size(); ++i) {
    for (size_t b : begins[i]) {
      const int64_t bytes = padded_bytes(program.buffers[b]);
      plan.offsets[b] = arena.allocate(bytes), alive += bytes;
    }
    plan.alive.push_back(alive);
    for (size_t b : ends[i]) {
      const int64_t bytes = padded_bytes(program.buffers[b]);
      arena.free(plan.offsets[b], bytes), alive -= bytes;
    }
  }
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
