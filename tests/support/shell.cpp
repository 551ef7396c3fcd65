#include "support/shell.h"

#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace cermet::test {

Outcome run_shell(const std::string& command) {
  std::FILE* pipe = popen(("{ " + command + "\n} 2>&1").c_str(), "r");
  if (!pipe) throw std::system_error(errno, std::generic_category(), command);
  Outcome outcome{0, ""};
  char buffer[4096];
  while (const size_t count = std::fread(buffer, 1, sizeof buffer, pipe))
    outcome.output.append(buffer, count);
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

}  // namespace cermet::test
