// max, min, median, sort, topk, clamp with one bound, indexing, and functions of an axis of tensors
// of rank 0: against PyTorch (tests/data/selection.golden, made by make_selection.py), and what is
// refused.

#include <cmath>
#include <functional>
#include <limits>

#include "api/arrays.h"
#include "api/errors.h"
#include "support/compare.h"
#include "support/golden.h"

namespace ct = cermet;
using ct::DType;
using ct::Tensor;
using ct::test::GoldenCase;

namespace {

using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;
using Tensors = std::vector<Tensor>;

constexpr int64_t none = -99;  // make_selection.py's

std::vector<ct::Index> parts_of(const Tensors& x, const GoldenCase& c) {
  const ct::Dims& codes = c.ints("parts");
  std::vector<ct::Index> out;
  size_t operand = 1;
  const auto bound = [](int64_t v) { return v == none ? std::nullopt : std::optional(v); };
  for (size_t i = 0; i < codes.size();) switch (codes[i++]) {
      case 0: out.push_back(codes[i++]); break;
      case 1:
        out.push_back(
            ct::Slice{bound(codes[i]), bound(codes[i + 1]), bound(codes[i + 2]).value_or(1)});
        i += 3;
        break;
      case 2: out.push_back(ct::newaxis); break;
      case 3: out.push_back(ct::ellipsis); break;
      default: out.push_back(x[operand++]); break;
    }
  return out;
}

int64_t dim(const GoldenCase& c) { return c.integer("dim"); }
bool keepdim(const GoldenCase& c) { return c.integer("keepdim", 0) != 0; }
Tensor part(const GoldenCase& c, const ct::ValuesAndIndices& pair) {
  return c.integer("part") == 0 ? pair.values : pair.indices;
}

// Calls of one tensor and an axis.
// clang-format off
Tensor along_axis(const std::string& op, const Tensor& x, const GoldenCase& c) {
#define X(name) \
  if (op == #name) return x.name(dim(c), keepdim(c));
  X(sum) X(prod) X(mean) X(amax) X(amin) X(any) X(all) X(logsumexp) X(argmax) X(argmin)
#undef X
#define X(name) \
  if (op == #name) return x.name(dim(c));
  X(cumsum) X(cumprod) X(argsort) X(softmax) X(log_softmax) X(flip) X(squeeze) X(unsqueeze)
#undef X
#define X(name) \
  if (op == #name) return x.name(dim(c), c.integer("correction"), keepdim(c));
  X(var) X(std)
#undef X
  if (op == "transpose") return x.transpose(dim(c), 0);
  if (op == "unfold") return x.unfold(dim(c), 1, 1);
  throw ct::InternalError("no call for " + op);
}
// clang-format on

Tensor result_of(const Tensors& x, const GoldenCase& c) {
  const std::string& op = c.op;
  if (op == "max") return part(c, x[0].max(dim(c), keepdim(c)));
  if (op == "min") return part(c, ct::min(x[0], dim(c), keepdim(c)));
  if (op == "median") return part(c, x[0].median(dim(c), keepdim(c)));
  if (op == "sort") return part(c, x[0].sort(dim(c), c.integer("descending") != 0));
  if (op == "topk")
    return part(c, ct::topk(x[0], c.integer("k"), dim(c), c.integer("largest") != 0));
  if (op == "max_all") return x[0].max();
  if (op == "min_all") return ct::min(x[0]);
  if (op == "median_all") return x[0].median();
  if (op == "max_of") return ct::max(x[0], x[1]);
  if (op == "min_of") return x[0].min(x[1]);
  if (op == "clamp_min") return x[0].clamp_min(x[1]);
  if (op == "clamp_max") return ct::clamp(x[0], std::nullopt, x[1]);
  if (op == "clamp_between") return x[0].clamp(x[1], x[2]);
  if (op == "gather") return x[0].gather(dim(c), x[1]);
  if (op == "index_select") return x[0].index_select(dim(c), x[1]);
  if (op == "scatter") return x[0].scatter(dim(c), x[1], x[2]);
  if (op == "scatter_add") return x[0].scatter_add(dim(c), x[1], x[2]);
  if (op == "nonzero") return ct::nonzero(x[0]);
  if (op == "masked_select") return x[0].masked_select(x[1]);
  if (op == "index") return x[0].index(parts_of(x, c));
  if (op == "index_put") {
    Tensor target = x[0].clone();
    return target.index_put_(parts_of(x, c), x.back(), c.integer("accumulate") != 0);
  }
  return along_axis(op, x[0], c);
}

}  // namespace

TEST_CASE("selection: calls give what PyTorch gives") {
  std::map<std::string, int> checked;
  for (const GoldenCase& c : ct::test::read_golden("selection")) {
    INFO("selection.golden:" << c.line << ": " << c.op);
    Tensors operands;
    for (const ct::ir::HostArray& a : c.operands) operands.push_back(ct::test::tensor_of(a));
    try {
      const ct::ir::HostArray got = ct::test::array_of(result_of(operands, c));
      CHECK(ct::test::difference(got, c.expected, {.relative = 1e-6, .absolute = 1e-6})
                .value_or("") == "");
    } catch (const std::exception& e) {
      FAIL_CHECK(e.what());
    }
    ++checked[c.op];
  }
  CHECK(checked["max"] > 50);
  CHECK(checked["index"] > 30);
  CHECK(checked["index_put"] > 100);
  CHECK(checked["sum"] == 12);
}

TEST_CASE("selection: gradients go to what was selected") {
  const auto gradient = [](const std::function<Tensor(const Tensor&)>& f) {
    Tensor x = ct::tensor({{1.0, 5.0, 5.0}, {4.0, 2.0, 3.0}}).set_requires_grad();
    f(x).sum().backward();
    return x.grad().to_vector<float>();
  };
  CHECK(gradient([](const Tensor& x) { return x.max(1).values * 2; }) == Floats{0, 2, 0, 2, 0, 0});
  CHECK(gradient([](const Tensor& x) { return x.min(0).values; }) == Floats{1, 0, 0, 0, 1, 1});
  CHECK(gradient([](const Tensor& x) { return x.median(1).values; })[5] == 1);
  CHECK(gradient([](const Tensor& x) { return x.topk(2, 1).values; }) == Floats{0, 1, 1, 1, 0, 1});
  CHECK(gradient([](const Tensor& x) { return x.sort(1).values * ct::tensor({1.0, 2.0, 3.0}); }) ==
        Floats{1, 2, 3, 3, 1, 2});
  CHECK(gradient([](const Tensor& x) { return x.clamp(2, std::nullopt); }) ==
        Floats{0, 1, 1, 1, 1, 1});
  CHECK(gradient([](const Tensor& x) { return x.clamp_max(4); }) == Floats{1, 0, 0, 1, 1, 1});
  CHECK(gradient([](const Tensor& x) {
          return x.index({ct::tensor({0, 1, 0}), ct::tensor({1, 2, 1})});
        }) == Floats{0, 2, 0, 0, 0, 1});
  CHECK(gradient([](const Tensor& x) {
          Tensor y = x * 1;
          return y.index_put_({ct::tensor({0}), ct::tensor({1})}, 7);
        }) == Floats{1, 0, 1, 1, 1, 1});
}

TEST_CASE("selection: pairs come apart, and are computed as one program") {
  const Tensor x = ct::tensor({{3.0, 1.0, 2.0}, {4.0, 6.0, 5.0}});
  const auto [values, indices] = x.max(1);
  CHECK(values.to_vector<float>() == Floats{3, 6});
  CHECK(indices.to_vector<int64_t>() == Ints{0, 1});
  CHECK(!indices.requires_grad());
  CHECK(x.median(0).indices.to_vector<int64_t>() == Ints{0, 0, 0});
  CHECK(x.topk(0).values.shape() == ct::Shape{2, 0});
  CHECK(ct::sort(x, 0, true).indices.to_vector<int64_t>() == Ints{1, 1, 1, 0, 0, 0});
}

TEST_CASE("selection: clamping in place") {
  const auto x = [] { return ct::tensor({-3.0, 0.5, 3.0}); };
  CHECK(x().clamp_(std::nullopt, 1).to_vector<float>() == Floats{-3, 0.5f, 1});
  CHECK(x().clamp_(0, std::nullopt).to_vector<float>() == Floats{0, 0.5f, 3});
  CHECK(x().clamp_min_(ct::tensor(1)).to_vector<float>() == Floats{1, 1, 3});
  CHECK(x().clamp_max_(-1).to_vector<float>() == Floats{-3, -1, -1});
  Tensor whole = ct::tensor({1, 2});
  CHECK_ERROR(whole.clamp_min_(1.5), "clamp_min_: ", "f32", "i64");
  CHECK(std::isnan(x().clamp(std::nan(""), std::nullopt)[0].item<float>()));
}

TEST_CASE("selection: several tensors as index, of views and in place") {
  Tensor a = ct::arange(12).reshape({3, 4}).clone();
  Tensor t = a.t();
  CHECK(t.index({ct::tensor({0, 3}), ct::tensor({2, 1})}).to_vector<int64_t>() == Ints{8, 7});
  t.index_put_({ct::tensor({0, 3}), ct::tensor({2, 1})}, ct::tensor({-1, -2}));
  CHECK(a.to_vector<int64_t>() == Ints{0, 1, 2, 3, 4, 5, 6, -2, -1, 9, 10, 11});
  a.index_put_({ct::Slice{1, 3}, ct::tensor({0, 0})}, 10, true);
  CHECK(a[1][0].item<int64_t>() == 24);
  a.index_put_({ct::ellipsis, ct::Slice{2, {}}}, 1, true);
  CHECK(a[0].to_vector<int64_t>() == Ints{0, 1, 3, 4});
  a.index_put_({a > 5}, 100, true);
  CHECK(a[2].to_vector<int64_t>() == Ints{119, 109, 111, 112});
  a.index_put_({a > 100}, ct::tensor({1}), true);
  CHECK(a[2].to_vector<int64_t>() == Ints{120, 110, 112, 113});
}

TEST_CASE("selection: what is refused") {
  const Tensor x = ct::zeros({2, 3}), scalar = ct::tensor(1.5), empty = ct::zeros({0});
  const auto at = [](int64_t i) { return ct::tensor({i}); };
  CHECK_ERROR(x.max(2), "max: ", "axis 2");
  CHECK_ERROR(ct::min(x, -3), "min: ", "axis -3");
  CHECK_ERROR(empty.max(0), "max: ", "axis 0 of f32[0] is empty");
  CHECK_ERROR(empty.median(0), "median: ", "f32[0]");
  CHECK_ERROR(ct::zeros({0}, DType::I64).median(), "median: ", "i64[0]");
  CHECK_ERROR(ct::tensor({true}).median(0), "median: ", "bool[1]");
  CHECK_ERROR(x.max(ct::zeros({2})), "max: ", "f32[2,3]", "f32[2]");
  CHECK_ERROR(x.topk(4), "topk: ", "4 elements", "f32[2,3]");
  CHECK_ERROR(x.topk(-1), "topk: ", "-1");
  CHECK_ERROR(x.topk(1, 2), "topk: ", "axis 2");
  CHECK_ERROR(x.clamp_min(ct::zeros({2})), "clamp_min: ", "f32[2,3]", "f32[2]");
  CHECK_ERROR(x.clamp(std::nullopt, ct::zeros({2})), "clamp: ", "f32[2]");

  CHECK_ERROR(x.index({ct::tensor({0, 1}), ct::tensor({0, 1, 2})}), "index: ", "[2]", "[3]");
  CHECK_ERROR(x.index({at(0), at(0), at(0)}), "index: ", "3 indices", "f32[2,3]");
  CHECK_ERROR(x.index({at(0), ct::tensor({0.5})}), "index: ", "f32[1]");
  CHECK_ERROR(x.index({at(0), ct::tensor({true, false})}), "index: ", "bool[2]", "axis 1");
  CHECK_ERROR(x.index({at(0), at(3)}).realize(), "index 3", "3 elements");
  CHECK_ERROR(x.index({at(-3), at(0)}).realize(), "index -3", "2 elements");
  Tensor y = x.clone();
  CHECK_ERROR(y.index_put_({at(0), at(1)}, ct::zeros({2})), "index_put_: ", "[2]", "[1]");
  y.index_put_({at(0), at(5)}, 1);
  CHECK_ERROR(y.realize(), "index 5", "3 elements");
  CHECK(y.to_vector<float>() == Floats(6, 0));

  CHECK_ERROR(scalar.sum(1), "sum: ", "axis 1", "rank 0");
  CHECK_ERROR(scalar.softmax(-2), "softmax: ", "axis -2");
  CHECK_ERROR(scalar.sum({0, -1}), "sum: ", "twice");
  CHECK_ERROR(scalar.cumsum(1), "cumsum: ", "axis 1");
  CHECK_ERROR(scalar.topk(2), "topk: ", "2 elements", "f32[]");
  CHECK_ERROR(scalar.size(0), "size: ", "rank 0");
  CHECK_ERROR(scalar[0], "select: ", "rank 0");
  CHECK_ERROR(scalar.narrow(0, 0, 1), "narrow: ", "rank 0");
  CHECK_ERROR(scalar.index_select(0, ct::tensor({0, 0})), "index_select: ", "2 positions", "f32[]");
  CHECK_ERROR(scalar.gather(0, ct::tensor(1)).realize(), "index 1");
  CHECK_ERROR(ct::cat({scalar, scalar}), "cat: ", "f32[]", "stack()");
  CHECK_ERROR(ct::split(scalar, 1), "split: ", "rank 0");
  CHECK_ERROR(scalar.diagonal(), "diagonal: ", "rank 0");
  CHECK_ERROR(scalar.unfold(0, 2, 1), "unfold: ", "2");
}
