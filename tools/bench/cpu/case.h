#pragma once
// What the programs of this folder measure. Each program (Cermet, by hand, Eigen) defines
// all_cases() for itself; main.cpp times them. A case is known everywhere by its name in
// ../workloads.py.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace bench {

// A workload with its inputs in memory. `check` is the sum of the absolute values of what the last
// call computed: all who compute a workload must agree on it.
struct Work {
  std::function<void()> call;
  std::function<double()> check;
  // Drops the last call's results and calls once: the bytes of results and temporaries that were in
  // use at the same time. Empty where nobody counts them.
  std::function<int64_t()> memory = {};
};

struct Case {
  std::string name;
  std::function<Work()> prepare;
};

std::vector<Case> all_cases();

// A product of W7: [m, k] times [k, n].
struct ProductShape {
  int m, k, n;
  std::string name() const {
    return "W7_mm" + std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n);
  }
};
inline constexpr ProductShape product_shapes[] = {
    {64, 64, 64},       {128, 128, 128},  {256, 256, 256},  {512, 512, 512}, {1024, 1024, 1024},
    {2048, 2048, 2048}, {2048, 2048, 16}, {16, 2048, 2048}, {4096, 4096, 1}, {1, 4096, 4096}};

}  // namespace bench
