#include "runtime/new_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include "cermet/error.h"

namespace cermet::runtime {

NewFile::NewFile(const std::filesystem::path& path, std::string what)
    : path_(path), what_(std::move(what)) {
  // What a link names is replaced, not the link; a device or a pipe would become a plain file.
  std::error_code missing;
  if (auto target = std::filesystem::canonical(path, missing); !missing) path_ = std::move(target);
  if (std::filesystem::exists(path_, missing) &&
      !std::filesystem::is_regular_file(path_, missing) &&
      !std::filesystem::is_directory(path_, missing))
    throw DeviceError(fmt::format("{}: {}: not a regular file", what_, path.string()));
  static std::atomic<uint64_t> count = 0;  // two threads may write the same path
  temporary_ = fmt::format("{}.tmp-{}-{}", path_.string(), getpid(), ++count);
  file_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file_ < 0) fail();
}

NewFile::~NewFile() {
  if (file_ >= 0) close(file_);
  if (!done_) unlink(temporary_.c_str());
}

void NewFile::write(const void* data, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    const ssize_t put = ::write(file_, from, bytes);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail();
    from += put, bytes -= size_t(put);
  }
}

void NewFile::finish() {
  if (close(std::exchange(file_, -1)) != 0) fail();
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail();
  done_ = true;
}

void NewFile::fail() {
  const std::string text = std::generic_category().message(errno);
  throw DeviceError(fmt::format("{}: {}: {}", what_, path_.string(), text));
}

}  // namespace cermet::runtime
