// Forward against reverse mode on random graphs: <u, J v> = <J^T u, v> whatever the ops are and
// however they are composed.
#include <fmt/format.h>

#include <cmath>
#include <random>

#include "cermet/error.h"
#include "compiler/gradient_check.h"
#include "support/random_graph.h"

using namespace cermet;
using namespace cermet::ir;

namespace {

struct Sum {
  double value = 0, magnitude = 0;
  void add(const HostArray& a, const HostArray& b) {
    for (int64_t i = 0; i < a.numel(); ++i) {
      value += a.number(i) * b.number(i);
      magnitude += std::abs(a.number(i) * b.number(i));
    }
  }
};

std::vector<Value> only_floats(std::span<const Value> values) {
  std::vector<Value> out;
  for (const Value& v : values)
    if (is_float(v->dtype)) out.push_back(v);
  return out;
}

// New parameters of the types of these values, filled at random; appended to the graph's arrays.
std::vector<Value> random_like(std::span<const Value> values, std::vector<HostArray>& arrays,
                               std::mt19937_64& rng) {
  std::vector<Value> out;
  for (const Value& v : values) {
    HostArray a(v->dtype, v->shape);
    for (double& x : a.as<double>()) x = double(rng() >> 11) * 0x1p-52 - 1;
    out.push_back(parameter(int64_t(arrays.size()), v->dtype, v->shape));
    arrays.push_back(std::move(a));
  }
  return out;
}

enum class Outcome { Agrees, NotFinite, Zero, NoGradient };

Outcome check(const test::RandomGraph& random) {
  std::mt19937_64 rng(random.seed);
  std::vector<HostArray> arrays = random.parameters;
  const std::vector<Value> x = only_floats(random.graph.parameters);
  const std::vector<Value> y = only_floats(random.graph.results);
  const std::vector<Value> u = random_like(y, arrays, rng), v = random_like(x, arrays, rng);
  std::vector<Value> back, forward;
  try {
    back = compiler::vjp(y, x, u);
    forward = compiler::jvp(y, x, v);
  } catch (const Error& error) {
    INFO(error.what());
    CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring("a product has no gradient"));
    return Outcome::NoGradient;
  }
  std::vector<Value> results;
  for (const Value& g : back) results.push_back(g ? g : constant(DType::F64, {}, 0.0));
  for (const Value& t : forward) results.push_back(t ? t : constant(DType::F64, {}, 0.0));
  const std::vector<HostArray> got = test::evaluate(results, arrays);
  const size_t first_u = random.parameters.size(), first_v = first_u + u.size();
  Sum reverse_mode, forward_mode;
  for (size_t i = 0; i < x.size(); ++i)
    if (back[i]) reverse_mode.add(got[i], arrays[first_v + i]);
  for (size_t i = 0; i < y.size(); ++i)
    if (forward[i]) forward_mode.add(got[x.size() + i], arrays[first_u + i]);
  const double scale = reverse_mode.magnitude + forward_mode.magnitude;
  if (!std::isfinite(scale)) return Outcome::NotFinite;
  // Where a derivative is 0 in exact arithmetic, as that of a softmax's sum, only rounding is left.
  if (!(std::abs(reverse_mode.value - forward_mode.value) <= 1e-9 * scale + 1e-11)) {
    INFO(test::describe(random));
    INFO("<u, J v> = " << forward_mode.value << ", <J^T u, v> = " << reverse_mode.value);
    CHECK(false);
  }
  return scale > 0 ? Outcome::Agrees : Outcome::Zero;
}

}  // namespace

TEST_CASE("gradient: forward and reverse mode agree on random graphs") {
  test::RandomGraphOptions options;
  options.dtypes = {DType::F64};
  options.max_elements = 300;
  const uint64_t seeds = test::on_gpu() ? 40 : 1000;
  uint64_t agreed = 0;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    INFO("seed " << seed);
    agreed += check(test::random_graph(seed, options)) == Outcome::Agrees;
  }
  INFO(agreed << " graphs had finite gradients that are not zero");
  CHECK(agreed * 5 > seeds * 2);
}
