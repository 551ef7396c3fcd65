// Greedy, on what fusion really keeps. At the kernel with the most bytes alive, every temporary
// that waits there for a later kernel is a candidate: its later users get a copy of its expression,
// made from what is in memory then (ir::Op::Recompute keeps the copy apart from the original, and
// behind the kernel before the first of those users). Candidates are tried in the order of bytes
// saved for work done, the graph is fused again with each, and the first that helps is kept: less
// of the program exceeds the budget. So a choice is judged by its true effect on fusion and on the
// order of kernels, and each step costs about one fusion.

#include "compiler/rematerialize.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "cermet/error.h"
#include "compiler/memory_plan.h"
#include "compiler/repeat_expression.h"
#include "ir/build.h"

namespace cermet::compiler {

using ir::Op;
using ir::Value;

namespace {

// What a copy may repeat.
enum class Effort : uint8_t { Elementwise, Moves, Products };

constexpr size_t most_attempts = 8;  // candidates tried at a time

// When each buffer is written first and read last.
struct Lifetimes {
  std::vector<int32_t> first, last;                    // by buffer; -1: never
  std::vector<SmallVector<int32_t, 4>> uses;           // kernels, ascending
  std::unordered_map<const ir::Node*, int32_t> store;  // by node: its buffer

  explicit Lifetimes(const FusedGraph& fused) {
    const KernelProgram& program = fused.program;
    uses.resize(program.buffers.size());
    for (int32_t k = 0; k < int32_t(program.kernels.size()); ++k)
      each_access(program.kernels[size_t(k)], [&](int32_t b) {
        auto& of = uses[size_t(b)];
        if (of.empty() || of.back() != k) of.push_back(k);
      });
    for (size_t b = 0; b < uses.size(); ++b) {
      first.push_back(uses[b].empty() ? -1 : uses[b].front());
      last.push_back(uses[b].empty() ? -1 : uses[b].back());
      if (fused.values[b]) store.emplace(fused.values[b], int32_t(b));
    }
  }
};

// What a step must make smaller in one respect: the bytes that the program needs, or by how much
// its kernels exceed the budget, all together, since the fullest may be several.
struct Need {
  int64_t bytes;
  double excess = 0;

  Need(const FusedGraph& fused, int64_t budget) : bytes(needed_bytes(fused.program)) {
    const double room = double(budget) - double(result_bytes(fused.program));
    for (int64_t alive : plan_memory(fused.program).alive)
      excess += std::max(0.0, double(alive) - room);
  }
};

// The effort and work of one node of a copy, or nullopt if it cannot be repeated.
std::optional<std::pair<Effort, double>> work_of(const ir::Node& node) {
  const double elements = double(node.numel());
  if (ir::is_elementwise(node.op))
    return std::pair{Effort::Elementwise, elements * info(node.op).cycles};
  switch (node.op) {
    case Op::View:
    case Op::Recompute:
    case Op::Constant: return std::pair{Effort::Elementwise, 0.0};
    case Op::Cast:
    case Op::Bitcast: return std::pair{Effort::Elementwise, elements};
    case Op::Gather: return std::pair{Effort::Moves, elements * 4};
    case Op::Reduce:
    case Op::ArgReduce:
    case Op::Scan: return std::pair{Effort::Moves, double(node.operands[0]->numel())};
    case Op::Concat:
    case Op::Barrier: return std::pair{Effort::Moves, elements};
    case Op::Dot: return std::pair{Effort::Products, elements * double(node.operands[0]->shape[2])};
    case Op::Conv:
      return std::pair{Effort::Products, elements * double(node.operands[1]->numel()) /
                                             double(std::max<int64_t>(1, node.shape[2]))};
    default: return std::nullopt;  // scatters and sorts are worth keeping
  }
}

struct Candidate {
  const ir::Node* node;
  int32_t until;  // the first kernel that needs it again
  double worth;
};

class Choice {
 public:
  explicit Choice(const FusedGraph& fused) : fused_(fused), times_(fused) {}

  // What waits at the fullest kernel and can be computed again with that effort, the best first.
  std::vector<Candidate> candidates(Effort effort) const {
    const std::vector<int64_t> alive = plan_memory(fused_.program).alive;
    const auto peak = int32_t(std::max_element(alive.begin(), alive.end()) - alive.begin());
    std::vector<Candidate> out;
    for (size_t b = 0; b < fused_.values.size(); ++b) {
      const KernelBuffer& buffer = fused_.program.buffers[b];
      if (!fused_.values[b] || buffer.kind != KernelBuffer::Kind::Temporary ||
          times_.first[b] < 0 || times_.first[b] >= peak || times_.last[b] <= peak)
        continue;
      const auto& uses = times_.uses[b];
      const int32_t until = *std::upper_bound(uses.begin(), uses.end(), peak);
      if (std::binary_search(uses.begin(), uses.end(), peak) || !anchor(until)) continue;
      const auto cost = cost_of(fused_.values[b], peak, until, effort);
      if (!cost || cost->kept >= bytes_of(buffer)) continue;
      out.push_back({fused_.values[b], until, (bytes_of(buffer) - cost->kept) / (1 + cost->work)});
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const Candidate& x, const Candidate& y) { return x.worth > y.worth; });
    return out;
  }

  // The graph in which kernels from `c.until` on get a copy of the value.
  ir::Graph recomputed(const Candidate& c) const {
    const Value after(anchor(c.until));
    ir::Graph graph = fused_.graph;
    std::unordered_map<const ir::Node*, Value> late;
    for (const ir::Node* node : ir::topological_order(graph.results)) {
      Value now(node);
      if (node == c.node) {
        Copies copies;
        now = repeat_expression(
            now, after, [&](const ir::Node& n) { return readable(&n, node); }, copies);
      } else if (!stored_before(node, c.until)) {
        SmallVector<Value, 3> operands;
        bool changed = false;
        for (const Value& v : node->operands) {
          operands.push_back(late.at(v.get()));
          changed |= operands.back() != v;
        }
        if (changed) now = ir::with_operands(*node, operands);
      }
      late.emplace(node, std::move(now));
    }
    for (Value& result : graph.results)
      if (!stored_before(result.get(), c.until)) result = late.at(result.get());
    return graph;
  }

 private:
  struct Cost {
    double kept = 0, work = 0;  // bytes that are kept longer; elements times cycles, about
  };

  int32_t buffer(const ir::Node* node) const {
    const auto found = times_.store.find(node);
    return found == times_.store.end() ? -1 : found->second;
  }
  bool stored_before(const ir::Node* node, int32_t kernel) const {
    const int32_t b = buffer(node);
    return b >= 0 && times_.first[size_t(b)] < kernel;
  }
  // Something that is there just before the kernel runs.
  const ir::Node* anchor(int32_t kernel) const {
    for (const KernelStore& s : fused_.program.kernels[size_t(kernel) - 1].stores)
      if (const ir::Node* node = fused_.values[size_t(s.buffer)]) return node;
    return nullptr;
  }
  bool readable(const ir::Node* node, const ir::Node* copied) const {
    return node->op == Op::Parameter || node->op == Op::Iota ||
           (node != copied && buffer(node) >= 0);
  }

  std::vector<const ir::Node*> expression(const ir::Node* node) const {
    const Value root(node);
    return ir::topological_order(std::span(&root, 1),
                                 [&](const ir::Node& n) { return readable(&n, node); });
  }

  std::optional<Cost> cost_of(const ir::Node* node, int32_t peak, int32_t until,
                              Effort effort) const {
    Cost cost;
    for (const ir::Node* n : expression(node)) {
      if (readable(n, node)) {
        const int32_t b = buffer(n);
        if (b < 0 || fused_.program.buffers[size_t(b)].kind != KernelBuffer::Kind::Temporary)
          continue;
        if (times_.last[size_t(b)] < peak) cost.kept += bytes_of(fused_.program.buffers[size_t(b)]);
        if (times_.last[size_t(b)] < until) cost.work += double(n->numel());
        continue;
      }
      const auto work = work_of(*n);
      if (!work || work->first > effort) return std::nullopt;
      cost.work += work->second;
    }
    return cost;
  }

  const FusedGraph& fused_;
  Lifetimes times_;
};

}  // namespace

int64_t needed_bytes(const KernelProgram& program) {
  return plan_memory(program).arena_bytes + result_bytes(program);
}

FusedGraph rematerialize(FusedGraph fused, int64_t budget,
                         const std::function<FusedGraph(const ir::Graph&)>& fuse) {
  Need now(fused, budget);
  Effort effort = Effort::Elementwise;
  size_t steps = 2 * fused.program.buffers.size();  // a step may take back what another gained
  while (now.bytes > budget) {
    const Choice choice(fused);
    std::vector<Candidate> candidates = choice.candidates(effort);
    if (candidates.size() > most_attempts) candidates.resize(most_attempts);
    std::optional<FusedGraph> next, spare;  // the spare one needs fewer bytes at its fullest only
    for (size_t i = 0; i < candidates.size() && !next; ++i) {
      FusedGraph trial = fuse(choice.recomputed(candidates[i]));
      const Need then(trial, budget);
      if (then.excess < now.excess)
        next = std::move(trial);
      else if (then.bytes < now.bytes && !spare)
        spare = std::move(trial);
    }
    if (!next) next = std::move(spare);
    if (next && steps-- > 0) {
      fused = std::move(*next), now = Need(fused, budget);
      continue;
    }
    if (effort == Effort::Products)
      throw Error(
          fmt::format("compile: temporaries and results take {} bytes, the memory budget is {}",
                      now.bytes, budget));
    effort = Effort(uint8_t(effort) + 1);
  }
  return fused;
}

}  // namespace cermet::compiler
