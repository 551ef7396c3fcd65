#pragma once
// Where tests find their data, and where they may write. CERMET_TEST_SOURCE_DIR and
// CERMET_TEST_BUILD_DIR name other places for programs that were built elsewhere.

#include <filesystem>
#include <string>
#include <string_view>

namespace cermet::test {

// The root of the source tree.
std::filesystem::path source_dir();

// The root of the build tree.
std::filesystem::path build_dir();

// A whole file, byte for byte; an empty text if it cannot be read.
std::string read_text(const std::filesystem::path& path);
void write_text(const std::filesystem::path& path, std::string_view text);

// A fresh empty directory, removed with everything in it when the object dies.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace cermet::test
