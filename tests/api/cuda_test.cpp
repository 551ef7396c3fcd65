// Tensors on a GPU, as a user has them. A fake driver executes the kernels' PTX and counts
// everything that a program or a kernel does wrong; with CERMET_TEST_GPU=real they run on a card,
// and what needs a second one is left out where there is one.

#include <fmt/format.h>

#include <algorithm>

#include "api/chosen_gpu.h"
#include "api/errors.h"
#include "cermet/cermet.h"
#include "ir/build.h"
#include "runtime/gpu_engine.h"
#include "runtime/tensor_state.h"
#include "support/cuda.h"
#include "support/paths.h"
#include "support/shell.h"
#include "tools/examples/training.h"

namespace ct = cermet;
using ct::test::expect_clean_gpu, ct::test::gpu_counters, ct::test::on_real_gpu;
using Floats = std::vector<float>;

namespace {

int gpu_count() { return ct::runtime::cuda::available_devices(); }

// Both tensors, on the host, differ by at most so much.
void expect_near(const ct::Tensor& a, const ct::Tensor& b, double tolerance) {
  const ct::Tensor x = a.cpu(), y = b.cpu();
  REQUIRE(x.shape() == y.shape());
  CHECK((x.to(ct::DType::F64) - y.to(ct::DType::F64)).abs().max().item<double>() <= tolerance);
}

}  // namespace

TEST_CASE("cuda: tensors go to the GPU and back, and say where they are") {
  CERMET_NEEDS_NVRTC();
  CHECK(ct::cuda::is_available());
  const ct::Tensor a = ct::tensor({{1.0, 2.0}, {3.0, 4.0}});
  const ct::Tensor b = a.to("cuda");
  CHECK(ct::to_string(b.device()) == "cuda:0");
  CHECK(ct::to_string((b + 1).device()) == "cuda:0");
  CHECK(ct::to_string(a.device()) == "cpu");
  CHECK(ct::to_string(b.cpu().device()) == "cpu");
  CHECK(b.cpu().to_vector<float>() == Floats{1, 2, 3, 4});
  CHECK(b.to_vector<float>() == Floats{1, 2, 3, 4});
  CHECK(b.sum().item<float>() == 10);
  CHECK(b.to_string() == a.to_string());
  if (gpu_count() > 1) {
    CHECK(ct::to_string(a.cuda().to("cuda:1").device()) == "cuda:1");
    CHECK(a.cuda().to("cuda:1").to_vector<float>() == Floats{1, 2, 3, 4});
  }
  expect_clean_gpu();
}

TEST_CASE("cuda: what is created on the GPU is what would be created on the CPU") {
  CERMET_NEEDS_NVRTC();
  const ct::Key key(5);
  for (int index = 0; index < std::min(gpu_count(), 2); ++index) {
    const std::string name = fmt::format("cuda:{}", index);
    const ct::Device device = ct::Device::parse(name);
    CHECK(ct::to_string(ct::zeros({3}, device).device()) == name);
    CHECK(ct::full({2, 3}, 7, device).to_vector<int64_t>() == std::vector<int64_t>(6, 7));
    CHECK(ct::arange(5, device).to_vector<int64_t>() == ct::arange(5).to_vector<int64_t>());
    CHECK(ct::eye(3, {}, device).to_vector<float>() == ct::eye(3).to_vector<float>());
    CHECK(ct::tensor({1, 2}, device).to_vector<int64_t>() == std::vector<int64_t>{1, 2});
    // Counter-based random numbers are the same bits everywhere.
    CHECK(ct::rand(key, {100}, device).to_vector<float>() ==
          ct::rand(key, {100}).to_vector<float>());
    CHECK(ct::randn(key, {100}, device).to_vector<float>() ==
          ct::randn(key, {100}).to_vector<float>());
    CHECK(ct::randint(key, 0, 1000, {50}, device).to_vector<int64_t>() ==
          ct::randint(key, 0, 1000, {50}).to_vector<int64_t>());
  }
  expect_clean_gpu();
}

TEST_CASE("cuda: tensors of two devices do not mix, numbers go anywhere") {
  CERMET_NEEDS_NVRTC();
  const ct::Tensor host = ct::tensor({1.0, 2.0}), there = host.cuda();
  CHECK_ERROR(host + there, "add: ", "different devices", "cpu", "cuda:0");
  if (gpu_count() > 1) CHECK_ERROR(there * there.to("cuda:1"), "mul: ", "cuda:0", "cuda:1");
  CHECK_ERROR(ct::matmul(there.reshape({1, 2}), host.reshape({2, 1})), "cpu", "cuda:0");
  CHECK_ERROR(ct::cat({host, there}), "cpu", "cuda:0");
  CHECK_ERROR(there.data<float>(), "data: ", "cuda:0", "cpu()");
  const std::string none = fmt::format("cuda:{}", gpu_count());
  CHECK_ERROR(ct::zeros({1}, ct::Options(none)), none, fmt::format("{} GPU", gpu_count()));
  CHECK((there * 2).to_vector<float>() == Floats{2, 4});
  CHECK((there * ct::tensor(3.0)).to_vector<float>() == Floats{3, 6});  // one element, as PyTorch
  expect_clean_gpu();
}

TEST_CASE("cuda: in-place operations and views share elements on the GPU") {
  CERMET_NEEDS_NVRTC();
  ct::Tensor x = ct::arange(6, "cuda").reshape({2, 3});
  ct::Tensor row = x.select(0, 1);
  row.add_(10);
  CHECK(x.to_vector<int64_t>() == std::vector<int64_t>{0, 1, 2, 13, 14, 15});
  x.mul_(2);
  CHECK(row.to_vector<int64_t>() == std::vector<int64_t>{26, 28, 30});
  x.zero_();
  CHECK(ct::to_string(x.device()) == "cuda:0");
  CHECK(row.sum().item<int64_t>() == 0);
  x.copy_(ct::ones({2, 3}));  // from the CPU
  CHECK(ct::to_string(x.device()) == "cuda:0");
  CHECK((x + row).sum().item<int64_t>() == 12);
  expect_clean_gpu();
}

TEST_CASE("cuda: copies into views, and scalars of the CPU that are yet to be computed") {
  CERMET_NEEDS_NVRTC();
  const ct::Tensor a = ct::tensor({{1.0, 2.0}, {3.0, 4.0}}), b = a.cuda();
  ct::Tensor c = b.clone();
  c[0].copy_(a[1]);
  CHECK(c.to_vector<float>() == Floats{3, 4, 3, 4});
  c.slice(1, 0, 1).copy_(a.slice(1, 1, 2).to(ct::DType::F64) * 2);
  CHECK(c.to_vector<float>() == Floats{4, 4, 8, 4});
  CHECK(ct::to_string(c.device()) == "cuda:0");
  ct::Tensor d = a.clone();
  d[1].copy_(b[0] + 1);
  CHECK(d.to_vector<float>() == Floats{1, 2, 2, 3});
  CHECK(ct::to_string(d.device()) == "cpu");
  c[0] = a[0];
  CHECK(c.to_vector<float>() == Floats{1, 2, 8, 4});

  CHECK((b * a.sum()).to_vector<float>() == Floats{10, 20, 30, 40});
  CHECK((a[1][1] - b).to_vector<float>() == Floats{3, 2, 1, 0});
  CHECK(ct::where(b > a[0][1], a.max(), b).to_vector<float>() == Floats{1, 2, 4, 4});
  CHECK(b.clamp(a[0][1], a[1][0]).to_vector<float>() == Floats{2, 2, 3, 3});
  CHECK((b.logical_and(a[0].sum()) & (a[0][0] > 0)).all().item<bool>());
  ct::Tensor w = ct::tensor({2.0, 3.0});
  w.set_requires_grad();
  (b * w.sum()).sum().backward();
  CHECK(ct::to_string(w.grad().device()) == "cpu");
  CHECK(w.grad().to_vector<float>() == Floats{10, 10});
  CHECK(b.masked_fill(b > 2, a[0].sum()).to_vector<float>() == Floats{1, 2, 3, 3});
  c.index_put_({c > 2}, a[0].sum());
  CHECK(c.to_vector<float>() == Floats{1, 2, 3, 3});
  c.index_put_({0}, a[1][1]);
  CHECK(c.to_vector<float>() == Floats{4, 4, 3, 3});
  ct::Tensor s = ct::tensor(2.0);
  s.set_requires_grad();
  (b * s).sum().backward();
  CHECK(ct::to_string(s.grad().device()) == "cpu");
  (a * s).sum().backward();
  CHECK(s.grad().item<float>() == 20);
  expect_clean_gpu();
}

TEST_CASE("cuda: masks select, write and count on the GPU") {
  CERMET_NEEDS_NVRTC();
  const ct::Tensor a = ct::tensor({{1.0, -2.0, 3.0}, {-4.0, 5.0, 0.0}}), b = a.cuda();
  const ct::Tensor mask = b > 0;
  const auto is = [](const ct::Tensor& x, const Floats& expected) {
    CHECK(ct::to_string(x.device()) == "cuda:0");
    CHECK(x.to_vector<float>() == expected);
  };
  is(b.masked_select(mask), {1, 3, 5});
  is(b.index({mask}), {1, 3, 5});
  is(b.index({b.select(1, 0) > 0, ct::Slice{1, 3}}), {-2, 3});
  is(b.index({b.select(1, 1) > 0, ct::tensor({0}).cuda()}), {-4});
  is(b.masked_select(b > 9), {});
  is(b.masked_select(ct::tensor(true)), {1, -2, 3, -4, 5, 0});  // no axes, on the CPU
  is(ct::tensor(7.0).masked_select(mask), {7, 7, 7});
  ct::Tensor c = b.clone();
  c.index_put_({mask}, b.masked_select(mask) * 10);
  is(c, {10, -2, 30, -4, 50, 0});
  c.index_put_({c < 0}, 1.0);
  is(c, {10, 1, 30, 1, 50, 0});
  const ct::Tensor at = ct::nonzero(b);
  CHECK(ct::to_string(at.device()) == "cuda:0");
  CHECK(at.to_vector<int64_t>() == ct::nonzero(a).to_vector<int64_t>());
  CHECK(ct::to_string(ct::nonzero(a).device()) == "cpu");
  CHECK_ERROR(b.index({a > 0}), "index: ", "cuda:0", "cpu");
  expect_clean_gpu();
}

TEST_CASE("cuda: a plan that comes again is one graph") {
  CERMET_NEEDS_NVRTC();
  const uint64_t before = gpu_counters().graph_instantiations;
  // With the caching allocator buffers are found where they were.
  ct::runtime::cuda::Devices devices(ct::runtime::cuda::driver(), {});
  ct::runtime::GpuEngine engine(devices.at(0));
  const auto step = [&](float number) {
    const ct::Tensor x = ct::tensor({number, 1, 2, 3});
    const auto there = engine.upload(*x.realize().state()->cell()->elements(), 16);
    const ct::ir::Value v = ct::ir::data(there, ct::DType::F32, {4});
    const ct::ir::Value sum = ct::ir::reduce(ct::ir::Combine::Sum, v, ct::Dims{0});
    const ct::ir::Value results[] = {ct::ir::barrier(v + v) * v, ct::ir::barrier(sum) + sum};
    const auto out = engine.realize(results);
    float total = 0;
    engine.device().copy_to_host(std::as_writable_bytes(std::span(&total, 1)),
                                 out[1]->buffer().address());
    CHECK(total == 2 * (number + 6));
  };
  for (int i = 0; i < 10; ++i) step(float(i));
  CHECK(engine.stats().plan_misses == 1);
  if (!on_real_gpu()) CHECK(gpu_counters().graph_launches >= 9);
  CHECK(gpu_counters().graph_instantiations - before <= 4);
  expect_clean_gpu();
}

TEST_CASE("cuda: rows are sorted as on the CPU, whatever is equal or no number") {
  CERMET_NEEDS_NVRTC();
  const ct::Key key(9);
  const ct::Tensor nan = ct::full({3, 1}, std::nan(""));
  for (const ct::DType dtype : {ct::DType::F32, ct::DType::F16, ct::DType::I64, ct::DType::U8})
    for (const int64_t columns : {1, 2, 37, 64, 300}) {
      ct::Tensor x = ct::randint(key, 0, 50, {3, columns}).to(dtype);
      if (is_float(dtype)) x = ct::cat({x, nan.to(dtype), x}, 1);
      for (const bool descending : {false, true}) {
        INFO(ct::name(dtype) << ", " << columns << " columns, descending " << descending);
        CHECK(ct::argsort(x.cuda(), 1, descending).to_vector<int64_t>() ==
              ct::argsort(x, 1, descending).to_vector<int64_t>());
      }
    }
  CHECK(ct::argsort(ct::zeros({0, 4}, "cuda")).shape() == ct::Shape{0, 4});
  expect_clean_gpu();
}

TEST_CASE("cuda: gradients are those of the CPU, and come home") {
  CERMET_NEEDS_NVRTC();
  const ct::Key key(3);
  ct::Tensor w = ct::randn(key, {20, 12}), x = ct::randn(key.fold(1), {8, 20});
  const auto loss_of = [&](const ct::Tensor& weight, const ct::Tensor& input) {
    return ct::log_softmax(ct::matmul(input, weight).relu(), 1).square().mean();
  };
  ct::Tensor host = w.clone();
  host.set_requires_grad();
  loss_of(host, x).backward();
  ct::Tensor home = w.clone();  // a leaf on the CPU, used on the GPU
  home.set_requires_grad();
  loss_of(home.cuda(), x.cuda()).backward();
  CHECK(ct::to_string(home.grad().device()) == "cpu");
  expect_near(home.grad(), host.grad(), 1e-5);
  ct::Tensor there = w.cuda();
  there.set_requires_grad();
  loss_of(there, x.cuda()).backward();
  CHECK(ct::to_string(there.grad().device()) == "cuda:0");
  expect_near(there.grad(), host.grad(), 1e-5);
  expect_clean_gpu();
}

TEST_CASE("cuda: networks take the same steps as on the CPU") {
  CERMET_NEEDS_NVRTC();
  const ct::Key key(11);
  examples::Digits digits{ct::rand(key.fold(0), {24, 1, 28, 28}),
                          ct::randint(key.fold(1), 0, 10, {24})};
  ct::realize({digits.images, digits.labels});
  const examples::Digits there{digits.images.cuda(), digits.labels.cuda()};
  for (const bool cnn : {false, true}) {
    INFO((cnn ? "cnn" : "mlp"));
    const auto make = cnn ? examples::make_cnn : examples::make_mlp;
    examples::Network net = make(ct::Key(1)), copy = make(ct::Key(1));
    for (ct::Tensor& p : copy.parameters) p = p.detach().cuda().set_requires_grad();
    const double rate = cnn ? 0.002 : 0.02;  // a loss that grows would make roundings grow too
    examples::Sgd sgd(rate), other(rate);
    const std::vector<int64_t> batch{0, 5, 7, 11, 13, 17};
    int64_t launches = 0;
    for (int step = 0; step < 4; ++step) {
      const float expected = examples::train_step(net, sgd, digits, batch);
      const int64_t before = ct::statistics().launches;
      const float got = examples::train_step(copy, other, there, batch);
      CHECK(std::abs(got - expected) < 1e-4);
      if (step > 1) CHECK(ct::statistics().launches - before == launches);
      launches = ct::statistics().launches - before;
    }
    for (size_t i = 0; i < net.parameters.size(); ++i)
      expect_near(copy.parameters[i].detach(), net.parameters[i].detach(), 1e-4);
    CHECK(launches <= (cnn ? 40 : 25));
  }
  CHECK(ct::statistics().compiles + ct::statistics().disk_hits > 0);
  expect_clean_gpu();
}

TEST_CASE("cuda: the example program trains on a GPU", "[program]") {
  CERMET_NEEDS_NVRTC();
  const std::string program = (ct::test::build_dir() / "tools/examples/mnist").string();
  for (const char* flags : {"--model=mlp --optimizer=adam", "--model=cnn --optimizer=sgd"}) {
    // The driver is the one that this process uses, by the environment.
    const auto outcome = ct::test::run_shell(fmt::format(
        "'{}' {} --device=cuda --train=24 --test=8 --batch=6 --epochs=1", program, flags));
    INFO(flags << "\n" << outcome.output);
    CHECK(outcome.code == 0);
    CHECK(outcome.output.find("none after the second step") != std::string::npos);
    CHECK(outcome.output.find("fakecuda") == std::string::npos);  // says nothing was wrong
  }
}

TEST_CASE("cuda: recorded functions create tensors there, and move none") {
  CERMET_NEEDS_NVRTC();
  const ct::Tensor x = ct::tensor({1.0, 2.0, 3.0}, "cuda"), row = ct::tensor({0.5, 1.5});
  const auto step = ct::jit([](const ct::Tensor& v) {
    const ct::Tensor weight = ct::tensor({3.0, 4.0, 5.0}, "cuda");
    return std::vector{v * weight + ct::arange(3, "cuda"), ct::rand({3}, "cuda"),
                       ct::zeros({2, 0}, "cuda"), ct::ones({2}, "cuda").cumsum(0)};
  });
  ct::manual_seed(3);
  const std::vector<ct::Tensor> first = step(x), second = step(x + 1);
  ct::manual_seed(3);
  CHECK(first[0].to_vector<float>() == Floats{3, 9, 17});
  CHECK(second[0].to_vector<float>() == Floats{6, 13, 22});
  CHECK(first[1].to_vector<float>() == ct::rand({3}).to_vector<float>());
  CHECK(second[1].to_vector<float>() == ct::rand({3}).to_vector<float>());
  CHECK(first[3].to_vector<float>() == Floats{1, 2});
  for (const ct::Tensor& t : second) CHECK(ct::to_string(t.device()) == "cuda:0");
  // Single numbers of the CPU go anywhere, also updated ones.
  ct::Tensor rate = row.sum().realize();
  const auto scaled = ct::jit([&](const ct::Tensor& v, const ct::Tensor& by) {
    const ct::Tensor out = v * rate - by;
    rate.mul_(2);
    return out;
  });
  CHECK(scaled(x, row[0]).to_vector<float>() == Floats{1.5, 3.5, 5.5});
  CHECK(scaled(x, row[1]).to_vector<float>() == Floats{2.5, 6.5, 10.5});
  CHECK(rate.item<float>() == 8);
  CHECK(ct::to_string(rate.device()) == "cpu");
  const auto refused = [&](const auto& f) {
    CHECK_THAT(ct::test::message_of<ct::Error>([&] { ct::jit(f)(x); }),
               Catch::Matchers::ContainsSubstring(" none move while a step is recorded"));
  };
  refused([](const ct::Tensor& v) { return v.cpu(); });
  refused([&](const ct::Tensor& v) { return v.slice(0, 0, 2) * row.to("cuda"); });
  if (gpu_count() > 1) refused([](const ct::Tensor& v) { return v.to("cuda:1"); });
  expect_clean_gpu();
}

TEST_CASE("cuda: products are TF32 and arithmetic is fast only while that is set") {
  CERMET_NEEDS_NVRTC();
  const int64_t n = 64;
  // 1 + 2^-12 is 1 in TF32; its square and a sum need two roundings, or one.
  const ct::Tensor x = ct::tensor(Floats(size_t(n * n), 1 + 0x1p-12f), {n, n}).cuda();
  const ct::Tensor y = ct::tensor(Floats(size_t(n * n), -1 - 0x1p-11f), {n, n}).cuda();
  const auto product = [&] { return ct::matmul(x, x).cpu().to_vector<float>()[5]; };
  const auto chain = [&] { return (x * x + y).cpu().to_vector<float>()[5]; };
  const float exact = n + float(n) * 0x1p-11f;
  for (int round = 0; round < 2; ++round) {
    CHECK(std::abs(product() - exact) < 1e-4f);
    CHECK(chain() == 0);
    ct::set_float32_matmul_precision("high");
    ct::set_fast_math(true);
    CHECK(product() == float(n));
    CHECK(chain() == 0x1p-24f);
    ct::set_float32_matmul_precision("highest");
    ct::set_fast_math(false);
  }
  expect_clean_gpu();
}
