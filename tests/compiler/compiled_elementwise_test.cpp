// Every elementwise op of the op table, in every dtype it accepts, as compiled code on every target
// against the interpreter: equal bits where the op is exact, else within the error that
// compiler/vecmath.h promises. The cases are generated from the table.

#include <algorithm>
#include <functional>

#include "cermet/error.h"
#include "ir/build.h"
#include "ir/element.h"
#include "support/catch.h"
#include "support/random_graph.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

bool exact(Op op) {
  static const std::vector<Op> list = exact_elementwise_ops();
  return std::ranges::find(list, op) != list.end();
}

Tolerance tolerance_of(Op op, DType dtype) {
  if (!is_float(dtype) || exact(op)) return {};
  return {.ulps = size_of(dtype) == 2 ? 1.0 : 2.0};
}

std::vector<Op> ops_for(DType dtype, bool exact_ones) {
  std::vector<Op> out;
  for (size_t i = structural_op_count; i < op_count; ++i)
    if (accepts(info(Op(i)).operands, dtype) &&
        (tolerance_of(Op(i), dtype).ulps == 0) == exact_ones)
      out.push_back(Op(i));
  return out;
}

// How an operand of shape `rows` x `columns` comes from a parameter.
struct Layout {
  const char* name;
  Shape (*source)(int64_t rows, int64_t columns);
  Value (*view)(const Value& x, int64_t rows, int64_t columns);
};

const Layout layouts[] = {
    {"contiguous", [](int64_t r, int64_t c) { return Shape{r, c}; },
     [](const Value& x, int64_t, int64_t) { return x; }},
    {"strided", [](int64_t r, int64_t c) { return Shape{r, 2 * c + 1}; },
     [](const Value& x, int64_t, int64_t) { return slice(x, 1, 1, std::nullopt, 2); }},
    {"flipped", [](int64_t r, int64_t c) { return Shape{r, c}; },
     [](const Value& x, int64_t, int64_t) { return flip(flip(x, 1), 0); }},
    {"transposed", [](int64_t r, int64_t c) { return Shape{c, r}; },
     [](const Value& x, int64_t, int64_t) { return transpose(x, 0, 1); }},
    {"one row", [](int64_t, int64_t c) { return Shape{c}; },
     [](const Value& x, int64_t r, int64_t c) { return expand(x, Shape{r, c}); }},
    {"one column", [](int64_t r, int64_t) { return Shape{r, 1}; },
     [](const Value& x, int64_t r, int64_t c) { return expand(x, Shape{r, c}); }},
    {"one element", [](int64_t, int64_t) { return Shape{}; },
     [](const Value& x, int64_t r, int64_t c) { return expand(x, Shape{r, c}); }},
    {"padded", [](int64_t r, int64_t c) { return Shape{r - 1, c - 3}; },
     [](const Value& x, int64_t, int64_t) { return pad(pad(x, 0, 1, 0, 1), 1, 2, 1); }},
    {"part", [](int64_t r, int64_t c) { return Shape{r + 1, c + 3}; },
     [](const Value& x, int64_t, int64_t c) { return slice(slice(x, 0, 1, {}), 1, 2, 2 + c); }},
    {"reshaped", [](int64_t r, int64_t c) { return Shape{c, r}; },
     [](const Value& x, int64_t r, int64_t c) {
       return reshape(transpose(reshape(x, Shape{c, r}), 0, 1), Shape{r, c});
     }},
};
constexpr size_t layout_count = std::size(layouts);

struct Inputs {
  std::vector<HostArray> arrays;
  Value x, y, condition;
};

// The operands of all ops: x, y and the condition of where, in three layouts.
Inputs inputs_for(DType dtype, int64_t rows, int64_t columns, size_t first_layout, uint64_t seed) {
  Inputs out;
  const auto operand = [&](DType type, size_t which) {
    const Layout& layout = layouts[(first_layout + which * 3) % layout_count];
    const Shape shape = layout.source(rows, columns);
    const int64_t slot = int64_t(out.arrays.size());
    out.arrays.push_back(edge_values(type, shape, seed * 3 + which));
    return layout.view(parameter(slot, type, shape), rows, columns);
  };
  out.x = operand(dtype, 0), out.y = operand(dtype, 1), out.condition = operand(DType::Bool, 2);
  return out;
}

Value apply(Op op, const Inputs& in) {
  const Value& first = op == Op::Where ? in.condition : in.x;
  const Value list[] = {first, op == Op::Where ? in.x : in.y, in.y};
  return elementwise(op, std::span(list).first(size_t(info(op).arity)));
}

// The ops in programs of a few each, so that a kernel has several results.
void check_ops(const std::vector<Op>& ops, const Inputs& in, DType dtype,
               const std::vector<std::string>& targets = target_names()) {
  constexpr size_t together = 6;
  for (size_t first = 0; first < ops.size(); first += together) {
    std::vector<Value> results;
    for (size_t i = first; i < std::min(first + together, ops.size()); ++i)
      results.push_back(apply(ops[i], in));
    Graph graph{{}, std::move(results)};
    for (size_t slot = 0; slot < in.arrays.size(); ++slot)
      graph.parameters.push_back(
          parameter(int64_t(slot), in.arrays[slot].dtype, in.arrays[slot].shape));
    check_compiled(graph, in.arrays, tolerance_of(ops[first], dtype), targets);
  }
}

}  // namespace

TEST_CASE("compiled: every elementwise op agrees with the interpreter on edge values") {
  for (DType dtype : all_dtypes) {
    Inputs plain;
    const Shape shape = {3000};
    for (DType type : {dtype, dtype, DType::Bool})
      plain.arrays.push_back(edge_values(type, shape, 77 + plain.arrays.size()));
    plain.x = parameter(0, dtype, shape), plain.y = parameter(1, dtype, shape);
    plain.condition = parameter(2, DType::Bool, shape);
    for (bool exact_ones : {true, false}) check_ops(ops_for(dtype, exact_ones), plain, dtype);
  }
}

TEST_CASE("compiled: elementwise ops take operands of every layout") {
  for (DType dtype : all_dtypes) {
    std::vector<Op> exact_ones = ops_for(dtype, true), others = ops_for(dtype, false);
    for (size_t layout = 0; layout < layout_count; ++layout) {
      const Inputs in = inputs_for(dtype, 5, 37, layout, 1000 + layout);
      // Each layout meets a part of the ops, each op several layouts.
      const auto part = [&](const std::vector<Op>& ops, size_t one_in) {
        std::vector<Op> out;
        for (size_t i = 0; i < ops.size(); ++i)
          if ((i + layout + size_t(dtype)) % one_in == 0) out.push_back(ops[i]);
        return out;
      };
      INFO("layout of the first operand: " << layouts[layout].name);
      check_ops(part(exact_ones, 4), in, dtype);
      check_ops(part(others, 8), in, dtype);
    }
  }
}

TEST_CASE("compiled: elementwise ops at sizes around the vector width") {
  // One kernel for all sizes but 0 and 1, so many sizes cost little.
  for (DType dtype : {DType::Bool, DType::U8, DType::I64, DType::F16, DType::F32, DType::F64}) {
    for (int64_t n : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129}) {
      Inputs in;
      const Shape shape = n == 1 ? Shape{} : Shape{n};
      for (DType type : {dtype, dtype, DType::Bool})
        in.arrays.push_back(edge_values(type, shape, uint64_t(n) + in.arrays.size()));
      in.x = parameter(0, dtype, shape), in.y = parameter(1, dtype, shape);
      in.condition = parameter(2, DType::Bool, shape);
      const std::vector<Op> ops = {Op::Maximum, Op::Le, Op::Where};
      check_ops(ops, in, dtype);
      if (is_float(dtype)) check_ops({Op::Fmod, Op::Sqrt, Op::Round}, in, dtype);
      if (is_integer(dtype)) check_ops({Op::FloorDivide, Op::LeftShift}, in, dtype);
    }
  }
}

TEST_CASE("compiled: casts between all dtypes, and bitcasts") {
  for (DType from : all_dtypes) {
    const HostArray x = edge_values(from, {1500}, 5 + uint64_t(from));
    HostArray wide = edge_values(from, {1500}, 6 + uint64_t(from));
    // Numbers around the limits of every integer dtype.
    if (is_float(from))
      for (int64_t i = 0; i < wide.numel(); ++i)
        wide.set_bits(i, element_bits(from, (i % 2 ? -1.0 : 1.0) * (std::ldexp(1.0, int(i % 70)) +
                                                                    double(i % 5) - 2)));
    const Value p = parameter(0, from, {1500}), q = parameter(1, from, {1500});
    std::vector<Value> results;
    for (DType to : all_dtypes) {
      if (to == from) continue;
      results.push_back(cast(p, to));
      results.push_back(cast(q, to));
      if (size_of(to) == size_of(from) && !is_bool(to) && !is_bool(from))
        results.push_back(bitcast(p, to));
    }
    check_compiled(graph_over(results), std::vector<HostArray>{x, wide});
  }
}

TEST_CASE("compiled: chains of half precision round after every op") {
  for (DType dtype : {DType::F16, DType::BF16}) {
    const Value x = parameter(0, dtype, {999}), y = parameter(1, dtype, {999});
    const Value sum = x * y + x, third = sum / 3.0;
    const Value wide = cast(cast(third, DType::F32) * 1.0001, dtype);
    check_compiled(
        graph_over({sum, third, wide, floor(third - y), eq(third, y)}),
        std::vector<HostArray>{edge_values(dtype, {999}, 1), edge_values(dtype, {999}, 2)});
  }
}

TEST_CASE("compiled: leaves, constants and positions as results") {
  const Value x = parameter(0, DType::F32, {3, 5});
  const HostArray a = edge_values(DType::F32, {3, 5}, 9);
  check_compiled(graph_over({x, x, transpose(x, 0, 1), flip(x, 1), pad(x, 1, 2, 1, 7.0),
                             expand(x, Shape{2, 3, 5}), reshape(transpose(x, 0, 1), Shape{15}),
                             reshape(pad(transpose(x, 0, 1), 0, 1, 1), Shape{21}),
                             diagonal(x, 1, 0, 1), unfold(x, 1, 2, 2, 1)}),
                 std::vector<HostArray>{a});
  const Value i = iota(21);
  check_compiled(
      graph_over({i, i * like(i, 3.0), pad(i, 0, 2, 3), transpose(reshape(i, Shape{3, 7}), 0, 1),
                  reshape(transpose(reshape(i, Shape{3, 7}), 0, 1), Shape{21}),
                  constant(DType::BF16, {4, 3}, 2.5), constant(DType::Bool, {3}, 1.0),
                  constant(DType::U64, {}, int64_t(-1)), flip(i, 0)}),
      {});
}
