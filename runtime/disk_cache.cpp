#include "runtime/disk_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "cermet/error.h"

namespace cermet::runtime {
namespace {

using Bytes = std::span<const std::byte>;

constexpr char entry_magic[8] = {'C', 'E', 'R', 'M', 'E', 'T', 'D', '1'};
constexpr std::string_view temporary_prefix = "tmp-";
constexpr int64_t stale_seconds =
    3600;                           // a temporary file this old was left by a process that died
constexpr int count_interval = 64;  // writes between two looks at the directory

// A file is this header, the key, the payload.
struct EntryHeader {
  char magic[8];
  uint64_t key_bytes, payload_bytes;
  uint64_t checksum[2];  // XXH3-128 of the two sizes, the key and the payload
};

struct FreeHash {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

bool checksum(const EntryHeader& header, Bytes body, uint64_t (&out)[2]) {
  const std::unique_ptr<XXH3_state_t, FreeHash> state(XXH3_createState());
  if (!state || XXH3_128bits_reset(state.get()) != XXH_OK) return false;
  XXH3_128bits_update(state.get(), &header.key_bytes, 2 * sizeof(uint64_t));
  XXH3_128bits_update(state.get(), body.data(), body.size());
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  out[0] = hash.low64, out[1] = hash.high64;
  return true;
}

std::string file_name(Bytes key) {
  const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

bool is_entry_name(std::string_view name) {
  return name.size() == 32 && name.find_first_not_of("0123456789abcdef") == name.npos;
}

std::string system_text() { return std::generic_category().message(errno); }

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() { close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  explicit operator bool() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  // False if the system reports a late error of a write.
  bool close() { return descriptor_ < 0 || ::close(std::exchange(descriptor_, -1)) == 0; }

 private:
  int descriptor_;
};

bool read_all(int file, std::byte* out, size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = ::read(file, out, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got, bytes -= size_t(got);
  }
  return true;
}

bool write_all(int file, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(file, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    bytes = bytes.subspan(size_t(put));
  }
  return true;
}

}  // namespace

std::filesystem::path DiskCache::default_directory(std::string* reason) {
  const auto off = [&](const char* why) {
    if (reason) *reason = why;
    return std::filesystem::path();
  };
  if (const char* chosen = std::getenv("CERMET_CACHE_DIR")) {
    if (*chosen == '\0' || std::string_view(chosen) == "off")
      return off("CERMET_CACHE_DIR switches it off");
    return chosen;
  }
  // The XDG base directory specification: a relative path is to be ignored.
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg == '/')
    return std::filesystem::path(xdg) / "cermet";
  if (const char* home = std::getenv("HOME"); home && *home == '/')
    return std::filesystem::path(home) / ".cache" / "cermet";
  return off("neither CERMET_CACHE_DIR nor XDG_CACHE_HOME nor HOME names a directory");
}

DiskCache::DiskCache(const std::filesystem::path& directory, int64_t max_bytes)
    : max_bytes_(max_bytes) {
  if (max_bytes < 0)
    throw Error(fmt::format("DiskCache: the bound must not be negative, got {} bytes", max_bytes));
  if (directory.empty())
    disabled_reason_ = "no directory";
  else
    open(directory);
}

DiskCache::~DiskCache() {
  if (directory_ >= 0) ::close(directory_);
}

void DiskCache::open(const std::filesystem::path& directory) {
  const auto disable = [&](const std::string& why) {
    disabled_reason_ = fmt::format("{}: {}", directory.string(), why);
    if (directory_ >= 0) ::close(std::exchange(directory_, -1));
  };
  std::error_code failed;
  if (directory.has_parent_path())
    std::filesystem::create_directories(directory.parent_path(), failed);
  if (failed) return disable("its parent cannot be created: " + failed.message());
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    return disable("cannot be created: " + system_text());
  directory_ = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_ < 0) return disable("cannot be opened: " + system_text());
  // Asked of the open directory, not of the name, so that it cannot be exchanged in between.
  struct stat facts;
  if (fstat(directory_, &facts) != 0) return disable(system_text());
  if (facts.st_uid != geteuid())
    return disable(fmt::format("belongs to user {}, not to {}", facts.st_uid, geteuid()));
  if (facts.st_mode & (S_IWGRP | S_IWOTH))
    return disable(fmt::format("others may write to it (mode {:o})", facts.st_mode & 07777));
}

void DiskCache::record_error(const std::string& what) {
  std::lock_guard lock(mutex_);
  stats_.last_error = what;
}

std::optional<std::vector<std::byte>> DiskCache::get(std::span<const std::byte> key) {
  if (!enabled()) return std::nullopt;
  const std::string name = file_name(key);
  bool reject = false;
  std::optional<std::vector<std::byte>> payload = read(name, key, reject);
  if (reject) unlinkat(directory_, name.c_str(), 0);
  std::lock_guard lock(mutex_);
  ++(payload ? stats_.hits : stats_.misses);
  stats_.rejected += reject;
  return payload;
}

std::optional<std::vector<std::byte>> DiskCache::read(const std::string& name,
                                                      std::span<const std::byte> key,
                                                      bool& reject) {
  // O_NONBLOCK: a name that is a pipe must not make us wait.
  const File file(openat(directory_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) {
    reject = errno == ELOOP;
    if (errno != ENOENT) record_error(fmt::format("open {}: {}", name, system_text()));
    return std::nullopt;
  }
  reject = true;
  struct stat facts;
  if (fstat(file.descriptor(), &facts) != 0 || !S_ISREG(facts.st_mode) ||
      facts.st_uid != geteuid() || facts.st_size < int64_t(sizeof(EntryHeader)))
    return std::nullopt;
  EntryHeader header;
  if (!read_all(file.descriptor(), reinterpret_cast<std::byte*>(&header), sizeof header))
    return std::nullopt;
  const uint64_t body_bytes = uint64_t(facts.st_size) - sizeof header;
  if (std::memcmp(header.magic, entry_magic, sizeof entry_magic) != 0 ||
      header.key_bytes != key.size() || header.key_bytes > body_bytes ||
      header.payload_bytes != body_bytes - header.key_bytes)
    return std::nullopt;
  std::vector<std::byte> body(body_bytes);
  uint64_t sum[2];
  if (!read_all(file.descriptor(), body.data(), body.size()) || !checksum(header, body, sum) ||
      std::memcmp(sum, header.checksum, sizeof sum) != 0 ||
      !std::equal(key.begin(), key.end(), body.begin()))
    return std::nullopt;
  reject = false;
  // The time of the last change is the time of the last use. Not on a read-only disk, which never
  // evicts.
  futimens(file.descriptor(), nullptr);
  body.erase(body.begin(), body.begin() + ptrdiff_t(key.size()));
  return body;
}

bool DiskCache::put(std::span<const std::byte> key, std::span<const std::byte> payload) {
  if (!enabled()) return false;
  const std::string name = file_name(key);
  const bool written = write(name, key, payload);
  bool count;
  {
    std::lock_guard lock(mutex_);
    ++(written ? stats_.writes : stats_.failed_writes);
    if (!written) return false;
    if (bytes_ >= 0) bytes_ += int64_t(sizeof(EntryHeader) + key.size() + payload.size());
    // Other processes write as well, so now and then the directory is counted afresh.
    count = bytes_ < 0 || bytes_ > max_bytes_ || ++writes_since_count_ >= count_interval;
  }
  if (count) evict(name);
  return true;
}

bool DiskCache::write(const std::string& name, std::span<const std::byte> key,
                      std::span<const std::byte> payload) {
  EntryHeader header = {{}, key.size(), payload.size(), {}};
  std::memcpy(header.magic, entry_magic, sizeof entry_magic);
  if (sizeof header + key.size() + payload.size() > uint64_t(max_bytes_)) {
    record_error(fmt::format("an entry of {} bytes is larger than the cache, {} bytes",
                             sizeof header + key.size() + payload.size(), max_bytes_));
    return false;
  }
  std::vector<std::byte> body(key.begin(), key.end());
  body.insert(body.end(), payload.begin(), payload.end());
  if (!checksum(header, body, header.checksum)) return false;

  const std::string temporary = fmt::format("{}{}-{}", temporary_prefix, getpid(), ++temporaries_);
  File file(openat(directory_, temporary.c_str(),
                   O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  const bool done = file && write_all(file.descriptor(), std::as_bytes(std::span(&header, 1))) &&
                    write_all(file.descriptor(), body) && file.close() &&
                    renameat(directory_, temporary.c_str(), directory_, name.c_str()) == 0;
  if (!done) {
    record_error(fmt::format("write {}: {}", name, system_text()));
    unlinkat(directory_, temporary.c_str(), 0);
  }
  return done;
}

// Counts the entries and deletes the least recently used ones until nine tenths of the bound are
// left. `keep` was just written and stays.
void DiskCache::evict(const std::string& keep) {
  struct Entry {
    std::string name;
    int64_t bytes;
    timespec used;
  };
  const int copy = openat(directory_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* listing = copy >= 0 ? fdopendir(copy) : nullptr;
  if (!listing) {
    record_error("list the directory: " + system_text());
    if (copy >= 0) ::close(copy);
    return;
  }
  std::vector<Entry> entries;
  int64_t total = 0;
  const time_t now = time(nullptr);
  while (const dirent* item = readdir(listing)) {
    const std::string name = item->d_name;
    struct stat facts;
    if (fstatat(directory_, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (name.starts_with(temporary_prefix) && now - facts.st_mtime > stale_seconds)
      unlinkat(directory_, name.c_str(), 0);
    if (!is_entry_name(name)) continue;
    total += int64_t(facts.st_size);
    if (name != keep) entries.push_back({name, int64_t(facts.st_size), facts.st_mtim});
  }
  closedir(listing);
  int64_t evicted = 0;
  if (total > max_bytes_) {
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::pair(a.used.tv_sec, a.used.tv_nsec) < std::pair(b.used.tv_sec, b.used.tv_nsec);
    });
    for (const Entry& entry : entries) {
      if (total <= max_bytes_ / 10 * 9) break;
      if (unlinkat(directory_, entry.name.c_str(), 0) == 0) ++evicted;
      total -= entry.bytes;
    }
  }
  std::lock_guard lock(mutex_);
  stats_.evicted += evicted;
  bytes_ = total, writes_since_count_ = 0;
}

DiskCacheStats DiskCache::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace cermet::runtime
