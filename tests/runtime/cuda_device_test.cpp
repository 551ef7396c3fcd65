// Cards, streams, events and whole devices.
#include <thread>

#include "runtime/cuda_setup.h"

using namespace cermet::test;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("cuda device: the facts are those of the card") {
  const TestDriver driver;
  const cuda::Device device(*driver, 0);
  CHECK(device.index() == 0);
  CHECK_FALSE(device.facts().name.empty());
  CHECK(device.facts().compute_capability >= 75);
  CHECK(device.facts().multiprocessors > 0);
  CHECK(device.facts().memory_bytes >= int64_t(1) << 30);
  CHECK(device.facts().threads_per_block == 1024);
  CHECK(device.facts().shared_bytes_per_block >= 64 << 10);
  CHECK(device.facts().shared_bytes_per_multiprocessor >= device.facts().shared_bytes_per_block);
  CHECK(device.facts().grid[0] == 2147483647);
  CHECK(device.facts().grid[1] == 65535);
}

TEST_CASE("cuda device: an index that does not exist is an error that names how many there are") {
  CERMET_NEEDS_FAKE_DRIVER();
  {
    const TestDriver driver({{"FAKECUDA_DEVICES", "1"}});
    CHECK(message_of<cermet::Error>([&] { cuda::Device(*driver, 1); }) ==
          "device: cuda:1 does not exist, the driver shows 1 GPU");
    CHECK(message_of<cermet::Error>([&] { cuda::Device(*driver, -1); }) ==
          "device: cuda:-1 does not exist, the driver shows 1 GPU");
  }
  const TestDriver driver({{"FAKECUDA_DEVICES", "3"}, {"FAKECUDA_CC", "80"}});
  cuda::Devices devices(*driver, {});
  CHECK(devices.count() == 3);
  CHECK(devices.at(2).index() == 2);
  CHECK(&devices.at(2) == &devices.at(2));
  CHECK(message_of<cermet::Error>([&] { devices.at(3); }) ==
        "device: cuda:3 does not exist, the driver shows 3 GPUs");
}

TEST_CASE("cuda device: without a GPU there is none to open") {
  CERMET_NEEDS_FAKE_DRIVER();
  const std::string text =
      message_of<cermet::DeviceError>([] { const TestDriver driver({{"FAKECUDA_DEVICES", "0"}}); });
  CHECK_THAT(text, ContainsSubstring("cuda requested, but "));
  CHECK_THAT(text, ContainsSubstring("cannot be used: cuInit: "));
  CHECK_THAT(text, ContainsSubstring("(CUDA_ERROR_NO_DEVICE, 100)"));
}

TEST_CASE("cuda device: an old driver is refused with its version") {
  CERMET_NEEDS_FAKE_DRIVER();
  CHECK_THAT(message_of<cermet::DeviceError>(
                 [] { const TestDriver driver({{"FAKECUDA_DRIVER", "11080"}}); }),
             ContainsSubstring(" supports CUDA up to 11.8, a driver for 12.0 is needed"));
}

TEST_CASE("cuda device: calls leave the caller's context as it was") {
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver({{"FAKECUDA_DEVICES", "2"}});
  cuda::Device first(*driver, 0), second(*driver, 1);
  const auto current = [&] {
    CUctx_st* context = nullptr;
    CHECK(driver->CtxGetCurrent(&context) == cuda::Result::Success);
    return context;
  };
  CHECK(current() == nullptr);
  const std::vector<float> values = counting(10);
  const cuda::DeviceBuffer buffer = first.allocate(40);
  first.copy_to_device(buffer.address(), bytes_of(values));
  first.synchronize();
  CHECK(current() == nullptr);
  CHECK(driver->CtxPushCurrent(first.card()->context()) == cuda::Result::Success);
  second.synchronize();
  CHECK_FALSE(second.allocate(100).borrowed());
  CHECK(current() == first.card()->context());
  CUctx_st* popped = nullptr;
  driver->CtxPopCurrent(&popped);
}

TEST_CASE("cuda device: devices of one driver share the primary context") {
  const TestDriver driver;
  CudaSetup one(*driver);
  const cuda::Device two(*driver, 0);
  CHECK(one.device.card()->context() == two.card()->context());
  const cuda::DeviceBuffer a = one.array(counting(10)), b = one.array(counting(10));
  one.device.synchronize();
  one.scale(b, a, 2, two.stream());
  two.synchronize();
  CHECK(one.values(b)[9] == 18);
  // A context of the caller's is used as it is.
  const cuda::Device third(*driver, 0, {.card = {.context = two.card()->context()}});
  const std::vector<float> x = counting(100);
  CHECK(one.values(one.array(x)) == x);
}

TEST_CASE("cuda stream: one waits for another") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  const cuda::Stream other(setup.device.card());
  const std::vector<float> x = counting(1000);
  const cuda::DeviceBuffer a = setup.array(x), b = setup.array(std::vector<float>(1000)),
                           c = setup.array(std::vector<float>(1000));
  other.wait(setup.device.stream());
  setup.scale(b, a, 2, other);
  const cuda::Event ready(setup.device.card());
  ready.record(other);
  setup.device.stream().wait(ready);
  setup.scale(c, b, 3);
  std::vector<float> expected = x;
  for (float& value : expected) value *= 6;
  CHECK(setup.values(c) == expected);
  CHECK(ready.finished());
  CHECK(other.finished());
}

TEST_CASE("cuda stream: the caller's own is used and left alive") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  CUstream_st* raw = nullptr;
  {
    const cuda::Card::Current current(*setup.device.card());
    REQUIRE(driver->StreamCreate(&raw, 0) == cuda::Result::Success);
  }
  const std::vector<float> x = counting(500);
  const cuda::DeviceBuffer a = setup.array(x), b = setup.array(std::vector<float>(500));
  {
    const auto own =
        std::make_shared<const cuda::Stream>(cuda::Stream::borrow(setup.device.card(), raw));
    CHECK(own->borrowed());
    CHECK(own->handle() == raw);
    CHECK(setup.device.use_stream(own) == nullptr);
    CHECK(setup.device.stream() == *own);
    std::thread([&] { CHECK_FALSE(setup.device.stream() == *own); }).join();
    a.read_by(*own), b.written_by(*own);
    setup.scale(b, a, 0.5f);
    CHECK(setup.values(b)[499] == 249.5f);
    CHECK(setup.device.use_stream(nullptr) == own);
  }
  const cuda::Card::Current current(*setup.device.card());
  CHECK(driver->StreamSynchronize(raw) == cuda::Result::Success);
  CHECK(driver->StreamDestroy(raw) == cuda::Result::Success);
}

TEST_CASE("cuda stream: one of another device is refused") {
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver({{"FAKECUDA_DEVICES", "2"}});
  cuda::Devices devices(*driver, {});
  CUstream_st* theirs = devices.at(1).stream().handle();
  CHECK(message_of<cermet::Error>([&] { cuda::Stream::borrow(devices.at(0).card(), theirs); }) ==
        "stream: it belongs to another context than cuda:0");
}

TEST_CASE("cuda event: those that keep time measure it") {
  const TestDriver driver;
  const cuda::Device device(*driver, 0);
  const cuda::Event start(device.card(), cuda::Event::Timing::On),
      end(device.card(), cuda::Event::Timing::On);
  start.record(device.stream());
  end.record(device.stream());
  end.synchronize();
  CHECK(end.milliseconds_since(start) >= 0);
}

TEST_CASE("cuda device: values move between devices") {
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver({{"FAKECUDA_DEVICES", "2"}});
  CudaSetup first(*driver);
  cuda::Device second(*driver, 1);
  const std::vector<float> x = counting(5000);
  const cuda::DeviceBuffer a = first.array(x);
  const cuda::DeviceBuffer b = second.allocate(a.bytes());
  second.stream().wait(first.device.stream());
  cuda::copy(b.address(), b.card(), a.address(), a.card(), a.bytes(), second.stream());
  std::vector<float> found(x.size());
  second.copy_to_host(std::as_writable_bytes(std::span(found)), b.address());
  CHECK(found == x);
}

TEST_CASE("cuda device: several threads use one") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  std::vector<std::thread> threads;
  std::vector<int> good(4);
  for (size_t t = 0; t < good.size(); ++t)
    threads.emplace_back([&, t] {
      const cuda::Stream stream(setup.device.card());
      for (int round = 0; round < 5; ++round) {
        const std::vector<float> x = counting(300, float(t) * 1000);
        const cuda::DeviceBuffer a = setup.array(x), b = setup.array(x);
        stream.wait(setup.device.stream());
        setup.scale(b, a, 2, stream);
        a.used_by(stream), b.used_by(stream);
        setup.device.stream().wait(stream);
        good[t] += setup.values(b)[299] == 2 * x[299];
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(good == std::vector<int>(4, 5));
}
