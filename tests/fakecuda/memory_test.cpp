// Memory of the device and of the host: what may be reached, what copies do and when, how much
// there is.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "fakecuda/harness.h"
#include "support/catch.h"

using namespace cermet::fakecuda;

namespace {

std::vector<int> counting(size_t count) {
  std::vector<int> values(count);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

}  // namespace

TEST_CASE("memory: what is copied to the device and between allocations comes back") {
  const std::string schedule = GENERATE(from_range(schedules()));
  CAPTURE(schedule);
  const Session cuda("FAKECUDA_SCHEDULE=" + schedule);
  const std::vector<int> values = counting(1000);
  std::vector<int> back(1000);
  const CUdeviceptr a = cuda.allocate(4000), b = cuda.allocate(4000);
  REQUIRE(a % 256 == 0);

  SECTION("by calls that block") {
    OK(cuda.cuMemcpyHtoD_v2(a, values.data(), 4000));
    OK(cuda.cuMemcpyDtoD_v2(b, a, 4000));
    OK(cuda.cuMemcpyDtoH_v2(back.data(), b, 4000));
    CHECK(back == values);
  }
  SECTION("by work of a stream, from pageable memory that is changed at once") {
    const CUstream stream = cuda.stream();
    std::vector<int> source = values;
    OK(cuda.cuMemcpyHtoDAsync_v2(a, source.data(), 4000, stream));
    std::fill(source.begin(), source.end(), -7);
    OK(cuda.cuMemcpyDtoDAsync_v2(b, a, 4000, stream));
    OK(cuda.cuMemcpyDtoHAsync_v2(back.data(), b, 4000, stream));
    CHECK(back == values);  // the call that ends in pageable memory waits
    OK(cuda.cuStreamDestroy_v2(stream));
  }
  SECTION("through pinned memory") {
    const CUstream stream = cuda.stream();
    int* in = cuda.pinned<int>(1000);
    int* out = cuda.pinned<int>(1000);
    std::copy(values.begin(), values.end(), in);
    OK(cuda.cuMemcpyHtoDAsync_v2(a, in, 4000, stream));
    OK(cuda.cuMemcpyDtoHAsync_v2(out, a, 4000, stream));
    OK(cuda.cuStreamSynchronize(stream));
    CHECK(std::equal(values.begin(), values.end(), out));
    OK(cuda.cuMemFreeHost(in));
    OK(cuda.cuMemFreeHost(out));
    OK(cuda.cuStreamDestroy_v2(stream));
  }
  SECTION("by the calls that find out what the addresses are") {
    OK(cuda.cuMemcpy(a, reinterpret_cast<CUdeviceptr>(values.data()), 4000));
    OK(cuda.cuMemcpy(reinterpret_cast<CUdeviceptr>(back.data()), a, 4000));
    CHECK(back == values);
  }
  SECTION("row by row") {
    OK(cuda.cuMemcpyHtoD_v2(a, values.data(), 4000));
    CUDA_MEMCPY2D copy{};  // 10 x 6 of 20 x 50, to rows of 6
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = a;
    copy.srcPitch = 200;
    copy.srcXInBytes = 12;
    copy.srcY = 2;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = back.data();
    copy.dstPitch = 24;
    copy.WidthInBytes = 24;
    copy.Height = 10;
    OK(cuda.cuMemcpy2D_v2(&copy));
    for (int y = 0; y < 10; ++y) {
      for (int x = 0; x < 6; ++x) CHECK(back[y * 6 + x] == (y + 2) * 50 + 3 + x);
    }
  }
  OK(cuda.cuMemFree_v2(a));
  OK(cuda.cuMemFree_v2(b));
  OK(cuda.cuDevicePrimaryCtxRelease_v2(0));
  CHECK(cuda.violations().empty());
}

TEST_CASE("memory: fills write bytes, halves and words") {
  const Session cuda;
  const CUdeviceptr at = cuda.allocate(64);
  const CUstream stream = cuda.stream();
  OK(cuda.cuMemsetD8_v2(at, 0x11, 64));
  OK(cuda.cuMemsetD16_v2(at + 16, 0x2233, 8));
  OK(cuda.cuCtxSynchronize());
  OK(cuda.cuMemsetD32Async(at + 32, 0x44556677, 4, stream));
  OK(cuda.cuMemsetD8Async(at + 48, 0, 16, stream));
  OK(cuda.cuMemsetD16Async(at + 62, 0xffff, 1, stream));
  OK(cuda.cuStreamSynchronize(stream));
  unsigned char bytes[64];
  OK(cuda.cuMemcpyDtoH_v2(bytes, at, 64));
  CHECK(bytes[0] == 0x11);
  CHECK(bytes[15] == 0x11);
  CHECK((bytes[16] == 0x33 && bytes[17] == 0x22 && bytes[31] == 0x22));
  CHECK((bytes[32] == 0x77 && bytes[47] == 0x44));
  CHECK((bytes[48] == 0 && bytes[61] == 0 && bytes[62] == 0xff && bytes[63] == 0xff));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemsetD32_v2(at + 2, 0, 1));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemsetD16_v2(at + 1, 0, 1));
}

TEST_CASE("memory: new memory holds NaNs, on the device and pinned") {
  const Session cuda;
  const CUdeviceptr at = cuda.allocate(400);
  std::vector<float> back(100);
  OK(cuda.cuMemcpyDtoH_v2(back.data(), at, 400));
  CHECK(std::all_of(back.begin(), back.end(), [](float x) { return x != x; }));
  const float* pinned = cuda.pinned<float>(100);
  CHECK(std::all_of(pinned, pinned + 100, [](float x) { return x != x; }));
}

TEST_CASE("memory: addresses are told apart and described") {
  const Session cuda;
  const CUdeviceptr at = cuda.allocate(1000);
  int* pinned = cuda.pinned<int>(10);
  CUdeviceptr base = 0;
  size_t bytes = 0;
  OK(cuda.cuMemGetAddressRange_v2(&base, &bytes, at + 999));
  CHECK(base == at);
  CHECK(bytes == 1000);
  EXPECT(CUDA_ERROR_NOT_FOUND, cuda.cuMemGetAddressRange_v2(&base, &bytes, at + 1000));

  unsigned type = 0;
  int ordinal = -1;
  OK(cuda.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at + 5));
  CHECK(type == CU_MEMORYTYPE_DEVICE);
  OK(cuda.cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, at));
  CHECK(ordinal == 0);
  const auto host = reinterpret_cast<CUdeviceptr>(pinned);
  OK(cuda.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, host));
  CHECK(type == CU_MEMORYTYPE_HOST);
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuda.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                    reinterpret_cast<CUdeviceptr>(&type)));
  OK(cuda.cuMemFree_v2(at));
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuda.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at));
}

TEST_CASE("memory: the host's own memory can be registered, once at a time") {
  const Session cuda;
  std::vector<char> mine(10000);
  OK(cuda.cuMemHostRegister_v2(mine.data(), mine.size(), 0));
  EXPECT(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
         cuda.cuMemHostRegister_v2(mine.data() + 5000, 100, 0));
  // It is now read when the copy runs.
  const CUdeviceptr at = cuda.allocate(1);
  const CUstream stream = cuda.stream();
  mine[0] = 1;
  OK(cuda.cuMemcpyHtoDAsync_v2(at, mine.data(), 1, stream));
  mine[0] = 2;
  OK(cuda.cuStreamSynchronize(stream));
  char back = 0;
  OK(cuda.cuMemcpyDtoH_v2(&back, at, 1));
  CHECK(back == 2);
  OK(cuda.cuMemHostUnregister(mine.data()));
  EXPECT(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuda.cuMemHostUnregister(mine.data()));
  OK(cuda.cuMemHostRegister_v2(mine.data(), 100, 0));
}

TEST_CASE("memory: the device has as much as it is given") {
  const Session cuda("FAKECUDA_MEMORY=1M");
  size_t free = 0, total = 0;
  OK(cuda.cuMemGetInfo_v2(&free, &total));
  CHECK(total == 1 << 20);
  CHECK(free == 1 << 20);
  const CUdeviceptr first = cuda.allocate(768 << 10);
  CUdeviceptr second = 0;
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuda.cuMemAlloc_v2(&second, 512 << 10));
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuda.cuMemAlloc_v2(&second, ~size_t{0}));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemAlloc_v2(&second, 0));
  OK(cuda.cuMemGetInfo_v2(&free, &total));
  CHECK(free == 256 << 10);
  OK(cuda.cuMemFree_v2(first));
  OK(cuda.cuMemAlloc_v2(&second, 512 << 10));
  CHECK(cuda.counters().peak_bytes == 768 << 10);
  CHECK(cuda.counters().live_bytes == 512 << 10);
}

TEST_CASE("memory: freed stream-ordered memory stays with the pool as far as it may") {
  const Session cuda("FAKECUDA_MEMORY=1M");
  const CUstream stream = cuda.stream();
  CUmemoryPool pool = nullptr;
  OK(cuda.cuDeviceGetDefaultMemPool(&pool, 0));
  uint64_t threshold = ~uint64_t{0};
  OK(cuda.cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));

  CUdeviceptr at = 0;
  OK(cuda.cuMemAllocAsync(&at, 768 << 10, stream));
  OK(cuda.cuMemFreeAsync(at, stream));
  OK(cuda.cuStreamSynchronize(stream));
  uint64_t used = 1, reserved = 0;
  OK(cuda.cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
  OK(cuda.cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &reserved));
  CHECK(used == 0);
  CHECK(reserved == 768 << 10);

  // Others cannot have it until the pool is trimmed.
  CUdeviceptr other = 0;
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuda.cuMemAlloc_v2(&other, 512 << 10));
  OK(cuda.cuMemPoolTrimTo(pool, 0));
  OK(cuda.cuMemAlloc_v2(&other, 512 << 10));
  OK(cuda.cuMemFree_v2(other));

  // Without a threshold a wait gives everything back.
  threshold = 0;
  OK(cuda.cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
  OK(cuda.cuMemAllocAsync(&at, 768 << 10, stream));
  OK(cuda.cuMemFreeAsync(at, stream));
  OK(cuda.cuStreamSynchronize(stream));
  OK(cuda.cuMemAlloc_v2(&other, 1 << 20));
}

TEST_CASE("memory: an allocation waits for frees that are queued before it says out of memory") {
  const std::string schedule = GENERATE(from_range(schedules()));
  const Session cuda("FAKECUDA_MEMORY=1M FAKECUDA_SCHEDULE=" + schedule);
  const CUstream stream = cuda.stream();
  for (int i = 0; i < 20; ++i) {
    CUdeviceptr at = 0;
    OK(cuda.cuMemAllocAsync(&at, 400 << 10, stream));
    OK(cuda.cuMemsetD8Async(at, 1, 400 << 10, stream));
    OK(cuda.cuMemFreeAsync(at, stream));
  }
  CUdeviceptr at = 0;
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuda.cuMemAllocAsync(&at, 2 << 20, stream));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(cuda.violations().empty());
}

TEST_CASE("memory: pools of one's own have limits of their own") {
  const Session cuda;
  CUmemPoolProps properties{};
  properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  properties.maxSize = 64 << 10;
  CUmemoryPool pool = nullptr;
  OK(cuda.cuMemPoolCreate(&pool, &properties));
  const CUstream stream = cuda.stream();
  CUdeviceptr at = 0;
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuda.cuMemAllocFromPoolAsync(&at, 65 << 10, pool, stream));
  OK(cuda.cuMemAllocFromPoolAsync(&at, 64 << 10, pool, stream));
  CUmemoryPool found = nullptr;
  OK(cuda.cuPointerGetAttribute(&found, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, at));
  CHECK(found == pool);
  OK(cuda.cuDeviceSetMemPool(0, pool));
  OK(cuda.cuMemFreeAsync(at, stream));
  OK(cuda.cuMemPoolDestroy(pool));
  OK(cuda.cuDeviceGetMemPool(&found, 0));
  CHECK(found != pool);
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemAllocFromPoolAsync(&at, 1024, pool, stream));
}

TEST_CASE("memory: calls can be made to fail, always or at the nth time") {
  const Session cuda("FAKECUDA_FAIL=cuMemAllocAsync:2:2,cuMemHostAlloc:2,cuStreamCreate:719:1");
  CUdeviceptr at = 0;
  void* pinned = nullptr;
  OK(cuda.cuMemAllocAsync(&at, 16, nullptr));
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuda.cuMemAllocAsync(&at, 16, nullptr));
  OK(cuda.cuMemAllocAsync(&at, 16, nullptr));
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuda.cuMemHostAlloc(&pinned, 16, 0));
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuda.cuMemHostAlloc(&pinned, 16, 0));
  CHECK(cuda.counters().injected_failures == 3);
  CUstream stream = nullptr;
  EXPECT(CUDA_ERROR_LAUNCH_FAILED, cuda.cuStreamCreate(&stream, 0));
  EXPECT(CUDA_ERROR_LAUNCH_FAILED, cuda.cuMemAllocAsync(&at, 16, nullptr));  // it is sticky
}

TEST_CASE("memory: a failure that cannot be asked for ends the process") {
  for (const char* wrong : {"cuMemAlloc_v2:2", "cuMemAllok:2", "cuMemAlloc", "cuMemAlloc:2:0"}) {
    INFO(wrong);
    const pid_t child = fork();
    if (child == 0) {
      std::freopen("/dev/null", "w", stderr);
      const Session cuda(std::string("FAKECUDA_FAIL=") + wrong);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 2);
  }
}

TEST_CASE("memory: counters tell directions and bytes") {
  const Session cuda;
  const CUdeviceptr a = cuda.allocate(300), b = cuda.allocate(200);
  char host[300] = {};
  OK(cuda.cuMemcpyHtoD_v2(a, host, 300));
  OK(cuda.cuMemcpyDtoD_v2(b, a, 200));
  OK(cuda.cuMemcpyDtoH_v2(host, b, 100));
  OK(cuda.cuMemsetD8_v2(b, 0, 50));
  OK(cuda.cuCtxSynchronize());
  const FakecudaCounters counters = cuda.counters();
  CHECK(counters.copies == 3);
  CHECK(counters.host_to_device_bytes == 300);
  CHECK(counters.device_to_device_bytes == 200);
  CHECK(counters.device_to_host_bytes == 100);
  CHECK(counters.fills == 1);
  CHECK(counters.fill_bytes == 50);
  CHECK(counters.allocations == 2);
  CHECK(counters.live_allocations == 2);
}
