// What tensors and the library say of themselves: printing, graph text, statistics, explain().

#include <functional>
#include <map>

#include "api/errors.h"
#include "cermet/cermet.h"
#include "ir/text.h"
#include "runtime/engine.h"

namespace ct = cermet;
using ct::DType;
using ct::Tensor;

namespace {

// Each kernel was compiled at most twice since the statistics were reset.
void check_compiles() {
  std::map<std::string, int> compiled;
  for (const ct::Compile& c : ct::compiles()) ++compiled[c.kernel];
  for (const auto& [kernel, times] : compiled) {
    INFO(kernel << "\n" << ct::explain());
    CHECK(times <= 2);
  }
}

// Computes something of sizes 2 to 100; extents of 1 are a class of their own.
void sweep(const std::function<Tensor(int64_t)>& of_size) {
  ct::reset_statistics();
  for (int64_t n = 2; n <= 100; ++n) of_size(n).realize();
  check_compiles();
}

Tensor filled(int64_t key, const ct::Shape& shape) {
  return (ct::arange(double(ct::numel(shape))).reshape(shape) * (0.01 * double(key))).realize();
}

}  // namespace

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
  check_compiles();
}

TEST_CASE("report: products with a wide matrix compile at most twice for any batch", "[cpu]") {
  // Its rows begin anywhere in a cache line, and it does not fit the first cache.
  const Tensor wide = ct::rand(ct::Key(1), {20, 1001}).realize();
  ct::reset_statistics();
  for (int64_t batch = 1; batch <= 100; ++batch)
    ct::matmul(ct::rand(ct::Key(2), {batch, 20}).realize(), wide).realize();
  check_compiles();
}

TEST_CASE("report: products compile at most twice for any rows, columns or inner extent", "[cpu]") {
  const Tensor left = filled(1, {64, 48}), right = filled(2, {48, 64});
  SECTION("rows") {
    sweep([&](int64_t n) { return ct::matmul(filled(3, {4 * n, 48}), right); });
  }
  SECTION("columns") {
    sweep([&](int64_t n) { return ct::matmul(left, filled(3, {48, n})); });
  }
  SECTION("columns that many rows use") {
    const Tensor tall = filled(1, {300, 48});
    sweep([&](int64_t n) { return ct::matmul(tall, filled(3, {48, n})); });
  }
  SECTION("inner") {
    sweep([&](int64_t n) { return ct::matmul(filled(3, {64, n}), filled(4, {n, 64})); });
  }
  SECTION("inner, the right side transposed") {
    sweep([&](int64_t n) { return ct::matmul(filled(3, {64, n}), filled(4, {64, n}).t()); });
  }
  SECTION("rows of a transposed left side") {
    sweep([&](int64_t n) { return ct::matmul(filled(3, {48, n}).t(), right); });
  }
}

TEST_CASE("report: attention compiles at most twice for any length", "[cpu]") {
  sweep([](int64_t n) {
    const Tensor q = filled(1, {8, n, 32}), k = filled(2, {8, n, 32}), v = filled(3, {8, n, 32});
    return ct::matmul((ct::matmul(q, k.transpose(-1, -2)) * 0.17).softmax(-1), v);
  });
}

TEST_CASE("report: row programs and distances compile at most twice for any length", "[cpu]") {
  SECTION("softmax") {
    sweep([](int64_t n) { return filled(1, {64, n}).softmax(1); });
  }
  SECTION("layer norm") {
    sweep([](int64_t n) { return ct::layer_norm(filled(1, {64, n}), 1); });
  }
  SECTION("sums") {
    sweep([](int64_t n) { return filled(1, {64, n}).sum(1); });
  }
  SECTION("distances of points") {
    sweep([](int64_t n) {
      const Tensor x = filled(1, {n, 8});
      return (x.unsqueeze(0) - x.unsqueeze(1)).square().sum(2);
    });
  }
}
