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
  // Others may write to the memory at any time: see BufferStorage.
  static std::shared_ptr<const DeviceStorage> borrowed_from(cuda::DeviceBuffer buffer) {
    auto out = std::make_shared<DeviceStorage>(std::move(buffer));
    out->borrowed_ = true;
    return out;
  }

  const void* host_data() const override { return nullptr; }
  int place() const override { return place_; }
  bool borrowed() const override { return borrowed_; }
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
  // The elements are elsewhere: computed once more, with success, or copied because their memory
  // is about to be written. Whoever has this storage reads those.
  void replace(cuda::DeviceBuffer buffer) const {
    const std::lock_guard lock(mutex_);
    buffer_ = std::move(buffer);
    outcome_ = nullptr;
  }

 private:
  const int place_;
  bool borrowed_ = false;
  mutable std::mutex mutex_;  // guards what follows
  mutable cuda::DeviceBuffer buffer_;
  mutable std::shared_ptr<Outcome> outcome_;
};

}  // namespace cermet::runtime
