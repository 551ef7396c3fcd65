#include "runtime/cuda/stream.h"

#include <fmt/format.h>

#include <mutex>
#include <shared_mutex>
#include <utility>

#include "cermet/error.h"

namespace cermet::runtime::cuda {

// What is left of a stream.
struct StreamEnd {
  std::shared_ptr<const Card> card;
  mutable std::shared_mutex in_use;    // shared by those who use a borrowed stream at this moment
  mutable bool retired = false;        // no longer to be used; guarded by in_use
  mutable std::mutex mutex;            // guards what follows
  mutable bool finished = false;       // all that it was given is done
  mutable std::optional<Event> event;  // the end of what a borrowed stream was given

  // With the event; without one, which is when the stream is still going, after all work of the
  // card.
  template <class F>
  void after(F with_event) const {
    {
      const std::lock_guard lock(mutex);
      if (finished) return;
      if (event) return with_event(*event);
    }
    card->synchronize();
  }
};

struct Stream::Core {
  std::shared_ptr<const Card> card;
  CUstream_st* stream = nullptr;
  bool borrowed = false;
  std::shared_ptr<const StreamEnd> end;

  ~Core() {
    if (!stream && !borrowed) return;  // it was never made
    const Card::CurrentIfPossible current(*card);
    if (!current) return;
    if (borrowed) {
      if (!end->retired) mark_end();
      return;
    }
    const Result result = card->driver().StreamSynchronize(stream);
    card->driver().StreamDestroy(stream);
    const std::lock_guard lock(end->mutex);
    end->finished = result == Result::Success;
  }

  // For those who remember the stream, if there are any. Without a mark they wait for the card.
  void mark_end() const noexcept {
    CaptureStatus status = CaptureStatus::None;
    if (end.use_count() == 1 ||
        card->driver().StreamIsCapturing(stream, &status) != Result::Success ||
        status != CaptureStatus::None)
      return;
    try {
      Event event(card);
      if (card->driver().EventRecord(event.handle(), stream) != Result::Success) return;
      const std::lock_guard lock(end->mutex);
      end->event.emplace(std::move(event));
    } catch (const DeviceError&) {
      // The card is lost, or the process ends.
    }
  }
};

namespace {

std::shared_ptr<const StreamEnd> end_on(const std::shared_ptr<const Card>& card) {
  auto end = std::make_shared<StreamEnd>();
  end->card = card;
  return end;
}

}  // namespace

Stream::Stream(std::shared_ptr<const Card> card) {
  auto core = std::make_shared<Core>();
  core->end = end_on(card);
  core->card = std::move(card);
  const Card::Current current(*core->card);
  core->card->check(core->card->driver().StreamCreate(&core->stream, stream_non_blocking),
                    "cuStreamCreate");
  core_ = std::move(core);
}

Stream Stream::borrow(std::shared_ptr<const Card> card, CUstream_st* stream) {
  const Card::Current current(*card);
  CUctx_st* context = nullptr;
  const Result result = card->driver().StreamGetCtx(stream, &context);
  if (result == Result::InvalidHandle || result == Result::InvalidContext)
    throw Error(fmt::format("stream: {} is no stream of cuda:{}", fmt::ptr(stream), card->index()));
  card->check(result, "cuStreamGetCtx");
  if (context != card->context())
    throw Error(fmt::format("stream: it belongs to another context than cuda:{}", card->index()));
  auto core = std::make_shared<Core>();
  core->end = end_on(card);
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

void Stream::retire() const {
  const std::unique_lock lock(core_->end->in_use);
  const Card::CurrentIfPossible current(card());
  if (current && !core_->end->retired) core_->mark_end();
  core_->end->retired = true;
}

bool Stream::can_capture() const {
  // A null handle and CU_STREAM_LEGACY are the legacy default stream.
  return handle() != nullptr && handle() != reinterpret_cast<CUstream_st*>(1);
}

StreamUse::StreamUse(const Stream& stream) : core_(stream.core_), end_(stream.core_->end) {}

std::optional<StreamUse::Alive> StreamUse::stream() const {
  std::shared_lock lock(end_->in_use);
  std::shared_ptr<const Stream::Core> core = core_.lock();
  if (!core || end_->retired) return std::nullopt;
  return Alive{end_, std::move(lock), Stream(std::move(core))};
}

bool StreamUse::of(const Stream& stream) const { return end_ == stream.core_->end; }

void StreamUse::precedes(const Stream& later) const {
  if (of(later)) return;
  if (const std::optional<Alive> alive = stream()) return later.wait(alive->stream);
  end_->after([&](const Event& event) { later.wait(event); });
}

bool StreamUse::finished() const {
  if (!gone()) return false;
  const std::lock_guard lock(end_->mutex);
  if (!end_->finished && end_->event) end_->finished = end_->event->finished();
  return end_->finished;
}

void StreamUse::synchronize() const {
  if (const std::optional<Alive> alive = stream()) return alive->stream.synchronize();
  end_->after([](const Event& event) { event.synchronize(); });
}

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
