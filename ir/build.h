#pragma once
// Building expressions: one function per op, with NumPy's broadcasting of shapes (as explicit
// views), negative axes, and the compositions that the graph has no op for (matmul, mean, ...).
// Dtypes are never promoted here. All of these throw Error. Used by gradient rules, passes, tests,
// and by the tensor functions, which add promotion.

#include <span>

#include "ir/node.h"

namespace cermet::ir {

// Leaves.
Value parameter(int64_t slot, DType dtype, const Shape& shape);
Value data(std::shared_ptr<const Storage> storage, DType dtype, const Shape& shape);
Value constant(DType dtype, const Shape& shape, double value);   // rounded to dtype
Value constant(DType dtype, const Shape& shape, int64_t value);  // wrapped to dtype
Value constant_bits(DType dtype, const Shape& shape, uint64_t bits);
Value iota(int64_t count);                 // i64 [count]
Value like(const Value& x, double value);  // a constant of x's dtype and shape
Value zeros_like(const Value& x);

// The single value of a Constant (or of views of one), as double; nothing for other nodes.
std::optional<double> constant_value(const Node& node);

// Elementwise ops: one function per row of the op table. Operands are broadcast to one shape.
#define CERMET_BUILD1 const Value& x
#define CERMET_BUILD2 const Value &x, const Value &y
#define CERMET_BUILD3 const Value &x, const Value &y, const Value &z
#define OP(Enum, name, arity, ...) Value name(CERMET_BUILD##arity);
#include "cermet/ops.def"
#undef CERMET_BUILD1
#undef CERMET_BUILD2
#undef CERMET_BUILD3
// The elementwise op by its enumerator.
Value elementwise(Op op, std::span<const Value> operands);
Value elementwise_from(Op op, SmallVector<Value, 3>&& operands);  // the same, takes them over

inline Value operator-(const Value& x) { return neg(x); }
#define CERMET_BINARY(symbol, name)                                                      \
  inline Value operator symbol(const Value& x, const Value& y) { return name(x, y); }    \
  inline Value operator symbol(const Value& x, double y) { return name(x, like(x, y)); } \
  inline Value operator symbol(double x, const Value& y) { return name(like(y, x), y); }
CERMET_BINARY(+, add)
CERMET_BINARY(-, sub)
CERMET_BINARY(*, mul)
CERMET_BINARY(/, div)
#undef CERMET_BINARY

Value cast(const Value& x, DType dtype);  // x itself if it has that dtype
Value bitcast(const Value& x, DType dtype);
Value logical_not(const Value& x);  // x == 0, as bool

// Views. Views of views compose; a view of a constant is a constant where nothing is masked; an
// identity view is x.
Value view(const Value& x, const ViewMap& map);
// What the arguments of the four functions after these mean for a tensor; the errors are theirs.
Shape reshaped(DType dtype, const Shape& old, std::span<const int64_t> shape);
Dims permuted(DType dtype, const Shape& old, std::span<const int64_t> order);
// The shape with axes of extent 1 in front, before any axis grows.
Shape aligned_for(DType dtype, const Shape& old, std::span<const int64_t> shape);
struct Slice {
  int64_t axis, first, count, step;
};
Slice slice_of(const Shape& shape, int64_t axis, std::optional<int64_t> start,
               std::optional<int64_t> stop, int64_t step);

Value reshape(const Value& x, std::span<const int64_t> shape);  // one extent may be -1
Value permute(const Value& x, std::span<const int64_t> order);
Value transpose(const Value& x, int64_t axis1, int64_t axis2);
Value expand(const Value& x,
             std::span<const int64_t> shape);  // broadcast to shape; new axes come first
// Python's x[start:stop:step] on one axis; nothing stands for an omitted bound.
Value slice(const Value& x, int64_t axis, std::optional<int64_t> start, std::optional<int64_t> stop,
            int64_t step = 1);
Value flip(const Value& x, int64_t axis);
// `before` and `after` elements of `value` at the ends of an axis; negative counts cut off.
Value pad(const Value& x, int64_t axis, int64_t before, int64_t after, double value = 0);
Value unsqueeze(const Value& x, int64_t axis);
Value squeeze(const Value& x, int64_t axis);  // x itself if the extent is not 1
Value diagonal(const Value& x, int64_t offset, int64_t axis1, int64_t axis2);
Value unfold(const Value& x, int64_t axis, int64_t size, int64_t stride, int64_t dilation);

// Structured ops.
Value reduce(Combine combine, const Value& x, std::span<const int64_t> axes, bool keepdim = false);
Value arg_reduce(Combine combine, const Value& x, int64_t axis, bool keepdim = false);
Value scan(Combine combine, const Value& x, int64_t axis, bool reverse = false,
           bool exclusive = false);
Value dot(const Value& a, const Value& b);  // [B,M,K] x [B,K,N]
Value matmul(const Value& a,
             const Value& b);  // NumPy's rules: vectors, matrices, broadcast batches
Value conv(const Value& x, const Value& w, std::span<const int64_t> stride,
           std::span<const int64_t> dilation);  // [G,N,C,...] x [G,O,C,...]
Value gather(const Value& x, const Value& index, int64_t axis);
Value scatter(Combine combine, const Value& x, const Value& index, const Value& updates,
              int64_t axis);
Value concat(std::span<const Value> parts, int64_t axis);
Value argsort(const Value& x, int64_t axis, bool descending = false);

Value leaf(const Value& x, std::shared_ptr<Variable> variable);
Value stop_gradient(const Value& x);
Value custom_gradient(const Value& result, std::span<const Value> inputs,
                      std::shared_ptr<const GradientRule> rule);
Value barrier(const Value& x);
// x, for what is to be computed again once `after` is there.
Value recompute(const Value& x, const Value& after);

// Sums over the axes in which `x` was broadcast, so that the result has `shape`: the transpose of
// expand.
Value sum_to(const Value& x, const Shape& shape);

// axis in [-rank, rank) as one in [0, rank); throws Error that names the op.
int64_t wrap_axis(std::string_view op, int64_t axis, size_t rank);

}  // namespace cermet::ir
