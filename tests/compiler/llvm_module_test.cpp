#include "compiler/llvm_module.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "cermet/error.h"
#include "support/catch.h"
#include "support/paths.h"

using Catch::Matchers::ContainsSubstring;
using cermet::compiler::llvm_module_candidates;
using cermet::compiler::open_llvm_module;

namespace {

std::string message_of(auto&& call) {
  try {
    call();
  } catch (const cermet::DeviceError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// Sets an environment variable, and what it was when the object dies.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old, had_ = true;
    setenv(name, value, 1);
  }
  ~Environment() { had_ ? setenv(name_, old_.c_str(), 1) : unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::string old_;
  bool had_ = false;
};

}  // namespace

TEST_CASE("llvm module: the environment names the only candidate") {
  const Environment environment("CERMET_LLVM_MODULE", "/nowhere/module.so");
  CHECK(llvm_module_candidates() == std::vector<std::filesystem::path>{"/nowhere/module.so"});
}

TEST_CASE("llvm module: the error names every file that was tried, with the reason") {
  const std::string text = message_of([] { open_llvm_module({"/nowhere/first.so", "libm.so.6"}); });
  CHECK_THAT(text, ContainsSubstring("CERMET_LLVM_MODULE"));
  CHECK_THAT(text, ContainsSubstring("\n  /nowhere/first.so: "));
  CHECK_THAT(text, ContainsSubstring("No such file"));
  CHECK_THAT(text, ContainsSubstring("\n  libm.so.6: it has no function cermet_llvm_backend"));
}

TEST_CASE("llvm module: another version of the interface is refused") {
  const auto path = cermet::test::build_dir() / "tests" / "old_llvm_module.so";
  const std::string text = message_of([&] { open_llvm_module({path}); });
  CHECK_THAT(text, ContainsSubstring("its interface is version -1, version "));
}
