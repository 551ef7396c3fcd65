#pragma once
// Memory of a card, and the caching allocator it comes from.
//
// Asking the driver for memory takes longer than most kernels run, and giving it back waits for the
// whole card. So blocks stay with the allocator after they are freed, in size classes: 8 to a
// doubling, 32 MB apart from 256 MB on. Freeing costs no call of the driver and does not wait: a
// block remembers the streams that may still use it, the same stream takes it again at once (what
// it is given runs after what it was given), another one is made to wait for them first.
//
// With `exact`, each buffer is a piece of its own of exactly the size that was asked for, allocated
// and freed by the driver in the order of the stream: slower, but then a checker behind the driver
// sees every access outside of it and every use after it was freed.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "runtime/cuda/stream.h"

namespace cermet::runtime::cuda {

struct MemoryBlock;    // in memory.cpp
struct AllocatorCore;  // what an allocator shares with its buffers, in memory.cpp

// A counted handle: copies are the same memory, the last one returns it. Keeps the card.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;

  // Memory that belongs to somebody else. `deleter`, if there is one, runs when the last handle
  // goes, which waits for the streams that use the memory; it must not throw.
  static DeviceBuffer borrow(std::shared_ptr<const Card> card, Address address, size_t bytes,
                             std::function<void()> deleter = {});

  Address address() const;
  size_t bytes() const;  // as many as were asked for
  const Card& card() const;
  bool borrowed() const;
  bool unique() const { return block_.use_count() == 1; }
  explicit operator bool() const { return block_ != nullptr; }

  // To be called before a stream, which may not be the one that it was allocated for, gets work
  // with the buffer: makes it wait for the stream that wrote it, unless it did so before.
  void read_by(const Stream& stream) const;
  // The same for work that writes to it, or that reads what somebody may have written meanwhile:
  // makes it wait for all streams that use it.
  void written_by(const Stream& stream) const;
  // Only says that the stream uses it.
  void used_by(const Stream& stream) const;

 private:
  friend class DeviceAllocator;
  explicit DeviceBuffer(std::shared_ptr<MemoryBlock> block) : block_(std::move(block)) {}
  std::shared_ptr<MemoryBlock> block_;
};

struct DeviceAllocatorOptions {
  // Upper bound of the bytes that are kept after being freed; negative: none.
  int64_t cache_limit = -1;
  bool exact = false;
};

struct DeviceAllocatorStats {
  int64_t live_bytes = 0;    // in buffers, rounded up to their size class
  int64_t cached_bytes = 0;  // freed and kept
  int64_t peak_bytes = 0;    // the most that live_bytes was since reset_peak()
  int64_t hits = 0;          // allocations served from the cache
  int64_t misses = 0;        // allocations that asked the driver
};

// Thread-safe. May be destroyed before its buffers.
class DeviceAllocator {
 public:
  using Options = DeviceAllocatorOptions;
  using Stats = DeviceAllocatorStats;
  static constexpr size_t alignment = 256;

  explicit DeviceAllocator(std::shared_ptr<const Card> card, Options options = {});
  ~DeviceAllocator();

  // Uninitialised memory, aligned to 256 bytes, for work that `stream` is given from now on. If the
  // card has none left, gives back what is cached, waits for the card and tries again; then throws
  // DeviceError that names the bytes and who has the rest. While the stream is being captured only
  // what is cached can be had, and anything else throws InternalError.
  DeviceBuffer allocate(size_t bytes, const Stream& stream);

  // Gives all that is cached back to the driver, which waits for the card. Returns the bytes.
  int64_t trim();
  Stats stats() const;
  // peak_bytes is what is live now.
  void reset_peak();

 private:
  std::shared_ptr<AllocatorCore> core_;
};

}  // namespace cermet::runtime::cuda
