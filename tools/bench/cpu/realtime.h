#pragma once
// Real-time priority for all threads of this process while an object lives, so that what else runs
// on the machine does not count. Where it is not permitted, nothing happens.

#include <dirent.h>
#include <sched.h>

#include <cstdlib>

namespace bench {

class RealTime {
 public:
  RealTime() { set(SCHED_RR, 5); }
  ~RealTime() { set(SCHED_OTHER, 0); }
  RealTime(const RealTime&) = delete;
  RealTime& operator=(const RealTime&) = delete;

 private:
  static void set(int policy, int priority) {
    DIR* tasks = opendir("/proc/self/task");
    if (tasks == nullptr) return;
    sched_param parameters{};
    parameters.sched_priority = priority;
    while (const dirent* entry = readdir(tasks))
      if (const int task = std::atoi(entry->d_name); task > 0)
        sched_setscheduler(task, policy, &parameters);
    closedir(tasks);
  }
};

}  // namespace bench
