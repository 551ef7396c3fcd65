#pragma once
// Parameters of graphs in a word, of f32 where nothing else is said.

#include "ir/build.h"

namespace cermet::test {

inline ir::Value param(int64_t slot, const Shape& shape, DType dtype = DType::F32) {
  return ir::parameter(slot, dtype, shape);
}

}  // namespace cermet::test
