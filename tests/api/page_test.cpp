// The page "PyTorch vs NumPy" line by line, in C++ spelling: what a PyTorch user writes first.

#include <array>
#include <numeric>

#include "api/errors.h"
#include "cermet/cermet.h"
#include "support/message.h"

namespace ct = cermet;

namespace {

using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;

bool has_gpu() { return ct::cuda::is_available(); }

std::string device_error(auto&& call) { return ct::test::message_of<ct::DeviceError>(call); }

}  // namespace

// --- similarities: creation

TEST_CASE("page: torch.tensor([1, 2, 3])") {
  const ct::Tensor a = ct::tensor({1, 2, 3});
  CHECK(a.dtype() == ct::DType::I64);
  CHECK(a.shape() == ct::Shape{3});
  CHECK(a.to_vector<int64_t>() == Ints{1, 2, 3});
  CHECK(a.to_string() == "tensor([1, 2, 3])");

  CHECK(ct::tensor({1.0, 2.0}).dtype() == ct::DType::F32);
  const ct::Tensor m = ct::tensor({{1, 2}, {3, 4}});
  CHECK(m.dtype() == ct::DType::I64);
  CHECK(m.shape() == ct::Shape{2, 2});
  CHECK(m.to_vector<int64_t>() == Ints{1, 2, 3, 4});
  CHECK(ct::tensor({1, 2}, ct::DType::F64).dtype() == ct::DType::F64);
  CHECK(ct::tensor({1, 2}, "float16").dtype() == ct::DType::F16);
  CHECK_ERROR(ct::tensor({{1, 2}, {3}}), "tensor: the lists are ragged", "1 elements", "2");
}

TEST_CASE("page: torch.zeros(3, 4)") {
  const ct::Tensor a = ct::zeros({3, 4});
  CHECK(a.dtype() == ct::DType::F32);
  CHECK(a.shape() == ct::Shape{3, 4});
  CHECK(a.to_vector<float>() == Floats(12, 0.0f));
}

TEST_CASE("page: torch.ones(2, 3)") {
  const ct::Tensor a = ct::ones({2, 3});
  CHECK(a.dtype() == ct::DType::F32);
  CHECK(a.shape() == ct::Shape{2, 3});
  CHECK(a.to_vector<float>() == Floats(6, 1.0f));
}

TEST_CASE("page: torch.arange(10)") {
  const ct::Tensor a = ct::arange(10);
  CHECK(a.dtype() == ct::DType::I64);
  CHECK(a.to_vector<int64_t>() == Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("page: torch.linspace(0, 1, 5)") {
  const ct::Tensor a = ct::linspace(0, 1, 5);
  CHECK(a.dtype() == ct::DType::F32);
  CHECK(a.to_vector<float>() == Floats{0, 0.25f, 0.5f, 0.75f, 1});
}

// --- similarities: operations

TEST_CASE("page: a + b") {
  const ct::Tensor a = ct::tensor({1, 2, 3}), b = ct::tensor({{10}, {20}});
  const ct::Tensor c = a + b;
  CHECK(c.shape() == ct::Shape{2, 3});
  CHECK(c.to_vector<int64_t>() == Ints{11, 12, 13, 21, 22, 23});
  CHECK((a + 1).to_vector<int64_t>() == Ints{2, 3, 4});
  CHECK((1 + a).to_vector<int64_t>() == Ints{2, 3, 4});
  CHECK((a + 0.5).dtype() == ct::DType::F32);
  CHECK_ERROR(a + ct::tensor({1, 2}), "add: ", "[3]", "[2]");
}

TEST_CASE("page: a * b") {
  const ct::Tensor a = ct::tensor({1, 2, 3}), b = ct::tensor({0.5, 1.5, 2.5});
  CHECK((a * b).to_vector<float>() == Floats{0.5f, 3, 7.5f});
  CHECK((2 * a).to_vector<int64_t>() == Ints{2, 4, 6});
  CHECK((b * 2).to_vector<float>() == Floats{1, 3, 5});
}

TEST_CASE("page: a @ b") {
  const ct::Tensor a = ct::tensor({{1.0, 2.0}, {3.0, 4.0}}), b = ct::tensor({{5.0}, {6.0}});
  CHECK(ct::matmul(a, b).to_vector<float>() == Floats{17, 39});
  CHECK(a.matmul(b).to_vector<float>() == Floats{17, 39});
  CHECK(ct::dot(a, b).to_vector<float>() == Floats{17, 39});
  CHECK_ERROR(ct::matmul(b, a), "matmul: ", "f32[2,1]", "f32[2,2]");
}

TEST_CASE("page: torch.sum(a), or a.sum()") {
  const ct::Tensor a = ct::arange(6).reshape({2, 3});
  CHECK(ct::sum(a).item<int64_t>() == 15);
  CHECK(a.sum().dtype() == ct::DType::I64);
  CHECK(a.sum().shape().empty());
  CHECK(a.sum(1).to_vector<int64_t>() == Ints{3, 12});
  CHECK(a.sum({0, 1}, true).shape() == ct::Shape{1, 1});
}

TEST_CASE("page: torch.mean(a), or a.mean()") {
  const ct::Tensor a = ct::arange(6).reshape({2, 3});
  CHECK(ct::mean(a).dtype() == ct::DType::F32);
  CHECK(ct::mean(a).item<float>() == 2.5f);
  CHECK(a.mean(0).to_vector<float>() == Floats{1.5f, 2.5f, 3.5f});
}

TEST_CASE("page: a.reshape(3, 4)") {
  const ct::Tensor a = ct::arange(12);
  CHECK(a.reshape({3, 4}).shape() == ct::Shape{3, 4});
  CHECK(a.reshape({3, -1}).shape() == ct::Shape{3, 4});
  CHECK(a.reshape({3, 4}).to_vector<int64_t>() == a.to_vector<int64_t>());
  CHECK_ERROR(a.reshape({5, 3}), "reshape: ", "[12]", "[5,3]");
}

// --- differences: GPU support

TEST_CASE("page: a.to('cuda')") {
  const ct::Tensor a = ct::tensor({1, 2, 3});
  CHECK(a.device() == ct::Device{});
  if (has_gpu()) SKIP("this machine has a GPU");
  for (const char* device : {"cuda", "cuda:1"}) {
    const std::string text = device_error([&] { a.to(device); });
    CHECK(text.find("cuda requested") == 0);
    CHECK(text.find("libcuda.so.1") != std::string::npos);
  }
  CHECK_ERROR(a.to("gpu"), "'gpu'", "cuda:N");
}

TEST_CASE("page: a.cuda()") {
  if (has_gpu()) SKIP("this machine has a GPU");
  const ct::Tensor a = ct::tensor({1, 2, 3});
  CHECK(device_error([&] { a.cuda(); }).find("libcuda.so.1") != std::string::npos);
}

// --- differences: automatic differentiation

TEST_CASE("page: torch.tensor([1.0, 2.0], requires_grad=True), backward(), a.grad") {
  ct::Tensor a = ct::tensor({1.0, 2.0}).set_requires_grad(true);
  CHECK(a.requires_grad());
  CHECK(a.is_leaf());
  CHECK(!a.grad().defined());
  const ct::Tensor b = a.pow(2).sum();
  b.backward();
  CHECK(a.grad().to_string() == "tensor([2., 4.])");
}

// --- differences: in-place operations

TEST_CASE("page: a.add_(10), a.mul_(2), a.zero_()") {
  ct::Tensor a = ct::tensor({1, 2, 3});
  const ct::Tensor view = a.reshape({3, 1}), alias = a;
  a.add_(10);
  CHECK(a.to_vector<int64_t>() == Ints{11, 12, 13});
  CHECK(view.to_vector<int64_t>() == Ints{11, 12, 13});
  a.mul_(2);
  CHECK(a.to_vector<int64_t>() == Ints{22, 24, 26});
  CHECK(alias.to_vector<int64_t>() == Ints{22, 24, 26});
  a.zero_();
  CHECK(view.to_vector<int64_t>() == Ints{0, 0, 0});
}

TEST_CASE("page: a.add_(1) where a gradient is needed") {
  ct::Tensor a = ct::tensor({1.0}).set_requires_grad(true);
  CHECK_ERROR(a.add_(1), "add_: ", "leaf", "requires grad", "no_grad", "detach");
  CHECK(a.detach().item<float>() == 1);
  {
    ct::NoGrad guard;
    a.add_(1);
  }
  CHECK(a.item<float>() == 2);
  CHECK(a.requires_grad());
}

// --- differences: naming

TEST_CASE("page: torch.Tensor, a.dim()") {
  const ct::Tensor a = ct::zeros({2, 3, 4});
  CHECK(a.dim() == 3);
  CHECK(a.ndim() == 3);
  CHECK(a.size(0) == 2);
  CHECK(a.size(-1) == 4);
  CHECK(a.numel() == 24);
}

TEST_CASE("page: torch.cat, dim=0") {
  const ct::Tensor a = ct::tensor({{1, 2}}), b = ct::tensor({{3, 4}, {5, 6}});
  CHECK(ct::cat({a, b}, 0).to_vector<int64_t>() == Ints{1, 2, 3, 4, 5, 6});
  CHECK(ct::cat({a, b}, 0).shape() == ct::Shape{3, 2});
  CHECK(ct::concatenate({a, b}, 0).to_vector<int64_t>() == Ints{1, 2, 3, 4, 5, 6});
  CHECK_ERROR(ct::cat({a, b}, 1), "cat", "[1,2]", "[2,2]");
}

TEST_CASE("page: torch.stack") {
  const ct::Tensor a = ct::tensor({1, 2}), b = ct::tensor({3, 4});
  CHECK(ct::stack({a, b}, 0).to_vector<int64_t>() == Ints{1, 2, 3, 4});
  CHECK(ct::stack({a, b}, 1).to_vector<int64_t>() == Ints{1, 3, 2, 4});
  CHECK_ERROR(ct::stack({a, ct::tensor({1})}, 0), "stack: ", "[2]", "[1]");
}

// --- converting: from memory

TEST_CASE("page: torch.from_numpy(arr) shares memory") {
  std::array<int64_t, 3> arr = {1, 2, 3};
  const ct::Tensor t1 = ct::borrow(std::span(arr));
  const ct::Tensor blob = ct::from_blob(arr.data(), {3}, ct::DType::I64);
  arr[0] = 99;
  CHECK(t1.to_string() == "tensor([99,  2,  3])");
  CHECK(blob.to_string() == "tensor([99,  2,  3])");
  // The other way around too, once the tensor is realized.
  ct::Tensor writer = t1;
  writer.mul_(2).realize();
  CHECK(arr == std::array<int64_t, 3>{198, 4, 6});
}

TEST_CASE("page: torch.tensor(arr) copies") {
  std::array<int64_t, 3> arr = {1, 2, 3};
  const ct::Tensor t2 = ct::tensor(std::span<const int64_t>(arr), {3});
  arr[0] = 99;
  CHECK(t2.to_string() == "tensor([1, 2, 3])");
}

TEST_CASE("page: what is lazy reads shared memory when it is realized, clone() at once") {
  std::array<int64_t, 3> arr = {1, 2, 3};
  const ct::Tensor t1 = ct::borrow(std::span(arr));
  const ct::Tensor later = t1 + 1, snapshot = t1.clone() + 1;
  arr[0] = 99;
  CHECK(later.to_vector<int64_t>() == Ints{100, 3, 4});
  CHECK(snapshot.to_vector<int64_t>() == Ints{2, 3, 4});
}

// --- converting: to memory

TEST_CASE("page: t.numpy() shares memory") {
  const ct::Tensor t = ct::tensor({1, 2, 3});
  const ct::Tensor view = t.slice(0, 1, std::nullopt);
  int64_t* arr1 = t.data<int64_t>();
  arr1[1] = 50;
  CHECK(t.to_vector<int64_t>() == Ints{1, 50, 3});
  CHECK(view.to_vector<int64_t>() == Ints{50, 3});
  CHECK((t + 1).to_vector<int64_t>() == Ints{2, 51, 4});
  CHECK(t.span<int64_t>().size() == 3);
  CHECK_ERROR(t.data<float>(), "data: ", "i64", "f32");
}

TEST_CASE("page: t_gpu.cpu().numpy()") {
  const ct::Tensor t = ct::tensor({1, 2, 3});
  CHECK(t.cpu().data<int64_t>()[2] == 3);
  if (!has_gpu())
    CHECK(device_error([&] { t.cuda().cpu(); }).find("libcuda.so.1") != std::string::npos);
}

TEST_CASE("page: t_grad.detach().numpy()") {
  const ct::Tensor t_grad = ct::tensor({1.0}).set_requires_grad(true);
  CHECK(t_grad.detach().data<float>()[0] == 1);
  CHECK_ERROR(t_grad.data<float>(), "data: ", "requires grad", "detach()");
  // What copies works without it.
  CHECK(t_grad.to_vector<float>() == Floats{1});
  CHECK(t_grad.item<float>() == 1);
  CHECK(t_grad.to_string() == "tensor([1.], requires_grad=True)");
}

TEST_CASE("page: tensor.detach().cpu().numpy() always works") {
  const ct::Tensor t = ct::tensor({1.5}).set_requires_grad(true);
  CHECK((t * 2).detach().cpu().data<float>()[0] == 3);
}
