#pragma once
// Gradients. backward() and grad() follow what was recorded; the function transforms record f
// themselves. Results are ordinary lazy tensors: they fuse with the forward computation when both
// are realized together, and can be differentiated again.

#include <functional>

#include "cermet/ops.h"

namespace cermet {

// No gradients are recorded in this thread while an object of this class lives; in-place operations
// on leaves are allowed.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};
using no_grad = NoGrad;

// d(sum of outputs * cotangents) / d inputs; cotangents default to ones for outputs of one element.
// An input that no output depends on is an Error, or with allow_unused an undefined Tensor.
std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                         std::span<const Tensor> cotangents = {}, bool allow_unused = false,
                         CERMET_HERE);
std::vector<Tensor> grad(const Tensor& output, std::initializer_list<Tensor> inputs, CERMET_HERE);
Tensor grad(const Tensor& output, const Tensor& input, CERMET_HERE);

using TensorFunction = std::function<Tensor(std::span<const Tensor>)>;

// f(inputs), of one element, and its gradient for each input.
std::pair<Tensor, std::vector<Tensor>> value_and_grad(const TensorFunction& f,
                                                      std::span<const Tensor> inputs, CERMET_HERE);
// f(inputs) and cotangent^T J.
std::pair<Tensor, std::vector<Tensor>> vjp(const TensorFunction& f, std::span<const Tensor> inputs,
                                           const Tensor& cotangent, CERMET_HERE);
// f(inputs) and J tangents.
std::pair<Tensor, Tensor> jvp(const TensorFunction& f, std::span<const Tensor> inputs,
                              std::span<const Tensor> tangents, CERMET_HERE);

// f(inputs), for whose gradient everything between the inputs and the result is computed again once
// the result's adjoint is known, instead of being kept until then: less memory for more work, as
// torch.utils.checkpoint. Gradients flow to the inputs and to leaves that f uses besides; random
// numbers are the same in both computations. f is called once.
Tensor checkpoint(const TensorFunction& f, std::span<const Tensor> inputs, CERMET_HERE);
Tensor checkpoint(const TensorFunction& f, std::initializer_list<Tensor> inputs, CERMET_HERE);

// x, as a constant for gradients.
Tensor stop_gradient(const Tensor& x, CERMET_HERE);

// f(inputs), with a gradient of your own: backward(inputs, output, adjoint) returns the adjoint of
// each input (undefined: none).
Tensor custom_gradient(
    const TensorFunction& f,
    std::function<std::vector<Tensor>(std::span<const Tensor> inputs, const Tensor& output,
                                      const Tensor& adjoint)>
        backward,
    std::span<const Tensor> inputs, CERMET_HERE);

}  // namespace cermet
