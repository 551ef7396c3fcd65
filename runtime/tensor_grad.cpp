// Gradients of tensors: recording and the transforms of compiler/autograd.h on what was recorded.

#include "cermet/grad.h"

#include <unordered_map>

#include "compiler/autograd.h"
#include "compiler/checkpoint.h"
#include "ir/graph.h"
#include "runtime/api.h"
#include "runtime/deferred_copy.h"
#include "runtime/devices.h"

namespace cermet {

using runtime::called;
using runtime::device_of;
using runtime::grad_mode;
using runtime::GradVariable;
using runtime::make_tensor;
using runtime::placed;
using runtime::value_of;

NoGrad::NoGrad() : before_(grad_mode()) { grad_mode() = false; }
NoGrad::~NoGrad() { grad_mode() = before_; }

namespace {

// Runs f, the body of the public function `op`: an Error that the user's own functions did not
// throw names it, and the place of its call. The name of an op that has no gradient stays.
template <class F>
decltype(auto) transformed(std::string_view op, const SourceLocation& where, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    if (e.has_location()) throw;
    const std::string own = runtime::renamed(op, e.message());
    const bool ours = e.message() == own || own.ends_with(e.message()) ||
                      e.message().starts_with("vjp: ") || e.message().starts_with("jvp: ");
    throw Error(ours ? own : fmt::format("{}: {}", op, e.message()), where);
  }
}

const std::shared_ptr<runtime::TensorState>& state_of(std::string_view op, const Tensor& t,
                                                      const SourceLocation& where) {
  return called(op, where, [&]() -> decltype(auto) { return t.state(where); });
}

}  // namespace

bool Tensor::requires_grad(SourceLocation where) const {
  return state_of("requires_grad", *this, where)->requires_grad();
}
bool Tensor::is_leaf(SourceLocation where) const {
  return state_of("is_leaf", *this, where)->variable() != nullptr || !requires_grad(where);
}

Tensor& Tensor::set_requires_grad(bool value, SourceLocation where) {
  called("set_requires_grad", where, [&] {
    runtime::TensorState& s = *state(where);
    if (!is_leaf())
      throw Error(
          "set_requires_grad: the tensor is the result of an operation that requires grad; use "
          "detach() first");
    if (value && !is_float(s.dtype()))
      throw Error(fmt::format(
          "set_requires_grad: only floating point tensors can require gradients, got {}",
          ir::type_string(s.dtype(), s.shape())));
    if (value && !s.variable()) s.make_leaf();
    if (!value) s.make_constant();
  });
  return *this;
}

Tensor Tensor::grad(SourceLocation where) const {
  const auto& gradient = state_of("grad", *this, where)->gradient();
  return gradient ? gradient->get() : Tensor();
}

void Tensor::set_grad(const Tensor& grad, SourceLocation where) {
  called("set_grad", where, [&] {
    const auto& gradient = state(where)->gradient();
    if (!gradient) throw Error("set_grad: the tensor is no leaf that requires grad");
    if (grad.defined() && (grad.shape() != shape() || grad.dtype() != dtype()))
      throw Error(fmt::format("set_grad: {} is no gradient of {}",
                              ir::type_string(grad.dtype(), grad.shape()),
                              ir::type_string(dtype(), shape())));
    const bool elsewhere = grad.defined() && grad.device() != device();
    if (elsewhere && value_of(grad)->place >= 0)
      throw Error(
          fmt::format("set_grad: the tensor and its gradient are on different devices, {} "
                      "and {}",
                      cermet::to_string(device()), cermet::to_string(grad.device())));
    gradient->set(elsewhere ? make_tensor(placed(value_of(grad), device())) : grad);
  });
}

namespace {

// What the derivative of an output is weighted with: what was given, or 1 for one element.
ir::Value cotangent_of(std::string_view op, const ir::Value& output, const Tensor& given) {
  if (!given.defined()) {
    if (output->numel() != 1)
      throw Error(
          fmt::format("{}: the output has {} elements ({}); give the gradient of it, or sum it up",
                      op, output->numel(), ir::type_string(*output)));
    return ir::like(output, 1.0);
  }
  const ir::Value v = value_of(given);
  if (v->shape != output->shape || v->dtype != output->dtype)
    throw Error(fmt::format("{}: the gradient is {}, the output {}", op, ir::type_string(*v),
                            ir::type_string(*output)));
  return v;
}

void expect_differentiable(std::string_view op, const ir::Value& output) {
  if (!output->requires_grad)
    throw Error(fmt::format("{}: the output {} does not depend on a tensor that requires grad", op,
                            ir::type_string(*output)));
}

// Fresh leaves with the elements of the inputs, so that f records from here on.
std::vector<Tensor> fresh_leaves(std::string_view op, std::span<const Tensor> inputs) {
  std::vector<Tensor> out;
  for (const Tensor& x : inputs) {
    Tensor leaf(std::make_shared<runtime::TensorState>(value_of(x)));
    if (!is_float(x.dtype()))
      throw Error(fmt::format("{}: inputs must be floating point, got {}", op,
                              ir::type_string(x.dtype(), x.shape())));
    leaf.state()->make_leaf();
    out.push_back(std::move(leaf));
  }
  return out;
}

std::vector<ir::Value> values_of(std::span<const Tensor> tensors) {
  std::vector<ir::Value> out;
  for (const Tensor& t : tensors) out.push_back(value_of(t));
  return out;
}

// What was recorded, with buffers in place of the elements that were computed since, where outputs
// were computed (else they would be computed apart from their gradients). A weight whose step is
// recorded from its last one would otherwise keep the expressions of all steps alive. `outputs`
// come first in `values`.
std::vector<ir::Value> from_buffers(std::vector<ir::Value> values, size_t outputs) {
  const auto is_buffer = [](const ir::Node& n) {
    return n.op == ir::Op::Data || (!n.requires_grad && n.value() != nullptr);
  };
  if (!std::all_of(values.begin(), values.begin() + int64_t(outputs),
                   [](const ir::Value& v) { return v->value() != nullptr; }))
    return values;
  std::unordered_map<const ir::Node*, ir::Value> now;
  std::vector<ir::Value> operands;
  for (const ir::Node* node : ir::topological_order(values, is_buffer)) {
    if (node->op != ir::Op::Data && !node->requires_grad)
      if (auto elements = node->value()) {
        now.emplace(node, ir::data(std::move(elements), node->dtype, node->shape));
        continue;
      }
    operands.clear();
    bool changed = false;
    for (const ir::Value& old : node->operands) {
      operands.push_back(now.at(old.get()));
      changed |= operands.back() != old;
    }
    now.emplace(node, changed ? ir::with_operands(*node, operands) : ir::Value(node));
  }
  for (ir::Value& v : values) v = now.at(v.get());
  return values;
}

const GradVariable& variable_of(const ir::Node& leaf) {
  return static_cast<const GradVariable&>(*leaf.as<ir::LeafAttr>().variable);
}

// The nodes that stand for the inputs in what was recorded. A leaf has several if its elements
// were computed, or changed, between two uses.
struct InputNodes {
  std::vector<ir::Value> nodes;
  std::vector<size_t> input;  // of each node

  // `values` are the inputs' as they occur in the outputs.
  InputNodes(std::span<const ir::Value> outputs, std::span<const Tensor> inputs,
             std::span<const ir::Value> values) {
    std::unordered_multimap<const GradVariable*, ir::Value> leaves;
    for (const ir::Value& leaf : compiler::leaves_of(outputs))
      leaves.emplace(&variable_of(*leaf), leaf);
    for (size_t i = 0; i < inputs.size(); ++i) {
      auto [at, end] = leaves.equal_range(inputs[i].state()->variable().get());
      if (at == end) add(runtime::as_recorded(values[i]), i);
      for (; at != end; ++at) add(at->second, i);
    }
  }
  void add(const ir::Value& node, size_t of) { nodes.push_back(node), input.push_back(of); }
};

// The gradient of each input; an empty Value if no output depends on it.
std::vector<ir::Value> gradients_of(std::span<const ir::Value> outputs,
                                    std::span<const Tensor> inputs,
                                    std::span<const ir::Value> values,
                                    std::span<const ir::Value> weights) {
  const InputNodes in(outputs, inputs, values);
  const auto parts = compiler::vjp(outputs, in.nodes, weights);
  std::vector<ir::Value> out(inputs.size());
  for (size_t k = 0; k < parts.size(); ++k) {
    ir::Value& sum = out[in.input[k]];
    if (parts[k]) sum = sum ? sum + parts[k] : parts[k];
  }
  return out;
}

// Records gradients whatever the caller's mode is.
class Recording {
 public:
  Recording() : before_(grad_mode()) { grad_mode() = true; }
  ~Recording() { grad_mode() = before_; }

 private:
  bool before_;
};

}  // namespace

void Tensor::backward(const Tensor& gradient, bool retain_graph, SourceLocation where) const {
  transformed("backward", where, [&] {
    const ir::Value output = from_buffers({value_of(*this)}, 1)[0];
    expect_differentiable("backward", output);
    const ir::Value cotangent = cotangent_of("backward", output, gradient);
    if (state_->consumed())
      throw Error(
          "backward: called a second time for this tensor; the first call needs retain_graph");
    const std::vector<ir::Value> leaves = compiler::leaves_of(std::span(&output, 1));
    auto gradients = compiler::vjp(std::span(&output, 1), leaves, std::span(&cotangent, 1));
    // A leaf that could be given to a GPU, such as a single number, has its gradient where it is
    // itself. All are brought before one is added, as that can fail.
    for (size_t i = 0; i < leaves.size(); ++i)
      if (gradients[i] && gradients[i]->place > 0 && variable_of(*leaves[i]).gradient())
        gradients[i] = runtime::later_on(gradients[i], runtime::device_of(*leaves[i]));
    for (size_t i = 0; i < leaves.size(); ++i) {
      const auto gradient = variable_of(*leaves[i]).gradient();
      if (!gradients[i] || !gradient) continue;
      gradient->add(ir::stop_gradient(gradients[i]));
    }
    state_->consumed() = !retain_graph;
  });
}

std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                         std::span<const Tensor> cotangents, bool allow_unused,
                         SourceLocation where) {
  return transformed("grad", where, [&] {
    std::vector<ir::Value> out = values_of(outputs), in = values_of(inputs), all = out;
    all.insert(all.end(), in.begin(), in.end());
    all = from_buffers(std::move(all), out.size());
    std::copy_n(all.begin(), out.size(), out.begin());
    std::copy_n(all.end() - int64_t(in.size()), in.size(), in.begin());
    if (!cotangents.empty() && cotangents.size() != outputs.size())
      throw Error(
          fmt::format("grad: {} cotangents for {} outputs", cotangents.size(), outputs.size()));
    std::vector<ir::Value> weights;
    for (size_t i = 0; i < out.size(); ++i)
      weights.push_back(
          cotangent_of("grad", out[i], cotangents.empty() ? Tensor() : cotangents[i]));
    const auto gradients = gradients_of(out, inputs, in, weights);
    std::vector<Tensor> result;
    for (size_t i = 0; i < in.size(); ++i) {
      if (!gradients[i] && !allow_unused)
        throw Error(
            fmt::format("grad: no output depends on input {} ({})", i, ir::type_string(*in[i])));
      result.push_back(gradients[i] ? make_tensor(gradients[i]) : Tensor());
    }
    return result;
  });
}
std::vector<Tensor> grad(const Tensor& output, std::initializer_list<Tensor> inputs,
                         SourceLocation where) {
  return grad(std::span(&output, 1), std::span(inputs.begin(), inputs.size()), {}, false, where);
}
Tensor grad(const Tensor& output, const Tensor& input, SourceLocation where) {
  return grad(std::span(&output, 1), std::span(&input, 1), {}, false, where)[0];
}

namespace {

std::pair<Tensor, std::vector<Tensor>> vjp_of(std::string_view op, const TensorFunction& f,
                                              std::span<const Tensor> inputs,
                                              const Tensor& cotangent,
                                              const SourceLocation& where) {
  return transformed(op, where, [&] {
    Recording recording;
    const std::vector<Tensor> leaves = fresh_leaves(op, inputs);
    const Tensor y = f(leaves);
    const ir::Value output = value_of(y), weight = cotangent_of(op, output, cotangent);
    const std::vector<ir::Value> in = values_of(leaves);
    const auto gradients = gradients_of(std::span(&output, 1), leaves, in, std::span(&weight, 1));
    std::vector<Tensor> result;
    for (size_t i = 0; i < in.size(); ++i)
      result.push_back(make_tensor(
          gradients[i] ? gradients[i] : placed(ir::zeros_like(in[i]), device_of(*in[i]))));
    return std::pair{y, std::move(result)};
  });
}

}  // namespace

std::pair<Tensor, std::vector<Tensor>> vjp(const TensorFunction& f, std::span<const Tensor> inputs,
                                           const Tensor& cotangent, SourceLocation where) {
  return vjp_of("vjp", f, inputs, cotangent, where);
}
std::pair<Tensor, std::vector<Tensor>> value_and_grad(const TensorFunction& f,
                                                      std::span<const Tensor> inputs,
                                                      SourceLocation where) {
  return vjp_of("value_and_grad", f, inputs, Tensor(), where);
}

std::pair<Tensor, Tensor> jvp(const TensorFunction& f, std::span<const Tensor> inputs,
                              std::span<const Tensor> tangents, SourceLocation where) {
  return transformed("jvp", where, [&] {
    if (tangents.size() != inputs.size())
      throw Error(fmt::format("jvp: {} tangents for {} inputs", tangents.size(), inputs.size()));
    Recording recording;
    const std::vector<Tensor> leaves = fresh_leaves("jvp", inputs);
    const Tensor y = f(leaves);
    const ir::Value output = value_of(y);
    const InputNodes in(std::span(&output, 1), leaves, values_of(leaves));
    std::vector<ir::Value> directions;
    for (size_t i : in.input) directions.push_back(value_of(tangents[i]));
    const ir::Value tangent = compiler::jvp(std::span(&output, 1), in.nodes, directions)[0];
    return std::pair{
        y, make_tensor(tangent ? tangent : placed(ir::zeros_like(output), device_of(*output)))};
  });
}

Tensor checkpoint(const TensorFunction& f, std::span<const Tensor> inputs, SourceLocation where) {
  return transformed("checkpoint", where, [&] {
    const std::vector<ir::Value> values = values_of(inputs);
    return make_tensor(compiler::checkpoint(value_of(f(inputs)), values));
  });
}
Tensor checkpoint(const TensorFunction& f, std::initializer_list<Tensor> inputs,
                  SourceLocation where) {
  return checkpoint(f, std::span(inputs.begin(), inputs.size()), where);
}

Tensor stop_gradient(const Tensor& x, SourceLocation where) {
  return runtime::result_of("stop_gradient", where, [&] { return ir::stop_gradient(value_of(x)); });
}

namespace {

class UserRule : public ir::GradientRule {
 public:
  using Function =
      std::function<std::vector<Tensor>(std::span<const Tensor>, const Tensor&, const Tensor&)>;
  explicit UserRule(Function backward) : backward_(std::move(backward)) {}
  std::vector<ir::Value> operands_adjoints(std::span<const ir::Value> operands,
                                           const ir::Value& result,
                                           const ir::Value& adjoint) const override {
    std::vector<Tensor> inputs;
    for (const ir::Value& v : operands)
      inputs.push_back(Tensor(std::make_shared<runtime::TensorState>(v)));
    const auto tensor = [](const ir::Value& v) {
      return Tensor(std::make_shared<runtime::TensorState>(v));
    };
    const std::vector<Tensor> adjoints = backward_(inputs, tensor(result), tensor(adjoint));
    std::vector<ir::Value> out;
    for (const Tensor& t : adjoints) out.push_back(t.defined() ? value_of(t) : ir::Value());
    return out;
  }

 private:
  Function backward_;
};

}  // namespace

Tensor custom_gradient(
    const TensorFunction& f,
    std::function<std::vector<Tensor>(std::span<const Tensor>, const Tensor&, const Tensor&)>
        backward,
    std::span<const Tensor> inputs, SourceLocation where) {
  return transformed("custom_gradient", where, [&] {
    // What f records must not leak gradients of its own.
    std::vector<Tensor> hidden;
    for (const Tensor& x : inputs) hidden.push_back(make_tensor(ir::stop_gradient(value_of(x))));
    const ir::Value result = value_of(f(hidden));
    return make_tensor(ir::custom_gradient(result, values_of(inputs),
                                           std::make_shared<UserRule>(std::move(backward))));
  });
}

}  // namespace cermet
