// A step of training of the MLP by hand (W5, W15): products by OpenBLAS, into which the update of
// the weights is folded.

#include <cmath>

#include "tools/bench/cpu/hand_case.h"

namespace bench {
namespace {

constexpr int largest = 128, inputs = 784, hidden1 = 512, hidden2 = 256, classes = 10;
constexpr float rate = 0.01F;

struct Mlp {
  Array x{largest * inputs, 1}, w1{inputs * hidden1, 2, 0.05F}, b1{hidden1},
      w2{hidden1 * hidden2, 3, 0.05F}, b2{hidden2}, w3{hidden2 * classes, 4, 0.05F}, b3{classes};
  Array h1{largest * hidden1}, h2{largest * hidden2}, z{largest * classes}, d1{largest * hidden1},
      d2{largest * hidden2}, d3{largest * classes};
  float loss = 0;

  static void add_bias(const Array& h, const Array& bias, int batch, bool rectify) {
    const size_t columns = bias.size();
    for (size_t i = 0; i < size_t(batch); ++i)
      for (size_t j = 0; j < columns; ++j) {
        const float value = h[i * columns + j] + bias[j];
        h[i * columns + j] = rectify && value < 0 ? 0 : value;
      }
  }
  static void mask(const Array& adjoint, const Array& h, int batch, size_t columns) {
    for (size_t i = 0; i < size_t(batch) * columns; ++i) adjoint[i] = h[i] > 0 ? adjoint[i] : 0.0F;
  }
  static void descend(const Array& bias, const Array& adjoint, int batch) {
    const size_t columns = bias.size();
    for (size_t i = 0; i < size_t(batch); ++i)
      for (size_t j = 0; j < columns; ++j) bias[j] -= rate * adjoint[i * columns + j];
  }

  void cross_entropy(int batch) {
    float total = 0;
    for (int i = 0; i < batch; ++i) {
      float *row = &z[size_t(i) * classes], *adjoint = &d3[size_t(i) * classes], sum = 0;
      const float top = *std::max_element(row, row + classes);
      for (int j = 0; j < classes; ++j) sum += std::exp(row[j] - top);
      const float log_sum = top + std::log(sum);
      for (int j = 0; j < classes; ++j) {
        const bool target = j == i * 7 % classes;
        adjoint[j] = (std::exp(row[j] - log_sum) - float(target)) / float(batch);
        if (target) total -= row[j] - log_sum;
      }
    }
    loss = total / float(batch);
  }

  void step(int batch) {
    Product{.m = batch, .n = hidden1, .k = inputs}(x.data(), w1.data(), h1.data());
    add_bias(h1, b1, batch, true);
    Product{.m = batch, .n = hidden2, .k = hidden1}(h1.data(), w2.data(), h2.data());
    add_bias(h2, b2, batch, true);
    Product{.m = batch, .n = classes, .k = hidden2}(h2.data(), w3.data(), z.data());
    add_bias(z, b3, batch, false);
    cross_entropy(batch);
    Product{.transpose_b = true, .m = batch, .n = hidden2, .k = classes}(d3.data(), w3.data(),
                                                                         d2.data());
    mask(d2, h2, batch, hidden2);
    Product{.transpose_b = true, .m = batch, .n = hidden1, .k = hidden2}(d2.data(), w2.data(),
                                                                         d1.data());
    mask(d1, h1, batch, hidden1);
    const auto update = [&](const Array& activations, int m, const Array& adjoint, int n,
                            const Array& weights) {
      const Product down{
          .transpose_a = true, .m = m, .n = n, .k = batch, .alpha = -rate, .beta = 1};
      down(activations.data(), adjoint.data(), weights.data());
    };
    update(h2, hidden2, d3, classes, w3);
    update(h1, hidden1, d2, hidden2, w2);
    update(x, inputs, d1, hidden1, w1);
    descend(b3, d3, batch);
    descend(b2, d2, batch);
    descend(b1, d1, batch);
  }
};

Work mlp() {
  const auto net = std::make_shared<Mlp>();
  openblas_set_num_threads(omp_get_max_threads());
  return {[=] { net->step(largest); }, [=] { return double(net->loss); }};
}

Work mlp_of_many_sizes() {
  const auto net = std::make_shared<Mlp>();
  openblas_set_num_threads(omp_get_max_threads());
  net->step(largest);
  net->step(largest);
  const auto call = [=] {
    for (int n = 64; n < 114; ++n) net->step(n);
  };
  return {call, [=] { return double(net->loss); }};
}

}  // namespace

std::vector<Case> training_cases() { return {{"W5", mlp}, {"W15", mlp_of_many_sizes}}; }

std::vector<Case> all_cases() {
  std::vector<Case> out;
  for (const auto& cases :
       {map_cases(), row_cases(), product_cases(), training_cases(), limit_cases()})
    out.insert(out.end(), cases.begin(), cases.end());
  return out;
}

}  // namespace bench
