#pragma once
// Catch2 in the spelling that every test uses, whether version 2.13 (Debian 12) or 3 is installed:
// the macros, Catch::Matchers::..., Catch::Approx, GENERATE, and SKIP(reason), which 2.13 lacks.

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#define CATCH_CONFIG_ENABLE_BENCHMARKING
#include <catch2/catch.hpp>

namespace Catch::Matchers {
// Names of version 3 for what 2.13 calls Contains, Message and Predicate.
inline auto ContainsSubstring(const std::string& text) { return Contains(text); }
}  // namespace Catch::Matchers
#endif

#include <cstdio>
#include <string>

#ifndef SKIP
// Ends the test case as skipped (ctest looks for the word). Call it from the body of the test case
// itself: it returns.
#define SKIP(...)                                                            \
  do {                                                                       \
    std::fprintf(stderr, "SKIPPED: %s\n", std::string(__VA_ARGS__).c_str()); \
    return;                                                                  \
  } while (false)
#endif
