#pragma once
// What the tensor functions have in common: access to values, promotion, results.

#include <fmt/format.h>

#include <functional>

#include "cermet/ops.h"
#include "ir/build.h"
#include "runtime/tensor_state.h"

namespace cermet::runtime {

// The expression of a tensor's elements; Error if it is undefined.
ir::Value value_of(const Tensor& tensor);

// The result of the public function `op`, whose elements f, an ir::Value, gives (see called()).
template <class F>
Tensor result_of(std::string_view op, const SourceLocation& where, F&& f) {
  return called(op, where, [&] { return make_tensor(f()); });
}

// The value on a GPU, if that is the device; on the CPU it stays an expression.
ir::Value placed(const ir::Value& value, const Device& device);

// Where one of the values is on a GPU, those without axes that are computed on the CPU are to be
// brought there when they are needed.
void bring_scalars(std::span<ir::Value> values);

// Operands of one operation as expressions; empty for numbers. Each tensor is read once: another
// thread may write to it meanwhile.
SmallVector<ir::Value, 3> values_of(std::span<const Operand* const> operands);

// The dtype of an operation between operands, whose values_of() these are, by PyTorch's rules:
// among tensors with axes, then tensors without, then numbers, each later group only matters if its
// kind (bool < integer < float) is higher.
DType result_type(std::span<const Operand* const> operands, std::span<const ir::Value> values);

// Makes the values, values_of() the operands, expressions of a dtype; numbers become constants of
// the first tensor's shape. Where one is on a GPU, scalars are brought there.
void convert(std::span<const Operand* const> operands, std::span<ir::Value> values, DType dtype);

// The operand as an expression of a dtype; a number has rank 0.
ir::Value operand_value(const Operand& operand, DType dtype);

// x in a floating point dtype: float32 for integers and bool.
ir::Value as_float(const ir::Value& x);

// An axis in [0, rank). A tensor of rank 0 has the axes 0 and -1 in PyTorch's functions of an axis:
// then the result is 0.
int64_t axis_of(std::string_view op, int64_t axis, size_t rank);

// f(x, axis) for a function of an axis; x of rank 0 is given to it as a line of one element, and
// the result has rank 0 again.
template <class F>
ir::Value along(std::string_view op, const ir::Value& x, int64_t dim, F&& f) {
  const int64_t axis = axis_of(op, dim, x->shape.size());
  return x->shape.empty() ? ir::reshape(f(ir::reshape(x, Shape{1}), axis), Shape{}) : f(x, axis);
}

// The axes of an Axes argument, in [0, rank), ascending; none for a tensor of rank 0.
Dims axes_of(std::string_view op, const Axes& axes, size_t rank);

// Positions along an axis as int64, with negative ones counted from its end. What is out of range
// stays as it is, for the error that reading it gives.
ir::Value from_front(const ir::Value& positions, int64_t extent);

// Gives the elements of x the values that f makes of the old ones, after the checks that all
// in-place operations share. The values are broadcast and cast; a higher kind of dtype is an Error.
Tensor& update(std::string_view op, Tensor& x, const SourceLocation& where,
               const std::function<ir::Value(const ir::Value& old)>& f);

// result_of() for what is made from nothing: its elements are on this device.
template <class F>
Tensor created_on(std::string_view op, const Device& device, const SourceLocation& where, F&& f) {
  return result_of(op, where, [&] { return placed(f(), device); });
}

}  // namespace cermet::runtime
