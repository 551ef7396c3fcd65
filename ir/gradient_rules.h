#pragma once
// The rules of the structural ops that need more than a line, by family; ir/gradient.cpp says which
// op uses which. Each takes the op's node y and its adjoint dy or the tangents of its operands.

#include "ir/gradient.h"

namespace cermet::ir {

// ir/gradient_reduce.cpp
Value reduce_adjoint(const Value& y, const Value& dy);
Value reduce_tangent(const Value& y, const Value& dx);
Value scan_adjoint(const Value& y, const Value& dy);
Value scan_tangent(const Value& y, const Value& dx);

// ir/gradient_contract.cpp
Grads dot_adjoints(const Value& y, const Value& dy);
Grads conv_adjoints(const Value& y, const Value& dy);
// For Dot and Conv, which are linear in each operand.
Value bilinear_tangent(const Value& y, std::span<const Value> tangents);

// ir/gradient_index.cpp
Grads gather_adjoints(const Value& y, const Value& dy);
Grads scatter_adjoints(const Value& y, const Value& dy);
Value scatter_tangent(const Value& y, std::span<const Value> tangents);
Grads concat_adjoints(const Value& y, const Value& dy);
Value concat_tangent(const Value& y, std::span<const Value> tangents);

// Bool: where x equals the extremum y that was chosen from it. NaN, which wins over everything,
// counts as equal to itself.
Value won(const Value& x, const Value& y);

// The dtype in which gradients of this dtype are added and counted: f32 for f16 and bf16.
DType wide(DType dtype);

// x / count, where count has the wide dtype of x.
Value divide_by_count(const Value& x, const Value& count);

// The index along an axis of every element of the shape, i64.
Value positions(const Shape& shape, int64_t axis);

}  // namespace cermet::ir
