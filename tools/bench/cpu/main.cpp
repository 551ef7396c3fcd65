// The program around all_cases(): a google-benchmark program, or with --serve a process that
// tools/bench/compare drives, so that rounds of several programs can alternate.
//
// It reads lines and answers each with a line of JSON:
//   prepare NAME       inputs are made, the first call is timed and the result checked
//   run SECONDS        seconds of a call now, from rows of calls that take about SECONDS each
//   memory             bytes of results and temporaries of one more call, at most at one time
// and ends with its input. Who cannot do a case answers {"missing": why}.

#include <benchmark/benchmark.h>

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tools/bench/bench.h"
#include "tools/bench/cpu/case.h"
#include "tools/bench/cpu/realtime.h"

namespace {

using Json = nlohmann::ordered_json;

// What /proc/self/status says in kB. VmRSS: now; VmHWM: at most since forget_peak().
double resident_megabytes(const std::string& what) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(what)) return std::stod(line.substr(what.size() + 1)) / 1024;
  return 0;
}

void forget_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

Json prepare(const std::vector<bench::Case>& cases, const std::string& name, bench::Work& work) {
  for (const bench::Case& c : cases) {
    if (c.name != name) continue;
    work = {};
    work = c.prepare();
    forget_peak();
    const double inputs = resident_megabytes("VmRSS"), start = bench::now();
    work.call();
    const double first = bench::now() - start;
    work.call();
    const double peak = resident_megabytes("VmHWM");
    return {{"first", first}, {"inputs_mb", inputs}, {"peak_mb", peak}, {"check", work.check()}};
  }
  return {{"missing", "not written"}};
}

Json memory(const bench::Work& work) {
  if (!work.memory) return {{"missing", "not counted"}};
  return {{"bytes", work.memory()}};
}

Json run(const bench::Work& work, double seconds) {
  const bench::RealTime real_time;
  return {{"seconds", bench::seconds_of(work.call, [] {}, seconds)}};
}

void serve() {
  const std::vector<bench::Case> cases = bench::all_cases();
  bench::Work work;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string order, argument;
    words >> order >> argument;
    Json answer;
    try {
      answer = order == "prepare"  ? prepare(cases, argument, work)
               : order == "memory" ? memory(work)
                                   : run(work, std::stod(argument));
    } catch (const std::exception& error) {
      answer = {{"missing", error.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
}

void measure(benchmark::State& state, const bench::Case& c) {
  const bench::Work work = c.prepare();
  work.call();
  work.call();
  const bench::RealTime real_time;
  for (auto _ : state) work.call();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--serve") {
    serve();
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const bench::Case& c : bench::all_cases())
    benchmark::RegisterBenchmark(c.name.c_str(), measure, c)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond)
        ->MinTime(0.2);
  benchmark::RunSpecifiedBenchmarks();
}
