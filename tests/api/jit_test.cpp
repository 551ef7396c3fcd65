// Steps: functions that are recorded once and run as one program, compared with the function
// itself. On whatever device the tests run on.

#include <array>
#include <thread>

#include "api/errors.h"
#include "api/on_device.h"
#include "cermet/cermet.h"

namespace ct = cermet;
namespace on_device = ct::test::on_device;

namespace {

using Floats = std::vector<float>;

ct::Tensor row(std::initializer_list<float> values) {
  return ct::tensor(std::span(values.begin(), values.size())).to(ct::test::device());
}

// A layer, its loss, and a step of gradient descent.
struct Model {
  ct::Tensor w = on_device::rand(ct::Key(1), {4, 3}), rate = on_device::full({}, 0.1f);
  ct::Tensor velocity = on_device::zeros({4, 3});
  Model() { w = w.clone(), w.set_requires_grad(), velocity = velocity.clone(); }

  ct::Tensor train(const ct::Tensor& x, const ct::Tensor& y) {
    const ct::Tensor loss = (ct::matmul(x, w).tanh() - y).square().mean();
    const std::array<ct::Tensor, 1> losses{loss}, leaves{w};
    const auto gradients = ct::grad(losses, leaves);
    const ct::NoGrad no_grad;
    velocity.mul_(0.9).add_(gradients[0]);
    w.sub_(velocity * rate);
    return loss;
  }
};

}  // namespace

TEST_CASE("jit: a step gives what its function gives, and calls it once for alike arguments") {
  int calls = 0;
  const auto f = [&](const ct::Tensor& x, const ct::Tensor& y) {
    ++calls;
    return (x * y + 0.3).exp() - x;
  };
  const auto step = ct::jit(f);
  for (int i = 0; i < 4; ++i) {
    const ct::Tensor x = on_device::rand(ct::Key(10 + i), {3, 5}),
                     y = on_device::rand(ct::Key(20 + i), {5});
    calls = 0;
    const Floats got = step(x, y).to_vector<float>();
    CHECK(calls == (i == 0 ? 1 : 0));
    CHECK(got == f(x, y).to_vector<float>());
  }
  // Another shape or dtype is recorded, and the old one is still known.
  calls = 0;
  CHECK(step(row({1, 2}), row({3, 4})).shape() == ct::Shape{2});
  CHECK(step(on_device::ones({2}, ct::DType::F64), on_device::ones({2}, ct::DType::F64)).dtype() ==
        ct::DType::F64);
  CHECK(calls == 2);
  CHECK(step(on_device::ones({3, 5}), on_device::ones({5})).shape() == ct::Shape{3, 5});
  CHECK(calls == 2);
}

TEST_CASE("jit: arguments and results may be lists") {
  const auto sums = ct::jit([](const std::vector<ct::Tensor>& parts, const ct::Tensor& by) {
    ct::Tensor sum = parts[0];
    for (size_t i = 1; i < parts.size(); ++i) sum = sum + parts[i];
    return std::tuple(sum * by, parts[0], by);
  });
  const auto [product, first, by] = sums(std::vector{row({1, 2}), row({3, 4})}, row({10, 20}));
  CHECK(product.to_vector<float>() == Floats{40, 120});
  CHECK(first.to_vector<float>() == Floats{1, 2});
  CHECK(by.to_vector<float>() == Floats{10, 20});
  CHECK(std::get<0>(sums(std::vector{row({7, 1})}, row({1, 2}))).to_vector<float>() ==
        Floats{7, 2});

  const auto twice = ct::jit([](ct::Tensor x) { return std::vector{x * 2.5, x * 2.5, x}; });
  for (int i = 0; i < 2; ++i) {
    const auto out = twice(row({1, 2}) + float(i));
    REQUIRE(out.size() == 3);
    CHECK(out[1].to_vector<float>() == Floats{2.5f * (1 + i), 2.5f * (2 + i)});
    CHECK(out[2].to_vector<float>() == Floats{1.f + i, 2.f + i});
  }
  const auto none = ct::jit([] { return on_device::arange(3) * 2; });
  CHECK(none().to_vector<int64_t>() == std::vector<int64_t>{0, 2, 4});
}

TEST_CASE("jit: captured tensors are read anew, and updated by each call") {
  Model eager, recorded;
  const auto step =
      ct::jit([&](const ct::Tensor& x, const ct::Tensor& y) { return recorded.train(x, y); });
  for (int i = 0; i < 5; ++i) {
    const ct::Tensor x = on_device::rand(ct::Key(30 + i), {6, 4}),
                     y = on_device::rand(ct::Key(40 + i), {6, 3});
    const ct::Tensor loss = step(x, y), wanted = eager.train(x, y);
    CHECK(loss.to_vector<float>() == wanted.detach().to_vector<float>());
    CHECK_FALSE(loss.requires_grad());
    CHECK(recorded.w.detach().to_vector<float>() == eager.w.detach().to_vector<float>());
    if (i == 2) {  // a rate of another value, and weights that the world changes
      for (Model* m : {&eager, &recorded}) {
        m->rate.fill_(0.01f);
        const ct::NoGrad no_grad;
        m->w.mul_(0.5);
      }
    }
  }
  CHECK(recorded.w.requires_grad());
  CHECK_FALSE(recorded.w.grad().defined());
  CHECK(recorded.velocity.to_vector<float>() == eager.velocity.to_vector<float>());
}

TEST_CASE("jit: a known step neither records nor compiles, and is one realize") {
  const ct::Tensor x = on_device::rand(ct::Key(3), {8, 4}), y = on_device::rand(ct::Key(4), {8, 3});
  Model model;
  const auto step =
      ct::jit([&](const ct::Tensor& a, const ct::Tensor& b) { return model.train(a, b); });
  step(x, y);
  step(x, y);
  ct::reset_statistics();
  for (int i = 0; i < 3; ++i) step(x, y);
  const ct::Statistics s = ct::statistics();
  CHECK(s.realizes == 3);
  CHECK(s.plan_hits == 3);
  CHECK(s.compiles == 0);
}

TEST_CASE("jit: memory of someone else is read and written by each call", "[cpu]") {
  std::vector<float> memory{1, 2, 3}, counts{0, 0, 0};
  const ct::Tensor in = ct::from_blob(memory.data(), {3}, ct::DType::F32);
  ct::Tensor out = ct::from_blob(counts.data(), {3}, ct::DType::F32);
  const auto step = ct::jit([&] { out.add_(in); });
  step();
  memory[1] = 50;
  step();
  CHECK(counts == Floats{2, 52, 6});
}

TEST_CASE("jit: arguments may be views and pending, views of captured tensors are written") {
  // Views of a captured tensor write into it.
  ct::Tensor x = on_device::zeros({2, 2}).clone();
  const auto fill = ct::jit([&](const ct::Tensor& v) { x[1].copy_(v); });
  fill(row({5, 6}));
  fill(row({7, 8}));
  CHECK(x.to_vector<float>() == Floats{0, 0, 7, 8});
  // Arguments may be views, and pending.
  const auto sum = ct::jit([](const ct::Tensor& v) { return v.sum(); });
  CHECK(sum(x.t()[0]).item<float>() == 7);
  CHECK(sum(x[1] * 2.0).item<float>() == 30);
  CHECK(sum(x[1]).item<float>() == 15);
}

TEST_CASE("jit: random numbers are new in each call, those that the function would draw") {
  const auto f = [](const ct::Tensor& x) { return x + ct::rand({4}) * ct::randn({4}); };
  const auto step = ct::jit(f);
  ct::manual_seed(5);
  std::vector<Floats> got, wanted;
  for (int i = 0; i < 3; ++i) got.push_back(step(on_device::zeros({4})).to_vector<float>());
  ct::manual_seed(5);
  for (int i = 0; i < 3; ++i) wanted.push_back(f(on_device::zeros({4})).to_vector<float>());
  CHECK(got == wanted);
  CHECK(got[0] != got[1]);
}

TEST_CASE("jit: a step inside of a step is part of it; threads share what was recorded") {
  const auto inner = ct::jit([](const ct::Tensor& x) { return x * x; });
  const auto outer = ct::jit([&](const ct::Tensor& x) { return inner(x) + inner(x + 1.0); });
  CHECK(outer(row({1, 2})).to_vector<float>() == Floats{5, 13});
  std::vector<std::thread> threads;
  std::array<Floats, 4> results;
  for (size_t t = 0; t < results.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) results[t] = outer(row({float(t), 0})).to_vector<float>();
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 0; t < results.size(); ++t)
    CHECK(results[t] == Floats{float(t * t + (t + 1) * (t + 1)), 1});
}

TEST_CASE("jit: what cannot be recorded is an error that names the place, and changes nothing") {
  ct::Tensor leaf = row({1, 2}).set_requires_grad(), outside = leaf * 2.0,
             plain = row({1, 2}).clone();
  const auto message = [](const auto& f) {
    try {
      f();
    } catch (const ct::Error& e) {
      CHECK(std::string(e.what()).find("jit_test.cpp") != std::string::npos);
      return e.message();
    }
    return std::string("none");
  };
  const auto with = [&](auto f) {
    return message([&] { ct::jit([&](const ct::Tensor& x) { return f(x); })(row({3, 4})); });
  };
  using T = ct::Tensor;
  CHECK(with([](const T& x) { return x + x.sum().item<float>(); }).find("no elements") !=
        std::string::npos);
  CHECK(with([](const T& x) { return x.index({x > 3.5}); }).find("no elements") !=
        std::string::npos);
  CHECK(with([&](const T& x) { return x * outside; }).find("gradient history") !=
        std::string::npos);
  CHECK(with([&](T x) { return x.mul_(2.0); }).find("writes to an argument") != std::string::npos);
  CHECK(with([&](const T& x) {
          const T y = (leaf * x).sum();
          y.backward();
          return y;
        }).find("leaves a gradient") != std::string::npos);
  CHECK_FALSE(leaf.grad().defined());
  CHECK(with([&](const T& x) { return plain.mul_(leaf * x); }).find("no_grad") !=
        std::string::npos);
  CHECK(with([](const T&) { return T(); }).find("undefined") != std::string::npos);
  CHECK(with([](const T& x) {
          return ct::rand(ct::next_key().split().first, {2}) + x;
        }).find("next_key") != std::string::npos);
  CHECK(message([&] { ct::jit([](const T& x) { return x; })(leaf); }).find("requires grad") !=
        std::string::npos);
  // A write before the mistake did not happen.
  CHECK(with([&](const T& x) { return plain.mul_(2.0), x.reshape({7}); }) != "none");
  CHECK(plain.to_vector<float>() == Floats{1, 2});
  // What is left outside has no elements.
  T left;
  ct::jit([&](const T& x) { return left = x * 2.0; })(row({3, 4}));
  CHECK(message([&] { left.to_vector<float>(); }).find("stands for") != std::string::npos);
  // An index out of range, found by a call, changes nothing.
  const auto pick = ct::jit([&](const T& at) { return plain.copy_(plain.index_select(0, at)); });
  pick(on_device::tensor({1, 0}));
  CHECK(plain.to_vector<float>() == Floats{2, 1});
  CHECK(message([&] { pick(on_device::tensor({1, 9})).to_vector<float>(); }).find("9") !=
        std::string::npos);
  CHECK(plain.to_vector<float>() == Floats{2, 1});
}
