// In-place methods: what they compute, who sees it, and what is refused.

#include "api/errors.h"
#include "cermet/cermet.h"

namespace ct = cermet;
using ct::DType;

namespace {
using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;
}  // namespace

TEST_CASE("in place: every method") {
  const auto x = [] { return ct::tensor({1.0, 4.0, 9.0}); };
  ct::Tensor a = x();
  CHECK(a.add_(1).to_vector<float>() == Floats{2, 5, 10});
  CHECK(a.sub_(ct::tensor({1.0, 2.0, 3.0})).to_vector<float>() == Floats{1, 3, 7});
  CHECK(a.mul_(2).to_vector<float>() == Floats{2, 6, 14});
  CHECK(a.div_(4).to_vector<float>() == Floats{0.5f, 1.5f, 3.5f});
  CHECK(x().pow_(2).to_vector<float>() == Floats{1, 16, 81});
  CHECK(x().clamp_(2, 5).to_vector<float>() == Floats{2, 4, 5});
  CHECK(x().sqrt_().to_vector<float>() == Floats{1, 2, 3});
  CHECK(x().neg_().to_vector<float>() == Floats{-1, -4, -9});
  CHECK(x().neg_().relu_().to_vector<float>() == Floats{0, 0, 0});
  CHECK(ct::zeros({2}).exp_().to_vector<float>() == Floats{1, 1});
  CHECK(x().fill_(7).to_vector<float>() == Floats{7, 7, 7});
  CHECK(x().zero_().to_vector<float>() == Floats{0, 0, 0});
  CHECK(x().copy_(ct::tensor({1, 2, 3})).to_vector<float>() == Floats{1, 2, 3});
  CHECK(x().masked_fill_(ct::tensor({true, false, true}), -1).to_vector<float>() ==
        Floats{-1, 4, -1});
  ct::Tensor b = x();
  b += 1, b -= 2, b *= 3, b /= 2;
  CHECK(b.to_vector<float>() == Floats{0, 4.5f, 12});
  const ct::Tensor index = ct::tensor({2, 0});
  CHECK(x().scatter_(0, index, ct::tensor({-1.0, -2.0})).to_vector<float>() == Floats{-2, 4, -1});
  CHECK(x().scatter_add_(0, ct::tensor({1, 1}), ct::ones({2})).to_vector<float>() ==
        Floats{1, 6, 9});
}

TEST_CASE("in place: the method returns the tensor itself") {
  ct::Tensor a = ct::tensor({1});
  CHECK(&a.add_(1) == &a);
  CHECK(&(a += 1) == &a);
  CHECK(&a.index_put_({0}, 5) == &a);
}

TEST_CASE("in place: the dtype stays, and what does not fit it is refused as in PyTorch") {
  ct::Tensor i = ct::tensor({1, 2, 3}), f = ct::tensor({1.0, 2.0, 3.0}), b = ct::tensor({true});
  CHECK_ERROR(i.add_(0.5), "add_: ", "f32", "i64");
  CHECK_ERROR(i.div_(2), "div_: ", "f32", "i64");
  CHECK_ERROR(i.mul_(f), "mul_: ", "f32", "i64");
  CHECK_ERROR(b.add_(1), "add_: ", "i64", "bool");
  CHECK_ERROR(i.sqrt_(), "sqrt_: ", "f32", "i64");
  f.add_(i);
  CHECK(f.dtype() == DType::F32);
  ct::Tensor small = ct::tensor({100}, DType::I8);
  small.add_(ct::tensor({100}, DType::I64));
  CHECK(small.to_vector<int8_t>() == std::vector<int8_t>{-56});
  ct::Tensor half = ct::tensor({1.0}, DType::F16);
  half.mul_(ct::tensor({3.0}, DType::F64));
  CHECK(half.dtype() == DType::F16);
  CHECK(half.item<float>() == 3);
  ct::Tensor c = ct::tensor({0, 0});
  c.copy_(ct::tensor({1.9, -1.9}));  // a copy converts
  CHECK(c.to_vector<int64_t>() == Ints{1, -1});
}

TEST_CASE("in place: the shape stays") {
  ct::Tensor a = ct::zeros({2, 3});
  a.add_(ct::tensor({1.0, 2.0, 3.0}));
  CHECK(a.to_vector<float>() == Floats{1, 2, 3, 1, 2, 3});
  CHECK_ERROR(a.add_(ct::zeros({4, 2, 3})), "add_: ", "[4,2,3]", "[2,3]");
  ct::Tensor row = ct::zeros({1, 3});
  CHECK_ERROR(row.mul_(a), "mul_: ", "[2,3]", "[1,3]");
  CHECK_ERROR(a.copy_(ct::zeros({2, 2})), "copy_: ", "[2,2]", "[2,3]");
  ct::Tensor expanded = ct::zeros({3}).expand({2, 3});
  CHECK_ERROR(expanded.add_(1), "add_: ", "several places", "clone()");
  ct::Tensor windows = ct::arange(4.0).unfold(0, 2, 1);
  CHECK_ERROR(windows.zero_(), "several places");
}

TEST_CASE("in place: a write to a view of a view is seen by all") {
  ct::Tensor a = ct::zeros({2, 3, 2}, DType::I64);
  ct::Tensor view = a.transpose(0, 2).select(0, 1).slice(0, 0, 2);  // a[:, 0:2, 1], transposed
  CHECK(view.shape() == ct::Shape{2, 2});
  view.copy_(ct::tensor({{1, 2}, {3, 4}}));
  CHECK(a.to_vector<int64_t>() == Ints{0, 1, 0, 3, 0, 0, 0, 2, 0, 4, 0, 0});
  a.flatten().add_(10);
  CHECK(view.to_vector<int64_t>() == Ints{11, 12, 13, 14});
  a.diagonal(0, 0, 2).select(1, 1).fill_(-1);  // a[1, :, 1][diagonal]...
  CHECK(a.size(1) == 3);
}

TEST_CASE("in place: reshape shares where strides allow it, and copies where they do not") {
  ct::Tensor a = ct::arange(6);
  a.reshape({2, 3}).select(0, 1).zero_();
  CHECK(a.to_vector<int64_t>() == Ints{0, 1, 2, 0, 0, 0});
  ct::Tensor t = ct::arange(6).reshape({2, 3});
  ct::Tensor copy = t.t().reshape({6});
  copy.zero_();
  CHECK(t.to_vector<int64_t>() == Ints{0, 1, 2, 3, 4, 5});
  CHECK_ERROR(t.t().view({6}), "view: ", "[3,2]", "strides", "reshape()");
  t.view({3, 2}).add_(1);
  CHECK(t.to_vector<int64_t>() == Ints{1, 2, 3, 4, 5, 6});
  // flip is a new tensor, a negative step a view.
  t.flip(0).zero_();
  CHECK(t.sum().item<int64_t>() == 21);
  t.slice(1, std::nullopt, std::nullopt, -1).select(1, 0).zero_();
  CHECK(t.to_vector<int64_t>() == Ints{1, 2, 0, 4, 5, 0});
}

TEST_CASE("in place: operands that overlap the target are read before it is written") {
  ct::Tensor a = ct::arange(5);
  a.slice(0, 1, std::nullopt).copy_(a.slice(0, 0, -1));
  CHECK(a.to_vector<int64_t>() == Ints{0, 0, 1, 2, 3});
  ct::Tensor m = ct::arange(4).reshape({2, 2});
  m.add_(m.t());
  CHECK(m.to_vector<int64_t>() == Ints{0, 3, 3, 6});
}

TEST_CASE("in place: index_put_ and index") {
  const auto x = [] { return ct::arange(12).reshape({3, 4}).clone(); };
  ct::Tensor a = x();
  a.index_put_({1, ct::Slice{1, 3}}, -1);
  CHECK(a.to_vector<int64_t>() == Ints{0, 1, 2, 3, 4, -1, -1, 7, 8, 9, 10, 11});
  a = x();
  a.index_put_({ct::tensor({2, 0})}, ct::tensor({{-1}, {-2}}));
  CHECK(a.to_vector<int64_t>() == Ints{-2, -2, -2, -2, 4, 5, 6, 7, -1, -1, -1, -1});
  a = x();
  a.index_put_({ct::Slice{0, 2}, ct::tensor({-1})}, ct::tensor({{7}, {8}}));
  CHECK(a.to_vector<int64_t>() == Ints{0, 1, 2, 7, 4, 5, 6, 8, 8, 9, 10, 11});
  a = x();
  a.index_put_({a > 6}, 0);
  CHECK(a.to_vector<int64_t>() == Ints{0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0});
  a = x();
  a.index_put_({a > 8}, ct::tensor({-1, -2, -3}));
  CHECK(a.to_vector<int64_t>() == Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3});
  a = x();
  a.index_put_({ct::tensor({true, false, true})}, ct::tensor({1, 2, 3, 4}));
  CHECK(a.to_vector<int64_t>() == Ints{1, 2, 3, 4, 4, 5, 6, 7, 1, 2, 3, 4});

  a.index_put_({0, 0}, 7.9);  // converted, as a[0, 0] = 7.9 is in PyTorch
  CHECK(a[0][0].item<int64_t>() == 7);

  const ct::Tensor b = x();
  CHECK(b.index({-1, ct::ellipsis}).to_vector<int64_t>() == Ints{8, 9, 10, 11});
  CHECK(b.index({ct::ellipsis, 0}).to_vector<int64_t>() == Ints{0, 4, 8});
  CHECK(b.index({ct::newaxis, 0}).shape() == ct::Shape{1, 4});
  CHECK(b.index({ct::Slice{.step = -2}, ct::Slice{2, {}}}).to_vector<int64_t>() ==
        Ints{10, 11, 2, 3});
  CHECK(b.index({ct::tensor({{0, 2}, {1, 1}})}).shape() == ct::Shape{2, 2, 4});
  CHECK(b.index({ct::Slice{}, ct::tensor({{3}, {0}})}).to_vector<int64_t>() ==
        Ints{3, 0, 7, 4, 11, 8});
  CHECK(b.index({b % 2 == 0}).to_vector<int64_t>() == Ints{0, 2, 4, 6, 8, 10});
  CHECK(b.index({ct::Slice{}, ct::tensor({true, false, false, true})}).to_vector<int64_t>() ==
        Ints{0, 3, 4, 7, 8, 11});
  CHECK(b.masked_select(ct::tensor({true, false, false, false})).to_vector<int64_t>() ==
        Ints{0, 4, 8});
  CHECK(ct::nonzero(ct::tensor({{0, 3}, {1, 0}})).to_vector<int64_t>() == Ints{0, 1, 1, 0});
  CHECK(ct::nonzero(ct::zeros({2, 2})).shape() == ct::Shape{0, 2});
  CHECK(b[1][2].item<int64_t>() == 6);
  CHECK(b[-1].to_vector<int64_t>() == Ints{8, 9, 10, 11});
}

TEST_CASE("in place: assigning to a view writes into it, to a tensor names another one") {
  ct::Tensor a = ct::zeros({2, 3}), b = a;
  a[0] = ct::tensor({1, 2, 3});
  a[1][2] = 2.5;
  a.index({1, ct::Slice{0, 2}}) = -1;
  CHECK(b.to_vector<float>() == Floats{1, 2, 3, -1, -1, 2.5});
  a = ct::ones({2});
  CHECK(b.numel() == 6);
  b[1] = b[0];
  CHECK(b.to_vector<float>() == Floats{1, 2, 3, 1, 2, 3});

  CHECK_ERROR(b.index({b > 1}) = 5, "assignment: ", "index_put_");
  CHECK_ERROR(b + 1 = 5, "assignment: ");
  CHECK_ERROR(b[0] = ct::ones({4}), "copy_: ", "f32[4]", "f32[3]");
  CHECK_ERROR(b[0] = ct::Tensor(), "undefined");
  ct::Tensor leaf = ct::ones({2}).set_requires_grad();
  CHECK_ERROR(leaf[0] = 5, "leaf");
  {
    const ct::no_grad guard;
    leaf[0] = 5;
  }
  CHECK(leaf.detach().to_vector<float>() == Floats{5, 1});
  // Gradients flow into what is written.
  ct::Tensor table = ct::zeros({2, 2});
  table[1] = leaf * 2;
  (table * table).sum().backward();
  CHECK(leaf.grad().to_vector<float>() == Floats{40, 8});
}

TEST_CASE("in place: indices that are refused") {
  ct::Tensor a = ct::arange(6).reshape({2, 3});
  CHECK_ERROR(a[2], "select: ", "index 2", "axis 0", "[2,3]");
  CHECK_ERROR(a[0][3], "select: ", "index 3", "[3]");
  CHECK_ERROR(a[-3], "select: ", "index -3");
  CHECK_ERROR(a.index({0, 0, 0}), "index: ", "3 indices", "[2,3]");
  CHECK_ERROR(a.index({ct::ellipsis, ct::ellipsis}), "index: ", "ellipsis");
  CHECK_ERROR(a.index({ct::tensor({1.0})}), "index: ", "f32[1]");
  CHECK_ERROR(a.index({ct::tensor({true, false, true})}), "index: ", "mask bool[3]", "[2,3]");
  CHECK_ERROR(a.index({ct::Slice{.step = 0}}), "index: ", "step is 0");
  CHECK_ERROR(a.index_put_({0}, ct::tensor({1, 2})), "index_put_", "[2]", "[3]");
  CHECK_ERROR(a.index({ct::tensor({0, 2})}).realize(), "2");
  CHECK_ERROR(a.select(2, 0), "select: ", "axis 2");
  CHECK_ERROR(a.narrow(1, 2, 2), "narrow: ", "2 elements from 2", "3");
}
