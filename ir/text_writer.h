#pragma once
// What the printers of all text forms derive from: a text that grows at its end.

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <utility>

namespace cermet::ir {

class TextWriter {
 protected:
  template <class... Args>
  void add(fmt::format_string<Args...> text, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), text, std::forward<Args>(args)...);
  }

  std::string out_;
};

}  // namespace cermet::ir
