// Matrix products and convolutions as compiled code on every target against the interpreter, at
// sizes around those of panels, tiles and blocks.

#include <fmt/format.h>

#include "compiler/autograd.h"
#include "ir/build.h"
#include "support/catch.h"
#include "support/run_compiled.h"

using namespace cermet;
using namespace cermet::ir;
using namespace cermet::test;

namespace {

void check_products(std::vector<Value> results, const Tolerance& tolerance,
                    const std::vector<std::string>& targets = target_names()) {
  const Graph graph = graph_over(std::move(results));
  check_compiled(graph, product_operands(graph), tolerance, targets);
}

void check_dot(DType dtype, int64_t batch, int64_t m, int64_t n, int64_t k,
               const std::vector<std::string>& targets = target_names()) {
  INFO(fmt::format("{} {} x {}x{}x{}", name(dtype), batch, m, n, k));
  const Value a = parameter(0, dtype, {batch, m, k}), b = parameter(1, dtype, {batch, k, n});
  check_products({dot(a, b)}, product_tolerance(dtype, k), targets);
}

}  // namespace

TEST_CASE("compiled: dot at sizes around the panels") {
  const int64_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 33, 65};
  for (size_t i = 0; i < std::size(sizes); ++i)
    for (size_t j = 0; j < std::size(sizes); ++j) {
      const int64_t k = sizes[(i * 7 + j * 3) % std::size(sizes)];
      check_dot(DType::F32, 1 + int64_t(i + j) % 2, sizes[i], sizes[j], k);
    }
}

TEST_CASE("compiled: dot in every dtype") {
  for (DType dtype : all_dtypes) {
    if (is_bool(dtype)) continue;
    check_dot(dtype, 1, 5, 7, 3);
    check_dot(dtype, 2, 19, 35, 21);
    check_dot(dtype, 1, 1, 40, 33);
    check_dot(dtype, 1, 40, 1, 33);
    check_dot(dtype, 1, 9, 130, 4);
  }
}

TEST_CASE("compiled: dot beyond one tile and one block") {
  check_dot(DType::F32, 1, 101, 270, 530);
  check_dot(DType::F64, 1, 97, 259, 300);
  check_dot(DType::F32, 3, 193, 33, 1200);
  check_dot(DType::F16, 1, 100, 300, 40);
  // Many rows, which lie along k or across it, and an epilogue that reads and writes more.
  const Value across = parameter(0, DType::F32, {1, 530, 259}),
              b = parameter(1, DType::F32, {1, 530, 71}),
              along = parameter(2, DType::F32, {1, 259, 530}),
              c = parameter(3, DType::F32, {1, 259, 71});
  const Value product = dot(transpose(across, 1, 2), b);
  check_products({product * c - 1.0, product, dot(along, b)}, product_tolerance(DType::F32, 530));
}

TEST_CASE("compiled: dot of nothing") {
  for (DType dtype : {DType::F32, DType::I32, DType::F16}) {
    check_dot(dtype, 1, 5, 6, 0);
    check_dot(dtype, 1, 0, 6, 4);
    check_dot(dtype, 1, 5, 0, 4);
    check_dot(dtype, 0, 5, 6, 4);
  }
}

TEST_CASE("compiled: dot of views") {
  for (DType dtype : {DType::F32, DType::F64, DType::I16, DType::BF16})
    for (const auto& [m, n, k] :
         {std::tuple<int64_t, int64_t, int64_t>{5, 6, 7}, {18, 36, 25}, {40, 70, 64}}) {
      const Shape shapes[] = {
          {1, k, m}, {1, n, 2 * k + 1}, {1, 1, k}, {1, m - 1, k - 2}, {1, k, n}};
      std::vector<Value> p;
      for (size_t i = 0; i < std::size(shapes); ++i)
        p.push_back(parameter(int64_t(i), dtype, shapes[i]));
      const Value turned = transpose(p[0], 1, 2);
      const Value strided = transpose(slice(p[1], 2, 1, std::nullopt, 2), 1, 2);
      const Value repeated = expand(p[2], Shape{1, m, k});
      const Value padded = pad(pad(p[3], 1, 0, 1), 2, 1, 1);
      const Value folded = reshape(transpose(p[0], 1, 2), Shape{1, k, m});
      check_products({dot(turned, p[4]), dot(turned, strided), dot(repeated, strided),
                      dot(padded, p[4]), dot(flip(turned, 2), flip(p[4], 2)),
                      transpose(dot(turned, p[4]), 1, 2), dot(transpose(folded, 1, 2), strided),
                      slice(dot(padded, strided), 2, 1, std::nullopt, 2)},
                     product_tolerance(dtype, k));
    }
}

TEST_CASE("compiled: dot with a prologue and an epilogue") {
  for (DType dtype : {DType::F32, DType::F64, DType::F16, DType::I32})
    for (const auto& [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{6, 5, 4}, {33, 50, 20}}) {
      const Shape shapes[] = {{2, m, k}, {2, k, n}, {n}, {2, m, 1}, {2, m, n}};
      std::vector<Value> p;
      for (size_t i = 0; i < std::size(shapes); ++i)
        p.push_back(parameter(int64_t(i), dtype, shapes[i]));
      const Value product = dot(p[0], p[1]);
      const Value zero = constant(dtype, {}, 0.0);
      std::vector<Value> out = {maximum(product + p[2], zero), product * p[3] - p[4],
                                transpose(product + p[4], 1, 2), dot(p[0] * p[3], p[1] * p[2]),
                                dot(maximum(p[0], zero), neg(p[1])) + p[2],
                                cast(product, DType::F64),
                                // The same product, as it is and after an epilogue.
                                product};
      if (is_float(dtype)) out.push_back(dot(tanh(p[0]), p[1] / 3.0));
      Tolerance tolerance = product_tolerance(dtype, 40 * k);
      if (dtype == DType::F16) tolerance.absolute = 0.25, tolerance.relative = 4e-3;
      check_products(out, tolerance);
    }
}

TEST_CASE("compiled: products of products") {
  const Shape shapes[] = {{1, 9, 12}, {1, 12, 20}, {1, 20, 7}, {20}};
  std::vector<Value> p;
  for (size_t i = 0; i < std::size(shapes); ++i)
    p.push_back(parameter(int64_t(i), DType::F32, shapes[i]));
  const Value hidden = tanh(dot(p[0], p[1]) + p[3]), out = dot(hidden, p[2]);
  const Value peak = reduce(Combine::Max, out, Dims{2}, true);
  check_products({out, out - peak, dot(transpose(hidden, 1, 2), out),
                  reduce(Combine::Sum, dot(p[0], p[1]), Dims{1})},
                 {.relative = 1e-4, .absolute = 1e-4});
}

TEST_CASE("compiled: conv with groups, strides, dilation and padding") {
  struct Case {
    int64_t groups, images, channels, out, height, width, window_h, window_w;
    int64_t stride_h, stride_w, dilation_h, dilation_w, padding;
  };
  const Case cases[] = {
      {1, 1, 1, 1, 5, 5, 3, 3, 1, 1, 1, 1, 0},    {1, 2, 3, 8, 9, 9, 3, 3, 1, 1, 1, 1, 1},
      {1, 1, 4, 6, 12, 10, 3, 2, 2, 1, 1, 2, 0},  {2, 2, 2, 5, 8, 8, 3, 3, 2, 2, 1, 1, 1},
      {3, 1, 1, 1, 7, 9, 3, 3, 1, 1, 2, 2, 2},    {1, 2, 5, 7, 6, 6, 1, 1, 1, 1, 1, 1, 0},
      {1, 1, 3, 4, 11, 11, 5, 5, 3, 2, 1, 1, 2},  {1, 3, 16, 20, 14, 14, 3, 3, 1, 1, 1, 1, 1},
      {1, 1, 2, 33, 4, 40, 4, 4, 1, 1, 1, 1, 0},  {1, 1, 70, 9, 8, 8, 3, 3, 1, 1, 1, 1, 1},
      {1, 4, 1, 16, 28, 28, 5, 5, 1, 1, 1, 1, 2}, {1, 1, 1, 4, 1, 20, 1, 3, 1, 2, 1, 3, 0},
  };
  for (DType dtype : {DType::F32, DType::F64, DType::F16, DType::I32})
    for (const Case& c : cases) {
      if (dtype != DType::F32 && (&c - cases) % 3 != 1) continue;
      INFO(name(dtype) << " case " << (&c - cases));
      const Shape shapes[] = {{c.groups, c.images, c.channels, c.height, c.width},
                              {c.groups, c.out, c.channels, c.window_h, c.window_w},
                              {c.groups, 1, c.out, 1, 1}};
      std::vector<Value> p;
      for (size_t i = 0; i < std::size(shapes); ++i)
        p.push_back(parameter(int64_t(i), dtype, shapes[i]));
      Value x = p[0];
      if (c.padding > 0) x = pad(pad(x, 3, c.padding, c.padding), 4, c.padding, c.padding);
      const Value y = conv(x, p[1], Dims{c.stride_h, c.stride_w}, Dims{c.dilation_h, c.dilation_w});
      const int64_t terms = c.channels * c.window_h * c.window_w;
      check_products({y, maximum(y + p[2], constant(dtype, {}, 0.0))},
                     product_tolerance(dtype, 4 * terms));
    }
}

TEST_CASE("compiled: conv with windows as large as images, as in the gradient of its weights") {
  for (int64_t size : {13, 14, 16, 30}) {  // of a window: lines of vectors that are nearly full
    const Value x = parameter(0, DType::F32, {1, 5, 3, size + 2, size + 2}),
                w = parameter(1, DType::F32, {1, 6, 3, size, size});
    check_products({conv(x, w, Dims{1, 1}, Dims{1, 1}), conv(x, w, Dims{1, 1}, Dims{1, 1}) * 2.0},
                   product_tolerance(DType::F32, 3 * size * size));
  }
}

TEST_CASE("compiled: conv in one and three dimensions, of views") {
  const Shape shapes[] = {{1, 2, 3, 40}, {1, 4, 3, 5}, {1, 1, 2, 6, 7, 8}, {1, 3, 2, 2, 3, 2}};
  std::vector<Value> p;
  for (size_t i = 0; i < std::size(shapes); ++i)
    p.push_back(parameter(int64_t(i), DType::F32, shapes[i]));
  const Value wide = reshape(p[0], Shape{1, 1, 6, 40});
  check_products(
      {conv(p[0], p[1], Dims{1}, Dims{1}), conv(p[0], p[1], Dims{3}, Dims{2}),
       conv(flip(p[0], 3), transpose(flip(p[1], 3), 1, 1), Dims{1}, Dims{1}),
       conv(p[2], p[3], Dims{1, 2, 1}, Dims{2, 1, 1}),
       conv(exp(p[0]), p[1] * 2.0, Dims{2}, Dims{1}),
       conv(pad(transpose(p[0], 0, 1), 3, 2, 2), expand(p[1], Shape{2, 4, 3, 5}), Dims{1}, Dims{1}),
       reshape(conv(wide, reshape(slice(p[1], 3, 0, 2), Shape{1, 4, 6, 1}), Dims{1}, Dims{1}),
               Shape{160})},
      {.relative = 1e-4, .absolute = 1e-3});
}

// The scores as a result of their own exist in full, so their kernels run one after the other.
TEST_CASE("compiled: attention in blocks has the bits of its kernels one by one") {
  const auto softmax = [](const Value& x) {
    const Value e = exp(x - reduce(Combine::Max, x, Dims{2}, true));
    return e / reduce(Combine::Sum, e, Dims{2}, true);
  };
  const struct {
    int64_t heads, queries, keys, depth;
  } cases[] = {{4, 5, 9, 4}, {3, 97, 33, 20}, {2, 200, 41, 7}, {5, 33, 130, 16}};
  for (const auto& c : cases) {
    INFO(fmt::format("{} x {} x {} x {}", c.heads, c.queries, c.keys, c.depth));
    const Value q = parameter(0, DType::F32, {c.heads, c.queries, c.depth});
    const Value k = parameter(1, DType::F32, {c.heads, c.keys, c.depth});
    const Value v = parameter(2, DType::F32, {c.heads, c.keys, c.depth});
    const Value dy = parameter(3, DType::F32, {c.heads, c.queries, c.depth});
    const Value query = reshape(iota(c.queries), Dims{c.queries, 1});
    const Value mask = where(lt(query, iota(c.keys)), constant(DType::F32, {}, -1e30),
                             constant(DType::F32, {}, 0.0));
    const Value scores = dot(q, permute(k, Dims{0, 2, 1})) * 0.25 + mask, p = softmax(scores);
    const Value y = dot(p, v);
    const std::vector<Value> out = {y}, in = {q, k, v}, cotangent = {dy};
    std::vector<Value> all = compiler::vjp(out, in, cotangent);
    all.push_back(y);
    const Graph blocks = graph_over(all), forward = graph_over({y});
    all.push_back(scores), all.push_back(p);
    const Graph whole = graph_over(all);
    const auto operands = product_operands(blocks);
    Tolerance tolerance = product_tolerance(DType::F32, c.keys + c.depth + c.queries);
    tolerance.relative *= 16, tolerance.absolute *= 16;  // four sums, one after the other
    check_compiled(blocks, operands, tolerance);
    check_compiled(forward, std::span(operands).first(3), tolerance);
    for (const std::string& target : target_names()) {
      const auto separate = run_on(target, whole, operands),
                 chain = run_on(target, blocks, operands);
      for (size_t i = 0; i < chain.size(); ++i) CHECK(chain[i].bytes == separate[i].bytes);
      if (target == "cuda") continue;
      const auto threads = run_compiled(engine_for(target, 3), blocks, operands);
      for (size_t i = 0; i < chain.size(); ++i) CHECK(chain[i].bytes == threads[i].bytes);
    }
  }
}

TEST_CASE("compiled: products of transposed operands, and of what is computed from them") {
  const int64_t sizes[][3] = {{3, 5, 40}, {9, 33, 17}, {70, 130, 90}, {20, 65, 600}};
  for (const DType dtype : {DType::F32, DType::F64, DType::BF16})
    for (const auto& [m, n, k] : sizes) {
      const Value x = parameter(0, dtype, {1, k, m}), y = parameter(1, dtype, {1, n, k});
      const auto product = [&](const Value& left, const Value& right) {
        return dot(permute(left, Dims{0, 2, 1}), permute(right, Dims{0, 2, 1}));
      };
      check_products({product(x, y)}, product_tolerance(dtype, k));
      check_products({product(-x, -y)}, product_tolerance(dtype, k));
    }
}

TEST_CASE("compiled: products summed over their batch are one product") {
  const int64_t sizes[][4] = {{2, 5, 9, 4}, {3, 40, 33, 20}, {7, 17, 64, 3}};
  for (const auto& [batch, m, n, k] : sizes) {
    const Value x = parameter(0, DType::F32, {batch, k, m}),
                y = parameter(1, DType::F32, {batch, k, n});
    const Value products = dot(permute(x, Dims{0, 2, 1}), y);
    check_products({reduce(Combine::Sum, products, Dims{0})},
                   product_tolerance(DType::F32, batch * k));
    check_products({reduce(Combine::Sum, permute(products, Dims{2, 0, 1}), Dims{1}, true) + 1.0},
                   product_tolerance(DType::F32, batch * k));
  }
}
