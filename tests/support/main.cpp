// The main() of every test binary, for Catch2 2.13 and 3: the cases, and then what a GPU was seen
// to do wrong that no case has looked at.
#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#define CATCH_CONFIG_ENABLE_BENCHMARKING
#include <catch2/catch.hpp>
#endif

#include <cstdio>

#include "support/gpu.h"

int main(int argc, char** argv) {
  const int failed = Catch::Session().run(argc, argv);
  const char* left = cermet::test::gpu_violations_left();
  if (*left) std::fprintf(stderr, "FAILED: the GPU was used wrongly:\n%s\n", left);
  return failed ? failed : *left ? 1 : 0;
}

// What the sanitizers start with when these binaries are built under them.
extern "C" {
// LLVM is not instrumented, so containers that it fills look overflown to AddressSanitizer.
const char* __asan_default_options();
const char* __asan_default_options() { return "detect_container_overflow=0:strict_init_order=1"; }

const char* __ubsan_default_options();
const char* __ubsan_default_options() { return "print_stacktrace=1"; }

// A forked child of a process with threads may start threads of its own.
const char* __tsan_default_options();
const char* __tsan_default_options() { return "halt_on_error=1:die_after_fork=0"; }
}
