#pragma once
// Memory for tensors, and the caching allocator it comes from.
//
// Asking the kernel for fresh memory costs a page fault for each page: a 64 MB array in 4 KB pages
// takes ten times longer to touch first than to stream through. So blocks stay with the allocator
// after they are freed, sorted into size classes (8 to a doubling, at most 12.5 % waste), and large
// ones lie on 2 MB pages. The cache is bounded; beyond the bound the block that was freed longest
// ago goes back.
//
// A Buffer is a counted handle: copies share the memory, the last one returns it. Buffers keep the
// allocator's shared part alive, so an Allocator may be destroyed before its buffers.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "cermet/dtype.h"

namespace cermet::runtime {

struct Block;          // one piece of memory and its count, in buffer.cpp
struct AllocatorCore;  // the state that an allocator shares with its buffers, in buffer.cpp

class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer& other) noexcept;
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() { release(); }

  // Memory that belongs to somebody else: read and written in place, never cached. `deleter`, if
  // there is one, runs once when the last handle goes; it must not throw.
  static Buffer borrow(void* data, size_t bytes, std::function<void()> deleter = {});

  // The first byte; never null for an allocated buffer, even one of 0 bytes.
  void* data() const;
  // As many bytes as were asked for.
  size_t bytes() const;
  bool borrowed() const;
  // True if this is the only handle: nobody else can see a write.
  bool unique() const;
  explicit operator bool() const { return block_ != nullptr; }
  friend bool operator==(const Buffer& a, const Buffer& b) { return a.block_ == b.block_; }

 private:
  friend class Allocator;
  explicit Buffer(Block* block) : block_(block) {}
  void release() noexcept;
  Block* block_ = nullptr;
};

struct AllocatorOptions {
  // Upper bound of the bytes that are kept after being freed; negative: a quarter of the machine's
  // memory.
  int64_t cache_limit = -1;
  // Upper bound of the bytes handed out at once; negative: the machine's memory and swap together.
  int64_t live_limit = -1;
  // For tests: every buffer ends right before a page that cannot be read and is unmapped when
  // freed. A buffer whose size is a multiple of 64 is still aligned to 64.
  bool guard_pages = false;
};

struct AllocatorStats {
  int64_t live_bytes = 0;    // in buffers, rounded up to their size class
  int64_t cached_bytes = 0;  // freed and kept
  int64_t peak_bytes = 0;    // the most that live_bytes was since reset_peak()
  int64_t hits = 0;          // allocations served from the cache
  int64_t misses = 0;        // allocations that asked the system
};

// Thread-safe. Movable, not copyable.
class Allocator {
 public:
  using Options = AllocatorOptions;
  using Stats = AllocatorStats;
  static constexpr size_t alignment = 64;

  explicit Allocator(Options options = {});

  // Uninitialised memory, aligned to 64 bytes. If the system refuses, trims and tries again; then
  // throws DeviceError that names the bytes.
  Buffer allocate(size_t bytes);
  // Memory for a contiguous tensor. A size that does not fit in int64 is a DeviceError as well.
  Buffer allocate(DType dtype, std::span<const int64_t> shape);

  // Gives every cached block back to the system. Returns the bytes.
  int64_t trim();
  Stats stats() const;
  // peak_bytes is what is live now.
  void reset_peak();

 private:
  std::shared_ptr<AllocatorCore> core_;
};

}  // namespace cermet::runtime
