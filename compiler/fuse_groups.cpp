// The planner: who joins whom. See fuse_plan.h for the idea; here is the order of decisions for one
// node whose uses are all known:
//   1. groups that read it in the same way over the same space are merged: siblings share a kernel;
//   2. a pointwise node is repeated in every group that uses it if nothing is computed twice, or if
//      repeating it is cheaper than a buffer;
//   3. else one group computes it: a user that visits each element once and may run before the
//      other users, or a new group; the others load it.
// What step 2 or 3 had to decline is recorded as a Refusal.

#include <fmt/format.h>

#include <algorithm>

#include "compiler/fuse_cost.h"
#include "compiler/fuse_join.h"
#include "compiler/fuse_written.h"
#include "compiler/short_axes.h"
#include "ir/check.h"

namespace cermet::compiler {

using ir::Op;
using ir::ViewMap;

namespace {

class Planner {
 public:
  Planner(const ir::Graph& graph, const Target& target, Plan& plan)
      : target_(target), plan_(plan), book_(graph, plan), joiner_(plan) {}

  void run() {
    for (int32_t n = int32_t(plan_.nodes.size()); n-- > 0;) visit(n);
  }

 private:
  void visit(int32_t n) {
    Uses uses = book_.take_uses(n);
    if (book_.node(n).numel() == 0) {
      if (book_.must_store(n) && plan_.buffer_of[size_t(n)] < 0)
        plan_.buffer_of[size_t(n)] = book_.temporary(n);
      return;
    }
    const std::vector<int32_t> stores = book_.take_results(n);
    switch (book_.facts(n).kind) {
      case NodeKind::Free: visit_free(n, uses, stores); break;
      case NodeKind::Pointwise:
      case NodeKind::Once: visit_computed(n, uses, stores); break;
      case NodeKind::Written: plan_written(book_, n, std::move(uses), stores); break;
    }
  }

  // Parameters, constants, iota and views: results get a copying group, everybody else reads
  // through.
  void visit_free(int32_t n, Uses& uses, const std::vector<int32_t>& stores) {
    const Op op = book_.node(n).op;
    const bool store = book_.must_store(n) && op != Op::Parameter;
    if (!stores.empty() || store) {
      int32_t identity = -1;
      const int32_t g = book_.new_group(n, book_.node(n).shape, store ? uses : Uses(), identity);
      for (int32_t buffer : stores) book_.add_root(g, n, identity, buffer);
      if (store) {
        plan_.buffer_of[size_t(n)] = book_.temporary(n), plan_.group_of[size_t(n)] = g;
        book_.add_root(g, n, identity, plan_.buffer_of[size_t(n)]);
        for (const Use& use : uses) book_.loads(use.group, book_.group(g).stage);
        uses.clear();
      }
      uses.push_back({g, identity, n, false});
    }
    if (op == Op::Constant || op == Op::Iota) return;
    const int32_t operand = op == Op::Parameter ? -1 : book_.facts(n).operands[0];
    if (op == Op::Recompute) {
      for (const Use& use : uses)
        book_.add_use(operand, plan_.find(use.group), use.map, use.consumer, true);
      return;
    }
    merge_siblings(n, uses);
    if (op == Op::Parameter) {
      std::vector<int32_t> readers;
      for (const Use& use : uses) readers.push_back(plan_.find(use.group));
      std::ranges::sort(readers);
      readers.erase(std::unique(readers.begin(), readers.end()), readers.end());
      for (int32_t g : readers) ++book_.group(g).streams;
      return;
    }
    for (const Use& use : uses) {
      const int32_t map =
          book_.add_map(ViewMap::compose(plan_.maps[size_t(use.map)], book_.node(n).view()));
      book_.add_use(operand, plan_.find(use.group), map, use.consumer, use.late);
    }
  }

  void merge_siblings(int32_t n, const Uses& uses) {
    constexpr size_t attempts = 8;
    SmallVector<Use, 8> kept;
    for (const Use& use : uses) {
      if (use.map < 0) continue;
      bool merged = false;
      for (const Use& other : kept)
        if (!merged && use.late == other.late &&
            (plan_.find(use.group) == plan_.find(other.group) ||
             joiner_.merge(plan_.find(other.group), plan_.find(use.group), other.map, use.map,
                           book_.node(n).numel())))
          merged = true;
      if (merged) continue;
      if (kept.size() == attempts) kept.erase(kept.begin());
      kept.push_back(use);
    }
  }

  // The uses in the present axes of their groups, each once.
  std::vector<Site> sites(const Uses& uses) {
    std::vector<Site> out;
    for (const Use& use : uses) {
      Site site{plan_.find(use.group), use.map, false, use.consumer, use.late};
      if (use.map >= 0) {
        const Plan::Place place = plan_.place(site.group, use.map);
        site.map = place.map, site.row = place.row;
      }
      const auto same = [&](const Site& s) {
        return s.group == site.group && s.row == site.row && (s.map < 0) == (site.map < 0) &&
               (s.map == site.map ||
                (s.map >= 0 && plan_.maps[size_t(s.map)] == plan_.maps[size_t(site.map)]));
      };
      if (std::none_of(out.begin(), out.end(), same)) out.push_back(site);
    }
    return out;
  }

  int new_operands(int32_t n) const {
    int count = book_.node(n).op == Op::Gather;
    for (int32_t operand : book_.facts(n).operands) count += !book_.constant_like(operand);
    return count;
  }

  // Why a node cannot be computed in a group whatever the map is, or null.
  const char* full(int32_t n, int32_t g, bool store) {
    const Group& into = book_.group(g);
    if (into.kind == Group::Kind::Sort) return "a sort reads its operand from a buffer";
    if (into.ops + 1 > max_group_ops) return "the kernel would have more ops than the cap of 128";
    // Most of what is pending will be computed from a few buffers: counted only where it matters.
    const int known = into.streams + int(into.roots.size()) + store;
    if (known + into.pending + new_operands(n) > max_group_buffers &&
        known + book_.leaves_below(g, n) > max_group_buffers)
      return "the kernel would access more buffers than the cap of 16";
    return nullptr;
  }

  // How many of a node's elements a map asks for. What padding adds to them is computed in vain,
  // but not again, unless it is the most of it.
  static int64_t evaluated(const ViewMap& map, int64_t elements) {
    constexpr int64_t in_vain = 4;
    const ir::StridedMap& m = map.levels()[0];
    const int64_t all = numel(m.shape);
    if (all > in_vain * elements) return all;
    int64_t valid = 1;
    for (size_t d = 0; d < m.shape.size(); ++d) valid *= m.end[d] - m.begin[d];
    return valid;
  }

  // How many rows that share the value of a map are computed side by side (short_axes.h).
  int64_t rows_beside_each(const Site& site) {
    const Group& g = book_.group(site.group);
    const ViewMap& map = plan_.maps[size_t(site.map)];
    if (g.kind != Group::Kind::Row || site.row || map.shape().size() != g.axes.size()) return 1;
    for (size_t d = 0; d < g.axes.size(); ++d)
      if (!g.inner[d] && is_short(g.axes[d]) && map.levels()[0].strides[d] == 0 &&
          g.rows() / g.axes[d] >= rows_beside)
        return g.axes[d];
    return 1;
  }

  // A single number is computed before the loops of each kernel that needs it: less than a launch.
  bool is_small_number(int32_t n) {
    constexpr int few_cycles = 60;
    return book_.node(n).numel() == 1 && !book_.facts(n).epilogue &&
           book_.facts(n).cycles <= few_cycles;
  }

  // Why a pointwise node is not repeated in all its users, or an empty string.
  std::string why_not_repeated(int32_t n, const std::vector<Site>& where) {
    int64_t evaluations = 0;
    for (const Site& site : where) {
      if (site.map < 0) return "the consumer reads it at computed positions, from a buffer";
      if (const char* reason = full(n, site.group, false)) return reason;
      if (plan_.maps[size_t(site.map)].levels().size() > 2)
        return "reading it there would take several divisions for each element";
      evaluations +=
          evaluated(plan_.maps[size_t(site.map)], book_.node(n).numel()) / rows_beside_each(site);
    }
    const int64_t elements = book_.node(n).numel();
    if (evaluations <= elements || is_small_number(n)) return "";
    const std::string reason =
        why_stored(book_.facts(n), double(evaluations) / double(elements), target_);
    // How often that is, its tiles decide.
    const auto is_operand = [&](const Site& site) {
      return !site.row && book_.group(site.group).kind == Group::Kind::Contract;
    };
    if (reason.empty() || std::ranges::none_of(where, is_operand)) return reason;
    return fmt::format("a contraction would compute it for each tile again, an op of {} cycles",
                       book_.facts(n).cycles);
  }

  void visit_computed(int32_t n, Uses& uses, const std::vector<int32_t>& stores) {
    if (uses.empty() && stores.empty()) return;  // only elements of size 0 needed it
    merge_siblings(n, uses);
    std::vector<Site> where = sites(uses);
    if (book_.facts(n).anchor >= 0 && book_.facts(n).kind == NodeKind::Pointwise) {
      bool changed = false;
      for (const Site& site : where)
        changed |= site.map >= 0 && joiner_.anticipate(book_.facts(book_.facts(n).anchor), site);
      if (changed) where = sites(uses);
    }
    std::string reason;
    if (book_.facts(n).kind == NodeKind::Pointwise && stores.empty() && !book_.must_store(n)) {
      reason = why_not_repeated(n, where);
      if (reason.empty()) {
        for (const Site& site : where) compute_at(n, site);
        return;
      }
    }
    compute_once(n, where, stores, reason);
  }

  void compute_once(int32_t n, std::vector<Site>& where, const std::vector<int32_t>& stores,
                    const std::string& reason) {
    // Larger spaces first: there the operands are most likely read anyway. Then those that walk the
    // value as it will lie in memory.
    const auto rank = [&](const Site& s) {
      const bool strided = s.map < 0 || !plan_.maps[size_t(s.map)].is_identity();
      return std::pair(-numel(book_.group(s.group).axes), strided);
    };
    std::stable_sort(where.begin(), where.end(),
                     [&](const Site& a, const Site& b) { return rank(a) < rank(b); });
    const bool must_store = !stores.empty() || book_.must_store(n);
    std::vector<std::string> reasons;
    const Site* chosen = nullptr;
    for (const Site& site : where) {
      std::string refused = why_not_joined(n, site, where, must_store);
      if (refused.empty()) {
        chosen = &site;
        break;
      }
      reasons.push_back(std::move(refused));
    }
    Site site{-1, -1, false, n};
    if (chosen) {
      site = *chosen;
      site.map = joiner_.take_map();
    } else {
      Uses others;
      for (const Site& s : where) others.push_back({s.group, s.map, s.consumer, false, s.late});
      site.group = book_.new_group(n, book_.node(n).shape, others, site.map);
      const std::string refused = joiner_.join(book_.facts(n), site, false);
      CERMET_CHECK(refused.empty(), "{} does not join a group of its own: {}", plan_.describe(n),
                   refused);
      site.map = joiner_.take_map();
    }
    const bool loaded = std::any_of(where.begin(), where.end(),
                                    [&](const Site& s) { return s.group != site.group; });
    if (loaded || must_store) store_once(n, site, where, stores);
    compute_at(n, {site.group, site.map, plan_.place(site.group, site.map).row, site.consumer});
    for (size_t i = 0; i < where.size(); ++i) {
      if (where[i].group == site.group) continue;
      std::string why = i < reasons.size() ? reasons[i]
                                           : "its result is computed in another "
                                             "kernel that needs it";
      if (!reason.empty()) why = reason;
      plan_.refusals.push_back(
          {plan_.describe(n), plan_.describe(where[i].consumer), std::move(why)});
    }
  }

  // Joins the site's group if possible; else says why not.
  std::string why_not_joined(int32_t n, const Site& site, const std::vector<Site>& where,
                             bool must_store) {
    if (site.map < 0) return "the consumer reads it at computed positions, from a buffer";
    if (site.late) return "the consumer computes it again, later";
    int32_t stage = book_.group(site.group).stage;
    bool loaded = must_store;
    for (const Site& other : where) {
      if (&other == &site) continue;
      if (other.group == site.group)
        return "the consumer needs it in two orders, of which one kernel computes only one";
      stage = std::max(stage, book_.group(other.group).stage + 1);
      loaded = true;
    }
    if (const char* reason = full(n, site.group, loaded)) return reason;
    if (stage >= book_.group(site.group).feeder)
      return "the consumer waits for a kernel that needs this value as well";
    if (loaded && book_.group(site.group).kind == Group::Kind::Scatter)
      return "a scatter kernel stores nothing else";
    if (loaded && book_.facts(n).kind == NodeKind::Pointwise && book_.facts(n).frame >= 0 &&
        joiner_.has_other_frame(site.group, book_.facts(book_.facts(n).frame)))
      return "the kernel of its producers computes it at no cost";
    std::string refused = joiner_.join(book_.facts(n), site, !loaded);
    if (refused.empty()) book_.group(site.group).stage = stage;
    return refused;
  }

  void store_once(int32_t n, const Site& site, const std::vector<Site>& where,
                  const std::vector<int32_t>& stores) {
    std::vector<int32_t> buffers = stores;
    if (buffers.empty()) buffers.push_back(book_.temporary(n));
    plan_.buffer_of[size_t(n)] = buffers[0], plan_.group_of[size_t(n)] = site.group;
    for (int32_t buffer : buffers) book_.add_root(site.group, n, site.map, buffer);
    Uses others;
    for (const Site& other : where)
      if (other.group != site.group)
        others.push_back({other.group, other.map, other.consumer, false});
    book_.load_all(others, book_.group(site.group).stage);
  }

  // The node is computed at this place of the group: its operands are used there.
  void compute_at(int32_t n, const Site& site) {
    ++book_.group(site.group).ops;
    const NodeFacts& f = book_.facts(n);
    if (f.kind == NodeKind::Once) {
      for (size_t k = 0; k < f.operands.size(); ++k)
        book_.add_use(f.operands[k], site.group,
                      book_.add_map(joiner_.operand_at(*f.node, k, site)), n);
      return;
    }
    if (f.node->op == Op::Gather) {
      const auto source = gather_source(*f.node);
      book_.need_buffer(source ? plan_.index.at(source->buffer) : f.operands[0], site.group, n);
      book_.add_use(f.operands[1], site.group, site.map, n, site.late);
      return;
    }
    for (int32_t operand : f.operands) book_.add_use(operand, site.group, site.map, n, site.late);
  }

  const Target& target_;
  Plan& plan_;
  PlanBook book_;
  Joiner joiner_;
};

}  // namespace

void plan_groups(const ir::Graph& graph, const Target& target, Plan& plan) {
  Planner(graph, target, plan).run();
}

}  // namespace cermet::compiler
