// Gradients of dot and conv: each is linear in either operand, and its transpose is again a dot or
// a conv over views.
//
// With y[t] = sum over k of x[t * stride + k * dilation] * w[k] along a spatial axis:
//   dx[p] = sum over k of D[p - k * dilation] * w[k], where D is dy with stride - 1 zeros between
//           its elements: a conv of D, padded, with w flipped, whose roles of input and output
//           channels are exchanged;
//   dw[k] = sum over t of x[k * dilation + t * stride] * dy[t]: a conv of x with dy as its window,
//           where stride and dilation, and batch and channels, have changed places.
// Elements of x that no window reaches (a stride with a remainder) get 0 by padding, respectively
// are cut off. Groups are the leading axis of all operands and stay where they are.

#include "ir/gradient_rules.h"

namespace cermet::ir {
namespace {

constexpr size_t spatial = 3;  // the first spatial axis of [G,N,C,spatial...]

// Puts step - 1 zeros after each element of the spatial axes. All axes are merged by one reshape,
// so that the view has two levels whatever their number.
Value dilate(const Value& x, const Dims& steps) {
  Value spaced = x;
  Shape shape = x->shape;
  for (size_t s = steps.size(); s-- > 0;) {
    if (steps[s] == 1) continue;
    const int64_t axis = int64_t(spatial + s);
    spaced = pad(unsqueeze(spaced, axis + 1), axis + 1, 0, steps[s] - 1);
    shape[spatial + s] *= steps[s];
  }
  return reshape(spaced, shape);
}

Value conv_input_adjoint(const Node& x, const Value& w, const ConvAttr& attr, const Value& dy) {
  Value input = dilate(dy, attr.stride), window = transpose(w, 1, 2);
  for (size_t s = 0; s < attr.stride.size(); ++s) {
    const size_t axis = spatial + s;
    const int64_t reach = (w->shape[axis] - 1) * attr.dilation[s];
    // Negative where it cuts off zeros that follow the last element.
    const int64_t unreached = x.shape[axis] - input->shape[axis];
    input = pad(input, int64_t(axis), reach, unreached);
    window = flip(window, int64_t(axis));
  }
  return conv(input, window, Dims(attr.stride.size(), 1), attr.dilation);
}

Value conv_window_adjoint(const Value& x, const Node& w, const ConvAttr& attr, const Value& dy) {
  Value input = transpose(x, 1, 2);
  for (size_t s = 0; s < attr.stride.size(); ++s) {
    const size_t axis = spatial + s;
    const int64_t used =
        (w.shape[axis] - 1) * attr.dilation[s] + (dy->shape[axis] - 1) * attr.stride[s] + 1;
    input = slice(input, int64_t(axis), 0, used);
  }
  return transpose(conv(input, transpose(dy, 1, 2), attr.dilation, attr.stride), 1, 2);
}

}  // namespace

Grads dot_adjoints(const Value& y, const Value& dy) {
  const Value &a = y->operands[0], &b = y->operands[1];
  return {dot(dy, transpose(b, 1, 2)), dot(transpose(a, 1, 2), dy)};
}

Grads conv_adjoints(const Value& y, const Value& dy) {
  const Value &x = y->operands[0], &w = y->operands[1];
  const ConvAttr& attr = y->as<ConvAttr>();
  return {conv_input_adjoint(*x, w, attr, dy), conv_window_adjoint(x, *w, attr, dy)};
}

Value bilinear_tangent(const Value& y, std::span<const Value> tangents) {
  Grads parts;
  for (size_t i = 0; i < 2; ++i) {
    if (!tangents[i]) continue;
    SmallVector<Value, 3> operands = y->operands;
    operands[i] = tangents[i];
    parts.push_back(make(y->op, operands, y->attr));
  }
  return sum_gradients(parts);
}

}  // namespace cermet::ir
