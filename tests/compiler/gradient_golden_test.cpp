// Gradients against those of PyTorch, which tests/data/make_gradients.py asks for.
#include <algorithm>

#include "compiler/gradient_check.h"
#include "support/golden.h"

using namespace cermet;
using namespace cermet::ir;
using test::GoldenCase;

namespace {

using Operands = std::span<const Value>;
using Builder = std::function<Value(const GoldenCase&, Operands)>;

Builder reduction(Combine combine) {
  return [=](const GoldenCase& c, Operands x) { return reduce(combine, x[0], c.ints("axes")); };
}
Builder running(Combine combine) {
  return [=](const GoldenCase& c, Operands x) { return scan(combine, x[0], c.integer("axis")); };
}
Builder scattering(Combine combine) {
  return [=](const GoldenCase& c, Operands x) {
    return scatter(combine, x[0], x[1], x[2], c.integer("axis"));
  };
}

// The length of each row, with the slope 0 at 0 that PyTorch gives it.
Value norm(const GoldenCase&, Operands x) {
  const Value squares = reduce(Combine::Sum, x[0] * x[0], Dims{1});
  const Value zero = eq(squares, zeros_like(squares));
  return where(zero, squares, sqrt(where(zero, like(squares, 1.0), squares)));
}

Value log_softmax(const GoldenCase&, Operands x) {
  const Value shifted = x[0] - reduce(Combine::Max, x[0], Dims{1}, true);
  return shifted - log(reduce(Combine::Sum, exp(shifted), Dims{1}, true));
}
Value softmax(const GoldenCase&, Operands x) {
  const Value e = exp(x[0] - reduce(Combine::Max, x[0], Dims{1}, true));
  return e / reduce(Combine::Sum, e, Dims{1}, true);
}

// [N,C,H,W] and [O,C/G,h,w] as grouped images and windows.
Value conv2d(const GoldenCase& c, Operands x) {
  const Shape &a = x[0]->shape, &w = x[1]->shape;
  const int64_t groups = c.integer("groups");
  const Value images =
      transpose(reshape(x[0], Shape{a[0], groups, a[1] / groups, a[2], a[3]}), 0, 1);
  const Value windows = reshape(x[1], Shape{groups, w[0] / groups, w[1], w[2], w[3]});
  const Value y = transpose(conv(images, windows, c.ints("stride"), c.ints("dilation")), 0, 1);
  return reshape(y, Shape{a[0], w[0], y->shape[3], y->shape[4]});
}

Builder pooling(Combine combine) {
  return [=](const GoldenCase& c, Operands x) {
    const int64_t window = c.integer("window"), stride = c.integer("stride");
    const Value windows = unfold(unfold(x[0], 2, window, stride, 1), 3, window, stride, 1);
    const Value y = reduce(combine, windows, Dims{4, 5});
    return combine == Combine::Sum ? y / double(window * window) : y;
  };
}

const std::map<std::string, Builder> builders = {
    // These say how the public functions must be composed to have PyTorch's slope at the bounds.
    {"clamp",
     [](const GoldenCase&, Operands x) {
       const Value low = zeros_like(x[0]), high = like(x[0], 1.0);
       return where(lt(x[0], low), low, where(lt(high, x[0]), high, x[0]));
     }},
    {"relu", [](const GoldenCase&,
                Operands x) { return where(le(x[0], zeros_like(x[0])), zeros_like(x[0]), x[0]); }},
    {"sum", reduction(Combine::Sum)},
    {"prod", reduction(Combine::Prod)},
    {"max", reduction(Combine::Max)},
    {"min", reduction(Combine::Min)},
    {"cumsum", running(Combine::Sum)},
    {"cumprod", running(Combine::Prod)},
    {"cummax", running(Combine::Max)},
    {"cummin", running(Combine::Min)},
    {"norm", norm},
    {"softmax", softmax},
    {"log_softmax", log_softmax},
    {"matmul", [](const GoldenCase&, Operands x) { return matmul(x[0], x[1]); }},
    {"conv2d", conv2d},
    {"max_pool", pooling(Combine::Max)},
    {"avg_pool", pooling(Combine::Sum)},
    {"gather",
     [](const GoldenCase& c, Operands x) { return gather(x[0], x[1], c.integer("axis")); }},
    {"scatter_add", scattering(Combine::Sum)},
    {"scatter", scattering(Combine::Set)},
    {"scatter_max", scattering(Combine::Max)},
    {"scatter_min", scattering(Combine::Min)},
    {"sort", [](const GoldenCase&, Operands x) { return gather(x[0], argsort(x[0], 1), 1); }},
    {"windows",
     [](const GoldenCase& c, Operands x) {
       return unfold(x[0], 0, c.integer("size"), c.integer("step"), 1);
     }},
    {"diagonal",
     [](const GoldenCase& c, Operands x) { return diagonal(x[0], c.integer("offset"), 0, 1); }},
    {"pad_flip",
     [](const GoldenCase&, Operands x) {
       const Value flipped = flip(pad(pad(x[0], 1, 1, 2), 0, 0, 3), 1);
       return slice(slice(flipped, 0, {}, {}, 2), 1, 1, {});
     }},
};

Value function_of(const GoldenCase& c, Operands x) {
  if (const auto op = parse_op(c.op); op && is_elementwise(*op)) return elementwise(*op, x);
  return builders.at(c.op)(c, x);
}

// The graph of what the case expects, over parameters for all its operands.
Value gradient_of(const GoldenCase& c, Operands p) {
  const bool twice = c.integer("order", 1) == 2;
  const Operands inputs = p.first(p.size() - (twice ? 2 : 1));
  const Value& x = inputs[size_t(c.integer("wrt"))];
  const Value first = compiler::vjp({{function_of(c, inputs)}}, {{x}}, {{p[inputs.size()]}})[0];
  if (!twice) return first;
  const Value second = compiler::vjp({{first}}, {{x}}, {{p.back()}})[0];
  return second ? second : zeros_like(x);
}

}  // namespace

TEST_CASE("gradient: first and second gradients agree with PyTorch") {
  const std::vector<GoldenCase> cases = test::read_golden("gradients");
  CHECK(cases.size() > 150);
  constexpr size_t at_once = 16;  // in one program
  for (size_t begin = 0; begin < cases.size(); begin += at_once) {
    const auto batch = std::span(cases).subspan(begin, std::min(at_once, cases.size() - begin));
    std::vector<HostArray> arrays;
    std::vector<Value> gradients;
    for (const GoldenCase& c : batch) {
      gradients.push_back(gradient_of(c, test::parameters_of(c.operands, int64_t(arrays.size()))));
      arrays.insert(arrays.end(), c.operands.begin(), c.operands.end());
    }
    const std::vector<HostArray> got = test::evaluate(gradients, arrays);
    for (size_t i = 0; i < batch.size(); ++i) {
      const GoldenCase& c = batch[i];
      const test::Tolerance tolerance{.ulps = 32, .absolute = 1e-13, .signed_zeros = false};
      if (const auto why = test::difference(got[i], c.expected, tolerance))
        FAIL_CHECK(fmt::format("gradients.golden:{}: {}: {}", c.line, c.op, *why));
    }
  }
}
