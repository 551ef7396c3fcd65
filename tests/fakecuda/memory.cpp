// Addresses go up through a reserved range of 256 GiB a device, a gap after each allocation; when
// the range is used up, the search starts again from its beginning. Each allocation's bytes are a
// block of the host's heap, so that a sanitizer guards them too.

#include "fakecuda/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "fakecuda/failure.h"

namespace cermet::fakecuda {
namespace {

constexpr uint64_t address_space = uint64_t{256} << 30;
constexpr uint64_t alignment = 512;  // of every allocation; the real driver's is at least 256
constexpr uint64_t gap = 4096;       // between allocations, so that going past one is always seen
constexpr int poison_byte = 0xff;

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

uint64_t page_bytes() {
  static const auto bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

void FreeDeleter::operator()(std::byte* bytes) const { std::free(bytes); }

void Pool::trim_to(uint64_t keep) { reserved = std::min(reserved, std::max(used, keep)); }

// ---- Device memory -----------------------------------------------------------------------------

DeviceMemory::DeviceMemory(int ordinal, uint64_t capacity, bool poison)
    : ordinal_(ordinal), capacity_(capacity), poison_(poison) {
  void* range =
      mmap(nullptr, address_space, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) fail(CUDA_ERROR_OPERATING_SYSTEM, "no address space to reserve");
  begin_ = next_ = reinterpret_cast<uint64_t>(range);
  end_ = begin_ + address_space;
  default_pool = std::make_shared<Pool>();
  default_pool->memory = this;
  default_pool->is_default = true;
  current_pool = default_pool;
  pools.push_back(default_pool);
}

DeviceMemory::~DeviceMemory() { munmap(reinterpret_cast<void*>(begin_), address_space); }

uint64_t DeviceMemory::free_bytes() const {
  uint64_t taken = used_;
  for (const auto& pool : pools) taken += pool->reserved;
  return capacity_ - std::min(capacity_, taken);
}

uint64_t DeviceMemory::place(uint64_t bytes) {
  const uint64_t need = round_up(bytes + gap, alignment);
  for (int round = 0; round < 2; ++round, next_ = begin_) {
    // Freed allocations in the way are forgotten on the second round only: there are none on the
    // first.
    for (auto at = allocations_.lower_bound(next_); next_ + need <= end_;) {
      while (at != allocations_.end() && at->second.life == Life::Freed &&
             at->first < next_ + need) {
        at = allocations_.erase(at);
      }
      if (at == allocations_.end() || next_ + need <= at->first) {
        const uint64_t found = next_;
        next_ += need;
        return found;
      }
      next_ = at->first + round_up(at->second.bytes + gap, alignment);
      ++at;
    }
  }
  fail(CUDA_ERROR_OUT_OF_MEMORY, "the reserved address range is full");
}

Allocation& DeviceMemory::reserve(uint64_t bytes, Origin origin, CUcontext context,
                                  std::shared_ptr<Pool> pool) {
  const uint64_t charged = round_up(bytes, alignment);
  if (charged < bytes || charged > capacity_) fail(CUDA_ERROR_OUT_OF_MEMORY);
  if (pool) {
    const uint64_t grow = pool->used + charged - std::min(pool->used + charged, pool->reserved);
    const bool over = pool->max_bytes != 0 && pool->used + charged > pool->max_bytes;
    if (grow > free_bytes() || over) fail(CUDA_ERROR_OUT_OF_MEMORY);
    pool->used += charged;
    pool->reserved += grow;
    pool->used_high = std::max(pool->used_high, pool->used);
    pool->reserved_high = std::max(pool->reserved_high, pool->reserved);
  } else {
    if (charged > free_bytes()) fail(CUDA_ERROR_OUT_OF_MEMORY);
    used_ += charged;
  }
  const uint64_t address = place(bytes);
  Allocation& allocation = allocations_[address];
  allocation = Allocation{};
  allocation.address = address;
  allocation.bytes = bytes;
  allocation.origin = origin;
  allocation.context = context;
  allocation.pool = std::move(pool);
  return allocation;
}

const std::set<DeviceMemory*>& DeviceMemory::viewers_of(const Allocation& allocation) const {
  return allocation.pool ? allocation.pool->viewers : viewers_;
}

// What two devices can write is not tracked as initialised: all of it counts as such.
void DeviceMemory::show(const Allocation& allocation, DeviceMemory& viewer) {
  viewer.simulated.add(allocation.address, allocation.bytes, allocation.host.get(), "peer memory");
  viewer.simulated.mark_initialised(allocation.address, allocation.bytes);
  simulated.mark_initialised(allocation.address, allocation.bytes);
}

void DeviceMemory::begin(Allocation& allocation) {
  const uint64_t bytes = round_up(allocation.bytes, alignment);
  allocation.host.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, bytes)));
  if (!allocation.host) fail(CUDA_ERROR_OUT_OF_MEMORY, "the host has no memory left");
  std::memset(allocation.host.get(), poison_ ? poison_byte : 0, bytes);
  simulated.add(allocation.address, allocation.bytes, allocation.host.get(), "device memory");
  allocation.life = Life::Live;
  for (DeviceMemory* viewer : viewers_of(allocation)) show(allocation, *viewer);
}

void DeviceMemory::suspend(Allocation& allocation) {
  if (allocation.life != Life::Live) return;
  simulated.release(allocation.address);
  for (DeviceMemory* viewer : viewers_of(allocation)) {
    viewer->simulated.release(allocation.address);
  }
  allocation.host.reset();
  allocation.life = Life::Pending;
}

void DeviceMemory::give_up(Allocation& allocation) {
  const uint64_t charged = round_up(allocation.bytes, alignment);
  (allocation.pool ? allocation.pool->used : used_) -= charged;
  allocation.life = Life::Freed;
}

void DeviceMemory::end(Allocation& allocation) {
  suspend(allocation);
  give_up(allocation);
}

Allocation* DeviceMemory::find(CUdeviceptr address) {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return nullptr;
  Allocation& candidate = std::prev(after)->second;
  const bool inside = address - candidate.address < std::max<uint64_t>(candidate.bytes, 1);
  return inside ? &candidate : nullptr;
}

bool DeviceMemory::owns(uint64_t address) const { return address >= begin_ && address < end_; }

std::byte* DeviceMemory::host(CUdeviceptr address, uint64_t bytes) const {
  return static_cast<std::byte*>(simulated.host(address, bytes));
}

void DeviceMemory::mark_initialised(CUdeviceptr address, uint64_t bytes) {
  simulated.mark_initialised(address, bytes);
}

// Between devices only whole runs can be asked about, so a run that is initialised in part is
// halved.
void DeviceMemory::copy_initialised(CUdeviceptr to, const DeviceMemory& source, CUdeviceptr from,
                                    uint64_t bytes) {
  if (this == &source) return simulated.copy_initialised(to, from, bytes);
  if (source.simulated.initialised(from, bytes)) return simulated.mark_initialised(to, bytes);
  if (bytes <= 1) return;
  const uint64_t half = bytes / 2;
  copy_initialised(to, source, from, half);
  copy_initialised(to + half, source, from + half, bytes - half);
}

void DeviceMemory::allow(DeviceMemory& viewer) {
  viewers_.insert(&viewer);
  for (auto& [address, allocation] : allocations_) {
    if (allocation.life == Life::Live && !allocation.pool) show(allocation, viewer);
  }
}

void DeviceMemory::deny(DeviceMemory& viewer) {
  viewers_.erase(&viewer);
  for (auto& [address, allocation] : allocations_) {
    if (allocation.life == Life::Live && !allocation.pool) viewer.simulated.release(address);
  }
}

bool DeviceMemory::allows(const DeviceMemory& viewer) const {
  return viewers_.contains(const_cast<DeviceMemory*>(&viewer));
}

void DeviceMemory::allow(Pool& pool, DeviceMemory& viewer) {
  if (!pool.viewers.insert(&viewer).second) return;
  for (auto& [address, allocation] : allocations_) {
    if (allocation.life == Life::Live && allocation.pool.get() == &pool) show(allocation, viewer);
  }
}

// ---- Pinned host memory ------------------------------------------------------------------------

PinnedMemory::~PinnedMemory() {
  for (auto& [address, pinned] : ranges_) {
    if (!pinned.registered) munmap(pinned.pointer, round_up(pinned.bytes, page_bytes()));
  }
}

Pinned& PinnedMemory::allocate(uint64_t bytes, unsigned flags, bool poison) {
  const uint64_t mapped = round_up(bytes, page_bytes());
  void* pointer = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pointer == MAP_FAILED) fail(CUDA_ERROR_OUT_OF_MEMORY);
  if (poison) std::memset(pointer, poison_byte, bytes);
  Pinned& pinned = ranges_[reinterpret_cast<uint64_t>(pointer)];
  pinned = {.pointer = static_cast<std::byte*>(pointer), .bytes = bytes, .flags = flags};
  return pinned;
}

Pinned& PinnedMemory::register_range(void* pointer, uint64_t bytes, unsigned flags) {
  const auto address = reinterpret_cast<uint64_t>(pointer);
  const Pinned* other = find(address, bytes, true);
  if (other != nullptr && !other->freed) fail(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  // What was registered here before and is no more says nothing about this memory.
  for (auto at = ranges_.begin(); at != ranges_.end();) {
    const bool overlaps = at->first < address + bytes && address < at->first + at->second.bytes;
    at = overlaps && at->second.registered ? ranges_.erase(at) : std::next(at);
  }
  Pinned& pinned = ranges_[address];
  pinned = {.pointer = static_cast<std::byte*>(pointer),
            .bytes = bytes,
            .flags = flags,
            .registered = true};
  return pinned;
}

void PinnedMemory::release(Pinned& pinned) {
  if (pinned.registered) {
    ranges_.erase(reinterpret_cast<uint64_t>(pinned.pointer));
    return;
  }
  pinned.freed = true;
  const uint64_t mapped = round_up(pinned.bytes, page_bytes());
  madvise(pinned.pointer, mapped, MADV_DONTNEED);
  mprotect(pinned.pointer, mapped, PROT_NONE);
}

Pinned* PinnedMemory::find(uint64_t address, uint64_t bytes, bool partly) {
  auto after = ranges_.upper_bound(partly ? address + std::max<uint64_t>(bytes, 1) - 1 : address);
  if (after == ranges_.begin()) return nullptr;
  auto& [start, pinned] = *std::prev(after);
  const uint64_t end = start + std::max<uint64_t>(pinned.bytes, 1);
  const bool found = partly ? address < end : address + bytes <= end && address < end;
  return found ? &pinned : nullptr;
}

uint64_t PinnedMemory::live() const {
  uint64_t count = 0;
  for (const auto& [address, pinned] : ranges_) count += !pinned.freed;
  return count;
}

}  // namespace cermet::fakecuda
