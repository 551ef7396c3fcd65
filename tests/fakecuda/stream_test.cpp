// Streams and events: what order they promise, and that no schedule shows more order than that.

#include <algorithm>
#include <atomic>
#include <vector>

#include "fakecuda/harness.h"
#include "support/catch.h"

using namespace cermet::fakecuda;

namespace {

// Appends its number to a list when the stream gets there.
struct Mark {
  std::vector<int>* list;
  int number;
};
void append(void* data) {
  const auto* mark = static_cast<const Mark*>(data);
  mark->list->push_back(mark->number);
}

}  // namespace

TEST_CASE("stream: work of one stream runs in order, whatever the schedule") {
  const std::string schedule = GENERATE(from_range(schedules()));
  CAPTURE(schedule);
  const Session cuda("FAKECUDA_SCHEDULE=" + schedule);
  const CUstream stream = cuda.stream();
  std::vector<int> list, expected;
  std::vector<Mark> marks;
  for (int i = 0; i < 50; ++i) marks.push_back({&list, i});
  for (Mark& mark : marks) {
    OK(cuda.cuLaunchHostFunc(stream, append, &mark));
    expected.push_back(mark.number);
  }
  OK(cuda.cuStreamSynchronize(stream));
  CHECK(list == expected);
  EXPECT(CUDA_SUCCESS, cuda.cuStreamQuery(stream));
}

TEST_CASE("stream: an event orders streams, and nothing else does") {
  const std::string schedule = GENERATE(from_range(schedules()));
  CAPTURE(schedule);
  const Session cuda("FAKECUDA_SCHEDULE=" + schedule);
  const CUstream a = cuda.stream(), b = cuda.stream();
  const CUevent event = cuda.event();
  std::vector<int> list;
  Mark first{&list, 1}, second{&list, 2};
  OK(cuda.cuLaunchHostFunc(a, append, &first));
  OK(cuda.cuEventRecord(event, a));
  OK(cuda.cuStreamWaitEvent(b, event, 0));
  OK(cuda.cuLaunchHostFunc(b, append, &second));
  OK(cuda.cuStreamSynchronize(b));
  CHECK(list == std::vector<int>{1, 2});
}

TEST_CASE("stream: a wait for an event concerns the record before it, not later ones") {
  const Session cuda;
  const CUstream a = cuda.stream(), b = cuda.stream();
  const CUevent event = cuda.event();
  std::vector<int> list;
  Mark first{&list, 1}, second{&list, 2}, third{&list, 3};
  OK(cuda.cuStreamWaitEvent(b, event, 0));  // never recorded: no wait
  OK(cuda.cuLaunchHostFunc(a, append, &first));
  OK(cuda.cuEventRecord(event, a));
  OK(cuda.cuStreamWaitEvent(b, event, 0));
  OK(cuda.cuLaunchHostFunc(a, append, &second));
  OK(cuda.cuEventRecord(event, a));
  OK(cuda.cuLaunchHostFunc(b, append, &third));
  OK(cuda.cuStreamSynchronize(b));
  CHECK(list == std::vector<int>{1, 3});
  OK(cuda.cuEventSynchronize(event));
  CHECK(list == std::vector<int>{1, 3, 2});
}

TEST_CASE("stream: the legacy stream and streams that block wait for each other") {
  const std::string schedule = GENERATE(from_range(schedules()));
  CAPTURE(schedule);
  const Session cuda("FAKECUDA_SCHEDULE=" + schedule);
  const CUstream blocking = cuda.stream(0);
  std::vector<int> list;
  Mark first{&list, 1}, second{&list, 2}, third{&list, 3};
  OK(cuda.cuLaunchHostFunc(blocking, append, &first));
  OK(cuda.cuLaunchHostFunc(nullptr, append, &second));
  OK(cuda.cuLaunchHostFunc(blocking, append, &third));
  OK(cuda.cuStreamSynchronize(blocking));
  CHECK(list == std::vector<int>{1, 2, 3});
}

TEST_CASE("stream: the legacy stream does not wait for a stream that does not block") {
  const Session cuda;
  const CUstream free_running = cuda.stream();
  std::vector<int> list;
  Mark first{&list, 1}, second{&list, 2};
  OK(cuda.cuLaunchHostFunc(free_running, append, &first));
  OK(cuda.cuLaunchHostFunc(CU_STREAM_LEGACY, append, &second));
  OK(cuda.cuStreamSynchronize(nullptr));
  CHECK(list == std::vector<int>{2});
  OK(cuda.cuCtxSynchronize());
  CHECK(list == std::vector<int>{2, 1});
}

TEST_CASE("stream: lazy runs what a wait needs and no more; eager runs at once") {
  std::vector<int> list;
  Mark first{&list, 1}, second{&list, 2};
  {
    const Session cuda("FAKECUDA_SCHEDULE=lazy");
    const CUstream a = cuda.stream(), b = cuda.stream();
    OK(cuda.cuLaunchHostFunc(a, append, &first));
    OK(cuda.cuLaunchHostFunc(b, append, &second));
    CHECK(list.empty());
    EXPECT(CUDA_ERROR_NOT_READY, cuda.cuStreamQuery(b));
    OK(cuda.cuStreamSynchronize(b));
    CHECK(list == std::vector<int>{2});
    CHECK(cuda.counters().host_functions == 1);
    list.clear();
    OK(cuda.cuStreamSynchronize(a));
  }
  list.clear();
  {
    const Session cuda("FAKECUDA_SCHEDULE=eager");
    OK(cuda.cuLaunchHostFunc(cuda.stream(), append, &first));
    CHECK(list == std::vector<int>{1});
  }
}

TEST_CASE("stream: random schedules differ by seed and repeat with it") {
  const auto run = [](const std::string& seed) {
    const Session cuda("FAKECUDA_SCHEDULE=random:" + seed);
    std::vector<CUstream> streams;
    std::vector<int> list;
    std::vector<Mark> marks;
    for (int i = 0; i < 40; ++i) marks.push_back({&list, i});
    for (int i = 0; i < 4; ++i) streams.push_back(cuda.stream());
    for (int i = 0; i < 40; ++i) {
      OK(cuda.cuLaunchHostFunc(streams[static_cast<size_t>(i % 4)], append, &marks[i]));
    }
    OK(cuda.cuCtxSynchronize());
    return list;
  };
  CHECK(run("1") == run("1"));
  CHECK(run("1") != run("2"));
  std::vector<int> sorted = run("3");
  CHECK_FALSE(std::is_sorted(sorted.begin(), sorted.end()));
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted.size() == 40);
}

TEST_CASE("stream: asking whether work is done brings it nearer") {
  const std::string schedule = GENERATE(from_range(schedules()));
  const Session cuda("FAKECUDA_SCHEDULE=" + schedule);
  const CUstream a = cuda.stream(), b = cuda.stream();
  const CUevent done_a = cuda.event(), done_b = cuda.event();
  std::vector<int> list;
  Mark mark{&list, 1};
  for (int i = 0; i < 5; ++i) OK(cuda.cuLaunchHostFunc(a, append, &mark));
  OK(cuda.cuEventRecord(done_a, a));
  OK(cuda.cuStreamWaitEvent(b, done_a, 0));
  OK(cuda.cuEventRecord(done_b, b));
  int asked = 0;
  while (cuda.cuEventQuery(done_b) == CUDA_ERROR_NOT_READY && asked < 100) ++asked;
  CHECK(asked < 100);
  CHECK(list.size() == 5);
}

TEST_CASE("stream: a destroyed stream still does its work") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  std::vector<int> list;
  Mark mark{&list, 1};
  OK(cuda.cuLaunchHostFunc(stream, append, &mark));
  OK(cuda.cuStreamDestroy_v2(stream));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuda.cuStreamSynchronize(stream));
  OK(cuda.cuCtxSynchronize());
  CHECK(list == std::vector<int>{1});
}

TEST_CASE("stream: events tell the order and the amount of work between them") {
  const Session cuda;
  const CUstream stream = cuda.stream();
  const CUevent start = cuda.event(), end = cuda.event();
  const CUevent untimed = cuda.event(CU_EVENT_DISABLE_TIMING);
  std::vector<int> list;
  Mark mark{&list, 1};
  float milliseconds = 0;
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuda.cuEventElapsedTime(&milliseconds, start, end));
  OK(cuda.cuEventRecord(start, stream));
  OK(cuda.cuLaunchHostFunc(stream, append, &mark));
  OK(cuda.cuEventRecord(end, stream));
  OK(cuda.cuEventRecord(untimed, stream));
  EXPECT(CUDA_ERROR_NOT_READY, cuda.cuEventElapsedTime(&milliseconds, start, end));
  OK(cuda.cuEventSynchronize(untimed));
  OK(cuda.cuEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds > 0);
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuda.cuEventElapsedTime(&milliseconds, start, untimed));
}

TEST_CASE("stream: properties of a stream are what it was made with") {
  const Session cuda;
  CUstream stream = nullptr;
  int priority = 0, least = 0, greatest = 0;
  unsigned flags = 0;
  CUcontext context = nullptr;
  OK(cuda.cuCtxGetStreamPriorityRange(&least, &greatest));
  OK(cuda.cuStreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, -100));
  OK(cuda.cuStreamGetPriority(stream, &priority));
  CHECK(priority == greatest);
  OK(cuda.cuStreamGetFlags(stream, &flags));
  CHECK(flags == CU_STREAM_NON_BLOCKING);
  OK(cuda.cuStreamGetCtx(stream, &context));
  CHECK(context == cuda.context);
  OK(cuda.cuStreamGetCtx(nullptr, &context));
  CHECK(context == cuda.context);
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuda.cuStreamCreate(&stream, 7));
}
