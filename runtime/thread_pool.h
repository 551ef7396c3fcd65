#pragma once
// The threads that run CPU kernels.
//
// parallel_for publishes a job of numbered units and takes part itself. Whoever is free claims the
// next unit with one compare-and-swap on a word that holds the job's number and the next unit, so a
// thread that comes late (or never: a forked child has no workers) costs nothing: the caller waits
// for units that were claimed, not for threads. Idle workers spin for some tens of microseconds,
// because waking a sleeper costs about 20 us against 0.5 us for a spinner, and then sleep in the
// kernel.
//
// Which thread runs which task is open; what is computed must depend on the task's number alone.

#include <pthread.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/function_ref.h"

namespace cermet::runtime {

class ThreadPool {
 public:
  using Body = FunctionRef<void(int64_t task, int worker)>;

  // As many threads as the caller and `threads - 1` workers. Throws Error if threads is not in
  // 1 .. max_threads, DeviceError if the system gives no more threads.
  explicit ThreadPool(int threads = default_threads());
  ~ThreadPool();  // joins; no parallel_for may be running
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  static constexpr int max_threads = 1024;
  // CERMET_NUM_THREADS, else the number of CPUs this process may use. Throws Error for a bad value.
  static int default_threads();

  // The most threads that run the tasks of one call, the caller included.
  int threads() const;

  // A loop on somebody else's threads: calls body(i) once for each i in [0, count), several at the
  // same time if it can, and returns when all have returned.
  using Loop = std::function<void(int count, const std::function<void(int i)>& body)>;
  // From now on tasks run in the loop, at most `threads` at once; an empty one: on own threads.
  // Calls that have begun end as they began.
  void borrow(Loop loop, int threads);
  bool borrows() const { return borrows_.load(std::memory_order_acquire); }

  // Calls body(task, worker) once for each task in [0, tasks) and returns when all have returned.
  // `worker` is in [0, threads()) and differs between tasks of this call that run at the same time.
  // If the workers are taken (a nested call, another user thread) the tasks run on the caller as
  // worker 0. When tasks throw, the others still run; then the exception of the lowest task is
  // rethrown. At most `most` tasks run at the same time, and `worker` is below that.
  void parallel_for(int64_t tasks, Body body, int most = INT_MAX);

 private:
  struct Job {
    const Body* body;
    int64_t tasks, grain;  // unit u is the tasks [u * grain, (u + 1) * grain)
    uint32_t units;
  };

  // The exception of the lowest of the tasks that threw.
  class FirstException {
   public:
    void run(const Body& body, int64_t task, int worker);  // keeps what the task throws
    std::exception_ptr take();                             // null if none threw

   private:
    std::mutex mutex_;
    std::exception_ptr exception_;
    int64_t task_ = 0;
  };

  struct Borrowed {
    Loop loop;
    int threads;
  };
  std::shared_ptr<const Borrowed> borrowed() const;
  static void run_borrowed(const Borrowed& borrowed, int64_t tasks, Body body, int most);

  struct Start {  // what a new worker is told
    ThreadPool* pool;
    int worker;
  };

  static void* enter(void* start);
  void work(int worker);
  void run_units(int worker);
  void wait_for_units(uint32_t units);
  void stop();

  // Not std::thread: its destructor cannot be told that the thread was left behind by fork().
  std::vector<pthread_t> workers_;
  int process_ = 0;     // the process that owns the threads
  bool spins_ = false;  // idle threads may spin before they sleep

  std::atomic<bool> taken_ = false;  // a call owns the workers

  std::atomic<bool> borrows_ = false;  // a look at it is cheaper than the mutex
  mutable std::mutex borrowed_mutex_;
  std::shared_ptr<const Borrowed> borrowed_;

  // The current job. Its fields are atomics because a late worker may read them while the next job
  // is written; such a read is thrown away when the claim fails.
  std::atomic<const Body*> body_ = nullptr;
  std::atomic<int64_t> tasks_ = 0, grain_ = 1;
  std::atomic<uint32_t> units_ = 0;
  alignas(64) std::atomic<uint64_t> claim_ = 0;     // job number << 32 | next unit
  alignas(64) std::atomic<uint32_t> finished_ = 0;  // units of the job that are done
  std::atomic<bool> caller_sleeps_ = false;
  alignas(64) std::atomic<uint32_t> epoch_ = 0;  // counts jobs and stop(); idle workers watch it
  std::atomic<int> sleepers_ = 0;
  std::atomic<bool> stopping_ = false;

  FirstException exception_;  // of the current job
};

}  // namespace cermet::runtime
