// Tensors from numbers: nested lists, ranges, fills. What memory gives is in memory_test.cpp.

#include <cmath>

#include "api/errors.h"
#include "cermet/cermet.h"

namespace ct = cermet;
using ct::DType;

namespace {
using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;
}  // namespace

TEST_CASE("creation: nested lists of any depth") {
  CHECK(ct::tensor({1}).shape() == ct::Shape{1});
  CHECK(ct::tensor({{1}}).shape() == ct::Shape{1, 1});
  const ct::Tensor deep = ct::tensor({{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}, {{9, 10}, {11, 12}}});
  CHECK(deep.shape() == ct::Shape{3, 2, 2});
  CHECK(deep.to_vector<int64_t>() == Ints{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  CHECK(ct::tensor({}).shape() == ct::Shape{0});
  CHECK(ct::tensor({}).dtype() == DType::F32);
  CHECK(ct::tensor({{}, {}}).shape() == ct::Shape{2, 0});
  CHECK(ct::tensor(7).shape().empty());
  CHECK(ct::tensor(7).item<int64_t>() == 7);
}

TEST_CASE("creation: the dtype of a list follows its numbers") {
  CHECK(ct::tensor({true, false}).dtype() == DType::Bool);
  CHECK(ct::tensor({true, false}).to_vector<bool>() == std::vector<bool>{true, false});
  CHECK(ct::tensor({1, 2}).dtype() == DType::I64);
  CHECK(ct::tensor({1, 2.5}).dtype() == DType::F32);
  CHECK(ct::tensor({1, 2.5}).to_vector<float>() == Floats{1, 2.5f});
  CHECK(ct::tensor({true, 2}).dtype() == DType::I64);
  CHECK(ct::tensor({1.0f}).dtype() == DType::F32);
  CHECK(ct::tensor(1.5).dtype() == DType::F32);
  CHECK(ct::tensor(true).dtype() == DType::Bool);
  CHECK(ct::tensor({int64_t(1) << 62}).item<int64_t>() == int64_t(1) << 62);
  CHECK(ct::tensor({~uint64_t(0)}, DType::U64).item<uint64_t>() == ~uint64_t(0));
  for (DType dtype : ct::all_dtypes) {
    const ct::Tensor t = ct::tensor({{0, 1}, {1, 1}}, dtype);
    CHECK(t.dtype() == dtype);
    CHECK(t.to(DType::I64).to_vector<int64_t>() == Ints{0, 1, 1, 1});
    CHECK(ct::tensor({1.0}, dtype).item<double>() == 1);
  }
  CHECK(ct::tensor({2, 0, -3}, DType::Bool).to_vector<bool>() ==
        std::vector<bool>{true, false, true});
  CHECK(ct::tensor({1.9, -1.9}, DType::I32).to_vector<int32_t>() == std::vector<int32_t>{1, -1});
}

TEST_CASE("creation: ragged lists are errors that say where") {
  CHECK_ERROR(ct::tensor({{1, 2}, {3}}), "tensor: the lists are ragged");
  CHECK_ERROR(ct::tensor({{1, 2}, 3}), "tensor: the lists are ragged");
  CHECK_ERROR(ct::tensor({1, {2, 3}}), "tensor: the lists are ragged");
  CHECK_ERROR(ct::tensor({{{1}}, {2}}), "tensor: the lists are ragged");
  CHECK_ERROR(ct::tensor({{}, {1}}), "tensor: the lists are ragged");
}

TEST_CASE("creation: zeros, ones, full and the like") {
  CHECK(ct::zeros({2, 0}).numel() == 0);
  CHECK(ct::zeros({}).item<float>() == 0);
  CHECK(ct::zeros({2}, DType::I8).dtype() == DType::I8);
  CHECK(ct::ones({2}, "bool").to_vector<bool>() == std::vector<bool>{true, true});
  CHECK(ct::full({2}, 7).dtype() == DType::I64);
  CHECK(ct::full({2}, 7.5).dtype() == DType::F32);
  CHECK(ct::full({2}, true).dtype() == DType::Bool);
  CHECK(ct::full({2}, 7, DType::F64).to_vector<double>() == std::vector<double>{7, 7});
  CHECK(ct::tensor(std::vector<bool>{true, false}).to_vector<bool>() ==
        std::vector<bool>{true, false});
  CHECK(std::isnan(ct::full({1}, NAN).item<float>()));
  CHECK(ct::empty({2, 3}).shape() == ct::Shape{2, 3});
  const ct::Tensor x = ct::tensor({{1, 2, 3}}, DType::I16);
  CHECK(ct::zeros_like(x).dtype() == DType::I16);
  CHECK(ct::ones_like(x).to_vector<int16_t>() == std::vector<int16_t>{1, 1, 1});
  CHECK(ct::full_like(x, 9).shape() == x.shape());
  CHECK(ct::full_like(x, 9).to_vector<int16_t>() == std::vector<int16_t>{9, 9, 9});
}

TEST_CASE("creation: arange") {
  CHECK(ct::arange(2, 7).to_vector<int64_t>() == Ints{2, 3, 4, 5, 6});
  CHECK(ct::arange(5, 5).numel() == 0);
  CHECK_ERROR(ct::arange(5, 0), "arange: ", "0 is never reached from 5");
  CHECK(ct::arange(5, 0, -2).to_vector<int64_t>() == Ints{5, 3, 1});
  CHECK(ct::arange(0, 1, 0.25).to_vector<float>() == Floats{0, 0.25f, 0.5f, 0.75f});
  CHECK(ct::arange(3.0).dtype() == DType::F32);
  CHECK(ct::arange(3, DType::U8).to_vector<uint8_t>() == std::vector<uint8_t>{0, 1, 2});
  CHECK(ct::arange(0).numel() == 0);
  // Beyond 2^53, where double no longer holds every integer.
  const int64_t large = (int64_t(1) << 60) + 1;
  CHECK(ct::arange(large, large + 3).to_vector<int64_t>() == Ints{large, large + 1, large + 2});
  CHECK_ERROR(ct::arange(0, 5, 0), "arange: ", "0");
  CHECK_ERROR(ct::arange(0, 5, -1), "arange: ", "5", "-1");
  CHECK_ERROR(ct::arange(NAN), "arange: ");
}

TEST_CASE("creation: linspace ends exactly at its end") {
  CHECK(ct::linspace(0, 1, 1).to_vector<float>() == Floats{0});
  CHECK(ct::linspace(0, 1, 0).numel() == 0);
  CHECK(ct::linspace(3, -3, 4).to_vector<float>() == Floats{3, 1, -1, -3});
  const std::vector<double> x = ct::linspace(0.1, 0.7, 11, DType::F64).to_vector<double>();
  CHECK(x.front() == 0.1);
  CHECK(x.back() == 0.7);
  for (size_t i = 0; i < x.size(); ++i) CHECK(std::fabs(x[i] - (0.1 + 0.06 * double(i))) < 1e-15);
  CHECK_ERROR(ct::linspace(0, 1, -1), "linspace: ", "-1");
}

TEST_CASE("creation: eye") {
  CHECK(ct::eye(2).to_vector<float>() == Floats{1, 0, 0, 1});
  CHECK(ct::eye(2, 3).to_vector<float>() == Floats{1, 0, 0, 0, 1, 0});
  CHECK(ct::eye(0).shape() == ct::Shape{0, 0});
  CHECK(ct::eye(2, std::nullopt, DType::I64).to_vector<int64_t>() == Ints{1, 0, 0, 1});
  CHECK_ERROR(ct::eye(-1), "eye: ", "-1");
}

TEST_CASE("creation: item converts, to_vector does not") {
  CHECK(ct::tensor({2.75}).item<int64_t>() == 2);
  CHECK(ct::tensor({2.75}).item<double>() == 2.75);
  CHECK(ct::tensor({3}).item<float>() == 3);
  CHECK(ct::tensor({3}).item<bool>());
  CHECK(ct::tensor({{{5}}}).item<int32_t>() == 5);
  CHECK_ERROR(ct::tensor({1, 2}).item<float>(), "item: ", "2 elements");
  CHECK_ERROR(ct::zeros({0}).item<float>(), "item: ", "0 elements");
  CHECK_ERROR(ct::tensor({1, 2}).to_vector<float>(), "to_vector: ", "i64", "f32");
}

TEST_CASE("creation: devices other than the processor are named in the error") {
  if (ct::cuda::is_available()) SKIP("this machine has a GPU");
  CHECK_THROWS_AS(ct::zeros({2}, "cuda"), ct::DeviceError);
  CHECK_THROWS_AS(ct::tensor({1}, ct::Device::parse("cuda:3")), ct::DeviceError);
  CHECK_THROWS_AS(ct::arange(3, "cuda"), ct::DeviceError);
  CHECK_ERROR(ct::zeros({2}, "f33"), "'f33'");
}
