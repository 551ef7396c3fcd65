// Gradients of tensors: backward(), grad(), the function transforms, and what is refused; on a GPU
// if test::on_gpu().

#include <cmath>

#include "api/errors.h"
#include "api/on_device.h"
#include "cermet/cermet.h"
#include "ir/node.h"

namespace ct = cermet;
namespace on_device = ct::test::on_device;
using ct::DType;
using ct::Tensor;

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;
using Inputs = std::span<const Tensor>;

Tensor leaf(std::initializer_list<ct::NestedList> values) {
  return on_device::tensor(values, DType::F64).set_requires_grad();
}
Doubles gradient(const Tensor& x) { return x.grad().to_vector<double>(); }

// Central differences of f, which gives one number, by each element of x.
Doubles differences(const std::function<Tensor(const Tensor&)>& f, const Tensor& x) {
  const Doubles at = x.detach().to_vector<double>();
  Doubles out;
  for (size_t i = 0; i < at.size(); ++i) {
    constexpr double h = 1e-5;
    Doubles up = at, down = at;
    up[i] += h, down[i] -= h;
    out.push_back((f(on_device::tensor(up, x.shape())).item<double>() -
                   f(on_device::tensor(down, x.shape())).item<double>()) /
                  (2 * h));
  }
  return out;
}

void check_near(const Doubles& got, const Doubles& expected, double tolerance = 1e-7) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    INFO("element " << i);
    CHECK(std::fabs(got[i] - expected[i]) <= tolerance * (1 + std::fabs(expected[i])));
  }
}

}  // namespace

TEST_CASE("grad: backward() adds to grad(), for each leaf") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  (a * b).sum().backward();
  CHECK(gradient(a) == Doubles{3, 4});
  CHECK(gradient(b) == Doubles{1, 2});
  (a * 10).sum().backward();
  CHECK(gradient(a) == Doubles{13, 14});
  CHECK(gradient(b) == Doubles{1, 2});
  Tensor c = a;  // a copy is the same tensor
  c.set_grad(Tensor());
  CHECK(!a.grad().defined());
  a.sum().backward();
  CHECK(gradient(a) == Doubles{1, 1});
  a.grad().zero_();
  CHECK(gradient(a) == Doubles{0, 0});
  CHECK(!a.grad().requires_grad());
}

TEST_CASE("grad: a leaf used many times, in several graphs") {
  const Tensor x = leaf({2, 3});
  const Tensor f = (x * x * x).sum() + x.sum() * x[0];
  const Tensor g = x.exp().sum();
  f.backward();
  check_near(gradient(x), {3 * 4 + 2 + 5, 3 * 9 + 2});
  g.backward();
  check_near(gradient(x), {19 + std::exp(2), 29 + std::exp(3)});
}

TEST_CASE("grad: backward() with a gradient of the output") {
  const Tensor x = leaf({1, 2, 3});
  (x * x).backward(on_device::tensor({1, 10, 100}, DType::F64));
  CHECK(gradient(x) == Doubles{2, 40, 600});
  const Tensor y = x * x;
  CHECK_ERROR(y.backward(), "backward: ", "3 elements", "f64[3]");
  CHECK_ERROR(y.backward(on_device::ones({2}, DType::F64)), "backward: ", "f64[2]", "f64[3]");
  CHECK_ERROR(y.backward(on_device::ones({3})), "backward: ", "f32[3]", "f64[3]");
}

TEST_CASE("grad: twice is an error, unless the first call retained the graph") {
  const Tensor x = leaf({3});
  const Tensor y = (x * x).sum();
  y.backward({}, true);
  y.backward();
  CHECK(gradient(x) == Doubles{12});
  CHECK_ERROR(y.backward(), "backward: ", "second time", "retain_graph");
  CHECK_ERROR(Tensor(y).backward(), "second time");
  // Whatever handle is used: a copy made before, another shape of it.
  const Tensor z = (x * x).sum(), line = z.reshape({1});
  const std::vector<Tensor> kept{z};
  z.backward();
  CHECK_ERROR(kept[0].backward(), "second time");
  CHECK_ERROR(line.backward(), "second time");
  CHECK_ERROR(z.reshape({1, 1}).backward(), "second time");
  // Of two results, and of two elements of one, each has its own.
  (x * x).sum().backward();
  const Tensor pair = ct::stack({x, x * 2}).sum(1);
  pair[0].backward();
  pair[1].backward();
}

TEST_CASE("grad: what has no gradient is refused") {
  CHECK_ERROR(on_device::tensor({1.0}).backward(), "backward: ", "f32[1]", "requires grad");
  const Tensor x = leaf({1});
  CHECK_ERROR((x * 2).detach().backward(), "backward: ", "requires grad");
  CHECK_ERROR(ct::stop_gradient(x * 2).backward(), "backward: ", "requires grad");
  CHECK_ERROR((x > 0).backward(), "backward: ", "bool[1]");
  CHECK_ERROR(x.to(DType::I64).backward(), "backward: ", "i64[1]");
  CHECK_ERROR(on_device::tensor({1, 2}).set_requires_grad(), "set_requires_grad: ", "floating",
              "i64[2]");
  CHECK_ERROR(on_device::tensor({true}).set_requires_grad(), "set_requires_grad: ", "bool[1]");
  CHECK_ERROR((x * 2).set_requires_grad(), "set_requires_grad: ", "detach()");
  CHECK_ERROR(Tensor().backward(), "undefined");
  CHECK_ERROR(Tensor(x * 2).set_grad(x), "set_grad: ", "leaf");
  Tensor w = x;
  CHECK_ERROR(w.set_grad(on_device::ones({2}, DType::F64)), "set_grad: ", "f64[2]", "f64[1]");
  CHECK(!ct::argmax(x).requires_grad());
  CHECK(!(x > 0).requires_grad());
  CHECK(!x.to(DType::I32).requires_grad());
}

TEST_CASE("grad: leaves, results and detached tensors") {
  Tensor x = on_device::tensor({1.0});
  CHECK(x.is_leaf());
  CHECK(!x.requires_grad());
  x.set_requires_grad();
  const Tensor y = x * 2;
  CHECK(x.is_leaf());
  CHECK(!y.is_leaf());
  CHECK(y.requires_grad());
  CHECK(!y.detach().requires_grad());
  CHECK(y.detach().is_leaf());
  CHECK(!x.detach().requires_grad());
  CHECK(x.requires_grad());
  x.set_requires_grad(false);
  CHECK(!(x * 2).requires_grad());
  CHECK(!y.grad().defined());
}

TEST_CASE("grad: no_grad records nothing, in this thread, until it ends") {
  const Tensor x = leaf({1, 2});
  {
    ct::NoGrad outer;
    CHECK(!(x * 2).requires_grad());
    CHECK(!x[0].requires_grad());
    {
      ct::NoGrad inner;
    }
    CHECK(!(x * 2).requires_grad());
    CHECK(x.requires_grad());
  }
  CHECK((x * 2).requires_grad());
  try {
    ct::NoGrad guard;
    throw 1;
  } catch (int) {
  }
  CHECK((x * 2).requires_grad());
}

TEST_CASE("grad: in place on leaves is refused outside of no_grad, and on views of them") {
  Tensor x = leaf({{1, 2}, {3, 4}});
  CHECK_ERROR(x.add_(1), "add_: ", "leaf that requires grad", "no_grad", "detach");
  CHECK_ERROR(x.zero_(), "zero_: ", "leaf");
  CHECK_ERROR(x.index_put_({0}, 1), "index_put_: ", "leaf", "no_grad");
  CHECK_ERROR(x[0].mul_(2), "mul_: ", "view of a leaf", "no_grad");
  CHECK_ERROR(x += 1, "add_: ", "leaf");
  CHECK_ERROR(x.reshape({4}).slice(0, 0, 2).fill_(1), "fill_: ", "view of a leaf");
  {
    ct::NoGrad guard;
    x[0].fill_(9);
    x.add_(1);
  }
  CHECK(x.to_vector<double>() == Doubles{10, 10, 4, 5});
  x.detach().mul_(2);
  CHECK(x.to_vector<double>() == Doubles{20, 20, 8, 10});
  (x * x).sum().backward();
  CHECK(gradient(x) == Doubles{40, 40, 16, 20});
}

TEST_CASE("grad: through in-place operations on results") {
  const Tensor x = leaf({1, 2, 3});
  Tensor y = x * 2;
  y.mul_(y);                    // 4 x^2
  y.slice(0, 0, 1).add_(x[2]);  // + x2 in the first
  y[1].zero_();                 // nothing of x1 is left
  CHECK(y.to_vector<double>() == Doubles{7, 0, 36});
  y.sum().backward();
  CHECK(gradient(x) == Doubles{8, 0, 25});
}

TEST_CASE("grad: a constant into which a result is written") {
  const Tensor x = leaf({1, 2});
  Tensor out = on_device::zeros({2, 2}, DType::F64);
  out[0].copy_(x * x);
  out.index_put_({1, 0}, x[1]);
  CHECK(out.requires_grad());
  (out * on_device::tensor({{1, 10}, {100, 1000}}, DType::F64)).sum().backward();
  CHECK(gradient(x) == Doubles{2, 140});
}

TEST_CASE("grad: a write that is not recorded changes the elements, not the gradient") {
  const Tensor x = leaf({1, 2});
  const Tensor y = x * 3;
  y.detach().add_(10);
  CHECK(y.to_vector<double>() == Doubles{13, 16});
  Tensor z = x * 5;
  {
    ct::NoGrad guard;
    z.select(0, 0).fill_(0);
  }
  CHECK(z.to_vector<double>() == Doubles{0, 10});
  (y + z).sum().backward();
  CHECK(gradient(x) == Doubles{8, 8});
}

TEST_CASE("grad: through views of leaves") {
  const Tensor x = leaf({{1, 2, 3}, {4, 5, 6}});
  const Tensor v = x.t().slice(0, 1, std::nullopt).select(1, 0);  // 2, 3
  CHECK(v.requires_grad());
  (v * v).sum().backward();
  CHECK(gradient(x) == Doubles{0, 4, 6, 0, 0, 0});
  x.diagonal().sum().backward();
  CHECK(gradient(x) == Doubles{1, 4, 6, 0, 1, 0});
  x.expand({2, 2, 3}).sum().backward();
  CHECK(gradient(x) == Doubles{3, 6, 8, 2, 3, 2});
  x.reshape({6}).unfold(0, 2, 1).sum().backward();
  CHECK(gradient(x) == Doubles{4, 8, 10, 4, 5, 3});
  x.index({on_device::tensor({1, 1})}).sum().backward();
  CHECK(gradient(x) == Doubles{4, 8, 10, 6, 7, 5});
}

TEST_CASE("grad: grad(outputs, inputs) touches no grad()") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4}), unused = leaf({1});
  const Tensor y = (a * a * b).sum();
  const std::vector<Tensor> g = ct::grad(y, {a, b});
  CHECK(g[0].to_vector<double>() == Doubles{6, 16});
  CHECK(g[1].to_vector<double>() == Doubles{1, 4});
  CHECK(!a.grad().defined());
  CHECK(ct::grad(y, a).to_vector<double>() == Doubles{6, 16});
  CHECK_ERROR(ct::grad(y, unused), "grad: ", "input 0", "f64[1]");
  const Tensor both[] = {a, unused};
  const std::vector<Tensor> some = ct::grad(std::span(&y, 1), both, {}, true);
  CHECK(some[0].defined());
  CHECK(!some[1].defined());
  // Several outputs with weights; an input that is a result itself.
  const Tensor h = a * 2, outputs[] = {h * h, h};
  const Tensor weights[] = {on_device::ones({2}, DType::F64), on_device::full({2}, 10, DType::F64)};
  const std::vector<Tensor> by = ct::grad(outputs, std::span(&h, 1), weights);
  CHECK(by[0].to_vector<double>() == Doubles{14, 18});
  CHECK_ERROR(ct::grad(h, a), "grad: ", "2 elements");
  CHECK_ERROR(ct::grad(outputs, std::span(&a, 1), std::span(weights, 1)), "1 cotangents",
              "2 outputs");
}

TEST_CASE("grad: second and third order") {
  const Tensor x = leaf({0.5, -1.5});
  const Tensor y = (x * x * x * x).sum() + x.sin().sum();
  const Tensor first = ct::grad(y, x);
  const Tensor second = ct::grad(first.sum(), x), third = ct::grad(second.sum(), x);
  const auto expect = [](auto f) { return Doubles{f(0.5), f(-1.5)}; };
  check_near(first.to_vector<double>(),
             expect([](double v) { return 4 * v * v * v + std::cos(v); }));
  check_near(second.to_vector<double>(), expect([](double v) { return 12 * v * v - std::sin(v); }));
  check_near(third.to_vector<double>(), expect([](double v) { return 24 * v - std::cos(v); }));
  // backward() through a gradient.
  (first * first).sum().backward();
  check_near(gradient(x), expect([](double v) {
               return 2 * (4 * v * v * v + std::cos(v)) * (12 * v * v - std::sin(v));
             }));
}

TEST_CASE("grad: value_and_grad, vjp and jvp") {
  const ct::TensorFunction f = [](Inputs in) { return (in[0] * in[1].exp()).sum(); };
  const Tensor inputs[] = {on_device::tensor({1, 2}, DType::F64),
                           on_device::tensor({0, 1}, DType::F64)};
  const double e = std::exp(1);
  const auto [value, gradients] = ct::value_and_grad(f, inputs);
  CHECK(std::fabs(value.item<double>() - (1 + 2 * e)) < 1e-14);
  check_near(gradients[0].to_vector<double>(), {1, e});
  check_near(gradients[1].to_vector<double>(), {1, 2 * e});
  CHECK(!inputs[0].requires_grad());

  const ct::TensorFunction g = [](Inputs in) { return in[0] * in[0] * in[1]; };
  const auto [y, back] = ct::vjp(g, inputs, on_device::tensor({1, 10}, DType::F64));
  CHECK(y.to_vector<double>() == Doubles{0, 4});
  CHECK(back[0].to_vector<double>() == Doubles{0, 40});
  CHECK(back[1].to_vector<double>() == Doubles{1, 40});
  const Tensor tangents[] = {on_device::tensor({1, 0}, DType::F64),
                             on_device::tensor({0, 1}, DType::F64)};
  const auto [z, forward] = ct::jvp(g, inputs, tangents);
  CHECK(z.to_vector<double>() == Doubles{0, 4});
  CHECK(forward.to_vector<double>() == Doubles{0, 4});
  CHECK_ERROR(ct::value_and_grad(g, inputs), "2 elements");
  CHECK_ERROR(ct::jvp(g, inputs, std::span(tangents, 1)), "jvp: ", "1 tangents", "2 inputs");
  const Tensor whole[] = {on_device::tensor({1, 2})};
  CHECK_ERROR(ct::value_and_grad([](Inputs in) { return in[0].sum(); }, whole), "i64[2]");
  const Tensor wrong[] = {on_device::tensor({1, 0}, DType::F64),
                          on_device::tensor({1}, DType::F64)};
  CHECK_ERROR(ct::jvp(g, inputs, wrong), "f64[1]", "f64[2]");
  {
    ct::NoGrad guard;  // the transforms record for themselves
    check_near(ct::value_and_grad(f, inputs).second[0].to_vector<double>(), {1, e});
  }
}

TEST_CASE("grad: the Hessian by forward over reverse equals reverse over reverse") {
  const auto f = [](const Tensor& x) { return (x.sin() * x.flip(0).exp()).sum(); };
  const Tensor x = on_device::tensor({0.3, -0.7, 1.1}, DType::F64);
  const Tensor v = on_device::tensor({1.0, 2.0, -1.0}, DType::F64);
  const ct::TensorFunction gradient_of_f = [&](Inputs in) {
    return ct::value_and_grad([&](Inputs i) { return f(i[0]); }, in).second[0];
  };
  const Doubles forward =
      ct::jvp(gradient_of_f, std::span(&x, 1), std::span(&v, 1)).second.to_vector<double>();
  const Tensor p = leaf({0.3, -0.7, 1.1});
  const Doubles reverse = ct::grad((ct::grad(f(p), p) * v).sum(), p).to_vector<double>();
  check_near(forward, reverse, 1e-13);
}

TEST_CASE("grad: stop_gradient and custom_gradient") {
  const Tensor x = leaf({2, 3});
  (x * ct::stop_gradient(x)).sum().backward();
  CHECK(gradient(x) == Doubles{2, 3});

  int calls = 0;
  const auto straight = [&](const Tensor& t) {  // rounds, but passes the gradient through
    return ct::custom_gradient([](Inputs in) { return in[0].round(); },
                               [&calls](Inputs, const Tensor&, const Tensor& adjoint) {
                                 ++calls;
                                 return std::vector<Tensor>{adjoint * 100};
                               },
                               std::span(&t, 1));
  };
  const Tensor z = leaf({1.4, 2.6});
  const Tensor y = straight(z * 2);
  CHECK(y.to_vector<double>() == Doubles{3, 5});
  y.sum().backward();
  CHECK(calls == 1);
  CHECK(gradient(z) == Doubles{200, 200});

  // The rule is differentiated in turn.
  const auto cube = [](const Tensor& t) {
    return ct::custom_gradient([](Inputs in) { return in[0] * in[0] * in[0]; },
                               [](Inputs in, const Tensor&, const Tensor& adjoint) {
                                 return std::vector<Tensor>{adjoint * 3 * in[0] * in[0]};
                               },
                               std::span(&t, 1));
  };
  const Tensor w = leaf({2});
  const Tensor first = ct::grad(cube(w).sum(), w);
  CHECK(first.item<double>() == 12);
  CHECK(ct::grad(first.sum(), w).item<double>() == 12);

  const auto wrong = [](const Tensor& t, bool count) {
    return ct::custom_gradient([](Inputs in) { return in[0] * 1; },
                               [count](Inputs, const Tensor& out, const Tensor& adjoint) {
                                 return count ? std::vector<Tensor>{}
                                              : std::vector<Tensor>{adjoint.sum() + 0 * out[0]};
                               },
                               std::span(&t, 1));
  };
  CHECK_ERROR(wrong(z, true).sum().backward(), "custom_gradient", "0", "1");
  CHECK_ERROR(wrong(z, false).sum().backward(), "custom_gradient", "f64[]", "f64[2]");
}

TEST_CASE("grad: the standard deviation of equal elements has gradient 0, as in PyTorch") {
  Tensor x = on_device::tensor({{2.0, 2.0}, {1.0, 3.0}}).set_requires_grad();
  const Tensor deviation = x.std(1);
  CHECK(deviation.to_vector<float>() == std::vector<float>{0, std::sqrt(2.0f)});
  deviation.sum().backward();
  const auto gradient = x.grad().to_vector<float>();
  CHECK(gradient[0] == 0);
  CHECK(gradient[1] == 0);
  CHECK(std::abs(gradient[3] - std::sqrt(0.5)) < 1e-6);
  CHECK(gradient[2] == -gradient[3]);
}

TEST_CASE("grad: whole functions against differences") {
  const Tensor w = on_device::tensor({{0.3, -0.2}, {0.5, 0.7}, {-1.1, 0.4}}, DType::F64);
  const Tensor target = on_device::tensor({1, 0});
  const std::function<Tensor(const Tensor&)> functions[] = {
      [&](const Tensor& x) { return ct::cross_entropy(x.matmul(w), target); },
      [](const Tensor& x) { return (x.softmax(1) * on_device::arange(3)).sum(); },
      [](const Tensor& x) { return x.logsumexp({0, 1}); },
      [](const Tensor& x) { return (ct::layer_norm(x, 1) * x).sum(); },
      [](const Tensor& x) { return x.var(1).sum() + x.std({0, 1}); },
      [](const Tensor& x) { return ct::gelu(x).sum() + ct::silu(x).sum() + ct::softplus(x).sum(); },
      [](const Tensor& x) { return (x.cumsum(1) * x.cumprod(0)).sum(); },
      [](const Tensor& x) { return x.prod() + x.amax(0).sum(); },
      [](const Tensor& x) { return ct::mse_loss(x, x.flip(1)) + (x * x).mean(); },
      [](const Tensor& x) {
        return (ct::conv2d(x.reshape({1, 1, 2, 3}), on_device::full({1, 1, 2, 2}, 0.5, DType::F64),
                           {}, {1}, {1}) *
                2)
            .exp()
            .sum();
      },
      [](const Tensor& x) { return ct::max_pool2d(x.reshape({1, 1, 2, 3}), {2, 2}, {1}).sum(); },
      [](const Tensor& x) { return (ct::sort(x, 1).values * on_device::arange(3)).sum(); },
      [](const Tensor& x) { return ct::tensordot(x, x, 2) + ct::outer(x[0], x[1]).exp().sum(); },
      [](const Tensor& x) {
        return (x.scatter_add(1, on_device::tensor({{0, 0, 2}, {1, 1, 1}}), x * x) * x).sum();
      },
      [](const Tensor& x) {
        return (ct::cat({x, x * 2}) * ct::pad(ct::cat({x, x}), {1, -1})).sum();
      },
  };
  int index = 0;
  for (const auto& f : functions) {
    INFO("function " << index++);
    const Tensor x = leaf({{0.5, -1.2, 0.8}, {1.5, 0.1, -0.4}});
    f(x).backward();
    check_near(gradient(x), differences(f, x), 1e-7);
  }
}

TEST_CASE("grad: float32 weights, dtypes cast on the way") {
  Tensor w = on_device::tensor({1.0, 2.0}).set_requires_grad();
  (w.to(DType::F64) * on_device::tensor({3, 4}, DType::F64)).sum().backward();
  CHECK(w.grad().dtype() == DType::F32);
  CHECK(w.grad().to_vector<float>() == Floats{3, 4});
  Tensor h = on_device::tensor({1.0}, DType::F16).set_requires_grad();
  (h * 3).sum().backward();
  CHECK(h.grad().dtype() == DType::F16);
}

TEST_CASE("grad: a loop of steps keeps its memory, its graph and its kernels") {
  ct::manual_seed(3);
  const Tensor x = on_device::randn({64, 4}),
               y = x.matmul(on_device::tensor({{1.0}, {-2.0}, {0.5}, {3.0}}));
  Tensor w = on_device::zeros({4, 1}).set_requires_grad(), momentum = on_device::zeros({4, 1});
  int64_t nodes = 0, bytes = 0, compiles = 0;
  float loss = 0;
  const int steps = ct::test::on_gpu() ? 60 : 1000;
  for (int step = 0; step < steps; ++step) {
    const Tensor l = ct::mse_loss(x.matmul(w), y);
    l.backward();
    {
      ct::NoGrad guard;
      momentum.mul_(0.5).add_(w.grad());
      w.sub_(momentum * 0.1);
      w.set_grad(Tensor());
    }
    loss = l.item<float>();
    ct::realize({w, momentum});
    if (step == 20) {
      nodes = ct::ir::live_nodes();
      bytes = ct::statistics().live_bytes;
      compiles = ct::statistics().compiles + ct::statistics().disk_hits;
    }
  }
  CHECK(loss < (steps == 1000 ? 1e-8f : 1e-3f));
  CHECK(ct::ir::live_nodes() <= nodes + 16);
  CHECK(ct::statistics().live_bytes <= bytes + 4096);
  CHECK(ct::statistics().compiles + ct::statistics().disk_hits == compiles);
}

TEST_CASE("grad: gradients accumulated over steps that are realized keep no history") {
  Tensor w = on_device::ones({8}).set_requires_grad();
  const Tensor x = on_device::arange(8.0);
  int64_t nodes = 0;
  for (int step = 0; step < 200; ++step) {
    (w * x).sum().backward();
    w.grad().realize();
    if (step == 5) nodes = ct::ir::live_nodes();
  }
  CHECK(w.grad()[2].item<float>() == 400);
  CHECK(ct::ir::live_nodes() <= nodes + 16);
}

TEST_CASE("grad: writes through a detached result are seen by what reads it, not by gradients",
          "[cpu]") {
  const Tensor w = leaf({1, 2});
  const Tensor y = w * 3, before = y.sum();
  y.detach().data<double>()[0] = 50;
  CHECK(y.to_vector<double>() == Doubles{50, 6});
  const Tensor after = (y * y).sum();
  CHECK(after.item<double>() == 2536);
  CHECK(before.item<double>() == 9);
  y.detach().data<double>()[1] = 0;
  CHECK((y * 1).to_vector<double>() == Doubles{50, 0});
  after.backward();
  CHECK(gradient(w) == Doubles{2 * 50 * 3, 0});  // d(y^2) by the elements of y now, as in PyTorch
  CHECK(ct::grad(before, y).to_vector<double>() == Doubles{1, 1});
  CHECK(ct::grad(y.sum(), y).to_vector<double>() == Doubles{1, 1});
  CHECK(y.requires_grad());
}
