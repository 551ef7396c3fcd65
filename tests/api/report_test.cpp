// What tensors and the library say of themselves: printing, graph text, statistics, explain().

#include <map>

#include "api/errors.h"
#include "cermet/cermet.h"
#include "ir/text.h"
#include "runtime/engine.h"

namespace ct = cermet;
using ct::DType;
using ct::Tensor;

TEST_CASE("report: tensors print as PyTorch's do, but for torch. in front of dtypes") {
  CHECK(ct::tensor({1.0, 2.5}).to_string() == "tensor([1.0000, 2.5000])");
  CHECK(ct::tensor({{1, 20}, {300, 4}}).to_string() == "tensor([[  1,  20],\n        [300,   4]])");
  CHECK(ct::tensor(3.0).to_string() == "tensor(3.)");
  CHECK(ct::tensor({true, false}).to_string() == "tensor([ True, False])");
  CHECK(ct::zeros({0}).to_string() == "tensor([])");
  CHECK(ct::tensor({1}, DType::I32).to_string() == "tensor([1], dtype=int32)");
  CHECK(ct::arange(2000).to_string() == "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])");
  const Tensor x = ct::tensor({1.0}).set_requires_grad();
  CHECK(x.to_string() == "tensor([1.], requires_grad=True)");
  CHECK(x.detach().to_string() == "tensor([1.])");
  // A view prints what it shows.
  CHECK(ct::arange(6).reshape({2, 3}).t()[1].to_string() == "tensor([1, 4])");
}

TEST_CASE("report: the pending graph as text can be read again") {
  const Tensor x = ct::arange(3.0).realize();
  const Tensor y = ((x + 1.5) * x).sum();
  const std::string text = y.to_cir();
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("f32[3]"));
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("mul"));
  CHECK(ct::ir::print(ct::ir::parse(text)) == text);
}

TEST_CASE("report: statistics count realizes, launches, programs and kernels") {
  const auto run = [](int64_t n) {
    ((ct::ones({n}) * 1.234).exp() + ct::arange(double(n))).sum().realize();
  };
  run(77);
  ct::reset_statistics();
  CHECK(ct::statistics().realizes == 0);
  CHECK(ct::compiles().empty());
  for (int i = 0; i < 3; ++i) run(77);
  const ct::Statistics s = ct::statistics();
  CHECK(s.realizes == 3);
  CHECK(s.plan_hits == 3);
  CHECK(s.plan_misses == 0);
  CHECK(s.compiles == 0);
  CHECK(s.launches >= 3);
  run(78);
  CHECK(ct::statistics().plan_misses == 1);
  CHECK(ct::statistics().compiles + ct::statistics().disk_hits + ct::statistics().kernel_hits >= 1);
  const std::string text = ct::explain();
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("4 realizes"));
  CHECK((text.find("no kernels are kept on disk: ") != text.npos) ==
        !ct::runtime::default_engine().disk_cache().enabled());
  for (const ct::Compile& c : ct::compiles())
    CHECK_THAT(text, Catch::Matchers::ContainsSubstring(c.kernel));
}

TEST_CASE("report: what is realized once is not computed again") {
  const Tensor x = ct::randn(ct::Key(1), {50}), y = (x * 2).sum();
  y.realize();
  const int64_t realizes = ct::statistics().realizes;
  y.realize();
  CHECK(y.item<float>() == y.item<float>());
  CHECK(ct::statistics().realizes == realizes);
  // Several results are one program.
  const Tensor a = x + 1, b = x * x, c = a.sum();
  ct::realize({a, b, c});
  CHECK(ct::statistics().realizes == realizes + 1);
  a.to_vector<float>(), b.to_vector<float>(), c.item<float>();
  CHECK(ct::statistics().realizes == realizes + 1);
}

TEST_CASE("report: memory is given back when tensors go") {
  const int64_t before = ct::statistics().live_bytes;
  {
    const Tensor x = ct::randn({1000, 100}).realize();
    CHECK(ct::statistics().live_bytes >= before + 400'000);
    CHECK(ct::statistics().peak_bytes >= ct::statistics().live_bytes);
  }
  CHECK(ct::statistics().live_bytes == before);
}

TEST_CASE("report: batches of any size, and any rate, compile each kernel at most twice", "[cpu]") {
  std::vector<Tensor> weights{ct::rand(ct::Key(1), {20, 33}), ct::zeros({33}),
                              ct::rand(ct::Key(2), {33, 10}), ct::zeros({10})};
  for (Tensor& w : weights) w = (w * 0.1).realize().clone().set_requires_grad();
  const auto train = [&](int64_t batch, double rate) {
    const Tensor x = ct::rand(ct::Key(3), {batch, 20}).realize();
    const Tensor y = ct::randint(ct::Key(4), 0, 10, {batch}).realize();
    const Tensor h = (ct::matmul(x, weights[0]) + weights[1]).relu();
    const Tensor loss = ct::cross_entropy(ct::matmul(h, weights[2]) + weights[3], y);
    loss.backward();
    const ct::NoGrad no_grad;
    for (Tensor& w : weights) {
      w.sub_(w.grad() * rate);
      w.set_grad(Tensor());
    }
    loss.realize();
    (x * rate).softmax(1).realize();
  };
  ct::reset_statistics();
  for (int64_t batch = 1; batch <= 100; ++batch) train(batch, 0.01);
  for (int i = 0; i < 60; ++i) train(24, 0.0013 + 0.0007 * i);
  std::map<std::string, int> compiled;
  for (const ct::Compile& c : ct::compiles()) ++compiled[c.kernel];
  for (const auto& [kernel, times] : compiled) {
    INFO(kernel << "\n" << ct::explain());
    CHECK(times <= 2);
  }
}

TEST_CASE("report: products with a wide matrix compile at most twice for any batch", "[cpu]") {
  // Its rows begin anywhere in a cache line, and it does not fit the first cache.
  const Tensor wide = ct::rand(ct::Key(1), {20, 1001}).realize();
  ct::reset_statistics();
  for (int64_t batch = 1; batch <= 100; ++batch)
    ct::matmul(ct::rand(ct::Key(2), {batch, 20}).realize(), wide).realize();
  std::map<std::string, int> compiled;
  for (const ct::Compile& c : ct::compiles()) ++compiled[c.kernel];
  for (const auto& [kernel, times] : compiled) {
    INFO(kernel << "\n" << ct::explain());
    CHECK(times <= 2);
  }
}
