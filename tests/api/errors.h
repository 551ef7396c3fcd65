#pragma once
// Errors as users see them: CHECK_ERROR(expression, "part", ...) requires that the expression
// throws cermet::Error, that its text has every part, and that it names this very place.

#include <fmt/format.h>

#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>

#include "cermet/error.h"
#include "support/catch.h"

namespace cermet::test {

// What is wrong with an error text, or nothing: which part it lacks, or that it names another
// place. An expression of several lines may count as any of them.
inline std::string wrong_with(const std::string& text, const std::string& file, int line,
                              std::initializer_list<std::string_view> parts) {
  for (std::string_view part : parts)
    if (text.find(part) == std::string::npos) return fmt::format("`{}` lacks `{}`", text, part);
  const size_t at = text.rfind("[" + file + ":");
  if (at == std::string::npos) return fmt::format("`{}` does not name {}", text, file);
  const int named = std::atoi(text.c_str() + at + file.size() + 2);
  if (std::abs(named - line) > 4) return fmt::format("`{}` does not name line {}", text, line);
  return {};
}

template <class F>
std::string error_of(F f, const std::string& file, int line,
                     std::initializer_list<std::string_view> parts) {
  try {
    f();
  } catch (const Error& e) {
    return wrong_with(e.what(), file, line, parts);
  }
  return "no error";
}

#define CHECK_ERROR(expression, ...)                                                         \
  CHECK(::cermet::test::error_of([&] { static_cast<void>(expression); }, __FILE__, __LINE__, \
                                 {__VA_ARGS__}) == "")

}  // namespace cermet::test
