#pragma once
// Streams, events, and when queued work runs.
//
// Work is put into the queue of its stream together with what else must be done before it: events
// waited for, and what the legacy stream's rules ask for. Whoever waits runs what is needed, in the
// waiting thread. Which work runs when is the schedule's choice:
//
//   lazy    nothing runs before somebody waits, and then only what that wait needs
//   eager   everything runs when it is queued
//   random  some ready work of some streams runs at each call, drawn from a seed
//
// All three are what a GPU may do; a program whose result depends on which has a missing
// dependency.

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "fakecuda/abi.h"
#include "fakecuda/work.h"

namespace cermet::fakecuda {

struct Capture;
struct Node;
struct Stream;

// Becomes done when some queued work has run.
struct Completion {
  Stream* stream = nullptr;  // where the work is queued; null once it is done
  bool done = false;
  uint64_t time = 0;  // of the simulated clock, when it became done
};

struct Operation {
  Work work;
  std::vector<std::shared_ptr<Completion>> after;
  std::shared_ptr<Completion> completion;
};

struct Stream {
  Context* context = nullptr;
  CUstream handle = nullptr;
  unsigned flags = 0;
  int priority = 0;
  uint64_t id = 0;
  bool legacy = false;
  bool destroyed = false;  // but it still has work to do
  std::deque<Operation> queue;
  std::shared_ptr<Completion> last;  // of the work queued last; null if there never was any

  // While it takes part in a capture: the nodes on which the next one will depend.
  std::shared_ptr<Capture> capture;
  std::vector<std::shared_ptr<Node>> capture_dependencies;

  bool blocking() const { return !legacy && (flags & CU_STREAM_NON_BLOCKING) == 0; }
};

struct Event {
  Context* context = nullptr;
  CUevent handle = nullptr;
  unsigned flags = 0;
  bool ever_recorded = false;
  std::shared_ptr<Completion> recorded;
  // Where it was recorded last, if that was in a capture.
  std::shared_ptr<Capture> capture;
  std::vector<std::shared_ptr<Node>> capture_dependencies;
};

// Queues work, or adds it to the capture that the stream takes part in. Returns what becomes done
// with it; null in a capture.
std::shared_ptr<Completion> submit(Stream& stream, Work work,
                                   std::vector<std::shared_ptr<Completion>> after = {});

// Runs what must run for this to be done. Failure if the context is lost by it.
void finish(const std::shared_ptr<Completion>& completion);
void finish(Stream& stream);
void finish(Context& context);
// As finish, and counted as a wait of the host, after which pools give back what they may not keep.
void wait(const std::shared_ptr<Completion>& completion, Context& context);

// Whether it is done; if not, something runs that brings it nearer, so that asking again and again
// comes to an end.
bool poll(const std::shared_ptr<Completion>& completion);

// Drops everything that is queued: the context is lost or destroyed.
void discard(Context& context);

}  // namespace cermet::fakecuda
