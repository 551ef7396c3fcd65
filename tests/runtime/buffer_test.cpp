#include "runtime/buffer.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "cermet/error.h"
#include "cermet/shape.h"
#include "support/catch.h"

using Catch::Matchers::ContainsSubstring;
using cermet::DeviceError;
using cermet::DType;
using cermet::Shape;
using cermet::runtime::Allocator;
using cermet::runtime::Buffer;

namespace {

// True if reading the byte kills a child process.
bool faults(const volatile char* address) {
  const pid_t child = fork();
  if (child == 0) {
    // The default action, not a handler of the test framework or a sanitizer.
    signal(SIGSEGV, SIG_DFL), signal(SIGBUS, SIG_DFL);
    [[maybe_unused]] const char byte = *address;
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace

TEST_CASE("allocator: every size is aligned to 64, writable to its end, and counted") {
  Allocator allocator;
  std::vector<Buffer> buffers;
  for (size_t bytes : {0u, 1u, 63u, 64u, 65u, 511u, 512u, 513u, 4096u, 5000u, 1048575u, 2097151u,
                       2097152u, 2097153u, 3000000u, 5500001u}) {
    Buffer buffer = allocator.allocate(bytes);
    CHECK(buffer.bytes() == bytes);
    REQUIRE(buffer.data() != nullptr);
    CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % 64 == 0);
    if (bytes >= 2097152) CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % 2097152 == 0);
    std::memset(buffer.data(), 0x5a, bytes);
    buffers.push_back(buffer);
  }
  int64_t asked = 0;
  for (const Buffer& buffer : buffers) asked += int64_t(buffer.bytes());
  const Allocator::Stats stats = allocator.stats();
  CHECK(stats.live_bytes >= asked);
  CHECK(double(stats.live_bytes) <= 1.13 * double(asked) + 64 * 16);
  CHECK(stats.peak_bytes == stats.live_bytes);
  CHECK(stats.misses == int64_t(buffers.size()));
  CHECK(stats.hits == 0);
}

TEST_CASE("allocator: size classes waste at most an eighth") {
  Allocator allocator;
  for (size_t bytes = 1; bytes < (size_t(1) << 24); bytes += bytes / 7 + 1) {
    const Buffer buffer = allocator.allocate(bytes);
    const auto live = size_t(allocator.stats().live_bytes);
    if (live < bytes || live > bytes + std::max<size_t>(63, bytes / 8))
      FAIL(bytes << " bytes take " << live);
  }
}

TEST_CASE("allocator: a freed block serves the next buffer of its class") {
  Allocator allocator;
  for (size_t bytes : {size_t(100), size_t(70000), size_t(8) << 20}) {
    void* first = allocator.allocate(bytes).data();
    const int64_t hits = allocator.stats().hits;
    const Buffer second = allocator.allocate(bytes - 3);
    CHECK(second.data() == first);
    CHECK(second.bytes() == bytes - 3);
    CHECK(allocator.stats().hits == hits + 1);
  }
  CHECK(allocator.stats().live_bytes == 0);
  CHECK(allocator.stats().cached_bytes > (8 << 20));
  CHECK(allocator.trim() > (8 << 20));
  CHECK(allocator.stats().cached_bytes == 0);
}

TEST_CASE("allocator: beyond its bound the cache sheds what was freed longest ago") {
  Allocator allocator({.cache_limit = 2048});
  Buffer a = allocator.allocate(1024), b = allocator.allocate(960), c = allocator.allocate(896);
  void* const b_data = b.data();
  void* const c_data = c.data();
  a = {};
  b = {};
  c = {};
  CHECK(allocator.stats().cached_bytes == 960 + 896);
  CHECK(allocator.allocate(896).data() == c_data);
  CHECK(allocator.allocate(960).data() == b_data);
  const int64_t misses = allocator.stats().misses;
  a = allocator.allocate(1024);
  CHECK(allocator.stats().misses == misses + 1);

  Allocator none({.cache_limit = 0});
  none.allocate(5000);
  CHECK(none.stats().cached_bytes == 0);
}

TEST_CASE("buffer: copies share, the last handle frees") {
  Allocator allocator;
  Buffer a = allocator.allocate(256);
  CHECK(a.unique());
  Buffer b = a;
  CHECK_FALSE(a.unique());
  CHECK(a == b);
  b = std::move(a);
  CHECK(b.unique());
  CHECK_FALSE(a);  // NOLINT(bugprone-use-after-move): a moved-from buffer is empty, promised
  CHECK(a.data() == nullptr);
  CHECK(a.bytes() == 0);
  const Buffer& same = b;
  b = same;
  CHECK(b.unique());
  CHECK(allocator.stats().live_bytes == 256);
  b = {};
  CHECK(allocator.stats().live_bytes == 0);
}

TEST_CASE("buffer: outlives its allocator") {
  Buffer buffer;
  {
    Allocator allocator;
    buffer = allocator.allocate(3 << 20);
    allocator.allocate(100);
  }
  std::memset(buffer.data(), 1, buffer.bytes());
  CHECK(static_cast<char*>(buffer.data())[buffer.bytes() - 1] == 1);
}

TEST_CASE("buffer: borrowed memory is used in place and given back once") {
  std::vector<float> mine(10, 1.0f);
  int deleted = 0;
  {
    Buffer buffer = Buffer::borrow(mine.data(), mine.size() * sizeof(float), [&] { ++deleted; });
    const Buffer copy = buffer;
    CHECK(buffer.borrowed());
    CHECK(buffer.data() == mine.data());
    buffer = {};
    mine[3] = 7;
    CHECK(static_cast<float*>(copy.data())[3] == 7);
    CHECK(deleted == 0);
  }
  CHECK(deleted == 1);
  CHECK(Buffer::borrow(nullptr, 0).bytes() == 0);
}

TEST_CASE("allocator: what cannot be had is a DeviceError that names the bytes") {
  Allocator allocator;
  CHECK_THROWS_WITH(allocator.allocate(DType::F32, Shape{10'000'000'000'000}),
                    ContainsSubstring("no memory for 40000000000000 bytes"));
  CHECK_THROWS_WITH(allocator.allocate(std::numeric_limits<size_t>::max()),
                    ContainsSubstring("18446744073709551615 bytes"));
  CHECK_THROWS_AS(allocator.allocate(size_t(1) << 62), DeviceError);
  CHECK_THROWS_WITH(allocator.allocate(DType::F64, Shape{int64_t(1) << 61, 2}),
                    "allocate: f64[2305843009213693952,2] has more bytes than can be counted");
  CHECK_THROWS_WITH(allocator.allocate(DType::I8, Shape{int64_t(1) << 40, int64_t(1) << 40}),
                    ContainsSubstring("more bytes than can be counted"));
  CHECK(allocator.stats().live_bytes == 0);
  CHECK(allocator.allocate(DType::F32, Shape{3, 5}).bytes() == 60);
  CHECK(allocator.allocate(DType::F32, Shape{int64_t(1) << 62, 0}).bytes() == 0);
}

TEST_CASE("allocator: the system's refusal trims the cache, then is reported") {
  // More than the address space holds, so that mmap itself refuses.
  Allocator allocator({.live_limit = std::numeric_limits<int64_t>::max()});
  allocator.allocate(4 << 20);
  CHECK(allocator.stats().cached_bytes > 0);
  CHECK_THROWS_WITH(allocator.allocate(size_t(1) << 60), ContainsSubstring("1152921504606846976"));
  CHECK(allocator.stats().cached_bytes == 0);
  CHECK(allocator.stats().live_bytes == 0);
}

TEST_CASE("allocator: threads may allocate and free at the same time") {
  Allocator allocator({.cache_limit = 1 << 20});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&allocator, t] {
      std::vector<Buffer> held(8);
      for (size_t i = 0; i < 3000; ++i) {
        Buffer& slot = held[i % 8];
        slot = allocator.allocate(64 + (i * 7919 + size_t(t)) % 20000);
        std::memset(slot.data(), t, slot.bytes());
        if (i % 500 == 0) allocator.trim();
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(allocator.stats().live_bytes == 0);
  CHECK(allocator.stats().cached_bytes <= 1 << 20);
  CHECK(allocator.stats().hits + allocator.stats().misses == 12000);
}

TEST_CASE("allocator: in guard mode no byte past the end can be read") {
  Allocator allocator({.guard_pages = true});
  for (size_t bytes : {size_t(64), size_t(4096), size_t(68), size_t(12), size_t(8) << 12}) {
    const Buffer buffer = allocator.allocate(bytes);
    auto* data = static_cast<char*>(buffer.data());
    std::memset(data, 1, bytes);
    if (bytes % 64 == 0) CHECK(reinterpret_cast<uintptr_t>(data) % 64 == 0);
    CHECK_FALSE(faults(data + bytes - 1));
    CHECK(faults(data + bytes));
  }
  const Buffer empty = allocator.allocate(0);
  CHECK(faults(static_cast<char*>(empty.data())));
  const char* freed = static_cast<char*>(allocator.allocate(640).data());
  CHECK(allocator.stats().cached_bytes == 0);
  CHECK(faults(freed));
}
