#pragma once
// The transpose of a view: from what each element of the result asks for to what each element of
// the source gets. It is what the adjoint of a view is.

#include "ir/build.h"

namespace cermet::ir {

// For each element of a source of `source_shape` the sum of the adjoint over all elements of the
// view's result that read it; 0 where none does. `adjoint` has the map's shape and a float dtype.
//
// Built from views and sums of views, which fuse, wherever that is possible: broadcast axes become
// a sum over them, and steps, flips, masks and reshapes become views that place the elements.
// Windows that overlap become one placed slice for each element of the window, added (f16 and bf16
// in f32); only where that would be more than 64 slices is it a scatter.
Value transpose_view(const ViewMap& map, const Shape& source_shape, const Value& adjoint);

}  // namespace cermet::ir
