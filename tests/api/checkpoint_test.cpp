// Gradients that compute again what they need: checkpoint() by hand, set_memory_budget() by the
// compiler. Results are the same bits as without; what changes is how much memory is taken.

#include "api/errors.h"
#include "api/on_device.h"
#include "cermet/cermet.h"

namespace ct = cermet;
namespace on_device = ct::test::on_device;
using ct::Tensor;

namespace {

using Floats = std::vector<float>;
using Inputs = std::span<const Tensor>;

constexpr int64_t width = 32, layers = 12;

// Layers of a network, each of which keeps two arrays for its gradient.
struct Network {
  std::vector<Tensor> weights;
  Tensor input;

  Network() {
    ct::manual_seed(3);
    for (int i = 0; i < layers; ++i)
      weights.push_back((on_device::randn({width, width}) * 0.2).realize());
    for (Tensor& w : weights) w.set_requires_grad();
    input = on_device::randn({4 * width, width}).realize();
  }
  Tensor layer(const Tensor& x, int64_t i) const {
    return ct::tanh(ct::matmul(x, weights[size_t(i)])) + x;
  }
  Tensor part(Tensor x, int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < end; ++i) x = layer(x, i);
    return x;
  }
  // The loss and its gradients, recorded. Parts of `length` layers are checkpoints; 0: none is.
  std::vector<Tensor> step(int64_t length) {
    Tensor x = input;
    for (int64_t i = 0; i < layers; i += length > 0 ? length : layers) {
      const auto f = [&](Inputs in) { return part(in[0], i, i + (length > 0 ? length : layers)); };
      x = length > 0 ? ct::checkpoint(f, {x}) : f(std::span(&x, 1));
    }
    std::vector<Tensor> out{(x * x).mean()};
    for (const Tensor& g : ct::grad(out, weights)) out.push_back(g);
    return out;
  }
};

std::vector<Floats> elements(std::vector<Tensor> tensors) {
  ct::realize(tensors);
  std::vector<Floats> out;
  for (const Tensor& t : tensors) out.push_back(t.to_vector<float>());
  return out;
}

// Until the end of a test.
struct Budget {
  explicit Budget(int64_t bytes) { ct::set_memory_budget(bytes); }
  ~Budget() { ct::set_memory_budget(0); }
};

}  // namespace

TEST_CASE("checkpoint: gradients are the same, in less memory") {
  Network net;
  const std::vector<Tensor> plain = net.step(0), parts = net.step(3);
  const int64_t activation = 4 * width * width * 4;
  CHECK(ct::planned_bytes(plain) > 2 * layers * activation);
  CHECK(ct::planned_bytes(parts) < ct::planned_bytes(plain) * 6 / 10);
  CHECK(elements(plain) == elements(parts));
  CHECK(ct::planned_bytes(plain) == 0);  // they exist
}

TEST_CASE("checkpoint: gradients reach what f captures, and through nested checkpoints") {
  const Tensor a = on_device::tensor({1, 2, 3}, ct::DType::F64).set_requires_grad();
  const Tensor b = on_device::tensor({4, 5, 6}, ct::DType::F64).set_requires_grad();
  const auto inner = [&](Inputs in) { return ct::sin(in[0] * b); };
  const auto f = [&](Inputs in) { return ct::exp(ct::checkpoint(inner, in) * a) * in[0]; };
  const auto value = [&](bool again) {
    const Tensor y = again ? ct::checkpoint(f, {a}) : f(std::span(&a, 1));
    return (y * y).sum();
  };
  const auto gradients = [&](bool again) {
    std::vector<std::vector<double>> out;
    for (const Tensor& g : ct::grad(value(again), {a, b})) out.push_back(g.to_vector<double>());
    // Of the gradients again, which runs through the copies.
    const std::vector<Tensor> first = ct::grad(value(again), {a, b});
    for (const Tensor& g : ct::grad((first[0] * first[1]).sum(), {a, b}))
      out.push_back(g.to_vector<double>());
    return out;
  };
  const auto got = gradients(true), expected = gradients(false);
  for (size_t i = 0; i < expected.size(); ++i)
    for (size_t k = 0; k < 3; ++k)
      CHECK(std::abs(got[i][k] - expected[i][k]) <= 1e-13 * std::abs(expected[i][k]));
  const Tensor input[] = {on_device::tensor({1, 2, 3}, ct::DType::F64)};
  const Tensor direction[] = {on_device::tensor({1, 0, 2}, ct::DType::F64)};
  CHECK(ct::jvp([&](Inputs in) { return ct::checkpoint(f, in); }, input, direction)
            .second.to_vector<double>() == ct::jvp(f, input, direction).second.to_vector<double>());
}

TEST_CASE("checkpoint: values that were read meanwhile do not stop gradients") {
  const Tensor x = on_device::tensor({1.0, 2.0, 3.0}).set_requires_grad();
  Tensor between;
  const auto f = [&](Inputs in) {
    between = in[0] * in[0];
    return ct::exp(between);
  };
  const Tensor y = ct::checkpoint(f, {x});
  between.realize();
  y.realize();
  y.sum().backward();
  const Floats got = x.grad().to_vector<float>(), e = ct::exp(x * x).to_vector<float>();
  for (size_t i = 0; i < 3; ++i)
    CHECK(std::abs(got[i] - e[i] * 2 * float(i + 1)) <= 1e-5f * got[i]);
}

TEST_CASE("checkpoint: dropout drops the same elements in both computations") {
  const Tensor x = on_device::ones({1000}).set_requires_grad();
  const auto dropout = [](Inputs in) {
    return ct::where(ct::rand({1000}) < 0.5, ct::exp(in[0]), in[0] * 0);
  };
  const Tensor y = ct::checkpoint(dropout, {x});
  y.sum().backward();
  ct::realize({y, x.grad()});
  CHECK(y.to_vector<float>() == x.grad().to_vector<float>());
  CHECK(std::abs((y > 1).sum().item<int64_t>() - 500) < 100);
}

TEST_CASE("checkpoint: what needs no gradient is what f returns, and mistakes are f's") {
  const Tensor x = on_device::tensor({1.0, 2.0, 3.0});
  CHECK(ct::checkpoint([](Inputs in) { return in[0] + 1; }, {x}).to_vector<float>() ==
        Floats{2, 3, 4});
  CHECK_ERROR(ct::checkpoint([](Inputs in) { return in[0] + ct::ones({2}); }, {x}), "add", "[3]");
  CHECK_ERROR(ct::checkpoint([](Inputs) { return Tensor(); }, {x}), "checkpoint");
  CHECK_ERROR(ct::checkpoint([](Inputs in) { return in[0]; }, {Tensor()}), "checkpoint");
}

TEST_CASE("memory budget: programs stay within it and give the same bits") {
  Network net;
  const std::vector<Floats> expected = elements(net.step(0));
  const int64_t plain = ct::planned_bytes(net.step(0));
  for (int64_t percent : {80, 66}) {
    INFO(percent << " percent of " << plain << " bytes");
    const Budget budget(plain * percent / 100);
    CHECK(ct::memory_budget() == plain * percent / 100);
    const std::vector<Tensor> step = net.step(0);
    CHECK(ct::planned_bytes(step) <= ct::memory_budget());
    CHECK(elements(step) == expected);
  }
  CHECK(ct::planned_bytes(net.step(0)) == plain);
}

TEST_CASE("memory budget: what cannot be within it is an Error, and nothing is lost") {
  CHECK_ERROR(ct::set_memory_budget(-1), "set_memory_budget", "-1");
  const Tensor x = on_device::ones({1000});
  const Tensor y = x + 1;
  {
    const Budget budget(100);
    CHECK_ERROR(y.realize(), "4032 bytes", "budget is 100");
    CHECK_ERROR(ct::planned_bytes({y}), "planned_bytes", "4032 bytes");
    CHECK(ct::planned_bytes({}) == 0);
  }
  CHECK(y.sum().item<float>() == 2000);
}
