#include "compiler/llvm_module.h"

#include <dlfcn.h>

#include <string>
#include <thread>
#include <vector>

#include "cermet/error.h"
#include "compiler/codegen.h"
#include "support/catch.h"
#include "support/environment.h"
#include "support/message.h"
#include "support/paths.h"

using Catch::Matchers::ContainsSubstring;
using cermet::compiler::llvm_backend;
using cermet::compiler::llvm_module_candidates;
using cermet::compiler::open_llvm_module;
using cermet::test::EnvironmentVariable;
using cermet::test::message_of;

TEST_CASE("llvm module: the environment names the only candidate") {
  const EnvironmentVariable named("CERMET_LLVM_MODULE", "/nowhere/module.so");
  CHECK(llvm_module_candidates() == std::vector<std::filesystem::path>{"/nowhere/module.so"});
}

TEST_CASE("llvm module: the error names every file that was tried, with the reason") {
  const std::string text =
      message_of<cermet::DeviceError>([] { open_llvm_module({"/nowhere/first.so", "libm.so.6"}); });
  CHECK_THAT(text, ContainsSubstring("CERMET_LLVM_MODULE"));
  CHECK_THAT(text, ContainsSubstring("\n  /nowhere/first.so: "));
  CHECK_THAT(text, ContainsSubstring("No such file"));
  CHECK_THAT(text, ContainsSubstring("\n  libm.so.6: it has no function cermet_llvm_backend"));
}

TEST_CASE("llvm module: another version of the interface is refused") {
  const auto path = cermet::test::build_dir() / "tests" / "old_llvm_module.so";
  const std::string text = message_of<cermet::DeviceError>([&] { open_llvm_module({path}); });
  CHECK_THAT(text, ContainsSubstring("its interface is version -1, version "));
}

TEST_CASE("llvm module: every thread gets the same backend, of our version") {
  std::vector<const cermet::compiler::LlvmBackend*> seen(8);
  {
    std::vector<std::jthread> threads;
    for (auto& slot : seen) threads.emplace_back([&slot] { slot = &llvm_backend(); });
  }
  for (const auto* backend : seen) CHECK(backend == &llvm_backend());
  CHECK(llvm_backend().abi == cermet::compiler::llvm_backend_abi);
}

TEST_CASE("llvm module: nothing of LLVM is visible to the rest of the process") {
  llvm_backend();
  CHECK(dlsym(RTLD_DEFAULT, "LLVMContextCreate") == nullptr);
  CHECK(dlsym(RTLD_DEFAULT, "_ZN4llvm11LLVMContextC1Ev") == nullptr);
  CHECK(dlsym(RTLD_DEFAULT, "cermet_llvm_backend") == nullptr);
}
