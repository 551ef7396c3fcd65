// What users get wrong: each call is refused by name, with the values, at the line that made it.

#include <cmath>
#include <limits>

#include "api/errors.h"
#include "cermet/cermet.h"

namespace ct = cermet;
using ct::DType;
using ct::Tensor;

namespace {

constexpr int64_t huge = int64_t(1) << 40;

Tensor f(const ct::Shape& shape) { return ct::zeros(shape); }

}  // namespace

TEST_CASE("bad input: shapes that do not broadcast") {
  const Tensor a = f({2, 3}), b = f({2, 2});
  CHECK_ERROR(a + b, "add: ", "f32[2,3]", "f32[2,2]");
  CHECK_ERROR(a - b, "sub: ", "f32[2,3]", "f32[2,2]");
  CHECK_ERROR(a.mul(b), "mul: ", "[2,3]", "[2,2]");
  CHECK_ERROR(ct::pow(a, b), "pow: ", "[2,3]", "[2,2]");
  CHECK_ERROR(a < b, "lt: ", "[2,3]", "[2,2]");
  CHECK_ERROR(a > b, "gt: ", "[2,3]", "[2,2]");
  CHECK_ERROR(ct::where(a > 0, a, b), "where: ", "[2,3]", "[2,2]");
  CHECK_ERROR(a.clamp(b, 1), "clamp: ", "[2,3]", "[2,2]");
  CHECK_ERROR(ct::logical_and(a, b), "logical_and: ", "[2,3]", "[2,2]");
  CHECK_ERROR(a.expand({2, 4}), "expand: ", "[2,3]", "[2,4]");
  CHECK_ERROR(a.expand({3}), "expand: ", "[2,3]", "[3]");
  CHECK_ERROR(a.broadcast_to({-2, 3}), "broadcast_to: ", "-2");
  CHECK_ERROR(ct::mse_loss(a, b), "mse_loss: ", "[2,3]", "[2,2]");
  CHECK_ERROR(ct::layer_norm(a, 1, f({2})), "layer_norm: ", "[2,3]", "[2]");
}

TEST_CASE("bad input: dtypes that do not fit") {
  const Tensor i = ct::tensor({{1, 2}, {3, 4}}), x = f({2, 2});
  CHECK_ERROR(i.matmul(x), "matmul: ", "i64[2,2]", "f32[2,2]");
  CHECK_ERROR(x & x, "bitwise_and: ", "f32");
  CHECK_ERROR(~x, "bitwise_not: ", "f32");
  CHECK_ERROR(x << 1, "left_shift: ", "f32");
  CHECK_ERROR(x.gather(0, x), "gather: ", "integers", "f32[2,2]");
  CHECK_ERROR(x.index_select(0, f({2})), "index_select: ", "f32[2]");
  CHECK_ERROR(ct::one_hot(x, 3), "one_hot: ", "f32[2,2]");
  CHECK_ERROR(x.scatter_add(0, i, i), "scatter_add: ", "f32", "i64");
  CHECK_ERROR(ct::rand({2}, DType::I32), "rand: ", "i32");
  CHECK_ERROR(ct::bernoulli(i), "bernoulli: ", "i64[2,2]");
  CHECK_ERROR(ct::max_pool2d(ct::zeros({1, 1, 2, 2}, DType::I64), {2}), "max_pool2d: ", "i64");
  CHECK_ERROR(x.data<double>(), "data: ", "f32", "f64");
  CHECK_ERROR(ct::tensordot(x, i), "tensordot: ", "f32[2,2]", "i64[2,2]");
}

TEST_CASE("bad input: axes out of range or given twice") {
  const Tensor a = f({2, 3});
  CHECK_ERROR(a.sum(2), "sum: ", "axis 2", "2");
  CHECK_ERROR(a.sum(-3), "sum: ", "axis -3");
  CHECK_ERROR(a.mean({0, 0}), "mean: ", "axis 0", "twice");
  CHECK_ERROR(a.mean({1, -1}), "mean: ", "axis 1", "twice");
  CHECK_ERROR(a.softmax(5), "softmax: ", "axis 5");
  CHECK_ERROR(a.logsumexp(2), "logsumexp: ", "axis 2");
  CHECK_ERROR(a.argmax(2), "argmax: ", "axis 2");
  CHECK_ERROR(a.cumsum(2), "axis 2");
  CHECK_ERROR(a.var(3), "var: ", "axis 3");
  CHECK_ERROR(a.transpose(0, 2), "transpose: ", "axis 2");
  CHECK_ERROR(a.permute({0}), "permute: ", "[0]", "[2,3]");
  CHECK_ERROR(a.permute({0, 0}), "permute: ", "[0,0]");
  CHECK_ERROR(a.squeeze(2), "squeeze: ", "axis 2");
  CHECK_ERROR(a.unsqueeze(4), "unsqueeze: ", "axis 4");
  CHECK_ERROR(a.flip(2), "flip: ", "axis 2");
  CHECK_ERROR(a.diagonal(0, 0, 0), "diagonal: ", "0");
  CHECK_ERROR(a.flatten(1, 0), "flatten: ", "1", "0");
  CHECK_ERROR(a.size(2), "size: ", "axis 2");
  CHECK_ERROR(a.slice(2, 0, 1), "slice: ", "axis 2");
  CHECK_ERROR(ct::cat({a, a}, 2), "axis 2");
  CHECK_ERROR(ct::stack({a, a}, 3), "axis 3");
  CHECK_ERROR(ct::split(a, 1, 2), "axis 2");
  CHECK_ERROR(a.argsort(2), "argsort: ", "axis 2");
  CHECK_ERROR(ct::sort(a, 2), "axis 2");
  CHECK_ERROR(a.gather(2, ct::zeros({2, 3}, DType::I64)), "gather: ", "axis 2");
  CHECK_ERROR(ct::layer_norm(a, 3), "layer_norm: ", "3", "[2,3]");
  CHECK_ERROR(ct::tensordot(a, a, 3), "tensordot: ", "3", "[2,3]");
}

TEST_CASE("bad input: indices out of range are errors when they are read, not garbage") {
  const Tensor a = ct::arange(6.0).reshape({2, 3});
  const auto at = [](int64_t i) { return ct::tensor({i}); };
  CHECK_ERROR(a.index_select(0, at(2)).realize(), "index", "2");
  CHECK_ERROR(a.index_select(1, at(-4)).realize(), "-4");
  CHECK_ERROR(a.take(at(6)).to_vector<float>(), "6");
  CHECK_ERROR(a.gather(1, ct::tensor({{0, 3}})).sum().item<float>(), "3");
  CHECK_ERROR(a.scatter(0, ct::tensor({{2, 0, 0}}), 1.0).realize(), "2");
  CHECK_ERROR(a.scatter_add(1, ct::tensor({{-4}}), f({1, 1})).to_string(), "-4");
  CHECK_ERROR(ct::one_hot(ct::tensor({0, 5}), 5).realize(), "5");
  CHECK_ERROR(ct::one_hot(ct::tensor({-1}), 5).realize(), "-1");
  CHECK_ERROR(ct::cross_entropy(a, ct::tensor({0, 3})).item<float>(), "3");
  // The gradient on its own compares positions with the labels instead of reading there.
  const Tensor x = a.clone().set_requires_grad();
  const Tensor loss = ct::cross_entropy(x, ct::tensor({0, 3}));
  CHECK_ERROR(ct::grad(loss, x).realize(), "3");
  // And the tensor is as usable as before.
  CHECK(a.take(at(-1)).item<float>() == 5);
}

TEST_CASE("bad input: negative sizes") {
  CHECK_ERROR(ct::zeros({2, -1}), "negative", "[2,-1]");
  CHECK_ERROR(ct::full({-5}, 1), "negative", "[-5]");
  CHECK_ERROR(ct::rand({-1}), "rand: ", "[-1]");
  CHECK_ERROR(ct::randperm(-1), "randperm: ", "-1");
  CHECK_ERROR(ct::randint(0, 5, {3, -2}), "negative", "[3,-2]");
  CHECK_ERROR(ct::eye(2, -3), "eye: ", "-3");
  CHECK_ERROR(ct::linspace(0, 1, -2), "linspace: ", "-2");
  CHECK_ERROR(f({2, 3}).reshape({-2, 3}), "reshape: ", "[-2,3]");
  CHECK_ERROR(f({2, 3}).reshape({-1, -1}), "reshape: ", "-1");
  CHECK_ERROR(f({0}).reshape({-1, 0}), "reshape: ", "[-1,0]");
  CHECK_ERROR(f({4}).unfold(0, -1, 1), "unfold: ", "-1");
  CHECK_ERROR(f({4}).unfold(0, 2, 0), "unfold: ", "0");
  CHECK_ERROR(f({4}).unfold(0, 5, 1), "unfold: ", "5");
  CHECK_ERROR(ct::split(f({4}), -1), "split: ", "-1");
  CHECK_ERROR(ct::split(f({4}), {3, 2}), "split: ", "[3,2]", "5", "4");
  CHECK_ERROR(ct::chunk(f({4}), 0), "chunk: ", "0");
  CHECK_ERROR(ct::pad(f({4}), {-3, -3}), "pad: ", "-3");
  CHECK_ERROR(ct::pad(f({4}), {1}), "pad: ", "[1]");
  CHECK_ERROR(ct::pad(f({4}), {1, 1, 1, 1}), "pad: ", "[1,1,1,1]");
  CHECK_ERROR(f({4}).narrow(0, 1, -1), "narrow: ");
}

TEST_CASE("bad input: sizes whose product overflows") {
  const char* text = "64 bits";
  CHECK_ERROR(ct::zeros({huge, huge}), "more elements than fit in", text);
  CHECK_ERROR(ct::rand({huge, huge}), text);
  CHECK_ERROR(ct::tensor(std::span<const std::byte>(), DType::F32, {huge, huge}), "[1099511627776");
  CHECK_ERROR(f({1}).expand({huge, huge}), text);
  CHECK_ERROR(ct::zeros({huge}).unsqueeze(1) + ct::zeros({huge}), text);
  CHECK_ERROR(ct::outer(ct::zeros({huge}), ct::zeros({huge})), text);
  CHECK_ERROR(ct::eye(huge), text);
  CHECK_ERROR(ct::pad(f({4}), {INT64_MAX, INT64_MAX}), "pad: ");
  CHECK_ERROR(ct::one_hot(ct::zeros({huge}, DType::I64), huge), text);
  CHECK_ERROR(ct::arange(INT64_MIN, INT64_MAX), "arange: ");
}

TEST_CASE(
    "bad input: 10^13 elements are built at no cost, and refused by their bytes when realized") {
  const Tensor t = ct::zeros({10'000'000, 1'000'000}) + ct::arange(1'000'000.0);
  CHECK(t.numel() == 10'000'000'000'000);
  try {
    t.realize();
    FAIL("no error");
  } catch (const ct::DeviceError& e) {
    CHECK_THAT(e.what(), Catch::Matchers::ContainsSubstring("40000000000000"));
  }
  CHECK_THROWS_AS(ct::rand({10'000'000, 1'000'000}).to_vector<float>(), ct::DeviceError);
  CHECK_THROWS_AS(t.to_string(), ct::DeviceError);
}

TEST_CASE("bad input: undefined tensors") {
  const Tensor none, x = f({2});
  CHECK(!none.defined());
  CHECK_ERROR(none.shape(), "undefined");
  CHECK_ERROR(none.realize(), "undefined");
  CHECK_ERROR(none.to_vector<float>(), "undefined");
  CHECK_ERROR(none.item<float>(), "undefined");
  CHECK_ERROR(none.data<float>(), "undefined");
  CHECK_ERROR(none.to_string(), "undefined");
  CHECK_ERROR(none + x, "undefined");
  CHECK_ERROR(x * none, "undefined");
  CHECK_ERROR(1 / none, "undefined");
  CHECK_ERROR(-none, "undefined");
  CHECK_ERROR(none.exp(), "undefined");
  CHECK_ERROR(none.sum(), "undefined");
  CHECK_ERROR(x.matmul(none), "undefined");
  CHECK_ERROR(none.reshape({1}), "undefined");
  CHECK_ERROR(none[0], "undefined");
  CHECK_ERROR(ct::cat({x, none}), "undefined");
  CHECK_ERROR(none.detach(), "undefined");
  CHECK_ERROR(none.clone(), "undefined");
  CHECK_ERROR(none.to(DType::F64), "undefined");
  CHECK_ERROR(ct::realize({x, none}), "undefined");
  CHECK_ERROR(none.grad(), "undefined");
  CHECK_ERROR(none.requires_grad(), "undefined");
  CHECK_ERROR(none.is_leaf(), "undefined");
  Tensor target = x, undefined;
  CHECK_ERROR(target.add_(none), "undefined");
  CHECK_ERROR(target.copy_(none), "undefined");
  CHECK_ERROR(undefined.zero_(), "undefined");
  CHECK_ERROR(undefined.set_requires_grad(), "undefined");
}

TEST_CASE("bad input: products, convolutions and pools that do not fit") {
  CHECK_ERROR(ct::matmul(f({2, 3}), f({4, 5})), "matmul: ", "f32[2,3]", "f32[4,5]");
  CHECK_ERROR(ct::matmul(f({}), f({2})), "matmul: ", "f32[]");
  CHECK_ERROR(ct::matmul(f({2, 2, 3}), f({3, 3, 4})), "[2,2,3]", "[3,3,4]");
  CHECK_ERROR(ct::dot(f({2, 3}), f({2})), "dot: ", "3", "2");
  CHECK_ERROR(ct::outer(f({2, 2}), f({2})), "outer: ", "f32[2,2]");
  CHECK_ERROR(ct::tensordot(f({2, 3}), f({4, 2}), {1}, {0}), "tensordot: ", "[2,3]", "[4,2]");
  CHECK_ERROR(ct::tensordot(f({2, 2}), f({2, 2}), {0, 0}, {0, 1}), "tensordot: ", "twice");
  const Tensor x = f({1, 4, 5, 5}), w = f({6, 4, 3, 3});
  CHECK_ERROR(ct::conv2d(f({4, 5, 5}), w), "conv2d: ", "f32[4,5,5]");
  CHECK_ERROR(ct::conv2d(x, f({6, 3, 3, 3})), "conv2d: ", "channels", "[6,3,3,3]");
  CHECK_ERROR(ct::conv2d(x, w, {}, {1}, {0}, {1}, 3), "conv2d: ", "3 groups");
  CHECK_ERROR(ct::conv2d(x, w, f({5})), "conv2d: ", "bias", "f32[5]", "6");
  CHECK_ERROR(ct::conv2d(x, w, {}, {0}), "conv2d: ", "stride", "0");
  CHECK_ERROR(ct::conv2d(x, w, {}, {1}, {-1}), "conv2d: ", "padding", "-1");
  CHECK_ERROR(ct::conv2d(x, w, {}, {1}, {0}, {3}), "conv", "5");
  CHECK_ERROR(ct::conv2d(x, w, {}, {1, 1, 1}), "conv2d: ", "stride", "[1,1,1]");
  CHECK_ERROR(ct::max_pool2d(x, {6}), "max_pool2d: ", "[6]", "[1,4,5,5]");
  CHECK_ERROR(ct::avg_pool2d(x, {2}, {1}, {2}), "avg_pool2d: ", "padding", "[2]");
  CHECK_ERROR(ct::linear(f({2, 3}), f({4, 2})), "[2,3]", "[");
  CHECK_ERROR(ct::linear(f({2, 3}), f({3})), "linear: ", "f32[3]");
  CHECK_ERROR(ct::cross_entropy(f({2, 3}), f({3})), "cross_entropy: ", "[2,3]", "[3]");
}

TEST_CASE("bad input: reductions that have no value") {
  CHECK_ERROR(f({0}).amax(), "max", "[0]");
  CHECK_ERROR(f({2, 0}).min(1), "min", "[2,0]");
  CHECK_ERROR(f({0}).argmax(), "arg", "[0]");
  CHECK_ERROR(f({3, 0}).argmin(1), "arg", "[3,0]");
  CHECK(f({0, 3}).amax(1).numel() == 0);
  // log 0, as torch.logsumexp gives.
  CHECK(f({0, 3}).logsumexp(0).eq(-INFINITY).all().item<bool>());
  CHECK(f({0, 3}).logsumexp(1).numel() == 0);
  CHECK(f({0, 3}).argmax(1).numel() == 0);
  CHECK_ERROR(ct::cat(std::span<const Tensor>()), "cat: ", "at least one");
  CHECK_ERROR(ct::stack(std::span<const Tensor>()), "stack: ", "at least one");
}

TEST_CASE("bad input: errors within functions of errors name the outermost call of the user") {
  const Tensor a = f({2, 3});
  const std::function<Tensor()> deep = [&] { return a + f({2}); };
  CHECK_ERROR(deep(), "add: ");
  CHECK_ERROR(ct::uniform(ct::Key(1), {2}, 3, 1), "uniform: ", "3", "1");
  CHECK_ERROR(ct::randint(5, 5, {2}), "randint: ", "[5, 5)");
  CHECK_ERROR(ct::one_hot(ct::tensor({1}), 0), "one_hot: ", "0");
  CHECK_ERROR(a.item<float>(), "item: ", "6 elements", "f32[2,3]");
  CHECK_ERROR(ct::Device::parse("tpu"), "'tpu'");
}

namespace {
constexpr int64_t most = std::numeric_limits<int64_t>::max();
constexpr int64_t least = std::numeric_limits<int64_t>::min();
}  // namespace

TEST_CASE("bad input: an undefined tensor is no operand of compositions") {
  ct::Tensor u;
  ct::Tensor x = ct::ones({2, 2});
  CHECK_ERROR(ct::where(u, x, x), "undefined");
  CHECK_ERROR(ct::where(x, u, x), "undefined");
  CHECK_ERROR(ct::clamp(u, 0, 1), "undefined");
  CHECK_ERROR(u.index({0}), "undefined");
  CHECK_ERROR(x.index({u}), "undefined");
  CHECK_ERROR(u.flip({0}), "undefined");
  CHECK_ERROR(u.contiguous(), "undefined");
  CHECK_ERROR(u.cuda(), "undefined");
  CHECK_ERROR(u.softmax(0), "undefined");
  CHECK_ERROR(u.gather(0, x), "undefined");
  CHECK_ERROR(ct::take(x, u), "undefined");
  CHECK_ERROR(ct::sort(u), "undefined");
  CHECK_ERROR(ct::tril(u), "undefined");
  CHECK_ERROR(ct::stack(std::vector{x, u}, 0), "undefined");
  CHECK_ERROR(ct::tensordot(x, u, 1), "undefined");
  CHECK_ERROR(ct::conv2d(x, u), "undefined");
  CHECK_ERROR(ct::linear(x, u), "undefined");
  CHECK_ERROR(ct::layer_norm(u, 1), "undefined");
  CHECK_ERROR(ct::cross_entropy(u, x), "undefined");
  CHECK_ERROR(ct::mse_loss(u, x), "undefined");
  CHECK_ERROR(ct::zeros_like(u), "undefined");
  CHECK_ERROR(ct::bernoulli(u), "undefined");
}

TEST_CASE("bad input: a number is no tensor") {
  CHECK_ERROR(-ct::Operand(2.0), "a number where only a tensor can be");
  CHECK_ERROR(~ct::Operand(2), "a number where only a tensor can be");
}

TEST_CASE("bad input: sizes and positions at the ends of 64 bits") {
  const ct::Tensor x = ct::arange(12).reshape({3, 4});
  CHECK_ERROR(ct::split(x, {most, most, 5}, 0), "split: ", "more than 64 bits");
  CHECK(ct::chunk(x, most, 0).size() == 3);
  CHECK(ct::split(x, most, 0).size() == 1);
  CHECK(ct::tril(x, most).to_vector<int64_t>() == x.to_vector<int64_t>());
  CHECK(ct::triu(x, least).to_vector<int64_t>() == x.to_vector<int64_t>());
  CHECK(ct::tril(x, least).sum().item<int64_t>() == 0);
  CHECK(ct::triu(x, most).sum().item<int64_t>() == 0);
  CHECK_ERROR(x.narrow(0, 5, most), "narrow: ");
  CHECK_ERROR(x.narrow(0, least, 1), "narrow: ");
  CHECK_ERROR(x.select(0, least), "select: ");
  CHECK_ERROR(x.size(least), "size: axis -9223372036854775808");
  CHECK(x.diagonal(most).numel() == 0);
  CHECK(x.diagonal(least).numel() == 0);
  CHECK(x.slice(0, least, most, most).shape() == ct::Shape{1, 4});
  CHECK(x.slice(0, most, least, least).to_vector<int64_t>() == std::vector<int64_t>{8, 9, 10, 11});
  CHECK_ERROR(ct::pad(x, {most, 0}), "pad: ");
  CHECK_ERROR(ct::pad(x, {least, 0}), "pad: ");
  CHECK_ERROR(x.expand({-1, 3, 4}), "expand: ", "[-1,3,4]");
  CHECK_ERROR(x.expand({most, 3, 4}), "expand: ");
  CHECK_ERROR(x.reshape({most, most, -1}), "reshape: ");
  CHECK_ERROR(ct::eye(most, most), "64 bits");
  CHECK_ERROR(ct::arange(least, most), "arange: 18446744073709551615 elements");
  CHECK(ct::arange(least, most, most).numel() == 3);
  const ct::Tensor image = ct::ones({1, 1, 4, 4}), weight = ct::ones({1, 1, 2, 2});
  CHECK_ERROR(ct::conv2d(image, weight, {}, {1}, {most / 2}), "conv2d: ", "4611686018427387903");
  CHECK_ERROR(ct::conv2d(image, weight, {}, {1}, {0}, {most}), "conv2d: ", "window");
  CHECK_ERROR(ct::max_pool2d(image, {2}, {1}, {most / 2 + 1}), "max_pool2d: padding");
}
