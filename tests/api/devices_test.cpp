// Tensors of two devices in one call, and devices that do not exist: each public function refuses
// them by its own name, names both devices, and does nothing.

#include "api/errors.h"
#include "cermet/cermet.h"
#include "runtime/cuda/device.h"
#include "support/cuda.h"

namespace ct = cermet;
using ct::Tensor;

namespace {

// Before anything asks for a driver.
const bool gpu_is_chosen = [] {
  ct::test::use_gpu("90,80 random:7");
  return true;
}();

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
