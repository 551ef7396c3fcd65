#pragma once
// Libraries opened at run time: LLVM's backend module, drivers. An open library is a value that
// closes itself; whatever goes wrong is a DeviceError with the dynamic linker's own text.

#include <filesystem>
#include <optional>
#include <string>

namespace cermet::ir {

class DynamicLibrary {
 public:
  // Opens the library; its symbols stay private to it. Throws DeviceError where that fails.
  explicit DynamicLibrary(const std::filesystem::path& path);

  // The same, but a library that cannot be opened is no error: nothing is returned, and `why` says
  // what the dynamic linker said.
  static std::optional<DynamicLibrary> try_open(const std::filesystem::path& path,
                                                std::string& why);

  DynamicLibrary(DynamicLibrary&& other) noexcept;
  DynamicLibrary& operator=(DynamicLibrary&& other) noexcept;
  ~DynamicLibrary();

  // The function or variable of that name; DeviceError where the library has none.
  // T is its type: library.symbol<int(const char*)>("puts") is an int (*)(const char*).
  template <class T>
  T* symbol(const char* name) const {
    return reinterpret_cast<T*>(address(name));
  }

  // The same, or null where the library has none.
  template <class T>
  T* find(const char* name) const noexcept {
    return reinterpret_cast<T*>(find_address(name));
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  DynamicLibrary(void* handle, std::filesystem::path path);
  void* address(const char* name) const;
  void* find_address(const char* name) const noexcept;

  void* handle_ = nullptr;
  std::filesystem::path path_;
};

// The file that holds the code at `address` (a program or a shared object), or an empty path.
std::filesystem::path object_of(const void* address);

}  // namespace cermet::ir
