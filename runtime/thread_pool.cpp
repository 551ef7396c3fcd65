#include "runtime/thread_pool.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "cermet/error.h"

namespace cermet::runtime {
namespace {

// Bounded, because spinning on a crowded machine takes the core from the thread that is waited for.
// 20 - 50 us is the cost of a sleep and a wake.
constexpr auto spin_time = std::chrono::microseconds(30);
// Units per thread: enough to even out unequal tasks, few enough that claiming costs nothing.
constexpr int64_t units_per_thread = 16;

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Sleeps while `word` is `value`; may return early.
void sleep_on(std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, nullptr,
          nullptr, 0);
}

void wake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, count, nullptr,
          nullptr, 0);
}

// True as soon as done() is; false after spin_time. Without `allowed` only one look is taken.
template <class Done>
bool spin_until(bool allowed, Done done) {
  if (done()) return true;
  if (!allowed) return false;
  const auto end = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

int usable_cpus() {
  // The kernel refuses a set smaller than its own; ask with larger ones until it fits.
  for (size_t cpus = 1024; cpus <= size_t(1) << 20; cpus *= 2) {
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    std::vector<unsigned long> set(bytes / sizeof(unsigned long));
    auto* raw = reinterpret_cast<cpu_set_t*>(set.data());
    if (sched_getaffinity(0, bytes, raw) == 0) return std::max(1, CPU_COUNT_S(bytes, raw));
    if (errno != EINVAL) break;
  }
  return std::max(1, int(sysconf(_SC_NPROCESSORS_ONLN)));
}

void rethrow(const std::exception_ptr& exception) {
  if (exception) std::rethrow_exception(exception);
}

}  // namespace

int ThreadPool::default_threads() {
  const char* text = std::getenv("CERMET_NUM_THREADS");
  if (!text) return std::min(usable_cpus(), max_threads);
  const std::string_view view = text;
  int threads = 0;
  const auto [end, error] = std::from_chars(view.begin(), view.end(), threads);
  if (error != std::errc() || end != view.end() || threads < 1 || threads > max_threads)
    throw Error(fmt::format("CERMET_NUM_THREADS: expected an integer from 1 to {}, got \"{}\"",
                            max_threads, view));
  return threads;
}

ThreadPool::ThreadPool(int threads) : process_(getpid()) {
  if (threads < 1 || threads > max_threads)
    throw Error(fmt::format("ThreadPool: expected 1 to {} threads, got {}", max_threads, threads));
  spins_ =
      threads <= usable_cpus();  // with more threads than CPUs a spinner only delays the others
  workers_.reserve(size_t(threads - 1));
  for (int worker = 1; worker < threads; ++worker) {
    auto start = std::make_unique<Start>(Start{this, worker});
    pthread_t thread;
    if (const int error = pthread_create(&thread, nullptr, &ThreadPool::enter, start.get())) {
      stop();
      throw DeviceError(fmt::format("ThreadPool: {} of {} threads could be started: {}", worker,
                                    threads, std::generic_category().message(error)));
    }
    (void)start.release();  // enter() owns it now
    workers_.push_back(thread);
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  if (getpid() != process_) return;  // a forked child: the threads exist in the parent only
  stopping_.store(true);
  epoch_.fetch_add(1);
  wake(epoch_, INT_MAX);
  for (const pthread_t worker : workers_) pthread_join(worker, nullptr);
}

void* ThreadPool::enter(void* raw) {
  const std::unique_ptr<Start> start(static_cast<Start*>(raw));
  start->pool->work(start->worker);
  return nullptr;
}

void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  while (true) {
    const auto changed = [&] { return epoch_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(spins_, changed)) {
      // sleepers_ before the last look at epoch_, parallel_for the other way round: one of the two
      // sees the other (both orders are sequentially consistent).
      sleepers_.fetch_add(1);
      while (epoch_.load() == seen) sleep_on(epoch_, seen);
      sleepers_.fetch_sub(1);
    }
    seen = epoch_.load(std::memory_order_acquire);
    if (stopping_.load()) return;
    run_units(worker);
  }
}

// Claims units of the current job until there are none left.
void ThreadPool::run_units(int worker) {
  uint64_t claim = claim_.load(std::memory_order_acquire);
  while (true) {
    // Acquire: whoever sees a field of a later job also sees that claim_ was closed before it was
    // written, and the exchange below fails. If it succeeds the job cannot end before this unit.
    const Job job = {body_.load(std::memory_order_acquire), tasks_.load(std::memory_order_acquire),
                     grain_.load(std::memory_order_acquire),
                     units_.load(std::memory_order_acquire)};
    const auto unit = uint32_t(claim);
    if (unit >= job.units) return;
    if (!claim_.compare_exchange_weak(claim, claim + 1, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
      continue;
    const int64_t begin = int64_t(unit) * job.grain;
    const int64_t end = std::min(begin + job.grain, job.tasks);
    for (int64_t task = begin; task < end; ++task) exception_.run(*job.body, task, worker);
    if (finished_.fetch_add(1) + 1 == job.units && caller_sleeps_.load()) wake(finished_, 1);
    claim = claim_.load(std::memory_order_acquire);
  }
}

void ThreadPool::FirstException::run(const Body& body, int64_t task, int worker) {
  try {
    body(task, worker);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!exception_ || task < task_) exception_ = std::current_exception(), task_ = task;
  }
}

std::exception_ptr ThreadPool::FirstException::take() { return std::exchange(exception_, nullptr); }

void ThreadPool::wait_for_units(uint32_t units) {
  if (spin_until(spins_, [&] { return finished_.load(std::memory_order_acquire) == units; }))
    return;
  caller_sleeps_.store(true);
  for (uint32_t now; (now = finished_.load()) != units;) sleep_on(finished_, now);
  caller_sleeps_.store(false);
}

std::shared_ptr<const ThreadPool::Borrowed> ThreadPool::borrowed() const {
  if (!borrows_.load(std::memory_order_acquire)) return nullptr;
  std::lock_guard lock(borrowed_mutex_);
  return borrowed_;
}

void ThreadPool::borrow(Loop loop, int threads) {
  std::lock_guard lock(borrowed_mutex_);
  borrowed_ = loop ? std::make_shared<const Borrowed>(Borrowed{std::move(loop), threads}) : nullptr;
  borrows_.store(borrowed_ != nullptr, std::memory_order_release);
}

int ThreadPool::threads() const {
  const auto lent = borrowed();
  return lent ? lent->threads : int(workers_.size()) + 1;
}

// Each round of the loop is a worker that takes tasks until there are none left, so a loop that
// runs one round after the other is as good.
void ThreadPool::run_borrowed(const Borrowed& borrowed, int64_t tasks, Body body, int most) {
  std::atomic<int64_t> next = 0, finished = 0;
  FirstException exception;
  const std::function<void(int)> work = [&](int worker) {
    for (int64_t task; (task = next.fetch_add(1)) < tasks;) {
      exception.run(body, task, worker);
      finished.fetch_add(1);
    }
  };
  borrowed.loop(int(std::min<int64_t>({tasks, borrowed.threads, most})), work);
  if (finished.load() != tasks)
    throw Error("set_parallel_for: the loop returned before all of its rounds had");
  rethrow(exception.take());
}

void ThreadPool::parallel_for(int64_t tasks, Body body, int most) {
  if (tasks <= 0) return;
  if (const auto lent = borrowed(); lent && tasks > 1 && most > 1)
    return run_borrowed(*lent, tasks, body, most);
  if (tasks == 1 || most <= int(workers_.size()) || workers_.empty() ||
      taken_.exchange(true, std::memory_order_acquire)) {
    FirstException exception;
    for (int64_t task = 0; task < tasks; ++task) exception.run(body, task, 0);
    return rethrow(exception.take());
  }
  const int64_t wanted = units_per_thread * (int64_t(workers_.size()) + 1);
  const int64_t grain = tasks / wanted + (tasks % wanted != 0);
  const auto units = uint32_t(tasks / grain + (tasks % grain != 0));
  const uint64_t number = (claim_.load(std::memory_order_relaxed) >> 32) + 1;
  claim_.store((number << 32) - 1);  // the last job's number, a unit that no job has: closed
  body_.store(&body, std::memory_order_release);
  tasks_.store(tasks, std::memory_order_release);
  grain_.store(grain, std::memory_order_release);
  units_.store(units, std::memory_order_release);
  finished_.store(0, std::memory_order_relaxed);
  claim_.store(number << 32);
  epoch_.fetch_add(1);
  if (sleepers_.load() > 0) wake(epoch_, std::min(int(workers_.size()) + 1, int(units)) - 1);
  run_units(0);
  wait_for_units(units);

  // Written before the last unit was counted as finished.
  const std::exception_ptr first = exception_.take();
  taken_.store(false, std::memory_order_release);
  rethrow(first);
}

}  // namespace cermet::runtime
