#pragma once
// Copies between the host's memory and a card's, and within cards.
//
// A card copies at full speed, and while other things run, only from and to pages that cannot be
// swapped out ("pinned"); pinning takes longer than most copies. So there is pinned memory for each
// direction that is used over and over: what goes to the card is copied there first, what comes
// back takes the same way, long arrays in pieces, so that both copies work at the same time.

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "runtime/cuda/stream.h"

namespace cermet::runtime::cuda {

// Host memory that a card reads and writes directly. Movable, not copyable.
class PinnedMemory {
 public:
  // Throws DeviceError where the driver refuses.
  PinnedMemory(std::shared_ptr<const Card> card, size_t bytes);
  PinnedMemory(PinnedMemory&& other) noexcept;
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;
  ~PinnedMemory();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<const Card> card_;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// Thread-safe; copies in one direction take turns. No stream may be capturing.
class HostCopies {
 public:
  // Long arrays go in pieces of this size; the memory is six pieces, taken when it is needed.
  static constexpr size_t default_piece_bytes = size_t(4) << 20;
  explicit HostCopies(std::shared_ptr<const Card> card, size_t piece_bytes = default_piece_bytes);
  ~HostCopies();

  // When it returns the host's bytes may be reused; on the card they are there for what the stream
  // is given next.
  void to_card(Address to, std::span<const std::byte> from, const Stream& stream);
  // Waits for what the stream was given so far; when it returns the bytes are there.
  void to_host(std::span<std::byte> to, Address from, const Stream& stream);

 private:
  // A part of the pinned memory, whose last use is marked by an event; that of the current slot of
  // up_ when another one takes its place.
  struct Slot {
    std::byte* data = nullptr;
    size_t used = 0;  // from its begin, by what one stream was given
    std::optional<StreamUse> user;
    std::optional<Event> done;
  };
  static constexpr size_t slots_up = 4, slots_down = 2;

  void prepare();
  Slot& slot_for(size_t bytes, const Stream& stream);
  void leave(const Slot& slot);

  std::shared_ptr<const Card> card_;
  size_t piece_bytes_;
  std::mutex mutex_up_, mutex_down_;
  std::once_flag prepared_;
  std::optional<PinnedMemory> memory_;
  std::array<Slot, slots_up> up_;
  std::array<Slot, slots_down> down_;
  size_t current_ = 0;  // of up_
};

// Copies between cards, or within one, when the stream comes to it; the other card's work must be
// waited for by the stream. Overlapping ranges of one card are the caller's mistake.
void copy(Address to, const Card& to_card, Address from, const Card& from_card, size_t bytes,
          const Stream& stream);

// To the begin of pinned memory, when the stream comes to it.
void copy(const PinnedMemory& to, Address from, size_t bytes, const Stream& stream);

// Sets every byte, when the stream comes to it.
void fill(Address to, std::byte value, size_t bytes, const Stream& stream);

}  // namespace cermet::runtime::cuda
