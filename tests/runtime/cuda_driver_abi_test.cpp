// Our declarations of the driver against NVIDIA's, where the toolkit's header is installed.
// Everything is compared when this compiles; what is tested at run time is that it was.
#include "runtime/cuda/driver.h"

#include "support/catch.h"

#if __has_include(<cuda.h>)
#include <cuda.h>
#endif

#ifdef CUDA_VERSION
namespace {

namespace ours = cermet::runtime::cuda;

// Our type as cuda.h spells it.
template <class T>
struct Spelled {
  using type = T;
};
template <class T>
using spelled = typename Spelled<T>::type;
template <class T>
struct Spelled<T*> {
  using type = spelled<T>*;
};
template <class R, class... A>
struct Spelled<R(A...)> {
  using type = spelled<R>(spelled<A>...);
};
#define SPELLED(Ours, theirs)  \
  template <>                  \
  struct Spelled<ours::Ours> { \
    using type = theirs;       \
  };
SPELLED(Result, CUresult)
SPELLED(DeviceAttribute, CUdevice_attribute)
SPELLED(FunctionAttribute, CUfunction_attribute)
SPELLED(PointerAttribute, CUpointer_attribute)
SPELLED(JitOption, CUjit_option)
SPELLED(CaptureStatus, CUstreamCaptureStatus)
SPELLED(CaptureMode, CUstreamCaptureMode)
SPELLED(GraphUpdate, CUgraphExecUpdateResultInfo)
#undef SPELLED

#define CERMET_CUDA_FUNCTION(name, ...) \
  static_assert(std::is_same_v<spelled<__VA_ARGS__>, decltype(cu##name)>, "cu" #name);
using ours::Address;
using ours::CaptureMode;
using ours::CaptureStatus;
using ours::DeviceAttribute;
using ours::FunctionAttribute;
using ours::GraphUpdate;
using ours::JitOption;
using ours::PointerAttribute;
using ours::Result;
#include "runtime/cuda/driver.def"

static_assert(sizeof(GraphUpdate) == sizeof(CUgraphExecUpdateResultInfo));
static_assert(offsetof(GraphUpdate, error_node) ==
              offsetof(CUgraphExecUpdateResultInfo, errorNode));
static_assert(offsetof(GraphUpdate, error_from_node) ==
              offsetof(CUgraphExecUpdateResultInfo, errorFromNode));
static_assert(ours::stream_non_blocking == CU_STREAM_NON_BLOCKING);
static_assert(ours::event_disable_timing == CU_EVENT_DISABLE_TIMING);
static_assert(ours::host_alloc_portable == CU_MEMHOSTALLOC_PORTABLE);

#define SAME(mine, theirs) static_assert(unsigned(mine) == unsigned(theirs), #mine)
SAME(Result::Success, CUDA_SUCCESS);
SAME(Result::InvalidValue, CUDA_ERROR_INVALID_VALUE);
SAME(Result::OutOfMemory, CUDA_ERROR_OUT_OF_MEMORY);
SAME(Result::NotInitialized, CUDA_ERROR_NOT_INITIALIZED);
SAME(Result::Deinitialized, CUDA_ERROR_DEINITIALIZED);
SAME(Result::NoDevice, CUDA_ERROR_NO_DEVICE);
SAME(Result::InvalidDevice, CUDA_ERROR_INVALID_DEVICE);
SAME(Result::InvalidImage, CUDA_ERROR_INVALID_IMAGE);
SAME(Result::InvalidContext, CUDA_ERROR_INVALID_CONTEXT);
SAME(Result::NoBinaryForGpu, CUDA_ERROR_NO_BINARY_FOR_GPU);
SAME(Result::EccUncorrectable, CUDA_ERROR_ECC_UNCORRECTABLE);
SAME(Result::InvalidPtx, CUDA_ERROR_INVALID_PTX);
SAME(Result::NvlinkUncorrectable, CUDA_ERROR_NVLINK_UNCORRECTABLE);
SAME(Result::UnsupportedPtxVersion, CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
SAME(Result::InvalidHandle, CUDA_ERROR_INVALID_HANDLE);
SAME(Result::NotFound, CUDA_ERROR_NOT_FOUND);
SAME(Result::NotReady, CUDA_ERROR_NOT_READY);
SAME(Result::IllegalAddress, CUDA_ERROR_ILLEGAL_ADDRESS);
SAME(Result::LaunchOutOfResources, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
SAME(Result::LaunchTimeout, CUDA_ERROR_LAUNCH_TIMEOUT);
SAME(Result::ContextIsDestroyed, CUDA_ERROR_CONTEXT_IS_DESTROYED);
SAME(Result::Assert, CUDA_ERROR_ASSERT);
SAME(Result::HardwareStackError, CUDA_ERROR_HARDWARE_STACK_ERROR);
SAME(Result::IllegalInstruction, CUDA_ERROR_ILLEGAL_INSTRUCTION);
SAME(Result::MisalignedAddress, CUDA_ERROR_MISALIGNED_ADDRESS);
SAME(Result::InvalidAddressSpace, CUDA_ERROR_INVALID_ADDRESS_SPACE);
SAME(Result::InvalidPc, CUDA_ERROR_INVALID_PC);
SAME(Result::LaunchFailed, CUDA_ERROR_LAUNCH_FAILED);
SAME(Result::StreamCaptureUnsupported, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
SAME(Result::StreamCaptureInvalidated, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
SAME(Result::GraphExecUpdateFailure, CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
SAME(DeviceAttribute::MaxThreadsPerBlock, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
SAME(DeviceAttribute::MaxGridDimX, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X);
SAME(DeviceAttribute::MaxGridDimY, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y);
SAME(DeviceAttribute::MaxGridDimZ, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z);
SAME(DeviceAttribute::MultiprocessorCount, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
SAME(DeviceAttribute::L2CacheSize, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
SAME(DeviceAttribute::ComputeCapabilityMajor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME(DeviceAttribute::ComputeCapabilityMinor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME(DeviceAttribute::MaxSharedMemoryPerMultiprocessor,
     CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
SAME(DeviceAttribute::MaxSharedMemoryPerBlockOptin,
     CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
SAME(FunctionAttribute::MaxThreadsPerBlock, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
SAME(FunctionAttribute::SharedBytes, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
SAME(FunctionAttribute::LocalBytes, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
SAME(FunctionAttribute::Registers, CU_FUNC_ATTRIBUTE_NUM_REGS);
SAME(FunctionAttribute::MaxDynamicSharedBytes, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(PointerAttribute::Context, CU_POINTER_ATTRIBUTE_CONTEXT);
SAME(PointerAttribute::MemoryType, CU_POINTER_ATTRIBUTE_MEMORY_TYPE);
SAME(PointerAttribute::DeviceOrdinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);
SAME(ours::memory_type_device, CU_MEMORYTYPE_DEVICE);
SAME(JitOption::InfoLogBuffer, CU_JIT_INFO_LOG_BUFFER);
SAME(JitOption::InfoLogBufferBytes, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES);
SAME(JitOption::ErrorLogBuffer, CU_JIT_ERROR_LOG_BUFFER);
SAME(JitOption::ErrorLogBufferBytes, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
SAME(CaptureStatus::None, CU_STREAM_CAPTURE_STATUS_NONE);
SAME(CaptureStatus::Active, CU_STREAM_CAPTURE_STATUS_ACTIVE);
SAME(CaptureStatus::Invalidated, CU_STREAM_CAPTURE_STATUS_INVALIDATED);
SAME(CaptureMode::Global, CU_STREAM_CAPTURE_MODE_GLOBAL);
SAME(CaptureMode::ThreadLocal, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
SAME(CaptureMode::Relaxed, CU_STREAM_CAPTURE_MODE_RELAXED);

}  // namespace
#endif

TEST_CASE("cuda driver: every declaration agrees with cuda.h") {
#ifdef CUDA_VERSION
  SUCCEED("compared with the header of CUDA " + std::to_string(CUDA_VERSION));
#else
  SKIP("there is no cuda.h in the include path");
#endif
}
