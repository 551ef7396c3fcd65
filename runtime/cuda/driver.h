#pragma once
// The CUDA driver, opened at run time: Cermet is neither built with CUDA's headers nor linked
// against libcuda, so one build runs on machines with and without a GPU.
//
// Each function is asked for as CUDA 12.0 has it, whatever the version of the driver, because
// several names mean different functions in different versions. Handles are pointers to the same
// incomplete types that cuda.h declares, so a program that includes it can pass its own streams.

#include <cstddef>
#include <filesystem>
#include <string>
#include <type_traits>

struct CUctx_st;
struct CUstream_st;
struct CUevent_st;
struct CUmod_st;
struct CUfunc_st;
struct CUgraph_st;
struct CUgraphNode_st;
struct CUgraphExec_st;

namespace cermet::runtime::cuda {

// Memory of a device, as the driver names it.
using Address = unsigned long long;

enum class Result : unsigned {
#define CERMET_CUDA_RESULT(name, number, fatal) name = number,
#include "runtime/cuda/driver.def"
};
enum class DeviceAttribute : unsigned {
#define CERMET_CUDA_ATTRIBUTE(name, number) name = number,
#include "runtime/cuda/driver.def"
};
enum class FunctionAttribute : unsigned {
  MaxThreadsPerBlock = 0,
  SharedBytes = 1,
  LocalBytes = 3,
  Registers = 4,
  MaxDynamicSharedBytes = 8,
};
enum class PointerAttribute : unsigned { Context = 1, MemoryType = 2, DeviceOrdinal = 9 };
inline constexpr unsigned memory_type_device = 2;  // CU_MEMORYTYPE_DEVICE
enum class JitOption : unsigned {
  InfoLogBuffer = 3,
  InfoLogBufferBytes = 4,
  ErrorLogBuffer = 5,
  ErrorLogBufferBytes = 6,
};
enum class CaptureStatus : unsigned { None = 0, Active = 1, Invalidated = 2 };
enum class CaptureMode : unsigned { Global = 0, ThreadLocal = 1, Relaxed = 2 };
struct GraphUpdate {  // CUgraphExecUpdateResultInfo
  unsigned result;
  CUgraphNode_st* error_node;
  CUgraphNode_st* error_from_node;
};
inline constexpr unsigned stream_non_blocking = 1;   // CU_STREAM_NON_BLOCKING
inline constexpr unsigned event_disable_timing = 2;  // CU_EVENT_DISABLE_TIMING
inline constexpr unsigned host_alloc_portable = 1;   // CU_MEMHOSTALLOC_PORTABLE

struct Driver {
#define CERMET_CUDA_FUNCTION(name, ...) std::type_identity_t<__VA_ARGS__>* name = nullptr;
#include "runtime/cuda/driver.def"

  std::filesystem::path path;
  int version = 0;  // 13000: the newest CUDA that it supports, here 13.0
};

// The oldest driver that is accepted, as Driver::version: that of CUDA 12.0 (525).
inline constexpr int minimal_driver_version = 12000;

// The file that is opened: the one that CERMET_CUDA_DRIVER names, else libcuda.so.1 where the
// dynamic linker looks.
std::filesystem::path driver_file();

// The driver, opened and initialised by the first call, which may come from several threads at
// once. Throws DeviceError ("cuda requested, but libcuda.so.1 was not found: ..."); a later call
// tries again, but in a process that forked().
const Driver& driver();

// The same for a file of the caller's choice. It stays open until the process ends.
const Driver& open_driver(const std::filesystem::path& file);

// Whether this process was forked from one that had opened a driver: CUDA cannot be used in it, nor
// anything that was made before.
bool forked();

// "cuLaunchKernel: an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS, 700)"
std::string describe(const Driver& driver, Result result, const char* call);

// Whether nothing works in this process after that result.
bool is_fatal(Result result);

}  // namespace cermet::runtime::cuda
