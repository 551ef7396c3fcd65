#include "ir/dynlib.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "cermet/error.h"
#include "ir/check.h"

namespace cermet::ir {
namespace {

std::string linker_text() {
  const char* text = dlerror();
  return text ? text : "the dynamic linker gave no reason";
}

}  // namespace

DynamicLibrary::DynamicLibrary(void* handle, std::filesystem::path path)
    : handle_(handle), path_(std::move(path)) {}

DynamicLibrary::DynamicLibrary(const std::filesystem::path& path) {
  std::string why;
  std::optional<DynamicLibrary> library = try_open(path, why);
  if (!library) throw DeviceError(fmt::format("cannot open {}: {}", path.string(), why));
  *this = std::move(*library);
}

std::optional<DynamicLibrary> DynamicLibrary::try_open(const std::filesystem::path& path,
                                                       std::string& why) {
  // RTLD_NOW: a symbol that is missing is reported here, not in the middle of a call.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    why = linker_text();
    return std::nullopt;
  }
  return DynamicLibrary(handle, path);
}

DynamicLibrary::DynamicLibrary(DynamicLibrary&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), path_(std::move(other.path_)) {}

DynamicLibrary& DynamicLibrary::operator=(DynamicLibrary&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(path_, other.path_);
  return *this;
}

DynamicLibrary::~DynamicLibrary() {
  if (handle_) dlclose(handle_);
}

void* DynamicLibrary::find_address(const char* name) const noexcept {
  return handle_ ? dlsym(handle_, name) : nullptr;
}

void* DynamicLibrary::address(const char* name) const {
  CERMET_CHECK(handle_, "symbol {} asked of a library that is not open", name);
  dlerror();
  void* found = dlsym(handle_, name);
  if (!found)
    throw DeviceError(fmt::format("{} has no symbol {}: {}", path_.string(), name, linker_text()));
  return found;
}

std::filesystem::path object_of(const void* address) {
  Dl_info info{};
  if (!dladdr(address, &info) || !info.dli_fname) return {};
  std::error_code failed;
  std::filesystem::path path = std::filesystem::canonical(info.dli_fname, failed);
  return failed ? std::filesystem::path() : path;
}

}  // namespace cermet::ir
