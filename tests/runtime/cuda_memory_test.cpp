// Memory of cards, and copies between it and the host's.
#include "runtime/cuda_setup.h"

using namespace cermet::test;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("cuda memory: a freed block is taken again by the same stream without a call") {
  const TestDriver driver;
  cuda::Device device(*driver, 0);
  cuda::Address first = 0;
  {
    const cuda::DeviceBuffer a = device.allocate(1000);
    cuda::DeviceBuffer copy;
    copy = a;
    first = a.address();
    CHECK(a.address() % 256 == 0);
    CHECK(a.bytes() == 1000);
    CHECK_FALSE(a.unique());
    CHECK(copy.address() == first);
    CHECK(device.memory().stats().live_bytes == 1024);
  }
  CHECK(device.memory().stats().live_bytes == 0);
  CHECK(device.memory().stats().cached_bytes == 1024);
  const cuda::DeviceBuffer b = device.allocate(700);
  CHECK(b.address() == first);
  const cuda::DeviceBuffer c = device.allocate(700);
  CHECK(c.address() != first);
  const auto stats = device.memory().stats();
  CHECK(stats.hits == 1);
  CHECK(stats.misses == 2);
  CHECK(stats.peak_bytes == 2048);
}

TEST_CASE("cuda memory: little is lost to rounding") {
  const TestDriver driver;
  cuda::Device device(*driver, 0);
  const auto capacity = [&](int64_t bytes) {
    const int64_t before = device.memory().stats().live_bytes;
    const cuda::DeviceBuffer buffer = device.allocate(size_t(bytes));
    return device.memory().stats().live_bytes - before;
  };
  CHECK(capacity(1) == 512);
  CHECK(capacity(512) == 512);
  CHECK(capacity(513) == 1024);
  CHECK(capacity(9000) == 9216);
  constexpr int64_t MB = 1 << 20;
  CHECK(capacity(16 * MB) == 16 * MB);
  CHECK(capacity(16 * MB + 1) == 18 * MB);
  CHECK(capacity(1024 * MB + 1) == (1024 + 32) * MB);
}

TEST_CASE("cuda memory: empty and zero-size buffers are harmless") {
  const TestDriver driver;
  cuda::Device device(*driver, 0);
  const cuda::DeviceBuffer none;
  CHECK_FALSE(none);
  CHECK(none.address() == 0);
  CHECK_THROWS_AS(none.card(), cermet::InternalError);
  const cuda::DeviceBuffer empty = device.allocate(0);
  CHECK(empty);
  CHECK(empty.bytes() == 0);
  CHECK(empty.address() != 0);
  device.copy_to_device(empty.address(), {});
  device.copy_to_host({}, empty.address());
}

TEST_CASE("cuda memory: another stream that takes a block waits for its last user") {
  for (const bool exact : {false, true}) {
    INFO("exact: " << exact);
    const TestDriver driver;
    CudaSetup setup(*driver, {.memory = {.exact = exact}});
    const cuda::Stream other(setup.device.card());
    const std::vector<float> x = counting(4096);
    const cuda::DeviceBuffer source = setup.array(x);
    const cuda::DeviceBuffer sum = setup.array(std::vector<float>(4096));
    cuda::Address first = 0;
    {
      const cuda::DeviceBuffer middle = setup.device.allocate(4096 * 4);
      first = middle.address();
      setup.scale(middle, source, 2);
      setup.device.synchronize();
      setup.add_to(sum, middle, setup.device.stream());
    }
    // The work above may not have run yet; what this writes must not be seen by it.
    const cuda::DeviceBuffer reused = setup.device.memory().allocate(4096 * 4, other);
    if (!exact) CHECK(reused.address() == first);
    cuda::fill(reused.address(), std::byte{0xff}, reused.bytes(), other);
    other.synchronize();
    CHECK(setup.values(sum)[4095] == 2 * 4095.0f);
  }
}

TEST_CASE("cuda memory: a block that several streams used is taken when all are done") {
  for (const bool exact : {false, true}) {
    INFO("exact: " << exact);
    const TestDriver driver;
    CudaSetup setup(*driver, {.memory = {.exact = exact}});
    const cuda::Stream other(setup.device.card());
    const std::vector<float> x = counting(4096);
    const cuda::DeviceBuffer sum = setup.array(std::vector<float>(4096));
    cuda::Address first = 0;
    {
      const cuda::DeviceBuffer a = setup.array(x);
      first = a.address();
      other.wait(setup.device.stream());
      setup.add_to(sum, a, other);
      a.used_by(other);
    }
    const cuda::DeviceBuffer b = setup.device.allocate(4096 * 4);
    if (!exact) CHECK(b.address() == first);
    cuda::fill(b.address(), std::byte{0xff}, b.bytes(), setup.device.stream());
    setup.device.synchronize();
    other.synchronize();
    CHECK(setup.values(sum)[4095] == 4095.0f);
  }
}

TEST_CASE("cuda memory: a stream that is gone has no use of anything") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  cuda::Address first = 0;
  {
    const cuda::Stream gone(setup.device.card());
    first = setup.device.memory().allocate(100, gone).address();
  }
  CHECK(setup.device.allocate(100).address() == first);
}

TEST_CASE("cuda memory: what a caller's stream was given is waited for when it is gone") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  const auto card = setup.device.card();
  const cuda::DeviceBuffer source = setup.array(counting(4096));
  const cuda::DeviceBuffer sum = setup.array(std::vector<float>(4096));
  setup.device.synchronize();
  for (int round = 0; round < 3; ++round) {
    CUstream_st* raw = nullptr;
    const cuda::Card::Current current(*card);
    REQUIRE(driver->StreamCreate(&raw, cuda::stream_non_blocking) == cuda::Result::Success);
    cuda::Address first = 0;
    const uint64_t waits = on_fake_driver() ? driver.counters().waits : 0;
    {
      const auto stream = cuda::Stream::borrow(card, raw);
      const cuda::DeviceBuffer twice = setup.device.memory().allocate(4096 * 4, stream);
      first = twice.address();
      source.read_by(stream), sum.written_by(stream);
      setup.scale(twice, source, 2, stream);
      setup.add_to(sum, twice, stream);
    }
    REQUIRE(driver->StreamDestroy(raw) == cuda::Result::Success);
    const cuda::DeviceBuffer reused = setup.device.allocate(4096 * 4);
    CHECK(reused.address() == first);
    cuda::fill(reused.address(), std::byte{0xff}, reused.bytes(), setup.device.stream());
    sum.read_by(setup.device.stream());
    if (on_fake_driver()) CHECK(driver.counters().waits == waits);
    CHECK(setup.values(sum)[4095] == 2 * 4095.0f * float(round + 1));
  }
}

TEST_CASE("cuda memory: buffers outlive their allocator and their device") {
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver;
  {
    cuda::DeviceBuffer buffer;
    {
      CudaSetup setup(*driver);
      buffer = setup.array(counting(10));
    }
    CHECK(driver.counters().live_allocations == 1);
  }
  CHECK(driver.counters().live_allocations == 0);
  CHECK(driver.counters().live_pinned == 0);
  CHECK(driver.counters().live_streams == 0);
  CHECK(driver.counters().live_modules == 0);
  CHECK(driver.counters().live_events == 0);
}

TEST_CASE("cuda memory: what is cached stays within its bound and can be given back") {
  const TestDriver driver;
  cuda::Device device(*driver, 0, {.memory = {.cache_limit = 3 << 20}});
  std::vector<cuda::DeviceBuffer> buffers;
  for (int i = 0; i < 5; ++i) buffers.push_back(device.allocate(1 << 20));
  buffers.clear();
  CHECK(device.memory().stats().cached_bytes == 3 << 20);
  CHECK(device.memory().trim() == 3 << 20);
  CHECK(device.memory().stats().cached_bytes == 0);
  CHECK(device.memory().trim() == 0);
}

TEST_CASE("cuda memory: a full card is asked again after the cache went back") {
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver({{"FAKECUDA_MEMORY", "64M"}});
  cuda::Device device(*driver, 0);
  const cuda::DeviceBuffer kept = device.allocate(8 << 20);
  for (int i = 1; i <= 3; ++i) CHECK(device.allocate(size_t(i) * (10 << 20)));
  CHECK(device.memory().stats().cached_bytes > 0);
  const cuda::DeviceBuffer large = device.allocate(48 << 20);
  CHECK(large.bytes() == 48 << 20);
  CHECK(device.memory().stats().cached_bytes == 0);

  const std::string text =
      message_of<cermet::DeviceError>([&] { (void)device.allocate(100 << 20); });
  CHECK_THAT(text, ContainsSubstring("cuda:0: no memory for 104857600 bytes on "));
  CHECK_THAT(text, ContainsSubstring(": 58720256 bytes are in use by tensors, 0 were kept for "
                                     "reuse and have been given back, "));
  CHECK_THAT(text, ContainsSubstring(" of 67108864 are free"));
  // Nothing is broken by it.
  CHECK(device.allocate(1 << 20));
  CHECK_THROWS_AS(device.allocate(~size_t(0)), cermet::DeviceError);
}

TEST_CASE("cuda memory: borrowed memory is given back to its owner") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  const cuda::DeviceBuffer owner = setup.array(counting(16));
  int given_back = 0;
  {
    const auto borrowed =
        cuda::DeviceBuffer::borrow(setup.device.card(), owner.address(), 64, [&] { ++given_back; });
    cuda::DeviceBuffer copy;
    copy = borrowed;
    CHECK(copy.borrowed());
    CHECK(setup.values(copy) == counting(16));
  }
  CHECK(given_back == 1);
}

TEST_CASE("cuda memory: exact buffers are pieces of their own") {
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver;
  CudaSetup setup(*driver, {.memory = {.exact = true}});
  const uint64_t before = driver.counters().live_bytes;
  {
    const cuda::DeviceBuffer a = setup.device.allocate(1001);
    CHECK(driver.counters().live_bytes == before + 1001);
  }
  setup.device.synchronize();
  CHECK(driver.counters().live_bytes == before);
}

TEST_CASE("cuda copies: arrays of all sizes come back as they went") {
  const TestDriver driver;
  const auto card = cuda::Card::open(*driver, 0, {});
  const cuda::Stream stream(card);
  cuda::DeviceAllocator memory(card);
  constexpr size_t piece = 1024;
  cuda::HostCopies copies(card, piece);
  for (const size_t bytes : {size_t(1), size_t(255), size_t(256), piece - 1, piece, piece + 1,
                             4 * piece, 4 * piece + 1, 9 * piece + 17}) {
    INFO(bytes << " bytes");
    std::vector<unsigned char> there(bytes), back(bytes);
    for (size_t i = 0; i < bytes; ++i) there[i] = static_cast<unsigned char>(i * 31 + bytes);
    const std::vector<unsigned char> kept = there;
    const cuda::DeviceBuffer buffer = memory.allocate(bytes, stream);
    copies.to_card(buffer.address(), bytes_of(there), stream);
    // The host's memory may change as soon as the call is back.
    std::fill(there.begin(), there.end(), static_cast<unsigned char>(0));
    copies.to_host(std::as_writable_bytes(std::span(back)), buffer.address(), stream);
    CHECK(back == kept);
  }
}

TEST_CASE("cuda copies: many small ones on two streams do not overtake each other") {
  const TestDriver driver;
  const auto card = cuda::Card::open(*driver, 0, {});
  const cuda::Stream streams[2] = {cuda::Stream(card), cuda::Stream(card)};
  cuda::DeviceAllocator memory(card);
  cuda::HostCopies copies(card, 1024);
  std::vector<cuda::DeviceBuffer> buffers;
  for (int i = 0; i < 50; ++i) {
    const cuda::Stream& stream = streams[i / 3 % 2];
    const std::vector<int> values(20 + size_t(i), i);
    buffers.push_back(memory.allocate(values.size() * sizeof(int), stream));
    copies.to_card(buffers.back().address(), bytes_of(values), stream);
  }
  for (const cuda::Stream& stream : streams) stream.synchronize();
  for (int i = 0; i < 50; ++i) {
    std::vector<int> values(20 + size_t(i));
    copies.to_host(std::as_writable_bytes(std::span(values)), buffers[size_t(i)].address(),
                   streams[0]);
    CHECK(values == std::vector<int>(values.size(), i));
  }
}

TEST_CASE("cuda copies: within a card and with one byte") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  const cuda::DeviceBuffer a = setup.array(counting(100)), b = setup.device.allocate(400);
  cuda::fill(b.address(), std::byte{0}, b.bytes(), setup.device.stream());
  cuda::copy(b.address() + 40, b.card(), a.address(), a.card(), 40, setup.device.stream());
  const std::vector<float> found = setup.values(b);
  CHECK(found[9] == 0);
  CHECK(found[19] == 9);
  CHECK(found[20] == 0);
}
