#pragma once
// Cermet's cases: what a user writes, through the public API, in a function that jit() records.

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cermet/cermet.h"
#include "tools/bench/cpu/array.h"
#include "tools/bench/cpu/case.h"

namespace bench {

namespace ct = cermet;
using ct::Tensor;

// Uniform in [-scale, scale) + shift.
inline Tensor input(const ct::Shape& shape, uint32_t seed, float scale = 1, float shift = 0) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  std::vector<float> values = numbers(size_t(count), seed, scale);
  if (shift != 0)
    for (float& value : values) value += shift;
  return ct::tensor(values, shape);
}

// What a call takes beyond what is there before it, which holds no results of an earlier one.
template <class Call>
int64_t bytes_of(const Call& call) {
  ct::reset_statistics();
  const int64_t before = ct::statistics().live_bytes;
  call();
  return ct::statistics().peak_bytes - before;
}

// A call computes `expressions()`; the first one records them.
template <class Expressions>
Work work(const Expressions& expressions) {
  struct State {
    std::vector<Tensor> results;
    int64_t calls = 0, launches_before = ct::statistics().launches;
  };
  auto state = std::make_shared<State>();
  const auto call = [state, step = ct::jit(expressions)] {
    ++state->calls;
    state->results.clear();
    state->results = step();
  };
  const auto check = [=] {
    if (ct::statistics().launches - state->launches_before < state->calls)
      throw std::runtime_error("a call launches nothing");
    double sum = 0;
    for (const Tensor& result : state->results)
      sum += abs_sum(result.detach().contiguous().to_vector<float>());
    return sum;
  };
  return {call, check, [=] {
            state->results.clear();
            return bytes_of(call);
          }};
}

// A case whose `prepare()` makes inputs and returns what gives its expressions.
template <class Prepare>
Case cermet_case(const std::string& name, Prepare prepare) {
  return {name, [prepare] { return work(prepare()); }};
}

std::vector<Case> map_cases();
std::vector<Case> row_cases();
std::vector<Case> product_cases();
std::vector<Case> training_cases();

}  // namespace bench
