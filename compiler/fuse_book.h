#pragma once
// The books that planning keeps (fuse_plan.h says what for): which groups there are, what they
// store and load, and by whom and how each node is used. Nothing here decides anything.

#include "compiler/fuse_plan.h"

namespace cermet::compiler {

struct Use {
  int32_t group;
  int32_t map;        // plan.maps, or -1: needs the buffer itself
  int32_t consumer;   // node, for refusals
  bool counted;       // in the group's `pending`
  bool late = false;  // through a Recompute: not before other uses
};
using Uses = SmallVector<Use, 2>;

class PlanBook {
 public:
  // Declares the buffers of the graph's parameters and results.
  PlanBook(const ir::Graph& graph, Plan& plan);

  Plan& plan() { return plan_; }
  const NodeFacts& facts(int32_t n) const { return plan_.nodes[size_t(n)]; }
  const ir::Node& node(int32_t n) const { return *facts(n).node; }
  Group& group(int32_t g) { return plan_.groups[size_t(g)]; }

  int32_t temporary(int32_t n);  // a buffer for the node
  int32_t add_map(ir::ViewMap map);
  // A new group over `shape` whose stage lets all of `uses` load from it; `identity` becomes the
  // map of its space to the elements of the shape.
  int32_t new_group(int32_t n, const Shape& shape, const Uses& uses, int32_t& identity);
  // The group stores the node, whose elements lie at `map`.
  void add_root(int32_t g, int32_t n, int32_t map, int32_t buffer);

  void add_use(int32_t n, int32_t g, int32_t map, int32_t consumer, bool late = false);
  // The group reads the node at positions that it computes.
  void need_buffer(int32_t n, int32_t g, int32_t consumer);
  // The group loads a buffer that a group of this stage stores.
  void loads(int32_t g, int32_t stage);
  void load_all(const Uses& uses, int32_t stage);  // each group of the uses once

  // At node n, whose turn it is: how many buffers the group reads for what is pending and for the
  // node's operands, if it computes all of it that it might.
  int leaves_below(int32_t g, int32_t n);

  // All uses of a node whose users are placed: its turn has come.
  Uses take_uses(int32_t n);
  // The buffers of the results that are this node.
  std::vector<int32_t> take_results(int32_t n);
  bool must_store(int32_t n) const { return must_store_[size_t(n)]; }

  // Costs nothing to read.
  bool constant_like(int32_t n) const { return facts(n).reads == 0 && facts(n).cycles == 0; }

 private:
  Plan& plan_;
  std::vector<Uses> uses_;
  std::vector<uint8_t> must_store_;
  std::unordered_map<int32_t, std::vector<int32_t>> results_;
};

}  // namespace cermet::compiler
