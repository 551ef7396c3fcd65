// Modules and kernels: loading, launching within limits, and what a kernel does wrong.

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "compiler/cuda/nvrtc.h"
#include "fakecuda/harness.h"
#include "fakecuda/kernels.h"
#include "support/catch.h"
#include "support/cuda.h"
#include "support/paths.h"
#include "support/shell.h"

using namespace cermet::fakecuda;
using Catch::Matchers::ContainsSubstring;

namespace {

template <class... Parameters>
CUresult launch(const Fake& cuda, CUfunction function, unsigned grid, unsigned block,
                unsigned shared, CUstream stream, Parameters... parameters) {
  void* pointers[] = {&parameters..., nullptr};
  return cuda.cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, stream, pointers, nullptr);
}

std::vector<float> floats(const Session& cuda, CUdeviceptr at, size_t count) {
  std::vector<float> values(count);
  OK(cuda.cuMemcpyDtoH_v2(values.data(), at, 4 * count));
  return values;
}

CUdeviceptr numbers(const Session& cuda, size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  const CUdeviceptr at = cuda.allocate(4 * count);
  OK(cuda.cuMemcpyHtoD_v2(at, values.data(), 4 * count));
  OK(cuda.cuCtxSynchronize());
  return at;
}

}  // namespace

TEST_CASE("launch: a kernel computes what it says, under every schedule and capability") {
  const std::string schedule = GENERATE(from_range(schedules()));
  const std::string capability = GENERATE("75", "90", "120");
  CAPTURE(schedule, capability);
  const Session cuda("FAKECUDA_CC=" + capability + " FAKECUDA_SCHEDULE=" + schedule);
  const CUstream stream = cuda.stream();
  const CUfunction affine = cuda.function(kernels, "affine");
  const CUdeviceptr x = numbers(cuda, 1000), y = cuda.allocate(4000);
  OK(launch(cuda, affine, 4, 256, 0, stream, y, x, 2.0f, 1.0f, 1000));
  OK(launch(cuda, affine, 4, 256, 0, stream, y, y, 10.0f, 0.0f, 1000));
  OK(cuda.cuStreamSynchronize(stream));
  const std::vector<float> values = floats(cuda, y, 1000);
  CHECK(values[0] == 10);
  CHECK(values[999] == 10 * (2 * 999 + 1));
  CHECK(cuda.counters().launches == 2);
  CHECK(cuda.counters().global_load_bytes == 8000);
  CHECK(cuda.counters().global_load_sectors == 250);  // 4000 bytes in a row, twice
  CHECK(cuda.violations().empty());
}

TEST_CASE("launch: counters add up over launches and can be started anew") {
  const Session cuda;
  const CUfunction affine = cuda.function(kernels, "affine");
  const CUdeviceptr x = numbers(cuda, 64), y = cuda.allocate(256);
  for (int i = 0; i < 3; ++i) OK(launch(cuda, affine, 1, 64, 0, nullptr, y, x, 1.0f, 0.0f, 64));
  OK(cuda.cuCtxSynchronize());
  CHECK(cuda.counters().launches == 3);
  CHECK(cuda.counters().global_store_requests == 6);  // two warps a launch
  CHECK(cuda.instructions("st.global") == 6);
  CHECK(cuda.instructions("fma.rn.f32") == 6);
  CHECK(cuda.instructions("mma") == 0);
  CHECK(cuda.instructions("") == cuda.counters().warp_instructions);
  cuda.reset_counters();
  CHECK(cuda.counters().launches == 0);
  CHECK(cuda.counters().global_store_requests == 0);
  CHECK(cuda.instructions("st.global") == 0);
  CHECK(cuda.counters().live_allocations == 2);  // what is alive stays counted
}

TEST_CASE("launch: parameters are taken when the call is made, in either form") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  const CUfunction unguarded = cuda.function(kernels, "unguarded");
  const CUdeviceptr y = cuda.allocate(64 * 4);
  struct {
    CUdeviceptr y;
    float value;
  } packed{y, 3};
  size_t bytes = 12;
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                   CU_LAUNCH_PARAM_END};
  OK(cuda.cuLaunchKernel(unguarded, 1, 1, 1, 64, 1, 1, 0, stream, nullptr, extra));
  packed.value = 4;
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(floats(cuda, y, 64)[63] == 3);
  bytes = 16;
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuda.cuLaunchKernel(unguarded, 1, 1, 1, 64, 1, 1, 0, stream, nullptr, extra));
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuda.cuLaunchKernel(unguarded, 1, 1, 1, 64, 1, 1, 0, stream, nullptr, nullptr));
  CUlaunchConfig config{1, 1, 1, 64, 1, 1, 0, stream, nullptr, 0};
  float value = 5;
  CUdeviceptr target = y;
  void* parameters[] = {&target, &value};
  OK(cuda.cuLaunchKernelEx(&config, unguarded, parameters, nullptr));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(floats(cuda, y, 64)[0] == 5);
}

TEST_CASE("launch: a shape that device or kernel do not allow is refused") {
  const Session cuda("FAKECUDA_CC=90");
  const CUfunction unguarded = cuda.function(kernels, "unguarded");
  const CUfunction reverse = cuda.function(kernels, "reverse");
  const CUdeviceptr y = cuda.allocate(4096);
  const auto shape = [&](unsigned gx, unsigned gy, unsigned bx, unsigned by, unsigned bz) {
    CUdeviceptr at = y;
    float value = 0;
    void* parameters[] = {&at, &value};
    return cuda.cuLaunchKernel(unguarded, gx, gy, 1, bx, by, bz, 0, nullptr, parameters, nullptr);
  };
  EXPECT(CUDA_ERROR_INVALID_VALUE, shape(0, 1, 32, 1, 1));
  EXPECT(CUDA_ERROR_INVALID_VALUE, shape(1, 1, 0, 1, 1));
  EXPECT(CUDA_ERROR_INVALID_VALUE, shape(1, 65536, 32, 1, 1));
  EXPECT(CUDA_ERROR_INVALID_VALUE, shape(1, 1, 1025, 1, 1));
  EXPECT(CUDA_ERROR_INVALID_VALUE, shape(1, 1, 32, 64, 1));
  EXPECT(CUDA_ERROR_INVALID_VALUE, shape(1, 1, 1, 1, 65));
  // Launch bounds, and dynamic shared memory beyond what was asked for.
  EXPECT(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, launch(cuda, reverse, 1, 65, 260, nullptr, y, y));
  EXPECT(CUDA_ERROR_INVALID_VALUE, launch(cuda, reverse, 1, 64, 49153, nullptr, y, y));
  OK(cuda.cuFuncSetAttribute(reverse, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 227 << 10));
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuda.cuFuncSetAttribute(reverse, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                 (227 << 10) + 1));
  const CUdeviceptr x = numbers(cuda, 64);
  OK(launch(cuda, reverse, 1, 64, 227 << 10, nullptr, y, x));
  CHECK(floats(cuda, y, 64)[0] == 63);
  CHECK(cuda.violations().empty());
}

TEST_CASE("launch: functions tell their limits, and occupancy follows from them") {
  const Session cuda("FAKECUDA_CC=80");
  const CUfunction reverse = cuda.function(kernels, "reverse");
  int value = 0;
  OK(cuda.cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, reverse));
  CHECK(value == 64);
  OK(cuda.cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_BINARY_VERSION, reverse));
  CHECK(value == 80);
  OK(cuda.cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, reverse));
  CHECK(value == 0);
  // 2048 threads and 32 blocks a multiprocessor; 164 KiB, of which each block costs 1 KiB more.
  OK(cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, reverse, 64, 0));
  CHECK(value == 32);
  OK(cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, reverse, 64, 40 << 10));
  CHECK(value == 4);
  int grid = 0, block = 0;
  const CUfunction affine = cuda.function(kernels, "affine");
  OK(cuda.cuOccupancyMaxPotentialBlockSize(&grid, &block, affine, nullptr, 0, 0));
  CHECK(block == 1024);
  CHECK(grid == 2 * 108);
  size_t offset = 0, bytes = 0;
  OK(cuda.cuFuncGetParamInfo(affine, 4, &offset, &bytes));
  CHECK((offset == 24 && bytes == 4));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuFuncGetParamInfo(affine, 5, &offset, &bytes));
}

TEST_CASE("launch: a module is PTX for this device or an older one") {
  const Session cuda("FAKECUDA_CC=80");
  CUmodule module = nullptr;
  const auto load = [&](const std::string& image, std::string* log = nullptr) {
    char buffer[500] = "untouched";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void* values[] = {buffer, reinterpret_cast<void*>(sizeof buffer)};
    const CUresult result = cuda.cuModuleLoadDataEx(&module, image.c_str(), 2, options, values);
    if (log != nullptr) *log = buffer;
    return result;
  };
  std::string log;
  std::string text = kernels;
  OK(load(text, &log));
  CHECK(log.empty());
  EXPECT(CUDA_ERROR_NO_BINARY_FOR_GPU, load("\x7f"
                                            "ELF\x02\x01\x01",
                                            &log));
  EXPECT(CUDA_ERROR_INVALID_IMAGE, load("not a module"));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuModuleLoadData(&module, nullptr));

  const size_t target = text.find("sm_75");
  EXPECT(CUDA_ERROR_INVALID_PTX, load(std::string(text).replace(target, 5, "sm_90"), &log));
  CHECK_THAT(log, ContainsSubstring("sm_90") && ContainsSubstring("sm_80"));
  const size_t version = text.find("6.4");
  EXPECT(CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
         load(std::string(text).replace(version, 3, "9.99"), &log));
  // What the interpreter does not know is an error for whoever loads it, and for the test.
  CHECK(cuda.violations().empty());
  const size_t instruction = text.find("bar.sync");
  EXPECT(CUDA_ERROR_INVALID_PTX, load(std::string(text).replace(instruction, 8, "bar.sink"), &log));
  CHECK_THAT(log, ContainsSubstring("bar.sink"));
  CHECK_THAT(cuda.violations(), ContainsSubstring("bar.sink"));

  CUfunction function = nullptr;
  EXPECT(CUDA_ERROR_NOT_FOUND, cuda.cuModuleGetFunction(&function, module, "nothing"));
  OK(cuda.cuModuleUnload(module));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuda.cuModuleGetFunction(&function, module, "affine"));
}

TEST_CASE("launch: variables of a module can be read, set and used") {
  const Session cuda;
  CUmodule module = nullptr;
  CUfunction add_offset = nullptr;
  OK(cuda.cuModuleLoadData(&module, kernels));
  OK(cuda.cuModuleGetFunction(&add_offset, module, "add_offset"));
  CUdeviceptr offset = 0;
  size_t bytes = 0;
  OK(cuda.cuModuleGetGlobal_v2(&offset, &bytes, module, "offset"));
  CHECK(bytes == 4);
  int value = 0;
  OK(cuda.cuMemcpyDtoH_v2(&value, offset, 4));
  CHECK(value == 5);
  value = 7;
  OK(cuda.cuMemcpyHtoD_v2(offset, &value, 4));
  const CUdeviceptr y = cuda.allocate(128);
  OK(cuda.cuMemsetD32_v2(y, 10, 32));
  OK(launch(cuda, add_offset, 1, 32, 0, nullptr, y));
  OK(cuda.cuMemcpyDtoH_v2(&value, y + 124, 4));
  CHECK(value == 17);
  OK(cuda.cuModuleUnload(module));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuMemcpyDtoH_v2(&value, offset, 4));
}

TEST_CASE("launch: a kernel may use pinned host memory, and a peer's if that is allowed") {
  const Session cuda("FAKECUDA_DEVICES=2");
  const CUfunction affine = cuda.function(kernels, "affine");
  float* pinned = cuda.pinned<float>(64);
  for (int i = 0; i < 64; ++i) pinned[i] = static_cast<float>(i);
  CUdeviceptr mapped = 0;
  OK(cuda.cuMemHostGetDevicePointer_v2(&mapped, pinned, 0));
  const CUdeviceptr y = cuda.allocate(256);
  OK(launch(cuda, affine, 1, 64, 0, nullptr, y, mapped, 2.0f, 0.0f, 64));
  CHECK(floats(cuda, y, 64)[63] == 126);

  CUcontext second = nullptr;
  OK(cuda.cuDevicePrimaryCtxRetain(&second, 1));
  OK(cuda.cuCtxPushCurrent_v2(second));
  const CUdeviceptr there = numbers(cuda, 64);
  OK(cuda.cuCtxPopCurrent_v2(nullptr));
  OK(cuda.cuCtxEnablePeerAccess(second, 0));
  OK(launch(cuda, affine, 1, 64, 0, nullptr, y, there, 3.0f, 0.0f, 64));
  CHECK(floats(cuda, y, 64)[63] == 189);
  OK(cuda.cuCtxDisablePeerAccess(second));
  OK(launch(cuda, affine, 1, 64, 0, nullptr, y, there, 3.0f, 0.0f, 64));
  EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuda.cuCtxSynchronize());
}

TEST_CASE("launch: captured kernels are replayed, and their parameters can be changed") {
  const std::string schedule = GENERATE(from_range(schedules()));
  CAPTURE(schedule);
  const Session cuda("FAKECUDA_SCHEDULE=" + schedule);
  const CUstream stream = cuda.stream();
  const CUfunction affine = cuda.function(kernels, "affine");
  const CUdeviceptr x = numbers(cuda, 100), y = cuda.allocate(400), z = cuda.allocate(400);
  OK(cuda.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  OK(launch(cuda, affine, 1, 128, 0, stream, y, x, 2.0f, 0.0f, 100));
  OK(launch(cuda, affine, 1, 128, 0, stream, z, y, 1.0f, 1.0f, 100));
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  OK(cuda.cuStreamEndCapture(stream, &graph));
  OK(cuda.cuGraphInstantiateWithFlags(&exec, graph, 0));
  OK(cuda.cuGraphLaunch(exec, stream));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(floats(cuda, z, 100)[99] == 199);

  CUgraphNode nodes[2] = {};
  size_t count = 2;
  OK(cuda.cuGraphGetNodes(graph, nodes, &count));
  CUDA_KERNEL_NODE_PARAMS parameters{};
  OK(cuda.cuGraphKernelNodeGetParams_v2(nodes[0], &parameters));
  CHECK((parameters.func == affine && parameters.blockDimX == 128));
  float factor = 5;
  parameters.kernelParams[2] = &factor;
  OK(cuda.cuGraphExecKernelNodeSetParams_v2(exec, nodes[0], &parameters));
  OK(cuda.cuGraphLaunch(exec, stream));
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(floats(cuda, z, 100)[99] == 496);
  CHECK(cuda.counters().launches == 4);
  CHECK(cuda.violations().empty());
}

TEST_CASE("launch: what a kernel does wrong is reported, and nothing works after it") {
  struct Row {
    const char* kernel;
    unsigned block, shared;
    CUresult result;
    const char* text;
  };
  const Row row = GENERATE(
      Row{"unguarded", 65, 0, CUDA_ERROR_ILLEGAL_ADDRESS, "out of bounds"},
      Row{"odd", 1, 0, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned"},
      Row{"trap", 32, 0, CUDA_ERROR_LAUNCH_FAILED, "trap"},
      Row{"racy", 64, 256, CUDA_ERROR_LAUNCH_FAILED, "race"},
      Row{"reverse", 64, 128, CUDA_ERROR_ILLEGAL_ADDRESS, "out of bounds"},  // shared memory
      Row{"spin", 1, 0, CUDA_ERROR_LAUNCH_TIMEOUT, "instructions"});
  const std::string schedule = GENERATE("lazy", "eager", "random:3");
  CAPTURE(row.kernel, schedule);
  const Session cuda("FAKECUDA_BUDGET=100000 FAKECUDA_SCHEDULE=" + schedule);
  const CUstream stream = cuda.stream();
  const CUfunction function = cuda.function(kernels, row.kernel);
  const CUdeviceptr y = cuda.allocate(256), x = cuda.allocate(256);
  OK(cuda.cuMemsetD8_v2(x, 0, 256));
  OK(cuda.cuMemsetD8_v2(y, 0, 256));
  OK(cuda.cuCtxSynchronize());
  CUdeviceptr second = x;
  CUdeviceptr first = y;
  void* parameters[] = {&first, &second};
  // Eager learns of it in the call.
  static_cast<void>(cuda.cuLaunchKernel(function, 1, 1, 1, row.block, 1, 1, row.shared, stream,
                                        parameters, nullptr));
  EXPECT(row.result, cuda.cuStreamSynchronize(stream));
  CHECK_THAT(cuda.violations(), ContainsSubstring(row.text) && ContainsSubstring(row.kernel));
  CHECK(cuda.counters().violations >= 1);

  CUdeviceptr at = 0;
  CUstream other = nullptr;
  EXPECT(row.result, cuda.cuMemAlloc_v2(&at, 16));
  EXPECT(row.result, cuda.cuStreamCreate(&other, 0));
  EXPECT(row.result, cuda.cuCtxSynchronize());
  EXPECT(row.result, cuda.cuMemFree_v2(y));
  // A new context works.
  OK(cuda.cuDevicePrimaryCtxReset_v2(0));
  CUcontext fresh = nullptr;
  OK(cuda.cuDevicePrimaryCtxRetain(&fresh, 0));
  OK(cuda.cuCtxSetCurrent(fresh));
  OK(cuda.cuMemAlloc_v2(&at, 16));
}

TEST_CASE("launch: what NVRTC makes is loaded from PTX, and refused as machine code") {
  CERMET_NEEDS_NVRTC();
  const int capability = GENERATE(75, 80, 90, 120);
  CAPTURE(capability);
  const Session cuda("FAKECUDA_CC=" + std::to_string(capability));
  const char* source = R"cuda(
    extern "C" __global__ void sum(float* y, const float* x, int n) {
      float total = 0;
      for (int i = threadIdx.x; i < n; i += 32) total += x[i];
      for (int step = 16; step > 0; step /= 2) total += __shfl_xor_sync(~0u, total, step);
      if (threadIdx.x == 0) *y = total;
    })cuda";
  cermet::compiler::CudaOptions options;
  options.arch.number = capability;
  const cermet::compiler::CudaObject object = cermet::compiler::compile_cuda(source, options);
  CUmodule module = nullptr;
  EXPECT(CUDA_ERROR_NO_BINARY_FOR_GPU, cuda.cuModuleLoadData(&module, object.cubin.data()));
  const CUfunction sum = cuda.function(object.ptx.c_str(), "sum");
  const CUdeviceptr x = numbers(cuda, 1000), y = cuda.allocate(4);
  OK(launch(cuda, sum, 1, 32, 0, nullptr, y, x, 1000));
  CHECK(floats(cuda, y, 1)[0] == 999 * 1000 / 2);
  CHECK(cuda.violations().empty());
}

// NVRTC opens libcuda.so.1 where it finds one, and asks it for more than other programs do.
TEST_CASE("launch: NVRTC works beside the fake driver under the name of the real one") {
  CERMET_NEEDS_NVRTC();
  const cermet::test::TemporaryDirectory directory;
  std::filesystem::create_symlink(FAKECUDA_LIBRARY, directory.path() / "libcuda.so.1");
  const char* others = std::getenv("LD_LIBRARY_PATH");
  const std::string path = directory.path().string() + (others ? ":" + std::string(others) : "");
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const cermet::test::Outcome outcome = cermet::test::run_shell(
      "LD_LIBRARY_PATH=" + path + " " + program + " 'launch: what NVRTC makes*'");
  CAPTURE(outcome.output);
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.output, ContainsSubstring("All tests passed"));
}
