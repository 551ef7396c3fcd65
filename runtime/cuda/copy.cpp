#include "runtime/cuda/copy.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cermet/error.h"
#include "ir/check.h"

namespace cermet::runtime::cuda {
namespace {

// So that no two copies share a cache line or a transfer of the bus.
size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

PinnedMemory::PinnedMemory(std::shared_ptr<const Card> card, size_t bytes)
    : card_(std::move(card)), bytes_(bytes) {
  const Card::Current current(*card_);
  void* memory = nullptr;
  card_->check(
      card_->driver().MemHostAlloc(&memory, std::max<size_t>(bytes, 1), host_alloc_portable),
      "cuMemHostAlloc");
  data_ = static_cast<std::byte*>(memory);
}

PinnedMemory::PinnedMemory(PinnedMemory&& other) noexcept
    : card_(std::move(other.card_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  std::swap(card_, other.card_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedMemory::~PinnedMemory() {
  if (!data_) return;
  const Card::CurrentIfPossible current(*card_);
  if (current) card_->driver().MemFreeHost(data_);
}

HostCopies::HostCopies(std::shared_ptr<const Card> card, size_t piece_bytes)
    : card_(std::move(card)), piece_bytes_(aligned(piece_bytes)) {}

HostCopies::~HostCopies() {
  for (const Slot& slot : up_) try {
      leave(slot);
      if (slot.done) slot.done->synchronize();
    } catch (const DeviceError&) {
      // The card is lost, so it reads nothing any more.
    }
}

// The functions below call this before they use the slots.
void HostCopies::prepare() {
  std::call_once(prepared_, [&] {
    memory_.emplace(card_, (slots_up + slots_down) * piece_bytes_);
    std::byte* data = memory_->data();
    const auto place = [&](Slot& slot) {
      slot.data = std::exchange(data, data + piece_bytes_);
      slot.done.emplace(card_);
    };
    for (Slot& slot : up_) place(slot);
    for (Slot& slot : down_) place(slot);
  });
}

// A slot of `up_` with room for the bytes: the current one, or the next one when its copies are
// done. One slot serves one stream at a time, because its event marks a point in one stream.
HostCopies::Slot& HostCopies::slot_for(size_t bytes, const Stream& stream) {
  Slot& current = up_[current_];
  if (current.user && current.user->of(stream) && current.used + bytes <= piece_bytes_)
    return current;
  leave(current);
  current_ = (current_ + 1) % slots_up;
  Slot& next = up_[current_];
  next.done->synchronize();
  next.used = 0;
  next.user.emplace(stream);
  return next;
}

// Marks the last use of a slot.
void HostCopies::leave(const Slot& slot) {
  if (!slot.user) return;
  if (const auto alive = slot.user->stream())
    slot.done->record(alive->stream);
  else
    slot.user->synchronize();
}

void HostCopies::to_card(Address to, std::span<const std::byte> from, const Stream& stream) {
  if (from.empty()) return;
  CERMET_CHECK(!stream.capturing(), "the host's memory is copied while a graph is captured");
  const Card::Current current(*card_);
  prepare();
  const std::lock_guard lock(mutex_up_);
  for (size_t done = 0; done < from.size();) {
    const size_t bytes = std::min(from.size() - done, piece_bytes_);
    Slot& slot = slot_for(bytes, stream);
    std::byte* piece = slot.data + slot.used;
    std::memcpy(piece, from.data() + done, bytes);
    card_->check(card_->driver().MemcpyHtoDAsync(to + done, piece, bytes, stream.handle()),
                 "cuMemcpyHtoDAsync");
    slot.used += aligned(bytes);
    done += bytes;
  }
}

void HostCopies::to_host(std::span<std::byte> to, Address from, const Stream& stream) {
  if (to.empty()) return;
  CERMET_CHECK(!stream.capturing(), "the host's memory is copied while a graph is captured");
  const Card::Current current(*card_);
  prepare();
  const std::lock_guard lock(mutex_down_);
  const size_t pieces = (to.size() + piece_bytes_ - 1) / piece_bytes_;
  const auto part = [&](size_t piece) {
    return to.subspan(piece * piece_bytes_,
                      std::min(piece_bytes_, to.size() - piece * piece_bytes_));
  };
  // While the host copies a piece out of its slot the card fills the other one.
  for (size_t piece = 0; piece <= pieces; ++piece) {
    if (piece < pieces) {
      Slot& slot = down_[piece % slots_down];
      card_->check(card_->driver().MemcpyDtoHAsync(slot.data, from + piece * piece_bytes_,
                                                   part(piece).size(), stream.handle()),
                   "cuMemcpyDtoHAsync");
      slot.done->record(stream);
    }
    if (piece > 0) {
      const Slot& slot = down_[(piece - 1) % slots_down];
      slot.done->synchronize();
      std::memcpy(part(piece - 1).data(), slot.data, part(piece - 1).size());
    }
  }
}

void copy(Address to, const Card& to_card, Address from, const Card& from_card, size_t bytes,
          const Stream& stream) {
  if (bytes == 0) return;
  const Card& card = stream.card();
  const Card::Current current(card);
  if (to_card.context() == from_card.context())
    return card.check(card.driver().MemcpyDtoDAsync(to, from, bytes, stream.handle()),
                      "cuMemcpyDtoDAsync");
  card.check(card.driver().MemcpyPeerAsync(to, to_card.context(), from, from_card.context(), bytes,
                                           stream.handle()),
             "cuMemcpyPeerAsync");
}

void copy(const PinnedMemory& to, Address from, size_t bytes, const Stream& stream) {
  CERMET_CHECK(bytes <= to.bytes(), "{} bytes are copied to {}", bytes, to.bytes());
  if (bytes == 0) return;
  const Card& card = stream.card();
  const Card::Current current(card);
  card.check(card.driver().MemcpyDtoHAsync(to.data(), from, bytes, stream.handle()),
             "cuMemcpyDtoHAsync");
}

void fill(Address to, std::byte value, size_t bytes, const Stream& stream) {
  if (bytes == 0) return;
  const Card& card = stream.card();
  const Card::Current current(card);
  card.check(
      card.driver().MemsetD8Async(to, static_cast<unsigned char>(value), bytes, stream.handle()),
      "cuMemsetD8Async");
}

}  // namespace cermet::runtime::cuda
