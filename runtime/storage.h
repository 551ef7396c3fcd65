#pragma once
// Buffers as the graph sees them: what a Data node and a node's computed value hold.

#include <mutex>

#include "ir/node.h"
#include "runtime/buffer.h"

namespace cermet::runtime {

class BufferStorage : public ir::Storage {
 public:
  // `borrowed`: others may write to the memory at any time (memory of the user, or ours after a
  // pointer to it was given out).
  explicit BufferStorage(Buffer buffer, bool borrowed = false)
      : buffer_(std::move(buffer)), borrowed_(borrowed) {}
  const void* host_data() const override { return buffer().data(); }
  bool borrowed() const override { return borrowed_; }
  Buffer buffer() const {
    std::lock_guard lock(mutex_);
    return buffer_;
  }
  // Points the storage at a copy of its elements, because their memory is about to be written.
  void move_to(Buffer copy) const {
    std::lock_guard lock(mutex_);
    buffer_ = std::move(copy);
  }

 private:
  mutable std::mutex mutex_;
  mutable Buffer buffer_;
  bool borrowed_;
};

// The buffer behind a storage of this runtime.
Buffer buffer_of(const ir::Storage& storage);

}  // namespace cermet::runtime
