#pragma once
// What the caching allocators, of the host's memory and of a card's, say of themselves.

#include <cstdint>

namespace cermet::runtime {

struct AllocatorStats {
  int64_t live_bytes = 0;    // in buffers, rounded up to their size class
  int64_t cached_bytes = 0;  // freed and kept
  int64_t peak_bytes = 0;    // the most that live_bytes ever was
  int64_t hits = 0;          // allocations served from the cache
  int64_t misses = 0;        // allocations that asked the system, or the driver
};

}  // namespace cermet::runtime
