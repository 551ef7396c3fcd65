#pragma once
// A lock for sections of a few instructions: half the cost of a mutex that nobody waits for. Who
// finds it taken spins a little, then lets other threads run, then sleeps, so that a holder of
// lower priority gets on. Used with std::lock_guard.

#include <atomic>
#include <chrono>
#include <thread>

namespace cermet::ir {

class SpinLock {
 public:
  void lock() {
    for (int tries = 0; taken_.exchange(true, std::memory_order_acquire); ++tries) {
      if (tries < 64)
        __builtin_ia32_pause();
      else if (tries < 128)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
  void unlock() { taken_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> taken_ = false;
};

}  // namespace cermet::ir
