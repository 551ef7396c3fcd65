#pragma once
// The memory of one device, and the host memory that is pinned.
//
// Device addresses lie in a range that is reserved and never accessible: a host that follows a
// device pointer dies of it at once. The bytes live elsewhere, and ptxsim knows where. An address
// is not used twice while there are others, so a use after free is recognised as one.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "fakecuda/abi.h"
#include "ptxsim/ptxsim.h"

namespace cermet::fakecuda {

class DeviceMemory;

// Memory that cuMemFreeAsync gave back and that stays reserved for the next cuMemAllocAsync.
struct Pool {
  DeviceMemory* memory = nullptr;
  CUmemoryPool handle = nullptr;
  bool is_default = false;
  uint64_t max_bytes = 0;          // 0: no limit of its own
  uint64_t release_threshold = 0;  // what the host's waits leave reserved
  uint64_t used = 0, used_high = 0, reserved = 0, reserved_high = 0;
  int reuse_follow_event_dependencies = 1;
  int reuse_allow_opportunistic = 1;
  int reuse_allow_internal_dependencies = 1;
  std::set<DeviceMemory*> viewers;  // devices that may access its memory, beside its own

  void trim_to(uint64_t keep);
};

enum class Origin { Call, Stream, Graph, Module };  // who allocated
enum class Life { Pending, Live, Freed };           // Pending: the allocation is work not yet done

struct FreeDeleter {
  void operator()(std::byte* bytes) const;
};

struct Allocation {
  CUdeviceptr address = 0;
  uint64_t bytes = 0;
  Origin origin = Origin::Call;
  Life life = Life::Pending;
  bool free_queued = false;  // its free is work not yet done
  CUcontext context = nullptr;
  std::shared_ptr<Pool> pool;  // null unless origin is Stream
  std::unique_ptr<std::byte, FreeDeleter> host;
};

class DeviceMemory {
 public:
  DeviceMemory(int ordinal, uint64_t capacity, bool poison);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  int ordinal() const { return ordinal_; }
  uint64_t capacity() const { return capacity_; }
  uint64_t free_bytes() const;

  // An address for `bytes` bytes, not yet usable. Failure 2 if they do not fit.
  Allocation& reserve(uint64_t bytes, Origin origin, CUcontext context,
                      std::shared_ptr<Pool> pool = nullptr);
  // The allocation can be used from now on; it holds poison.
  void begin(Allocation& allocation);
  // It cannot any more.
  void end(Allocation& allocation);
  // Back to Pending, for memory of a graph that may be launched again.
  void suspend(Allocation& allocation);
  // Its bytes no longer count as used; for an allocation that never began, too.
  void give_up(Allocation& allocation);

  // The allocation, of whatever life, that holds the address; null if there is none.
  Allocation* find(CUdeviceptr address);
  bool owns(uint64_t address) const;  // whether the address lies in this device's range

  // Bytes of a live range; null if it is not inside one live allocation.
  std::byte* host(CUdeviceptr address, uint64_t bytes) const;
  void mark_initialised(CUdeviceptr address, uint64_t bytes);
  void copy_initialised(CUdeviceptr to, const DeviceMemory& source, CUdeviceptr from,
                        uint64_t bytes);

  // Kernels on `viewer` may access what is allocated here by calls, from now on or no longer.
  void allow(DeviceMemory& viewer);
  void deny(DeviceMemory& viewer);
  bool allows(const DeviceMemory& viewer) const;
  // The same for the memory of one pool.
  void allow(Pool& pool, DeviceMemory& viewer);

  template <class Function>
  void each_live(Function function) {
    for (auto& [address, allocation] : allocations_) {
      if (allocation.life != Life::Freed) function(allocation);
    }
  }

  ptxsim::Memory simulated;  // what kernels on this device can access
  std::shared_ptr<Pool> default_pool, current_pool;
  std::vector<std::shared_ptr<Pool>> pools;

 private:
  uint64_t place(uint64_t bytes);
  const std::set<DeviceMemory*>& viewers_of(const Allocation& allocation) const;
  void show(const Allocation& allocation, DeviceMemory& viewer);

  int ordinal_;
  uint64_t capacity_;
  bool poison_;
  uint64_t begin_ = 0, next_ = 0, end_ = 0;  // the reserved addresses
  uint64_t used_ = 0;                        // outside of pools
  std::map<CUdeviceptr, Allocation> allocations_;
  std::set<DeviceMemory*> viewers_;
};

// ---- Pinned host memory ------------------------------------------------------------------------

struct Pinned {
  std::byte* pointer = nullptr;
  uint64_t bytes = 0;
  unsigned flags = 0;
  bool registered = false;  // the caller's own memory
  bool freed = false;
  CUcontext context = nullptr;
};

// Freed pinned memory becomes inaccessible and stays where it is, so that whoever still uses it is
// found out.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  Pinned& allocate(uint64_t bytes, unsigned flags, bool poison);
  Pinned& register_range(void* pointer, uint64_t bytes, unsigned flags);
  void release(Pinned& pinned);

  // The pinned range that holds [address, address + bytes) whole or, with `partly`, touches it.
  Pinned* find(uint64_t address, uint64_t bytes, bool partly = false);
  uint64_t live() const;

  template <class Function>
  void each_live(Function function) {
    for (auto& [address, pinned] : ranges_) {
      if (!pinned.freed) function(pinned);
    }
  }

 private:
  std::map<uint64_t, Pinned> ranges_;
};

}  // namespace cermet::fakecuda
