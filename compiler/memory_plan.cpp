// Buffers are placed in the order in which they come alive, each into the smallest gap that is
// large enough (best fit), or at the end. Gaps are kept twice: by position, to join neighbours when
// a buffer dies, and by size, to find the best one. Both are ordered sets, so the whole takes
// n log n steps. What lies in the place of another buffer, or in that of a result, needs none
// there.

#include "compiler/memory_plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "cermet/error.h"
#include "compiler/in_place.h"

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

int64_t exact_bytes(const KernelBuffer& b) {
  int64_t bytes = 0;
  if (__builtin_mul_overflow(b.elements, int64_t(size_of(b.dtype)), &bytes))
    throw Error("compile: the temporary buffers do not fit in 64 bits");
  return bytes;
}

int64_t padded_bytes(const KernelBuffer& b) {
  int64_t bytes = exact_bytes(b);
  if (__builtin_add_overflow(bytes, arena_alignment - 1, &bytes))
    throw Error("compile: the temporary buffers do not fit in 64 bits");
  return bytes / arena_alignment * arena_alignment;
}

constexpr int32_t none = -1;
constexpr int most_results = 16;  // that are tried as a temporary's place

// Which kernels use each buffer.
class Uses {
 public:
  Uses(const KernelProgram& program, std::span<const int64_t> steps)
      : first_(program.buffers.size(), none),
        last_(program.buffers.size(), none),
        at_first_(program.buffers.size(), 0),
        at_last_(program.buffers.size(), 0),
        seen_(program.buffers.size(), none) {
    for (size_t k = 0; k < program.kernels.size(); ++k)
      each_access(program.kernels[k], [&](int32_t b) {
        if (std::exchange(seen_[size_t(b)], int64_t(k)) != int64_t(k)) touch(size_t(b), steps[k]);
      });
    for (const Chain& chain : program.chains)
      for (int32_t local : chain.locals) first_[size_t(local)] = none;  // in scratch memory
  }

  bool any(size_t b) const { return first_[b] != none; }
  int64_t first(size_t b) const { return first_[b]; }
  int64_t last(size_t b) const { return last_[b]; }
  // Whether a kernel of the step is the first, or last, to use the buffer, and alone in its step.
  bool begins_alone(size_t b, int64_t step) const { return first_[b] == step && at_first_[b] == 1; }
  bool ends_alone(size_t b, int64_t step) const { return last_[b] == step && at_last_[b] == 1; }

 private:
  void touch(size_t b, int64_t step) {
    if (first_[b] == none || step < first_[b]) first_[b] = step, at_first_[b] = 0;
    if (step > last_[b]) last_[b] = step, at_last_[b] = 0;
    at_first_[b] += step == first_[b];
    at_last_[b] += step == last_[b];
  }

  std::vector<int64_t> first_, last_;        // steps
  std::vector<int32_t> at_first_, at_last_;  // kernels of those steps
  std::vector<int64_t> seen_;                // the last kernel that was counted
};

// Buffers that lie in one place, one after the other, are a group; its last one names it.
class Planner {
 public:
  Planner(const KernelProgram& program, std::span<const int64_t> steps)
      : program_(program),
        steps_(steps),
        uses_(program, steps),
        next_(program.buffers.size(), none),
        begin_(program.buffers.size(), none) {
    plan_.offsets.assign(program.buffers.size(), 0);
    plan_.home.assign(program.buffers.size(), none);
    for (size_t b = 0; b < begin_.size(); ++b) begin_[b] = uses_.first(b);
    for (size_t k = 0; k < program.kernels.size(); ++k)
      if (reports(program.kernels[k])) last_report_ = std::max(last_report_, steps[k]);
  }

  MemoryPlan run() {
    if (program_.in_place) join_overwrites(), take_dead_parameters();
    place_groups();
    for (size_t b = begin_.size(); b-- > 0;) follow(b);
    return std::move(plan_);
  }

 private:
  using Kind = KernelBuffer::Kind;
  const KernelBuffer& buffer(size_t b) const { return program_.buffers[b]; }
  bool is(size_t b, Kind kind) const { return buffer(b).kind == kind; }

  void join_overwrites() {
    size_t chain = 0;
    for (size_t k = 0; k < program_.kernels.size(); ++k) {
      const auto end = [&](const Chain& c) { return size_t(c.first) + size_t(c.count); };
      while (chain < program_.chains.size() && end(program_.chains[chain]) <= k) ++chain;
      if (chain < program_.chains.size() && size_t(program_.chains[chain].first) <= k) continue;
      const Kernel& kernel = program_.kernels[k];
      const std::vector<Overwrite> all = overwrites_of(kernel, program_.buffers);
      for (const Kind kind : {Kind::Parameter, Kind::Temporary})
        for (const Overwrite& o : all)
          if (o.pays && is(size_t(o.buffer), kind))
            join(size_t(o.buffer), size_t(kernel.stores[size_t(o.store)].buffer), steps_[k]);
    }
  }

  // A result takes the place of an operand, if it has none and that is dead.
  void join(size_t operand, size_t result, int64_t step) {
    if (!uses_.any(operand) || !uses_.ends_alone(operand, step) ||
        !uses_.begins_alone(result, step) || begin_[result] != step || next_[operand] != none ||
        plan_.home[result] != none || buffer(result).elements == 0)
      return;
    if (is(operand, Kind::Temporary)) {
      next_[operand] = int32_t(result);
      begin_[result] = begin_[operand];
      plan_.home[result] = std::exchange(plan_.home[operand], none);
    } else if (may_take(operand, step)) {
      take(operand, result);
    }
  }

  // What is donated must be as it was if a kernel reports an error: it is written after all those
  // that can.
  bool may_take(size_t parameter, int64_t step) const {
    return buffer(parameter).donated && !taken_.contains(parameter) && step > last_report_;
  }
  void take(size_t parameter, size_t result) {
    taken_.insert(parameter);
    plan_.home[result] = int32_t(parameter);
  }

  // A donated parameter that no kernel reads any more is as good for any result of its size.
  void take_dead_parameters() {
    std::multimap<int64_t, size_t> left;  // by size
    for (size_t b = 0; b < program_.buffers.size(); ++b)
      if (may_take(b, std::numeric_limits<int64_t>::max())) left.emplace(exact_bytes(buffer(b)), b);
    if (left.empty()) return;
    for (size_t r = 0; r < program_.buffers.size(); ++r) {
      if (!is(r, Kind::Result) || plan_.home[r] != none || buffer(r).elements == 0) continue;
      const auto [first, end] = left.equal_range(exact_bytes(buffer(r)));
      const auto dead = std::find_if(first, end, [&](const auto& entry) {
        return uses_.last(entry.second) < begin_[r] && may_take(entry.second, begin_[r]);
      });
      if (dead == end) continue;
      take(dead->second, r);
      left.erase(dead);
    }
  }

  void place_groups() {
    const size_t count = program_.kernels.size();
    std::vector<std::vector<size_t>> begins(count), ends(count);
    for (size_t b = 0; b < program_.buffers.size(); ++b) {
      if (!uses_.any(b) || next_[b] != none || buffer(b).elements == 0) continue;
      if (is(b, Kind::Temporary)) {
        plan_.home[b] = none;  // a parameter's place is known too late to be of use
        begins[size_t(begin_[b])].push_back(b), ends[size_t(uses_.last(b))].push_back(b);
      } else if (is(b, Kind::Result) && program_.in_place && plan_.home[b] == none) {
        free_.emplace(exact_bytes(buffer(b)), b);
      }
    }
    Arena arena;
    std::vector<int64_t> alive_in;  // by step
    int64_t alive = 0;
    for (size_t step = 0; step < count; ++step) {
      for (size_t b : begins[step]) {
        if (place_in_result(b)) continue;
        const int64_t bytes = padded_bytes(buffer(b));
        plan_.offsets[b] = arena.allocate(bytes), alive += bytes;
      }
      alive_in.push_back(alive);
      for (size_t b : ends[step]) {
        const int64_t bytes = padded_bytes(buffer(b));
        if (const int32_t home = plan_.home[b]; home != none)
          free_.emplace(exact_bytes(buffer(size_t(home))), size_t(home));
        else
          arena.free(plan_.offsets[b], bytes), alive -= bytes;
      }
    }
    for (size_t b = 0; b < program_.buffers.size(); ++b)
      if (is(b, Kind::Result) && plan_.home[b] == none) plan_.bytes += padded_bytes(buffer(b));
    plan_.bytes += arena.size();
    for (int64_t step : steps_) plan_.alive.push_back(alive_in[size_t(step)]);
    plan_.arena_bytes = arena.size();
  }

  // The memory of results is there from the beginning, and no larger than they are.
  bool place_in_result(size_t b) {
    int tries = most_results;
    for (auto at = free_.lower_bound({exact_bytes(buffer(b)), 0}); at != free_.end() && tries > 0;
         ++at, --tries) {
      if (begin_[at->second] <= uses_.last(b)) continue;
      plan_.home[b] = int32_t(at->second);
      free_.erase(at);
      return true;
    }
    return false;
  }

  // A buffer lies where the one that takes its place does.
  void follow(size_t b) {
    SmallVector<size_t, 8> before;
    size_t last = b;
    while (next_[last] != none) before.push_back(last), last = size_t(next_[last]);
    for (size_t each : before) {
      plan_.offsets[each] = plan_.offsets[last];
      plan_.home[each] = is(last, Kind::Result) ? int32_t(last) : plan_.home[last];
      next_[each] = none;
    }
  }

  const KernelProgram& program_;
  const std::span<const int64_t> steps_;
  const Uses uses_;
  std::vector<int32_t> next_;   // the buffer that takes this one's place
  std::vector<int64_t> begin_;  // the step in which the group that ends with a buffer begins
  std::set<size_t> taken_;      // parameters
  int64_t last_report_ = none;  // the last step in which a kernel can report an error
  std::set<std::pair<int64_t, size_t>> free_;  // results that hold nothing yet, by size
  MemoryPlan plan_;
};

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
  return Planner(program, steps).run();
}

int64_t result_bytes(const KernelProgram& program) {
  int64_t sum = 0;
  for (const KernelBuffer& b : program.buffers)
    if (b.kind == KernelBuffer::Kind::Result && __builtin_add_overflow(sum, padded_bytes(b), &sum))
      throw Error("compile: the results do not fit in 64 bits");
  return sum;
}

}  // namespace cermet::compiler
