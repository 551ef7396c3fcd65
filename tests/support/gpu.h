#pragma once
// The GPU that a test program runs on, as CERMET_TEST_GPU says:
//
//   not set      the fake one that a test asks for; what can run anywhere runs on the CPU
//   "80 lazy"    a fake one of this compute capability (FAKECUDA_CC, "90,80" are two GPUs), which
//                runs what it is given as FAKECUDA_SCHEDULE says: lazy, eager, random:SEED
//   "real"       this machine's own
//
// So the same cases run on the CPU, on simulated GPUs and on a card (tests/gpu.cmake says which run
// where). A fake GPU counts what kernels and programs do wrong, and a test program in which
// something is left of that when it ends has failed.

#include <string>

#include "support/fakecuda.h"

namespace cermet::test {

// Whether the variable is set: tests of what can run anywhere then run on a GPU.
bool on_gpu();
bool on_real_gpu();
std::string gpu_schedule();  // "lazy"; empty if there is none

// Lets the runtime use that GPU, the fake one described here if the variable is not set: kernels as
// PTX, every buffer an allocation of its own. NVRTC is nine tenths of what these tests cost, so
// kernels that it compiled are kept in the build directory: another schedule, another test and the
// next run find them. To be called before anything asks for a driver; a call after the first does
// nothing.
void use_gpu(const char* unless_named = "90 lazy");

// What the fake GPU has counted so far; all zero on a real one.
const FakecudaCounters& gpu_counters();

// Checks that nothing was done wrong since the last call.
void expect_clean_gpu();

// The lines of what was done wrong and not asked for; empty without a fake GPU.
const char* gpu_violations_left();

}  // namespace cermet::test
