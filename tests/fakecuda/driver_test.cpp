// The way in, devices, contexts and errors.

#include <cstring>
#include <thread>

#include "fakecuda/harness.h"
#include "support/catch.h"

using namespace cermet::fakecuda;
using Catch::Matchers::ContainsSubstring;

namespace {

void* find(const Fake& cuda, const char* name, int version, CUresult expected = CUDA_SUCCESS) {
  void* address = nullptr;
  CUdriverProcAddressQueryResult status{};
  EXPECT(expected, cuda.cuGetProcAddress_v2(name, &address, version, 0, &status));
  const bool found = status == CU_GET_PROC_ADDRESS_SUCCESS;
  if (expected == CUDA_SUCCESS) CHECK(found == (address != nullptr));
  return address;
}

template <class Function>
void* pointer(Function* function) {
  return reinterpret_cast<void*>(function);
}

int attribute(const Fake& cuda, CUdevice_attribute which, CUdevice device = 0) {
  int value = -1;
  OK(cuda.cuDeviceGetAttribute(&value, which, device));
  return value;
}

}  // namespace

TEST_CASE("driver: a name and a version give the function that a real driver gives") {
  const Fake cuda;
  CHECK(find(cuda, "cuMemAlloc", 12000) == pointer(cuda.cuMemAlloc_v2));
  CHECK(find(cuda, "cuMemAlloc", 2000) == nullptr);  // version 1 had 32-bit addresses
  CHECK(find(cuda, "cuMemAlloc_v2", 12000) == nullptr);
  CHECK(find(cuda, "cuNothing", 12000) == nullptr);
  CHECK(find(cuda, "cuGraphInstantiate", 12000) == pointer(cuda.cuGraphInstantiateWithFlags));
  CHECK(find(cuda, "cuEventElapsedTime", 12000) == pointer(cuda.cuEventElapsedTime));
  CHECK(find(cuda, "cuEventElapsedTime", 13000) == pointer(cuda.cuEventElapsedTime_v2));
  CHECK(find(cuda, "cuCtxCreate", 12000) == pointer(cuda.cuCtxCreate_v2));
  CHECK(find(cuda, "cuCtxCreate", 13000) == pointer(cuda.cuCtxCreate_v4));
  CHECK(find(cuda, "cuMemAlloc", 14000, CUDA_ERROR_INVALID_VALUE) == nullptr);
  void* address = nullptr;
  EXPECT(CUDA_ERROR_NOT_FOUND, cuda.cuGetProcAddress("cuNothing", &address, 12000, 0));
  OK(cuda.cuGetProcAddress("cuInit", &address, 12000, 0));
  CHECK(address == pointer(cuda.cuInit));
}

TEST_CASE("driver: an older driver has fewer functions") {
  const Fake cuda("FAKECUDA_DRIVER=12000");
  int version = 0;
  OK(cuda.cuDriverGetVersion(&version));
  CHECK(version == 12000);
  find(cuda, "cuMemAlloc", 13000, CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("driver: nothing works before cuInit, and little without a context") {
  const Fake cuda;
  int count = 0;
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuda.cuDeviceGetCount(&count));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuInit(1));
  OK(cuda.cuInit(0));
  OK(cuda.cuDeviceGetCount(&count));
  CHECK(count == 1);
  CUdeviceptr at = 0;
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuda.cuMemAlloc_v2(&at, 16));
  const void* table = nullptr;
  const CUuuid id{};
  EXPECT(CUDA_ERROR_NOT_FOUND, cuda.cuGetExportTable(&table, &id));
}

TEST_CASE("driver: a machine without a GPU says so") {
  const Fake cuda("FAKECUDA_DEVICES=0");
  EXPECT(CUDA_ERROR_NO_DEVICE, cuda.cuInit(0));
  int count = 0;
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuda.cuDeviceGetCount(&count));
}

TEST_CASE("driver: results have names and texts") {
  const Fake cuda;
  const char* text = nullptr;
  OK(cuda.cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  CHECK(std::string(text) == "CUDA_ERROR_ILLEGAL_ADDRESS");
  OK(cuda.cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &text));
  CHECK(std::string(text) == "out of memory");
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuGetErrorName(static_cast<CUresult>(12345), &text));
  CHECK(text == nullptr);
}

TEST_CASE("driver: each compute capability is a card of its own") {
  struct Row {
    int capability, multiprocessors, shared_optin, threads;
  };
  // From the table of compute capabilities in the CUDA programming guide.
  for (const Row& row :
       {Row{75, 40, 64 << 10, 1024}, Row{80, 108, 163 << 10, 2048}, Row{86, 82, 99 << 10, 1536},
        Row{89, 128, 99 << 10, 1536}, Row{90, 132, 227 << 10, 2048}, Row{100, 148, 227 << 10, 2048},
        Row{120, 170, 99 << 10, 1536}}) {
    CAPTURE(row.capability);
    const Session cuda("FAKECUDA_CC=" + std::to_string(row.capability));
    const int major = attribute(cuda, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    const int minor = attribute(cuda, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    CHECK(10 * major + minor == row.capability);
    CHECK(attribute(cuda, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT) == row.multiprocessors);
    CHECK(attribute(cuda, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) ==
          row.shared_optin);
    CHECK(attribute(cuda, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR) == row.threads);
    CHECK(attribute(cuda, CU_DEVICE_ATTRIBUTE_WARP_SIZE) == 32);
  }
  const Session cuda;
  int value = 0;
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuda.cuDeviceGetAttribute(&value, static_cast<CUdevice_attribute>(9999), 0));
}

TEST_CASE("driver: several devices are told apart") {
  const Session cuda("FAKECUDA_CC=80,90 FAKECUDA_DEVICES=3");
  int count = 0;
  OK(cuda.cuDeviceGetCount(&count));
  CHECK(count == 3);
  CHECK(attribute(cuda, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0) == 8);
  CHECK(attribute(cuda, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 1) == 9);
  CHECK(attribute(cuda, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 2) == 8);
  CUdevice device = -1;
  EXPECT(CUDA_ERROR_INVALID_DEVICE, cuda.cuDeviceGet(&device, 3));
  EXPECT(CUDA_ERROR_INVALID_DEVICE, cuda.cuDeviceGet(&device, -1));
  char name[64], bus[64];
  OK(cuda.cuDeviceGetName(name, sizeof name, 1));
  CHECK_THAT(name, ContainsSubstring("H100"));
  OK(cuda.cuDeviceGetPCIBusId(bus, sizeof bus, 2));
  OK(cuda.cuDeviceGetByPCIBusId(&device, bus));
  CHECK(device == 2);
  CUuuid one{}, other{};
  OK(cuda.cuDeviceGetUuid_v2(&one, 0));
  OK(cuda.cuDeviceGetUuid_v2(&other, 1));
  CHECK(std::memcmp(one.bytes, other.bytes, 16) != 0);
}

TEST_CASE("driver: the primary context is one, as long as somebody retains it") {
  const Session cuda;
  CUcontext again = nullptr;
  unsigned flags = 9;
  int active = -1;
  OK(cuda.cuDevicePrimaryCtxRetain(&again, 0));
  CHECK(again == cuda.context);
  OK(cuda.cuDevicePrimaryCtxRelease_v2(0));
  OK(cuda.cuCtxSynchronize());
  OK(cuda.cuDevicePrimaryCtxGetState(0, &flags, &active));
  CHECK(active == 1);
  OK(cuda.cuDevicePrimaryCtxRelease_v2(0));
  OK(cuda.cuDevicePrimaryCtxGetState(0, &flags, &active));
  CHECK(active == 0);
  EXPECT(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuda.cuCtxSynchronize());
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuda.cuDevicePrimaryCtxRelease_v2(0));
  OK(cuda.cuDevicePrimaryCtxRetain(&again, 0));
  CHECK(again != cuda.context);
}

TEST_CASE("driver: each thread has a stack of contexts") {
  const Session cuda("FAKECUDA_DEVICES=2");
  CUcontext second = nullptr, found = nullptr;
  CUdevice device = -1;
  OK(cuda.cuDevicePrimaryCtxRetain(&second, 1));
  OK(cuda.cuCtxPushCurrent_v2(second));
  OK(cuda.cuCtxGetDevice(&device));
  CHECK(device == 1);
  OK(cuda.cuCtxPopCurrent_v2(&found));
  CHECK(found == second);
  OK(cuda.cuCtxGetCurrent(&found));
  CHECK(found == cuda.context);
  CUresult elsewhere = CUDA_SUCCESS;
  std::thread([&] { elsewhere = cuda.cuCtxSynchronize(); }).join();
  CHECK(name_of(elsewhere) == name_of(CUDA_ERROR_INVALID_CONTEXT));
  OK(cuda.cuCtxSetCurrent(nullptr));
  OK(cuda.cuCtxGetCurrent(&found));
  CHECK(found == nullptr);
}

TEST_CASE("driver: a context of one's own can be made and destroyed") {
  const Session cuda;
  CUcontext mine = nullptr, found = nullptr;
  OK(cuda.cuCtxCreate_v2(&mine, 0, 0));
  OK(cuda.cuCtxGetCurrent(&found));
  CHECK(found == mine);
  const CUstream stream = cuda.stream();
  OK(cuda.cuStreamGetCtx(stream, &found));
  CHECK(found == mine);
  OK(cuda.cuStreamDestroy_v2(stream));
  OK(cuda.cuCtxDestroy_v2(mine));
  OK(cuda.cuCtxGetCurrent(&found));
  CHECK(found == cuda.context);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuda.cuCtxDestroy_v2(mine));
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuda.cuCtxDestroy_v2(cuda.context));
  CHECK(cuda.violations().empty());
}

TEST_CASE("driver: memory of one device can be copied to another") {
  const Session cuda("FAKECUDA_DEVICES=2");
  CUcontext second = nullptr;
  OK(cuda.cuDevicePrimaryCtxRetain(&second, 1));
  const CUdeviceptr here = cuda.allocate(400);
  OK(cuda.cuMemsetD32_v2(here, 7, 100));
  OK(cuda.cuCtxSynchronize());
  OK(cuda.cuCtxPushCurrent_v2(second));
  const CUdeviceptr there = cuda.allocate(400);
  int ordinal = -1;
  OK(cuda.cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, there));
  CHECK(ordinal == 1);
  const CUstream stream = cuda.stream();
  OK(cuda.cuMemcpyPeerAsync(there, second, here, cuda.context, 400, stream));
  OK(cuda.cuStreamSynchronize(stream));
  int back[100] = {};
  OK(cuda.cuMemcpyDtoH_v2(back, there, 400));
  CHECK((back[0] == 7 && back[99] == 7));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemcpyPeer(there, cuda.context, here, cuda.context, 400));

  int can = 0;
  OK(cuda.cuDeviceCanAccessPeer(&can, 0, 1));
  CHECK(can == 1);
  OK(cuda.cuCtxEnablePeerAccess(cuda.context, 0));
  EXPECT(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, cuda.cuCtxEnablePeerAccess(cuda.context, 0));
  OK(cuda.cuCtxDisablePeerAccess(cuda.context));
  EXPECT(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, cuda.cuCtxDisablePeerAccess(cuda.context));
}

TEST_CASE("driver: an event of one device orders a stream of another") {
  const std::string schedule = GENERATE(from_range(schedules()));
  CAPTURE(schedule);
  const Session cuda("FAKECUDA_DEVICES=2 FAKECUDA_SCHEDULE=" + schedule);
  CUcontext second = nullptr;
  OK(cuda.cuDevicePrimaryCtxRetain(&second, 1));
  const CUstream first_stream = cuda.stream();
  const CUevent event = cuda.event();
  const CUdeviceptr here = cuda.allocate(4);
  OK(cuda.cuMemsetD32Async(here, 7, 1, first_stream));
  OK(cuda.cuEventRecord(event, first_stream));
  OK(cuda.cuCtxPushCurrent_v2(second));
  const CUdeviceptr there = cuda.allocate(4);
  const CUstream second_stream = cuda.stream();
  OK(cuda.cuStreamWaitEvent(second_stream, event, 0));
  OK(cuda.cuMemcpyPeerAsync(there, second, here, cuda.context, 4, second_stream));
  int back = 0;
  OK(cuda.cuMemcpyDtoHAsync_v2(&back, there, 4, second_stream));
  CHECK(back == 7);
}

TEST_CASE("driver: several threads can use one context") {
  const Session cuda("FAKECUDA_SCHEDULE=random:5");
  std::vector<std::thread> threads;
  std::vector<int> sums(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      cuda.cuCtxSetCurrent(cuda.context);
      CUstream stream = nullptr;
      cuda.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
      for (int i = 0; i < 50; ++i) {
        CUdeviceptr at = 0;
        int back = 0;
        cuda.cuMemAllocAsync(&at, 4, stream);
        cuda.cuMemsetD32Async(at, static_cast<unsigned>(t * 100 + i), 1, stream);
        cuda.cuMemcpyDtoHAsync_v2(&back, at, 4, stream);
        cuda.cuMemFreeAsync(at, stream);
        sums[static_cast<size_t>(t)] += back;
      }
      cuda.cuStreamSynchronize(stream);
      cuda.cuStreamDestroy_v2(stream);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < 4; ++t) CHECK(sums[static_cast<size_t>(t)] == 50 * 100 * t + 49 * 50 / 2);
  CHECK(cuda.violations().empty());
  CHECK(cuda.counters().live_allocations == 0);
}
