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

#include "compiler/fuse_join.h"
#include "ir/check.h"

namespace cermet::compiler {

using ir::Op;
using ir::ViewMap;

namespace {

// A repeated value may cost this much, per vector of elements.
constexpr int cheap_cycles = 5;
constexpr int cheap_reads = 4;

struct Use {
  int32_t group;
  int32_t map;       // plan.maps, or -1: needs the buffer itself
  int32_t consumer;  // node, for refusals
  bool counted;      // in the group's `pending`
};
using Uses = SmallVector<Use, 2>;

class Planner {
 public:
  Planner(const ir::Graph& graph, Plan& plan)
      : graph_(graph), plan_(plan), joiner_(plan), uses_(plan.nodes.size()) {
    plan.buffer_of.assign(plan.nodes.size(), -1);
    plan.group_of.assign(plan.nodes.size(), -1);
    must_store_.assign(plan.nodes.size(), 0);
  }

  void run() {
    declare_buffers();
    for (int32_t n = int32_t(plan_.nodes.size()); n-- > 0;) visit(n);
  }

 private:
  const NodeFacts& facts(int32_t n) const { return plan_.nodes[size_t(n)]; }
  const ir::Node& node(int32_t n) const { return *facts(n).node; }
  Group& group(int32_t g) { return plan_.groups[size_t(g)]; }

  void declare_buffers() {
    for (const ir::Value& p : graph_.parameters) {
      const int64_t slot = p->as<ir::ParameterAttr>().slot;
      plan_.buffers.push_back({KernelBuffer::Kind::Parameter, slot, p->dtype, p->numel()});
      if (auto found = plan_.index.find(p.get()); found != plan_.index.end())
        plan_.buffer_of[size_t(found->second)] = int32_t(plan_.buffers.size()) - 1;
    }
    for (size_t i = 0; i < graph_.results.size(); ++i) {
      const ir::Node& r = *graph_.results[i];
      const ir::Node* source = &r;  // a reshaped value is stored as the value itself
      while (source->op == Op::View && source->view().is_identity() &&
             source->numel() == source->operands[0]->numel())
        source = source->operands[0].get();
      results_[plan_.index.at(source)].push_back(int32_t(plan_.buffers.size()));
      plan_.buffers.push_back({KernelBuffer::Kind::Result, int64_t(i), r.dtype, r.numel()});
    }
  }

  int32_t temporary(int32_t n) {
    plan_.buffers.push_back({KernelBuffer::Kind::Temporary, 0, node(n).dtype, node(n).numel()});
    return int32_t(plan_.buffers.size()) - 1;
  }

  int32_t add_map(ViewMap map) {
    plan_.maps.push_back(std::move(map));
    return int32_t(plan_.maps.size()) - 1;
  }

  // A new group over `shape` whose stage lets all of `uses` load from it; returns it with the
  // identity map.
  int32_t new_group(int32_t n, const Shape& shape, const Uses& uses, int32_t& identity) {
    Group g;
    g.number = n;
    g.axes = without_units(shape);
    g.inner.resize(g.axes.size(), 0);
    for (const Use& use : uses) g.stage = std::max(g.stage, group(plan_.find(use.group)).stage + 1);
    identity = add_map(ViewMap::identity(shape).reshape(g.axes));
    plan_.groups.push_back(std::move(g));
    return int32_t(plan_.groups.size()) - 1;
  }

  void add_use(int32_t n, int32_t g, int32_t map, int32_t consumer) {
    if (node(n).numel() == 0 && map >= 0) return;
    Uses& uses = uses_[size_t(n)];
    bool known = false;
    // Constants cost no stream, and a parameter may have very many users: look at recent ones only.
    constexpr size_t window = 16;
    for (size_t i = uses.size() > window ? uses.size() - window : 0; i < uses.size(); ++i) {
      if (plan_.find(uses[i].group) != g) continue;
      if (uses[i].map == map) return;
      known = true;
    }
    const bool counted = !known && !constant_like(n);
    group(g).pending += counted;
    uses.push_back({g, map, consumer, counted});
  }

  bool constant_like(int32_t n) const { return facts(n).reads == 0 && facts(n).cycles == 0; }

  // The group loads the node's buffer from now on.
  void loads(int32_t g, int32_t stage) {
    ++group(g).streams;
    group(g).feeder = std::min(group(g).feeder, stage);
  }

  void need_buffer(int32_t n, int32_t g, int32_t consumer) {
    must_store_[size_t(n)] = 1;
    add_use(n, g, -1, consumer);
  }

  void visit(int32_t n) {
    Uses uses = std::move(uses_[size_t(n)]);
    for (Use& use : uses) {
      use.group = plan_.find(use.group);
      group(use.group).pending -= use.counted;
    }
    if (node(n).numel() == 0) {
      if (must_store_[size_t(n)] && plan_.buffer_of[size_t(n)] < 0)
        plan_.buffer_of[size_t(n)] = temporary(n);
      return;
    }
    const auto found = results_.find(n);
    const std::vector<int32_t> stores =
        found == results_.end() ? std::vector<int32_t>() : std::move(found->second);
    switch (facts(n).kind) {
      case NodeKind::Free: visit_free(n, uses, stores); break;
      case NodeKind::Pointwise:
      case NodeKind::Once: visit_computed(n, uses, stores); break;
      case NodeKind::Written: visit_written(n, uses, stores); break;
    }
  }

  void add_root(int32_t g, int32_t n, int32_t map, int32_t buffer) {
    Group::Root root;
    root.node = n, root.map = map, root.buffer = buffer;
    group(g).roots.push_back(std::move(root));
  }

  // Parameters, constants, iota and views: results get a copying group, everybody else reads
  // through.
  void visit_free(int32_t n, Uses& uses, const std::vector<int32_t>& stores) {
    const Op op = node(n).op;
    const bool store = must_store_[size_t(n)] && op != Op::Parameter;
    if (!stores.empty() || store) {
      int32_t identity = -1;
      const int32_t g = new_group(n, node(n).shape, store ? uses : Uses(), identity);
      for (int32_t buffer : stores) add_root(g, n, identity, buffer);
      if (store) {
        plan_.buffer_of[size_t(n)] = temporary(n), plan_.group_of[size_t(n)] = g;
        add_root(g, n, identity, plan_.buffer_of[size_t(n)]);
        for (const Use& use : uses) loads(use.group, group(g).stage);
        uses.clear();
      }
      uses.push_back({g, identity, n, false});
    }
    if (op == Op::Constant || op == Op::Iota) return;
    merge_siblings(n, uses);
    if (op == Op::Parameter) {
      for (const Use& use : uses) ++group(plan_.find(use.group)).streams;
      return;
    }
    const int32_t operand = facts(n).operands[0];
    for (const Use& use : uses) {
      const int32_t map = add_map(ViewMap::compose(plan_.maps[size_t(use.map)], node(n).view()));
      add_use(operand, plan_.find(use.group), map, use.consumer);
    }
  }

  void merge_siblings(int32_t n, const Uses& uses) {
    constexpr size_t attempts = 8;
    SmallVector<Use, 8> kept;
    for (const Use& use : uses) {
      if (use.map < 0) continue;
      bool merged = false;
      for (const Use& other : kept)
        if (!merged && (plan_.find(use.group) == plan_.find(other.group) ||
                        joiner_.merge(plan_.find(other.group), plan_.find(use.group), other.map,
                                      use.map, node(n).numel())))
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
      Site site{plan_.find(use.group), use.map, false, use.consumer};
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
    int count = node(n).op == Op::Gather;
    for (int32_t operand : facts(n).operands) count += !constant_like(operand);
    return count;
  }

  // Why a node cannot be computed in a group whatever the map is, or null.
  const char* full(int32_t n, int32_t g, bool store) {
    const Group& into = group(g);
    if (into.kind == Group::Kind::Sort) return "a sort reads its operand from a buffer";
    if (into.ops + 1 > max_group_ops) return "the kernel would have more ops than the cap of 128";
    if (into.streams + into.pending + int(into.roots.size()) + new_operands(n) + store >
        max_group_buffers)
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

  // Why a pointwise node is not repeated in all its users, or an empty string.
  std::string why_not_repeated(int32_t n, const std::vector<Site>& where) {
    int64_t evaluations = 0;
    for (const Site& site : where) {
      if (site.map < 0) return "the consumer reads it at computed positions, from a buffer";
      if (const char* reason = full(n, site.group, false)) return reason;
      if (plan_.maps[size_t(site.map)].levels().size() > 2)
        return "reading it there would take several divisions for each element";
      evaluations += evaluated(plan_.maps[size_t(site.map)], node(n).numel());
    }
    const int64_t elements = node(n).numel();
    if (evaluations <= elements) return "";
    const double times = double(evaluations) / double(elements);
    if (facts(n).epilogue)
      return fmt::format(
          "it is the epilogue of its producer, repeating it {:.3g} times saves no "
          "kernel",
          times);
    if (facts(n).cycles > cheap_cycles)
      return fmt::format("would recompute an op of {} cycles {:.3g} times", facts(n).cycles, times);
    if (facts(n).reads > cheap_reads)
      return fmt::format("would read {} values {:.3g} times", facts(n).reads, times);
    return "";
  }

  void visit_computed(int32_t n, Uses& uses, const std::vector<int32_t>& stores) {
    if (uses.empty() && stores.empty()) return;  // only elements of size 0 needed it
    merge_siblings(n, uses);
    std::vector<Site> where = sites(uses);
    if (facts(n).anchor >= 0 && facts(n).kind == NodeKind::Pointwise) {
      bool changed = false;
      for (const Site& site : where)
        changed |= site.map >= 0 && joiner_.anticipate(facts(facts(n).anchor), site);
      if (changed) where = sites(uses);
    }
    std::string reason;
    if (facts(n).kind == NodeKind::Pointwise && stores.empty() && !must_store_[size_t(n)]) {
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
      return std::pair(-numel(group(s.group).axes), strided);
    };
    std::stable_sort(where.begin(), where.end(),
                     [&](const Site& a, const Site& b) { return rank(a) < rank(b); });
    const bool must_store = !stores.empty() || must_store_[size_t(n)];
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
      for (const Site& s : where) others.push_back({s.group, s.map, s.consumer, false});
      site.group = new_group(n, node(n).shape, others, site.map);
      const std::string refused = joiner_.join(facts(n), site, false);
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
    int32_t stage = group(site.group).stage;
    bool loaded = must_store;
    for (const Site& other : where) {
      if (&other == &site) continue;
      if (other.group == site.group)
        return "the consumer needs it in two orders, of which one kernel computes only one";
      stage = std::max(stage, group(other.group).stage + 1);
      loaded = true;
    }
    if (const char* reason = full(n, site.group, loaded)) return reason;
    if (stage >= group(site.group).feeder)
      return "the consumer waits for a kernel that needs this value as well";
    if (loaded && group(site.group).kind == Group::Kind::Scatter)
      return "a scatter kernel stores nothing else";
    if (loaded && facts(n).kind == NodeKind::Pointwise && facts(n).frame >= 0 &&
        joiner_.has_other_frame(site.group, facts(facts(n).frame)))
      return "the kernel of its producers computes it at no cost";
    std::string refused = joiner_.join(facts(n), site, !loaded);
    if (refused.empty()) group(site.group).stage = stage;
    return refused;
  }

  void store_once(int32_t n, const Site& site, const std::vector<Site>& where,
                  const std::vector<int32_t>& stores) {
    std::vector<int32_t> buffers = stores;
    if (buffers.empty()) buffers.push_back(temporary(n));
    plan_.buffer_of[size_t(n)] = buffers[0], plan_.group_of[size_t(n)] = site.group;
    for (int32_t buffer : buffers) add_root(site.group, n, site.map, buffer);
    SmallVector<int32_t, 8> done;
    for (const Site& other : where) {
      if (other.group == site.group ||
          std::find(done.begin(), done.end(), other.group) != done.end())
        continue;
      loads(other.group, group(site.group).stage);
      done.push_back(other.group);
    }
  }

  // The node is computed at this place of the group: its operands are used there.
  void compute_at(int32_t n, const Site& site) {
    ++group(site.group).ops;
    const NodeFacts& f = facts(n);
    if (f.kind == NodeKind::Once) {
      for (size_t k = 0; k < f.operands.size(); ++k)
        add_use(f.operands[k], site.group, add_map(joiner_.operand_at(*f.node, k, site)), n);
      return;
    }
    if (f.node->op == Op::Gather) {
      const auto source = gather_source(*f.node);
      need_buffer(source ? plan_.index.at(source->buffer) : f.operands[0], site.group, n);
      add_use(f.operands[1], site.group, site.map, n);
      return;
    }
    for (int32_t operand : f.operands) add_use(operand, site.group, site.map, n);
  }

  // --- Nodes that are buffers filled by groups of their own. -----------------------------------

  void visit_written(int32_t n, Uses& uses, const std::vector<int32_t>& stores) {
    if (uses.empty() && stores.empty()) return;
    const int32_t buffer = stores.empty() ? temporary(n) : stores[0];
    plan_.buffer_of[size_t(n)] = buffer;
    for (size_t i = 1; i < stores.size(); ++i) {  // the same result again: a copy
      int32_t identity = -1;
      const int32_t copy = new_group(n, node(n).shape, {}, identity);
      add_root(copy, n, identity, stores[i]);
      uses.push_back({copy, identity, n, false});
    }
    const size_t first = plan_.groups.size();
    switch (node(n).op) {
      case Op::Concat: write_concat(n, uses, buffer); break;
      case Op::Scatter: write_scatter(n, uses, buffer); break;
      case Op::ArgSort: write_sort(n, uses, buffer); break;
      default: write_copy(n, facts(n).operands[0], uses, buffer); break;
    }
    int32_t stage = 1 << 30;
    for (size_t g = first; g < plan_.groups.size(); ++g)
      stage = std::min(stage, plan_.groups[g].stage);
    SmallVector<int32_t, 8> done;
    for (const Use& use : uses) {
      if (std::find(done.begin(), done.end(), use.group) != done.end()) continue;
      loads(use.group, stage);
      done.push_back(use.group);
    }
  }

  // `buffer` gets the elements of the operand, at `slice`.
  int32_t write_copy(int32_t n, int32_t operand, const Uses& uses, int32_t buffer,
                     std::optional<ir::StridedMap> slice = std::nullopt) {
    int32_t identity = -1;
    const int32_t g = new_group(n, node(operand).shape, uses, identity);
    add_root(g, operand, identity, buffer);
    group(g).roots.back().slice = std::move(slice);
    add_use(operand, g, identity, n);
    return g;
  }

  void write_concat(int32_t n, const Uses& uses, int32_t buffer) {
    const size_t axis = size_t(node(n).as<ir::AxisAttr>().axis);
    const Strides row = row_major_strides(node(n).shape);
    int64_t start = 0;
    for (int32_t operand : facts(n).operands) {
      const Shape& shape = node(operand).shape;
      if (numel(shape) == 0) continue;
      ir::StridedMap slice = ir::StridedMap::contiguous(shape);
      slice.strides = row, slice.offset = start * row[axis];
      start += shape[axis];
      write_copy(n, operand, uses, buffer, std::move(slice));
    }
  }

  void write_scatter(int32_t n, const Uses& uses, int32_t buffer) {
    const auto& attr = node(n).as<ir::CombineAttr>();
    const size_t axis = size_t(attr.axis);
    const int32_t base = facts(n).operands[0], index = facts(n).operands[1],
                  updates = facts(n).operands[2];
    if (node(updates).numel() == 0) {
      write_copy(n, base, uses, buffer);
      return;
    }
    int32_t identity = -1;
    const Shape& shape = node(updates).shape;
    const int32_t g = new_group(n, shape, uses, identity);
    Group& scatter = group(g);
    scatter.kind = Group::Kind::Scatter, scatter.one_inner = true;
    size_t d = 0;
    for (size_t a = 0; a < shape.size(); ++a)
      if (shape[a] != 1) scatter.inner[d++] = a == axis;
    const Strides row = row_major_strides(node(n).shape);
    Group::Root root;
    root.node = updates, root.map = identity, root.buffer = buffer, root.index = index;
    root.slice = ir::StridedMap::contiguous(shape);
    root.slice->strides = row;
    root.slice->strides[axis] = 0;
    root.stride = row[axis], root.extent = node(n).shape[axis], root.combine = attr.combine;
    scatter.roots.push_back(std::move(root));
    add_use(index, g, identity, n);
    add_use(updates, g, identity, n);
    // The base first: its group is a stage above.
    Uses before = uses;
    before.push_back({g, identity, n, false});
    const int32_t copy = write_copy(n, base, before, buffer);
    loads(g, group(copy).stage);
  }

  void write_sort(int32_t n, const Uses& uses, int32_t buffer) {
    int32_t identity = -1;
    const int32_t g = new_group(n, node(n).shape, uses, identity);
    group(g).kind = Group::Kind::Sort, group(g).sort_node = n;
    add_root(g, n, identity, buffer);
    need_buffer(facts(n).operands[0], g, n);
  }

  const ir::Graph& graph_;
  Plan& plan_;
  Joiner joiner_;
  std::vector<Uses> uses_;
  std::vector<uint8_t> must_store_;
  std::unordered_map<int32_t, std::vector<int32_t>> results_;
};

}  // namespace

void plan_groups(const ir::Graph& graph, Plan& plan) { Planner(graph, plan).run(); }

}  // namespace cermet::compiler
