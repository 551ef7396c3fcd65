#pragma once
// Buffers as the graph sees them: what a Data node and a node's computed value hold.

#include <memory>
#include <mutex>

#include "ir/node.h"
#include "ir/spin_lock.h"
#include "runtime/buffer.h"

namespace cermet::runtime {

class BufferStorage : public ir::Storage {
 public:
  // `borrowed`: others may write to the memory at any time (memory of the user, or ours after a
  // pointer to it was given out).
  explicit BufferStorage(Buffer buffer, bool borrowed = false)
      : buffer_(std::move(buffer)), borrowed_(borrowed) {}
  const void* host_data() const override { return borrowed_ ? buffer().data() : buffer_.data(); }
  bool borrowed() const override { return borrowed_; }
  // Whether it is memory of an allocator, and no other handle to it exists.
  bool alone() const { return !borrowed_ && !buffer_.borrowed() && buffer_.unique(); }
  Buffer buffer() const {
    const std::lock_guard lock(lock_);
    return buffer_;
  }
  // Points the storage, which is borrowed(), at a copy of its elements, because their memory is
  // about to be written.
  void move_to(Buffer copy) const {
    const std::lock_guard lock(lock_);
    buffer_ = std::move(copy);
  }

 private:
  mutable ir::SpinLock lock_;
  mutable Buffer buffer_;  // guarded by the lock if it is borrowed
  bool borrowed_;
};

inline std::shared_ptr<const BufferStorage> make_storage(Buffer buffer) {
  return std::allocate_shared<const BufferStorage>(ir::FreeListAllocator<BufferStorage>(),
                                                   std::move(buffer));
}

// The buffer behind a storage of this runtime.
Buffer buffer_of(const ir::Storage& storage);

}  // namespace cermet::runtime
