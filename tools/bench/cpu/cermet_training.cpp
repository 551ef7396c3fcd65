// Steps of training: an MLP (W5), also with fifty batch sizes (W15), a CNN (W12), and a transformer
// block forward and backward (W13).

#include "tools/bench/cpu/cermet_case.h"

namespace bench {
namespace {

using List = std::vector<Tensor>;
using Inputs = std::span<const Tensor>;
constexpr double rate = 0.01;

Tensor labels(int64_t count) {
  std::vector<int64_t> out(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) out[size_t(i)] = i * 7 % 10;
  return ct::tensor(out);
}

// The loss before the step, which changes the parameters.
Tensor descend(List& parameters, const Tensor& loss) {
  const List gradients = ct::grad(std::span(&loss, 1), parameters);
  const ct::no_grad guard;
  for (size_t i = 0; i < parameters.size(); ++i) parameters[i].sub_(gradients[i] * rate);
  return loss;
}

template <class Step>
Work training(const Step& step) {
  auto loss = std::make_shared<Tensor>();
  const auto call = [loss, recorded = ct::jit(step)] { *loss = recorded(); };
  return {call, [=] { return std::abs(double(loss->item<float>())); },
          [=] {
            *loss = Tensor();
            return bytes_of(call);
          }};
}

std::shared_ptr<List> require_grad(List parameters) {
  ct::realize(parameters);
  for (Tensor& p : parameters) p.set_requires_grad();
  return std::make_shared<List>(std::move(parameters));
}

std::shared_ptr<List> mlp_parameters() {
  return require_grad({input({784, 512}, 2, 0.05F), ct::zeros({512}), input({512, 256}, 3, 0.05F),
                       ct::zeros({256}), input({256, 10}, 4, 0.05F), ct::zeros({10})});
}

Tensor mlp_loss(Inputs p, const Tensor& x, const Tensor& classes) {
  const Tensor h1 = ct::relu(ct::matmul(x, p[0]) + p[1]);
  const Tensor h2 = ct::relu(ct::matmul(h1, p[2]) + p[3]);
  return ct::cross_entropy(ct::matmul(h2, p[4]) + p[5], classes);
}

Work mlp() {
  const auto parameters = mlp_parameters();
  const Tensor x = input({128, 784}, 1), classes = labels(128);
  return training([=] { return descend(*parameters, mlp_loss(*parameters, x, classes)); });
}

// Its first call is what counts: fifty sizes that were not there before, after a warm W5.
Work mlp_of_many_sizes() {
  constexpr int64_t least = 64, count = 50;
  const auto parameters = mlp_parameters();
  const auto step = ct::jit([parameters](const Tensor& x, const Tensor& classes) {
    return descend(*parameters, mlp_loss(*parameters, x, classes));
  });
  step(input({128, 784}, 1), labels(128));
  step(input({128, 784}, 1), labels(128));
  auto batches = std::make_shared<std::vector<std::pair<Tensor, Tensor>>>();
  for (int64_t n = least; n < least + count; ++n)
    batches->emplace_back(input({n, 784}, 1), labels(n));
  auto loss = std::make_shared<Tensor>();
  const auto call = [=] {
    for (const auto& [x, classes] : *batches) *loss = step(x, classes);
  };
  return {call, [=] { return std::abs(double(loss->item<float>())); }};
}

Tensor cnn_loss(Inputs p, const Tensor& images, const Tensor& classes) {
  const auto block = [](const Tensor& x, const Tensor& weight, const Tensor& bias) {
    return ct::max_pool2d(ct::relu(ct::conv2d(x, weight, bias, {1, 1}, {1, 1})), {2, 2});
  };
  const Tensor x = block(block(images, p[0], p[1]), p[2], p[3]);
  return ct::cross_entropy(ct::linear(x.flatten(1), p[4], p[5]), classes);
}

Work cnn() {
  const auto parameters =
      require_grad({input({16, 1, 3, 3}, 2, 0.5F), ct::zeros({16}), input({32, 16, 3, 3}, 3, 0.1F),
                    ct::zeros({32}), input({10, 1568}, 4, 0.05F), ct::zeros({10})});
  const Tensor images = input({64, 1, 28, 28}, 1), classes = labels(64);
  return training([=] { return descend(*parameters, cnn_loss(*parameters, images, classes)); });
}

// A block with the norms before what they are for; all weights are [inputs, outputs].
Tensor block(Inputs p, const Tensor& x) {
  constexpr int64_t batch = 4, length = 256, size = 512, heads = 8;
  const auto split = [](const Tensor& y) {
    return y.reshape({batch, length, heads, size / heads}).transpose(1, 2);
  };
  const Tensor qkv = ct::matmul(ct::layer_norm(x, 1, p[0], p[1]), p[2]) + p[3];
  const std::vector<Tensor> parts = ct::split(qkv, size, 2);
  const Tensor q = split(parts[0]), k = split(parts[1]), v = split(parts[2]);
  const Tensor mixed = ct::matmul(ct::softmax(ct::matmul(q, k.transpose(2, 3)) * 0.125, 3), v);
  const Tensor y =
      x + ct::matmul(mixed.transpose(1, 2).reshape({batch, length, size}), p[4]) + p[5];
  const Tensor hidden = ct::gelu(ct::matmul(ct::layer_norm(y, 1, p[6], p[7]), p[8]) + p[9], true);
  return y + ct::matmul(hidden, p[10]) + p[11];
}

Work transformer() {
  List leaves{ct::ones({512}),
              ct::zeros({512}),
              input({512, 1536}, 2, 0.05F),
              ct::zeros({1536}),
              input({512, 512}, 3, 0.05F),
              ct::zeros({512}),
              ct::ones({512}),
              ct::zeros({512}),
              input({512, 2048}, 4, 0.05F),
              ct::zeros({2048}),
              input({2048, 512}, 5, 0.05F),
              ct::zeros({512}),
              input({4, 256, 512}, 1)};
  const auto all = require_grad(std::move(leaves));
  const Tensor adjoint = input({4, 256, 512}, 6);
  return work([=] {
    const Tensor y = block(*all, all->back());
    List out = ct::grad(std::span(&y, 1), *all, std::span(&adjoint, 1));
    out.push_back(y);
    return out;
  });
}

}  // namespace

std::vector<Case> training_cases() {
  return {{"W5", mlp}, {"W12", cnn}, {"W13", transformer}, {"W15", mlp_of_many_sizes}};
}

std::vector<Case> all_cases() {
  std::vector<Case> out;
  for (const auto& cases : {map_cases(), row_cases(), product_cases(), training_cases()})
    out.insert(out.end(), cases.begin(), cases.end());
  return out;
}

}  // namespace bench
