// Violations are printed at once, because a program that did one wrong thing may not live to ask
// for the counters.

#include "fakecuda/report.h"

#include <cstdio>

namespace cermet::fakecuda {
namespace {
constexpr uint64_t kept_violations = 1000;
}

void Report::violation(const std::string& line, bool quiet) {
  if (++counters.violations <= kept_violations) text_ += line + "\n";
  if (!quiet) std::fprintf(stderr, "fakecuda: violation: %s\n", line.c_str());
}

void Report::add(const ptxsim::Counters& simulated) {
  counters.global_load_requests += simulated.global_load_requests;
  counters.global_store_requests += simulated.global_store_requests;
  counters.global_load_sectors += simulated.global_load_sectors;
  counters.global_store_sectors += simulated.global_store_sectors;
  counters.global_load_bytes += simulated.global_load_bytes;
  counters.global_store_bytes += simulated.global_store_bytes;
  counters.shared_load_requests += simulated.shared_load_requests;
  counters.shared_store_requests += simulated.shared_store_requests;
  counters.shared_load_wavefronts += simulated.shared_load_wavefronts;
  counters.shared_store_wavefronts += simulated.shared_store_wavefronts;
  counters.mma += simulated.mma;
  counters.warp_instructions += simulated.warp_instructions;
  counters.thread_instructions += simulated.thread_instructions;
}

FakecudaCounters Report::snapshot() const {
  FakecudaCounters result = counters;
  result.violation_text = text_.c_str();
  return result;
}

void Report::reset() {
  FakecudaCounters fresh{};
  fresh.live_allocations = counters.live_allocations;
  fresh.live_bytes = fresh.peak_bytes = counters.live_bytes;
  counters = fresh;
  text_.clear();
}

}  // namespace cermet::fakecuda
