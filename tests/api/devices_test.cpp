// Tensors of two devices in one call, and devices that do not exist: each public function refuses
// them by its own name, names both devices, and does nothing.

#include "api/chosen_gpu.h"
#include "api/errors.h"
#include "cermet/cermet.h"
#include "runtime/cuda/device.h"
#include "support/cuda.h"

namespace ct = cermet;
using ct::Tensor;

namespace {

// What is wrong with how the call is refused, or nothing.
template <class F>
std::string refusal(const std::string& name, F f, const char* file, int line) {
  try {
    f();
  } catch (const ct::Error& e) {
    if (!std::string_view(e.what()).starts_with(name + ": "))
      return "`" + std::string(e.what()) + "` does not begin with " + name;
    return ct::test::wrong_with(e.what(), file, line, {"cpu", "cuda:0"});
  }
  return "no error";
}

#define MIXED(name, expression) \
  CHECK(refusal(#name, [&] { static_cast<void>(expression); }, __FILE__, __LINE__) == "")

}  // namespace

// Rows of a table.
// clang-format off
TEST_CASE("devices: functions of several tensors refuse those of two devices, by name") {
  CERMET_NEEDS_NVRTC();
  const Tensor a = ct::tensor({{1.0, 2.0}, {3.0, 4.0}}), b = a.cuda();
  const Tensor i = ct::tensor({{0, 1}, {1, 0}}), j = i.cuda(), row = a[0].clone();
  const Tensor at = ct::tensor({0, 1}), there = at.cuda(), flag = a > 2, image = a.reshape({1, 1, 2, 2});
  const Tensor key = i.to(ct::DType::U64), counts = key.cuda();  // of a dtype that every row takes
#define CHECK1(name)
#define CHECK2(name) MIXED(name, ct::name(key, counts)); MIXED(name, counts.name(key));
#define CHECK3(name) MIXED(name, ct::name(flag, b, b)); MIXED(name, ct::name(flag, a, b));
#define OP(Enum, name, arity, ...) CHECK##arity(name)
#include "cermet/ops.def"
#undef CHECK1
#undef CHECK2
#undef CHECK3
#define X(name) MIXED(name, ct::name(a, b)); MIXED(name, b.name(a));
  X(gt) X(ge) X(logical_and) X(logical_or) X(logical_xor)
#undef X
  MIXED(add, a + b);
  MIXED(lt, a < b);
  MIXED(gt, b > a);
  MIXED(allclose, ct::allclose(a, b));
  MIXED(clamp, ct::clamp(a, b, 1));
  MIXED(clamp, ct::clamp(a, 0, b));
  MIXED(clamp_min, ct::clamp_min(a, b));
  MIXED(clamp_max, ct::clamp_max(b, a));
  MIXED(max, ct::max(a, b));
  MIXED(min, ct::min(b, a));
  MIXED(matmul, ct::matmul(a, b));
  MIXED(matmul, b.matmul(row));
  MIXED(dot, ct::dot(a, b));
  MIXED(outer, ct::outer(row, b[0]));
  MIXED(tensordot, ct::tensordot(a, b));
  MIXED(cat, ct::cat({a, b}));
  MIXED(stack, ct::stack({b, a}));
  MIXED(gather, ct::gather(a, 0, j));
  MIXED(index_select, ct::index_select(b, 0, at));
  MIXED(take, ct::take(a, there));
  MIXED(masked_fill, ct::masked_fill(b, flag, 1));
  MIXED(masked_fill, ct::masked_fill(a, flag, b[0][0].clone()));
  MIXED(masked_select, ct::masked_select(b, flag));
  MIXED(scatter, ct::scatter(a, 0, j, a));
  MIXED(scatter, ct::scatter(a, 0, i, b));
  MIXED(scatter_add, ct::scatter_add(b, 0, i, b));
  MIXED(scatter_add, ct::scatter_add(b, 0, j, a));
  MIXED(index, a.index({there}));
  MIXED(index, b.index({flag}));
  MIXED(conv2d, ct::conv2d(image, image.cuda()));
  MIXED(conv2d, ct::conv2d(image, image, row.slice(0, 0, 1).cuda()));
  MIXED(linear, ct::linear(a, b));
  MIXED(linear, ct::linear(b, b, row));
  MIXED(layer_norm, ct::layer_norm(a, 1, b[0]));
  MIXED(layer_norm, ct::layer_norm(b, 1, b[0], row));
  MIXED(cross_entropy, ct::cross_entropy(a, there));
  MIXED(mse_loss, ct::mse_loss(b, a));
  Tensor x = a.clone(), y = b.clone();
  MIXED(add_, x.add_(b));
  MIXED(mul_, y.mul_(a));
  MIXED(index_put_, y.index_put_({at}, 1));
  MIXED(index_put_, x.index_put_({0}, b[0]));
  Tensor leaf = a.clone().set_requires_grad();
  MIXED(backward, (leaf * 2).backward(b));
  MIXED(set_grad, leaf.set_grad(b));
  CHECK(x.to_vector<float>() == a.to_vector<float>());
  CHECK(y.to_vector<float>() == a.to_vector<float>());
  ct::test::expect_clean_gpu();
}
// clang-format on

TEST_CASE("devices: one number of the CPU goes with tensors of any device") {
  CERMET_NEEDS_NVRTC();
  const Tensor b = ct::tensor({1.0, 2.0}).cuda(), number = ct::tensor(3.0);
  CHECK((b * number + 1).to_vector<float>() == std::vector<float>{4, 7});
  CHECK(ct::to_string(ct::maximum(number, b).device()) == "cuda:0");
  // But not one of a GPU with tensors of the CPU.
  CHECK_ERROR(b.cpu() * number.cuda(), "mul: ", "cpu", "cuda:0");
}

TEST_CASE("devices: a number that is yet to be computed on the CPU goes wherever it is needed") {
  CERMET_NEEDS_NVRTC();
  using Floats = std::vector<float>;
  const Tensor a = ct::tensor({1.0, 2.0, 3.0}), b = a.cuda().realize();
  const Tensor first = ct::tensor({0, 2}).sum() - 1;  // int64, of the CPU
  const int64_t before = ct::statistics().realizes;
  const Tensor one = b.slice(0, 0, 1).reshape({});
  const Tensor stacked = ct::stack({one, a.sum()}), other = ct::stack({a.sum(), one * 2});
  const Tensor put = b.scatter(0, ct::tensor({2}, "cuda"), a.sum());
  const Tensor got = b.gather(0, first), taken = b.take(first), row = b.index({first});
  const Tensor selected = b.index_select(0, first);
  const Tensor scaled = b * a.sum() + a.max();
  CHECK(ct::statistics().realizes == before);
  CHECK(ct::to_string(stacked.device()) == "cuda:0");
  CHECK(stacked.to_vector<float>() == Floats{1, 6});
  CHECK(other.to_vector<float>() == Floats{6, 2});
  CHECK(put.to_vector<float>() == Floats{1, 2, 6});
  CHECK(got.item<float>() == 2);
  CHECK(taken.item<float>() == 2);
  CHECK(row.item<float>() == 2);
  CHECK(selected.to_vector<float>() == Floats{2});
  CHECK(scaled.to_vector<float>() == Floats{9, 15, 21});
  ct::test::expect_clean_gpu();
}

TEST_CASE("devices: masks, gradients and positions of constants alone go with any tensor") {
  CERMET_NEEDS_NVRTC();
  using Floats = std::vector<float>;
  const Tensor a = ct::tensor({1.0, 2.0, 3.0, 4.0}), b = a.cuda();
  const Tensor mask = ct::arange(4) > 1;
  CHECK(b.masked_select(mask).to_vector<float>() == Floats{3, 4});
  CHECK(b.index({mask}).to_vector<float>() == Floats{3, 4});
  CHECK(b.index({ct::arange(2) + 1}).to_vector<float>() == Floats{2, 3});
  CHECK(ct::arange(4.0).masked_select(b > 2).to_vector<float>() == Floats{2, 3});
  CHECK(b.masked_fill(mask, 0).to_vector<float>() == Floats{1, 2, 0, 0});
  Tensor c = b.clone();
  c.index_put_({mask}, ct::tensor({8.0, 9.0}, "cuda"));
  CHECK(c.to_vector<float>() == Floats{1, 2, 8, 9});
  Tensor leaf = b.clone().set_requires_grad();
  leaf.set_grad(ct::ones({4}));
  CHECK(ct::to_string(leaf.grad().device()) == "cuda:0");
  (leaf * 2).backward(ct::full({4}, 0.5));
  CHECK(leaf.grad().to_vector<float>() == Floats{2, 2, 2, 2});
  ct::test::expect_clean_gpu();
}

TEST_CASE("devices: leaves of the CPU in a graph of a GPU do not make backward compute") {
  CERMET_NEEDS_NVRTC();
  Tensor s = ct::tensor(2.0).set_requires_grad(), w = ct::tensor({1.0, 2.0}).set_requires_grad();
  Tensor v = ct::tensor({3.0, 4.0}).set_requires_grad();
  const Tensor there = v.cuda(), x = ct::tensor({5.0, 6.0}, "cuda").realize();
  const int64_t before = ct::statistics().realizes;
  const Tensor loss = (x * s * w.sum() + there * s).sum();
  loss.backward();
  CHECK(ct::statistics().realizes == before);
  CHECK(ct::to_string(s.grad().device()) == "cpu");
  ct::realize({loss, s.grad(), w.grad(), v.grad()});
  CHECK(loss.item<float>() == 66 + 14);
  CHECK(s.grad().item<float>() == 33 + 7);
  CHECK(w.grad().to_vector<float>() == std::vector<float>{22, 22});
  CHECK(v.grad().to_vector<float>() == std::vector<float>{2, 2});
  CHECK(ct::to_string(v.grad().device()) == "cpu");
  // To and fro.
  Tensor far = s * 1;
  for (int i = 0; i < 100; ++i) far = ((x * far).sum() * 0.125 - far * 0.375).cpu();
  far.backward();
  CHECK(s.grad().item<float>() == 33 + 7 + 1);
  ct::test::expect_clean_gpu();
}

TEST_CASE("devices: what is created takes a device") {
  CERMET_NEEDS_NVRTC();
  const auto there = [](const Tensor& t) { return ct::to_string(t.device()) == "cuda:0"; };
  const Tensor p = ct::randperm(ct::Key(3), 50, "cuda");
  CHECK(there(p));
  CHECK(p.to_vector<int64_t>() == ct::randperm(ct::Key(3), 50).to_vector<int64_t>());
  CHECK(ct::randperm(5, "int32").dtype() == ct::DType::I32);
  CHECK_ERROR(ct::randperm(300, "uint8"), "randperm: ", "300", "u8");
  CHECK_ERROR(ct::randperm(3, "cuda:7"), "randperm: ", "cuda:7");
  const std::vector<float> values{1, 2, 3, 4};
  const Tensor t = ct::tensor(values, {2, 2}, "cuda");
  CHECK(there(t));
  CHECK(t.to_vector<float>() == values);
  CHECK(ct::tensor(std::span(values), {4}, "int64").to_vector<int64_t>()[3] == 4);
  const Tensor made[] = {ct::zeros({2}, "cuda"),
                         ct::ones({2}, "cuda"),
                         ct::full({2}, 3, "cuda"),
                         ct::empty({2}, "cuda"),
                         ct::zeros_like(t),
                         ct::ones_like(t),
                         ct::full_like(t, 2),
                         ct::arange(3, "cuda"),
                         ct::eye(2, 2, "cuda"),
                         ct::linspace(0, 1, 3, "cuda"),
                         ct::rand({2}, "cuda"),
                         ct::randn({2}, "cuda"),
                         ct::randint(0, 9, {2}, "cuda"),
                         ct::uniform(ct::Key(1), {2}, 0, 1, "cuda"),
                         ct::bernoulli(t * 0.1),
                         ct::tensor({1, 2}, "cuda"),
                         ct::tensor(5.0, "cuda")};
  for (const Tensor& m : made) CHECK(there(m));
  ct::test::expect_clean_gpu();
}

TEST_CASE("devices: those that do not exist are refused where they are named") {
  CERMET_NEEDS_NVRTC();
  const Tensor a = ct::tensor({1.0, 2.0});
  const int count = ct::runtime::cuda::available_devices();
  for (const char* name :
       {"tpu", "cuda:", "cuda:-1", "cuda:1x", "cuda: 0", "CUDA", "gpu", "cuda:99999999999"}) {
    CHECK_ERROR(a.to(name), name);
    CHECK_ERROR(ct::zeros({2}, ct::Options(name)), name);
    CHECK_ERROR(ct::Device::parse(name), "device: ", name);
  }
  CHECK_ERROR(a.to("cuda:7"), "to: ", "cuda:7", fmt::format("{} GPU", count));
  CHECK_ERROR(a.to(ct::Device{ct::Device::Kind::Cuda, -1}), "to: ", "cuda:-1");
  CHECK_ERROR(ct::ones({2}, "cuda:7"), "ones: ", "cuda:7");
  CHECK_ERROR(ct::arange(3, "cuda:7"), "arange: ", "cuda:7");
  CHECK_ERROR(ct::randn(ct::Key(1), {2}, "cuda:7"), "randn: ", "cuda:7");
  CHECK_ERROR(ct::tensor({1.0}, "cuda:7"), "tensor: ", "cuda:7");
  CHECK(ct::to_string(a.cuda().device()) == "cuda:0");
  ct::test::expect_clean_gpu();
}

TEST_CASE("devices: tensors without elements launch nothing") {
  CERMET_NEEDS_NVRTC();
  const Tensor none = ct::zeros({0, 3}, "cuda"), few = ct::ones({2, 3}, "cuda");
  few.realize();
  CHECK((none * 2 + 1).to_vector<float>().empty());
  CHECK(ct::cat({none, few}).to_vector<float>() == std::vector<float>(6, 1));
  CHECK(none.sum(0).to_vector<float>() == std::vector<float>(3, 0));
  CHECK(none.sum().item<float>() == 0);
  CHECK(none.sum(1).shape() == ct::Shape{0});
  CHECK(none.softmax(1).to_vector<float>().empty());
  CHECK(none.t().contiguous().shape() == ct::Shape{3, 0});
  CHECK(ct::matmul(none, few.t()).to_vector<float>().empty());
  CHECK(ct::matmul(none.t(), none).to_vector<float>() == std::vector<float>(9, 0));
  CHECK(
      few.index_select(0, ct::zeros({0}, ct::Options("int64")).cuda()).to_vector<float>().empty());
  CHECK(none.cumsum(0).to_vector<float>().empty());
  CHECK(ct::argsort(none, 0).to_vector<int64_t>().empty());
  CHECK(none.cpu().to_vector<float>().empty());
  CHECK(none.to_string() == none.cpu().to_string());
  ct::test::expect_clean_gpu();
}
