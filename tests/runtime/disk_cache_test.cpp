#include "runtime/disk_cache.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <random>
#include <set>
#include <string_view>
#include <thread>

#include "cermet/error.h"
#include "support/catch.h"
#include "support/environment.h"
#include "support/paths.h"

using Catch::Matchers::ContainsSubstring;
using cermet::runtime::DiskCache;
using cermet::test::EnvironmentVariable;
using cermet::test::read_text;
using cermet::test::TemporaryDirectory;
using cermet::test::write_text;
namespace fs = std::filesystem;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

bool put(DiskCache& cache, std::string_view key, std::string_view payload) {
  return cache.put(bytes_of(key), bytes_of(payload));
}

std::optional<std::string> get(DiskCache& cache, std::string_view key) {
  const auto bytes = cache.get(bytes_of(key));
  if (!bytes) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

std::vector<fs::path> files(const fs::path& directory) {
  std::vector<fs::path> found;
  for (const auto& item : fs::directory_iterator(directory)) found.push_back(item.path());
  return found;
}

}  // namespace

TEST_CASE("disk cache: what was put is found, by this and by the next object") {
  TemporaryDirectory directory;
  const fs::path where = directory.path() / "deep" / "cache";
  const std::string binary("\0\1\2\n\xff", 5);
  {
    DiskCache cache(where);
    REQUIRE(cache.enabled());
    CHECK(get(cache, "key") == std::nullopt);
    CHECK(put(cache, "key", binary));
    CHECK(put(cache, "empty", ""));
    CHECK(put(cache, "", "empty key"));
    CHECK(put(cache, "other", "old"));
    CHECK(put(cache, "other", "new"));
    CHECK(get(cache, "key") == binary);
    CHECK(cache.stats().hits == 1);
    CHECK(cache.stats().misses == 1);
    CHECK(cache.stats().writes == 5);
  }
  DiskCache again(where);
  CHECK(get(again, "key") == binary);
  CHECK(get(again, "empty") == "");
  CHECK(get(again, "") == "empty key");
  CHECK(get(again, "other") == "new");
  CHECK(get(again, "key ") == std::nullopt);
  CHECK(again.stats().rejected == 0);
  struct stat facts;
  REQUIRE(stat(where.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 07777) == 0700);
  for (const fs::path& file : files(where)) {
    REQUIRE(stat(file.c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0600);
  }
}

TEST_CASE("disk cache: an entry damaged at any byte, or cut off, is deleted and missed") {
  TemporaryDirectory directory;
  DiskCache cache(directory.path() / "cache");
  REQUIRE(put(cache, "the key", "the payload"));
  const fs::path file = files(directory.path() / "cache").at(0);
  const std::string good = read_text(file);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] ^= 4;
    write_text(file, bad);
    if (get(cache, "the key")) FAIL("damage at byte " << i << " was not seen");
    if (fs::exists(file)) FAIL("the file damaged at byte " << i << " is still there");
    write_text(file, good.substr(0, i));
    if (get(cache, "the key")) FAIL("a file of " << i << " bytes was accepted");
  }
  write_text(file, good + "x");
  CHECK(get(cache, "the key") == std::nullopt);
  CHECK(cache.stats().rejected == int64_t(2 * good.size() + 1));
  CHECK(cache.stats().hits == 0);
  write_text(file, good);
  CHECK(get(cache, "the key") == "the payload");
}

TEST_CASE("disk cache: a file under the name of another key is not trusted") {
  TemporaryDirectory directory;
  DiskCache cache(directory.path() / "cache");
  put(cache, "key a", "a");
  const fs::path a = files(directory.path() / "cache").at(0);
  const std::string content = read_text(a);
  fs::remove(a);
  put(cache, "key b", "b");
  write_text(files(directory.path() / "cache").at(0), content);
  CHECK(get(cache, "key b") == std::nullopt);
  CHECK(cache.stats().rejected == 1);
}

TEST_CASE("disk cache: links, pipes and folders in the place of an entry are misses") {
  TemporaryDirectory directory;
  DiskCache cache(directory.path() / "cache");
  put(cache, "key", "payload");
  const fs::path file = files(directory.path() / "cache").at(0);
  const fs::path elsewhere = directory.path() / "elsewhere";
  fs::rename(file, elsewhere);
  fs::create_symlink(elsewhere, file);
  CHECK(get(cache, "key") == std::nullopt);
  CHECK(fs::exists(elsewhere));
  REQUIRE(mkfifo(file.c_str(), 0600) == 0);
  CHECK(get(cache, "key") == std::nullopt);
  fs::create_directory(file);
  CHECK(get(cache, "key") == std::nullopt);
  CHECK_FALSE(put(cache, "key", "payload"));
  CHECK(cache.stats().failed_writes == 1);
  CHECK_THAT(cache.stats().last_error, ContainsSubstring("directory"));
  fs::remove(file);
  CHECK(put(cache, "key", "payload"));
  CHECK(get(cache, "key") == "payload");
}

TEST_CASE("disk cache: beyond the bound the least recently used entries go") {
  TemporaryDirectory directory;
  const std::string payload(1000, 'p');
  DiskCache cache(directory.path() / "cache", 10'000);
  std::set<fs::path> known;
  for (int i = 0; i < 9; ++i) {
    REQUIRE(put(cache, "key" + std::to_string(i), payload));
    // The clock of a file system ticks slowly, so the times are set: a minute apart, in the past.
    for (const fs::path& file : files(directory.path() / "cache"))
      if (known.insert(file).second)
        fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::minutes(20 - i));
  }
  CHECK(cache.stats().evicted == 0);
  CHECK(get(cache, "key0") == payload);  // used again, so key1 is the oldest now
  REQUIRE(put(cache, "key9", payload));
  CHECK(cache.stats().evicted == 2);
  CHECK(get(cache, "key0") == payload);
  CHECK(get(cache, "key1") == std::nullopt);
  CHECK(get(cache, "key2") == std::nullopt);
  for (int i = 3; i < 10; ++i) CHECK(get(cache, "key" + std::to_string(i)) == payload);
  int64_t total = 0;
  for (const fs::path& file : files(directory.path() / "cache")) total += int64_t(file_size(file));
  CHECK(total <= 10'000);
  CHECK_FALSE(put(cache, "large", std::string(10'000, 'x')));
  CHECK_THAT(cache.stats().last_error, ContainsSubstring("larger than the cache, 10000 bytes"));
  CHECK_THROWS_AS(DiskCache(directory.path(), -1), cermet::Error);
}

TEST_CASE("disk cache: temporary files of processes that died are swept") {
  TemporaryDirectory directory;
  const fs::path where = directory.path() / "cache";
  fs::create_directory(where);
  write_text(where / "tmp-1-1", "old");
  write_text(where / "tmp-2-1", "young");
  write_text(where / "README", "not ours");
  fs::last_write_time(where / "tmp-1-1", fs::file_time_type::clock::now() - std::chrono::hours(2));
  DiskCache cache(where);
  put(cache, "key", "payload");
  CHECK_FALSE(fs::exists(where / "tmp-1-1"));
  CHECK(fs::exists(where / "tmp-2-1"));
  CHECK(fs::exists(where / "README"));
}

TEST_CASE("disk cache: a directory that others may write to is refused") {
  TemporaryDirectory directory;
  const fs::path where = directory.path() / "cache";
  for (mode_t mode : {0777u, 0770u, 01777u}) {
    fs::create_directory(where);
    chmod(where.c_str(), mode);
    DiskCache cache(where);
    CHECK_FALSE(cache.enabled());
    CHECK_THAT(cache.disabled_reason(), ContainsSubstring("others may write to it"));
    CHECK_FALSE(put(cache, "key", "payload"));
    CHECK(get(cache, "key") == std::nullopt);
    fs::remove(where);
  }
  write_text(where, "a file");
  DiskCache file(where);
  CHECK_THAT(file.disabled_reason(), ContainsSubstring("cannot be opened"));
  DiskCache below(where / "deeper");
  CHECK_THAT(below.disabled_reason(), ContainsSubstring("parent cannot be created"));
  CHECK_FALSE(DiskCache(fs::path()).enabled());
  if (geteuid() == 0) {  // only root can give a directory away
    fs::remove(where);
    fs::create_directory(where);
    chmod(where.c_str(), 0700);
    REQUIRE(chown(where.c_str(), 1, 1) == 0);
    CHECK_THAT(DiskCache(where).disabled_reason(), ContainsSubstring("belongs to user 1"));
  }
}

TEST_CASE("disk cache: a full disk is counted and reported, not fatal") {
  // A child with a limit on the size of files stands for the full disk: writes fail half-way.
  TemporaryDirectory directory;
  DiskCache cache(directory.path() / "cache");
  REQUIRE(put(cache, "small", "s"));
  const std::string where = (directory.path() / "cache").string();
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    const bool refused = !put(cache, "large", std::string(100'000, 'x'));
    const bool counted = cache.stats().failed_writes == 1 && !cache.stats().last_error.empty();
    const bool works = get(cache, "small") == "s" && !get(cache, "large");
    _exit(refused && counted && works && files(where).size() == 1 ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("disk cache: processes and threads that write the same keys do not disturb each other") {
  TemporaryDirectory directory;
  const fs::path where = directory.path() / "cache";
  const auto payload = [](int key) { return std::string(size_t(200 + key * 37), char('a' + key)); };
  const auto play = [&](unsigned seed) {  // the number of wrong answers
    DiskCache cache(where, 6000);         // small, so that entries are evicted meanwhile
    std::mt19937 random(seed);
    int wrong = 0;
    for (int i = 0; i < 300; ++i) {
      const int key = int(random() % 16);
      if (random() % 2) {
        wrong += !put(cache, std::to_string(key), payload(key));
      } else if (const auto found = get(cache, std::to_string(key))) {
        wrong += *found != payload(key);
      }
    }
    return wrong + int(cache.stats().rejected);
  };
  std::vector<pid_t> children;
  for (unsigned seed = 1; seed <= 3; ++seed) {
    children.push_back(fork());
    if (children.back() == 0) _exit(play(seed) == 0 ? 0 : 1);
  }
  CHECK(play(4) == 0);
  for (pid_t child : children) {
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  DiskCache shared(where);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const int key = (i + t) % 16;
        if (!put(shared, std::to_string(key), payload(key))) ++wrong;
        if (get(shared, std::to_string(key)) != payload(key)) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("disk cache: the environment names the directory or switches the cache off") {
  const EnvironmentVariable named("CERMET_CACHE_DIR", "/a/b");
  std::string reason;
  CHECK(DiskCache::default_directory() == "/a/b");
  for (const char* off : {"", "off"}) {
    named.set(off);
    CHECK(DiskCache::default_directory(&reason).empty());
    CHECK(reason == "CERMET_CACHE_DIR switches it off");
  }
  named.set(nullptr);
  const EnvironmentVariable caches("XDG_CACHE_HOME", "/x");
  const EnvironmentVariable home("HOME", "/h");
  CHECK(DiskCache::default_directory() == "/x/cermet");
  caches.set("relative");
  CHECK(DiskCache::default_directory() == "/h/.cache/cermet");
  caches.set(nullptr);
  home.set(nullptr);
  CHECK(DiskCache::default_directory(&reason).empty());
  CHECK_THAT(reason, ContainsSubstring("nor HOME"));
}
