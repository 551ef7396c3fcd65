#include "compiler/cuda/occupancy.h"

#include <random>

#include "cermet/error.h"
#include "support/catch.h"

#if __has_include(<cuda_occupancy.h>)
#include <climits>
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <cuda_occupancy.h>
#pragma GCC diagnostic pop
#define CERMET_HAS_CUDA_OCCUPANCY 1
#endif

using cermet::compiler::KernelCost;
using cermet::compiler::Occupancy;

namespace {

Occupancy on(int arch, const KernelCost& cost) {
  return cermet::compiler::occupancy(cermet::compiler::cuda_limits({arch}), cost);
}

}  // namespace

TEST_CASE("cuda occupancy: known kernels") {
  const Occupancy full = on(90, {.threads = 256, .registers = 32});
  CHECK(full.blocks == 8);
  CHECK(full.fraction == 1.0);
  CHECK(full.limit == Occupancy::Limit::Threads);

  const Occupancy half = on(90, {.threads = 256, .registers = 64});
  CHECK(half.blocks == 4);
  CHECK(half.fraction == 0.5);
  CHECK(half.limit == Occupancy::Limit::Registers);

  const Occupancy small = on(80, {.threads = 32, .registers = 16});
  CHECK(small.blocks == 32);
  CHECK(small.limit == Occupancy::Limit::Blocks);

  const Occupancy shared = on(86, {.threads = 128, .registers = 40, .shared = 48 << 10});
  CHECK(shared.blocks == 2);
  CHECK(shared.limit == Occupancy::Limit::Shared);
  CHECK(to_string(shared.limit) == "shared memory");
}

TEST_CASE("cuda occupancy: what cannot run at all says why") {
  CHECK(on(90, {.threads = 1025, .registers = 16}).blocks == 0);
  CHECK(on(90, {.threads = 1024, .registers = 128}).blocks == 0);
  CHECK(on(90, {.threads = 1024, .registers = 128}).limit == Occupancy::Limit::Registers);
  CHECK(on(90, {.threads = 128, .registers = 16, .shared = 227 << 10}).blocks == 1);
  CHECK(on(90, {.threads = 128, .registers = 16, .shared = (227 << 10) + 1}).blocks == 0);
  CHECK(on(75, {.threads = 128, .registers = 16, .shared = 64 << 10}).blocks == 1);
}

TEST_CASE(
    "cuda occupancy: an architecture that is not in the table has the limits of an older one") {
  CHECK(cermet::compiler::cuda_limits({103}).arch == 100);
  CHECK(cermet::compiler::cuda_limits({121, 'a'}).arch == 120);
  CHECK(cermet::compiler::cuda_limits({999}).arch == 120);
  CHECK_THROWS_AS(cermet::compiler::cuda_limits({70}), cermet::Error);
}

TEST_CASE("cuda occupancy: the register budget is the largest that keeps the blocks") {
  CHECK(cermet::compiler::registers_for(256, 4) == 64);
  CHECK(cermet::compiler::registers_for(256, 8) == 32);
  CHECK(cermet::compiler::registers_for(128, 4) == 128);
  CHECK(cermet::compiler::registers_for(1024, 1) == 64);
  CHECK(cermet::compiler::registers_for(128, 1) == 255);
  for (const int64_t threads : {32, 96, 128, 160, 256, 384, 512, 1024})
    for (int blocks = 1; blocks * threads <= 2048 && blocks <= 32; ++blocks) {
      INFO(threads << " threads, " << blocks << " blocks");
      const int registers = cermet::compiler::registers_for(threads, blocks);
      CHECK(on(90, {.threads = threads, .registers = registers}).blocks >= blocks);
      if (registers < 255)
        CHECK(on(90, {.threads = threads, .registers = registers + 1}).blocks < blocks);
    }
}

TEST_CASE("cuda occupancy: NVIDIA's own calculator gives the same") {
#ifdef CERMET_HAS_CUDA_OCCUPANCY
  using cermet::compiler::CudaLimits;
  std::mt19937 random(20240517);
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution(low, high)(random);
  };
  for (const int arch : {75, 80, 86, 87, 89, 90, 100, 110, 120}) {
    const CudaLimits& limits = cermet::compiler::cuda_limits({arch});
    REQUIRE(limits.arch == arch);
    cudaOccDeviceProp device;
    device.computeMajor = arch / 10, device.computeMinor = arch % 10;
    device.maxThreadsPerBlock = CudaLimits::block_threads;
    device.maxThreadsPerMultiprocessor = limits.threads;
    device.regsPerBlock = device.regsPerMultiprocessor = CudaLimits::registers;
    device.warpSize = CudaLimits::warp_threads;
    device.sharedMemPerBlock = 48 << 10;
    device.sharedMemPerMultiprocessor = size_t(limits.shared);
    device.sharedMemPerBlockOptin = size_t(limits.block_shared);
    device.reservedSharedMemPerBlock = size_t(limits.reserved_shared);
    device.numSms = 1;
    for (int i = 0; i < 2000; ++i) {
      const KernelCost cost{.threads = pick(1, 1024),
                            .registers = pick(16, 255),
                            .shared = pick(0, 2) ? pick(0, int(limits.block_shared)) : 0,
                            .barriers = pick(0, 3)};
      cudaOccFuncAttributes kernel;
      kernel.maxThreadsPerBlock = INT_MAX;
      kernel.numRegs = cost.registers;
      kernel.sharedSizeBytes = 0;
      kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
      kernel.maxDynamicSharedSizeBytes = size_t(cost.shared);
      kernel.numBlockBarriers = cost.barriers;
      cudaOccResult theirs;
      const cudaOccDeviceState state;
      INFO("sm_" << arch << ", threads " << cost.threads << ", registers " << cost.registers
                 << ", shared " << cost.shared << ", barriers " << cost.barriers);
      REQUIRE(cudaOccMaxActiveBlocksPerMultiprocessor(&theirs, &device, &kernel, &state,
                                                      int(cost.threads),
                                                      size_t(cost.shared)) == CUDA_OCC_SUCCESS);
      REQUIRE(on(arch, cost).blocks == theirs.activeBlocksPerMultiprocessor);
    }
  }
#else
  SKIP("there is no cuda_occupancy.h in the include path");
#endif
}
