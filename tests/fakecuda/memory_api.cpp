// Entry points that allocate and free, and those that ask what an address is.

#include <fmt/format.h>

#include <algorithm>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

void count_allocation(const Allocation& allocation) {
  FakecudaCounters& counters = driver().report.counters;
  ++counters.allocations;
  counters.allocated_bytes += allocation.bytes;
  if (allocation.origin == Origin::Graph) return;  // lives and dies with each launch
  ++counters.live_allocations;
  counters.live_bytes += allocation.bytes;
  counters.peak_bytes = std::max(counters.peak_bytes, counters.live_bytes);
}

void uncount_allocation(const Allocation& allocation) {
  FakecudaCounters& counters = driver().report.counters;
  if (allocation.origin == Origin::Graph) return;
  --counters.live_allocations;
  counters.live_bytes -= allocation.bytes;
}

// What begins at the address and may be freed. Everything else is a violation.
Allocation& freeable(CUdeviceptr address, const char* call) {
  Driver& state = driver();
  Device* device = state.device_of(address);
  Allocation* allocation = device == nullptr ? nullptr : device->memory.find(address);
  const char* wrong = nullptr;
  if (allocation == nullptr) {
    wrong = "nobody allocated it";
  } else if (allocation->life == Life::Freed || allocation->free_queued) {
    wrong = "it is freed already";
  } else if (allocation->address != address) {
    wrong = "it is inside of an allocation";
  } else if (allocation->origin == Origin::Module) {
    wrong = "it is a variable of a module";
  }
  if (wrong == nullptr) return *allocation;
  state.violate(CUDA_ERROR_INVALID_VALUE, fmt::format("{} of {:#x}: {}", call, address, wrong));
}

// Memory whose free is queued counts as used. A real driver finds it; here the work is made to run.
void finish_device(const Device& device) {
  std::vector<Context*> contexts;
  driver().contexts.each([&](Context& context) {
    if (&context.device == &device) contexts.push_back(&context);
  });
  for (Context* context : contexts) finish(*context);
}

Allocation& reserve_from(const std::shared_ptr<Pool>& pool, Context& context, size_t bytes) {
  try {
    return pool->memory->reserve(bytes, Origin::Stream, context.handle, pool);
  } catch (const Failure&) {
    finish_device(*driver().devices[static_cast<size_t>(pool->memory->ordinal())]);
    require_alive(context);
    return pool->memory->reserve(bytes, Origin::Stream, context.handle, pool);
  }
}

void allocate_async(CUdeviceptr* address, size_t bytes, const std::shared_ptr<Pool>& pool,
                    Stream& stream) {
  require(address != nullptr && bytes != 0);
  Context& context = *stream.context;
  Allocation& allocation = stream.capture
                               ? pool->memory->reserve(bytes, Origin::Graph, context.handle)
                               : reserve_from(pool, context, bytes);
  count_allocation(allocation);
  *address = allocation.address;
  submit(stream, AllocateWork{allocation.address});
}

CUresult allocate_host(const char* name, void** pointer, size_t bytes, unsigned flags) {
  return in_context(name, [&](Context& context) {
    constexpr unsigned known =
        CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
    require(pointer != nullptr && bytes != 0 && (flags & ~known) == 0);
    forbid_unsafe_call();
    Driver& state = driver();
    Pinned& pinned = state.pinned.allocate(bytes, flags, state.options.checks.poison);
    pinned.context = context.handle;
    show_pinned(pinned);
    *pointer = pinned.pointer;
  });
}

Pinned& pinned_at(void* pointer, bool registered, CUresult error) {
  const auto address = reinterpret_cast<uint64_t>(pointer);
  Pinned* pinned = driver().pinned.find(address, 1);
  const bool right =
      pinned != nullptr && pinned->pointer == pointer && pinned->registered == registered;
  if (right && pinned->freed) {
    driver().violate(error, fmt::format("cuMemFreeHost of {:#x}: it is freed already", address));
  }
  require(right, error);
  return *pinned;
}

}  // namespace

CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  return in_context("cuMemGetInfo", [&](Context& context) {
    if (free != nullptr) *free = context.device.memory.free_bytes();
    if (total != nullptr) *total = context.device.memory.capacity();
  });
}

CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
  return in_context("cuMemAlloc", [&](Context& context) {
    require(address != nullptr && bytes != 0);
    forbid_unsafe_call();
    DeviceMemory& memory = context.device.memory;
    Allocation& allocation = memory.reserve(bytes, Origin::Call, context.handle);
    memory.begin(allocation);
    count_allocation(allocation);
    *address = allocation.address;
  });
}

CUresult cuMemAllocManaged(CUdeviceptr* address, size_t, unsigned) {
  return in_context("cuMemAllocManaged", [&](Context&) {
    out(address) = 0;
    fail(CUDA_ERROR_NOT_SUPPORTED);
  });
}

// Memory of cuMemAlloc is freed when the device has done all its work. Memory of cuMemAllocAsync is
// freed at once, as the documentation says: the caller vouches that nothing uses it any more.
CUresult cuMemFree_v2(CUdeviceptr address) {
  return in_context("cuMemFree", [&](Context& context) {
    if (address == 0) return;
    forbid_unsafe_call();
    Allocation& allocation = freeable(address, "cuMemFree");
    Device& device = *driver().device_of(address);
    ++driver().report.counters.frees;
    if (allocation.origin == Origin::Call) {
      finish_device(device);
      require_alive(context);
    } else if (allocation.life == Life::Pending) {
      driver().violate(
          CUDA_ERROR_INVALID_VALUE,
          fmt::format("cuMemFree of {:#x}: nobody has waited for its allocation", address));
    }
    uncount_allocation(allocation);
    if (allocation.origin == Origin::Graph) {
      device.memory.suspend(allocation);
    } else {
      device.memory.end(allocation);
    }
  });
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr* base, size_t* bytes, CUdeviceptr address) {
  return in_context("cuMemGetAddressRange", [&](Context&) {
    Device* device = driver().device_of(address);
    const Allocation* allocation = device == nullptr ? nullptr : device->memory.find(address);
    require(allocation != nullptr && allocation->life != Life::Freed, CUDA_ERROR_NOT_FOUND);
    if (base != nullptr) *base = allocation->address;
    if (bytes != nullptr) *bytes = allocation->bytes;
  });
}

CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream stream) {
  return in_context("cuMemAllocAsync", [&](Context& context) {
    Stream& target = stream_of(stream, context);
    allocate_async(address, bytes, target.context->device.memory.current_pool, target);
  });
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr* address, size_t bytes, CUmemoryPool pool,
                                 CUstream stream) {
  return in_context("cuMemAllocFromPoolAsync", [&](Context& context) {
    allocate_async(address, bytes, driver().pools.get(pool, CUDA_ERROR_INVALID_VALUE),
                   stream_of(stream, context));
  });
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  return in_context("cuMemFreeAsync", [&](Context& context) {
    Stream& target = stream_of(stream, context);
    Allocation& allocation = freeable(address, "cuMemFreeAsync");
    const bool graph = allocation.origin == Origin::Graph;
    if (allocation.origin == Origin::Call) {
      driver().violate(CUDA_ERROR_INVALID_VALUE,
                       fmt::format("cuMemFreeAsync of {:#x}: it is from cuMemAlloc", address));
    }
    require(graph || !target.capture);
    ++driver().report.counters.frees;
    allocation.free_queued = !graph;
    submit(target, FreeWork{address});
  });
}

// ---- Host memory -------------------------------------------------------------------------------

CUresult cuMemAllocHost_v2(void** pointer, size_t bytes) {
  return allocate_host("cuMemAllocHost", pointer, bytes, 0);
}

CUresult cuMemHostAlloc(void** pointer, size_t bytes, unsigned flags) {
  return allocate_host("cuMemHostAlloc", pointer, bytes, flags);
}

CUresult cuMemFreeHost(void* pointer) {
  return in_context("cuMemFreeHost", [&](Context&) {
    if (pointer == nullptr) return;
    forbid_unsafe_call();
    Pinned& pinned = pinned_at(pointer, false, CUDA_ERROR_INVALID_VALUE);
    hide_pinned(pinned);
    driver().pinned.release(pinned);
  });
}

CUresult cuMemHostRegister_v2(void* pointer, size_t bytes, unsigned flags) {
  return in_context("cuMemHostRegister", [&](Context& context) {
    constexpr unsigned known =
        CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_READ_ONLY;
    require(pointer != nullptr && bytes != 0 && (flags & ~known) == 0);
    forbid_unsafe_call();
    Pinned& pinned = driver().pinned.register_range(pointer, bytes, flags);
    pinned.context = context.handle;
    show_pinned(pinned);
  });
}

CUresult cuMemHostUnregister(void* pointer) {
  return in_context("cuMemHostUnregister", [&](Context&) {
    forbid_unsafe_call();
    Pinned& pinned = pinned_at(pointer, true, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    hide_pinned(pinned);
    driver().pinned.release(pinned);
  });
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* address, void* pointer, unsigned flags) {
  return in_context("cuMemHostGetDevicePointer", [&](Context&) {
    const auto host = reinterpret_cast<uint64_t>(pointer);
    const Pinned* pinned = driver().pinned.find(host, 1);
    require(flags == 0 && pinned != nullptr && !pinned->freed);
    out(address) = host;
  });
}

CUresult cuMemHostGetFlags(unsigned* flags, void* pointer) {
  return in_context("cuMemHostGetFlags", [&](Context&) {
    const Pinned* pinned = driver().pinned.find(reinterpret_cast<uint64_t>(pointer), 1);
    require(pinned != nullptr && !pinned->freed);
    out(flags) = pinned->flags;
  });
}

// ---- Questions about addresses -----------------------------------------------------------------

namespace {

// What is known of an address, whether it is of a device or of pinned memory.
struct Place {
  uint64_t base = 0, bytes = 0;
  bool device = false;
  int ordinal = 0;
  CUcontext context = nullptr;
  CUmemoryPool pool = nullptr;
};

Place place_of(CUdeviceptr address) {
  Driver& state = driver();
  if (Device* device = state.device_of(address)) {
    const Allocation* found = device->memory.find(address);
    require(found != nullptr && found->life != Life::Freed);
    return {found->address,  found->bytes,   true,
            device->ordinal, found->context, found->pool ? found->pool->handle : nullptr};
  }
  const Pinned* pinned = state.pinned.find(address, 1);
  require(pinned != nullptr && !pinned->freed);
  return {reinterpret_cast<uint64_t>(pinned->pointer),
          pinned->bytes,
          false,
          0,
          pinned->context,
          nullptr};
}

template <class T>
void put(void* data, T value) {
  *static_cast<T*>(data) = value;
}

void put_attribute(void* data, CUpointer_attribute attribute, CUdeviceptr address) {
  require(data != nullptr);
  const Place place = place_of(address);
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: return put(data, place.context);
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      return put(data,
                 static_cast<unsigned>(place.device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST));
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: return put(data, address);
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      require(!place.device);
      return put(data, reinterpret_cast<void*>(address));
    case CU_POINTER_ATTRIBUTE_BUFFER_ID: return put<unsigned long long>(data, place.base);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: return put(data, false);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: return put(data, place.ordinal);
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: return put<CUdeviceptr>(data, place.base);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: return put<size_t>(data, place.bytes);
    case CU_POINTER_ATTRIBUTE_MAPPED: return put(data, true);
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: return put(data, place.pool);
  }
  fail(CUDA_ERROR_INVALID_VALUE, "an unknown attribute of a pointer");
}

}  // namespace

CUresult cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr address) {
  return in_context("cuPointerGetAttribute",
                    [&](Context&) { put_attribute(data, attribute, address); });
}

CUresult cuPointerGetAttributes(unsigned count, CUpointer_attribute* attributes, void** data,
                                CUdeviceptr address) {
  return in_context("cuPointerGetAttributes", [&](Context&) {
    require(count == 0 || (attributes != nullptr && data != nullptr));
    for (unsigned i = 0; i < count; ++i) put_attribute(data[i], attributes[i], address);
  });
}

}  // namespace cermet::fakecuda
