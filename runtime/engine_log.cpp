#include "runtime/engine_log.h"

#include <mutex>
#include <utility>

namespace cermet::runtime {
namespace {

// A process that never stops compiling forgets what it compiled first.
constexpr size_t record_limit = 65536;

}  // namespace

void EngineLog::count(int64_t EngineStats::* what) {
  const std::lock_guard lock(lock_);
  ++(stats_.*what);
}

void EngineLog::add_realize(int64_t launches) {
  const std::lock_guard lock(lock_);
  ++stats_.realizes;
  stats_.launches += launches;
}

void EngineLog::add_known_realize(int64_t launches) {
  const std::lock_guard lock(lock_);
  ++stats_.plan_hits;
  ++stats_.realizes;
  stats_.launches += launches;
}

void EngineLog::add_compile(CompileRecord record) {
  const std::lock_guard lock(lock_);
  ++stats_.compiles;
  if (records_.size() >= record_limit)
    records_.erase(records_.begin(), records_.begin() + record_limit / 2);
  records_.push_back(std::move(record));
}

EngineStats EngineLog::stats() const {
  const std::lock_guard lock(lock_);
  return stats_;
}

std::vector<CompileRecord> EngineLog::compiles() const {
  const std::lock_guard lock(lock_);
  return records_;
}

void EngineLog::reset() {
  const std::lock_guard lock(lock_);
  stats_ = {};
  records_.clear();
}

}  // namespace cermet::runtime
