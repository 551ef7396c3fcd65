#pragma once
// Elements that are computed on one device and wanted on another, when somebody asks for them.
//
// A single number of the CPU next to tensors of a GPU, and the gradient of a leaf that was brought
// to a GPU, are yet to be computed when an expression is recorded. A Data node with such a storage
// stands for them there, so that recording computes nothing.

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "cermet/device.h"
#include "ir/node.h"

namespace cermet::runtime {

class DeferredCopy : public ir::Storage {
 public:
  DeferredCopy(ir::Value value, const Device& device);
  ~DeferredCopy() override;
  DeferredCopy(const DeferredCopy&) = delete;
  DeferredCopy& operator=(const DeferredCopy&) = delete;

  const void* host_data() const override { return resolved()->host_data(); }
  int place() const override { return place_; }
  bool failed() const override;

  // The elements on the device; the first call computes and copies them. Throws what that throws,
  // and a later call then tries again.
  std::shared_ptr<const ir::Storage> resolved() const;
  // Null if they are not there yet.
  std::shared_ptr<const ir::Storage> known() const;
  // What is to be computed; empty afterwards.
  ir::Value pending() const;

 private:
  const int place_;
  mutable std::mutex resolving_;
  mutable std::mutex mutex_;  // guards what follows
  mutable ir::Value value_;
  mutable std::shared_ptr<const ir::Storage> elements_;
};

// The value on a device as a Data node, of elements that are computed when they are needed. Where
// computing may find an index out of range, or reads memory that may change, it happens now. The
// gradient is brought back to where the value is.
ir::Value later_on(const ir::Value& value, const Device& device);

// `moved` with a gradient that is brought back to where `value`, what it was moved from, is.
ir::Value with_way_back(const ir::Value& moved, const ir::Value& value);

// The storage that has the elements: of a DeferredCopy the one that it stands for, which is
// computed if it is not there yet.
std::shared_ptr<const ir::Storage> resolved(const std::shared_ptr<const ir::Storage>& storage);

// Computes all that expressions wait for, however long the chains are.
void resolve_below(std::span<const ir::Value> roots);

}  // namespace cermet::runtime
