#pragma once
// Elements in the memory of a GPU, as the graph sees them.

#include <memory>
#include <mutex>

#include "ir/node.h"
#include "runtime/cuda/memory.h"
#include "runtime/gpu_outcome.h"

namespace cermet::runtime {

class DeviceStorage : public ir::Storage {
 public:
  // With an outcome the elements are what they should be if that turns out to be good.
  explicit DeviceStorage(cuda::DeviceBuffer buffer, std::shared_ptr<Outcome> outcome = nullptr)
      : place_(1 + buffer.card().index()),
        buffer_(std::move(buffer)),
        outcome_(std::move(outcome)) {}

  const void* host_data() const override { return nullptr; }
  int place() const override { return place_; }
  bool failed() const override {
    const std::lock_guard lock(mutex_);
    return outcome_ && outcome_->failed();
  }

  cuda::DeviceBuffer buffer() const {
    const std::lock_guard lock(mutex_);
    return buffer_;
  }
  // Null if the elements are known to be what they should be.
  std::shared_ptr<Outcome> outcome() const {
    const std::lock_guard lock(mutex_);
    if (outcome_ && outcome_->good()) outcome_ = nullptr;
    return outcome_;
  }
  // The elements were computed once more, with success; whoever has this storage reads those.
  void replace(cuda::DeviceBuffer buffer) const {
    const std::lock_guard lock(mutex_);
    buffer_ = std::move(buffer);
    outcome_ = nullptr;
  }

 private:
  const int place_;
  mutable std::mutex mutex_;  // guards what follows
  mutable cuda::DeviceBuffer buffer_;
  mutable std::shared_ptr<Outcome> outcome_;
};

}  // namespace cermet::runtime
