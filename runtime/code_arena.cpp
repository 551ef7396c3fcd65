#include "runtime/code_arena.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <utility>

#include "cermet/error.h"

namespace cermet::runtime {
namespace {

size_t page_bytes() {
  static const auto bytes = size_t(sysconf(_SC_PAGESIZE));
  return bytes;
}

size_t whole_pages(size_t bytes) {
  return (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
}

[[noreturn]] void refuse(std::string_view what, size_t bytes) {
  throw DeviceError(
      fmt::format("code arena: {} ({} bytes): {}", what, bytes, std::strerror(errno)));
}

struct Slab {
  size_t bytes;
  std::map<size_t, size_t> free;  // offset -> bytes; neighbours are merged
};

}  // namespace

struct ArenaCore {
  size_t slab_bytes;
  mutable std::mutex mutex;
  std::map<std::byte*, Slab> slabs;  // by address
  int64_t used = 0;

  ~ArenaCore() {
    for (const auto& [base, slab] : slabs) munmap(base, slab.bytes);
  }

  // Inaccessible pages of a slab. `bytes` is a whole number of pages.
  std::byte* take(size_t bytes) {
    std::lock_guard lock(mutex);
    for (auto& [base, slab] : slabs)
      for (auto range = slab.free.begin(); range != slab.free.end(); ++range)
        if (range->second >= bytes) return take_from(base, slab, range, bytes);
    const size_t size = std::max(slab_bytes, bytes);
    void* raw = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) refuse("no address space", size);
    const auto slab = slabs.emplace(static_cast<std::byte*>(raw), Slab{size, {{0, size}}}).first;
    return take_from(slab->first, slab->second, slab->second.free.begin(), bytes);
  }

  std::byte* take_from(std::byte* base, Slab& slab, std::map<size_t, size_t>::iterator range,
                       size_t bytes) {
    const auto [offset, length] = *range;
    if (length > bytes) slab.free.emplace(offset + bytes, length - bytes);
    slab.free.erase(range);
    used += int64_t(bytes);
    return base + offset;
  }

  void give_back(std::byte* address, size_t bytes) noexcept {
    std::lock_guard lock(mutex);
    // Drops the memory and makes a call through a stale pointer fault. If either fails the pages
    // stay as they are, and are made writable again by the next taker.
    madvise(address, bytes, MADV_DONTNEED);
    mprotect(address, bytes, PROT_NONE);
    used -= int64_t(bytes);
    const auto found = std::prev(slabs.upper_bound(address));
    Slab& slab = found->second;
    std::map<size_t, size_t>::iterator range;
    try {
      range = slab.free.emplace(size_t(address - found->first), bytes).first;
    } catch (const std::bad_alloc&) {
      return;  // these addresses are not used again; the memory behind them is already back
    }
    if (const auto next = std::next(range);
        next != slab.free.end() && range->first + range->second == next->first) {
      range->second += next->second;
      slab.free.erase(next);
    }
    if (range != slab.free.begin()) {
      const auto previous = std::prev(range);
      if (previous->first + previous->second == range->first) {
        previous->second += range->second;
        slab.free.erase(range);
        range = previous;
      }
    }
    // One empty slab stays, so that a kernel that comes and goes does not map and unmap.
    if (range->second == slab.bytes && (slabs.size() > 1 || slab.bytes > slab_bytes)) {
      munmap(found->first, slab.bytes);
      slabs.erase(found);
    }
  }
};

Code::Code(std::shared_ptr<ArenaCore> core, std::byte* base, size_t bytes,
           std::vector<CodeBlob::Entry> entries)
    : core_(std::move(core)), base_(base), bytes_(bytes), entries_(std::move(entries)) {}

Code::~Code() { core_->give_back(base_, bytes_); }

void* Code::find(std::string_view name) const {
  for (const CodeBlob::Entry& entry : entries_)
    if (entry.name == name) return base_ + entry.offset;
  return nullptr;
}

void* Code::entry(std::string_view name) const {
  if (void* address = find(name)) return address;
  throw InternalError(fmt::format("code arena: no function {} among {}", name, entries_.size()));
}

CodeArena::CodeArena(size_t slab_bytes) : core_(std::make_shared<ArenaCore>()) {
  core_->slab_bytes = whole_pages(std::max<size_t>(1, slab_bytes));
}

std::shared_ptr<const Code> CodeArena::place(const CodeBlob& blob) {
  if (!std::has_single_bit(blob.alignment) || blob.alignment > page_bytes())
    throw InternalError(fmt::format("code arena: blob is aligned to {}", blob.alignment));
  for (const CodeBlob::Address& address : blob.addresses)
    if (blob.bytes.size() < 8 || address.offset > blob.bytes.size() - 8)
      throw InternalError(
          fmt::format("code arena: address at {} of {} bytes", address.offset, blob.bytes.size()));
  for (const CodeBlob::Entry& entry : blob.entries)
    if (entry.offset >= blob.bytes.size())
      throw InternalError(fmt::format("code arena: function {} at {} of {} bytes", entry.name,
                                      entry.offset, blob.bytes.size()));
  const size_t bytes = whole_pages(std::max<size_t>(1, blob.bytes.size()));
  std::byte* base = core_->take(bytes);
  std::unique_ptr<Code> code;
  try {
    code.reset(new Code(core_, base, bytes, blob.entries));
  } catch (...) {
    core_->give_back(base, bytes);
    throw;
  }
  if (mprotect(base, bytes, PROT_READ | PROT_WRITE) != 0) refuse("no memory", bytes);
  if (!blob.bytes.empty()) std::memcpy(base, blob.bytes.data(), blob.bytes.size());
  std::memset(base + blob.bytes.size(), 0xcc, bytes - blob.bytes.size());
  for (const CodeBlob::Address& address : blob.addresses) {
    const auto value = reinterpret_cast<uint64_t>(base) + address.target;
    std::memcpy(base + address.offset, &value, 8);
  }
  if (mprotect(base, bytes, PROT_READ | PROT_EXEC) != 0)
    refuse("the system does not let this process execute memory that it wrote", bytes);
  return code;
}

ArenaStats CodeArena::stats() const {
  std::lock_guard lock(core_->mutex);
  ArenaStats stats{.slabs = int64_t(core_->slabs.size()), .used_bytes = core_->used};
  for (const auto& [base, slab] : core_->slabs) stats.reserved_bytes += int64_t(slab.bytes);
  return stats;
}

}  // namespace cermet::runtime
