// The engine of a GPU beside what tests/api sees of it: replays.
#include "runtime/gpu_engine.h"

#include <cmath>

#include "ir/build.h"
#include "runtime/cuda_setup.h"
#include "support/cuda.h"

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

TEST_CASE("gpu engine: where each launch is waited for there are no graphs") {
  CERMET_NEEDS_NVRTC();
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver;
  CudaSetup setup(*driver, {.card = {.wait_after_launch = true}});
  GpuEngine engine(setup.device, without_disk());
  run_rounds(setup, engine);
  CHECK(driver.counters().graph_launches == 0);
}
