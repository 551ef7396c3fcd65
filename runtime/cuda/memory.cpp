#include "runtime/cuda/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "cermet/error.h"
#include "ir/check.h"

namespace cermet::runtime::cuda {

// Where the memory of a block comes from, and so how it goes back.
enum class Source : uint8_t { Driver, Stream, Borrowed };

struct MemoryBlock {
  std::shared_ptr<const Card> card;
  Address address = 0;
  size_t bytes = 0;     // asked for
  size_t capacity = 0;  // there
  Source source = Source::Driver;
  std::vector<StreamUse> uses;          // who may use it, the writer first; guarded by `mutex`
  std::mutex mutex;                     // of a live block; a free one is the allocator's alone
  std::function<void()> deleter;        // Borrowed
  std::shared_ptr<AllocatorCore> core;  // of a live block, if it has one
  std::unique_ptr<MemoryBlock> next;    // of a free block: the one that was freed before it
};

namespace {

constexpr size_t steps = 8;  // size classes in a doubling
constexpr size_t smallest_step = 512, largest_step = size_t(32) << 20;

// Multiples of an eighth of the power of two below; of at most 32 MB, as an eighth of a large block
// is too much to waste.
size_t capacity_for(size_t bytes) {
  const size_t eighth = std::bit_floor(std::max(bytes, size_t(1)) - 1) / steps;
  const size_t step = std::clamp(eighth, smallest_step, largest_step);
  return std::max(smallest_step, (bytes + step - 1) / step * step);
}

// A card's memory goes back whether its context still works or not: freeing never throws.
void free_now(const MemoryBlock& block, const Stream* stream) {
  const Card::CurrentIfPossible current(*block.card);
  if (!current) return;
  const Driver& driver = block.card->driver();
  if (stream)
    driver.MemFreeAsync(block.address, stream->handle());
  else
    driver.MemFree(block.address);
}

}  // namespace

// Free blocks, linked by `next`. Nothing is allocated to add one, as that happens in destructors.
using Chain = std::unique_ptr<MemoryBlock>;

struct AllocatorCore {
  std::shared_ptr<const Card> card;
  DeviceAllocatorOptions options;
  mutable std::mutex mutex;        // guards everything below
  std::map<size_t, Chain> cached;  // by capacity, an entry for each that was ever allocated
  DeviceAllocatorStats stats;
  bool closed = false;  // the allocator is gone, nothing will be taken from the cache again

  void count_live(size_t bytes) {
    stats.live_bytes += int64_t(bytes);
    stats.peak_bytes = std::max(stats.peak_bytes, stats.live_bytes);
  }

  void keep(std::unique_ptr<MemoryBlock> block) {
    stats.cached_bytes += int64_t(block->capacity);
    Chain& chain = cached.find(block->capacity)->second;
    block->next = std::move(chain);
    chain = std::move(block);
  }

  // A free block that no other stream may still use; else one that `stream` can be made to wait
  // for; null if there is none.
  std::unique_ptr<MemoryBlock> take(size_t capacity, const Stream& stream) {
    Chain& chain = cached[capacity];
    Chain* best = find(chain, [&](const StreamUse& use) { return use.of(stream); });
    if (!*best && chain && !stream.capturing())
      best = find(chain, [](const StreamUse& use) {
        const auto other = use.stream();
        return !other || !other->stream.capturing();
      });
    if (!*best) return nullptr;
    std::unique_ptr<MemoryBlock> block = std::move(*best);
    *best = std::move(block->next);
    stats.cached_bytes -= int64_t(capacity);
    return block;
  }

  // The link to the first block whose uses all pass, or the null link at the end.
  static Chain* find(Chain& chain, auto&& passes) {
    Chain* link = &chain;
    while (*link && !std::all_of((*link)->uses.begin(), (*link)->uses.end(), passes))
      link = &(*link)->next;
    return link;
  }

  // Blocks to be given back so that at most `limit` bytes stay cached, the largest first.
  Chain shed(int64_t limit) {
    Chain result;
    for (auto entry = cached.rbegin(); entry != cached.rend() && stats.cached_bytes > limit;)
      if (Chain& chain = entry->second; chain) {
        std::unique_ptr<MemoryBlock> block = std::move(chain);
        chain = std::move(block->next);
        stats.cached_bytes -= int64_t(block->capacity);
        block->next = std::move(result);
        result = std::move(block);
      } else {
        ++entry;
      }
    return result;
  }
};

namespace {

// One after the other: a chain that destroys itself would recurse.
int64_t give_back(Chain chain) {
  int64_t bytes = 0;
  while (chain) {
    free_now(*chain, nullptr);
    bytes += int64_t(chain->capacity);
    chain = std::move(chain->next);
  }
  return bytes;
}

int64_t trim_core(AllocatorCore& core) {
  Chain chain;
  {
    const std::lock_guard lock(core.mutex);
    chain = core.shed(0);
  }
  return give_back(std::move(chain));
}

// Frees an exact block in the order of its stream, after the other streams that used it. What
// cannot be ordered (a stream that is gone or being captured) is freed after the card's work.
void free_in_order(const MemoryBlock& block) {
  try {
    const auto first = block.uses.front().stream();
    if (first && !first->stream.capturing()) {
      for (const StreamUse& use : block.uses) use.precedes(first->stream);
      return free_now(block, &first->stream);
    }
  } catch (const DeviceError&) {
    // The context is lost, and the memory with it.
  }
  free_now(block, nullptr);
}

// The last handle is gone: back to the cache, the driver or the owner.
void retire(MemoryBlock* raw) {
  std::unique_ptr<MemoryBlock> block(raw);
  if (block->source == Source::Borrowed) {
    if (!block->deleter) return;
    try {
      for (const StreamUse& use : block->uses) use.synchronize();
    } catch (const DeviceError&) {
      // The card is lost and uses nothing any more.
    }
    return block->deleter();
  }
  const std::shared_ptr<AllocatorCore> core = std::move(block->core);
  Chain surplus;
  {
    const std::lock_guard lock(core->mutex);
    core->stats.live_bytes -= int64_t(block->capacity);
    if (block->source == Source::Driver) {
      const int64_t limit = core->closed ? 0 : core->options.cache_limit;
      core->keep(std::exchange(block, nullptr));
      if (limit >= 0) surplus = core->shed(limit);
    }
  }
  if (block) free_in_order(*block);
  give_back(std::move(surplus));
}

// Makes `stream` wait for whatever else may still use a block from the cache.
void settle(const MemoryBlock& block, const Stream& stream) {
  for (const StreamUse& use : block.uses) use.precedes(stream);
}

// Memory of the driver, or 0 if the card has none left.
Address ask_driver(const AllocatorCore& core, size_t bytes, const Stream& stream) {
  const Card& card = *core.card;
  const Card::Current current(card);
  Address address = 0;
  const Result result = core.options.exact
                            ? card.driver().MemAllocAsync(&address, bytes, stream.handle())
                            : card.driver().MemAlloc(&address, bytes);
  if (result == Result::OutOfMemory) return 0;
  card.check(result, core.options.exact ? "cuMemAllocAsync" : "cuMemAlloc");
  return address;
}

DeviceError out_of_memory(const AllocatorCore& core, size_t bytes, int64_t given_back) {
  const Card& card = *core.card;
  size_t free = 0, total = 0;
  {
    const Card::Current current(card);
    card.driver().MemGetInfo(&free, &total);
  }
  const std::lock_guard lock(core.mutex);
  return DeviceError(fmt::format(
      "cuda:{}: no memory for {} bytes on {}: {} bytes are in use by tensors, {} were kept for "
      "reuse and have been given back, {} of {} are free",
      card.index(), bytes, card.facts().name, core.stats.live_bytes, given_back, free, total));
}

}  // namespace

DeviceBuffer DeviceBuffer::borrow(std::shared_ptr<const Card> card, Address address, size_t bytes,
                                  std::function<void()> deleter) {
  auto block = std::make_unique<MemoryBlock>();
  block->card = std::move(card);
  block->address = address;
  block->bytes = block->capacity = bytes;
  block->source = Source::Borrowed;
  block->deleter = std::move(deleter);
  return DeviceBuffer(std::shared_ptr<MemoryBlock>(block.release(), retire));
}

Address DeviceBuffer::address() const { return block_ ? block_->address : 0; }
size_t DeviceBuffer::bytes() const { return block_ ? block_->bytes : 0; }
bool DeviceBuffer::borrowed() const { return block_ && block_->source == Source::Borrowed; }
const Card& DeviceBuffer::card() const {
  CERMET_CHECK(block_, "an empty buffer is on no card");
  return *block_->card;
}

namespace {

bool has(const std::vector<StreamUse>& uses, const Stream& stream) {
  return std::ranges::any_of(uses, [&](const StreamUse& use) { return use.of(stream); });
}

}  // namespace

void DeviceBuffer::used_by(const Stream& stream) const {
  CERMET_CHECK(block_, "an empty buffer is used");
  const std::lock_guard lock(block_->mutex);
  if (!has(block_->uses, stream)) block_->uses.emplace_back(stream);
}

void DeviceBuffer::read_by(const Stream& stream) const {
  CERMET_CHECK(block_, "an empty buffer is read");
  const std::lock_guard lock(block_->mutex);
  std::vector<StreamUse>& uses = block_->uses;
  if (has(uses, stream)) return;
  // The first wrote it, or came after the one that did.
  if (!uses.empty()) uses.front().precedes(stream);
  // Streams that are gone would pile up: this one stands for them from now on.
  std::erase_if(uses, [&](const StreamUse& use) {
    const bool gone = use.gone();
    if (gone) use.precedes(stream);
    return gone;
  });
  uses.emplace_back(stream);
}

void DeviceBuffer::written_by(const Stream& stream) const {
  CERMET_CHECK(block_, "an empty buffer is written");
  const std::lock_guard lock(block_->mutex);
  for (const StreamUse& use : block_->uses) use.precedes(stream);
  block_->uses.assign(1, StreamUse(stream));
}

DeviceAllocator::DeviceAllocator(std::shared_ptr<const Card> card, Options options)
    : core_(std::make_shared<AllocatorCore>()) {
  core_->card = std::move(card);
  core_->options = options;
}

DeviceAllocator::~DeviceAllocator() {
  {
    const std::lock_guard lock(core_->mutex);
    core_->closed = true;
  }
  trim_core(*core_);
}

DeviceBuffer DeviceAllocator::allocate(size_t bytes, const Stream& stream) {
  AllocatorCore& core = *core_;
  if (bytes > size_t(1) << 62) throw out_of_memory(core, bytes, 0);
  const size_t capacity = core.options.exact ? std::max<size_t>(bytes, 1) : capacity_for(bytes);
  std::unique_ptr<MemoryBlock> block;
  {
    const std::lock_guard lock(core.mutex);
    block = core.take(capacity, stream);
    ++(block ? core.stats.hits : core.stats.misses);
  }
  if (block) {
    settle(*block, stream);
    block->uses.clear();
  } else {
    CERMET_CHECK(!stream.capturing(), "{} bytes are allocated while a graph is captured", bytes);
    Address address = ask_driver(core, capacity, stream);
    if (!address) {
      const int64_t given_back = trim_core(core);
      core.card->synchronize();
      address = ask_driver(core, capacity, stream);
      if (!address) throw out_of_memory(core, bytes, given_back);
    }
    block = std::make_unique<MemoryBlock>();
    block->card = core.card, block->address = address, block->capacity = capacity;
    block->source = core.options.exact ? Source::Stream : Source::Driver;
  }
  block->bytes = bytes;
  block->uses.emplace_back(stream);
  block->core = core_;
  {
    const std::lock_guard lock(core.mutex);
    core.count_live(capacity);
  }
  return DeviceBuffer(std::shared_ptr<MemoryBlock>(block.release(), retire));
}

int64_t DeviceAllocator::trim() { return trim_core(*core_); }

void DeviceAllocator::reset_peak() {
  const std::lock_guard lock(core_->mutex);
  core_->stats.peak_bytes = core_->stats.live_bytes;
}

DeviceAllocatorStats DeviceAllocator::stats() const {
  const std::lock_guard lock(core_->mutex);
  return core_->stats;
}

}  // namespace cermet::runtime::cuda
