#pragma once
// Copies of expressions, which compute a value a second time.

#include <functional>
#include <unordered_map>

#include "ir/node.h"

namespace cermet::compiler {

using Copies = std::unordered_map<const ir::Node*, ir::Value>;

// A copy of y, and in `copies` one of every node below it that has none there. What `is_given` says
// of is not computed again, but read again once `after` is there (ir::Op::Recompute, which also
// keeps the copy from being the same node as the original).
ir::Value repeat_expression(const ir::Value& y, const ir::Value& after,
                            const std::function<bool(const ir::Node&)>& is_given, Copies& copies);

}  // namespace cermet::compiler
