#include "ir/gradient.h"

#include <fmt/format.h>

#include "cermet/error.h"

#include <numbers>

#include "ir/check.h"
#include "ir/gradient_rules.h"
#include "ir/view_transpose.h"

namespace cermet::ir {
namespace {

Grads zero_gradient(const Diff& d) { return Grads(d.x.size()); }

// PyTorch's conventions (pow_backward in FunctionsManual.cpp). The base: 0 where the exponent is 0,
// even at base 0. The exponent: 0 where the base is 0 and the exponent is not negative, and NaN
// (the logarithm's) for a negative base.
Grads pow_gradient(const Diff& d) {
  const Value &base = d.x[0], &exponent = d.x[1];
  const Value zero = zeros_like(d.dy);
  Value base_adjoint;
  if (const auto c = constant_value(*exponent)) {
    if (*c == 1) base_adjoint = d.dy;
    if (*c == 2) base_adjoint = d.dy * (exponent * base);
    if (*c != 0 && *c != 1 && *c != 2) base_adjoint = d.dy * (exponent * pow(base, exponent - 1.0));
  } else {
    base_adjoint = where(eq(exponent, zero), zero, d.dy * (exponent * pow(base, exponent - 1.0)));
  }
  const Value flat = bitwise_and(eq(base, zero), le(zero, exponent));
  return {base_adjoint, where(flat, zero, d.dy * (d.y * log(base)))};
}

// Minimum and maximum: the winner gets the adjoint, at a tie each gets half, and both get all of it
// where one is NaN (PyTorch's rule).
Grads extremum_gradient(const Diff& d) {
  const Value zero = zeros_like(d.dy), &a = d.x[0], &b = d.x[1];
  const Value shared = where(eq(a, b), d.dy * 0.5, d.dy);
  const Value less = lt(a, b), greater = lt(b, a);
  const bool minimum = d.y->op == Op::Minimum;
  return {where(minimum ? greater : less, zero, shared),
          where(minimum ? less : greater, zero, shared)};
}

// a / r, where r is the distance of a point from the origin; 0 at the origin.
Value over_distance(const Value& a, const Value& r) {
  const Value zero = zeros_like(r);
  return where(eq(r, zero), zero, a / r);
}

// (a, b) / hypot(a, b). At the origin 0, the middle of the possible slopes, as abs has it.
Grads hypot_gradient(const Diff& d) {
  return {d.dy * over_distance(d.x[0], d.y), d.dy * over_distance(d.x[1], d.y)};
}

// atan2(a, b): (b, -a) / (a^2 + b^2), by hypot so that squares do not overflow; 0 at the origin, as
// in PyTorch.
Grads atan2_gradient(const Diff& d) {
  const Value r = hypot(d.x[0], d.x[1]);
  return {d.dy * over_distance(over_distance(d.x[1], r), r),
          -d.dy * over_distance(over_distance(d.x[0], r), r)};
}

using Rule = Grads (*)(const Diff&);

// A row without a rule does not compile.
constexpr Rule elementwise_rules[] = {
#define OP(Enum, name, arity, operands, result, cycles, eval, grad, lower) static_cast<Rule>(grad),
#include "cermet/ops.def"
};
static_assert(std::size(elementwise_rules) == op_count - structural_op_count);

// The tangent of an elementwise op: its adjoints are linear in dy and act on each element alone, so
// the adjoint of operand i for dy = the tangent of i is what i contributes.
Value elementwise_tangent(const Value& y, std::span<const Value> tangents) {
  Grads parts;
  for (size_t i = 0; i < tangents.size(); ++i)
    if (tangents[i]) parts.push_back(elementwise_adjoints(y->op, {y->operands, y, tangents[i]})[i]);
  return sum_gradients(parts);
}

// A bitcast of integers carries no gradient; that of floats has none that means anything.
[[noreturn]] void no_gradient(const Node& y) {
  throw Error(fmt::format("{}: has no gradient ({} to {})", name(y.op), type_string(*y.operands[0]),
                          type_string(y)));
}

Grads custom_adjoints(const Value& y, const Value& dy) {
  const std::span<const Value> inputs = std::span<const Value>(y->operands).subspan(1);
  const std::vector<Value> found =
      y->as<CustomGradientAttr>().rule->operands_adjoints(inputs, y, dy);
  if (found.size() != inputs.size())
    throw Error(fmt::format("custom_gradient: the rule returned {} adjoints for {} operands",
                            found.size(), inputs.size()));
  Grads out(1);
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i] && (found[i]->dtype != inputs[i]->dtype || found[i]->shape != inputs[i]->shape))
      throw Error(fmt::format("custom_gradient: adjoint {} is {}, its operand is {}", i,
                              type_string(*found[i]), type_string(*inputs[i])));
    out.push_back(found[i]);
  }
  return out;
}

}  // namespace

DType wide(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16 ? DType::F32 : dtype; }

std::shared_ptr<const GradientRule> identity_rule() {
  class Identity : public GradientRule {
   public:
    std::vector<Value> operands_adjoints(std::span<const Value>, const Value&,
                                         const Value& adjoint) const override {
      return {adjoint};
    }
  };
  // Never destroyed: destructors of static objects may differentiate, too.
  static const auto* const rule =
      new std::shared_ptr<const GradientRule>(std::make_shared<const Identity>());
  return *rule;
}

namespace {

// Of a view that is 0 but for one slice along one axis.
struct OnlySlice {
  size_t axis;
  int64_t begin, end;
};

std::optional<OnlySlice> only_slice(const Value& v) {
  if (v->op != Op::View) return std::nullopt;
  const StridedMap& m = v->view().levels()[0];
  std::optional<OnlySlice> out;
  for (size_t d = 0; d < m.shape.size(); ++d) {
    if (m.begin[d] == 0 && m.end[d] == m.shape[d]) continue;
    if (out) return std::nullopt;
    out = {d, m.begin[d], m.end[d]};
  }
  return out;
}

// The sum of gradients of slices that follow each other along an axis and are all there is of it,
// as those of a split: the slices one after the other. Else nothing.
Value sum_of_slices(std::span<const Value> terms) {
  std::vector<std::pair<OnlySlice, Value>> parts;
  for (const Value& term : terms) {
    if (!term) continue;
    const auto part = only_slice(term);
    if (!part || part->axis != (parts.empty() ? *part : parts[0].first).axis) return {};
    parts.emplace_back(*part, term);
  }
  if (parts.size() < 2) return {};
  std::ranges::sort(parts, {}, [](const auto& part) { return part.first.begin; });
  int64_t at = 0;
  std::vector<Value> slices;
  for (const auto& [part, term] : parts) {
    if (part.begin != at || part.end <= at) return {};
    at = part.end;
    slices.push_back(slice(term, int64_t(part.axis), part.begin, part.end));
  }
  const size_t axis = parts[0].first.axis;
  return at == parts[0].second->shape[axis] ? concat(slices, int64_t(axis)) : Value();
}

}  // namespace

Value sum_gradients(std::span<const Value> terms) {
  if (Value slices = sum_of_slices(terms)) return slices;
  Value first, total;  // total is in the wide dtype, once there are two
  for (const Value& term : terms) {
    if (!term) continue;
    if (!first) {
      first = term;
      continue;
    }
    total = (total ? total : cast(first, wide(first->dtype))) + cast(term, wide(term->dtype));
  }
  return total ? cast(total, first->dtype) : first;
}

Grads elementwise_adjoints(Op op, const Diff& d) {
  CERMET_CHECK(is_elementwise(op), "{} is not in the op table", name(op));
  Grads grads = elementwise_rules[size_t(op) - structural_op_count](d);
  CERMET_CHECK(grads.size() == d.x.size(), "the rule of {} returned {} adjoints", name(op),
               grads.size());
  return grads;
}

Grads adjoints(const Value& y, const Value& dy) {
  const Node& node = *y;
  const auto& x = node.operands;
  switch (node.op) {
#define OP(Enum, ...) case Op::Enum:
#include "cermet/ops.def"
    return elementwise_adjoints(node.op, {x, y, dy});
    case Op::Parameter:
    case Op::Data:
    case Op::Constant:
    case Op::Iota: return {};
    case Op::Cast: return {is_float(x[0]->dtype) ? cast(dy, x[0]->dtype) : Value()};
    case Op::Bitcast:
      if (is_float(x[0]->dtype)) no_gradient(node);
      return Grads(1);
    case Op::View: return {transpose_view(node.view(), x[0]->shape, dy)};
    case Op::Reduce: return {reduce_adjoint(y, dy)};
    case Op::Scan: return {scan_adjoint(y, dy)};
    case Op::Dot: return dot_adjoints(y, dy);
    case Op::Conv: return conv_adjoints(y, dy);
    case Op::Gather: return gather_adjoints(y, dy);
    case Op::Scatter: return scatter_adjoints(y, dy);
    case Op::Concat: return concat_adjoints(y, dy);
    case Op::ArgReduce:
    case Op::ArgSort:
    case Op::StopGradient: return Grads(1);
    case Op::Leaf: return {dy};
    case Op::Barrier: return {barrier(dy)};
    case Op::Recompute: return {dy, Value()};
    case Op::CustomGradient: return custom_adjoints(y, dy);
  }
  __builtin_unreachable();
}

Value tangent(const Value& y, std::span<const Value> t) {
  const Node& node = *y;
  const auto& x = node.operands;
  bool all_zero = true;
  for (const Value& v : t) all_zero &= !v;
  if (all_zero || !is_float(node.dtype)) return {};
  switch (node.op) {
#define OP(Enum, ...) case Op::Enum:
#include "cermet/ops.def"
    return elementwise_tangent(y, t);
    case Op::Parameter:
    case Op::Data:
    case Op::Constant:
    case Op::Iota:
    case Op::ArgReduce:
    case Op::ArgSort:
    case Op::StopGradient: return {};
    case Op::Cast: return cast(t[0], node.dtype);
    case Op::Bitcast: no_gradient(node);
    case Op::View: return view(t[0], node.view());
    case Op::Reduce: return reduce_tangent(y, t[0]);
    case Op::Scan: return scan_tangent(y, t[0]);
    case Op::Dot:
    case Op::Conv: return bilinear_tangent(y, t);
    case Op::Gather: return gather(t[0], x[1], node.as<AxisAttr>().axis);
    case Op::Scatter: return scatter_tangent(y, t);
    case Op::Concat: return concat_tangent(y, t);
    case Op::Leaf:
    case Op::Recompute: return t[0];
    case Op::Barrier: return barrier(t[0]);
    case Op::CustomGradient:
      CERMET_CHECK(false, "the caller transposes the rule of a custom gradient");
  }
  __builtin_unreachable();
}

}  // namespace cermet::ir
