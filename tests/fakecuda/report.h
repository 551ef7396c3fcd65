#pragma once
// What happened: counts, and the violations, which are everything a program did wrong that a real
// driver would not have reported, or not so clearly.

#include <cstdint>
#include <string>

#include "ptxsim/ptxsim.h"
#include "support/fakecuda.h"

namespace cermet::fakecuda {

class Report {
 public:
  FakecudaCounters counters{};

  // Keeps the line and, unless `quiet`, prints it to stderr.
  void violation(const std::string& line, bool quiet);
  void add(const ptxsim::Counters& simulated);

  // What the interpreter counted, over all launches.
  const ptxsim::Counters& simulated() const { return simulated_; }

  // The counters, with the text of the violations; the text lives until the next violation.
  FakecudaCounters snapshot() const;

  // Counts and violations are forgotten; what is alive stays counted.
  void reset();

 private:
  ptxsim::Counters simulated_;
  std::string text_;
};

}  // namespace cermet::fakecuda
