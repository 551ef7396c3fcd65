#include "runtime/cuda/stream.h"

#include <fmt/format.h>

#include <utility>

#include "cermet/error.h"

namespace cermet::runtime::cuda {

struct Stream::Core {
  std::shared_ptr<const Card> card;
  CUstream_st* stream = nullptr;
  bool borrowed = false;

  ~Core() {
    if (!stream && !borrowed) return;  // it was never made
    const Card::CurrentIfPossible current(*card);
    if (!current) return;
    card->driver().StreamSynchronize(stream);
    if (!borrowed) card->driver().StreamDestroy(stream);
  }
};

Stream::Stream(std::shared_ptr<const Card> card) {
  auto core = std::make_shared<Core>();
  core->card = std::move(card);
  const Card::Current current(*core->card);
  core->card->check(core->card->driver().StreamCreate(&core->stream, stream_non_blocking),
                    "cuStreamCreate");
  core_ = std::move(core);
}

Stream Stream::borrow(std::shared_ptr<const Card> card, CUstream_st* stream) {
  const Card::Current current(*card);
  CUctx_st* context = nullptr;
  card->check(card->driver().StreamGetCtx(stream, &context), "cuStreamGetCtx");
  if (context != card->context())
    throw Error(fmt::format("stream: it belongs to another context than cuda:{}", card->index()));
  auto core = std::make_shared<Core>();
  core->card = std::move(card), core->stream = stream, core->borrowed = true;
  return Stream(std::move(core));
}

CUstream_st* Stream::handle() const { return core_->stream; }
const Card& Stream::card() const { return *core_->card; }
const std::shared_ptr<const Card>& Stream::shared_card() const { return core_->card; }
bool Stream::borrowed() const { return core_->borrowed; }

void Stream::synchronize() const {
  const Card::Current current(card());
  card().check(card().driver().StreamSynchronize(handle()), "cuStreamSynchronize");
}

bool Stream::finished() const {
  const Card::Current current(card());
  const Result result = card().driver().StreamQuery(handle());
  if (result == Result::NotReady) return false;
  card().check(result, "cuStreamQuery");
  return true;
}

void Stream::wait(const Event& event) const {
  const Card::Current current(card());
  card().check(card().driver().StreamWaitEvent(handle(), event.handle(), 0), "cuStreamWaitEvent");
}

void Stream::wait(const Stream& other) const {
  if (*this == other) return;
  const Event event(other.shared_card());
  event.record(other);
  wait(event);
}

bool Stream::capturing() const {
  const Card::Current current(card());
  CaptureStatus status = CaptureStatus::None;
  card().check(card().driver().StreamIsCapturing(handle(), &status), "cuStreamIsCapturing");
  return status != CaptureStatus::None;
}

bool Stream::can_capture() const {
  // A null handle and CU_STREAM_LEGACY are the legacy default stream.
  return handle() != nullptr && handle() != reinterpret_cast<CUstream_st*>(1);
}

std::optional<Stream> StreamUse::stream() const {
  std::shared_ptr<const Stream::Core> core = core_.lock();
  if (!core) return std::nullopt;
  return Stream(std::move(core));
}

bool StreamUse::of(const Stream& stream) const { return core_.lock() == stream.core_; }

Event::Event(std::shared_ptr<const Card> card, Timing timing) : card_(std::move(card)) {
  const Card::Current current(*card_);
  card_->check(
      card_->driver().EventCreate(&event_, timing == Timing::On ? 0 : event_disable_timing),
      "cuEventCreate");
}

Event::Event(Event&& other) noexcept
    : card_(std::move(other.card_)), event_(std::exchange(other.event_, nullptr)) {}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(card_, other.card_);
  std::swap(event_, other.event_);
  return *this;
}

Event::~Event() {
  // Destroying one that is not reached yet is fine: the driver keeps it as long as it needs it.
  if (!event_) return;
  const Card::CurrentIfPossible current(*card_);
  card_->driver().EventDestroy(event_);
}

void Event::record(const Stream& stream) const {
  const Card::Current current(*card_);
  card_->check(card_->driver().EventRecord(event_, stream.handle()), "cuEventRecord");
}

void Event::synchronize() const {
  const Card::Current current(*card_);
  card_->check(card_->driver().EventSynchronize(event_), "cuEventSynchronize");
}

bool Event::finished() const {
  const Card::Current current(*card_);
  const Result result = card_->driver().EventQuery(event_);
  if (result == Result::NotReady) return false;
  card_->check(result, "cuEventQuery");
  return true;
}

double Event::milliseconds_since(const Event& start) const {
  const Card::Current current(*card_);
  float result = 0;
  card_->check(card_->driver().EventElapsedTime(&result, start.event_, event_),
               "cuEventElapsedTime");
  return double(result);
}

}  // namespace cermet::runtime::cuda
