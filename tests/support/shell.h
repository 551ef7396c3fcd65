#pragma once
// Programs as they are run from a shell.

#include <string>

namespace cermet::test {

struct Outcome {
  int code;            // the exit code; -1 if a signal ended it
  std::string output;  // standard output and standard error
};

// Runs a command of /bin/sh to its end.
Outcome run_shell(const std::string& command);

}  // namespace cermet::test
