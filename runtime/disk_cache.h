#pragma once
// Compiled kernels on disk, so that the next process needs no compiler.
//
// One file for each entry, named by the hash of its key. It holds the whole key, which is compared
// byte for byte, and a checksum over everything: a damaged, truncated or foreign file is deleted
// and counts as a miss. Files appear by rename, so processes may share the directory; the directory
// must belong to the user and be closed to writing by others, because what it holds is executed.
// When the entries outgrow the bound those that were not used for the longest time go.
//
// Nothing here is fatal: without a usable directory, on a full or read-only disk, get() misses,
// put() does nothing, and stats() says why.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cermet::runtime {

// A key or a payload that is text.
inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

struct DiskCacheStats {
  int64_t hits = 0;
  int64_t misses = 0;    // rejected entries included
  int64_t rejected = 0;  // entries that were damaged or not ours; deleted
  int64_t writes = 0;
  int64_t failed_writes = 0;
  int64_t evicted = 0;
  std::string last_error;  // the system's text for the last failure; empty if there was none
};

// Thread-safe, and safe beside other processes on the same directory.
class DiskCache {
 public:
  static constexpr int64_t default_max_bytes = int64_t(1) << 30;

  // Where the environment wants the cache: CERMET_CACHE_DIR, else $XDG_CACHE_HOME/cermet, else
  // ~/.cache/cermet. Empty if it is switched off (CERMET_CACHE_DIR is "" or "off") or there is no
  // home; `reason`, if given, then says which.
  static std::filesystem::path default_directory(std::string* reason = nullptr);

  // Creates the directory (mode 0700) if it is missing. An empty path, or a directory that others
  // could write to, gives a disabled cache. Throws Error if max_bytes is negative.
  explicit DiskCache(const std::filesystem::path& directory, int64_t max_bytes = default_max_bytes);
  ~DiskCache();
  DiskCache(const DiskCache&) = delete;
  DiskCache& operator=(const DiskCache&) = delete;

  bool enabled() const { return directory_ >= 0; }
  // Why the cache is disabled; empty if it is enabled.
  const std::string& disabled_reason() const { return disabled_reason_; }

  // What was put under the key, or nothing.
  std::optional<std::vector<std::byte>> get(std::span<const std::byte> key);
  // Keeps the payload under the key, in place of what was there. Returns whether it was written.
  bool put(std::span<const std::byte> key, std::span<const std::byte> payload);

  DiskCacheStats stats() const;

 private:
  void open(const std::filesystem::path& directory);
  std::optional<std::vector<std::byte>> read(const std::string& name,
                                             std::span<const std::byte> key, bool& reject);
  bool write(const std::string& name, std::span<const std::byte> key,
             std::span<const std::byte> payload);
  void evict(const std::string& keep);
  void record_error(const std::string& what);

  int64_t max_bytes_;
  int directory_ = -1;  // file descriptor; all names are relative to it
  std::string disabled_reason_;
  std::atomic<uint64_t> temporaries_ = 0;  // makes names of temporary files unique in this process

  mutable std::mutex mutex_;  // guards what follows
  DiskCacheStats stats_;
  int64_t bytes_ = -1;  // of the entries, as far as known; negative: to be counted
  int writes_since_count_ = 0;
};

}  // namespace cermet::runtime
