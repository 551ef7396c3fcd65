#include "runtime/open_runs.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <optional>

#include "runtime/devices.h"
#include "runtime/mistakes.h"
#include "runtime/tensor_state.h"

namespace cermet::runtime {
namespace {

// An error that a thread is to be told of.
class Inbox {
 public:
  void put(const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = error, full_ = true;
  }
  void open() {
    if (!full_) return;
    const std::lock_guard lock(mutex_);
    full_ = false;
    if (const auto error = std::exchange(error_, std::nullopt)) throw *error;
  }

 private:
  std::atomic<bool> full_ = false;
  std::mutex mutex_;  // guards what follows
  std::optional<Error> error_;
};

// This thread's. Destructors of static objects run when that of the main thread is gone.
const std::shared_ptr<Inbox>& inbox() {
  static const auto* const late = new auto(std::make_shared<Inbox>());
  thread_local bool gone = false;
  struct Mine {
    std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();
    ~Mine() { gone = true; }
  };
  if (gone) return *late;
  thread_local const Mine mine;
  return mine.inbox;
}

struct Run {
  std::shared_ptr<Outcome> outcome;
  int place;
  SourceLocation where;
  std::shared_ptr<Inbox> inbox;  // of the thread that realized it
  std::vector<OpenResult> results;
};

const DeviceStorage& on_device(const ir::Storage& elements) {
  return dynamic_cast<const DeviceStorage&>(elements);
}

// Computes a result once more and puts it where the wrong one was. Returns what is wrong, if it
// still is.
std::optional<Error> repair(const OpenResult& result) {
  if (!result.elements->failed()) return std::nullopt;  // an earlier run's, repaired with it
  try {
    const auto again = realize_now(std::span(&result.value, 1), result.numerics);
    on_device(*result.elements).replace(on_device(*again[0]).buffer());
    return std::nullopt;
  } catch (const Error& e) {
    return e;
  }
}

void undo(Run& run) {
  std::optional<Error> first;  // of what was asked for
  std::vector<std::shared_ptr<Cell>> wrong;
  for (const OpenResult& result : run.results) {
    const std::shared_ptr<Cell> cell = result.cell.lock();
    if (!cell && !result.asked) continue;
    const std::optional<Error> mistake = repair(result);
    if (mistake && result.asked && !first) first = mistake;
    if (!cell) continue;
    if (!mistake) {
      cell->settled(*result.elements);
    } else {
      cell->failed(*result.elements, cell);
      wrong.push_back(cell);
    }
  }
  if (!first) {  // the updates that nobody asked for are to blame, and stay pending
    for (const auto& cell : wrong) cell->withhold();
    return;
  }
  undo_mistakes(wrong, first->message());
  if (!run.outcome->cause().told.exchange(true)) run.inbox->put(Error(first->message(), run.where));
}

class OpenRuns {
 public:
  void add(Run run) {
    const std::lock_guard lock(mutex_);
    runs_.push_back(std::make_shared<Run>(std::move(run)));
    ++count_;
  }

  bool empty() const { return count_ == 0; }

  void settle(Settle which, int place) {
    if (empty()) return;
    std::unique_lock settling(settling_, std::defer_lock);
    if (which == Settle::All)
      settling.lock();
    else if (!settling.try_lock())
      return;  // another thread is at it
    std::vector<int> busy;
    while (const std::shared_ptr<Run> run = next(which, place, busy)) {
      try {
        if (which == Settle::All)
          run->outcome->wait();
        else if (!run->outcome->finished()) {
          busy.push_back(run->place);
          continue;
        }
      } catch (const DeviceError&) {
        remove(run);  // nothing more will be known of it
        throw;
      }
      remove(run);
      if (run->outcome->failed()) {
        undo(*run);
      } else {
        for (const OpenResult& result : run->results)
          if (const auto cell = result.cell.lock()) cell->settled(*result.elements);
      }
    }
  }

 private:
  // The oldest run of a GPU that is not busy.
  std::shared_ptr<Run> next(Settle which, int place, const std::vector<int>& busy) const {
    const std::lock_guard lock(mutex_);
    const auto fits = [&](const std::shared_ptr<Run>& run) {
      return which == Settle::All ? place < 0 || run->place == place
                                  : std::ranges::find(busy, run->place) == busy.end();
    };
    const auto at = std::ranges::find_if(runs_, fits);
    return at == runs_.end() ? nullptr : *at;
  }
  void remove(const std::shared_ptr<Run>& run) {
    const std::lock_guard lock(mutex_);
    count_ -= std::erase(runs_, run);
  }

  std::mutex settling_;  // held while runs are dealt with, one after the other
  std::atomic<size_t> count_ = 0;
  mutable std::mutex mutex_;  // guards what follows
  std::deque<std::shared_ptr<Run>> runs_;
};

OpenRuns& open_runs() {
  static auto* runs = new OpenRuns;  // outlives every static Tensor
  return *runs;
}

}  // namespace

void add_open_runs(std::span<const OpenResult> results, const SourceLocation& where) {
  std::vector<Run> runs;  // one for each outcome, which is one for each GPU
  for (const OpenResult& result : results) {
    const std::shared_ptr<Outcome> outcome = outcome_of(*result.elements);
    if (!outcome) continue;
    auto run = std::ranges::find(runs, outcome, &Run::outcome);
    if (run == runs.end()) {
      runs.push_back({outcome, result.elements->place(), where, inbox(), {}});
      run = runs.end() - 1;
    }
    run->results.push_back(result);
  }
  for (Run& run : runs) open_runs().add(std::move(run));
}

void settle_runs(Settle which, int place) {
  open_runs().settle(which, place);
  inbox()->open();
}

bool runs_are_open() { return !open_runs().empty(); }

}  // namespace cermet::runtime
