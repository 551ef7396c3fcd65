#pragma once
// A file that appears complete or not at all: written beside its final name, renamed to it at the
// end.

#include <cstddef>
#include <filesystem>
#include <string>

namespace cermet::runtime {

class NewFile {
 public:
  // `what` begins the DeviceError that every failure of the file system becomes; a name that
  // stands for a device or a pipe is such a failure. A link keeps naming what it names.
  NewFile(const std::filesystem::path& path, std::string what);
  // Without finish() nothing is left of the file.
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(const void* data, size_t bytes);
  // Takes the place of whatever has the final name.
  void finish();

 private:
  [[noreturn]] void fail();

  std::filesystem::path path_;
  std::string what_, temporary_;
  int file_ = -1;
  bool done_ = false;
};

}  // namespace cermet::runtime
