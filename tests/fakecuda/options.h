#pragma once
// What the environment says about the fake driver; README.md lists the variables.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fakecuda/abi.h"

namespace cermet::fakecuda {

enum class Schedule { Lazy, Eager, Random };

// An error that a call is to return instead of doing anything.
struct Injection {
  CUresult error;
  int64_t nth;  // the nth call fails, counted from 1; 0: every call
};

struct Checks {
  bool uninitialised = true;
  bool shared_races = true;
  bool global_races = true;
  bool counters = true;
  bool leaks = true;   // reported when the last user of a context gives it back
  bool poison = true;  // new memory is filled with 0xff: NaN in every float type, -1 as an integer
};

struct Options {
  Schedule schedule = Schedule::Lazy;
  uint64_t seed = 1;
  std::vector<int> compute_capabilities{90};    // one a device
  uint64_t memory_bytes = uint64_t{8} << 30;    // of each device
  std::map<std::string, uint64_t> limits;       // what devices have less of, by name
  int driver_version = 13090;                   // reads all PTX of CUDA 13
  uint64_t instruction_budget = 4'000'000'000;  // of one launch
  bool quiet = false;                           // violations are counted but not printed
  Checks checks;
  std::map<std::string, std::vector<Injection>> injections;  // by the name of the call
};

// Reads FAKECUDA_*. A value that makes no sense ends the process with a message: a test that asks
// for something must get it.
Options options_from_environment();

}  // namespace cermet::fakecuda
