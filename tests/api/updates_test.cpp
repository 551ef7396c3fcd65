// When recorded in-place operations are carried out, and what happens if one cannot be; on a GPU if
// test::on_gpu().

#include <cmath>
#include <thread>

#include "api/errors.h"
#include "api/on_device.h"
#include "cermet/cermet.h"
#include "ir/node.h"

namespace ct = cermet;
namespace on_device = ct::test::on_device;
using ct::DType;
using ct::Tensor;
using ct::test::device;

namespace {

using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;

// Realizes, and waits until it is known whether that went well.
void finish(const Tensor& t, ct::SourceLocation where = ct::SourceLocation::current()) {
  t.realize(where);
  ct::cuda::synchronize(device(), where);
}

// y = tanh(x w + b), fitted to a line.
struct Line {
  Tensor x = ct::linspace(-1, 1, 32).reshape({32, 1}).to(device()).realize();
  Tensor y = (x * 0.5 + 0.25).realize();
  Tensor w = on_device::full({1, 1}, 0.1).set_requires_grad();
  Tensor b = on_device::zeros({1}).set_requires_grad();

  Tensor loss() const { return ct::mse_loss((x.matmul(w) + b).tanh(), y); }
};

}  // namespace

TEST_CASE("updates: a loop that realizes its loss only carries its updates out in each step") {
  Line line;
  Tensor velocity = on_device::zeros({1, 1}).realize();
  Tensor count = on_device::zeros({}).realize();
  float first = 0, last = 0;
  int64_t nodes = 0;
  ct::Statistics before;
  for (int step = 0; step < 200; ++step) {
    if (step == 2) before = ct::statistics();
    line.w.set_grad({}), line.b.set_grad({});
    const Tensor loss = line.loss();
    loss.backward();
    {
      const ct::NoGrad guard;
      count.add_(1);
      velocity.mul_(0.5).add_(line.w.grad());
      line.w.sub_(velocity * (0.3 + 0.001 * step) * (count / count));
      line.b.sub_(line.b.grad() * 0.3);
    }
    last = loss.item<float>();
    if (step == 0) first = last;
    if (step == 2) nodes = ct::ir::live_nodes();
    if (step > 2) REQUIRE(ct::ir::live_nodes() <= nodes);
  }
  const ct::Statistics after = ct::statistics();
  CHECK(after.compiles == before.compiles);
  CHECK(after.plan_misses == before.plan_misses);
  CHECK(last < 0.01f * first);
  // All of them were carried out already.
  CHECK(count.item<float>() == 200);
  CHECK(velocity.item<float>() != 0);
  CHECK(ct::statistics().launches == after.launches);
}

TEST_CASE("updates: the loss may be realized before the step is recorded") {
  Line line;
  ct::Statistics before;
  int64_t nodes = 0;
  for (int step = 0; step < 50; ++step) {
    line.w.set_grad({}), line.b.set_grad({});
    const Tensor loss = line.loss();
    loss.realize();
    loss.backward();
    const ct::NoGrad guard;
    line.w.sub_(line.w.grad() * 0.1);
    line.b.sub_(line.b.grad() * 0.1);
    if (step == 3) before = ct::statistics(), nodes = ct::ir::live_nodes();
    if (step > 3) REQUIRE(ct::ir::live_nodes() <= nodes);
  }
  CHECK(ct::statistics().compiles == before.compiles);
  CHECK(ct::statistics().plan_misses == before.plan_misses);
}

TEST_CASE("updates: gradients that add up over many batches do not grow either") {
  Line line;
  ct::Statistics before;
  for (int step = 0; step < 50; ++step) {
    if (step == 4) before = ct::statistics();
    const Tensor loss = line.loss() * (1.0 + 0.01 * step);
    loss.backward();
    loss.realize();
  }
  CHECK(ct::statistics().plan_misses == before.plan_misses);
  CHECK(ct::statistics().compiles == before.compiles);
}

TEST_CASE("updates: only what shares a computation is carried out", "[cpu]") {
  std::vector<double> memory = {1, 2, 3};
  Tensor t = ct::borrow(memory);
  t.add_(10);
  const Tensor other = ct::arange(3.0).exp().sum();
  other.realize();
  CHECK(memory[0] == 1);
  (t * 2).sum().realize();
  CHECK(memory == std::vector<double>{11, 12, 13});
  // What read the memory before the write has the elements of then.
  const Tensor old = t * 1;
  t.neg_();
  (t + 1).realize();
  CHECK(memory[0] == -11);
  CHECK(old.to_vector<double>() == std::vector<double>{11, 12, 13});
}

TEST_CASE("updates: what a borrowed batch gave is not read again from the next batch", "[cpu]") {
  Floats batch(4, 1.0f);
  Tensor w = ct::zeros({4}).set_requires_grad();
  for (int step = 1; step <= 5; ++step) {
    std::fill(batch.begin(), batch.end(), float(step));
    const Tensor loss = (ct::borrow(batch) * w).sum();
    w.set_grad({});
    loss.backward();
    {
      const ct::NoGrad guard;
      w.add_(w.grad());
    }
    loss.realize();
  }
  std::fill(batch.begin(), batch.end(), -100.0f);
  CHECK(w.detach().to_vector<float>() == Floats(4, 15));
}

TEST_CASE("updates: of a tensor that nobody has any more nothing is computed") {
  const Tensor x = (on_device::ones({1000}) * 1.5).realize();
  const Tensor shared = x.exp();
  const auto peak = [] { return ct::statistics().launches; };
  {
    Tensor dead = on_device::zeros({1000});
    dead.add_(shared).index_put_({on_device::tensor({5000})}, 1);  // and would fail
  }
  const auto before = peak();
  shared.sum().realize();
  CHECK(peak() == before + 1);
}

TEST_CASE("updates: the mistake of one is not thrown to whoever did not ask for it") {
  const Tensor x = on_device::arange(4.0).realize();
  const Tensor shared = x * 1.5;
  Tensor bad = on_device::zeros({4}), good = on_device::zeros({4});
  bad.add_(shared).index_put_({on_device::tensor({9})}, 1);
  good.add_(shared);
  CHECK(shared.sum().item<float>() == 9);
  CHECK(good.to_vector<float>() == Floats{0, 1.5f, 3, 4.5f});
  CHECK_ERROR(finish(bad), "index 9");
  CHECK(bad.to_vector<float>() == Floats{0, 1.5f, 3, 4.5f});
}

TEST_CASE("updates: a write that fails is undone by the realize that finds it") {
  Tensor t = on_device::arange(4);
  t.add_(1);
  t.scatter_(0, on_device::tensor({7}), 5);
  Tensor view = t.slice(0, 1, 3);
  t.mul_(2);
  CHECK_ERROR(finish(view), "index 7", "4 elements");
  CHECK(t.to_vector<int64_t>() == Ints{1, 2, 3, 4});
  CHECK(view.to_vector<int64_t>() == Ints{2, 3});
  t.scatter_(0, on_device::tensor({3}), 5).mul_(2);
  CHECK(t.to_vector<int64_t>() == Ints{2, 4, 6, 10});

  // The second of three, after one that is fine.
  t.index_put_({on_device::tensor({0})}, 1);
  t.index_put_({on_device::tensor({-5})}, 2);
  t.index_put_({on_device::tensor({2})}, 3);
  CHECK_ERROR(t.to_vector<int64_t>(), "index -5");
  CHECK(t.to_vector<int64_t>() == Ints{1, 4, 6, 10});

  // What only the written value needs.
  t.copy_(t.take(on_device::tensor({0, 1, 2, 4})));
  CHECK_ERROR(t.to_string(), "index 4");
  CHECK(t.sum().item<int64_t>() == 21);
  t.scatter_add_(0, on_device::tensor({-9}), on_device::ones({1}, DType::I64));
  CHECK_ERROR(finish(t), "index -9");
  CHECK(t.to_vector<int64_t>()[3] == 10);
}

TEST_CASE("updates: memory of the outside is as it was after a write that fails", "[cpu]") {
  Ints memory = {1, 2, 3};
  Tensor t = ct::borrow(memory);
  t.add_(1).index_put_({ct::tensor({3})}, 0);
  CHECK_ERROR(t.realize(), "index 3");
  CHECK(memory == Ints{1, 2, 3});
  t.realize();
  CHECK(memory == Ints{2, 3, 4});
  t.scatter_add_(0, ct::tensor({-9}), ct::ones({1}, DType::I64));
  CHECK_ERROR(t.data<int64_t>(), "index -9");
  CHECK(t.data<int64_t>()[2] == 4);
}

TEST_CASE("updates: what was computed from a write that fails throws, and the write is undone") {
  Tensor t = on_device::arange(3);
  t.index_put_({on_device::tensor({3})}, 0);
  const Tensor y = t * 2;
  CHECK_ERROR(finish(y), "index 3");
  CHECK(t.to_vector<int64_t>() == Ints{0, 1, 2});
  CHECK_ERROR(finish(y), "index 3");  // it never had a value
  CHECK((t * 2).to_vector<int64_t>() == Ints{0, 2, 4});

  Tensor never = on_device::arange(3).take(on_device::tensor({5}));
  never.add_(1);
  CHECK_ERROR(finish(never), "index 5");
  CHECK_ERROR(finish(never), "index 5");
}

TEST_CASE("updates: a weight whose update failed with its loss is as before the step") {
  Tensor table = on_device::ones({4, 2}).set_requires_grad();
  const auto step = [&](int64_t word) {
    const Tensor loss = table.index_select(0, on_device::tensor({word})).sum();
    table.set_grad({});
    loss.backward();
    {
      const ct::NoGrad guard;
      table.sub_(table.grad());
    }
    return loss.item<float>();
  };
  CHECK(step(1) == 2);
  CHECK_ERROR(step(4), "index 4");
  CHECK(table.detach().to_vector<float>() == Floats{1, 1, 0, 0, 1, 1, 1, 1});
  CHECK(step(1) == 0);
}

TEST_CASE("updates: several bad writes are reported one by one") {
  Tensor a = on_device::arange(3), b = on_device::arange(4);
  a.index_put_({on_device::tensor({3})}, 0);
  b.index_put_({on_device::tensor({4})}, 0);
  int errors = 0;
  for (int i = 0; i < 5; ++i) {
    try {
      ct::realize({a, b});
      ct::cuda::synchronize(device());
      break;
    } catch (const ct::Error&) {
      ++errors;
    }
  }
  CHECK(errors == 2);
  CHECK(a.to_vector<int64_t>() == Ints{0, 1, 2});
  CHECK(b.to_vector<int64_t>() == Ints{0, 1, 2, 3});
}

TEST_CASE("updates: a history that gradients flow through is kept, and gives the gradient") {
  Tensor w = on_device::tensor({1.0, 2.0}).set_requires_grad();
  Tensor h = w * 2;
  for (int i = 0; i < 3; ++i) {
    h.mul_(w);
    h.sum().realize();
  }
  h.sum().backward();
  CHECK(w.grad().to_vector<float>() == Floats{8, 64});  // of 2 w^4
}

TEST_CASE("updates: threads that share pending updates") {
  Tensor w = on_device::zeros({64}).realize();
  for (int round = 0; round < 10; ++round) {
    const Tensor x = on_device::arange(64.0) + double(round), shared = x.tanh() * 0.5;
    w.add_(shared);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        Tensor own = on_device::zeros({64});
        own.add_(shared).mul_(double(t));
        (shared * double(t)).sum().realize();
        if (t % 2) w.realize();
      });
    for (std::thread& t : threads) t.join();
  }
  double expected = 0;
  for (int round = 0; round < 10; ++round) expected += 0.5 * std::tanh(5.0 + round);
  CHECK(w[5].item<double>() == Approx(expected));
}

TEST_CASE("updates: a large update that shares nothing does not slow small realizes down",
          "[cpu]") {
  Tensor large = ct::zeros({2}).realize();
  for (int i = 0; i < 100'000; ++i) large.add_(double(i % 7) + 0.1);
  for (int i = 0; i < 20'000; ++i) (ct::tensor({i}) + 1).realize();
  const Tensor y = large * 2;
  large = Tensor();
  CHECK(y.shape() == ct::Shape{2});
}
