// Whole calls against PyTorch: tests/data/api.golden, made by make_api.py, and the result dtypes of
// promotion.golden. Each op of the files is a row of the table below.

#include <cmath>
#include <functional>
#include <limits>

#include "api/arrays.h"
#include "ir/element.h"
#include "support/catch.h"
#include "support/compare.h"
#include "support/golden.h"

namespace ct = cermet;
using ct::test::GoldenCase;

namespace {

using Tensors = std::vector<ct::Tensor>;
using Call = std::function<ct::Tensor(const Tensors&, const GoldenCase&)>;

ct::Axes axes(const GoldenCase& c) {
  return c.attributes.contains("dim") ? ct::Axes(c.ints("dim")) : ct::Axes();
}
bool keepdim(const GoldenCase& c) { return c.integer("keepdim", 0) != 0; }
std::optional<int64_t> axis(const GoldenCase& c) {
  return c.attributes.contains("dim") ? std::optional(c.integer("dim")) : std::nullopt;
}
ct::Dims dims(const GoldenCase& c, const char* name, const ct::Dims& otherwise) {
  return c.attributes.contains(name) ? c.ints(name) : otherwise;
}
ct::Tensor third(const Tensors& x) { return x.size() > 2 ? x[2] : ct::Tensor(); }
ct::Tensor second(const Tensors& x) { return x.size() > 1 ? x[1] : ct::Tensor(); }

const std::map<std::string, Call>& calls() {
#define CALL [](const Tensors& x, [[maybe_unused]] const GoldenCase& c) -> ct::Tensor
  static const std::map<std::string, Call> table = {
      {"sum", CALL{return x[0].sum(axes(c), keepdim(c));
}
}  // namespace
, {"mean", CALL{return x[0].mean(axes(c), keepdim(c));
}
}
, {"prod", CALL{return x[0].prod(axes(c), keepdim(c));
}
}
, {"any", CALL{return x[0].any(axes(c), keepdim(c));
}
}
, {"all", CALL{return x[0].all(axes(c), keepdim(c));
}
}
, {"amax", CALL{return x[0].amax(axes(c), keepdim(c));
}
}
, {"amin", CALL{return x[0].amin(axes(c), keepdim(c));
}
}
, {"var", CALL{return x[0].var(axes(c), c.integer("correction"), keepdim(c));
}
}
, {"std", CALL{return x[0].std(axes(c), c.integer("correction"), keepdim(c));
}
}
, {"logsumexp", CALL{return x[0].logsumexp(axes(c), keepdim(c));
}
}
, {"argmax", CALL{return x[0].argmax(axis(c), keepdim(c));
}
}
, {"argmin", CALL{return x[0].argmin(axis(c), keepdim(c));
}
}
, {"softmax", CALL{return x[0].softmax(c.integer("dim"));
}
}
, {"log_softmax", CALL{return x[0].log_softmax(c.integer("dim"));
}
}
, {"cumsum", CALL{return x[0].cumsum(c.integer("dim"));
}
}
, {"cumprod", CALL{return x[0].cumprod(c.integer("dim"));
}
}
, {"matmul", CALL{return x[0].matmul(x[1]);
}
}
, {"dot", CALL{return ct::dot(x[0], x[1]);
}
}
, {"outer", CALL{return ct::outer(x[0], x[1]);
}
}
, {"tensordot", CALL{return c.attributes.contains("dims")
                                ? ct::tensordot(x[0], x[1], c.integer("dims"))
                                : ct::tensordot(x[0], x[1], c.ints("dims_a"), c.ints("dims_b"));
}
}
, {"cat", CALL{return ct::cat(x, c.integer("dim"));
}
}
, {"stack", CALL{return ct::stack(x, c.integer("dim"));
}
}
, {"pad", CALL{return ct::pad(x[0], c.ints("padding"), double(c.integer("twice")) / 2);
}
}
, {"tril", CALL{return ct::tril(x[0], c.integer("diagonal"));
}
}
, {"triu", CALL{return ct::triu(x[0], c.integer("diagonal"));
}
}
, {"gather", CALL{return x[0].gather(c.integer("dim"), x[1]);
}
}
, {"index_select", CALL{return x[0].index_select(c.integer("dim"), x[1]);
}
}
, {"take", CALL{return x[0].take(x[1]);
}
}
, {"scatter", CALL{return x[0].scatter(c.integer("dim"), x[1], x[2]);
}
}
, {"scatter_add", CALL{return x[0].scatter_add(c.integer("dim"), x[1], x[2]);
}
}
, {"one_hot", CALL{return ct::one_hot(x[0], c.integer("classes"));
}
}
, {"sort", CALL{return ct::sort(x[0], c.integer("dim"), c.integer("descending") != 0).values;
}
}
, {"argsort", CALL{return x[0].argsort(c.integer("dim"), c.integer("descending") != 0);
}
}
, {"conv2d", CALL{return ct::conv2d(x[0], x[1], third(x), dims(c, "stride", {1, 1}),
                                    dims(c, "padding", {0, 0}), dims(c, "dilation", {1, 1}),
                                    c.integer("groups", 1));
}
}
, {"max_pool2d", CALL{return ct::max_pool2d(x[0], c.ints("window"), dims(c, "stride", {}),
                                            dims(c, "padding", {0, 0}));
}
}
, {"avg_pool2d", CALL{return ct::avg_pool2d(x[0], c.ints("window"), dims(c, "stride", {}),
                                            dims(c, "padding", {0, 0}));
}
}
, {"linear", CALL{return ct::linear(x[0], x[1], third(x));
}
}
, {"layer_norm", CALL{return ct::layer_norm(x[0], c.integer("axes"), second(x), third(x));
}
}
, {"cross_entropy", CALL{return ct::cross_entropy(x[0], x[1]);
}
}
, {"mse_loss", CALL{return ct::mse_loss(x[0], x[1]);
}
}
, {"gelu", CALL{return ct::gelu(x[0], c.integer("tanh") != 0);
}
}
, {"silu", CALL{return ct::silu(x[0]);
}
}
, {"softplus", CALL{return ct::softplus(x[0]);
}
}
, {"relu", CALL{return x[0].relu();
}
}
, {"sigmoid", CALL{return x[0].sigmoid();
}
}
, {"square", CALL{return x[0].square();
}
}
, {"reciprocal", CALL{return x[0].reciprocal();
}
}
, {"clamp", CALL{return x[0].clamp(c.integer("min"), c.integer("max"));
}
}
, {"isnan", CALL{return ct::isnan(x[0]);
}
}
, {"isinf", CALL{return ct::isinf(x[0]);
}
}
, {"isfinite", CALL{return ct::isfinite(x[0]);
}
}
,
}
;
#undef CALL
return table;
}

// 32 roundings of the result's dtype, relative to the result or to the largest operand: sums run
// in another order than PyTorch's.
ct::test::Tolerance tolerance(const GoldenCase& c) {
  const ct::DType dtype = c.expected.dtype;
  if (!is_float(dtype)) return {};
  const double epsilon = dtype == ct::DType::F64    ? std::numeric_limits<double>::epsilon()
                         : dtype == ct::DType::F32  ? std::numeric_limits<float>::epsilon()
                         : dtype == ct::DType::BF16 ? 0x1p-7
                                                    : 0x1p-10;
  double largest = 1;
  for (const ct::ir::HostArray& a : c.operands)
    for (int64_t i = 0; i < a.numel(); ++i)
      if (const double v = std::fabs(a.number(i)); std::isfinite(v) && v > largest) largest = v;
  const double roundings = size_of(dtype) < 4 ? 2 : 32;
  return {.relative = roundings * epsilon, .absolute = roundings * epsilon * largest};
}

}  // namespace

TEST_CASE("api: whole calls give what PyTorch gives") {
  int checked = 0;
  for (const GoldenCase& c : ct::test::read_golden("api")) {
    INFO("api.golden:" << c.line << ": " << c.op);
    Tensors operands;
    for (const ct::ir::HostArray& a : c.operands) operands.push_back(ct::test::tensor_of(a));
    const auto call = calls().find(c.op);
    REQUIRE(call != calls().end());
    try {
      const ct::ir::HostArray got = ct::test::array_of(call->second(operands, c));
      CHECK(ct::test::difference(got, c.expected, tolerance(c)).value_or("") == "");
    } catch (const std::exception& e) {
      FAIL_CHECK(e.what());
    }
    ++checked;
  }
  CHECK(checked > 500);
}

TEST_CASE("api: result dtypes are PyTorch's for all pairs of tensors and numbers") {
  for (const GoldenCase& c : ct::test::read_golden("promotion")) {
    INFO("promotion.golden:" << c.line);
    Tensors x;
    for (const ct::ir::HostArray& a : c.operands) x.push_back(ct::test::tensor_of(a));
    ct::DType got;
    if (c.attributes.contains("scalar")) {
      const bool left = c.integer("left") != 0;
      const auto with = [&](auto number) {
        return (left ? ct::maximum(number, x[0]) : ct::maximum(x[0], number)).dtype();
      };
      const int64_t kind = c.integer("scalar");
      got = kind == 0 ? with(true) : kind == 1 ? with(1) : with(1.0);
    } else {
      got = ct::maximum(x[0], x[1]).dtype();
    }
    CHECK(name(got) == name(c.expected.dtype));
  }
}
