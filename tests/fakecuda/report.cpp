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

void Report::add(const ptxsim::Counters& simulated) { simulated_.add(simulated); }

FakecudaCounters Report::snapshot() const {
  FakecudaCounters result = counters;
  result.global_load_requests = simulated_.global_load_requests;
  result.global_store_requests = simulated_.global_store_requests;
  result.global_atomic_requests = simulated_.global_atomic_requests;
  result.global_load_sectors = simulated_.global_load_sectors;
  result.global_store_sectors = simulated_.global_store_sectors;
  result.global_load_bytes = simulated_.global_load_bytes;
  result.global_store_bytes = simulated_.global_store_bytes;
  result.shared_load_requests = simulated_.shared_load_requests;
  result.shared_store_requests = simulated_.shared_store_requests;
  result.shared_load_wavefronts = simulated_.shared_load_wavefronts;
  result.shared_store_wavefronts = simulated_.shared_store_wavefronts;
  result.local_requests = simulated_.local_requests;
  result.barriers = simulated_.barriers;
  result.mma = simulated_.mma;
  result.warp_instructions = simulated_.warp_instructions;
  result.thread_instructions = simulated_.thread_instructions;
  result.violation_text = text_.c_str();
  return result;
}

void Report::reset() {
  FakecudaCounters fresh{};
  fresh.live_allocations = counters.live_allocations;
  fresh.live_bytes = fresh.peak_bytes = counters.live_bytes;
  counters = fresh;
  simulated_ = {};
  text_.clear();
}

}  // namespace cermet::fakecuda
