// The rule table of the simplifier. simplify.h says what every rule promises.
//
// Legend: RULE(Op, "left => right", condition, right) for a node of that op whose operands are x, y
// and z, and which itself is `node`. c and d in the text are constants. Both sides of an op that
// commutes need no rows of their own where the constant is moved to the right first.

#include "compiler/simplify_rules.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "ir/build.h"
#include "ir/element.h"
#include "ir/eval.h"

namespace cermet::compiler {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

// What an operand is.
bool is_op(const Value& v, Op op) { return v->op == op; }
bool is_constant(const Value& v) { return v->op == Op::Constant; }
bool is_given(const Value& v) {
  return is_constant(v) || is_op(v, Op::Parameter) || is_op(v, Op::Data) || is_op(v, Op::Iota);
}
uint64_t constant_of(const Value& v) { return v->as<ir::ConstantAttr>().bits; }
bool has_bits(const Value& v, uint64_t bits) { return is_constant(v) && constant_of(v) == bits; }
bool is(const Value& v, double value) { return has_bits(v, ir::element_bits(v->dtype, value)); }
bool real(const Value& v) { return is_float(v->dtype); }
bool whole(const Value& v) { return !is_float(v->dtype); }  // bool as well
bool boolean(const Value& v) { return is_bool(v->dtype); }
bool is_nan(const Value& v) {
  return is_constant(v) && std::isnan(ir::element_to_double(v->dtype, constant_of(v)));
}
uint64_t all_ones(DType dtype) {
  return is_bool(dtype) ? 1 : ~uint64_t(0) >> (64 - bits_of(dtype));
}
bool is_ones(const Value& v) { return has_bits(v, all_ones(v->dtype)); }
// The least and the greatest element; of floats the infinities. Saturation gives those of integers.
bool is_least(const Value& v) { return is(v, -HUGE_VAL); }
bool is_greatest(const Value& v) { return is(v, HUGE_VAL); }
// -infinity rounds to true, though false is the least bool.
bool is_lowest(const Value& v) { return boolean(v) ? is(v, 0) : is_least(v); }

const Value& arg(const Value& v, size_t i = 0) { return v->operands[i]; }
bool is_not_of(const Value& v, const Value& w) { return is_op(v, Op::BitwiseNot) && arg(v) == w; }
bool is_rounded(const Value& v) {
  const bool rounding =
      is_op(v, Op::Floor) || is_op(v, Op::Ceil) || is_op(v, Op::Trunc) || is_op(v, Op::Round);
  return rounding || (is_op(v, Op::Cast) && whole(arg(v)));
}
bool is_cast_of_bool(const Value& v) { return is_op(v, Op::Cast) && boolean(arg(v)); }

// The exponent k of an integer 2^k, 0 < k.
int log2_of(const Value& v) {
  if (!is_constant(v) || !is_integer(v->dtype)) return 0;
  const uint64_t bits = constant_of(v);
  const bool negative = is_signed(v->dtype) && ir::element_to_int(v->dtype, bits) < 0;
  return !negative && std::has_single_bit(bits) ? std::countr_zero(bits) : 0;
}
// A float of which the reciprocal is exact, both normal: a power of two.
bool has_exact_reciprocal(const Value& v) {
  if (!is_constant(v) || !real(v)) return false;
  const uint64_t exponent = ir::element_bits(v->dtype, HUGE_VAL);
  const auto normal = [&](uint64_t bits) {
    return (bits & exponent) != 0 && (bits & exponent) != exponent;
  };
  const double value = ir::element_to_double(v->dtype, constant_of(v));
  int unused = 0;
  return normal(constant_of(v)) && std::fabs(std::frexp(value, &unused)) == 0.5 &&
         normal(ir::element_bits(v->dtype, 1 / value));
}

// Every value of `from` is one of `to`.
bool lossless(DType from, DType to) {
  const auto digits = [](DType dtype) {
    return visit(dtype, []<class T>(T) {
      if constexpr (std::is_same_v<T, Float16>)
        return 11;
      else if constexpr (std::is_same_v<T, BFloat16>)
        return 8;
      else
        return std::numeric_limits<T>::digits;
    });
  };
  if (from == to || is_bool(from)) return true;
  if (is_bool(to) || (is_float(from) && !is_float(to))) return false;
  if (is_signed(from) && is_unsigned(to)) return false;
  // Of 16 bits each, neither holds the other; f16 reaches 65504, enough for the integers that fit.
  if (is_float(from) && size_of(from) == size_of(to)) return false;
  return digits(from) <= digits(to);
}
// cast(cast(x, b), c) is cast(x, c): b keeps every value, or takes bits away that c takes as well.
// Floats saturate in integers and integers wrap, so an integer must not pass through a float.
bool casts_compose(DType a, DType b, DType c) {
  if (is_integer(a) && is_integer(b) && is_integer(c) && size_of(c) <= size_of(b)) return true;
  const bool through_float = !is_float(a) && is_float(b) && is_integer(c);
  return lossless(a, b) && (!through_float || lossless(a, c));
}

// Right sides.
Value bits_like(const Value& v, uint64_t bits) {
  return ir::constant_bits(v->dtype, v->shape, bits);
}
Value zeros(const Node& node) { return ir::constant_bits(node.dtype, node.shape, 0); }
Value truth(const Node& node, bool value) {
  return ir::constant_bits(DType::Bool, node.shape, value);
}
Value number(const Value& v, double value) { return ir::like(v, value); }
// The constant op(c, d).
Value folded(Op op, std::initializer_list<Value> constants) {
  return fold(*ir::make(op, SmallVector<Value, 3>(constants)));
}
// (x op c) op d, for `op` associative.
bool is_chain(Op op, const Value& x, const Value& y) {
  return is_op(x, op) && is_constant(arg(x, 1)) && is_constant(y);
}
Value merged(Op op, const Value& x, const Value& y) {
  return ir::elementwise(op, std::array{arg(x), folded(op, {arg(x, 1), y})});
}
Value swapped(const Node& node) {
  return ir::elementwise(node.op, std::array{node.operands[1], node.operands[0]});
}
bool constant_left(const Value& x, const Value& y) {
  return is_constant(x) && !is_constant(y) && !is_nan(x);
}

// Of structural ops.
int64_t extent(const Node& node, int64_t axis) { return node.operands[0]->shape[size_t(axis)]; }
bool reduces_ones_only(const Node& node) {
  for (int64_t axis : node.as<ir::ReduceAttr>().axes)
    if (extent(node, axis) != 1) return false;
  return true;
}
bool reads_one_position(const Node& view) {
  if (view.view().masked() || !view.view().single()) return false;
  for (int64_t stride : view.view().levels()[0].strides)
    if (stride != 0) return false;
  return true;
}
// Scatter reports an index that is out of range, so it stays even if there is nothing to write to.
bool is_empty(const Node& node) {
  if (node.numel() != 0 || (node.operands.empty() && node.op != Op::Iota)) return false;
  return node.op != Op::Scatter || node.operands[1]->numel() == 0;
}

#define RULE(Enum, text, condition, right)                            \
  Rule {                                                              \
    Op::Enum, text, [](const Node& node) -> Value {                   \
      [[maybe_unused]] const auto& in = node.operands;                \
      [[maybe_unused]] const Value none;                              \
      [[maybe_unused]] const Value& x = in.empty() ? none : in[0];    \
      [[maybe_unused]] const Value& y = in.size() > 1 ? in[1] : none; \
      [[maybe_unused]] const Value& z = in.size() > 2 ? in[2] : none; \
      return (condition) ? Value(right) : Value();                    \
    }                                                                 \
  }

// clang-format off
// Maximum and minimum: of the constant that changes nothing, and of the one that wins over all but NaN.
#define EXTREMUM_RULES(Enum, f, neutral, winning) \
  RULE(Enum, f "(x, x) => x", x == y, x), \
  RULE(Enum, f "(x, " #neutral ") => x", is_##neutral(y), x), \
  RULE(Enum, f "(" #neutral ", x) => x", is_##neutral(x), y), \
  RULE(Enum, f "(x, " #winning ") => " #winning " (not floats)", whole(x) && is_##winning(y), y), \
  RULE(Enum, f "(" #winning ", x) => " #winning " (not floats)", whole(x) && is_##winning(x), x), \
  RULE(Enum, f "(" f "(x, c), d) => " f "(x, " f "(c, d))", is_chain(Op::Enum, x, y), merged(Op::Enum, x, y))

constexpr auto table = std::to_array<Rule>({
  // Every op: the Op of these rows says nothing.
  RULE(Add, "an empty result => constant", is_empty(node), zeros(node)),
  RULE(Add, "f(c, d) => constant", true, fold(node)),
  RULE(Add, "f(broadcast(x), broadcast(y), c) => broadcast(f(x, y, c))", true, hoist_over_broadcast(node)),

  // Arithmetic
  RULE(Neg, "-(-x) => x", is_op(x, Op::Neg), arg(x)),
  RULE(Abs, "abs(x) => x (unsigned)", is_unsigned(x->dtype), x),
  RULE(Abs, "abs(abs(x)) => abs(x)", is_op(x, Op::Abs), x),
  RULE(Abs, "abs(-x) => abs(x) (not unsigned)", !is_unsigned(x->dtype) && is_op(x, Op::Neg), ir::abs(arg(x))),

  RULE(Add, "c + x => x + c", constant_left(x, y), swapped(node)),
  RULE(Add, "x + -0.0 => x", real(x) && is(y, -0.0), x),
  RULE(Add, "x + 0 => x (integers)", whole(x) && is(y, 0), x),
  RULE(Add, "x + -y => x - y", is_op(y, Op::Neg), ir::sub(x, arg(y))),
  RULE(Add, "-x + y => y - x", is_op(x, Op::Neg), ir::sub(y, arg(x))),
  RULE(Add, "(x + c) + d => x + (c + d) (integers)", whole(x) && is_chain(Op::Add, x, y), merged(Op::Add, x, y)),

  RULE(Sub, "x - 0.0 => x", is(y, 0), x),
  RULE(Sub, "-0.0 - x => -x", real(x) && is(x, -0.0), ir::neg(y)),
  RULE(Sub, "0 - x => -x (integers)", whole(x) && is(x, 0), ir::neg(y)),
  RULE(Sub, "x - -y => x + y", is_op(y, Op::Neg), ir::add(x, arg(y))),
  RULE(Sub, "x - x => 0 (integers)", whole(x) && x == y, zeros(node)),
  RULE(Sub, "x - c => x + -c (integers)", whole(x) && is_constant(y), ir::add(x, folded(Op::Neg, {y}))),

  RULE(Mul, "c * x => x * c", constant_left(x, y), swapped(node)),
  RULE(Mul, "x * 1 => x", is(y, 1), x),
  RULE(Mul, "x * -1 => -x", !is_unsigned(x->dtype) && is(y, -1), ir::neg(x)),
  RULE(Mul, "x * 0 => 0 (integers)", whole(x) && is(y, 0), zeros(node)),
  RULE(Mul, "-x * -y => x * y", is_op(x, Op::Neg) && is_op(y, Op::Neg), ir::mul(arg(x), arg(y))),
  RULE(Mul, "-x * c => x * -c", is_op(x, Op::Neg) && is_constant(y), ir::mul(arg(x), folded(Op::Neg, {y}))),
  RULE(Mul, "(x * c) * d => x * (c * d) (integers)", whole(x) && is_chain(Op::Mul, x, y), merged(Op::Mul, x, y)),

  RULE(Div, "x / 1 => x", is(y, 1), x),
  RULE(Div, "-x / -y => x / y", is_op(x, Op::Neg) && is_op(y, Op::Neg), ir::div(arg(x), arg(y))),
  RULE(Div, "x / 2^k => x * 2^-k (both normal)", has_exact_reciprocal(y), ir::mul(x, folded(Op::Div, {number(y, 1), y}))),

  RULE(FloorDivide, "x // 1 => x (integers)", whole(x) && is(y, 1), x),
  RULE(FloorDivide, "x // 2^k => x >> k (integers)", log2_of(y) > 0, ir::right_shift(x, number(y, log2_of(y)))),
  RULE(Remainder, "x % 1 => 0 (integers)", whole(x) && is(y, 1), zeros(node)),
  RULE(Remainder, "x % 2^k => x & (2^k - 1) (integers)", log2_of(y) > 0, ir::bitwise_and(x, bits_like(y, constant_of(y) - 1))),
  RULE(Fmod, "fmod(x, 1) => 0 (integers)", whole(x) && is(y, 1), zeros(node)),
  RULE(Fmod, "fmod(x, 2^k) => x & (2^k - 1) (unsigned)", is_unsigned(x->dtype) && log2_of(y) > 0, ir::bitwise_and(x, bits_like(y, constant_of(y) - 1))),

  // pow itself may be off in the last bit where x * x and 1 / x are rounded correctly.
  RULE(Pow, "pow(x, 0) => 1", is(y, 0) || is(y, -0.0), number(x, 1)),
  RULE(Pow, "pow(x, 1) => x", is(y, 1), x),
  RULE(Pow, "pow(x, 2) => x * x", is(y, 2), ir::mul(x, x)),
  RULE(Pow, "pow(x, -1) => 1 / x (floats)", real(x) && is(y, -1), ir::div(number(x, 1), x)),
  RULE(Pow, "pow(1, y) => 1", is(x, 1), x),

  // maximum gives y if y is NaN or x < y, else x: with equal zeros the first stays.
  EXTREMUM_RULES(Maximum, "max", lowest, greatest),
  EXTREMUM_RULES(Minimum, "min", greatest, lowest),
  RULE(Copysign, "copysign(x, x) => x", x == y, x),

  // Rounding: what is whole already, infinities and NaN stay.
  RULE(Floor, "floor(whole) => whole", is_rounded(x), x),
  RULE(Ceil, "ceil(whole) => whole", is_rounded(x), x),
  RULE(Trunc, "trunc(whole) => whole", is_rounded(x), x),
  RULE(Round, "round(whole) => whole", is_rounded(x), x),

  // Comparisons: NaN is unequal to itself.
  RULE(Eq, "c == x => x == c", constant_left(x, y), swapped(node)),
  RULE(Eq, "x == x => true (not floats)", whole(x) && x == y, truth(node, true)),
  RULE(Eq, "x == true => x", boolean(x) && is(y, 1), x),
  RULE(Eq, "x == false => ~x", boolean(x) && is(y, 0), ir::bitwise_not(x)),
  RULE(Eq, "cast(b) == 0 => ~b", is_cast_of_bool(x) && is(y, 0), ir::bitwise_not(arg(x))),
  RULE(Ne, "c != x => x != c", constant_left(x, y), swapped(node)),
  RULE(Ne, "x != x => false (not floats)", whole(x) && x == y, truth(node, false)),
  RULE(Ne, "x != false => x", boolean(x) && is(y, 0), x),
  RULE(Ne, "x != true => ~x", boolean(x) && is(y, 1), ir::bitwise_not(x)),
  RULE(Ne, "cast(b) != 0 => b", is_cast_of_bool(x) && is(y, 0), arg(x)),
  RULE(Lt, "x < x => false", x == y, truth(node, false)),
  RULE(Lt, "x < lowest => false (not floats)", whole(x) && is_lowest(y), truth(node, false)),
  RULE(Lt, "greatest < x => false (not floats)", whole(x) && is_greatest(x), truth(node, false)),
  RULE(Le, "x <= x => true (not floats)", whole(x) && x == y, truth(node, true)),
  RULE(Le, "lowest <= x => true (not floats)", whole(x) && is_lowest(x), truth(node, true)),
  RULE(Le, "x <= greatest => true (not floats)", whole(x) && is_greatest(y), truth(node, true)),

  // Bits and logic
  RULE(BitwiseNot, "~~x => x", is_op(x, Op::BitwiseNot), arg(x)),
  RULE(BitwiseNot, "~(x == y) => x != y", is_op(x, Op::Eq), ir::ne(arg(x), arg(x, 1))),
  RULE(BitwiseNot, "~(x != y) => x == y", is_op(x, Op::Ne), ir::eq(arg(x), arg(x, 1))),
  RULE(BitwiseNot, "~(x < y) => y <= x (not floats)", is_op(x, Op::Lt) && whole(arg(x)), ir::le(arg(x, 1), arg(x))),
  RULE(BitwiseNot, "~(x <= y) => y < x (not floats)", is_op(x, Op::Le) && whole(arg(x)), ir::lt(arg(x, 1), arg(x))),
  RULE(BitwiseAnd, "c & x => x & c", constant_left(x, y), swapped(node)),
  RULE(BitwiseAnd, "x & x => x", x == y, x),
  RULE(BitwiseAnd, "x & 0 => 0", is(y, 0), y),
  RULE(BitwiseAnd, "x & ~0 => x", is_ones(y), x),
  RULE(BitwiseAnd, "x & ~x => 0", is_not_of(x, y) || is_not_of(y, x), zeros(node)),
  RULE(BitwiseAnd, "(x & c) & d => x & (c & d)", is_chain(Op::BitwiseAnd, x, y), merged(Op::BitwiseAnd, x, y)),
  RULE(BitwiseOr, "c | x => x | c", constant_left(x, y), swapped(node)),
  RULE(BitwiseOr, "x | x => x", x == y, x),
  RULE(BitwiseOr, "x | 0 => x", is(y, 0), x),
  RULE(BitwiseOr, "x | ~0 => ~0", is_ones(y), y),
  RULE(BitwiseOr, "x | ~x => ~0", is_not_of(x, y) || is_not_of(y, x), bits_like(x, all_ones(x->dtype))),
  RULE(BitwiseOr, "(x | c) | d => x | (c | d)", is_chain(Op::BitwiseOr, x, y), merged(Op::BitwiseOr, x, y)),
  RULE(BitwiseXor, "c ^ x => x ^ c", constant_left(x, y), swapped(node)),
  RULE(BitwiseXor, "x ^ x => 0", x == y, zeros(node)),
  RULE(BitwiseXor, "x ^ 0 => x", is(y, 0), x),
  RULE(BitwiseXor, "x ^ ~0 => ~x", is_ones(y), ir::bitwise_not(x)),
  RULE(BitwiseXor, "(x ^ c) ^ d => x ^ (c ^ d)", is_chain(Op::BitwiseXor, x, y), merged(Op::BitwiseXor, x, y)),
  RULE(LeftShift, "x << 0 => x", is(y, 0), x),
  RULE(RightShift, "x >> 0 => x", is(y, 0), x),

  // Selection: where(x, y, z)
  RULE(Where, "where(true, y, z) => y", is(x, 1), y),
  RULE(Where, "where(false, y, z) => z", is(x, 0), z),
  RULE(Where, "where(x, y, y) => y", y == z, y),
  RULE(Where, "where(~x, y, z) => where(x, z, y)", is_op(x, Op::BitwiseNot), ir::where(arg(x), z, y)),
  RULE(Where, "where(x, true, false) => x", boolean(y) && is(y, 1) && is(z, 0), x),
  RULE(Where, "where(x, false, true) => ~x", boolean(y) && is(y, 0) && is(z, 1), ir::bitwise_not(x)),
  RULE(Where, "where(x, where(x, y, _), z) => where(x, y, z)", is_op(y, Op::Where) && arg(y) == x, ir::where(x, arg(y, 1), z)),
  RULE(Where, "where(x, y, where(x, _, z)) => where(x, y, z)", is_op(z, Op::Where) && arg(z) == x, ir::where(x, y, arg(z, 2))),

  // Conversions
  RULE(Cast, "cast(x) => x (same dtype)", x->dtype == node.dtype, x),
  RULE(Cast, "cast(cast(x)) => cast(x) (the inner one loses nothing that the outer one keeps)",
       is_op(x, Op::Cast) && casts_compose(arg(x)->dtype, x->dtype, node.dtype), ir::cast(arg(x), node.dtype)),
  RULE(Bitcast, "bitcast(x) => x (same dtype)", x->dtype == node.dtype, x),
  RULE(Bitcast, "bitcast(bitcast(x)) => bitcast(x)", is_op(x, Op::Bitcast), ir::bitcast(arg(x), node.dtype)),

  // Views
  RULE(View, "view(view(x)) => view(x)", is_op(x, Op::View), ir::view(x, node.view())),
  RULE(View, "view(x) => x (identity)", node.view().is_identity() && node.shape == x->shape, x),
  RULE(View, "view(c) => constant", is_constant(x) && (!node.view().masked() || is(x, 0)), ir::constant_bits(node.dtype, node.shape, constant_of(x))),
  RULE(View, "view(x) => 0 (nothing is valid)", node.view().never_valid(), zeros(node)),
  RULE(View, "view(iota) => constant (of one position)", is_op(x, Op::Iota) && reads_one_position(node), ir::constant(DType::I64, node.shape, node.view().levels()[0].offset)),
  RULE(Iota, "iota(1) => 0", node.numel() == 1, zeros(node)),

  // Reductions and scans. A sum starts from its first element, so one of one element is that one.
  RULE(Reduce, "reduce(x) => reshape(x) (over extents of 1)", reduces_ones_only(node), ir::reshape(x, node.shape)),
  RULE(Reduce, "reduce(c) => constant (exact ones)", true, reduce_of_constant(node)),
  RULE(ArgReduce, "argmax(x) => 0 (one element, or all equal)", is_constant(x) || extent(node, node.as<ir::CombineAttr>().axis) == 1, zeros(node)),
  RULE(Scan, "scan(x) => x (inclusive, one element)", !node.as<ir::ScanAttr>().exclusive && extent(node, node.as<ir::ScanAttr>().axis) == 1, x),
  RULE(ArgSort, "argsort(x) => 0 (one element)", extent(node, node.as<ir::SortAttr>().axis) == 1, zeros(node)),

  // Products of nothing
  RULE(Dot, "dot(x, y) => 0 (no inner elements)", x->shape[2] == 0, zeros(node)),
  RULE(Conv, "conv(x, y) => 0 (no channels)", x->shape[2] == 0, zeros(node)),

  // Moving elements
  RULE(Gather, "gather(x, affine) => view(x) (all in range)", true, gather_by_affine_index(node)),
  RULE(Scatter, "scatter(x, nothing) => x", y->numel() == 0, x),
  RULE(Concat, "concat(x) => x", in.size() == 1, x),
  RULE(Concat, "concat(x, empty, y) => concat(x, y), concat(c, c) => c", true, concat_without_empty(node)),

  // Marks that mean something to autograd only
  RULE(Leaf, "leaf(x) => x", true, x),
  RULE(StopGradient, "stop_gradient(x) => x", true, x),
  RULE(CustomGradient, "custom_gradient(x, ...) => x", true, x),
  RULE(Recompute, "recompute(c, x) => c", is_constant(x), x),
  RULE(Recompute, "recompute(x, y) => x (y is there from the start)", is_given(y) || (is_op(y, Op::View) && is_given(arg(y))), x),
  RULE(Barrier, "barrier(barrier(x)) => barrier(x)", is_op(x, Op::Barrier), x),
});
// clang-format on
#undef RULE

constexpr size_t general_count = 3;

// Where the rules of each op begin and end: the rows of an op stand together.
struct Rows {
  size_t begin = 0, end = 0;
};
constexpr std::array<Rows, ir::op_count> rows = [] {
  std::array<Rows, ir::op_count> out{};
  for (size_t i = general_count; i < table.size(); ++i) {
    Rows& of = out[size_t(table[i].op)];
    if (of.end == 0) of.begin = of.end = i;
    if (of.end != i) throw "the rows of one op stand apart";
    of.end = i + 1;
  }
  return out;
}();

}  // namespace

std::span<const Rule> general_rules() { return std::span(table).first(general_count); }
std::span<const Rule> all_rules() { return table; }
std::span<const Rule> rules_of(Op op) {
  const Rows of = rows[size_t(op)];
  return std::span(table).subspan(of.begin, of.end - of.begin);
}

}  // namespace cermet::compiler
