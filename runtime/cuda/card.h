#pragma once
// One GPU as the driver shows it: its facts, its context, and how its errors are reported.
//
// The context is the primary one, which other libraries in the process (PyTorch, the CUDA runtime)
// use as well, so memory and streams can be exchanged with them; or the caller's own. Functions of
// this folder make it current for as long as they run and leave the caller's context as it was.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/cuda/driver.h"
#include "runtime/cuda/launch_log.h"

namespace cermet::runtime::cuda {

struct CardFacts {
  std::string name;            // "NVIDIA H100 80GB HBM3"
  int compute_capability = 0;  // 90
  int multiprocessors = 0;
  int64_t memory_bytes = 0;
  int64_t l2_bytes = 0;
  int64_t threads_per_block = 0;
  int64_t shared_bytes_per_block = 0;  // the most that a kernel can ask for
  int64_t shared_bytes_per_multiprocessor = 0;
  int64_t grid[3] = {};  // the most blocks along x, y and z
};

// Whether a variable of the environment is 1. Throws Error unless it is that, 0, empty or not set.
bool switched_on(const char* variable);

struct CardOptions {
  // Wait after each launch, so that an error names the kernel that made it.
  bool wait_after_launch = false;
  // A context of the caller's, which must outlive the card; null: the primary one.
  CUctx_st* context = nullptr;

  // wait_after_launch is set by CERMET_CUDA_SYNC=1.
  static CardOptions from_environment();
};

// How many GPUs the driver shows. Throws DeviceError where it cannot say.
int card_count(const Driver& driver);

// Thread-safe. Everything made from a card keeps it.
class Card {
 public:
  // Throws Error, naming how many there are, for an index that does not exist; DeviceError where
  // the driver refuses.
  static std::shared_ptr<Card> open(const Driver& driver, int index, const CardOptions& options);
  ~Card();
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  const Driver& driver() const { return driver_; }
  int index() const { return index_; }
  CUctx_st* context() const { return context_; }
  const CardFacts& facts() const { return facts_; }
  bool waits_after_launch() const { return options_.wait_after_launch; }
  LaunchLog& launches() const { return launches_; }

  // Makes the context current until the object dies. One inside of another of the same card calls
  // nothing: the code in between must leave the thread's context as it finds it.
  class Current {
   public:
    explicit Current(const Card& card);
    ~Current() { pop(); }
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

   protected:
    enum class Quiet { Yes };
    Current(const Card& card, Quiet) noexcept;
    bool holds() const { return holds_; }

   private:
    Result push(const Card& card) noexcept;
    void pop() noexcept;
    const Card* pushed_ = nullptr;  // null: it was current already
    CUctx_st* outer_ = nullptr;     // the context of the Current of this thread around this one
    bool holds_ = false;
  };

  // The same for destructors: does not throw, but may fail, and then there is nothing to be done.
  class CurrentIfPossible : public Current {
   public:
    explicit CurrentIfPossible(const Card& card) noexcept : Current(card, Quiet::Yes) {}
    explicit operator bool() const { return holds(); }
  };

  // Throws DeviceError unless the call succeeded: with the card, the call, the driver's own text
  // and, if a kernel may be to blame, the last launches.
  void check(Result result, const char* call) const {
    if (result != Result::Success) fail(result, call);
  }
  [[noreturn]] void fail(Result result, const char* call) const;

  // Throws Error unless the address is memory of this card that its context can use.
  void require_memory(Address address) const;

  // Waits for everything on the card. Throws what any of it did wrong.
  void synchronize() const;
  // Whether an error ended the context: nothing works on the card in this process any more.
  bool lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  Card(const Driver& driver, int index, const CardOptions& options);

  const Driver& driver_;
  int index_;
  CardOptions options_;
  int device_ = 0;  // the driver's number of it
  CUctx_st* context_ = nullptr;
  CardFacts facts_;
  mutable LaunchLog launches_;
  mutable std::atomic<bool> lost_ = false;
};

}  // namespace cermet::runtime::cuda
