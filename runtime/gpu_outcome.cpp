#include "runtime/gpu_outcome.h"

#include <algorithm>

#include "cermet/error.h"

namespace cermet::runtime {

ReportSlot::~ReportSlot() {
  try {
    copied.synchronize();
  } catch (const DeviceError&) {
    // The card is lost and copies nothing any more.
  }
}

std::unique_ptr<ReportSlot> ReportSlots::take(size_t bytes, const cuda::Stream& stream) {
  std::unique_ptr<ReportSlot> slot = find(bytes);
  if (slot->user && !slot->user->of(stream)) stream.wait(slot->copied);
  slot->user.emplace(stream);
  return slot;
}

std::unique_ptr<ReportSlot> ReportSlots::find(size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    const auto large = [&](const auto& slot) { return slot->memory.bytes() >= bytes; };
    if (const auto at = std::ranges::find_if(free_, large); at != free_.end()) {
      std::unique_ptr<ReportSlot> slot = std::move(*at);
      free_.erase(at);
      return slot;
    }
  }
  constexpr size_t usual_bytes = 256;
  return std::make_unique<ReportSlot>(card_, std::max(bytes, usual_bytes));
}

void ReportSlots::put(std::unique_ptr<ReportSlot> slot) {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(slot));
}

Outcome::Outcome(std::vector<std::shared_ptr<Outcome>> earlier, std::shared_ptr<ReportSlots> slots,
                 std::unique_ptr<ReportSlot> slot, Reading reading)
    : earlier_(std::move(earlier)),
      slots_(std::move(slots)),
      slot_(std::move(slot)),
      reading_(std::move(reading)) {}

Outcome::~Outcome() {
  if (slot_) slots_->put(std::move(slot_));
}

// An engine bounds how many outcomes are open, and with them how deep this goes.
bool Outcome::finished() {
  const std::lock_guard lock(mutex_);
  if (state_ != State::Open) return true;
  for (const auto& outcome : earlier_)
    if (!outcome->finished()) return false;
  if (slot_ && !slot_->copied.finished()) return false;
  settle();
  return true;
}

void Outcome::wait() {
  const std::lock_guard lock(mutex_);
  if (state_ != State::Open) return;
  for (const auto& outcome : earlier_) outcome->wait();
  if (slot_) slot_->copied.synchronize();
  settle();
}

void Outcome::settle() {
  for (const auto& outcome : earlier_)
    if (outcome->failed() && mistake_.empty()) {
      mistake_ = outcome->mistake_;
      cause_ = outcome->cause_ ? outcome->cause_ : outcome;
    }
  if (slot_) {
    if (mistake_.empty()) mistake_ = reading_({slot_->memory.data(), slot_->memory.bytes()});
    slots_->put(std::move(slot_));
  }
  earlier_.clear();
  reading_ = nullptr;
  state_.store(mistake_.empty() ? State::Good : State::Bad, std::memory_order_release);
}

void Outcome::check() const {
  if (failed()) throw Error(mistake_);
}

}  // namespace cermet::runtime
