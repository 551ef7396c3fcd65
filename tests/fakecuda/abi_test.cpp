// The fake driver declares the driver API itself. Where a toolkit is installed, the compiler
// compares the declarations with NVIDIA's: every constant, the size and the fields of every
// structure, and the type of every entry point in every version, up to the names of types that have
// the same shape.

#include "support/catch.h"

#if __has_include(<cudaTypedefs.h>) && __has_include(<cuda.h>)

// Before cuda.h, some of whose macros are our names.
#include "fakecuda/abi.h"

#include <cuda.h>
#include <cudaTypedefs.h>

#include <cstddef>
#include <type_traits>

namespace {

namespace fake = cermet::fakecuda;

// ---- Constants ---------------------------------------------------------------------------------

template <class A, class B>
constexpr bool same(A ours, B theirs) {
  return static_cast<unsigned long long>(ours) == static_cast<unsigned long long>(theirs);
}
#define SAME(name) static_assert(same(fake::name, ::name), #name)

#define ERROR(name, value, text) SAME(CUDA_ERROR_##name);
#include "fakecuda/errors.def"
#undef ERROR
#define ATTRIBUTE(name, number, value) SAME(CU_DEVICE_ATTRIBUTE_##name);
#include "fakecuda/attributes.def"
#undef ATTRIBUTE

SAME(CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK);
SAME(CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED);
SAME(CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED);
SAME(CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED);
SAME(CU_GET_PROC_ADDRESS_SUCCESS);
SAME(CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
SAME(CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
SAME(CU_LIMIT_STACK_SIZE);
SAME(CU_LIMIT_PRINTF_FIFO_SIZE);
SAME(CU_LIMIT_MALLOC_HEAP_SIZE);
SAME(CU_FUNC_CACHE_PREFER_NONE);
SAME(CU_MODULE_EAGER_LOADING);
SAME(CU_MODULE_LAZY_LOADING);
SAME(CU_FUNCTION_LOADING_STATE_LOADED);
SAME(CU_JIT_WALL_TIME);
SAME(CU_JIT_INFO_LOG_BUFFER);
SAME(CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES);
SAME(CU_JIT_ERROR_LOG_BUFFER);
SAME(CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
SAME(CU_JIT_POSITION_INDEPENDENT_CODE);
SAME(CU_JIT_SPLIT_COMPILE);
SAME(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
SAME(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
SAME(CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES);
SAME(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
SAME(CU_FUNC_ATTRIBUTE_NUM_REGS);
SAME(CU_FUNC_ATTRIBUTE_PTX_VERSION);
SAME(CU_FUNC_ATTRIBUTE_BINARY_VERSION);
SAME(CU_FUNC_ATTRIBUTE_CACHE_MODE_CA);
SAME(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT);
SAME(CU_MEMORYTYPE_HOST);
SAME(CU_MEMORYTYPE_DEVICE);
SAME(CU_MEMORYTYPE_ARRAY);
SAME(CU_MEMORYTYPE_UNIFIED);
SAME(CU_POINTER_ATTRIBUTE_CONTEXT);
SAME(CU_POINTER_ATTRIBUTE_MEMORY_TYPE);
SAME(CU_POINTER_ATTRIBUTE_DEVICE_POINTER);
SAME(CU_POINTER_ATTRIBUTE_HOST_POINTER);
SAME(CU_POINTER_ATTRIBUTE_BUFFER_ID);
SAME(CU_POINTER_ATTRIBUTE_IS_MANAGED);
SAME(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);
SAME(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR);
SAME(CU_POINTER_ATTRIBUTE_RANGE_SIZE);
SAME(CU_POINTER_ATTRIBUTE_MAPPED);
SAME(CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE);
SAME(CU_MEM_ALLOCATION_TYPE_PINNED);
SAME(CU_MEM_HANDLE_TYPE_NONE);
SAME(CU_MEM_LOCATION_TYPE_DEVICE);
SAME(CU_MEM_LOCATION_TYPE_HOST);
SAME(CU_MEM_ACCESS_FLAGS_PROT_NONE);
SAME(CU_MEM_ACCESS_FLAGS_PROT_READ);
SAME(CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
SAME(CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES);
SAME(CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC);
SAME(CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES);
SAME(CU_MEMPOOL_ATTR_RELEASE_THRESHOLD);
SAME(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
SAME(CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH);
SAME(CU_MEMPOOL_ATTR_USED_MEM_CURRENT);
SAME(CU_MEMPOOL_ATTR_USED_MEM_HIGH);
SAME(CU_STREAM_CAPTURE_STATUS_NONE);
SAME(CU_STREAM_CAPTURE_STATUS_ACTIVE);
SAME(CU_STREAM_CAPTURE_STATUS_INVALIDATED);
SAME(CU_STREAM_CAPTURE_MODE_GLOBAL);
SAME(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
SAME(CU_STREAM_CAPTURE_MODE_RELAXED);
SAME(CU_GRAPH_NODE_TYPE_KERNEL);
SAME(CU_GRAPH_NODE_TYPE_MEMCPY);
SAME(CU_GRAPH_NODE_TYPE_MEMSET);
SAME(CU_GRAPH_NODE_TYPE_HOST);
SAME(CU_GRAPH_NODE_TYPE_GRAPH);
SAME(CU_GRAPH_NODE_TYPE_EMPTY);
SAME(CU_GRAPH_NODE_TYPE_WAIT_EVENT);
SAME(CU_GRAPH_NODE_TYPE_EVENT_RECORD);
SAME(CU_GRAPH_NODE_TYPE_MEM_ALLOC);
SAME(CU_GRAPH_NODE_TYPE_MEM_FREE);
SAME(CU_GRAPH_EXEC_UPDATE_SUCCESS);
SAME(CU_GRAPH_EXEC_UPDATE_ERROR);
SAME(CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
SAME(CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED);
SAME(CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED);
SAME(CUDA_GRAPH_INSTANTIATE_SUCCESS);
SAME(CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE);
SAME(CU_LAUNCH_ATTRIBUTE_IGNORE);
SAME(CU_LAUNCH_ATTRIBUTE_COOPERATIVE);
SAME(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
SAME(CU_LAUNCH_ATTRIBUTE_PRIORITY);
SAME(CU_STREAM_NON_BLOCKING);
SAME(CU_EVENT_BLOCKING_SYNC);
SAME(CU_EVENT_DISABLE_TIMING);
SAME(CU_EVENT_RECORD_EXTERNAL);
SAME(CU_EVENT_WAIT_EXTERNAL);
SAME(CU_CTX_FLAGS_MASK);
SAME(CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH);
SAME(CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD);
SAME(CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY);

// These are macros, which hide our names.
constexpr unsigned memory_flags[] = {CU_MEMHOSTALLOC_PORTABLE,      CU_MEMHOSTALLOC_DEVICEMAP,
                                     CU_MEMHOSTALLOC_WRITECOMBINED, CU_MEMHOSTREGISTER_PORTABLE,
                                     CU_MEMHOSTREGISTER_DEVICEMAP,  CU_MEMHOSTREGISTER_READ_ONLY};
#undef CU_MEMHOSTALLOC_PORTABLE
#undef CU_MEMHOSTALLOC_DEVICEMAP
#undef CU_MEMHOSTALLOC_WRITECOMBINED
#undef CU_MEMHOSTREGISTER_PORTABLE
#undef CU_MEMHOSTREGISTER_DEVICEMAP
#undef CU_MEMHOSTREGISTER_READ_ONLY
static_assert(memory_flags[0] == fake::CU_MEMHOSTALLOC_PORTABLE);
static_assert(memory_flags[1] == fake::CU_MEMHOSTALLOC_DEVICEMAP);
static_assert(memory_flags[2] == fake::CU_MEMHOSTALLOC_WRITECOMBINED);
static_assert(memory_flags[3] == fake::CU_MEMHOSTREGISTER_PORTABLE);
static_assert(memory_flags[4] == fake::CU_MEMHOSTREGISTER_DEVICEMAP);
static_assert(memory_flags[5] == fake::CU_MEMHOSTREGISTER_READ_ONLY);

// ---- Structures --------------------------------------------------------------------------------

#define SAME_SIZE(ours, theirs) \
  static_assert(sizeof(fake::ours) == sizeof(theirs) && alignof(fake::ours) == alignof(theirs))
#define SAME_FIELD(ours, theirs, field) \
  static_assert(offsetof(fake::ours, field) == offsetof(theirs, field), #ours "." #field)

SAME_SIZE(CUuuid, ::CUuuid);
SAME_SIZE(CUlaunchAttribute, ::CUlaunchAttribute);
SAME_FIELD(CUlaunchAttribute, ::CUlaunchAttribute, value);
SAME_SIZE(CUlaunchConfig, ::CUlaunchConfig);
SAME_FIELD(CUlaunchConfig, ::CUlaunchConfig, hStream);
SAME_FIELD(CUlaunchConfig, ::CUlaunchConfig, numAttrs);
SAME_SIZE(CUmemLocation, ::CUmemLocation);
SAME_SIZE(CUmemAccessDesc, ::CUmemAccessDesc);
SAME_SIZE(CUmemPoolProps, ::CUmemPoolProps);
SAME_FIELD(CUmemPoolProps, ::CUmemPoolProps, location);
SAME_FIELD(CUmemPoolProps, ::CUmemPoolProps, maxSize);
SAME_SIZE(CUDA_MEMCPY2D, ::CUDA_MEMCPY2D_v2);
SAME_FIELD(CUDA_MEMCPY2D, ::CUDA_MEMCPY2D_v2, srcDevice);
SAME_FIELD(CUDA_MEMCPY2D, ::CUDA_MEMCPY2D_v2, dstHost);
SAME_FIELD(CUDA_MEMCPY2D, ::CUDA_MEMCPY2D_v2, dstPitch);
SAME_FIELD(CUDA_MEMCPY2D, ::CUDA_MEMCPY2D_v2, Height);
SAME_SIZE(CUDA_MEMCPY3D, ::CUDA_MEMCPY3D_v2);
SAME_FIELD(CUDA_MEMCPY3D, ::CUDA_MEMCPY3D_v2, srcDevice);
SAME_FIELD(CUDA_MEMCPY3D, ::CUDA_MEMCPY3D_v2, srcPitch);
SAME_FIELD(CUDA_MEMCPY3D, ::CUDA_MEMCPY3D_v2, dstHost);
SAME_FIELD(CUDA_MEMCPY3D, ::CUDA_MEMCPY3D_v2, dstHeight);
SAME_FIELD(CUDA_MEMCPY3D, ::CUDA_MEMCPY3D_v2, Depth);
SAME_SIZE(CUDA_KERNEL_NODE_PARAMS, ::CUDA_KERNEL_NODE_PARAMS_v2);
SAME_FIELD(CUDA_KERNEL_NODE_PARAMS, ::CUDA_KERNEL_NODE_PARAMS_v2, kernelParams);
SAME_FIELD(CUDA_KERNEL_NODE_PARAMS, ::CUDA_KERNEL_NODE_PARAMS_v2, ctx);
SAME_SIZE(CUDA_MEMSET_NODE_PARAMS, ::CUDA_MEMSET_NODE_PARAMS_v1);
SAME_FIELD(CUDA_MEMSET_NODE_PARAMS, ::CUDA_MEMSET_NODE_PARAMS_v1, elementSize);
SAME_FIELD(CUDA_MEMSET_NODE_PARAMS, ::CUDA_MEMSET_NODE_PARAMS_v1, height);
SAME_SIZE(CUDA_HOST_NODE_PARAMS, ::CUDA_HOST_NODE_PARAMS_v1);
SAME_SIZE(CUDA_GRAPH_INSTANTIATE_PARAMS, ::CUDA_GRAPH_INSTANTIATE_PARAMS);
SAME_FIELD(CUDA_GRAPH_INSTANTIATE_PARAMS, ::CUDA_GRAPH_INSTANTIATE_PARAMS, result_out);
SAME_SIZE(CUgraphExecUpdateResultInfo, ::CUgraphExecUpdateResultInfo_v1);
SAME_FIELD(CUgraphExecUpdateResultInfo, ::CUgraphExecUpdateResultInfo_v1, errorNode);
SAME_SIZE(CUgraphEdgeData, ::CUgraphEdgeData);

// ---- Functions ---------------------------------------------------------------------------------

// Two parameters are passed alike if both are pointers, or both are integers of one size.
template <class A, class B>
constexpr bool alike() {
  if constexpr (std::is_pointer_v<A> || std::is_pointer_v<B>) {
    return std::is_pointer_v<A> && std::is_pointer_v<B>;
  } else {
    constexpr bool integers = (std::is_integral_v<A> || std::is_enum_v<A>) &&
                              (std::is_integral_v<B> || std::is_enum_v<B>);
    return integers && sizeof(A) == sizeof(B);
  }
}
template <class A, class B>
constexpr bool same_type = false;
template <class A, class B, class... As, class... Bs>
constexpr bool same_type<A (*)(As...), B (*)(Bs...)> = [] {
  if constexpr (sizeof...(As) == sizeof...(Bs)) {
    return alike<A, B>() && (alike<As, Bs>() && ...);
  } else {
    return false;
  }
}();

}  // namespace

namespace cermet::fakecuda {
#define ENTRY(name, symbol, version, parameters) \
  static_assert(::same_type<CUresult(*) parameters, ::PFN_##name##_v##version>, #symbol);
#include "fakecuda/api.def"
#undef ENTRY
}  // namespace cermet::fakecuda

#endif

TEST_CASE("abi: what is declared is what cuda.h declares") {
#if !__has_include(<cudaTypedefs.h>)
  SKIP("no CUDA toolkit was on the include path when this was built");
#endif
}
