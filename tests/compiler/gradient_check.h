#pragma once
// Checks gradients of a function of arrays, in f64, computed by the interpreter, or on a GPU if
// on_gpu(); what they are compared with is always computed by the interpreter:
//   - reverse mode against central finite differences of the function itself;
//   - forward mode against reverse mode: <u, J v> = <J^T u, v> for random u and v;
//   - higher orders, by checking the gradient, contracted with random weights, in the same way.

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <random>

#include "compiler/autograd.h"
#include "ir/build.h"
#include "ir/interpreter.h"
#include "support/catch.h"
#include "support/gpu.h"
#include "support/run_compiled.h"

namespace cermet::test {

using ir::HostArray;
using ir::Value;
using Function = std::function<Value(std::span<const Value>)>;

inline HostArray random_array(const Shape& shape, std::mt19937& rng, double low = -1.5,
                              double high = 1.5) {
  std::uniform_real_distribution<double> uniform(low, high);
  HostArray out(DType::F64, shape);
  for (double& v : out.as<double>()) v = uniform(rng);
  return out;
}

inline HostArray array(const Shape& shape, std::initializer_list<double> values) {
  return HostArray::of<double>(shape, values);
}

// Parameter nodes for the arrays, numbered from `first`.
inline std::vector<Value> parameters_of(std::span<const HostArray> arrays, int64_t first = 0) {
  std::vector<Value> out;
  for (const HostArray& a : arrays) out.push_back(ir::parameter(first++, a.dtype, a.shape));
  return out;
}

// By what is tested.
inline std::vector<HostArray> evaluate(const std::vector<Value>& results,
                                       std::span<const HostArray> parameters) {
  const ir::Graph graph{{}, results};
  return on_gpu() ? run_on(target_names().back(), graph, parameters)
                  : ir::interpret(graph, parameters);
}

inline double inner(const HostArray& a, const HostArray& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += a.number(i) * b.number(i);
  return sum;
}

// Where an input has no gradient (an empty Value), zeros.
inline std::vector<Value> or_zeros(std::vector<Value> grads, std::span<const Value> inputs) {
  for (size_t i = 0; i < grads.size(); ++i)
    if (!grads[i]) grads[i] = ir::zeros_like(inputs[i]);
  return grads;
}

inline void expect_near(double got, double want, double tolerance, const std::string& what) {
  if (std::abs(got - want) <= tolerance * std::max({1.0, std::abs(want), std::abs(got)})) return;
  INFO(what << ": got " << got << ", expected " << want);
  CHECK(false);
}

// `order` derivatives of f at these inputs. `scale` is the size of what f and its derivatives
// reach, which bounds how well finite differences can know them.
inline void check_gradients(const std::string& name, const Function& f,
                            std::vector<HostArray> inputs, int order = 1, double tolerance = 2e-7,
                            unsigned seed = 1) {
  std::mt19937 rng(seed);
  const size_t count = inputs.size();
  const std::vector<Value> x = parameters_of(inputs);
  const Value y = f(x);
  INFO(name << ": " << order << " orders, seed " << seed);
  std::vector<HostArray> arrays = inputs;  // inputs, cotangent, tangents
  arrays.push_back(random_array(y->shape, rng));
  for (const HostArray& in : inputs) arrays.push_back(random_array(in.shape, rng));
  const std::vector<Value> all = parameters_of(arrays);
  const Value& u = all[count];
  const std::vector<Value> v(all.begin() + std::ptrdiff_t(count) + 1, all.end());

  std::vector<Value> results = or_zeros(compiler::vjp({{y}}, x, {{u}}), x);
  const Value dy = compiler::jvp({{y}}, x, v)[0];
  results.push_back(dy ? dy : ir::zeros_like(y));
  const std::vector<HostArray> got = evaluate(results, arrays);

  double backward = 0, size = 0;
  for (size_t i = 0; i < count; ++i) {
    REQUIRE(got[i].shape == inputs[i].shape);
    backward += inner(got[i], arrays[count + 1 + i]);
    size += std::sqrt(inner(got[i], got[i]));
  }
  REQUIRE(got.back().shape == y->shape);
  const double forward = inner(got.back(), arrays[count]);
  if (!(std::abs(forward - backward) <= 1e-11 * (1 + size))) {
    INFO("<u, J v> = " << forward << ", <J^T u, v> = " << backward);
    CHECK(false);
  }

  for (size_t i = 0; i < count; ++i)
    for (int64_t k = 0; k < inputs[i].numel(); ++k) {
      const double at = inputs[i].number(k), step = 1e-5 * std::max(1.0, std::abs(at));
      double side[2];
      for (int s = 0; s < 2; ++s) {
        inputs[i].as<double>()[size_t(k)] = at + (s ? step : -step);
        side[s] = inner(ir::interpret({{}, {y}}, inputs)[0], arrays[count]);
      }
      inputs[i].as<double>()[size_t(k)] = at;
      expect_near(got[i].number(k), (side[1] - side[0]) / (2 * step), tolerance,
                  fmt::format("{}: derivative by element {} of input {}", name, k, i));
    }

  if (order < 2) return;
  const HostArray cotangent = arrays[count];
  std::vector<HostArray> weights(arrays.begin() + std::ptrdiff_t(count) + 1, arrays.end());
  const auto as_constants = [](const HostArray& a) {
    std::vector<Value> elements;
    for (int64_t k = 0; k < a.numel(); ++k)
      elements.push_back(ir::constant(a.dtype, {1}, a.number(k)));
    return elements.empty() ? ir::constant(a.dtype, a.shape, 0.0)
                            : ir::reshape(ir::concat(elements, 0), a.shape);
  };
  const Function contracted = [&](std::span<const Value> p) {
    const auto grads = or_zeros(compiler::vjp({{f(p)}}, p, {{as_constants(cotangent)}}), p);
    Value sum;
    for (size_t i = 0; i < grads.size(); ++i) {
      Dims axes;
      for (size_t d = 0; d < grads[i]->shape.size(); ++d) axes.push_back(int64_t(d));
      const Value part = ir::reduce(ir::Combine::Sum, grads[i] * as_constants(weights[i]), axes);
      sum = sum ? sum + part : part;
    }
    return sum;
  };
  check_gradients(name + "'", contracted, inputs, order - 1, tolerance * 10, seed + 1);
}

}  // namespace cermet::test
