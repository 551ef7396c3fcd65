#pragma once
// Walking an index space in row-major order beside a strided position, without a division per step:
// the plain loops of the interpreter over arrays of any rank.

#include "cermet/shape.h"

namespace cermet::ir {

class Walk {
 public:
  // At index 0; position() is then `offset`, and grows by strides[d] with index d.
  Walk(std::span<const int64_t> shape, std::span<const int64_t> strides, int64_t offset = 0)
      : shape_(shape), strides_(strides), index_(shape.size(), 0), position_(offset) {}

  int64_t position() const { return position_; }
  const Dims& index() const { return index_; }

  // To the next index; after the last one, to the first.
  void next() {
    for (size_t d = shape_.size(); d-- > 0;) {
      position_ += strides_[d];
      if (++index_[d] < shape_[d]) return;
      position_ -= strides_[d] * shape_[d];
      index_[d] = 0;
    }
  }

 private:
  Shape shape_;
  Strides strides_;
  Dims index_;
  int64_t position_;
};

// An array seen from one of its axes: extents before it, along it and behind it.
struct AxisSplit {
  int64_t outer = 1, extent = 1, inner = 1;

  AxisSplit(std::span<const int64_t> shape, int64_t axis)
      : outer(numel(shape.first(size_t(axis)))),
        extent(shape[size_t(axis)]),
        inner(numel(shape.subspan(size_t(axis) + 1))) {}
};

}  // namespace cermet::ir
