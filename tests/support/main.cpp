// The main() of every test binary; Catch2 3 brings it in a library of its own when asked to, this
// file works for both versions.
#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
#else
#define CATCH_CONFIG_MAIN
#define CATCH_CONFIG_ENABLE_BENCHMARKING
#include <catch2/catch.hpp>
#endif

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
