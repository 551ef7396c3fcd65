#include "support/paths.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

namespace cermet::test {

namespace {

std::filesystem::path named_or(const char* variable, const char* otherwise) {
  const char* named = std::getenv(variable);
  return named ? named : otherwise;
}

}  // namespace

std::filesystem::path source_dir() { return named_or("CERMET_TEST_SOURCE_DIR", CERMET_SOURCE_DIR); }

std::filesystem::path build_dir() { return named_or("CERMET_TEST_BUILD_DIR", CERMET_BINARY_DIR); }

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "cermet-test-XXXXXX").string();
  if (!mkdtemp(name.data()))
    throw std::filesystem::filesystem_error("mkdtemp", name,
                                            std::error_code(errno, std::generic_category()));
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;  // a leftover directory is no reason to end the test run
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace cermet::test
