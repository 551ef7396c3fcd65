// Steps: functions that are recorded once and run as one program, compared with the function
// itself. On whatever device the tests run on.

#include <algorithm>
#include <array>
#include <atomic>
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

namespace {

// Bytes that a call hands out at most at one time, beside what is there when it begins.
template <class F>
int64_t bytes_of(F call) {
  const int64_t before = ct::statistics().live_bytes;
  ct::reset_statistics();
  call();
  return ct::statistics().peak_bytes - before;
}

// The message of the Error that f throws, which names this file.
template <class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const ct::Error& e) {
    CHECK(std::string(e.what()).find("jit_test.cpp") != std::string::npos);
    return e.message();
  }
  return "none";
}

constexpr int64_t large = 64;  // a square of floats of which is worth writing over: 16 KB

ct::Tensor square(int64_t key) { return on_device::rand(ct::Key(key), {large, large}).clone(); }

}  // namespace

TEST_CASE("jit: a captured tensor is updated where it lies, if nobody else needs it", "[cpu]") {
  ct::Tensor w = square(1), eager = w.clone();
  const ct::Tensor g = square(2), row = on_device::rand(ct::Key(3), {large}).clone();
  const auto update = [&](ct::Tensor& x) {
    const ct::Tensor loss = ct::matmul(g, x).sum();  // reads it, too
    x.sub_(ct::matmul(g.t(), g) * 0.01);
    x.sub_(row);
    return loss;
  };
  const auto step = ct::jit([&] { return update(w); });
  ct::realize({w, eager, g, row});
  const auto check = [&] {
    const ct::Tensor wanted = update(eager);
    CHECK(w.to_vector<float>() == eager.to_vector<float>());
    return wanted.item<float>();
  };
  step(), check();
  const int64_t alone = bytes_of(step);
  check();
  // A copy, an expression, a list of it: what they show stays.
  const Floats now = w.to_vector<float>();
  const ct::Tensor copy = w.clone(), half = w * 0.5, whole = w.detach();
  CHECK(bytes_of(step) >= alone + large * large * 4);
  check();
  CHECK(copy.to_vector<float>() == now);
  CHECK(half.to_vector<float>()[5] == now[5] * 0.5f);
  CHECK(whole.to_vector<float>() == w.to_vector<float>());
  // So does memory that the outside sees.
  float* const first = w.data<float>();
  step(), check();
  CHECK(w.data<float>() == first);
}

TEST_CASE("jit: other threads see a tensor before or after its update", "[cpu]") {
  ct::Tensor w = ct::zeros({256, 256}).clone();
  const auto step = ct::jit([&] { w.add_(1.0); });
  step();
  constexpr int steps = 200;
  std::atomic<int> wrong = 0, done = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      float last = 0;
      while (done == 0) {
        const Floats now = (t == 0 ? w : t == 1 ? w * 1.0 : w[3].clone()).to_vector<float>();
        if (now[0] < last || std::ranges::any_of(now, [&](float x) { return x != now[0]; }))
          ++wrong;
        last = now[0];
      }
    });
  for (int i = 1; i < steps; ++i) step();
  done = 1;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(w.to_vector<float>() == Floats(256 * 256, steps));
  // Two threads that update lose updates of each other, and nothing else.
  threads.clear();
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < steps; ++i) step();
    });
  for (std::thread& thread : threads) thread.join();
  const Floats last = w.to_vector<float>();
  CHECK(last == Floats(256 * 256, last[0]));
  CHECK((last[0] > steps && last[0] <= 3 * steps));
}

TEST_CASE("jit: a donated argument is gone after the call, and its memory a result's") {
  const auto f = [](const ct::Tensor& state, const ct::Tensor& x) { return state * 0.9 + x; };
  const auto step = ct::jit(f, {.donate = {0}});
  ct::Tensor state = square(1), x = square(2);
  ct::realize({state, x});
  const Floats wanted = f(state, x).to_vector<float>();
  const ct::Tensor before = state, view = state[1], pending = state + 1.0;
  const Floats old = pending.to_vector<float>();
  const ct::Tensor later = state + 2.0;
  state = step(state, x);
  CHECK(state.to_vector<float>() == wanted);
  const std::string gone = "was donated to the step that was called at ";
  const auto is_gone = [&](const auto& use) {
    const std::string message = message_of(use);
    CHECK(message.find(gone) != std::string::npos);
    CHECK(message.find("jit_test.cpp:") != std::string::npos);
  };
  is_gone([&] { (void)before.to_vector<float>(); });
  is_gone([&] { (void)view.sum().item<float>(); });
  is_gone([&] { (void)(before + x); });
  is_gone([&] { before.realize(); });
  is_gone([&] { (void)step(before, x); });
  is_gone([&] { ct::Tensor(before).add_(1.0); });
  is_gone([&] { ct::jit([&] { return before + 1.0; })(); });
  CHECK(later.to_vector<float>()[7] == old[7] - 1.0f + 2.0f);
  CHECK(before.shape() == ct::Shape{large, large});
  if (!ct::test::on_gpu()) {  // in place, once nothing else shows the elements
    state = step(state, x);
    CHECK(bytes_of([&] { state = step(state, x); }) < large * large * 4);
  }

  // Lists are donated as a whole, and pending arguments are computed first.
  const auto sums = ct::jit(
      [](const std::vector<ct::Tensor>& parts) { return parts[0] + parts[1]; }, {.donate = {0}});
  const std::vector<ct::Tensor> parts{x * 2.0, x.reshape({-1, large}) * 3.0};
  CHECK(sums(parts).to_vector<float>()[3] ==
        x.to_vector<float>()[3] * 2.0f + x.to_vector<float>()[3] * 3.0f);
  for (const ct::Tensor& part : parts) is_gone([&] { (void)part.to_vector<float>(); });
  // A reshaped one, whose elements are not in another order.
  const ct::Tensor flat = state.reshape({large * large});
  CHECK(
      ct::jit([](const ct::Tensor& y) { return y.sum(); }, {.donate = {0}})(flat).shape().empty());
  is_gone([&] { (void)state.to_vector<float>(); });
}

TEST_CASE("jit: what cannot be donated is an error, and stays") {
  using T = ct::Tensor;
  const auto sum = ct::jit([](const T& a, const T& b) { return a + b; }, {.donate = {0}});
  const T x = square(1), y = square(2);
  const auto refused = [&](const std::string& why, const auto& call) {
    const std::string message = message_of(call);
    INFO(message << " / " << why);
    CHECK(message.find(why) != std::string::npos);
  };
  refused("argument 0 is donated, and is the same tensor as argument 1", [&] { sum(x, x); });
  refused("argument 0 is donated, and is the same tensor as argument 1", [&] { sum(x, x.t()); });
  refused("shows 64 of 4096 elements", [&] { sum(x[0], y); });
  refused("argument 2 is to be donated, and there are 2",
          [] { return ct::jit([](const T& a, const T& b) { return a + b; }, {.donate = {0, 2}}); });
  refused("captures it as well",
          [&] { ct::jit([&](const T& a) { return a + x; }, {.donate = {0}})(x); });
  refused("argument 0[0] is donated, and is the same tensor as argument 0[1]", [&] {
    ct::jit([&](const std::vector<T>& a) { return a[0] + a[1]; },
            {.donate = {0}})(std::vector{x, x});
  });
  T seen = square(3);
  (void)seen.data_ptr();
  refused("can be seen from outside", [&] { sum(seen, y); });
  // Tensors that share elements, but are not the same, are no mistake.
  const T copy = x.clone();
  CHECK(sum(copy, x).to_vector<float>()[9] == x.to_vector<float>()[9] * 2.0f);
  // A step inside of a step donates nothing.
  CHECK(ct::jit([&](const T& a) { return sum(a, a); })(x).to_vector<float>()[9] ==
        x.to_vector<float>()[9] * 2.0f);
  // A call that fails leaves all as it was.
  T table = square(4);
  const Floats before = table.to_vector<float>(), rest = y.to_vector<float>();
  const auto pick = ct::jit(
      [&](const T& given, const T& at) {
        table.mul_(2.0);
        return std::tuple(given + 1.0, table.index_select(0, at).sum());
      },
      {.donate = {0}});
  CHECK(message_of([&] { pick(y, on_device::tensor({1, 99})); }).find("99") != std::string::npos);
  CHECK(table.to_vector<float>() == before);
  CHECK(y.to_vector<float>() == rest);
  CHECK(std::get<0>(pick(y, on_device::tensor({1, 9}))).to_vector<float>()[2] == rest[2] + 1.0f);
  CHECK(table.to_vector<float>()[5] == before[5] * 2.0f);
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
