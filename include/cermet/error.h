#pragma once
// The three exceptions of Cermet. Nothing in the library calls abort() or exit(); whatever goes
// wrong arrives as one of these, and what() is complete: it names the op, the shapes or values, and
// where the user's program made the call.

#include <source_location>
#include <stdexcept>
#include <string>

namespace cermet {

using SourceLocation = std::source_location;

// The caller's mistake, thrown by the call that made it.
// what() is "<op>: <what is wrong>, <the values> [file:line]"; the bracket is absent when no
// location is known.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message)
      : std::runtime_error(message), length_(message.size()) {}
  Error(const std::string& message, const SourceLocation& where)
      : std::runtime_error(message + " [" + where.file_name() + ":" + std::to_string(where.line()) +
                           "]"),
        length_(message.size()),
        has_location_(true) {}
  bool has_location() const { return has_location_; }
  // what() without the place.
  std::string message() const { return {what(), length_}; }

 private:
  size_t length_;
  bool has_location_ = false;
};

// A broken invariant of ours: a bug in Cermet, never the caller's fault.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Something outside failed: out of memory, a driver, a compiler library, a file system.
// what() holds that party's own text.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace cermet
