#pragma once
// CERMET_CHECK(condition, format, arguments...): an invariant of ours, tested in every build.
// When it does not hold, InternalError is thrown with the file, the line, the condition and the
// formatted text; the arguments are evaluated only then.

#include <fmt/format.h>

#include <utility>

#include "cermet/error.h"

namespace cermet::ir {

template <class... Args>
[[noreturn, gnu::cold, gnu::noinline]] void check_failed(const char* file, int line,
                                                         const char* condition,
                                                         fmt::format_string<Args...> format,
                                                         Args&&... args) {
  throw InternalError(fmt::format("{}:{}: {} does not hold: {}", file, line, condition,
                                  fmt::format(format, std::forward<Args>(args)...)));
}

[[noreturn, gnu::cold, gnu::noinline]] inline void check_failed(const char* file, int line,
                                                                const char* condition) {
  throw InternalError(fmt::format("{}:{}: {} does not hold", file, line, condition));
}

}  // namespace cermet::ir

#define CERMET_CHECK(condition, ...)                    \
  (__builtin_expect(static_cast<bool>(condition), true) \
       ? void()                                         \
       : ::cermet::ir::check_failed(__FILE__, __LINE__, #condition __VA_OPT__(, ) __VA_ARGS__))
