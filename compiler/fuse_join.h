#pragma once
// Whether a node can be computed once inside a group, by its index maps alone; and merging two
// groups. Caps, stages and stores are the planner's business.

#include "compiler/fuse_plan.h"

namespace cermet::compiler {

// One way in which a group uses a node.
struct Site {
  int32_t group;
  int32_t map;  // in the group's present axes; -1: needs the buffer itself
  bool row;     // the map is over the outer axes
  int32_t consumer;
  bool late = false;  // Use::late
};

class Joiner {
 public:
  explicit Joiner(Plan& plan) : plan_(plan) {}

  // Makes the group compute the node at this site, each element once; the group's axes may be
  // divided or become rows and columns. An empty string, or why not (then nothing changed but
  // divisions of axes). With `part` it may compute only the elements that are used there.
  std::string join(const NodeFacts& facts, const Site& site, bool part);
  // Whether the group has rows and columns, and the reduction has others.
  bool has_other_frame(int32_t group, const NodeFacts& reduction) const;
  // For a value computed from a reduction's result that is broadcast at the site: gives the group
  // that reduction's rows and columns, if it has none yet. The reduction itself may join later.
  bool anticipate(const NodeFacts& reduction, const Site& site);
  // After a successful join: the map of the site in the group's axes now.
  int32_t take_map() const { return joined_map_; }

  // Merges b into a if they have one space, read a node of so many elements by the same map, and
  // no order between them is needed. Maps are plan.maps of either group.
  bool merge(int32_t a, int32_t b, int32_t map_a, int32_t map_b, int64_t elements);

  // The map to the elements of an operand of a Once node computed at the site.
  ir::ViewMap operand_at(const ir::Node& node, size_t operand, const Site& site);

 private:
  std::string join_pointwise(const NodeFacts& facts, const Site& site);
  std::string join_reduction(const NodeFacts& facts, const Site& site, bool part);
  std::string join_scan(const NodeFacts& facts, const Site& site);
  std::string join_contraction(const NodeFacts& facts, const Site& site, bool part);
  std::string become_rows(const NodeFacts& facts, const Site& site, bool part);
  void add_reduced(Group& g, const NodeFacts& facts, const ir::ViewMap& map) const;
  void divide(int32_t group, int32_t map);
  void set_axes(Group& group, const std::vector<Shape>& parts);

  Plan& plan_;
  int32_t joined_map_ = -1;
};

}  // namespace cermet::compiler
