#include "compiler/llvm_module.h"

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <utility>

#include "cermet/error.h"
#include "compiler/codegen.h"
#include "ir/dynlib.h"

namespace cermet::compiler {
namespace {

constexpr const char* module_name = "cermet_llvm.so";
constexpr const char* entry_name = "cermet_llvm_backend";

// Code and data of the module stay in use until the process ends, so an accepted module is never
// closed: not even at exit, where other static objects may still hold compiled programs.
const LlvmBackend* accept(ir::DynamicLibrary library, std::string& why) {
  auto* entry = library.find<const LlvmBackend*()>(entry_name);
  if (!entry) {
    why = fmt::format("it has no function {}", entry_name);
    return nullptr;
  }
  const LlvmBackend* backend = entry();
  if (backend->abi != llvm_backend_abi) {
    why = fmt::format("its interface is version {}, version {} is needed", backend->abi,
                      llvm_backend_abi);
    return nullptr;
  }
  static auto* const open_modules = new std::vector<ir::DynamicLibrary>;
  open_modules->push_back(std::move(library));
  return backend;
}

}  // namespace

std::vector<std::filesystem::path> llvm_module_candidates() {
  if (const char* named = std::getenv("CERMET_LLVM_MODULE"); named && *named) return {named};
  std::vector<std::filesystem::path> result;
  const auto here = ir::object_of(reinterpret_cast<const void*>(&llvm_module_candidates));
  if (!here.empty()) {
    const std::filesystem::path folder = here.parent_path();
    for (const char* relative : {".", "../lib/cermet", "cermet"})
      result.push_back((folder / relative / module_name).lexically_normal());
  }
  result.emplace_back(module_name);
  for (const char* folder : {CERMET_BUILD_MODULE_DIR, CERMET_INSTALL_MODULE_DIR})
    result.push_back(std::filesystem::path(folder) / module_name);
  return result;
}

const LlvmBackend& open_llvm_module(const std::vector<std::filesystem::path>& candidates) {
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  std::string tried;
  for (const std::filesystem::path& path : candidates) {
    std::string why;
    std::optional<ir::DynamicLibrary> library = ir::DynamicLibrary::try_open(path, why);
    const LlvmBackend* backend = library ? accept(std::move(*library), why) : nullptr;
    if (backend) return *backend;
    tried += fmt::format("\n  {}: {}", path.string(), why);
  }
  throw DeviceError(fmt::format(
      "no LLVM module could be opened, CERMET_LLVM_MODULE can name one; tried{}", tried));
}

const LlvmBackend& llvm_backend() {
  // The module's static objects are destroyed before those that were made before it was opened.
  static constinit std::atomic<bool> gone = false;
  static const LlvmBackend& backend = [&]() -> const LlvmBackend& {
    const LlvmBackend& opened = open_llvm_module(llvm_module_candidates());
    std::atexit([] { gone = true; });
    return opened;
  }();
  if (gone) throw DeviceError("the process ends, and LLVM is gone: nothing more can be compiled");
  return backend;
}

}  // namespace cermet::compiler
