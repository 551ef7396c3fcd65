#pragma once
// What a run on a GPU found, which is known when the GPU is done with it: nothing, or an index out
// of range. Kernels write what they find to cells in the card's memory; the cells are copied behind
// the run to pinned memory, and an event says when they are there. So giving a run to the GPU does
// not wait for it. What was computed from the results of a run that found something is as wrong as
// they are: an outcome has those that it depends on.

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/cuda/copy.h"

namespace cermet::runtime {

// Pinned memory and the event behind the last copy to it, both used over and over.
struct ReportSlot {
  cuda::PinnedMemory memory;
  cuda::Event copied;
  std::optional<cuda::StreamUse> user;  // the stream of the last copy

  ReportSlot(const std::shared_ptr<const cuda::Card>& card, size_t bytes)
      : memory(card, bytes), copied(card) {}
  ReportSlot(const ReportSlot&) = delete;
  ReportSlot& operator=(const ReportSlot&) = delete;
  ~ReportSlot();  // waits for the copy
};

// The slots that are not in use. Thread-safe.
class ReportSlots {
 public:
  explicit ReportSlots(std::shared_ptr<const cuda::Card> card) : card_(std::move(card)) {}
  // For a copy that the stream is given next; it comes after those of before.
  std::unique_ptr<ReportSlot> take(size_t bytes, const cuda::Stream& stream);
  // Of a copy that may still be going on.
  void put(std::unique_ptr<ReportSlot> slot);

 private:
  std::unique_ptr<ReportSlot> find(size_t bytes);

  const std::shared_ptr<const cuda::Card> card_;
  std::mutex mutex_;  // guards what follows
  std::vector<std::unique_ptr<ReportSlot>> free_;
};

// Thread-safe.
class Outcome {
 public:
  // From the bytes of the cells: what is wrong, or an empty text.
  using Reading = std::function<std::string(std::span<const std::byte>)>;

  // Of a run that reports nothing itself, but reads what runs of these outcomes computed.
  explicit Outcome(std::vector<std::shared_ptr<Outcome>> earlier) : earlier_(std::move(earlier)) {}
  // Of one that does report: its cells are on their way to the slot.
  Outcome(std::vector<std::shared_ptr<Outcome>> earlier, std::shared_ptr<ReportSlots> slots,
          std::unique_ptr<ReportSlot> slot, Reading reading);
  ~Outcome();
  Outcome(const Outcome&) = delete;
  Outcome& operator=(const Outcome&) = delete;

  // Whether it is known; does not wait. Throws DeviceError when the card is lost.
  bool finished();
  // Waits until it is known.
  void wait();
  // Whether it is known to be good, or bad; both call nothing.
  bool good() const { return state_.load(std::memory_order_acquire) == State::Good; }
  bool failed() const { return state_.load(std::memory_order_acquire) == State::Bad; }
  // Throws, if it is known to be bad, Error with what the kernel said.
  void check() const;
  // The outcome whose run found what is wrong, of one that is bad: this one, or one before.
  Outcome& cause() { return cause_ ? *cause_ : *this; }

  // Of a cause: whether the user was told.
  std::atomic<bool> told = false;

 private:
  enum class State : uint8_t { Open, Good, Bad };
  void settle();  // all is there

  std::mutex mutex_;  // guards what follows while the state is open; then nothing changes
  std::vector<std::shared_ptr<Outcome>> earlier_;
  std::shared_ptr<ReportSlots> slots_;
  std::unique_ptr<ReportSlot> slot_;
  Reading reading_;
  std::string mistake_;
  std::shared_ptr<Outcome> cause_;  // null: this one
  std::atomic<State> state_ = State::Open;
};

}  // namespace cermet::runtime
