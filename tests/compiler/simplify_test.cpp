// Every rule of the simplifier: that it fires where it should, that its tempting neighbours which
// are true of real numbers only do not, and that neither changes a bit under the interpreter.
#include "compiler/simplify.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "compiler/simplify_rules.h"
#include "ir/build.h"
#include "ir/element.h"
#include "ir/interpreter.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "support/catch.h"
#include "support/repeats.h"

using namespace cermet;
using namespace cermet::ir;
using compiler::simplify;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t extent = 24;

Value input(int64_t slot, DType dtype, const Shape& shape = {extent}) {
  return parameter(slot, dtype, shape);
}

// The parameters that the results need, one for each slot up to the largest.
Graph graph_of(std::vector<Value> results) {
  Graph g{{}, std::move(results)};
  for (const Node* node : topological_order(g.results)) {
    if (node->op != Op::Parameter) continue;
    const size_t slot = size_t(node->as<ParameterAttr>().slot);
    while (g.parameters.size() <= slot)
      g.parameters.push_back(parameter(int64_t(g.parameters.size()), DType::F32, {}));
    g.parameters[slot] = Value(node);
  }
  return g;
}

// Special values first, then random ones of all magnitudes; NaN without a payload.
HostArray elements(DType dtype, const Shape& shape, std::mt19937_64& random) {
  HostArray out(dtype, shape);
  const double specials[] = {0.0, -0.0, 1,   -1,   infinity, -infinity, nan,   0.5,  2,
                             -2,  3,    127, -128, 255,      65504,     1e-40, -7.5, 1e30};
  for (int64_t i = 0; i < out.numel(); ++i) {
    const bool special = random() % 2;
    double value = specials[random() % std::size(specials)];
    if (!special) value = std::ldexp(double(int64_t(random())), -int(random() % 80));
    if (dtype == DType::Bool) value = double(random() % 2);
    uint64_t bits = element_bits(dtype, value);
    if (is_integer(dtype) && !special) bits = random() >> (64 - bits_of(dtype));
    out.set_bits(i, bits);
  }
  return out;
}

bool same_elements(const HostArray& a, const HostArray& b) {
  if (a.dtype != b.dtype || a.shape != b.shape) return false;
  for (int64_t i = 0; i < a.numel(); ++i) {
    if (a.bits(i) == b.bits(i)) continue;
    if (!std::isnan(a.number(i)) || !std::isnan(b.number(i))) return false;
  }
  return true;
}

// Both graphs give the same bits for a few random inputs, and a second run changes nothing.
void check_same_meaning(const Graph& before, const Graph& after, uint64_t seed = 1) {
  CAPTURE(seed, print(before), print(after));
  REQUIRE(verify(after).empty());
  CHECK(after.parameters == before.parameters);
  CHECK(simplify(after).results == after.results);
  std::mt19937_64 random(seed);
  for (int run = 0; run < 4; ++run) {
    std::vector<HostArray> inputs;
    for (const Value& p : before.parameters) inputs.push_back(elements(p->dtype, p->shape, random));
    const std::vector<HostArray> expected = interpret(before, inputs);
    const std::vector<HostArray> got = interpret(after, inputs);
    for (size_t i = 0; i < expected.size(); ++i) {
      INFO(to_string(expected[i], 100) << "\n" << to_string(got[i], 100));
      CHECK(same_elements(expected[i], got[i]));
    }
  }
}

struct Example {
  std::string_view rule;
  Value before, after;
};

// One example for each rule at least.
std::vector<Example> examples() {
  const Value x = input(0, DType::F32), y = input(1, DType::F32);
  const Value h = input(0, DType::F16), i = input(0, DType::I32), j = input(1, DType::I32);
  const Value u = input(0, DType::U8), b = input(0, DType::Bool), c = input(1, DType::Bool);
  const Value l = input(0, DType::I64), m = input(0, DType::F32, {4, 6});
  const Value yes = like(b, 1), no = like(b, 0), none = input(2, DType::F32, {0});
  const Value row = input(0, DType::F32, {6});
  const Value column = input(0, DType::F32, {4, 1});
  const Dims first{0}, second{1};
  const auto k = [](const Value& v, double value) { return like(v, value); };
  const auto wide = [](const Value& v) { return expand(v, Shape{4, 6}); };
  const auto at = [](int64_t axis, double value) {
    return constant(DType::I64, axis == 0 ? Shape{2, 6} : Shape{4, 2}, value);
  };
  const Value parts[] = {x, none, y}, twice[] = {k(x, 2), k(x, 2)};
  const Value full[] = {x, y};
  return {
      {"an empty result => constant", sin(none), zeros_like(none)},
      {"an empty result => constant", iota(0), constant(DType::I64, {0}, 0.0)},
      {"f(c, d) => constant", k(x, 0.1) + k(x, 0.2), k(x, double(0.1f) + double(0.2f))},
      {"f(c, d) => constant", lt(k(i, 1), k(i, 2)), yes},
      {"f(c, d) => constant", where(no, k(x, 1), k(x, 2)), k(x, 2)},
      {"f(c, d) => constant", cast(k(x, -3.7), DType::U8), k(u, 0)},
      {"f(c, d) => constant", cast(k(i, -1), DType::U8), k(u, 255)},
      {"f(c, d) => constant", bitcast(k(x, 1), DType::I32),
       constant_bits(DType::I32, {extent}, 0x3f800000)},
      {"f(broadcast(x), broadcast(y), c) => broadcast(f(x, y, c))", wide(row) * 3.0,
       wide(row * 3.0)},
      {"f(broadcast(x), broadcast(y), c) => broadcast(f(x, y, c))", cast(wide(column), DType::F64),
       wide(cast(column, DType::F64))},
      {"f(broadcast(x), broadcast(y), c) => broadcast(f(x, y, c))", sin(wide(row) * 3.0),
       wide(sin(row * 3.0))},
      {"-(-x) => x", -(-x), x},
      {"abs(abs(x)) => abs(x)", abs(abs(x)), abs(x)},
      {"abs(-x) => abs(x) (not unsigned)", abs(-i), abs(i)},
      {"abs(x) => x (unsigned)", abs(u), u},
      {"abs(x) => x (unsigned)", abs(neg(u)), neg(u)},
      {"c + x => x + c", 2.0 + x, x + 2.0},
      {"x + -0.0 => x", x + -0.0, x},
      {"x + 0 => x (integers)", i + 0.0, i},
      {"x + -y => x - y", x + -y, x - y},
      {"-x + y => y - x", -x + y, y - x},
      {"(x + c) + d => x + (c + d) (integers)", (i + 5.0) + 7.0, i + 12.0},
      {"x - 0.0 => x", x - 0.0, x},
      {"x - 0.0 => x", i - 0.0, i},
      {"-0.0 - x => -x", -0.0 - x, -x},
      {"0 - x => -x (integers)", 0.0 - i, -i},
      {"x - -y => x + y", x - -y, x + y},
      {"x - x => 0 (integers)", i - i, k(i, 0)},
      {"x - c => x + -c (integers)", i - 5.0, i + -5.0},
      {"c * x => x * c", 2.0 * x, x * 2.0},
      {"x * 1 => x", x * 1.0, x},
      {"x * 1 => x", u * 1.0, u},
      {"x * -1 => -x", x * -1.0, -x},
      {"x * 0 => 0 (integers)", i * 0.0, k(i, 0)},
      {"-x * -y => x * y", -x * -y, x * y},
      {"-x * c => x * -c", -x * 3.0, x * -3.0},
      {"(x * c) * d => x * (c * d) (integers)", (i * 5.0) * 7.0, i * 35.0},
      {"x / 1 => x", x / 1.0, x},
      {"-x / -y => x / y", -x / -y, x / y},
      {"x / 2^k => x * 2^-k (both normal)", x / 8.0, x * 0.125},
      {"x / 2^k => x * 2^-k (both normal)", h / -0.5, h * -2.0},
      {"x // 1 => x (integers)", floor_divide(i, k(i, 1)), i},
      {"x // 2^k => x >> k (integers)", floor_divide(i, k(i, 8)), right_shift(i, k(i, 3))},
      {"x // 2^k => x >> k (integers)", floor_divide(u, k(u, 128)), right_shift(u, k(u, 7))},
      {"x % 1 => 0 (integers)", remainder(i, k(i, 1)), k(i, 0)},
      {"x % 2^k => x & (2^k - 1) (integers)", remainder(i, k(i, 8)), bitwise_and(i, k(i, 7))},
      {"fmod(x, 1) => 0 (integers)", fmod(i, k(i, 1)), k(i, 0)},
      {"fmod(x, 2^k) => x & (2^k - 1) (unsigned)", fmod(u, k(u, 4)), bitwise_and(u, k(u, 3))},
      {"pow(x, 0) => 1", pow(x, k(x, -0.0)), k(x, 1)},
      {"pow(x, 1) => x", pow(i, k(i, 1)), i},
      {"pow(x, 2) => x * x", pow(x, k(x, 2)), x * x},
      {"pow(x, -1) => 1 / x (floats)", pow(x, k(x, -1)), 1.0 / x},
      {"pow(1, y) => 1", pow(k(x, 1), x), k(x, 1)},
      {"max(x, x) => x", maximum(x, x), x},
      {"max(x, lowest) => x", maximum(x, k(x, -infinity)), x},
      {"max(lowest, x) => x", maximum(k(u, 0), u), u},
      {"max(x, greatest) => greatest (not floats)", maximum(b, yes), yes},
      {"max(greatest, x) => greatest (not floats)", maximum(k(i, infinity), i), k(i, infinity)},
      {"max(max(x, c), d) => max(x, max(c, d))", maximum(maximum(x, k(x, 1)), k(x, 2)),
       maximum(x, k(x, 2))},
      {"min(x, x) => x", minimum(x, x), x},
      {"min(x, greatest) => x", minimum(x, k(x, infinity)), x},
      {"min(greatest, x) => x", minimum(k(i, infinity), i), i},
      {"min(x, lowest) => lowest (not floats)", minimum(u, k(u, 0)), k(u, 0)},
      {"min(lowest, x) => lowest (not floats)", minimum(no, b), no},
      {"min(min(x, c), d) => min(x, min(c, d))", minimum(minimum(x, k(x, 0)), k(x, -0.0)),
       minimum(x, k(x, 0))},
      {"copysign(x, x) => x", copysign(x, x), x},
      {"floor(whole) => whole", floor(ceil(x)), ceil(x)},
      {"ceil(whole) => whole", ceil(cast(i, DType::F16)), cast(i, DType::F16)},
      {"trunc(whole) => whole", trunc(round(x)), round(x)},
      {"round(whole) => whole", round(floor(x)), floor(x)},
      {"c == x => x == c", eq(k(x, 2), x), eq(x, k(x, 2))},
      {"x == x => true (not floats)", eq(i, i), yes},
      {"x == true => x", eq(b, yes), b},
      {"x == false => ~x", eq(b, no), bitwise_not(b)},
      {"cast(b) == 0 => ~b", eq(cast(b, DType::F32), k(x, 0)), bitwise_not(b)},
      {"c != x => x != c", ne(k(x, 2), x), ne(x, k(x, 2))},
      {"x != x => false (not floats)", ne(u, u), no},
      {"x != false => x", ne(b, no), b},
      {"x != true => ~x", ne(b, yes), bitwise_not(b)},
      {"cast(b) != 0 => b", ne(cast(b, DType::I64), k(l, 0)), b},
      {"x < x => false", lt(x, x), no},
      {"x < lowest => false (not floats)", lt(u, k(u, 0)), no},
      {"greatest < x => false (not floats)", lt(k(u, 255), u), no},
      {"x <= x => true (not floats)", le(i, i), yes},
      {"lowest <= x => true (not floats)", le(k(u, 0), u), yes},
      {"x <= greatest => true (not floats)", le(u, k(u, 255)), yes},
      {"~~x => x", bitwise_not(bitwise_not(i)), i},
      {"~(x == y) => x != y", bitwise_not(eq(x, y)), ne(x, y)},
      {"~(x != y) => x == y", bitwise_not(ne(x, y)), eq(x, y)},
      {"~(x < y) => y <= x (not floats)", bitwise_not(lt(i, j)), le(j, i)},
      {"~(x <= y) => y < x (not floats)", bitwise_not(le(i, j)), lt(j, i)},
      {"c & x => x & c", bitwise_and(k(i, 5), i), bitwise_and(i, k(i, 5))},
      {"x & x => x", bitwise_and(b, b), b},
      {"x & 0 => 0", bitwise_and(i, k(i, 0)), k(i, 0)},
      {"x & ~0 => x", bitwise_and(i, k(i, -1)), i},
      {"x & ~x => 0", bitwise_and(bitwise_not(i), i), k(i, 0)},
      {"(x & c) & d => x & (c & d)", bitwise_and(bitwise_and(i, k(i, 6)), k(i, 3)),
       bitwise_and(i, k(i, 2))},
      {"c | x => x | c", bitwise_or(k(i, 5), i), bitwise_or(i, k(i, 5))},
      {"x | x => x", bitwise_or(i, i), i},
      {"x | 0 => x", bitwise_or(b, no), b},
      {"x | ~0 => ~0", bitwise_or(b, yes), yes},
      {"x | ~x => ~0", bitwise_or(b, bitwise_not(b)), yes},
      {"(x | c) | d => x | (c | d)", bitwise_or(bitwise_or(i, k(i, 6)), k(i, 3)),
       bitwise_or(i, k(i, 7))},
      {"c ^ x => x ^ c", bitwise_xor(k(i, 5), i), bitwise_xor(i, k(i, 5))},
      {"x ^ x => 0", bitwise_xor(i, i), k(i, 0)},
      {"x ^ 0 => x", bitwise_xor(i, k(i, 0)), i},
      {"x ^ ~0 => ~x", bitwise_xor(b, yes), bitwise_not(b)},
      {"(x ^ c) ^ d => x ^ (c ^ d)", bitwise_xor(bitwise_xor(i, k(i, 6)), k(i, 3)),
       bitwise_xor(i, k(i, 5))},
      {"x << 0 => x", left_shift(i, k(i, 0)), i},
      {"x >> 0 => x", right_shift(i, k(i, 0)), i},
      {"where(true, y, z) => y", where(yes, x, y), x},
      {"where(false, y, z) => z", where(no, x, y), y},
      {"where(x, y, y) => y", where(c, x, x), x},
      {"where(~x, y, z) => where(x, z, y)", where(bitwise_not(lt(x, y)), x, y),
       where(lt(x, y), y, x)},
      {"where(x, true, false) => x", where(b, yes, no), b},
      {"where(x, false, true) => ~x", where(b, no, yes), bitwise_not(b)},
      {"where(x, where(x, y, _), z) => where(x, y, z)",
       where(lt(x, y), where(lt(x, y), x, sin(y)), y), where(lt(x, y), x, y)},
      {"where(x, y, where(x, _, z)) => where(x, y, z)",
       where(lt(x, y), x, where(lt(x, y), sin(x), y)), where(lt(x, y), x, y)},
      {"cast(x) => x (same dtype)", make(Op::Cast, {x}, {}, DType::F32), x},
      {"cast(cast(x)) => cast(x) (the inner one loses nothing that the outer one keeps)",
       cast(cast(h, DType::F32), DType::F16), h},
      {"bitcast(x) => x (same dtype)", make(Op::Bitcast, {x}, {}, DType::F32), x},
      {"bitcast(bitcast(x)) => bitcast(x)", bitcast(bitcast(x, DType::I32), DType::U32),
       bitcast(x, DType::U32)},
      {"view(view(x)) => view(x)",
       make(Op::View, {transpose(m, 0, 1)},
            ViewAttr{std::make_shared<const ViewMap>(StridedMap::contiguous(Shape{4, 6}))}),
       reshape(transpose(m, 0, 1), Shape{4, 6})},
      {"view(x) => x (identity)",
       make(Op::View, {x},
            ViewAttr{std::make_shared<const ViewMap>(StridedMap::contiguous(Shape{extent}))}),
       x},
      {"view(c) => constant", pad(k(x, 0), 0, 1, 1), constant(DType::F32, {extent + 2}, 0.0)},
      {"view(x) => 0 (nothing is valid)", slice(pad(x, 0, 3, 0), 0, 0, 2),
       constant(DType::F32, {2}, 0.0)},
      {"view(iota) => constant (of one position)", slice(iota(10), 0, 7, 8),
       constant(DType::I64, {1}, 7.0)},
      {"iota(1) => 0", iota(1), constant(DType::I64, {1}, 0.0)},
      {"reduce(x) => reshape(x) (over extents of 1)", reduce(Combine::Sum, column, second),
       reshape(column, Shape{4})},
      {"reduce(x) => reshape(x) (over extents of 1)",
       make(Op::Reduce, {x}, ReduceAttr{Combine::Max, {}}), x},
      {"reduce(c) => constant (exact ones)", reduce(Combine::Max, k(x, nan), first),
       constant(DType::F32, {}, nan)},
      {"reduce(c) => constant (exact ones)", reduce(Combine::Sum, k(u, 200), first),
       constant(DType::U8, {}, double(200 * extent % 256))},
      {"reduce(c) => constant (exact ones)", reduce(Combine::Prod, k(i, -3), first),
       constant(DType::I32, {}, int64_t(282429536481))},
      {"reduce(c) => constant (exact ones)", reduce(Combine::Sum, k(x, -0.0), first),
       constant(DType::F32, {}, -0.0)},
      {"reduce(c) => constant (exact ones)", reduce(Combine::Prod, none, first),
       constant(DType::F32, {}, 1.0)},
      {"argmax(x) => 0 (one element, or all equal)", arg_reduce(Combine::Max, column, 1),
       constant(DType::I64, {4}, 0.0)},
      {"scan(x) => x (inclusive, one element)", scan(Combine::Sum, column, 1), column},
      {"argsort(x) => 0 (one element)", argsort(column, 1), constant(DType::I64, {4, 1}, 0.0)},
      {"dot(x, y) => 0 (no inner elements)",
       dot(input(0, DType::F32, {2, 3, 0}), input(1, DType::F32, {2, 0, 4})),
       constant(DType::F32, {2, 3, 4}, 0.0)},
      {"conv(x, y) => 0 (no channels)",
       conv(input(0, DType::F32, {1, 2, 0, 5}), input(1, DType::F32, {1, 3, 0, 2}), Dims{1},
            Dims{1}),
       constant(DType::F32, {1, 2, 3, 4}, 0.0)},
      {"gather(x, affine) => view(x) (all in range)", gather(m, at(0, 3), 0),
       expand(slice(m, 0, 3, 4), Shape{2, 6})},
      {"gather(x, affine) => view(x) (all in range)", gather(x, slice(iota(30), 0, 20, 3, -4), 0),
       slice(x, 0, 20, 3, -4)},
      {"gather(x, affine) => view(x) (all in range)", gather(m, expand(iota(2), Shape{4, 2}), 1),
       slice(m, 1, 0, 2)},
      {"gather(x, affine) => view(x) (all in range)",
       gather(m, expand(reshape(iota(4), Shape{4, 1}), Shape{4, 6}), 1),
       expand(unsqueeze(diagonal(m, 0, 0, 1), 1), Shape{4, 6})},
      {"scatter(x, nothing) => x", scatter(Combine::Sum, x, iota(0), none, 0), x},
      {"concat(x) => x", make(Op::Concat, {x}, AxisAttr{0}), x},
      {"concat(x, empty, y) => concat(x, y), concat(c, c) => c", concat(parts, 0), concat(full, 0)},
      {"concat(x, empty, y) => concat(x, y), concat(c, c) => c", concat(twice, 0),
       constant(DType::F32, {2 * extent}, 2.0)},
      {"leaf(x) => x", leaf(x, std::make_shared<Variable>()), x},
      {"stop_gradient(x) => x", make(Op::StopGradient, {x}), x},
      {"custom_gradient(x, ...) => x",
       parse("cir 1\ngraph g(%0: f32[24], %1: f32[24]) {\n%2 = custom_gradient %1, %0 rule=opaque "
             ": f32[24]\nreturn %2\n}")
           .results[0],
       y},
      {"recompute(c, x) => c", recompute(k(x, 2), exp(x)), k(x, 2)},
      {"recompute(x, y) => x (y is there from the start)", recompute(x, y), x},
      {"recompute(x, y) => x (y is there from the start)",
       recompute(x, expand(y, Shape{2, extent})), x},
      {"barrier(barrier(x)) => barrier(x)", barrier(barrier(x)), barrier(x)},
  };
}

}  // namespace

TEST_CASE("simplify: every rule fires, gives what it says, and keeps every bit") {
  std::set<std::string_view> seen;
  for (const Example& example : examples()) {
    const Graph before = graph_of({example.before});
    CAPTURE(example.rule, print(before));
    compiler::RuleCounts used;
    const Graph after = simplify(before, &used);
    CAPTURE(print(after));
    CHECK(after.results[0] == example.after);
    CHECK(used.contains(example.rule));
    check_same_meaning(before, after);
    seen.insert(example.rule);
  }
  for (const compiler::Rule& rule : compiler::all_rules()) {
    INFO("the rule \"" << rule.text << "\" has no example");
    CHECK(seen.contains(rule.text));
  }
}

TEST_CASE("simplify: what is true of real numbers only is left alone") {
  const Value x = input(0, DType::F32), y = input(1, DType::F32), h = input(0, DType::F16);
  const Value i = input(0, DType::I32), u = input(0, DType::U8), l = input(0, DType::I64);
  const Value m = input(0, DType::F32, {4, 6}), row = input(0, DType::F32, {6});
  const Dims first{0};
  const auto k = [](const Value& v, double value) { return like(v, value); };
  const auto index = [](double value) { return constant(DType::I64, {2, 6}, value); };
  const Value kept[] = {
      x + 0.0,                                // -0.0 + 0.0 is 0.0
      x - -0.0,                               // the same
      0.0 - x,                                // 0.0 - 0.0 is 0.0, -0.0 is not
      x * 0.0,                                // NaN, infinities and signs
      x - x,                                  // NaN of infinities
      x / x,                                  // NaN of zeros
      (x + 1.0) + 1.0,                        // rounds twice
      (x * 3.0) * 5.0,                        // rounds twice
      (x * y) / y,                            //
      x / 3.0,                                // the reciprocal of 3 is rounded
      x / 0.0,                                //
      x / k(x, infinity),                     //
      x / k(x, 0x1p127),                      // its reciprocal is subnormal
      h / k(h, 0x1p15),                       // the same in f16
      -(x - y),                               // the sign of zero
      pow(x, k(x, 0.5)),                      // -infinity and -0.0
      pow(x, k(x, 3)),                        // rounds once
      pow(i, k(i, -1)),                       //
      pow(k(x, 0), x),                        //
      maximum(x, k(x, infinity)),             // NaN
      minimum(x, k(x, -infinity)),            // NaN
      maximum(k(x, 0), x),                    // the zero that comes first stays
      maximum(x, y),                          //
      eq(x, x),                               // NaN
      ne(x, x),                               // that is isnan
      le(x, x),                               // NaN
      bitwise_not(lt(x, y)),                  // NaN
      bitwise_not(le(x, y)),                  // NaN
      lt(x, k(x, -infinity)),                 // rarely worth a rule
      exp(log(x)),                            //
      sqrt(x * x),                            // overflow
      abs(x) * abs(y),                        //
      floor_divide(x, k(x, 1)),               // floors
      floor_divide(x, k(x, 8)),               //
      remainder(x, k(x, 8)),                  //
      fmod(i, k(i, 8)),                       // the sign of i
      floor_divide(i, k(i, -8)),              //
      floor_divide(i, k(i, 6)),               //
      remainder(i, k(i, 0)),                  //
      cast(cast(l, DType::F64), DType::I64),  // f64 does not hold all of i64
      cast(cast(i, DType::F32), DType::F64),  // f32 does not hold all of i32
      cast(cast(i, DType::F64), DType::I8),   // saturates, where i32 to i8 wraps
      cast(cast(i, DType::I8), DType::I32),   // loses bits
      cast(cast(i, DType::I16), DType::F32),  //
      cast(cast(x, DType::F16), DType::F32),  // rounds
      cast(cast(h, DType::BF16), DType::F32),
      cast(cast(x, DType::I32), DType::F32),   // truncates
      cast(cast(x, DType::Bool), DType::F32),  //
      cast(cast(i, DType::U8), DType::Bool),   // 256 is true, its low byte is not
      cast(cast(u, DType::I8), DType::I32),    //
      reduce(Combine::Sum, k(x, 0.1), first),  // rounds at each element
      reduce(Combine::Prod, k(x, 2), first),   //
      reduce(Combine::Sum, reduce(Combine::Sum, m, Dims{1}), first),
      reduce(Combine::Sum, x * 2.0, first),                              // the factor stays inside
      scan(Combine::Sum, reshape(x, Shape{extent, 1}), 1, false, true),  // exclusive: 0
      gather(m, index(4), 0),                                            // reports its index
      gather(m, index(-1), 0),                                           // the same
      gather(x, slice(iota(30), 0, 10, 30), 0),                          // to 29
      gather(x, pad(iota(3), 0, 1, 0), 0),                               // masked
      pad(k(x, 1), 0, 1, 1),                                             // 0 and 1
      sin(transpose(m, 0, 1)),                                           // saves nothing
      transpose(sin(m), 0, 1),                                           // a view stays above a map
      expand(row, Shape{4, 6}) * m,
      expand(row, Shape{4, 6}) * expand(input(1, DType::F32, {4, 1}), Shape{4, 6}),
      exp(pad(row, 0, 20, 20)),  // exp(0) is 1
      barrier(k(x, 1)),
      where(lt(x, y), x, y),
  };
  for (const Value& value : kept) {
    const Graph g = graph_of({value});
    CAPTURE(print(g));
    CHECK(simplify(g).results[0] == value);
  }
  // The index of a scatter is still checked where nothing is left to write to.
  const Value nowhere = scatter(Combine::Set, input(0, DType::F32, {0}), input(1, DType::I64, {3}),
                                input(2, DType::F32, {3}), 0);
  CHECK(simplify(graph_of({nowhere})).results[0] == nowhere);
}

TEST_CASE("simplify: chains of conversions keep every value") {
  for (DType a : all_dtypes)
    for (DType b : all_dtypes)
      for (DType c : all_dtypes) {
        const Value x = input(0, a, {64});
        const Graph before = graph_of({cast(cast(x, b), c)});
        const Graph after = simplify(before);
        if (after.results == before.results) continue;
        check_same_meaning(before, after, uint64_t(a) * 169 + uint64_t(b) * 13 + uint64_t(c));
      }
}

TEST_CASE("simplify: rules build on each other, and run to the end") {
  const Value x = input(0, DType::F32), b = input(1, DType::Bool);
  CHECK(simplify(graph_of({((1.0 * x) + -0.0) / 1.0 - 0.0})).results[0] == x);
  CHECK(
      simplify(graph_of({where(bitwise_not(bitwise_not(bitwise_not(b))), x, -(-x))})).results[0] ==
      x);
  const Value i = input(0, DType::I64);
  Value sum = i;
  for (int n = 1; n <= 100; ++n) sum = 1.0 + sum;
  CHECK(simplify(graph_of({sum})).results[0] == i + 100.0);
}

TEST_CASE("simplify: parameters are kept, used or not") {
  const Value x = input(0, DType::F32), y = input(1, DType::F32);
  const Graph g{{x, y}, {x * 1.0}};
  CHECK(simplify(g).parameters == g.parameters);
}

TEST_CASE("simplify: random graphs keep every bit") {
  // Few ops and constants, so that the rules meet often.
  const std::array<DType, 8> dtypes = {DType::F32, DType::F64, DType::F16, DType::BF16,
                                       DType::I32, DType::U8,  DType::I64, DType::Bool};
  const double constants[] = {0, -0.0, 1, -1, 2, 0.5, 8, infinity, -infinity, 3};
  // pow of f64 may differ in the last bit, and PyTorch's sign of NaN is no concern here.
  const auto usable = [](Op op) { return op != Op::Pow && op != Op::Philox; };
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    std::mt19937_64 random(seed);
    const auto pick = [&](size_t n) { return size_t(random() % n); };
    std::vector<Value> pool;
    for (size_t d = 0; d < dtypes.size(); ++d) pool.push_back(input(int64_t(d), dtypes[d], {2, 3}));
    const auto any = [&](DType dtype) {
      std::vector<Value> fit;
      for (const Value& v : pool)
        if (v->dtype == dtype) fit.push_back(v);
      if (pick(4) == 0) return constant(dtype, {2, 3}, constants[pick(std::size(constants))]);
      return fit[pick(fit.size())];
    };
    for (int n = 0; n < 60; ++n) {
      const DType dtype = dtypes[pick(dtypes.size())];
      const Value x = any(dtype);
      switch (pick(8)) {
        case 0: pool.push_back(cast(x, dtypes[pick(dtypes.size())])); break;
        case 1: pool.push_back(expand(slice(x, 0, 0, 1), Shape{2, 3})); break;
        case 2: pool.push_back(slice(pad(x, int64_t(pick(2)), 1, 1), 0, 0, 2)); break;
        case 3: {
          const Combine combine = is_bool(dtype) || pick(2) ? Combine::Max : Combine::Sum;
          pool.push_back(expand(reduce(combine, x, Dims{1}, true), Shape{2, 3}));
          break;
        }
        default: {
          const Op op = Op(structural_op_count + pick(op_count - structural_op_count));
          if (!usable(op) || !accepts(info(op).operands, dtype)) break;
          SmallVector<Value, 3> operands;
          for (int slot = 0; slot < info(op).arity; ++slot)
            operands.push_back(any(op == Op::Where && slot == 0 ? DType::Bool : dtype));
          pool.push_back(elementwise(op, operands));
        }
      }
      if (pool.back()->shape != Shape{2, 3}) pool.pop_back();
    }
    const Graph before = graph_of({pool.end() - 20, pool.end()});
    check_same_meaning(before, simplify(before), seed);
  }
}

TEST_CASE("simplify: a million nodes take linear time and no stack") {
  Value x = input(0, DType::F32, {4});
  const Value first = x;
  const int64_t length = test::repeats(250000);
  for (int64_t n = 0; n < length; ++n) x = (1.0 * sin(x)) + first;
  const Graph after = simplify(graph_of({x}));
  CHECK(int64_t(topological_order(after.results).size()) == 2 * length + 1);
}
