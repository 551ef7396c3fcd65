#pragma once
// The two networks of the example. A network is its parameters, by name, and a function from images
// [N,1,28,28] to the scores of ten classes [N,10].

#include <cmath>
#include <string>
#include <vector>

#include "cermet/cermet.h"

namespace examples {

namespace ct = cermet;

struct Network {
  std::vector<std::string> names;
  std::vector<ct::Tensor> parameters;
  ct::Tensor (*forward)(std::span<const ct::Tensor> parameters, const ct::Tensor& images);

  // A layer's weight, normal with the variance that keeps the scale of a rectified signal (He et
  // al., "Delving Deep into Rectifiers", 2015), and its bias of zeros.
  void add_layer(const std::string& name, const ct::Shape& weight, const ct::Key& key) {
    int64_t inputs = 1;
    for (size_t d = 1; d < weight.size(); ++d) inputs *= weight[d];
    const double scale = std::sqrt(2.0 / double(inputs));
    names.push_back(name + ".weight");
    parameters.push_back(ct::randn(key.fold(parameters.size()), weight) * scale);
    names.push_back(name + ".bias");
    parameters.push_back(ct::zeros({weight[0]}));
  }
  // Computes the parameters and lets them require gradients.
  void finish() {
    ct::realize(parameters);
    for (ct::Tensor& p : parameters) p.set_requires_grad();
  }
};

// 784 - 512 - 256 - 10.
inline Network make_mlp(const ct::Key& key) {
  Network net;
  net.add_layer("fc1", {512, 784}, key);
  net.add_layer("fc2", {256, 512}, key);
  net.add_layer("fc3", {10, 256}, key);
  net.forward = [](std::span<const ct::Tensor> p, const ct::Tensor& images) {
    const ct::Tensor x1 = ct::relu(ct::linear(images.flatten(1), p[0], p[1]));
    const ct::Tensor x2 = ct::relu(ct::linear(x1, p[2], p[3]));
    return ct::linear(x2, p[4], p[5]);
  };
  net.finish();
  return net;
}

// Two convolutions of 3x3 with 16 and 32 channels, each halved by max pooling, and one linear
// layer.
inline Network make_cnn(const ct::Key& key) {
  Network net;
  net.add_layer("conv1", {16, 1, 3, 3}, key);
  net.add_layer("conv2", {32, 16, 3, 3}, key);
  net.add_layer("fc", {10, 32 * 7 * 7}, key);
  net.forward = [](std::span<const ct::Tensor> p, const ct::Tensor& images) {
    const auto block = [](const ct::Tensor& x, const ct::Tensor& weight, const ct::Tensor& bias) {
      return ct::max_pool2d(ct::relu(ct::conv2d(x, weight, bias, {1, 1}, {1, 1})), {2, 2});
    };
    const ct::Tensor x1 = block(images, p[0], p[1]);
    const ct::Tensor x2 = block(x1, p[2], p[3]);
    return ct::linear(x2.flatten(1), p[4], p[5]);
  };
  net.finish();
  return net;
}

}  // namespace examples
