// Every op against what NumPy, PyTorch and mpmath computed (tests/data), through the interpreter.
// The table below says how a case becomes a graph; elementwise ops need no row.

#include <fmt/format.h>

#include <functional>
#include <numeric>
#include <set>

#include "ir/build.h"
#include "ir/interpreter.h"
#include "support/catch.h"
#include "support/compare.h"
#include "support/golden.h"

using namespace cermet;
using namespace cermet::ir;
using cermet::test::GoldenCase;

namespace {

using Operands = std::span<const Value>;
using Build = Value (*)(const GoldenCase&, Operands x);

template <Combine combine>
Value reduced(const GoldenCase& c, Operands x) {
  return reduce(combine, x[0], c.ints("axes"));
}

template <Combine combine>
Value best(const GoldenCase& c, Operands x) {
  return arg_reduce(combine, x[0], c.integer("axis"));
}

template <Combine combine>
Value scanned(const GoldenCase& c, Operands x) {
  return scan(combine, x[0], c.integer("axis"), c.integer("reverse", 0) != 0);
}

template <Combine combine>
Value scattered(const GoldenCase& c, Operands x) {
  return scatter(combine, x[0], x[1], x[2], c.integer("axis"));
}

// x [N, G*C, spatial...] and w [G*O, C, window...] as PyTorch has them, through Op::Conv.
Value convolved(const GoldenCase& c, Operands operands) {
  Value x = operands[0], w = operands[1];
  const int64_t groups = c.integer("groups");
  const Dims &stride = c.ints("stride"), &padding = c.ints("padding");
  for (size_t s = 0; s < padding.size(); ++s) x = pad(x, int64_t(s) + 2, padding[s], padding[s]);
  const auto grouped = [&](const Value& v, size_t axis) {  // splits the axis into groups and rest
    Shape shape;
    for (size_t d = 0; d < v->shape.size(); ++d) {
      if (d == axis) shape.push_back(groups);
      shape.push_back(d == axis ? v->shape[d] / groups : v->shape[d]);
    }
    return reshape(v, shape);
  };
  const Value y = transpose(
      conv(transpose(grouped(x, 1), 0, 1), grouped(w, 0), stride, c.ints("dilation")), 0, 1);
  Shape merged = {y->shape[0], y->shape[1] * y->shape[2]};
  for (size_t d = 3; d < y->shape.size(); ++d) merged.push_back(y->shape[d]);
  return reshape(y, merged);
}

Value permuted_after_pad(const GoldenCase& c, Operands x) {
  const Value rows = reshape(permute(pad(x[0], 1, 1, 0), c.ints("order")), Shape{24, 6});
  return flip(reshape(slice(rows, 1, 1, std::nullopt), c.ints("shape")), 0);
}

const std::map<std::string, Build> builders = {
    {"cast", [](const GoldenCase& c, Operands x) { return cast(x[0], c.expected.dtype); }},
    {"bitcast", [](const GoldenCase& c, Operands x) { return bitcast(x[0], c.expected.dtype); }},
    {"sum", reduced<Combine::Sum>},
    {"prod", reduced<Combine::Prod>},
    {"max", reduced<Combine::Max>},
    {"min", reduced<Combine::Min>},
    {"argmax", best<Combine::Max>},
    {"argmin", best<Combine::Min>},
    {"cumsum", scanned<Combine::Sum>},
    {"cumprod", scanned<Combine::Prod>},
    {"cummax", scanned<Combine::Max>},
    {"cummin", scanned<Combine::Min>},
    {"matmul", [](const GoldenCase&, Operands x) { return matmul(x[0], x[1]); }},
    {"conv", convolved},
    {"gather",
     [](const GoldenCase& c, Operands x) { return gather(x[0], x[1], c.integer("axis")); }},
    {"scatter_set", scattered<Combine::Set>},
    {"scatter_sum", scattered<Combine::Sum>},
    {"scatter_prod", scattered<Combine::Prod>},
    {"scatter_max", scattered<Combine::Max>},
    {"scatter_min", scattered<Combine::Min>},
    {"concat", [](const GoldenCase& c, Operands x) { return concat(x, c.integer("axis")); }},
    {"argsort",
     [](const GoldenCase& c, Operands x) {
       return argsort(x[0], c.integer("axis"), c.integer("descending") != 0);
     }},
    {"flip", [](const GoldenCase& c, Operands x) { return flip(x[0], c.integer("axis")); }},
    {"pad",
     [](const GoldenCase& c, Operands x) {
       return pad(x[0], c.integer("axis"), c.integer("before"), c.integer("after"));
     }},
    {"slice",
     [](const GoldenCase& c, Operands x) {
       return slice(x[0], c.integer("axis"), c.integer("start"), c.integer("stop"),
                    c.integer("step"));
     }},
    {"unfold",
     [](const GoldenCase& c, Operands x) {
       return unfold(x[0], c.integer("axis"), c.integer("size"), c.integer("stride"),
                     c.integer("dilation"));
     }},
    {"diagonal",
     [](const GoldenCase& c, Operands x) {
       return diagonal(x[0], c.integer("offset"), c.integer("axis1"), c.integer("axis2"));
     }},
    {"permute", [](const GoldenCase& c, Operands x) { return permute(x[0], c.ints("order")); }},
    {"permute_reshape",
     [](const GoldenCase& c, Operands x) {
       return reshape(permute(x[0], c.ints("order")), c.ints("shape"));
     }},
    {"pad_reshape_flip", permuted_after_pad},
    {"expand", [](const GoldenCase& c, Operands x) { return expand(x[0], c.ints("shape")); }},
};

Value graph_of(const GoldenCase& c, Operands x) {
  if (const auto op = parse_op(c.op); op && is_elementwise(*op)) return elementwise(*op, x);
  return builders.at(c.op)(c, x);
}

// Checks all cases of a file; returns the ops that occurred.
std::set<std::string> check_file(const std::string& file) {
  std::set<std::string> ops;
  for (const GoldenCase& c : test::read_golden(file)) {
    ops.insert(c.op);
    std::vector<Value> x;
    for (const HostArray& array : c.operands)
      x.push_back(parameter(int64_t(x.size()), array.dtype, array.shape));
    const HostArray got = interpret({x, {graph_of(c, x)}}, c.operands)[0];
    const test::Tolerance tolerance{.ulps = double(c.integer("ulps", 0)),
                                    .signed_zeros = c.integer("anyzero", 0) == 0};
    if (const auto why = test::difference(got, c.expected, tolerance))
      FAIL_CHECK(fmt::format("{}.golden:{}: {}: {}", file, c.line, c.op, *why));
  }
  return ops;
}

}  // namespace

TEST_CASE("golden: elementwise ops agree with NumPy and PyTorch at special values") {
  const std::set<std::string> ops = check_file("elementwise");
  for (size_t i = structural_op_count; i < op_count; ++i)
    if (Op(i) != Op::Philox) CHECK(ops.contains(std::string(name(Op(i)))));  // neither has it
}

TEST_CASE("golden: transcendental functions agree with mpmath") {
  CHECK(check_file("accurate").size() == 25);
}

TEST_CASE("golden: conversions between all dtypes agree with NumPy and PyTorch") {
  CHECK(check_file("cast").size() == 2);
}

TEST_CASE("golden: reductions and scans agree with NumPy and PyTorch") {
  CHECK(check_file("reduction").size() == 10);
}

TEST_CASE("golden: matmul and convolutions agree with NumPy and PyTorch") {
  CHECK(check_file("product").size() == 2);
}

TEST_CASE("golden: views, gather, scatter, concat and argsort agree with NumPy and PyTorch") {
  CHECK(check_file("movement").size() == 17);
}
