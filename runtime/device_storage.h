#pragma once
// Elements in the memory of a GPU, as the graph sees them.

#include "ir/node.h"
#include "runtime/cuda/memory.h"

namespace cermet::runtime {

class DeviceStorage : public ir::Storage {
 public:
  explicit DeviceStorage(cuda::DeviceBuffer buffer) : buffer_(std::move(buffer)) {}
  const void* host_data() const override { return nullptr; }
  int place() const override { return 1 + buffer_.card().index(); }
  const cuda::DeviceBuffer& buffer() const { return buffer_; }

 private:
  cuda::DeviceBuffer buffer_;
};

}  // namespace cermet::runtime
