#include "ptxsim/memory.h"

#include <fmt/format.h>

namespace cermet::ptxsim {

Memory::Memory() = default;
Memory::~Memory() = default;

namespace {

// Sets or copies bits one word at a time where a whole word is covered.
void set_bits(std::vector<std::uint64_t>& words, std::uint64_t begin, std::uint64_t end) {
  while (begin < end) {
    const std::uint64_t in_word = std::min<std::uint64_t>(end - begin, 64 - begin % 64);
    const std::uint64_t mask =
        in_word == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << in_word) - 1;
    words[begin / 64] |= mask << (begin % 64);
    begin += in_word;
  }
}

std::string range_text(const Allocation& a) {
  return fmt::format("'{}' ({} bytes at {:#x})", a.name, a.size, a.address);
}

}  // namespace

void Memory::add(std::uint64_t address, std::uint64_t size, void* host, std::string name) {
  auto next = allocations_.lower_bound(address);
  if (next != allocations_.begin()) {
    const auto before = std::prev(next);
    if (before->second->contains(address, 0) && address < before->first + before->second->size) {
      next = before;
    }
  }
  while (next != allocations_.end() && (next->first < address + size || next->first == address)) {
    if (next->second->alive) {
      throw Error(fmt::format("memory: {} bytes at {:#x} lie in the live allocation {}", size,
                              address, range_text(*next->second)));
    }
    next = allocations_.erase(next);
  }
  auto allocation = std::make_unique<Allocation>();
  allocation->address = address;
  allocation->size = size;
  allocation->host = static_cast<std::byte*>(host);
  allocation->name = std::move(name);
  allocation->written.assign(size / 64 + 2, 0);
  allocations_[address] = std::move(allocation);
}

void Memory::release(std::uint64_t address) {
  const auto found = allocations_.find(address);
  if (found == allocations_.end() || !found->second->alive) {
    throw Error(fmt::format("memory: no live allocation begins at {:#x}", address));
  }
  found->second->alive = false;
  found->second->touches = {};
  found->second->written = {};
}

void Memory::clear() { allocations_.clear(); }

Allocation* Memory::find(std::uint64_t address) const {
  auto next = allocations_.upper_bound(address);
  if (next == allocations_.begin()) return nullptr;
  Allocation* const before = std::prev(next)->second.get();
  return address - before->address < before->size ? before : nullptr;
}

void* Memory::host(std::uint64_t address, std::uint64_t size) const {
  Allocation* const found = find(address);
  if (found == nullptr || !found->alive || !found->contains(address, size)) return nullptr;
  return found->host + (address - found->address);
}

void Memory::mark_initialised(std::uint64_t address, std::uint64_t size) {
  if (size == 0) return;
  if (host(address, size) == nullptr) {
    throw Error(fmt::format("memory: {} bytes at {:#x} are not in one allocation: {}", size,
                            address, describe(address)));
  }
  Allocation* const found = find(address);
  set_bits(found->written, address - found->address, address - found->address + size);
}

bool Memory::initialised(std::uint64_t address, std::uint64_t size) const {
  if (size == 0) return true;
  if (host(address, size) == nullptr) return false;
  const Allocation& a = *find(address);
  for (std::uint64_t at = address - a.address, end = at + size; at < end;) {
    const std::uint64_t in_word = std::min<std::uint64_t>(end - at, 64 - at % 64);
    const std::uint64_t mask =
        in_word == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << in_word) - 1;
    if ((a.written[at / 64] >> (at % 64) & mask) != mask) return false;
    at += in_word;
  }
  return true;
}

void Memory::copy_initialised(std::uint64_t to, std::uint64_t from, std::uint64_t size) {
  if (size == 0) return;
  if (host(to, size) == nullptr || host(from, size) == nullptr) {
    throw Error(fmt::format("memory: a copy of {} bytes from {:#x} to {:#x} leaves its allocations",
                            size, from, to));
  }
  const Allocation source = [&] {
    Allocation copy;
    copy.written = find(from)->written;
    copy.address = find(from)->address;
    return copy;
  }();
  Allocation& target = *find(to);
  for (std::uint64_t i = 0; i < size; ++i) {
    const std::uint64_t read = from + i - source.address, write = to + i - target.address;
    const std::uint64_t bit = source.written[read / 64] >> (read % 64) & 1;
    target.written[write / 64] &= ~(std::uint64_t{1} << (write % 64));
    target.written[write / 64] |= bit << (write % 64);
  }
}

std::string Memory::describe(std::uint64_t address) const {
  if (Allocation* const found = find(address)) {
    return fmt::format("byte {} of {}{}", address - found->address,
                       found->alive ? "" : "the freed ", range_text(*found));
  }
  const auto next = allocations_.upper_bound(address);
  const Allocation* after = next == allocations_.end() ? nullptr : next->second.get();
  const Allocation* before = next == allocations_.begin() ? nullptr : std::prev(next)->second.get();
  const std::uint64_t past =
      before != nullptr ? address - before->address - before->size : ~std::uint64_t{0};
  const std::uint64_t ahead = after != nullptr ? after->address - address : ~std::uint64_t{0};
  if (before == nullptr && after == nullptr) return "there are no allocations";
  if (past <= ahead) return fmt::format("{} bytes past the end of {}", past, range_text(*before));
  return fmt::format("{} bytes before {}", ahead, range_text(*after));
}

}  // namespace cermet::ptxsim
