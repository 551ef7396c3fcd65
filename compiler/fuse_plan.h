#pragma once
// What fusion decides before any kernel is written: which nodes get buffers, and which group
// (future kernel) computes each of them.
//
// Nodes are placed from the results backwards, so that when a node's turn comes every use of it is
// known as (group, map from the group's space to the node's elements). A pointwise node is then
// either repeated inside all groups that use it, or computed in one group and stored for the
// others; reductions, scans and contractions are always computed once. A group starts as a map over
// the shape of the node that it was made for. When a reduction joins, the space becomes rows x
// columns: either some of its axes turn out to be the reduced ones (the map was an element-wise use
// of the broadcast reduction), or the reduced axes are added (the map was an epilogue). Later
// reductions join if they have the same rows and columns, which is what makes softmax or layer norm
// one kernel.
//
// No cycle can arise: every group has a stage, and whoever stores what another group loads has the
// larger stage. Joining, merging and raising a stage compare two integers.

#include <array>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "compiler/fuse_maps.h"
#include "compiler/kernels.h"
#include "compiler/target.h"

namespace cermet::compiler {

inline constexpr int max_group_ops = 128;
inline constexpr int max_group_buffers = 16;

enum class NodeKind : uint8_t {
  Free,       // Parameter, Constant, Iota, View, Recompute: never computed, read where needed
  Pointwise,  // elementwise, Cast, Bitcast, Gather: may be computed more than once
  Once,       // Reduce, ArgReduce, Scan, Dot, Conv
  Written     // Scatter, Concat, ArgSort, Barrier: a buffer filled by groups of its own
};

struct NodeFacts {
  const ir::Node* node;
  NodeKind kind;
  bool epilogue = false;     // a Once node reaches it elementwise: computing it there is free
  int32_t anchor = -1;       // epilogue: that node, if it is a Reduce or ArgReduce
  int32_t source = -1;       // epilogue of contractions: the one value right behind them that it
                             // is computed from, or -1
  int again = 0;             // cycles of that; 0: it is that value
  int32_t frame = -1;        // the last Reduce it depends on with no contraction after that
  int32_t contractions = 0;  // on the longest path from a leaf
  int cycles = 0;            // of repeating it, up to what is certainly in a buffer
  int reads = 0;             // how many values it would read then
  SmallVector<int32_t, 3> operands;
};

struct Group {
  enum class Kind : uint8_t { Map, Row, Contract, Scatter, Sort };
  // A value that the group stores: where its elements lie in the group's space and in the buffer.
  struct Root {
    int32_t node;
    int32_t map;                          // plan.maps: space to elements of the node
    int32_t buffer;                       // plan.buffers
    std::optional<ir::StridedMap> slice;  // node elements to buffer, if not row-major
    int32_t index = -1;                   // Scatter: node of the positions
    int64_t stride = 0, extent = 0;
    ir::Combine combine = ir::Combine::Set;
  };

  Kind kind = Kind::Map;
  int32_t merged_into = -1;
  int32_t number = 0;        // of the node it was made for
  Shape axes;                // without extents of 1
  AxisFlags inner;           // one for each axis
  bool one_inner = false;    // the inner axis must not be divided: Scan, ArgReduce, Scatter
  int32_t scans = 0;         // 1: forwards, -1: backwards; 0: none
  int32_t stage = 0;         // larger than the stages of all groups that load what it stores
  int32_t feeder = 1 << 30;  // at most the smallest stage of the groups whose values it loads
  int32_t ops = 0, streams = 0, pending = 0;
  std::vector<int32_t> awaited;  // the nodes that were or are pending
  std::vector<Root> roots;
  int32_t sort_node = -1;  // Sort: the ArgSort

  int64_t rows() const;
  int64_t columns() const;
};

// Rows, columns and the first reduced axis of a reduction.
using Frame = std::array<int64_t, 3>;
Frame frame_of(const ir::Node& reduction);

struct Plan {
  std::vector<NodeFacts> nodes;  // in topological order
  std::unordered_map<const ir::Node*, int32_t> index;
  std::vector<Group> groups;
  std::vector<ir::ViewMap> maps;
  std::vector<KernelBuffer> buffers;
  std::vector<int32_t> buffer_of;  // per node: where others load it from, or -1
  std::vector<int32_t> group_of;   // per node: the group that computes and stores it, or -1
  std::set<Frame> programs;        // of reductions that need another one of the same frame
  std::vector<bool> once;          // per node, or empty: see Expr::once
  std::vector<Refusal> refusals;

  int32_t find(int32_t group);  // the group that it was merged into
  // The map in the present axes of its group: over all axes, or over the outer ones (a row).
  struct Place {
    int32_t map;
    bool row;
  };
  Place place(int32_t group, int32_t map);
  std::string describe(int32_t node) const;  // "%12 = exp : f32[4,8]"
};

// Kind, costs and operands of all nodes that the results need.
Plan plan_nodes(const ir::Graph& graph);
// Which nodes have one use, by an op that computes with it, through any number of views.
std::vector<bool> used_once(const ir::Graph& graph, const Plan& plan);
// Fills in the rest.
void plan_groups(const ir::Graph& graph, const Target& target, Plan& plan);

}  // namespace cermet::compiler
