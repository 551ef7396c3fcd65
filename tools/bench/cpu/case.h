#pragma once
// What the programs of this folder measure. Each program (Cermet, by hand, Eigen) defines
// all_cases() for itself; main.cpp times them. A case is known everywhere by its name in
// ../workloads.py.

#include <functional>
#include <string>
#include <vector>

namespace bench {

// A workload with its inputs in memory. `check` is the sum of the absolute values of what the last
// call computed: all who compute a workload must agree on it.
struct Work {
  std::function<void()> call;
  std::function<double()> check;
};

struct Case {
  std::string name;
  std::function<Work()> prepare;
};

std::vector<Case> all_cases();

}  // namespace bench
