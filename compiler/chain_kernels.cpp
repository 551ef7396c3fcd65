// A chain grows from a contraction or a row program. Its rows are either those of the contraction's
// matrices or its whole matrices (the batch), or the runs of rows that another kernel takes of the
// row program; for each of them, the kernels that follow are taken if they fall into as many
// rows and read what the chain stores only in the row that they compute. What does not fit runs
// before the chain, or after it if it needs something of it. A bounded number of kernels is looked
// at, so the whole is linear.
//
// What a chain saves is a round trip of its temporaries through memory. What it costs is that every
// block reads the other operands of its contractions again: keys and values are small, the weights
// of a linear layer are not. And blocks are all that can run at the same time.

#include "compiler/chain_kernels.h"

#include <fmt/format.h>

#include <algorithm>

#include "compiler/memory_plan.h"
#include "compiler/row_cut.h"

namespace cermet::compiler {
namespace {

constexpr size_t window = 24;  // kernels looked at from a contraction on
constexpr int64_t fewest_blocks = 4;

bool reduces(const Kernel& kernel) {
  return std::ranges::any_of(kernel.exprs,
                             [](const Expr& e) { return e.kind == Expr::Kind::Reduce; });
}

// The buffers that a kernel loads (first) and stores.
struct Accesses {
  std::vector<int32_t> loads, stores;
};

Accesses accesses_of(const Kernel& kernel) {
  Accesses out;
  each_read(kernel, [&](int32_t b) { out.loads.push_back(b); });
  for (const KernelStore& s : kernel.stores) out.stores.push_back(s.buffer);
  for (auto* list : {&out.loads, &out.stores}) {
    std::ranges::sort(*list);
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  return out;
}

// The memory plan of a program of these kernels alone, in which each local has the rows of a block.
LocalMemory place_locals(const KernelProgram& program, const Chain& chain,
                         const std::vector<const Kernel*>& kernels) {
  KernelProgram block;
  const auto renumber = [&](int32_t buffer) {
    const auto found = std::ranges::find(chain.locals, buffer);
    return found == chain.locals.end() ? int32_t(-1) : int32_t(found - chain.locals.begin());
  };
  for (int32_t local : chain.locals) {
    const KernelBuffer& b = program.buffers[size_t(local)];
    block.buffers.push_back(
        {KernelBuffer::Kind::Temporary, 0, b.dtype, b.elements / chain.rows * chain.step});
  }
  for (const Kernel* kernel : kernels) {
    Kernel& k = block.kernels.emplace_back();
    for (const Expr& e : kernel->exprs) {
      const int32_t local = e.buffer >= 0 ? renumber(e.buffer) : -1;
      if (local < 0) continue;
      k.exprs.emplace_back();
      k.exprs.back().buffer = local;
    }
    for (const KernelStore& s : kernel->stores)
      if (const int32_t local = renumber(s.buffer); local >= 0) {
        k.stores.emplace_back();
        k.stores.back().buffer = local;
      }
  }
  const MemoryPlan plan = plan_memory(block);
  return {plan.offsets, plan.arena_bytes};
}

class ChainFinder {
 public:
  ChainFinder(KernelProgram& program, const Target& target)
      : program_(program),
        target_(target),
        users_(program.buffers.size()),
        known_cuts_(program.kernels.size()) {
    for (size_t k = 0; k < program.kernels.size(); ++k) {
      accesses_.push_back(accesses_of(program.kernels[k]));
      for (int32_t b : accesses_[k].loads) users_[size_t(b)].push_back(int32_t(k));
      for (int32_t b : accesses_[k].stores) users_[size_t(b)].push_back(int32_t(k));
    }
  }

  void run() {
    const size_t count = program_.kernels.size();
    std::vector<int32_t> order;
    for (size_t k = 0; k < count;) {
      std::optional<Candidate> best;
      if (contracts(kernel(k)) || reduces(kernel(k))) best = best_from(k);
      if (!best) {
        order.push_back(int32_t(k++));
        continue;
      }
      append(order, *best, k);
      k = best->end;
    }
    std::vector<Kernel> kernels;
    for (int32_t k : order) kernels.push_back(std::move(program_.kernels[size_t(k)]));
    program_.kernels = std::move(kernels);
  }

 private:
  enum class Place : uint8_t { Before, Member, After };
  struct Candidate {
    Chain chain;                // without `first`
    std::vector<Place> places;  // of the kernels from the first one on
    size_t end = 0;
    double saved = 0;  // bytes of locals in all
  };

  const Kernel& kernel(size_t k) const { return program_.kernels[k]; }

  std::optional<Candidate> best_from(size_t first) {
    const std::vector<int64_t> counts = row_counts(first);
    why_.clear();
    std::optional<Candidate> best;
    for (size_t i = counts.size(); i-- > 0;) {
      auto found = grow(first, counts[i]);
      if (found && (!best || found->saved > best->saved)) best = std::move(found);
    }
    if (!best && !why_.empty() && contracts(kernel(first))) explain(first);
    return best;
  }

  // Into how many rows the space of a contraction may fall; or that of those which take the rows of
  // a row program, where they take several of them at once.
  std::vector<int64_t> row_counts(size_t first) const {
    std::vector<int64_t> counts;
    const auto add = [&](const Shape& outer) {
      int64_t rows = 1;
      for (int64_t extent : outer) {
        rows *= extent;
        if (rows > 1 && rows < numel(outer) && std::ranges::find(counts, rows) == counts.end())
          counts.push_back(rows);
      }
    };
    if (contracts(kernel(first))) {
      add(kernel(first).outer);
      return counts;
    }
    for (int32_t b : accesses_[first].stores)
      for (int32_t user : users_[size_t(b)])
        if (size_t(user) > first && reduces(kernel(size_t(user)))) add(kernel(size_t(user)).outer);
    return counts;
  }

  // The chain of so many rows that begins with this kernel, or nothing.
  std::optional<Candidate> grow(size_t first, int64_t rows) {
    Candidate out;
    out.chain.rows = rows;
    cuts_.assign(window, std::nullopt);
    stored_.clear(), later_.clear();
    for (size_t k = first; k < std::min(first + window, program_.kernels.size()); ++k) {
      const Place place = classify(k, first, rows);
      if (k == first && place != Place::Member) return std::nullopt;
      out.places.push_back(place);
      if (place == Place::After)
        later_.insert(later_.end(), accesses_[k].stores.begin(), accesses_[k].stores.end());
    }
    drop_strangers(out, first);
    return finish(out, first) ? std::optional(std::move(out)) : std::nullopt;
  }

  struct Stored {
    int32_t buffer;
    bool in_rows;
  };
  Stored* stored(int32_t buffer) {
    const auto found = std::ranges::find(stored_, buffer, &Stored::buffer);
    return found == stored_.end() ? nullptr : &*found;
  }

  Place classify(size_t k, size_t first, int64_t rows) {
    const auto& [loads, stores] = accesses_[k];
    const auto among_later = [&](int32_t b) {
      return std::ranges::find(later_, b) != later_.end();
    };
    const auto of_chain = [&](int32_t b) { return stored(b) != nullptr; };
    const bool waits =
        std::ranges::any_of(loads, among_later) || std::ranges::any_of(stores, among_later);
    if (waits) return Place::After;
    const bool depends =
        std::ranges::any_of(loads, of_chain) || std::ranges::any_of(stores, of_chain);
    const std::optional<RowCut>& cut = cut_of(k, rows);
    if (!cut || !reads_rows(kernel(k), *cut, rows)) return depends ? Place::After : Place::Before;
    for (const KernelStore& s : kernel(k).stores) {
      const int64_t elements = program_.buffers[size_t(s.buffer)].elements;
      const bool in_rows =
          elements % rows == 0 && stays_in_row(s.map, kernel(k), *cut, elements / rows);
      if (Stored* before = stored(s.buffer))
        before->in_rows &= in_rows;
      else
        stored_.push_back({s.buffer, in_rows});
    }
    cuts_[k - first] = cut;
    return Place::Member;
  }

  // Found once for all chains that the kernel might be in.
  const std::optional<RowCut>& cut_of(size_t k, int64_t rows) {
    KnownCut& known = known_cuts_[k];
    if (known.rows != rows) {
      known.rows = rows;
      known.cut = scatters(kernel(k)) ? std::nullopt : cut_rows(kernel(k), program_, target_, rows);
    }
    return known.cut;
  }

  // Whether the kernel reads of the chain's buffers only the rows that it computes.
  bool reads_rows(const Kernel& k, const RowCut& cut, int64_t rows) {
    for (const Expr& e : k.exprs) {
      const Stored* from = e.buffer >= 0 ? stored(e.buffer) : nullptr;
      if (!from) continue;
      const int64_t elements = program_.buffers[size_t(e.buffer)].elements;
      if (!from->in_rows || e.kind != Expr::Kind::Load || !e.map->single() ||
          !stays_in_row(e.map->levels()[0], k, cut, elements / rows))
        return false;
    }
    return true;
  }

  // Members that no buffer connects with the first one run before the chain.
  void drop_strangers(Candidate& c, size_t first) const {
    const size_t count = c.places.size();
    std::vector<bool> reached(count, false);
    reached[0] = true;
    std::vector<size_t> pending = {0};
    const auto linked = [&](size_t a, size_t b) {
      const auto common = [](const std::vector<int32_t>& x, const std::vector<int32_t>& y) {
        return std::ranges::find_first_of(x, y) != x.end();
      };
      return common(accesses_[first + a].stores, accesses_[first + b].loads) ||
             common(accesses_[first + b].stores, accesses_[first + a].loads);
    };
    while (!pending.empty()) {
      const size_t a = pending.back();
      pending.pop_back();
      for (size_t b = 0; b < count; ++b)
        if (!reached[b] && c.places[b] == Place::Member && linked(a, b))
          reached[b] = true, pending.push_back(b);
    }
    for (size_t k = 0; k < count; ++k)
      if (c.places[k] == Place::Member && !reached[k]) c.places[k] = Place::Before;
  }

  // Fills in the rest; false if the chain cannot be or is not worth it.
  bool finish(Candidate& c, size_t first) {
    std::vector<size_t> members;
    for (size_t k = 0; k < c.places.size(); ++k)
      if (c.places[k] == Place::Member) members.push_back(k);
    if (members.size() < 2) return false;
    c.end = first + members.back() + 1;
    c.places.resize(members.back() + 1);
    c.chain.count = int32_t(members.size());
    for (size_t k : members) {
      const RowCut& cut = *cuts_[k];
      if (cut.tile == 0) continue;
      if (c.chain.step > 1 && (c.chain.step != cut.tile || c.chain.group != cut.group)) {
        why_ = "their tiles have different numbers of rows";
        return false;
      }
      c.chain.step = cut.tile, c.chain.group = cut.group;
    }
    find_locals(c, first);
    return is_worth_it(c, first, members);
  }

  void find_locals(Candidate& c, size_t first) {
    const auto is_member = [&](int32_t k) {
      const int64_t i = int64_t(k) - int64_t(first);
      return i >= 0 && i < int64_t(c.places.size()) && c.places[size_t(i)] == Place::Member;
    };
    for (const Stored& s : stored_) {
      const KernelBuffer& buffer = program_.buffers[size_t(s.buffer)];
      if (!s.in_rows || buffer.kind != KernelBuffer::Kind::Temporary) continue;
      if (!std::ranges::all_of(users_[size_t(s.buffer)], is_member)) continue;
      c.chain.locals.push_back(s.buffer);
      c.saved += bytes_of(buffer);
    }
  }

  bool is_worth_it(const Candidate& c, size_t first, const std::vector<size_t>& members) {
    if (c.chain.locals.empty()) return false;
    if (c.chain.blocks() < fewest_blocks) {
      why_ = fmt::format("only {} blocks of rows could run at the same time", c.chain.blocks());
      return false;
    }
    double again = 0;  // bytes of other operands that are read for each block
    for (size_t k : members) {
      if (!contracts(kernel(first + k)) || cuts_[k]->tile == 0) continue;
      for (const Expr& e : kernel(first + k).exprs) {
        if (e.kind != Expr::Kind::Load || !e.inner || stored(e.buffer)) continue;
        const int64_t tiles = (c.chain.group + c.chain.step - 1) / c.chain.step;
        again += double(tiles - 1) * bytes_of(program_.buffers[size_t(e.buffer)]);
      }
    }
    if (again > 2 * c.saved) {
      why_ = fmt::format(
          "the blocks would read {:.0f} bytes of operands again to save {:.0f} of temporaries",
          again, 2 * c.saved);
      return false;
    }
    const int64_t most = std::max(target_.l2_bytes, target_.l3_bytes / 4);
    const int64_t bytes = plan_locals_of(c, first).bytes;
    if (bytes > most) {
      why_ = fmt::format("a block would take {} bytes, more than {}", bytes, most);
      return false;
    }
    return true;
  }

  LocalMemory plan_locals_of(const Candidate& c, size_t first) {
    std::vector<const Kernel*> kernels;
    for (size_t k = 0; k < c.places.size(); ++k)
      if (c.places[k] == Place::Member) kernels.push_back(&kernel(first + k));
    return place_locals(program_, c.chain, kernels);
  }

  void append(std::vector<int32_t>& order, Candidate& c, size_t first) {
    for (Place place : {Place::Before, Place::Member, Place::After}) {
      if (place == Place::Member) c.chain.first = int32_t(order.size());
      for (size_t k = 0; k < c.places.size(); ++k)
        if (c.places[k] == place) order.push_back(int32_t(first + k));
    }
    program_.chains.push_back(std::move(c.chain));
  }

  // Only where another contraction or row program uses the result row by row.
  void explain(size_t first) {
    for (int32_t b : accesses_[first].stores)
      for (int32_t user : users_[size_t(b)])
        if (user != int32_t(first) &&
            program_.buffers[size_t(b)].kind == KernelBuffer::Kind::Temporary)
          return program_.refusals.push_back({fmt::format("kernel {}", kernel(first).name),
                                              fmt::format("kernel {}", kernel(size_t(user)).name),
                                              fmt::format("not block by block: {}", why_)});
  }

  KernelProgram& program_;
  const Target& target_;
  std::vector<Accesses> accesses_;
  std::vector<std::vector<int32_t>> users_;
  struct KnownCut {
    int64_t rows = 0;
    std::optional<RowCut> cut;
  };
  std::vector<KnownCut> known_cuts_;
  // Of the chain that is growing: cuts by kernel from the first one on, what it stores, what those
  // after it store.
  std::vector<std::optional<RowCut>> cuts_;
  std::vector<Stored> stored_;
  std::vector<int32_t> later_;
  std::string why_;
};

}  // namespace

void chain_kernels(KernelProgram& program, const Target& target) {
  ChainFinder(program, target).run();
}

LocalMemory plan_locals(const KernelProgram& program, const Chain& chain) {
  std::vector<const Kernel*> kernels;
  for (int32_t k = 0; k < chain.count; ++k)
    kernels.push_back(&program.kernels[size_t(chain.first) + size_t(k)]);
  return place_locals(program, chain, kernels);
}

}  // namespace cermet::compiler
