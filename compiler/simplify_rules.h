#pragma once
// The table of the safe rewrites, and those that need more than a line.

#include <span>
#include <string_view>

#include "ir/node.h"

namespace cermet::compiler {

struct Rule {
  ir::Op op;              // of the nodes that it looks at
  std::string_view text;  // "left => right (condition)"
  // The node that replaces this one, or empty where the rule does not apply.
  ir::Value (*apply)(const ir::Node& node);
};

// Those for one op, in the order in which they are tried.
std::span<const Rule> rules_of(ir::Op op);
// All of them: also those that look at every op, which rules_of does not list.
std::span<const Rule> all_rules();

// The rules that look at every op.
std::span<const Rule> general_rules();

// Of nodes without operands that apply an elementwise op or a cast to constants.
ir::Value fold(const ir::Node& node);

// The structural rules (simplify_structure.cpp).
ir::Value reduce_of_constant(const ir::Node& node);
ir::Value gather_by_affine_index(const ir::Node& node);
ir::Value concat_without_empty(const ir::Node& node);
ir::Value hoist_over_broadcast(const ir::Node& node);

// The node with all rules applied to it, again and again until none does. Its operands must be
// simplified.
ir::Value settle(ir::Value value);

}  // namespace cermet::compiler
