#pragma once
// Dtype and shape of a node from its op, operands and attributes, with all checks that need nothing
// else. Strict: no promotion and no broadcasting, which ir/build.h and the tensor functions do
// before.

#include "ir/node.h"

namespace cermet::ir {

struct Type {
  DType dtype;
  Shape shape;
};

// Throws Error that starts with the op's name where operands or attributes do not fit.
Type infer(Op op, std::span<const Value> operands, const Attr& attr, std::optional<DType> dtype,
           const Shape& shape);

}  // namespace cermet::ir
