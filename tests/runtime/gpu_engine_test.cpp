// The engine of a GPU beside what tests/api sees of it: replays and what they cost, outcomes, the
// disk, memory that is full.
#include "runtime/gpu_engine.h"

#include <cmath>
#include <filesystem>

#include "ir/build.h"
#include "runtime/cuda_setup.h"
#include "runtime/gpu_code.h"
#include "support/cuda.h"
#include "support/paths.h"

using namespace cermet::test;
using cermet::DType;
using cermet::ir::Value;
using cermet::runtime::DeviceStorage;
using cermet::runtime::GpuEngine;

namespace {

Value on_device(const cuda::DeviceBuffer& buffer, const cermet::Shape& shape) {
  return cermet::ir::data(std::make_shared<const DeviceStorage>(buffer), DType::F32, shape);
}

// Two kernels, eight times with the same memory; what is different each time, elements and a
// scalar, is read from there.
void run_rounds(CudaSetup& setup, GpuEngine& engine) {
  constexpr int64_t n = 24;
  const cuda::DeviceBuffer a = setup.device.allocate(n * n * 4), b = setup.array(counting(n));
  for (int round = 1; round <= 8; ++round) {
    INFO("round " << round);
    const std::vector<float> x(n * n, float(round));
    setup.device.copy_to_device(a.address(), bytes_of(x));
    const Value matrix = on_device(a, {n, n}), vector = on_device(b, {n});
    const Value roots[] = {matmul(matrix, matrix), vector * (0.3 + double(round))};
    const auto results = engine.realize(roots);
    REQUIRE(results.size() == 2);
    CHECK(setup.values(results[0]->buffer()) ==
          std::vector<float>(n * n, float(n * round * round)));
    CHECK(setup.values(results[1]->buffer())[n - 1] == float(n - 1) * float(0.3 + round));
  }
  CHECK(engine.stats().plan_misses == 1);
}

// A value of `table` at a place; the index is in device memory.
Value looked_up(CudaSetup& setup, const Value& table, int64_t place) {
  const cuda::DeviceBuffer index = setup.array(std::vector<int64_t>{place});
  return cermet::ir::gather(
      table, cermet::ir::data(std::make_shared<const DeviceStorage>(index), DType::I64, {1}), 0);
}

cermet::runtime::EngineOptions without_disk() {
  cermet::runtime::EngineOptions options;
  options.cache_directory.clear();
  return options;
}

}  // namespace

TEST_CASE("gpu engine: a plan that comes again with the same memory is replayed as a graph") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver;
  CudaSetup setup(*driver);
  GpuEngine engine(setup.device, without_disk());
  run_rounds(setup, engine);
  CHECK(driver.counters().graph_launches >= 4);
  CHECK(driver.counters().graph_instantiations + driver.counters().graph_updates <= 4);
}

TEST_CASE("gpu engine: programs that sort are replayed too") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver({{"FAKECUDA_SCHEDULE", "random:3"}});
  CudaSetup setup(*driver);
  GpuEngine engine(setup.device, without_disk());
  const cuda::DeviceBuffer a = setup.array(counting(300));
  for (int i = 0; i < 6; ++i) {
    driver.reset_counters();
    const Value order = argsort(on_device(a, {3, 100}) * -1.0, 1);
    const Value roots[] = {cast(order, DType::F32)};
    const auto results = engine.realize(roots);
    const std::vector<float> got = setup.values(results[0]->buffer());
    for (size_t k = 0; k < 300; ++k) CHECK(got[k] == float(99 - k % 100));
    if (i > 3) CHECK(driver.calls("cuLaunchKernel") == 0);
  }
  CHECK(driver.calls("cuGraphLaunch") == 1);
}

TEST_CASE("gpu engine: where each launch is waited for there are no graphs") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver;
  CudaSetup setup(*driver, {.card = {.wait_after_launch = true}});
  GpuEngine engine(setup.device, without_disk());
  run_rounds(setup, engine);
  CHECK(driver.counters().graph_launches == 0);
}

TEST_CASE("gpu engine: a replay is one call of the driver where the context is current") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver;
  CudaSetup setup(*driver);
  GpuEngine engine(setup.device, without_disk());
  const cuda::DeviceBuffer a = setup.array(counting(24 * 24)), b = setup.array(counting(24));
  const auto step = [&] {
    const Value matrix = on_device(a, {24, 24}), vector = on_device(b, {24});
    const Value roots[] = {matmul(matrix, matrix), vector + vector};
    engine.realize(roots);
  };
  const auto calls_of = [&](const auto& work) {
    driver.reset_counters();
    work();
    return driver.calls("");
  };
  for (int i = 0; i < 3; ++i) step();
  {
    const cuda::Card::Current current(*setup.device.card());
    CHECK(calls_of(step) == 1);
    CHECK(driver.calls("cuGraphLaunch") == 1);
  }
  CHECK(calls_of(step) == 4);  // with the context: is it current, push, pop
  CHECK(driver.calls("cuCtx") == 3);
  CHECK(driver.calls("cuMem") == 0);

  // Scalars are one copy, whatever their number.
  const auto scaled = [&](double factor) {
    const Value vector = on_device(b, {24});
    const Value roots[] = {matmul(on_device(a, {24, 24}), on_device(a, {24, 24})) * factor,
                           vector * (factor + 1.25)};
    engine.realize(roots);
  };
  for (int i = 0; i < 3; ++i) scaled(0.3 + i);
  CHECK(calls_of([&] { scaled(7.7); }) == 6);  // and is the stream capturing
  CHECK(driver.calls("cuMemcpyHtoDAsync") == 1);
}

TEST_CASE("gpu engine: a replay that can report is three calls more, and waits for none") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver;
  CudaSetup setup(*driver);
  GpuEngine engine(setup.device, without_disk());
  const cuda::DeviceBuffer table = setup.array(counting(24));
  const cuda::DeviceBuffer index = setup.array(std::vector<int64_t>{5});
  const auto place = std::make_shared<const DeviceStorage>(index);
  const auto step = [&] {
    const Value vector = on_device(table, {24});
    const Value at = cermet::ir::data(place, DType::I64, {1});
    const Value roots[] = {matmul(cermet::ir::reshape(vector, cermet::Dims{4, 6}),
                                  cermet::ir::reshape(vector, cermet::Dims{6, 4})),
                           cermet::ir::gather(vector, at, 0)};
    return engine.realize(roots);
  };
  for (int i = 0; i < 8; ++i) {
    step();
    setup.device.synchronize();
  }
  driver.reset_counters();
  const auto results = step();
  CHECK(driver.calls("cuGraphLaunch") == 1);
  CHECK(driver.calls("cuMemcpyDtoHAsync") == 1);
  CHECK(driver.calls("cuEventRecord") == 1);
  CHECK(driver.calls("cuEventSynchronize") == 1);  // of the run that is too many, and done
  CHECK(driver.calls("cuMem") == 1);
  CHECK(driver.calls("") == 7);
  // Only what depends on the index has an outcome.
  CHECK_FALSE(results[0]->outcome());
  REQUIRE(results[1]->outcome());
  results[1]->outcome()->wait();
  CHECK_FALSE(results[1]->outcome());
}

TEST_CASE("gpu engine: what cannot report has no cell for it") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver;
  CudaSetup setup(*driver, {.memory = {.exact = true}});
  GpuEngine engine(setup.device, without_disk());
  const cuda::DeviceBuffer x = setup.array(counting(100));
  driver.reset_counters();
  const Value vector = on_device(x, {100});
  const Value root = vector + vector;
  const auto results = engine.realize(std::span(&root, 1));
  CHECK(driver.calls("cuMemAllocAsync") == 1);
  CHECK(driver.counters().fills == 0);
  CHECK(setup.values(results[0]->buffer())[99] == 198);
}

TEST_CASE("gpu engine: where each launch is waited for an index out of range is thrown at once") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver;
  CudaSetup setup(*driver, {.card = {.wait_after_launch = true}});
  GpuEngine engine(setup.device, without_disk());
  const Value table = on_device(setup.array(counting(10)), {10});
  const Value good = looked_up(setup, table, 9), bad = looked_up(setup, table, 10);
  CHECK(message_of<cermet::Error>([&] { engine.realize(std::span(&bad, 1)); }) ==
        "gather: index 10 is out of range for an axis of 10 elements");
  CHECK(bad->value() == nullptr);
  CHECK(setup.values(engine.realize(std::span(&good, 1))[0]->buffer())[0] == 9);
}

TEST_CASE("gpu engine: elements that failed are computed again, or thrown") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver;
  CudaSetup setup(*driver);
  GpuEngine engine(setup.device, without_disk());
  const Value table = on_device(setup.array(counting(10)), {10});
  const Value bad = looked_up(setup, table, -11);
  const auto wrong = engine.realize(std::span(&bad, 1))[0];
  const Value copy = cermet::ir::data(wrong, DType::F32, {1});
  const Value early = bad + bad, late = copy * copy;
  const auto inherited = engine.realize(std::span(&early, 1))[0];
  CHECK(bad->value() == wrong);
  wrong->outcome()->wait();
  CHECK(wrong->failed());
  CHECK(bad->value() == nullptr);
  CHECK_FALSE(inherited->failed());
  inherited->outcome()->wait();
  CHECK(inherited->failed());
  CHECK(&inherited->outcome()->cause() == wrong->outcome().get());
  CHECK(message_of<cermet::Error>([&] { engine.realize(std::span(&late, 1)); }) ==
        "gather: index -11 is out of range for an axis of 10 elements");
  const auto again = engine.realize(std::span(&bad, 1))[0];
  CHECK(again != wrong);
}

TEST_CASE("gpu engine: machine code and PTX of one compile are kept on disk, and repaired") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TemporaryDirectory directory;
  cermet::runtime::EngineOptions options;
  options.cache_directory = directory.path() / "cache";
  const auto compiles = [&] {
    const TestDriver driver({{"FAKECUDA_QUIET", "1"}});
    CudaSetup setup(*driver);
    GpuEngine engine(setup.device, options);
    const Value vector = on_device(setup.array(counting(10)), {10});
    const Value root = vector * vector;
    const auto results = engine.realize(std::span(&root, 1));
    CHECK(setup.values(results[0]->buffer())[9] == 81);
    CHECK(engine.stats().compiles + engine.stats().disk_hits == 1);
    return engine.stats().compiles;
  };
  // The fake driver refuses the machine code, so that this is both.
  CHECK(compiles() == 1);
  CHECK(compiles() == 0);
  // The file is sound, what is in it is not.
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options.cache_directory)) {
    std::filesystem::resize_file(entry.path(), std::filesystem::file_size(entry.path()) / 2);
    ++files;
  }
  CHECK(files == 1);
  CHECK(compiles() == 1);
  CHECK(compiles() == 0);
}

TEST_CASE("gpu code: what is no code is not taken for it") {
  using cermet::runtime::GpuCode, cermet::runtime::parse_gpu_code;
  GpuCode code;
  for (const char c : {'\x7f', 'E', 'L', 'F', '\2', '\0', '\1'}) code.cubin.push_back(std::byte(c));
  code.ptx = "// made by hand\n.version 8.0\n";
  const std::vector<std::byte> bytes = serialize_gpu_code(code);
  CHECK(parse_gpu_code(bytes) == code);
  CHECK(parse_gpu_code(cermet::runtime::serialize_gpu_code({{}, code.ptx})) ==
        GpuCode{{}, code.ptx});
  const size_t sound = bytes.size() - code.ptx.size() + code.ptx.find(".version") + 8;
  for (size_t cut = 0; cut < sound; ++cut) CHECK_FALSE(parse_gpu_code(std::span(bytes).first(cut)));
  for (const size_t at : {size_t(0), size_t(7), size_t(8), size_t(11)}) {
    std::vector<std::byte> damaged = bytes;
    damaged[at] ^= std::byte(0x55);
    CHECK_FALSE(parse_gpu_code(damaged));
  }
}

TEST_CASE("gpu engine: a card that is full is tidied up first, then reported with sizes") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver({{"FAKECUDA_MEMORY", "64M"}});
  CudaSetup setup(*driver);
  GpuEngine engine(setup.device, without_disk());
  const Value small = on_device(setup.array(counting(10)), {10});
  const auto filled = [&](int64_t rows) {
    const Value wide = cermet::ir::expand(small, cermet::Dims{rows, 10});
    const Value root = wide + wide;
    return engine.realize(std::span(&root, 1))[0];
  };
  for (const int64_t rows : {300'000, 500'000, 700'000}) filled(rows);  // each in cached memory
  CHECK(filled(1'200'000)->buffer().bytes() == 48'000'000);
  const auto kept = filled(800'000);
  const std::string text = message_of<cermet::DeviceError>([&] { filled(1'000'000); });
  CHECK_THAT(text, Catch::Matchers::StartsWith("cuda:0: no memory for 40000000 bytes on "));
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("are in use by tensors"));
  CHECK(setup.values(kept->buffer())[9] == 18);
}

TEST_CASE("gpu engine: cards with little shared memory and few parameters run what others run") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver({{"FAKECUDA_LIMITS", "shared:48K,parameters:4096"}});
  CudaSetup setup(*driver);
  GpuEngine engine(setup.device, without_disk());
  CHECK(engine.target().shared_bytes == 48 << 10);
  constexpr int64_t n = 256;
  const Value x = on_device(setup.array(std::vector<float>(n * n, 0.5f)), {n, n});
  const Value half = cast(x, DType::F16);
  std::vector<Value> parts;  // more than parameters have room for
  for (int64_t k = 0; k < 600; ++k)
    parts.push_back(on_device(setup.array(std::vector<float>(2, float(k))), {2}));
  const Value roots[] = {matmul(cermet::ir::barrier(half), half), cermet::ir::concat(parts, 0)};
  const auto results = engine.realize(roots);
  const auto product = setup.values<uint16_t>(results[0]->buffer());
  CHECK(product == std::vector<uint16_t>(n * n, 0x5400));  // 64
  CHECK(setup.values(results[1]->buffer())[1199] == 599);
}

TEST_CASE("gpu engine: a card that has less than every GPU had is refused with what it lacks") {
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver({{"FAKECUDA_LIMITS", "threads:512,grid:65535"}});
  cuda::Device device(*driver, 0);
  const std::string text = message_of<cermet::DeviceError>([&] { GpuEngine engine(device); });
  CHECK_THAT(text, Catch::Matchers::StartsWith("cuda:0: Fake H100 80GB HBM3 has 512 threads and "));
  CHECK_THAT(text,
             Catch::Matchers::ContainsSubstring("65535 blocks for a grid; kernels need 1024"));
}
