#pragma once
// What the benchmarks share: how a call is timed, and the file that report.py reads.
//
// A call is repeated for a fifth of a second, after it was called until nothing is new about it,
// and that five times over, fewer where a call alone takes long; the median counts. So a number is
// seconds of one call in a row of many.

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace bench {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of one call, from rows that take about `budget` seconds each. `finish` waits for what
// calls have only asked for.
template <class Call, class Finish>
double seconds_of(Call&& call, Finish&& finish, double budget) {
  constexpr int warm_up = 4, repeats = 5;
  const double begin = now(), enough = begin + 2 * repeats * budget;
  for (int i = 0; i < warm_up && (i == 0 || now() < enough); ++i) call();
  finish();
  const double first = now();
  call();
  finish();
  const int calls = int(std::clamp(budget / (now() - first), 1.0, 10000.0));
  std::vector<double> times;
  while (times.empty() || (int(times.size()) < repeats && now() < enough)) {
    const double start = now();
    for (int i = 0; i < calls; ++i) call();
    finish();
    times.push_back((now() - start) / calls);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// {"machine": ..., "results": [{"name", "seconds", and "bytes" or "flops" of a call}, ...]}
class Results {
 public:
  explicit Results(const std::string& machine) { json_["machine"] = machine; }
  // `unit` is "bytes", "flops" or "host" (nothing is counted, the host's time is what matters).
  void add(const std::string& name, double seconds, const std::string& unit, double amount) {
    json_["results"].push_back({{"name", name}, {"seconds", seconds}, {unit, amount}});
  }
  void write(const std::string& path) const { std::ofstream(path) << json_.dump(1) << "\n"; }

 private:
  nlohmann::ordered_json json_;
};

}  // namespace bench
