// Reductions, scans and row programs as compiled code on every target against the interpreter.

#include "compiler/autograd.h"
#include "ir/build.h"
#include "support/catch.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

const std::vector<Combine> sums = {Combine::Sum}, products = {Combine::Prod},
                           extrema = {Combine::Max, Combine::Min};

// Every non-empty subset of the axes of a shape.
std::vector<Dims> axis_subsets(size_t rank) {
  std::vector<Dims> out;
  for (size_t bits = 1; bits < size_t(1) << rank; ++bits) {
    Dims axes;
    for (size_t d = 0; d < rank; ++d)
      if (bits >> d & 1) axes.push_back(int64_t(d));
    out.push_back(axes);
  }
  return out;
}

Tolerance product_tolerance(DType dtype) {
  if (!is_float(dtype)) return {};
  return {.ulps = 1, .relative = dtype == DType::F64 ? 1e-13 : 1e-5};
}
// Of results that went through several roundings of the dtype.
Tolerance rounded(DType dtype) {
  switch (dtype) {
    case DType::F64: return {.relative = 1e-12, .absolute = 1e-13};
    case DType::F32: return {.relative = 2e-5, .absolute = 2e-6};
    case DType::F16: return {.relative = 4e-3, .absolute = 4e-3};
    default: return {.relative = 3e-2, .absolute = 3e-2};
  }
}

HostArray summands(DType dtype, const Shape& shape, uint64_t seed) {
  return numbers_between(dtype, shape, is_unsigned(dtype) ? 0 : -2, is_float(dtype) ? 2 : 100,
                         seed);
}

void check_reductions(DType dtype, const Shape& shape, const std::vector<Dims>& subsets) {
  const Value x = parameter(0, dtype, shape);
  const auto all = [&](const std::vector<Combine>& combines) {
    std::vector<Value> out;
    for (Combine combine : combines)
      for (const Dims& axes : subsets) out.push_back(reduce(combine, x, axes));
    return graph_over(out);
  };
  INFO(name(dtype) << to_string(shape));
  check_compiled(all(extrema), std::vector{edge_values(dtype, shape, 3)}, {.signed_zeros = false});
  if (is_bool(dtype)) return;
  const HostArray terms = summands(dtype, shape, 4);
  const double count = double(numel(shape));
  check_compiled(all(sums), std::vector{terms},
                 is_float(dtype) ? sum_tolerance(dtype, numel(shape), 2 * count) : Tolerance());
  check_compiled(all(products), std::vector{numbers_between(dtype, shape, 0.5, 1.5, 5)},
                 product_tolerance(dtype));
}

Value total(const Value& x, const Dims& axes) { return reduce(Combine::Sum, x, axes, true); }
Value largest(const Value& x, const Dims& axes) { return reduce(Combine::Max, x, axes, true); }
Value mean(const Value& x, const Dims& axes) {
  const Value s = total(x, axes);
  return s / (double(x->numel()) / double(s->numel()));
}
Value softmax(const Value& x, const Dims& axes) {
  const Value e = exp(x - largest(x, axes));
  return e / total(e, axes);
}
Value normalised(const Value& x, const Dims& axes) {
  const Value centred = x - mean(x, axes);
  return centred / sqrt(mean(centred * centred, axes) + 1e-3);
}

}  // namespace

TEST_CASE("compiled: reductions over every set of axes in every dtype") {
  for (DType dtype : all_dtypes) {
    check_reductions(dtype, {3, 5, 4}, axis_subsets(3));
    check_reductions(dtype, {2, 17, 33}, axis_subsets(3));
  }
}

TEST_CASE("compiled: reductions of long rows, columns, single elements and thin arrays") {
  for (DType dtype : {DType::F32, DType::F64, DType::F16, DType::I8, DType::I64}) {
    check_reductions(dtype, {3, 50021}, {{1}, {0}, {0, 1}});
    check_reductions(dtype, {1000, 37}, {{0}, {1}});
    check_reductions(dtype, {1000, 1}, {{0}, {1}});
    check_reductions(dtype, {1, 300}, {{0}, {1}, {0, 1}});
    check_reductions(dtype, {1}, {{0}});
    check_reductions(dtype, {2, 2, 2, 2, 3}, {{0, 2, 4}, {1, 3}, {0, 1, 2, 3, 4}});
  }
}

TEST_CASE("compiled: long sums of equal terms keep their accuracy") {
  // A single running f32 sum of these would be off by 1e-4 and more.
  const auto check = [](const Shape& shape, const Dims& axes) {
    HostArray x(DType::F32, shape);
    for (float& v : x.as<float>()) v = 0.1f;
    const Value p = parameter(0, DType::F32, shape);
    INFO(to_string(shape) << " over " << to_string(axes));
    check_compiled(graph_over({reduce(Combine::Sum, p, axes)}), std::vector{x}, {.relative = 4e-6});
  };
  check({4000037}, {0});
  check({100003, 70}, {0});
  check({70, 100003}, {1});
  check({1001, 70, 9, 11}, {0, 2, 3});
  check({70, 900, 90}, {1, 2});
  check({65, 3, 40000}, {1, 2});
}

TEST_CASE("compiled: positions of extrema in the kernel of a long sum") {
  const Value x = parameter(0, DType::F32, {70, 20011});
  for (int64_t axis : {0, 1})
    check_compiled(
        graph_over({arg_reduce(Combine::Max, x, axis), reduce(Combine::Sum, x, Dims{axis})}),
        std::vector{numbers_between(DType::F32, {70, 20011}, -1, 1, 1)}, {.absolute = 0.01});
}

TEST_CASE("compiled: reductions over views") {
  const Shape shape = {12, 35};
  const Value x = parameter(0, DType::F32, shape);
  const Value views[] = {transpose(x, 0, 1),
                         flip(x, 1),
                         slice(x, 1, 1, std::nullopt, 3),
                         slice(x, 1, 20, 3, -2),
                         pad(x, 1, 3, 2),
                         pad(pad(x, 1, 3, 2, 1.0), 0, 1, 0),
                         expand(slice(x, 0, 2, 3), Shape{6, 35}),
                         expand(slice(x, 1, 2, 3), Shape{12, 9}),
                         reshape(transpose(x, 0, 1), Shape{20, 21}),
                         reshape(pad(transpose(x, 0, 1), 0, 1, 0), Shape{16, 27}),
                         diagonal(unsqueeze(x, 0), 0, 0, 1),
                         reshape(unfold(x, 1, 4, 3, 2), Shape{12, 40})};
  std::vector<Value> sums_of, extrema_of;
  for (const Value& v : views)
    for (int64_t axis : {0, 1}) {
      sums_of.push_back(reduce(Combine::Sum, v * 2.0, Dims{axis}));
      extrema_of.push_back(reduce(Combine::Min, v, Dims{axis}));
    }
  check_compiled(graph_over(sums_of), std::vector{summands(DType::F32, shape, 1)},
                 sum_tolerance(DType::F32, 40, 200));
  check_compiled(graph_over(extrema_of), std::vector{edge_values(DType::F32, shape, 2)},
                 {.signed_zeros = false});
}

TEST_CASE("compiled: empty arrays reduce to identities") {
  for (DType dtype : {DType::F32, DType::I16, DType::F16}) {
    const Value x = parameter(0, dtype, {3, 0, 4});
    check_compiled(
        graph_over({reduce(Combine::Sum, x, Dims{1}), reduce(Combine::Prod, x, Dims{0, 1, 2}),
                    reduce(Combine::Max, x, Dims{0}), reduce(Combine::Sum, x, Dims{2}), x * x,
                    scan(Combine::Sum, x, 1)}),
        std::vector{HostArray(dtype, {3, 0, 4})});
  }
}

TEST_CASE("compiled: positions of extrema along every axis, ties and NaN included") {
  for (DType dtype : all_dtypes)
    for (const Shape& shape : {Shape{3, 5, 4}, Shape{2, 67, 19}, Shape{1, 300, 1}}) {
      const Value x = parameter(0, dtype, shape);
      std::vector<Value> out;
      for (int64_t axis = 0; axis < 3; ++axis)
        for (Combine combine : extrema) out.push_back(arg_reduce(combine, x, axis));
      INFO(name(dtype) << to_string(shape));
      check_compiled(graph_over(out), std::vector{edge_values(dtype, shape, 8)});
      // Few different numbers: nearly all are ties.
      check_compiled(graph_over(out), std::vector{numbers_between(dtype, shape, 0, 2, 9)});
    }
}

TEST_CASE("compiled: scans along every axis, both ways, inclusive and exclusive") {
  for (DType dtype : all_dtypes) {
    if (is_bool(dtype)) continue;
    for (const Shape& shape : {Shape{3, 5, 4}, Shape{2, 33, 18}}) {
      const Value x = parameter(0, dtype, shape);
      const auto all = [&](const std::vector<Combine>& combines) {
        std::vector<Value> out;
        for (Combine combine : combines)
          for (int64_t axis = 0; axis < 3; ++axis)
            for (int way = 0; way < 4; ++way)
              out.push_back(scan(combine, x, axis, way & 1, way & 2));
        return graph_over(out);
      };
      INFO(name(dtype) << to_string(shape));
      check_compiled(all(extrema), std::vector{edge_values(dtype, shape, 3)},
                     {.signed_zeros = false});
      check_compiled(all(sums), std::vector{summands(dtype, shape, 4)},
                     is_float(dtype) ? sum_tolerance(dtype, 33, 66) : Tolerance());
      check_compiled(all(products), std::vector{numbers_between(dtype, shape, 0.5, 1.5, 5)},
                     product_tolerance(dtype));
    }
  }
}

TEST_CASE("compiled: sums of negative zeros are negative, a scan of nothing is 0") {
  for (DType dtype : {DType::F32, DType::F16}) {
    const Shape shape = {5, 20};
    HostArray x(dtype, shape);
    for (int64_t i = 0; i < x.numel(); ++i) x.set_bits(i, uint64_t(1) << (bits_of(dtype) - 1));
    const Value p = parameter(0, dtype, shape);
    std::vector<Value> out;
    for (int64_t axis : {0, 1}) {
      out.push_back(reduce(Combine::Sum, p, Dims{axis}));
      for (int way = 0; way < 4; ++way)
        out.push_back(scan(Combine::Sum, p, axis, way & 1, way & 2));
    }
    check_compiled(graph_over(out), std::vector{x});
  }
}

TEST_CASE("compiled: scans inside of larger expressions") {
  for (DType dtype : {DType::F32, DType::F16, DType::F64}) {
    const Shape shape = {5, 21};
    const Value x = parameter(0, dtype, shape), y = parameter(1, dtype, shape);
    std::vector<Value> out;
    for (int64_t axis : {0, 1}) {
      const Value running = scan(Combine::Sum, x * y, axis);
      out.push_back(running / 3.0 + x);
      out.push_back(scan(Combine::Sum, x, axis, true) - scan(Combine::Sum, y, axis));
      out.push_back(total(running, {axis}) + total(x, {axis}));
      out.push_back(scan(Combine::Max, x - largest(x, {axis}), axis, true, false));
      out.push_back(flip(scan(Combine::Sum, flip(x, axis), axis), axis));
      out.push_back(scan(Combine::Sum, scan(Combine::Sum, x, axis, false, true), axis, true));
    }
    check_compiled(graph_over(out),
                   std::vector{numbers_between(dtype, shape, -1, 1, 1),
                               numbers_between(dtype, shape, -1, 1, 2)},
                   {.relative = rounded(dtype).relative, .absolute = rounded(dtype).absolute * 40});
  }
}

TEST_CASE("compiled: row programs of two to five stages") {
  for (DType dtype : {DType::F32, DType::F64, DType::F16, DType::BF16})
    for (const Shape& shape : {Shape{4, 6}, Shape{3, 130}, Shape{70, 5}, Shape{1, 33}}) {
      const Value x = parameter(0, dtype, shape), dy = parameter(1, dtype, shape);
      std::vector<Value> out;
      for (const Dims& axes : {Dims{1}, Dims{0}, Dims{0, 1}}) {
        const Value y = softmax(x, axes);
        out.push_back(y);
        out.push_back(y * (dy - total(dy * y, axes)));
        out.push_back(x - largest(x, axes) - log(total(exp(x - largest(x, axes)), axes)));
        out.push_back(normalised(x, axes) * dy + x);
        out.push_back(softmax(normalised(tanh(x), axes), axes));
        out.push_back(total(erf(x) * normalised(x, axes), axes));
        out.push_back(largest(normalised(x, axes), axes) + mean(x * dy, axes));
      }
      INFO(name(dtype) << to_string(shape));
      check_compiled(
          graph_over(out),
          std::vector{numbers_between(dtype, shape, -1, 1, 1),
                      numbers_between(dtype, shape, -1, 1, 2)},
          {.relative = 8 * rounded(dtype).relative, .absolute = 16 * rounded(dtype).absolute});
    }
}

TEST_CASE("compiled: row programs over several inner axes keep what is expensive") {
  const Shape shape = {2, 3, 5, 7};
  for (DType dtype : {DType::F32, DType::F16, DType::F64}) {
    const Value x = parameter(0, dtype, shape);
    std::vector<Value> out;
    for (const Dims& axes : {Dims{2, 3}, Dims{0, 2, 3}, Dims{1, 3}, Dims{0, 1}, Dims{1, 2}}) {
      out.push_back(softmax(x, axes));
      out.push_back(normalised(tanh(x), axes));
      out.push_back(softmax(erf(x) - mean(erf(x), axes), axes));
      out.push_back(softmax(transpose(x, 1, 3), axes));
    }
    check_compiled(
        graph_over(out), std::vector{numbers_between(dtype, shape, -2, 2, 1)},
        {.relative = 4 * rounded(dtype).relative, .absolute = 8 * rounded(dtype).absolute});
  }
}

TEST_CASE("compiled: columns of arrays larger than the caches advance together") {
  for (DType dtype : {DType::F32, DType::F64, DType::F16})
    for (const Shape& shape : {Shape{43, 70}, Shape{2, 37, 96}, Shape{3, 5, 19, 33}}) {
      const Value x = parameter(0, dtype, shape), dy = parameter(1, dtype, shape);
      Dims axes = {int64_t(shape.size()) - 2};
      if (shape.size() == 4) axes.insert(axes.begin(), 0);
      const Value y = softmax(x, axes);
      std::vector<Value> out = {total(x, axes),
                                largest(x, axes),
                                total(dy * y, axes),
                                y,
                                y * (dy - total(dy * y, axes)),
                                normalised(x, axes) * dy + x,
                                total(erf(x) * normalised(x, axes), axes),
                                largest(normalised(x, axes), axes) + mean(x * dy, axes),
                                arg_reduce(Combine::Max, x, axes.back()),
                                arg_reduce(Combine::Min, dy, axes.back())};
      INFO(name(dtype) << to_string(shape));
      check_compiled(
          graph_over(out),
          std::vector{numbers_between(dtype, shape, -1, 1, 1),
                      numbers_between(dtype, shape, -1, 1, 2)},
          {.relative = 8 * rounded(dtype).relative, .absolute = 16 * rounded(dtype).absolute},
          targets_with_tiny_caches());
    }
  const Shape shape = {50, 67};
  const Value x = parameter(0, DType::F32, shape), i = parameter(1, DType::I32, shape);
  const Value some = lt(x, like(x, 0.0));
  check_compiled(
      graph_over({reduce(Combine::Max, x, Dims{0}), reduce(Combine::Min, x, Dims{0}),
                  reduce(Combine::Max, some, Dims{0}), total(i, Dims{0}),
                  reduce(Combine::Prod, i, Dims{0}), arg_reduce(Combine::Max, x, 0),
                  where(expand(largest(some, Dims{0}), shape), i, -i)}),
      std::vector{edge_values(DType::F32, shape, 1), numbers_between(DType::I32, shape, -9, 9, 2)},
      {.signed_zeros = false}, targets_with_tiny_caches());
}

TEST_CASE("compiled: large layer norms and their gradients, the same for any number of threads") {
  const Shape shapes[] = {{1024, 257}, {516, 600}, {3, 400, 250}};
  for (const Shape& shape : shapes) {
    INFO(to_string(shape));
    const int64_t last = int64_t(shape.size()) - 1, columns = shape.back();
    const Value x = parameter(0, DType::F32, shape), gamma = parameter(1, DType::F32, {columns}),
                beta = parameter(2, DType::F32, {columns}), dy = parameter(3, DType::F32, shape);
    const auto mean = [&](const Value& v) {
      return reduce(Combine::Sum, v, Dims{last}, true) * (1.0 / double(columns));
    };
    const Value centred = x - mean(x);
    const Value y = centred / sqrt(mean(centred * centred) + 1e-5) * gamma + beta;
    const std::vector<Value> out = {y}, in = {x, gamma, beta}, cotangent = {dy};
    std::vector<Value> all = compiler::vjp(out, in, cotangent);
    all.push_back(y);
    const Graph graph = graph_over(all);
    std::vector<HostArray> operands;
    for (const Value& v : {x, gamma, beta, dy})
      operands.push_back(numbers_between(DType::F32, v->shape, -2, 3, operands.size()));
    check_compiled(graph, operands, {.relative = 1e-4, .absolute = 2e-4});
    for (const std::string& target : target_names()) {
      if (target == "cuda") continue;
      const auto one = run_on(target, graph, operands),
                 three = run_compiled(engine_for(target, 3), graph, operands);
      for (size_t i = 0; i < one.size(); ++i) CHECK(one[i].bytes == three[i].bytes);
    }
  }
}

TEST_CASE("compiled: reductions over pairs of rows") {
  const auto check = [](DType dtype, int64_t rows, int64_t columns, int64_t terms) {
    const Value a = parameter(0, dtype, {rows, terms}), b = parameter(1, dtype, {columns, terms});
    const Shape shape = {rows, columns, terms};
    const Value x = expand(reshape(a, Shape{rows, 1, terms}), shape),
                y = expand(reshape(b, Shape{1, columns, terms}), shape), d = x - y;
    const std::vector<Value> out = {total(d * d, {2}), largest(abs(d), {2}),
                                    sqrt(total(d * d, {2})) + mean(d, {2}),
                                    arg_reduce(Combine::Min, d, 2), total(abs(x - y * y), {2})};
    INFO(name(dtype) << to_string(shape));
    const std::vector parameters{numbers_between(dtype, {rows, terms}, -1, 1, 1),
                                 numbers_between(dtype, {columns, terms}, -1, 1, 2)};
    for (const Value& each : out) {  // each a kernel of its own
      const Tolerance tolerance{.relative = 8 * rounded(dtype).relative,
                                .absolute = 16 * rounded(dtype).absolute};
      check_compiled(graph_over({each}), parameters, tolerance);
      check_compiled(graph_over({each}), parameters, tolerance, targets_with_tiny_caches());
    }
  };
  check(DType::F32, 40, 77, 9);
  check(DType::F32, 67, 96, 3);
  check(DType::F64, 36, 41, 5);
  check(DType::F16, 33, 80, 4);
}

// Rows of the short axis are computed side by side.
TEST_CASE("compiled: reductions over pairs of points of few coordinates") {
  for (DType dtype : {DType::F32, DType::F64})
    for (int64_t axes : {2, 3, 4}) {
      const int64_t from = 37, to = 41;
      const Shape shape = {from, to, axes};
      const Value a = parameter(0, dtype, {from, axes}), b = parameter(1, dtype, {to, axes}),
                  mass = parameter(2, dtype, {to});
      const Value apart = expand(reshape(b, Shape{1, to, axes}), shape) -
                          expand(reshape(a, Shape{from, 1, axes}), shape);
      const Value square = reshape(total(apart * apart, {2}), Shape{from, to}) + 0.01;
      const Value pull =
          expand(reshape(mass, Shape{1, to}), Shape{from, to}) / (square * sqrt(square));
      const Value pulled = apart * expand(reshape(pull, Shape{from, to, 1}), shape);
      const Value near = reduce(Combine::Min, reduce(Combine::Max, abs(apart), Dims{2}), Dims{1});
      const std::vector parameters{numbers_between(dtype, {from, axes}, -1, 1, 1),
                                   numbers_between(dtype, {to, axes}, -1, 1, 2),
                                   numbers_between(dtype, {to}, 0, 1, 3)};
      const Tolerance tolerance{.relative = 64 * rounded(dtype).relative,
                                .absolute = 1024 * rounded(dtype).absolute};
      INFO(name(dtype) << to_string(shape));
      const Value pulls = reshape(total(pulled, {1}), Shape{from, axes});
      for (const Value& each : {pulls * 0.5 + a, near})
        check_compiled(graph_over({each}), parameters, tolerance);
    }
}

TEST_CASE("compiled: results larger than the caches are stored past them") {
  for (DType dtype : {DType::F32, DType::F64, DType::F16, DType::U8}) {
    const Shape shape = {5, 192};
    const Value x = parameter(0, dtype, shape);
    const Value y = x * x + x;
    std::vector<Value> out = {y,
                              eq(x, y),
                              transpose(y, 0, 1),
                              concat(std::vector{y, x, y}, 0),
                              slice(y, 1, 16, 192),
                              slice(y, 1, 3, 51)};
    if (is_float(dtype))
      for (const Dims& axes : {Dims{0}, Dims{1}}) {
        out.push_back(softmax(x, axes));
        out.push_back(normalised(x, axes) * y);
      }
    INFO(name(dtype));
    check_compiled(
        graph_over(out), std::vector{numbers_between(dtype, shape, 0, 2, 1)},
        {.relative = 8 * rounded(dtype).relative, .absolute = 16 * rounded(dtype).absolute},
        targets_with_tiny_caches());
  }
}

TEST_CASE("compiled: reductions of mixed dtypes in one kernel") {
  const Shape shape = {6, 45};
  const Value a = parameter(0, DType::I8, shape), b = parameter(1, DType::F64, shape);
  const Value c = parameter(2, DType::F16, shape), mask = lt(b, like(b, 0.0));
  for (int64_t axis : {0, 1}) {
    const Dims axes = {axis};
    const Value wide = cast(a, DType::F64) * b;
    check_compiled(
        graph_over({total(wide, axes), largest(mask, axes), reduce(Combine::Min, mask, axes),
                    total(cast(mask, DType::I64), axes), arg_reduce(Combine::Max, wide, axis),
                    total(cast(c, DType::F32) + cast(a, DType::F32), axes), total(a, axes),
                    where(expand(largest(mask, axes), shape), cast(c, DType::F64), b)}),
        std::vector{numbers_between(DType::I8, shape, -100, 100, 1),
                    numbers_between(DType::F64, shape, -2, 2, 2),
                    numbers_between(DType::F16, shape, -2, 2, 3)},
        {.relative = 1e-6, .absolute = 1e-3});
  }
}
