#pragma once
// Streams, which run what they are given in order, and events, which mark points in them.

#include <memory>
#include <optional>
#include <shared_mutex>
#include <utility>

#include "runtime/cuda/card.h"

namespace cermet::runtime::cuda {

class Event;
struct StreamEnd;  // in stream.cpp

// A counted handle: copies are the same stream. Thread-safe as far as the driver's streams are: the
// order between two threads that use one stream is theirs to keep.
class Stream {
 public:
  // A new stream, which does not wait for the legacy default stream. Work that is in it when the
  // last handle goes is waited for.
  explicit Stream(std::shared_ptr<const Card> card);
  // The caller's own stream, null and the special handles of cuda.h included. It must live until
  // it is retired, or the last handle is gone, which does not wait for it. Throws Error if it is
  // none, or belongs to another context.
  static Stream borrow(std::shared_ptr<const Card> card, CUstream_st* stream);

  CUstream_st* handle() const;
  const Card& card() const;
  const std::shared_ptr<const Card>& shared_card() const;
  bool borrowed() const;

  // Waits until all that it was given is done. Throws what any of it did wrong.
  void synchronize() const;
  // Whether it is.
  bool finished() const;
  // What is given to it later waits for the event, and for another stream's work until now.
  void wait(const Event& event) const;
  void wait(const Stream& other) const;
  // Whether what it is given becomes part of a graph instead of running.
  bool capturing() const;
  // Of a borrowed stream: waits for threads that use it at this moment on behalf of what it was
  // given (StreamUse), after which none does and the caller may destroy it.
  void retire() const;
  // Whether that is possible at all: not with the legacy default stream.
  bool can_capture() const;

  friend bool operator==(const Stream&, const Stream&) = default;

 private:
  friend class StreamUse;
  struct Core;
  explicit Stream(std::shared_ptr<const Core> core) : core_(std::move(core)) {}
  std::shared_ptr<const Core> core_;
};

// That a stream may be using something, without keeping the stream. The caller may destroy a
// borrowed stream when its last handle is gone, so the point where it was then is marked.
class StreamUse {
 public:
  explicit StreamUse(const Stream& stream);
  // The stream, which is not retired as long as this is there.
  struct Alive {
    std::shared_ptr<const StreamEnd> end;  // outlives the lock
    std::shared_lock<std::shared_mutex> in_use;
    Stream stream;
  };
  // Nothing if it is gone, or going: another thread may be waiting for its last work.
  std::optional<Alive> stream() const;
  bool of(const Stream& stream) const;
  bool gone() const { return core_.expired(); }
  // Whether it is gone and all that it was given is done, as far as that is known.
  bool finished() const;
  // What `later` is given from now on runs after what this stream was given until now, or until it
  // was gone. Calls nothing if they are one.
  void precedes(const Stream& later) const;
  // Waits for that, and throws what any of it did wrong.
  void synchronize() const;

 private:
  std::weak_ptr<const Stream::Core> core_;
  std::shared_ptr<const StreamEnd> end_;
};

// Movable, not copyable.
class Event {
 public:
  enum class Timing { Off, On };
  explicit Event(std::shared_ptr<const Card> card, Timing timing = Timing::Off);
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;
  ~Event();

  // Marks the end of what the stream was given so far, in place of what was marked before.
  void record(const Stream& stream) const;
  // Waits until it is reached; an event that was never recorded counts as reached.
  void synchronize() const;
  bool finished() const;
  const Card& card() const { return *card_; }
  // Both events must keep time.
  double milliseconds_since(const Event& start) const;
  CUevent_st* handle() const { return event_; }

 private:
  std::shared_ptr<const Card> card_;
  CUevent_st* event_ = nullptr;
};

}  // namespace cermet::runtime::cuda
