// Images as networks use them: pooling, whose windows take every second or fourth element, and
// convolutions, whose lines are rarely whole vectors. Compiled for each target that runs here and
// compared with the interpreter.

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <random>

#include "compiler/codegen.h"
#include "ir/build.h"
#include "ir/interpreter.h"
#include "runtime/engine.h"
#include "support/catch.h"

using namespace cermet;
using namespace cermet::ir;

namespace {

std::vector<std::string> targets() {
  std::vector<std::string> out{"x86-64-v2"};
  const int host = compiler::target("host").vector_bytes;
  if (host >= 32) out.push_back("x86-64-v3");
  if (host >= 64) out.push_back("x86-64-v4");
  return out;
}

HostArray random_array(DType dtype, const Shape& shape, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<double> numbers(size_t(numel(shape)));
  // Few different numbers: windows with several largest elements occur.
  for (double& x : numbers) x = int(random() % 17) - 8;
  return HostArray::of(dtype, shape, numbers);
}

// The results over parameters of these shapes. All numbers are small and whole, so every order of
// summing gives the same float.
template <class F>
void check(DType dtype, const std::vector<Shape>& shapes, F results) {
  Graph graph;
  std::vector<HostArray> arrays;
  for (size_t i = 0; i < shapes.size(); ++i) {
    graph.parameters.push_back(parameter(int64_t(i), dtype, shapes[i]));
    arrays.push_back(random_array(dtype, shapes[i], uint32_t(100 + i)));
  }
  graph.results = results(graph.parameters);
  const std::vector<HostArray> expected = interpret(graph, arrays);
  for (const std::string& target : targets()) {
    runtime::EngineOptions options;
    options.threads = 2, options.target = target, options.cache_directory.clear();
    runtime::Engine engine(options);
    std::vector<Value> inputs;
    for (const HostArray& array : arrays) {
      runtime::Buffer buffer = engine.allocator().allocate(dtype, array.shape);
      std::memcpy(buffer.data(), array.bytes.data(), array.bytes.size());
      inputs.push_back(
          data(std::make_shared<const runtime::BufferStorage>(buffer), dtype, array.shape));
    }
    const std::vector<Value> roots = results(inputs);
    const auto computed = engine.realize(roots);
    for (size_t i = 0; i < roots.size(); ++i) {
      INFO(target << " result " << i << " " << type_string(*roots[i]));
      CHECK(HostArray(roots[i]->dtype, roots[i]->shape, computed[i]->host_data()) == expected[i]);
    }
  }
}

Value windows(const Value& x, int64_t size, int64_t stride) {
  return unfold(unfold(x, 2, size, stride, 1), 3, size, stride, 1);
}

}  // namespace

TEST_CASE("images: pooling at widths around the vectors, in several dtypes") {
  for (const DType dtype : {DType::F32, DType::F64, DType::I32, DType::I8, DType::BF16})
    for (const auto& [height, width, window] : {std::array{4, 2, 2},
                                                {6, 14, 2},
                                                {28, 28, 2},
                                                {4, 34, 2},
                                                {2, 130, 2},
                                                {8, 64, 4},
                                                {9, 31, 3},
                                                {12, 68, 4},
                                                {5, 9, 2}}) {
      INFO(fmt::format("{} {}x{} windows of {}", name(dtype), height, width, window));
      check(dtype, {{2, 3, height, width}}, [&](const std::vector<Value>& p) {
        const Value w = windows(p[0], window, window);
        const Value largest = reduce(Combine::Max, w, Dims{4, 5});
        // What the gradient needs: which elements are largest, and how many of them there are.
        const Value equal =
            eq(w, expand(reshape(largest, Shape{2, 3, w->shape[2], w->shape[3], 1, 1}), w->shape));
        const Value count = reduce(Combine::Sum, cast(equal, DType::I32), Dims{4, 5});
        return std::vector<Value>{largest, count, equal};
      });
    }
}

TEST_CASE("images: overlapping windows, every second element, and flips of it") {
  check(DType::F32, {{3, 2, 21, 40}}, [](const std::vector<Value>& p) {
    const Value half = slice(p[0], 3, 1, std::nullopt, 2);
    const Value quarter = slice(p[0], 3, 3, std::nullopt, 4);
    return std::vector<Value>{reduce(Combine::Max, windows(p[0], 3, 2), Dims{4, 5}),
                              neg(half),
                              quarter + 1.0,
                              neg(slice(p[0], 3, -1, std::nullopt, -2)),
                              cast(lt(half, zeros_like(half)), DType::I32),
                              reduce(Combine::Sum, quarter, Dims{3})};
  });
}

TEST_CASE("images: convolutions with lines of any length, and what follows them") {
  for (const auto& [images, channels, out, height, width] : {std::array{2, 3, 8, 9, 14},
                                                             {1, 1, 16, 30, 30},
                                                             {3, 4, 5, 6, 15},
                                                             {2, 2, 9, 5, 18},
                                                             {1, 3, 4, 3, 33},
                                                             {4, 2, 6, 7, 9},
                                                             {2, 5, 17, 4, 50}}) {
    INFO(fmt::format("{} images of {}x{}x{} to {}", images, channels, height, width, out));
    check(DType::F32, {{1, images, channels, height, width}, {1, out, channels, 3, 3}, {out, 1, 1}},
          [](const std::vector<Value>& p) {
            const Value y = conv(p[0], p[1], Dims{1, 1}, Dims{1, 1});
            const Value biased = y + p[2];
            return std::vector<Value>{y, maximum(biased, zeros_like(biased)),
                                      conv(p[0], p[1], Dims{2, 1}, Dims{1, 1})};
          });
  }
}
