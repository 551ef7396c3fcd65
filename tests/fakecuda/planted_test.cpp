// Programs with one mistake each, of the kind that works by luck on a real GPU. Each must show: as
// a wrong result, an error, a violation or a segmentation fault. Where a mistake is one of order,
// the same program without it is run under every schedule and must be right.

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <vector>

#include "fakecuda/harness.h"
#include "fakecuda/kernels.h"
#include "support/catch.h"

using namespace cermet::fakecuda;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr size_t count = 100, bytes = 4 * count;

// As a program's static objects, it dies after the driver, which was opened later.
struct StaticObject {
  CUresult (*call)() = nullptr;
  ~StaticObject() {
    if (call != nullptr) _exit(call() == CUDA_ERROR_DEINITIALIZED ? 42 : 1);
  }
} static_object;

// Runs a program under every schedule: with the mistake some schedule must show a wrong result and
// lazy must be among them; without it all must be right.
template <class Program>
void check_order(Program program) {
  for (const std::string& schedule : schedules()) {
    CAPTURE(schedule);
    const Session right("FAKECUDA_SCHEDULE=" + schedule);
    CHECK(program(right, false));
    CHECK(right.violations().empty());
  }
  const Session wrong("FAKECUDA_SCHEDULE=lazy");
  CHECK_FALSE(program(wrong, true));
}

bool all_are(const Session& cuda, CUdeviceptr at, unsigned value) {
  std::vector<unsigned> values(count);
  OK(cuda.cuMemcpyDtoH_v2(values.data(), at, bytes));
  return std::all_of(values.begin(), values.end(), [&](unsigned x) { return x == value; });
}

CUgraph captured(const Session& cuda, CUstream stream) {
  CUgraph graph = nullptr;
  OK(cuda.cuStreamEndCapture(stream, &graph));
  return graph;
}

CUresult end(const Session& cuda, CUstream stream) {
  CUgraph graph = nullptr;
  return cuda.cuStreamEndCapture(stream, &graph);
}

}  // namespace

// ---- Order -------------------------------------------------------------------------------------

TEST_CASE("planted: a stream that does not wait for another's event") {
  check_order([](const Session& cuda, bool mistake) {
    const CUstream producer = cuda.stream(), consumer = cuda.stream();
    const CUevent event = cuda.event();
    const CUdeviceptr a = cuda.allocate(bytes), b = cuda.allocate(bytes);
    OK(cuda.cuMemsetD32Async(a, 7, count, producer));
    OK(cuda.cuEventRecord(event, producer));
    if (!mistake) OK(cuda.cuStreamWaitEvent(consumer, event, 0));
    OK(cuda.cuMemcpyDtoDAsync_v2(b, a, bytes, consumer));
    OK(cuda.cuStreamSynchronize(consumer));
    return all_are(cuda, b, 7);
  });
}

TEST_CASE("planted: an event recorded before the work that it stands for") {
  check_order([](const Session& cuda, bool mistake) {
    const CUstream producer = cuda.stream(), consumer = cuda.stream();
    const CUevent event = cuda.event();
    const CUdeviceptr a = cuda.allocate(bytes), b = cuda.allocate(bytes);
    if (mistake) OK(cuda.cuEventRecord(event, producer));
    OK(cuda.cuMemsetD32Async(a, 7, count, producer));
    if (!mistake) OK(cuda.cuEventRecord(event, producer));
    OK(cuda.cuStreamWaitEvent(consumer, event, 0));
    OK(cuda.cuMemcpyDtoDAsync_v2(b, a, bytes, consumer));
    OK(cuda.cuStreamSynchronize(consumer));
    return all_are(cuda, b, 7);
  });
}

TEST_CASE("planted: a pinned buffer filled anew before the copy from it has run") {
  check_order([](const Session& cuda, bool mistake) {
    const CUstream stream = cuda.stream();
    auto* buffer = cuda.pinned<unsigned>(count);
    const CUdeviceptr a = cuda.allocate(bytes);
    std::fill_n(buffer, count, 7u);
    OK(cuda.cuMemcpyHtoDAsync_v2(a, buffer, bytes, stream));
    if (!mistake) OK(cuda.cuStreamSynchronize(stream));
    std::fill_n(buffer, count, 8u);
    OK(cuda.cuStreamSynchronize(stream));
    return all_are(cuda, a, 7);
  });
}

TEST_CASE("planted: a pinned buffer read before the copy into it has run") {
  check_order([](const Session& cuda, bool mistake) {
    const CUstream stream = cuda.stream();
    auto* buffer = cuda.pinned<unsigned>(count);
    const CUdeviceptr a = cuda.allocate(bytes);
    OK(cuda.cuMemsetD32Async(a, 7, count, stream));
    OK(cuda.cuMemcpyDtoHAsync_v2(buffer, a, bytes, stream));
    if (!mistake) OK(cuda.cuStreamSynchronize(stream));
    const bool right = std::all_of(buffer, buffer + count, [](unsigned x) { return x == 7; });
    OK(cuda.cuStreamSynchronize(stream));
    return right;
  });
}

TEST_CASE("planted: a copy between device addresses taken to block") {
  check_order([](const Session& cuda, bool mistake) {
    const CUstream stream = cuda.stream();  // does not wait for the legacy stream
    const CUdeviceptr a = cuda.allocate(bytes), b = cuda.allocate(bytes), c = cuda.allocate(bytes);
    OK(cuda.cuMemsetD32_v2(a, 7, count));
    OK(cuda.cuMemcpyDtoD_v2(b, a, bytes));
    if (!mistake) OK(cuda.cuStreamSynchronize(nullptr));
    OK(cuda.cuMemcpyDtoDAsync_v2(c, b, bytes, stream));
    OK(cuda.cuStreamSynchronize(stream));
    return all_are(cuda, c, 7);
  });
}

TEST_CASE("planted: a graph in which an edge is missing") {
  check_order([](const Session& cuda, bool mistake) {
    const CUdeviceptr a = cuda.allocate(bytes), b = cuda.allocate(bytes);
    CUgraph graph = nullptr;
    CUgraphNode fill = nullptr, copy = nullptr;
    CUgraphExec exec = nullptr;
    OK(cuda.cuGraphCreate(&graph, 0));
    CUDA_MEMSET_NODE_PARAMS fill_parameters{a, 0, 7, 4, count, 1};
    CUDA_MEMCPY3D copy_parameters{};
    copy_parameters.srcMemoryType = copy_parameters.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy_parameters.srcDevice = a;
    copy_parameters.dstDevice = b;
    copy_parameters.WidthInBytes = bytes;
    copy_parameters.Height = copy_parameters.Depth = 1;
    OK(cuda.cuGraphAddMemsetNode(&fill, graph, nullptr, 0, &fill_parameters, cuda.context));
    OK(cuda.cuGraphAddMemcpyNode(&copy, graph, &fill, mistake ? 0 : 1, &copy_parameters,
                                 cuda.context));
    OK(cuda.cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuda.cuGraphLaunch(exec, nullptr));
    return all_are(cuda, b, 7);
  });
}

TEST_CASE("planted: a branch of a capture that is forked too early") {
  check_order([](const Session& cuda, bool mistake) {
    const CUstream main = cuda.stream(), side = cuda.stream();
    const CUevent fork = cuda.event(), join = cuda.event();
    const CUdeviceptr a = cuda.allocate(bytes), b = cuda.allocate(bytes);
    OK(cuda.cuStreamBeginCapture_v2(main, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    if (mistake) OK(cuda.cuEventRecord(fork, main));
    OK(cuda.cuMemsetD32Async(a, 7, count, main));
    if (!mistake) OK(cuda.cuEventRecord(fork, main));
    OK(cuda.cuStreamWaitEvent(side, fork, 0));
    OK(cuda.cuMemcpyDtoDAsync_v2(b, a, bytes, side));
    OK(cuda.cuEventRecord(join, side));
    OK(cuda.cuStreamWaitEvent(main, join, 0));
    CUgraphExec exec = nullptr;
    OK(cuda.cuGraphInstantiateWithFlags(&exec, captured(cuda, main), 0));
    OK(cuda.cuGraphLaunch(exec, main));
    OK(cuda.cuStreamSynchronize(main));
    return all_are(cuda, b, 7);
  });
}

// ---- Memory ------------------------------------------------------------------------------------

TEST_CASE("planted: the host follows a device pointer") {
  const Session cuda;
  const CUdeviceptr a = cuda.allocate(bytes);
  CHECK(segfaults([&] { *reinterpret_cast<volatile int*>(a) = 1; }));
  CHECK(segfaults([&] { static_cast<void>(*reinterpret_cast<volatile int*>(a)); }));
  int on_the_host = 0;
  CHECK_FALSE(segfaults([&] { *const_cast<volatile int*>(&on_the_host) = 1; }));
}

TEST_CASE("planted: the host uses pinned memory that it freed") {
  const Session cuda;
  auto* buffer = cuda.pinned<int>(count);
  OK(cuda.cuMemFreeHost(buffer));
  CHECK(segfaults([&] { *const_cast<volatile int*>(buffer) = 1; }));
}

TEST_CASE("planted: memory is freed twice") {
  const Session cuda;
  const CUdeviceptr a = cuda.allocate(bytes);
  OK(cuda.cuMemFree_v2(a));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemFree_v2(a));
  CHECK_THAT(cuda.violations(), ContainsSubstring("freed already"));

  CUdeviceptr b = 0;
  OK(cuda.cuMemAllocAsync(&b, bytes, nullptr));
  OK(cuda.cuMemFreeAsync(b, nullptr));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemFreeAsync(b, nullptr));
  CHECK(cuda.counters().violations == 2);

  auto* buffer = cuda.pinned<int>(count);
  OK(cuda.cuMemFreeHost(buffer));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemFreeHost(buffer));
  CHECK(cuda.counters().violations == 3);
}

TEST_CASE("planted: what is freed is not what was allocated") {
  const Session cuda;
  const CUdeviceptr a = cuda.allocate(bytes);
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemFree_v2(a + 256));
  CHECK_THAT(cuda.violations(), ContainsSubstring("inside of an allocation"));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemFree_v2(a + (1 << 20)));
  CHECK_THAT(cuda.violations(), ContainsSubstring("nobody allocated"));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemFreeAsync(a, nullptr));
  CHECK_THAT(cuda.violations(), ContainsSubstring("from cuMemAlloc"));
}

TEST_CASE("planted: a copy from memory that is freed") {
  const Session cuda;
  const CUdeviceptr a = cuda.allocate(bytes);
  std::vector<int> host(count);
  OK(cuda.cuMemFree_v2(a));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemcpyDtoH_v2(host.data(), a, bytes));
  CHECK_THAT(cuda.violations(), ContainsSubstring("freed memory"));
}

TEST_CASE("planted: a copy past the end of an allocation") {
  const Session cuda;
  const CUdeviceptr a = cuda.allocate(bytes);
  std::vector<int> host(count + 1);
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemcpyHtoD_v2(a, host.data(), bytes + 4));
  CHECK_THAT(cuda.violations(), ContainsSubstring("past the end"));
}

TEST_CASE("planted: the arguments of a copy are exchanged") {
  const Session cuda;
  const CUdeviceptr a = cuda.allocate(bytes);
  std::vector<int> host(count);
  const auto at = reinterpret_cast<CUdeviceptr>(host.data());
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuda.cuMemcpyHtoD_v2(at, reinterpret_cast<const void*>(a), bytes));
  CHECK_THAT(cuda.violations(), ContainsSubstring("destination is memory of the host"));
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuda.cuMemcpyDtoHAsync_v2(reinterpret_cast<void*>(a), at, bytes, nullptr));
  CHECK_THAT(cuda.violations(), ContainsSubstring("destination is memory of the device"));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemsetD8_v2(at, 0, 4));
}

TEST_CASE("planted: another stream frees memory that is still in use") {
  const auto run = [](const Session& cuda, bool mistake) {
    const CUstream user = cuda.stream(), freer = cuda.stream();
    const CUevent used = cuda.event();
    CUdeviceptr a = 0;
    OK(cuda.cuMemAllocAsync(&a, bytes, user));
    OK(cuda.cuStreamSynchronize(user));
    OK(cuda.cuMemsetD32Async(a, 7, count, user));
    OK(cuda.cuEventRecord(used, user));
    if (!mistake) OK(cuda.cuStreamWaitEvent(freer, used, 0));
    OK(cuda.cuMemFreeAsync(a, freer));
    OK(cuda.cuStreamSynchronize(freer));
    return cuda.cuStreamSynchronize(user);
  };
  for (const std::string& schedule : schedules()) {
    const Session right("FAKECUDA_SCHEDULE=" + schedule);
    OK(run(right, false));
    CHECK(right.violations().empty());
  }
  const Session wrong;
  EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, run(wrong, true));
  CHECK_THAT(wrong.violations(), ContainsSubstring("use after free"));
}

TEST_CASE("planted: another stream uses memory before it is allocated") {
  const Session cuda;
  const CUstream allocator = cuda.stream(), user = cuda.stream();
  CUdeviceptr a = 0;
  OK(cuda.cuMemAllocAsync(&a, bytes, allocator));
  OK(cuda.cuMemsetD32Async(a, 7, count, user));
  EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuda.cuStreamSynchronize(user));
  CHECK_THAT(cuda.violations(), ContainsSubstring("not yet allocated"));
}

TEST_CASE("planted: memory of a stream is freed by cuMemFree while the stream uses it") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  CUdeviceptr a = 0;
  OK(cuda.cuMemAllocAsync(&a, bytes, stream));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemFree_v2(a));
  CHECK_THAT(cuda.violations(), ContainsSubstring("nobody has waited for its allocation"));
  OK(cuda.cuStreamSynchronize(stream));
  OK(cuda.cuMemsetD32Async(a, 7, count, stream));
  OK(cuda.cuMemFree_v2(a));
  EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuda.cuStreamSynchronize(stream));
}

TEST_CASE("planted: a pinned buffer is freed before the copy from it has run") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  auto* buffer = cuda.pinned<int>(count);
  const CUdeviceptr a = cuda.allocate(bytes);
  OK(cuda.cuMemcpyHtoDAsync_v2(a, buffer, bytes, stream));
  OK(cuda.cuMemFreeHost(buffer));
  EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuda.cuStreamSynchronize(stream));
  CHECK_THAT(cuda.violations(), ContainsSubstring("pinned host memory"));
}

TEST_CASE("planted: objects that nobody gives back") {
  const Session cuda;
  cuda.allocate(bytes);
  cuda.stream();
  cuda.pinned<int>(count);
  OK(cuda.cuDevicePrimaryCtxRelease_v2(0));
  CHECK_THAT(cuda.violations(), ContainsSubstring("1 allocations of 400 bytes") &&
                                    ContainsSubstring("1 pinned buffers") &&
                                    ContainsSubstring("1 streams"));
  const Session unchecked("FAKECUDA_CHECKS=-leaks");
  unchecked.allocate(bytes);
  OK(unchecked.cuDevicePrimaryCtxRelease_v2(0));
  CHECK(unchecked.violations().empty());
}

// ---- Launches ----------------------------------------------------------------------------------

TEST_CASE("planted: a launch with less shared memory than the kernel uses") {
  const Session cuda;
  const CUfunction reverse = cuda.function(kernels, "reverse");
  const CUdeviceptr a = cuda.allocate(256);
  OK(cuda.cuMemsetD8_v2(a, 0, 256));
  CUdeviceptr x = a, y = a;
  void* parameters[] = {&y, &x};
  OK(cuda.cuLaunchKernel(reverse, 1, 1, 1, 64, 1, 1, 252, nullptr, parameters, nullptr));
  EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuda.cuCtxSynchronize());
  CHECK_THAT(cuda.violations(), ContainsSubstring("reverse"));
}

TEST_CASE("planted: a kernel reads what nobody wrote") {
  const Session cuda;
  const CUfunction reverse = cuda.function(kernels, "reverse");
  CUdeviceptr x = cuda.allocate(256), y = cuda.allocate(256);
  void* parameters[] = {&y, &x};
  OK(cuda.cuMemsetD8_v2(x, 0, 252));
  OK(cuda.cuLaunchKernel(reverse, 1, 1, 1, 64, 1, 1, 256, nullptr, parameters, nullptr));
  EXPECT(CUDA_ERROR_LAUNCH_FAILED, cuda.cuCtxSynchronize());
  CHECK_THAT(cuda.violations(), ContainsSubstring("uninitialised"));
}

TEST_CASE("planted: a kernel is given memory that was freed, by call or by replay") {
  const bool replay = GENERATE(false, true);
  const Session cuda;
  const CUstream stream = cuda.stream();
  const CUfunction unguarded = cuda.function(kernels, "unguarded");
  CUdeviceptr y = cuda.allocate(128);
  float value = 1;
  void* parameters[] = {&y, &value};
  const auto launch = [&] {
    OK(cuda.cuLaunchKernel(unguarded, 1, 1, 1, 32, 1, 1, 0, stream, parameters, nullptr));
  };
  if (replay) {
    OK(cuda.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    launch();
    CUgraphExec exec = nullptr;
    OK(cuda.cuGraphInstantiateWithFlags(&exec, captured(cuda, stream), 0));
    OK(cuda.cuMemFree_v2(y));
    OK(cuda.cuGraphLaunch(exec, stream));
  } else {
    OK(cuda.cuMemFree_v2(y));
    launch();
  }
  EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuda.cuStreamSynchronize(stream));
  CHECK_THAT(cuda.violations(), ContainsSubstring("use after free"));
}

TEST_CASE("planted: a module is unloaded before its kernel has run") {
  const Session cuda;
  CUmodule module = nullptr;
  CUfunction unguarded = nullptr;
  OK(cuda.cuModuleLoadData(&module, kernels));
  OK(cuda.cuModuleGetFunction(&unguarded, module, "unguarded"));
  CUdeviceptr y = cuda.allocate(128);
  float value = 1;
  void* parameters[] = {&y, &value};
  OK(cuda.cuLaunchKernel(unguarded, 1, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr));
  OK(cuda.cuModuleUnload(module));
  EXPECT(CUDA_ERROR_LAUNCH_FAILED, cuda.cuCtxSynchronize());
  CHECK_THAT(cuda.violations(), ContainsSubstring("unloaded"));
}

TEST_CASE("planted: a thread without a context, a handle that is no more, a call from a callback") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  const CUevent event = cuda.event();
  CUresult result = CUDA_SUCCESS;
  std::thread([&] { result = cuda.cuStreamSynchronize(stream); }).join();
  CHECK(name_of(result) == name_of(CUDA_ERROR_INVALID_CONTEXT));
  OK(cuda.cuEventDestroy_v2(event));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuda.cuEventRecord(event, stream));
  EXPECT(CUDA_ERROR_INVALID_HANDLE,
         cuda.cuStreamSynchronize(reinterpret_cast<CUstream>(cuda.context)));
  std::pair<const Session*, CUresult> call{&cuda, CUDA_SUCCESS};
  OK(cuda.cuLaunchHostFunc(
      stream,
      [](void* data) {
        auto* pair = static_cast<std::pair<const Session*, CUresult>*>(data);
        pair->second = pair->first->cuCtxSynchronize();
      },
      &call));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(name_of(call.second) == name_of(CUDA_ERROR_NOT_PERMITTED));
}

TEST_CASE("planted: the driver is called when it has shut down with the process") {
  const Session cuda;
  const pid_t child = fork();
  if (child == 0) {
    static_object.call = cuda.cuCtxSynchronize;
    std::exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 42));
}

// ---- Capture -----------------------------------------------------------------------------------

TEST_CASE("planted: waiting or allocating during a capture spoils it") {
  const Session cuda;
  const CUstream stream = cuda.stream(), other = cuda.stream();
  const CUevent event = cuda.event();
  std::vector<int> host(count);
  const CUdeviceptr a = cuda.allocate(bytes);
  CUdeviceptr b = 0;
  const auto forbidden = [&](auto call) {
    OK(cuda.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    OK(cuda.cuMemsetD32Async(a, 7, count, stream));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, call());
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuda.cuMemsetD32Async(a, 7, count, stream));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, end(cuda, stream));
    OK(cuda.cuStreamSynchronize(stream));  // the stream works again
  };
  forbidden([&] { return cuda.cuStreamSynchronize(stream); });
  forbidden([&] { return cuda.cuStreamQuery(stream); });
  forbidden([&] { return cuda.cuStreamSynchronize(other); });
  forbidden([&] { return cuda.cuCtxSynchronize(); });
  forbidden([&] { return cuda.cuEventQuery(event); });
  forbidden([&] { return cuda.cuMemAlloc_v2(&b, bytes); });
  forbidden([&] { return cuda.cuMemFree_v2(a); });
  forbidden([&] {
    void* pinned = nullptr;
    return cuda.cuMemHostAlloc(&pinned, 16, 0);
  });
  forbidden([&] {
    CUmodule module = nullptr;
    return cuda.cuModuleLoadData(&module, kernels);
  });
}

TEST_CASE("planted: what other threads may do during a capture depends on its mode") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  const auto elsewhere = [&](CUstreamCaptureMode mode) {
    OK(cuda.cuStreamBeginCapture_v2(stream, mode));
    CUresult result = CUDA_SUCCESS;
    std::thread([&] {
      CUdeviceptr at = 0;
      cuda.cuCtxSetCurrent(cuda.context);
      result = cuda.cuMemAlloc_v2(&at, 16);
    }).join();
    static_cast<void>(end(cuda, stream));
    return result;
  };
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, elsewhere(CU_STREAM_CAPTURE_MODE_GLOBAL));
  OK(elsewhere(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  OK(elsewhere(CU_STREAM_CAPTURE_MODE_RELAXED));

  // A thread may say that it knows what it does.
  OK(cuda.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  OK(cuda.cuThreadExchangeStreamCaptureMode(&mode));
  cuda.allocate(16);
  OK(cuda.cuThreadExchangeStreamCaptureMode(&mode));
  OK(end(cuda, stream));
}

TEST_CASE("planted: streams that are captured in the wrong way") {
  const Session cuda;
  const CUstream main = cuda.stream(), side = cuda.stream(), blocking = cuda.stream(0);
  const CUevent fork = cuda.event(), early = cuda.event();
  const CUdeviceptr a = cuda.allocate(bytes);
  const auto begin = [&](CUstream stream) {
    OK(cuda.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  };
  SECTION("a branch that is not joined") {
    begin(main);
    OK(cuda.cuEventRecord(fork, main));
    OK(cuda.cuStreamWaitEvent(side, fork, 0));
    OK(cuda.cuMemsetD32Async(a, 7, count, side));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, end(cuda, main));
  }
  SECTION("an event that was recorded before the capture") {
    OK(cuda.cuEventRecord(early, side));
    begin(main);
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, cuda.cuStreamWaitEvent(main, early, 0));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, end(cuda, main));
  }
  SECTION("two captures that meet") {
    begin(main);
    begin(side);
    OK(cuda.cuEventRecord(fork, main));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_MERGE, cuda.cuStreamWaitEvent(side, fork, 0));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, end(cuda, side));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, end(cuda, main));
  }
  SECTION("a capture that ends in another stream") {
    begin(main);
    OK(cuda.cuEventRecord(fork, main));
    OK(cuda.cuStreamWaitEvent(side, fork, 0));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, end(cuda, side));
  }
  SECTION("a capture that ends in another thread") {
    begin(main);
    CUresult result = CUDA_SUCCESS;
    std::thread([&] {
      cuda.cuCtxSetCurrent(cuda.context);
      result = end(cuda, main);
    }).join();
    CHECK(name_of(result) == name_of(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD));
    OK(end(cuda, main));
  }
  SECTION("the host waits for an event of the capture") {
    begin(main);
    OK(cuda.cuEventRecord(fork, main));
    EXPECT(CUDA_ERROR_CAPTURED_EVENT, cuda.cuEventSynchronize(fork));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, end(cuda, main));
  }
  SECTION("the legacy stream while a stream that blocks is captured") {
    begin(blocking);
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, cuda.cuMemsetD32Async(a, 7, count, nullptr));
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, end(cuda, blocking));
  }
  SECTION("the legacy stream itself") {
    EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
           cuda.cuStreamBeginCapture_v2(nullptr, CU_STREAM_CAPTURE_MODE_RELAXED));
    EXPECT(CUDA_ERROR_ILLEGAL_STATE, end(cuda, main));
  }
}
