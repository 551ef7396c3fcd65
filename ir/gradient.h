#pragma once
// How one op is differentiated, as graph nodes: reverse mode (adjoints) and forward mode
// (tangents). The transforms over whole graphs are in compiler/autograd.h.
//
// Only floats have gradients: integers and bool carry none, and no rule ever sees an adjoint or a
// tangent of one. An empty Value stands for a gradient that is zero everywhere, and rules return it
// rather than a constant, so that nothing is computed for it.
//
// The rules give exact zeros where nothing flows (the branch that where did not take), but they
// cannot undo what an op does to a zero adjoint: where(x > 0, log(x), 0) has the gradient 0 / 0 =
// NaN at x = 0, as in PyTorch and JAX, unless the operand of log is guarded as well.

#include "ir/build.h"

namespace cermet::ir {

// What the rule of an elementwise op sees: the operands, the result (the op's node) and the adjoint
// of the result.
struct Diff {
  std::span<const Value> x;
  Value y;
  Value dy;
};

// One for each operand.
using Grads = SmallVector<Value, 3>;

// The adjoints of an elementwise op's operands, by its row in the op table. They are linear in dy.
Grads elementwise_adjoints(Op op, const Diff& d);

// The adjoints of the operands of `y`, whose own adjoint is `dy`. Throws Error that names the op if
// it has no gradient, and if a custom rule does not return what it must.
Grads adjoints(const Value& y, const Value& dy);

// The tangent of `y`, given those of its operands: the directional derivative. Not for a
// CustomGradient, whose rule speaks of adjoints only. Throws Error as adjoints() does.
Value tangent(const Value& y, std::span<const Value> tangents);

// The rule of a custom gradient with one operand of its own shape and dtype, to which it passes the
// adjoint on.
std::shared_ptr<const GradientRule> identity_rule();

// The sum of gradients that meet, in their order; empty terms count as zero. f16 and bf16 are added
// in f32 and rounded once.
Value sum_gradients(std::span<const Value> terms);

}  // namespace cermet::ir
