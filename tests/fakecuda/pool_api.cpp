// Entry points about the pools of stream-ordered memory.

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

template <class Function>
CUresult with_pool(const char* name, CUmemoryPool handle, Function function) {
  return initialised(name, [&] { function(driver().pools.get(handle, CUDA_ERROR_INVALID_VALUE)); });
}

// The field that an attribute reads and, if `writable`, also sets; null for one of the int ones.
uint64_t* bytes_field(Pool& pool, CUmemPool_attribute attribute) {
  switch (attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: return &pool.release_threshold;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: return &pool.reserved;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: return &pool.reserved_high;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: return &pool.used;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH: return &pool.used_high;
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: return nullptr;
  }
  fail(CUDA_ERROR_INVALID_VALUE, "an unknown attribute of a pool");
}

int& flag_field(Pool& pool, CUmemPool_attribute attribute) {
  if (attribute == CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES) {
    return pool.reuse_follow_event_dependencies;
  }
  if (attribute == CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC) return pool.reuse_allow_opportunistic;
  return pool.reuse_allow_internal_dependencies;
}

}  // namespace

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice device) {
  return initialised("cuDeviceGetDefaultMemPool",
                     [&] { out(pool) = driver().device(device).memory.default_pool->handle; });
}

CUresult cuDeviceGetMemPool(CUmemoryPool* pool, CUdevice device) {
  return initialised("cuDeviceGetMemPool",
                     [&] { out(pool) = driver().device(device).memory.current_pool->handle; });
}

CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool handle) {
  return with_pool("cuDeviceSetMemPool", handle, [&](const std::shared_ptr<Pool>& pool) {
    DeviceMemory& memory = driver().device(device).memory;
    require(pool->memory == &memory);
    memory.current_pool = pool;
  });
}

CUresult cuMemPoolCreate(CUmemoryPool* handle, const CUmemPoolProps* properties) {
  return initialised("cuMemPoolCreate", [&] {
    require(handle != nullptr && properties != nullptr);
    require(properties->allocType == CU_MEM_ALLOCATION_TYPE_PINNED);
    require(properties->handleTypes == CU_MEM_HANDLE_TYPE_NONE, CUDA_ERROR_NOT_SUPPORTED);
    require(properties->location.type == CU_MEM_LOCATION_TYPE_DEVICE, CUDA_ERROR_NOT_SUPPORTED);
    DeviceMemory& memory = driver().device(properties->location.id).memory;
    auto pool = std::make_shared<Pool>();
    pool->memory = &memory;
    pool->max_bytes = properties->maxSize;
    pool->handle = driver().pools.add(pool);
    memory.pools.push_back(pool);
    *handle = pool->handle;
  });
}

// What was allocated from it stays alive; what it had in reserve goes back when that is freed.
CUresult cuMemPoolDestroy(CUmemoryPool handle) {
  return with_pool("cuMemPoolDestroy", handle, [&](const std::shared_ptr<Pool>& pool) {
    require(!pool->is_default);
    if (pool->memory->current_pool == pool) {
      pool->memory->current_pool = pool->memory->default_pool;
    }
    pool->release_threshold = 0;
    pool->trim_to(0);
    driver().pools.remove(handle);
  });
}

CUresult cuMemPoolTrimTo(CUmemoryPool handle, size_t keep_bytes) {
  return with_pool("cuMemPoolTrimTo", handle, [&](const std::shared_ptr<Pool>& pool) {
    forbid_unsafe_call();
    pool->trim_to(keep_bytes);
  });
}

CUresult cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void* value) {
  return with_pool("cuMemPoolSetAttribute", handle, [&](const std::shared_ptr<Pool>& pool) {
    require(value != nullptr);
    uint64_t* field = bytes_field(*pool, attribute);
    if (field == nullptr) {
      flag_field(*pool, attribute) = *static_cast<const int*>(value);
    } else if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) {
      *field = *static_cast<const uint64_t*>(value);
    } else if (attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH) {
      require(*static_cast<const uint64_t*>(value) == 0);
      pool->reserved_high = pool->reserved;
    } else {
      require(attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH);
      require(*static_cast<const uint64_t*>(value) == 0);
      pool->used_high = pool->used;
    }
  });
}

CUresult cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void* value) {
  return with_pool("cuMemPoolGetAttribute", handle, [&](const std::shared_ptr<Pool>& pool) {
    require(value != nullptr);
    if (const uint64_t* field = bytes_field(*pool, attribute)) {
      *static_cast<uint64_t*>(value) = *field;
    } else {
      *static_cast<int*>(value) = flag_field(*pool, attribute);
    }
  });
}

CUresult cuMemPoolSetAccess(CUmemoryPool handle, const CUmemAccessDesc* access, size_t count) {
  return with_pool("cuMemPoolSetAccess", handle, [&](const std::shared_ptr<Pool>& pool) {
    require(count == 0 || access != nullptr);
    for (size_t i = 0; i < count; ++i) {
      require(access[i].location.type == CU_MEM_LOCATION_TYPE_DEVICE);
      DeviceMemory& viewer = driver().device(access[i].location.id).memory;
      if (&viewer == pool->memory) continue;
      require(access[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE, CUDA_ERROR_NOT_SUPPORTED);
      pool->memory->allow(*pool, viewer);
    }
  });
}

CUresult cuMemPoolGetAccess(CUmemAccess_flags* flags, CUmemoryPool handle,
                            CUmemLocation* location) {
  return with_pool("cuMemPoolGetAccess", handle, [&](const std::shared_ptr<Pool>& pool) {
    require(location != nullptr && location->type == CU_MEM_LOCATION_TYPE_DEVICE);
    DeviceMemory& viewer = driver().device(location->id).memory;
    const bool may = &viewer == pool->memory || pool->viewers.contains(&viewer);
    out(flags) = may ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE;
  });
}

}  // namespace cermet::fakecuda
