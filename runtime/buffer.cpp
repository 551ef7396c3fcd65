#include "runtime/buffer.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>

#include "cermet/error.h"
#include "cermet/shape.h"

#if defined(__SANITIZE_ADDRESS__)
#define CERMET_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CERMET_ASAN 1
#endif
#endif
#ifdef CERMET_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace cermet::runtime {

// Where the bytes of a block come from, and so how they go back.
enum class Source : uint8_t { Heap, Mapped, Guarded, Borrowed };

struct Block {
  std::atomic<int64_t> references{1};
  std::byte* data = nullptr;
  size_t bytes = 0;     // asked for
  size_t capacity = 0;  // usable from `data` on
  Source source = Source::Heap;
  int size_class = 0;
  void* mapping = nullptr;  // Mapped, Guarded: what to unmap
  size_t mapping_bytes = 0;
  std::shared_ptr<AllocatorCore> core;  // set while the block is live, empty while it is cached
  std::function<void()> deleter;        // Borrowed
  // While cached: neighbours among the free blocks of the class, and in the order of freeing.
  Block *class_next = nullptr, *class_previous = nullptr;
  Block *older = nullptr, *newer = nullptr;
};

namespace {

constexpr size_t huge_page = size_t(2) << 20;
constexpr int steps = 8;  // size classes in a doubling
constexpr int class_count = 64 * steps;

struct SizeClass {
  int index;
  size_t bytes;
};

// Sizes up to 512 round up to 64; above, to an eighth of the power of two below.
// `bytes` is at most 2^62, which the caller has checked.
SizeClass size_class_of(size_t bytes) {
  if (bytes <= 512) {
    const size_t units = std::max<size_t>(1, (bytes + 63) / 64);
    return {int(units - 1), units * 64};
  }
  const int log = std::bit_width(bytes - 1) - 1;  // 2^log < bytes <= 2^(log+1), log >= 9
  const size_t step = (size_t(1) << log) / steps;
  const size_t rounded = (bytes + step - 1) / step * step;
  return {(log - 8) * steps + int((rounded - (size_t(1) << log)) / step) - 1, rounded};
}

void poison([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#ifdef CERMET_ASAN
  ASAN_POISON_MEMORY_REGION(data, bytes);
#endif
}
void unpoison([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#ifdef CERMET_ASAN
  ASAN_UNPOISON_MEMORY_REGION(data, bytes);
#endif
}

// Pages at a multiple of 2 MB, so that the kernel can back them with huge pages at the first touch.
bool map_huge(Block& block) {
  const size_t tail = block.capacity % huge_page;
  // A tail of more than half a huge page becomes one; a shorter one stays in small pages.
  const size_t wanted = tail >= huge_page / 2 ? block.capacity - tail + huge_page : block.capacity;
  void* raw =
      mmap(nullptr, wanted + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return false;
  const auto address = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = (address + huge_page - 1) / huge_page * huge_page;
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  const size_t kept = (wanted + page - 1) / page * page;
  if (aligned != address) munmap(raw, aligned - address);
  const uintptr_t end = (address + wanted + huge_page + page - 1) / page * page;
  if (end != aligned + kept) munmap(reinterpret_cast<void*>(aligned + kept), end - aligned - kept);
  block.mapping = reinterpret_cast<void*>(aligned), block.mapping_bytes = kept;
  block.data = static_cast<std::byte*>(block.mapping);
  madvise(block.mapping, kept, MADV_HUGEPAGE);  // a wish: without it small pages do the same
  return true;
}

bool map_guarded(Block& block) {
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  const size_t body = (block.bytes + page - 1) / page * page;
  const size_t total = body + 2 * page;
  void* raw = mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return false;
  block.mapping = raw, block.mapping_bytes = total;
  std::byte* first = static_cast<std::byte*>(raw) + page;
  if (body && mprotect(first, body, PROT_READ | PROT_WRITE) != 0) {
    munmap(raw, total);
    return false;
  }
  block.data = first + body - block.bytes;
  return true;
}

void destroy(Block* block) {
  switch (block->source) {
    case Source::Heap:
      unpoison(block->data, block->capacity);
      std::free(block->data);
      break;
    case Source::Mapped: unpoison(block->data, block->capacity); [[fallthrough]];
    case Source::Guarded: munmap(block->mapping, block->mapping_bytes); break;
    case Source::Borrowed: break;
  }
  delete block;
}

size_t machine_bytes(bool with_swap) {
  struct sysinfo facts;
  if (sysinfo(&facts) != 0) return size_t(1) << 62;
  return (size_t(facts.totalram) + (with_swap ? size_t(facts.totalswap) : 0)) * facts.mem_unit;
}

}  // namespace

struct AllocatorCore {
  AllocatorOptions options;
  mutable std::mutex mutex;  // guards everything below
  std::array<Block*, class_count> free_blocks{};
  Block *oldest = nullptr, *newest = nullptr;
  AllocatorStats stats;

  ~AllocatorCore() {
    while (oldest) destroy(take(oldest));
  }

  void keep(Block* block) {
    Block*& head = free_blocks[size_t(block->size_class)];
    block->class_previous = nullptr, block->class_next = head;
    if (head) head->class_previous = block;
    head = block;
    block->newer = nullptr, block->older = newest;
    (newest ? newest->newer : oldest) = block;
    newest = block;
    stats.cached_bytes += int64_t(block->capacity);
  }

  Block* take(Block* block) {
    if (block->class_next) block->class_next->class_previous = block->class_previous;
    (block->class_previous ? block->class_previous->class_next
                           : free_blocks[size_t(block->size_class)]) = block->class_next;
    (block->older ? block->older->newer : oldest) = block->newer;
    (block->newer ? block->newer->older : newest) = block->older;
    stats.cached_bytes -= int64_t(block->capacity);
    return block;
  }

  // Unlinks cached blocks, the oldest first, until at most `limit` bytes are cached; the caller
  // destroys the returned chain (linked by class_next) outside the lock.
  Block* shed(int64_t limit) {
    Block* chain = nullptr;
    while (stats.cached_bytes > limit) {
      Block* block = take(oldest);
      block->class_next = chain, chain = block;
    }
    return chain;
  }

  void count_live(int64_t bytes) {
    stats.live_bytes += bytes;
    stats.peak_bytes = std::max(stats.peak_bytes, stats.live_bytes);
  }
};

namespace {

int64_t destroy_chain(Block* chain) {
  int64_t bytes = 0;
  while (chain) {
    Block* next = chain->class_next;
    bytes += int64_t(chain->capacity);
    destroy(chain);
    chain = next;
  }
  return bytes;
}

int64_t trim_core(AllocatorCore& core) {
  Block* chain;
  {
    std::lock_guard lock(core.mutex);
    chain = core.shed(0);
  }
  return destroy_chain(chain);
}

// A block of fresh memory, or null if the system has none.
Block* fresh_block(size_t bytes, SizeClass size, bool guarded) {
  auto block = std::make_unique<Block>();
  block->bytes = bytes, block->capacity = size.bytes, block->size_class = size.index;
  bool done;
  if (guarded) {
    block->source = Source::Guarded, block->capacity = bytes;
    done = map_guarded(*block);
  } else if (size.bytes >= huge_page) {
    block->source = Source::Mapped;
    done = map_huge(*block);
  } else {
    block->data = static_cast<std::byte*>(std::aligned_alloc(Allocator::alignment, size.bytes));
    done = block->data != nullptr;
  }
  return done ? block.release() : nullptr;
}

// The last handle is gone: back to the cache, or to the system.
void retire(Block* block) {
  if (block->source == Source::Borrowed) {
    if (block->deleter) block->deleter();
    destroy(block);
    return;
  }
  const std::shared_ptr<AllocatorCore> core = std::move(block->core);
  Block* surplus = nullptr;
  const bool cacheable = block->source != Source::Guarded;
  if (cacheable) poison(block->data, block->capacity);
  {
    std::lock_guard lock(core->mutex);
    core->stats.live_bytes -= int64_t(block->capacity);
    if (cacheable) {
      core->keep(block);
      surplus = core->shed(core->options.cache_limit);
    }
  }
  if (!cacheable) destroy(block);
  destroy_chain(surplus);
}

}  // namespace

Buffer::Buffer(const Buffer& other) noexcept : block_(other.block_) {
  if (block_) block_->references.fetch_add(1, std::memory_order_relaxed);
}

void Buffer::release() noexcept {
  if (block_ && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) retire(block_);
  block_ = nullptr;
}

Buffer Buffer::borrow(void* data, size_t bytes, std::function<void()> deleter) {
  auto block = std::make_unique<Block>();
  block->data = static_cast<std::byte*>(data);
  block->bytes = block->capacity = bytes;
  block->source = Source::Borrowed;
  block->deleter = std::move(deleter);
  return Buffer(block.release());
}

void* Buffer::data() const { return block_ ? block_->data : nullptr; }
size_t Buffer::bytes() const { return block_ ? block_->bytes : 0; }
bool Buffer::borrowed() const { return block_ && block_->source == Source::Borrowed; }
bool Buffer::unique() const {
  return block_ && block_->references.load(std::memory_order_acquire) == 1;
}

Allocator::Allocator(Options options) : core_(std::make_shared<AllocatorCore>()) {
  if (options.cache_limit < 0) options.cache_limit = int64_t(machine_bytes(false) / 4);
  if (options.live_limit < 0) options.live_limit = int64_t(machine_bytes(true));
  core_->options = options;
}

Buffer Allocator::allocate(size_t bytes) {
  AllocatorCore& core = *core_;
  const auto refuse = [&](int64_t live) {
    return DeviceError(fmt::format("allocate: no memory for {} bytes, {} bytes are in use of {}",
                                   bytes, live, core.options.live_limit));
  };
  if (bytes > size_t(1) << 62) throw refuse(stats().live_bytes);
  const SizeClass size = size_class_of(bytes);
  const int64_t counted = int64_t(core.options.guard_pages ? bytes : size.bytes);
  Block* block = nullptr;
  {
    std::lock_guard lock(core.mutex);
    // The limit is on what was asked for, not on what the size class adds.
    if (int64_t(bytes) > core.options.live_limit - core.stats.live_bytes)
      throw refuse(core.stats.live_bytes);
    if (!core.options.guard_pages && core.free_blocks[size_t(size.index)])
      block = core.take(core.free_blocks[size_t(size.index)]);
    ++(block ? core.stats.hits : core.stats.misses);
    core.count_live(counted);
  }
  if (!block) {
    try {
      block = fresh_block(bytes, size, core.options.guard_pages);
      if (!block && trim_core(core) >= 0)
        block = fresh_block(bytes, size, core.options.guard_pages);
    } catch (const std::bad_alloc&) {  // not even a Block: same answer as no memory
    }
    if (!block) {
      std::lock_guard lock(core.mutex);
      core.stats.live_bytes -= counted;
      throw refuse(core.stats.live_bytes);
    }
  }
  block->bytes = bytes;
  block->references.store(1, std::memory_order_relaxed);
  block->core = core_;
  if (block->source != Source::Guarded) {
    unpoison(block->data, bytes);
    // The rounding of the size class belongs to nobody: a read of it is reported under ASan.
    const size_t whole = (bytes + 7) / 8 * 8;
    poison(block->data + whole, block->capacity - whole);
  }
  return Buffer(block);
}

Buffer Allocator::allocate(DType dtype, std::span<const int64_t> shape) {
  const std::optional<int64_t> count = checked_numel(shape);
  if (!count || *count > std::numeric_limits<int64_t>::max() / int64_t(size_of(dtype)))
    throw DeviceError(fmt::format("allocate: {}{} has more bytes than can be counted", name(dtype),
                                  to_string(shape)));
  return allocate(size_t(*count) * size_of(dtype));
}

int64_t Allocator::trim() { return trim_core(*core_); }

void Allocator::reset_peak() {
  std::lock_guard lock(core_->mutex);
  core_->stats.peak_bytes = core_->stats.live_bytes;
}

Allocator::Stats Allocator::stats() const {
  std::lock_guard lock(core_->mutex);
  return core_->stats;
}

}  // namespace cermet::runtime
