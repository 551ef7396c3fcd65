#pragma once
// The index map of a view: which element of the source each element of the result reads.
//
// A ViewMap is a short list of strided maps. The first is indexed by the result's index and
// yields a row-major position in the index space of the second, and so on; the last one yields a
// position in the source. Nearly every view is one strided map: permute, expand, slice, flip, pad,
// diagonal and windows always are, and so is a reshape that splits or merges axes which lie
// contiguously. Only a reshape across such axes adds a level (that is: one division and remainder
// per axis). Maps are composed when they are made and merged when possible, so a chain of views is
// one view.
//
// Each level has a valid interval per axis; outside of it the view reads 0 (that is how pad works).

#include <optional>
#include <string>

#include "cermet/shape.h"

namespace cermet::ir {

// index -> offset + sum(index[d] * strides[d]), valid where begin[d] <= index[d] < end[d] for all
// d.
struct StridedMap {
  Shape shape;
  Strides strides;
  int64_t offset = 0;
  Dims begin, end;

  static StridedMap contiguous(std::span<const int64_t> shape);
  bool masked() const;         // some element is invalid
  bool never_valid() const;    // no element is valid, and there are elements
  bool is_contiguous() const;  // position == row-major index, nothing masked
  // Smallest and largest position of the valid elements; nothing if there are none.
  std::optional<std::pair<int64_t, int64_t>> range() const;
  friend bool operator==(const StridedMap&, const StridedMap&) = default;
};

class ViewMap {
 public:
  // Every element of `shape` reads its own place.
  static ViewMap identity(std::span<const int64_t> shape);
  // An arbitrary strided map over a source of any shape (the caller guarantees it stays inside).
  explicit ViewMap(StridedMap map) { levels_.push_back(std::move(map)); }
  // From levels as a text file gives them; no check (see verify_view).
  explicit ViewMap(SmallVector<StridedMap, 1> levels) : levels_(std::move(levels)) {}

  const Shape& shape() const { return levels_.front().shape; }
  const SmallVector<StridedMap, 1>& levels() const { return levels_; }
  bool is_identity() const { return levels_.size() == 1 && levels_[0].is_contiguous(); }
  bool single() const { return levels_.size() == 1; }
  bool masked() const;
  bool never_valid() const;

  // Each returns the view of this view. Arguments are checked by the caller (ir/build.h).
  ViewMap permute(std::span<const int64_t> order) const;  // result axis d is this axis order[d]
  ViewMap expand(std::span<const int64_t> shape) const;   // same rank; axes of extent 1 may grow
  ViewMap slice(int64_t axis, int64_t start, int64_t count,
                int64_t step) const;  // step may be negative
  ViewMap flip(int64_t axis) const;
  ViewMap pad(int64_t axis, int64_t before, int64_t after) const;  // negative counts cut off
  ViewMap reshape(std::span<const int64_t> shape) const;           // same number of elements
  ViewMap diagonal(int64_t offset, int64_t axis1,
                   int64_t axis2) const;  // the diagonal becomes the last axis
  // Windows of `size` elements, `dilation` apart, at every `stride`: the axis becomes the number of
  // windows, and a new last axis holds the elements of a window.
  ViewMap unfold(int64_t axis, int64_t size, int64_t stride, int64_t dilation) const;

  // The map of `outer` applied to the result of `inner`: reads inner's source at
  // inner(outer(index)).
  static ViewMap compose(const ViewMap& outer, const ViewMap& inner);

  // The position in the source that the element at `index` reads; nothing where it reads 0.
  std::optional<int64_t> position(std::span<const int64_t> index) const;

  friend bool operator==(const ViewMap&, const ViewMap&) = default;

 private:
  void normalise();
  SmallVector<StridedMap, 1> levels_;
};

// Why the map is not a valid view of `source_elements` elements, or nothing.
std::optional<std::string> verify_view(const ViewMap& map, int64_t source_elements);

}  // namespace cermet::ir
