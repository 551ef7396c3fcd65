// The queues and the three schedules. Work only ever waits for work that was queued before it, so
// following what blocks what always ends at something that can run.

#include "fakecuda/stream.h"

#include <algorithm>
#include <utility>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

using CompletionPointer = std::shared_ptr<Completion>;

// Makes the order of executed work readable in times of events; no real duration.
constexpr uint64_t nanoseconds_of_work = 1000;

void complete(Completion& completion) {
  completion.done = true;
  completion.stream = nullptr;
  completion.time = driver().clock;
}

void lose(Context& context, CUresult code) {
  if (context.lost == CUDA_SUCCESS) {
    context.lost = is_sticky(code) ? code : CUDA_ERROR_LAUNCH_FAILED;
  }
  discard(context);
}

// What must be done before the first work of the queue can run; null if nothing.
CompletionPointer blocker(const Stream& stream) {
  for (const CompletionPointer& other : stream.queue.front().after) {
    if (!other->done) return other;
  }
  return nullptr;
}

void run_front(Stream& stream) {
  const Operation operation = std::move(stream.queue.front());
  stream.queue.pop_front();
  Context& context = *stream.context;
  try {
    execute(operation.work, context);
  } catch (const Failure& failure) {
    lose(context, failure.code);
  }
  driver().clock += nanoseconds_of_work;
  complete(*operation.completion);
}

// The first work on the way to `target` that can run now, runs.
void run_step(CompletionPointer target) {
  while (CompletionPointer other = blocker(*target->stream)) target = std::move(other);
  run_front(*target->stream);
}

// Some work of some stream, drawn at random, runs. False if none can.
bool run_any() {
  std::vector<Stream*> ready;
  driver().contexts.each([&](Context& context) {
    for (const auto& stream : context.streams) {
      if (!stream->queue.empty() && !blocker(*stream)) ready.push_back(stream.get());
    }
  });
  if (ready.empty()) return false;
  run_front(*ready[driver().random() % ready.size()]);
  return true;
}

void run_as_scheduled(const CompletionPointer& queued) {
  switch (driver().options.schedule) {
    case Schedule::Lazy: break;
    case Schedule::Eager: finish(queued); break;
    case Schedule::Random:
      for (uint64_t count = driver().random() % 3; count > 0 && run_any();) --count;
      break;
  }
}

// Work on the legacy stream waits for all streams that block, and they wait for it.
void add_legacy_dependencies(const Stream& stream, std::vector<CompletionPointer>& after) {
  const Context& context = *stream.context;
  if (stream.blocking() && context.legacy_stream->last)
    after.push_back(context.legacy_stream->last);
  if (!stream.legacy) return;
  for (const auto& other : context.streams) {
    if (other->blocking() && other->last) after.push_back(other->last);
  }
}

}  // namespace

CompletionPointer submit(Stream& stream, Work work, std::vector<CompletionPointer> after) {
  require_alive(*stream.context);
  if (stream.capture) {
    capture_work(stream, std::move(work));
    return nullptr;
  }
  if (stream.legacy) forbid_implicit_dependency(*stream.context);
  add_legacy_dependencies(stream, after);
  std::erase_if(after, [](const CompletionPointer& other) { return other->done; });

  auto completion = std::make_shared<Completion>();
  completion->stream = &stream;
  stream.queue.push_back({std::move(work), std::move(after), completion});
  stream.last = completion;
  run_as_scheduled(completion);
  return completion;
}

void finish(const CompletionPointer& completion) {
  while (completion && !completion->done) {
    const bool ran = driver().options.schedule == Schedule::Random && run_any();
    if (!ran) run_step(completion);
  }
}

void finish(Stream& stream) { finish(stream.last); }

void finish(Context& context) {
  for (size_t i = 0; i < context.streams.size(); ++i) finish(*context.streams[i]);
}

void wait(const CompletionPointer& completion, Context& context) {
  ++driver().report.counters.waits;
  finish(completion);
  for (const auto& pool : context.device.memory.pools) pool->trim_to(pool->release_threshold);
  require_alive(context);
}

bool poll(const CompletionPointer& completion) {
  if (!completion || completion->done) return true;
  run_step(completion);
  return false;
}

void discard(Context& context) {
  for (const auto& stream : context.streams) {
    for (const Operation& operation : stream->queue) complete(*operation.completion);
    stream->queue.clear();
  }
}

}  // namespace cermet::fakecuda
