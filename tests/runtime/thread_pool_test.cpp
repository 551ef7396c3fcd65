#include "runtime/thread_pool.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "cermet/error.h"
#include "support/catch.h"
#include "support/environment.h"

using cermet::runtime::ThreadPool;
using cermet::test::EnvironmentVariable;

TEST_CASE("thread pool: tasks run in a loop that was lent, each once") {
  ThreadPool pool(2);
  int calls = 0, most = 0;
  const ThreadPool::Loop one_by_one = [&](int count, const std::function<void(int)>& body) {
    ++calls, most = std::max(most, count);
    for (int i = count; i-- > 0;) body(i);
  };
  const ThreadPool::Loop on_threads = [](int count, const std::function<void(int)>& body) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back([&, i] { body(i); });
    for (std::thread& t : threads) t.join();
  };
  const auto run = [&](int64_t tasks, int limit) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
    std::atomic<bool> worker_ok = true;
    pool.parallel_for(
        tasks,
        [&](int64_t task, int worker) {
          ++runs[size_t(task)];
          if (worker < 0 || worker >= limit) worker_ok = false;
        },
        limit);
    for (auto& r : runs) CHECK(r == 1);
    CHECK(worker_ok);
  };
  pool.borrow(one_by_one, 5);
  CHECK(pool.threads() == 5);
  run(100, 5), run(3, 5), run(100, 2);
  CHECK(calls == 3);
  CHECK(most == 5);
  run(1, 5);  // one task stays with the caller
  CHECK(calls == 3);
  pool.borrow(on_threads, 4);
  run(1000, 4);
  CHECK_THROWS_WITH(pool.parallel_for(9,
                                      [](int64_t task, int) {
                                        if (task % 4 == 3)
                                          throw std::runtime_error(std::to_string(task));
                                      }),
                    "3");
  pool.borrow([](int, const std::function<void(int)>&) {}, 3);
  CHECK_THROWS_AS(run(10, 3), cermet::Error);
  pool.borrow({}, 0);
  CHECK(pool.threads() == 2);
  run(100, 2);
}

TEST_CASE("thread pool: every task runs exactly once, whatever the counts") {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    REQUIRE(pool.threads() == threads);
    for (int64_t tasks : {0, 1, 2, 3, 15, 16, 17, 31, 33, 1000, 4099}) {
      std::vector<std::atomic<int>> runs(size_t(tasks) + 1);
      std::atomic<bool> worker_ok = true;
      pool.parallel_for(tasks, [&](int64_t task, int worker) {
        ++runs[size_t(task)];
        if (worker < 0 || worker >= threads) worker_ok = false;
      });
      bool once = true;
      for (int64_t i = 0; i < tasks; ++i) once = once && runs[size_t(i)] == 1;
      CHECK(once);
      CHECK(runs[size_t(tasks)] == 0);
      CHECK(worker_ok);
    }
    pool.parallel_for(-5, [](int64_t, int) { FAIL("a negative count has no tasks"); });
  }
}

TEST_CASE("thread pool: writes of the tasks are seen by the caller, job after job") {
  ThreadPool pool(4);
  std::vector<int64_t> values(97);
  for (int64_t round = 0; round < 3000; ++round) {
    pool.parallel_for(97, [&](int64_t task, int) { values[size_t(task)] = round + task; });
    const int64_t sum = std::accumulate(values.begin(), values.end(), int64_t(0));
    if (sum != 97 * round + 97 * 96 / 2) FAIL("round " << round << ": sum is " << sum);
  }
}

TEST_CASE("thread pool: a worker's index is its own while a task runs") {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> inside(4);
  std::atomic<bool> clash = false;
  for (int round = 0; round < 200; ++round)
    pool.parallel_for(64, [&](int64_t, int worker) {
      if (++inside[size_t(worker)] != 1) clash = true;
      --inside[size_t(worker)];
    });
  CHECK_FALSE(clash);
}

TEST_CASE("thread pool: workers take part, also after they went to sleep") {
  ThreadPool pool(2);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(round));
    // Two tasks that wait for each other need two threads.
    std::atomic<int> arrived = 0;
    pool.parallel_for(2, [&](int64_t, int) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    CHECK(arrived == 2);
  }
}

TEST_CASE("thread pool: the caller sleeps while a long task runs, and is woken") {
  ThreadPool pool(2);
  std::atomic<bool> caller_in = false, done = false;
  pool.parallel_for(2, [&](int64_t, int worker) {
    if (worker == 0) {
      caller_in = true;
    } else {
      while (!caller_in) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      done = true;
    }
    if (worker == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  CHECK(caller_in);
}

TEST_CASE("thread pool: nested calls run inline") {
  ThreadPool pool(4);
  std::atomic<int64_t> count = 0;
  pool.parallel_for(8, [&](int64_t, int) {
    const std::thread::id outer = std::this_thread::get_id();
    pool.parallel_for(10, [&](int64_t, int worker) {
      if (std::this_thread::get_id() == outer && worker == 0) ++count;
      pool.parallel_for(2, [&](int64_t, int) { ++count; });
    });
  });
  CHECK(count == 8 * 10 * 3);
}

TEST_CASE("thread pool: user threads may call at the same time") {
  ThreadPool pool(3);
  std::vector<std::thread> users;
  std::vector<int64_t> sums(4);
  for (size_t user = 0; user < sums.size(); ++user)
    users.emplace_back([&, user] {
      for (int round = 0; round < 300; ++round) {
        std::vector<int64_t> part(50);
        pool.parallel_for(50, [&](int64_t task, int) { part[size_t(task)] = task; });
        sums[user] += std::accumulate(part.begin(), part.end(), int64_t(0));
      }
    });
  for (std::thread& user : users) user.join();
  for (int64_t sum : sums) CHECK(sum == 300 * 50 * 49 / 2);
}

TEST_CASE("thread pool: two pools that call each other do not deadlock") {
  ThreadPool a(2), b(2);
  std::atomic<int> count = 0;
  a.parallel_for(4, [&](int64_t, int) {
    b.parallel_for(4, [&](int64_t, int) { a.parallel_for(4, [&](int64_t, int) { ++count; }); });
  });
  CHECK(count == 64);
}

TEST_CASE("thread pool: the exception of the lowest task arrives, the other tasks still run") {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 50; ++round) {
      std::atomic<int> runs = 0;
      try {
        pool.parallel_for(200, [&](int64_t task, int) {
          ++runs;
          if (task % 50 == 17) throw std::runtime_error(std::to_string(task));
        });
        FAIL("no exception arrived");
      } catch (const std::runtime_error& error) {
        if (error.what() != std::string("17")) FAIL("got the exception of task " << error.what());
      }
      if (runs != 200) FAIL("ran " << runs << " tasks of 200");
    }
    int after = 0;
    pool.parallel_for(1, [&](int64_t, int) { ++after; });
    CHECK(after == 1);
  }
}

TEST_CASE("thread pool: CERMET_NUM_THREADS decides, and a bad value is named") {
  {
    const EnvironmentVariable set("CERMET_NUM_THREADS", "3");
    CHECK(ThreadPool::default_threads() == 3);
  }
  for (const char* bad : {"", "0", "-1", "two", "3 ", "1025", "99999999999999999999"}) {
    const EnvironmentVariable set("CERMET_NUM_THREADS", bad);
    CHECK_THROWS_WITH(
        ThreadPool::default_threads(),
        "CERMET_NUM_THREADS: expected an integer from 1 to 1024, got \"" + std::string(bad) + "\"");
  }
  CHECK_THROWS_AS(ThreadPool(0), cermet::Error);
  CHECK_THROWS_AS(ThreadPool(-3), cermet::Error);
}

TEST_CASE("thread pool: without CERMET_NUM_THREADS the affinity mask decides") {
  const EnvironmentVariable unset("CERMET_NUM_THREADS", nullptr);
  int threads = 0;
  std::thread([&] {  // the mask of a thread of its own, so that the others keep theirs
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
      if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    threads = ThreadPool::default_threads();
  })
      .join();
  CHECK(threads == 1);
}

TEST_CASE("thread pool: a forked child works alone and ends") {
  ThreadPool pool(4);
  pool.parallel_for(8, [](int64_t, int) {});
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a hang ends the child by a signal, which the parent reports
    std::atomic<int> runs = 0;
    pool.parallel_for(100, [&](int64_t, int) { ++runs; });
    {
      ThreadPool own(2);
      own.parallel_for(100, [&](int64_t, int) { ++runs; });
    }
    pool.~ThreadPool();
    _exit(runs == 200 ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
