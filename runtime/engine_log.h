#pragma once
// What an engine counts and remembers of its work, for statistics() and explain().

#include <cstdint>
#include <string>
#include <vector>

#include "ir/spin_lock.h"

namespace cermet::runtime {

// One compile, and why it happened.
struct CompileRecord {
  std::string kernel;  // its name
  std::string reason;  // "new kernel" or what differs from the kernel of this name before:
                       // "argument class ..."
  double milliseconds = 0;
};

struct EngineStats {
  int64_t realizes = 0;  // requests that ran something
  int64_t plan_hits = 0, plan_misses = 0;
  int64_t kernel_hits = 0;  // in memory
  int64_t disk_hits = 0;
  int64_t compiles = 0;  // by LLVM or NVRTC
  int64_t launches = 0;
};

// Thread-safe.
class EngineLog {
 public:
  void count(int64_t EngineStats::* what);
  void add_realize(int64_t launches);
  // The same, of a program that was known.
  void add_known_realize(int64_t launches);
  void add_compile(CompileRecord record);

  EngineStats stats() const;
  // Every compile since the start, or the last reset, in order; at least the last 32768.
  std::vector<CompileRecord> compiles() const;
  void reset();

 private:
  mutable ir::SpinLock lock_;  // guards what follows
  EngineStats stats_;
  std::vector<CompileRecord> records_;
};

}  // namespace cermet::runtime
