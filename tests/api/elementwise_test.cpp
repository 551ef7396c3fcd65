// The functions and methods of the op table: each row's call against golden values of NumPy,
// PyTorch and mpmath, and the operators with numbers on either side.

#include <cmath>
#include <map>

#include "api/arrays.h"
#include "api/errors.h"
#include "support/compare.h"
#include "support/golden.h"

namespace ct = cermet;
using ct::DType;
using ct::Tensor;

namespace {

using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;
using Bools = std::vector<bool>;

// A row's function and its method.
struct Row {
  std::function<Tensor(std::span<const Tensor>)> function, method;
};

const std::map<std::string, Row>& rows() {
  using In = std::span<const Tensor>;
#define CERMET_ROW1(name) \
  {#name,                 \
   {[](In x) -> Tensor { return ct::name(x[0]); }, [](In x) -> Tensor { return x[0].name(); }}},
#define CERMET_ROW2(name)                                \
  {#name,                                                \
   {[](In x) -> Tensor { return ct::name(x[0], x[1]); }, \
    [](In x) -> Tensor { return x[0].name(x[1]); }}},
#define CERMET_ROW3(name)                                      \
  {#name,                                                      \
   {[](In x) -> Tensor { return ct::name(x[0], x[1], x[2]); }, \
    [](In x) -> Tensor { return ct::name(x[0], x[1], x[2]); }}},
  static const std::map<std::string, Row> table = {
#define OP(Enum, name, arity, ...) CERMET_ROW##arity(name)
#include "cermet/ops.def"
  };
#undef CERMET_ROW1
#undef CERMET_ROW2
#undef CERMET_ROW3
  return table;
}

bool tested(DType dtype) {
  return dtype == DType::F32 || dtype == DType::I32 || dtype == DType::U8 || dtype == DType::Bool;
}

}  // namespace

TEST_CASE("elementwise: each function and method of the op table gives the golden values") {
  std::map<std::string, int> checked;
  for (const ct::test::GoldenCase& c : ct::test::read_golden("elementwise")) {
    if (!tested(c.operands.back().dtype)) continue;
    // Arithmetic of bool, which PyTorch spells otherwise, is below.
    if (is_bool(c.operands[0].dtype) && c.op != "where" && c.op.find("bitwise") != 0) continue;
    INFO("elementwise.golden:" << c.line << ": " << c.op);
    std::vector<Tensor> x;
    for (const ct::ir::HostArray& a : c.operands) x.push_back(ct::test::tensor_of(a));
    const ct::test::Tolerance tolerance{.ulps = double(c.integer("ulps", 0)) + 4,
                                        .signed_zeros = false};
    const Row& row = rows().at(c.op);
    const ct::ir::HostArray got = ct::test::array_of(row.function(x));
    CHECK(ct::test::difference(got, c.expected, tolerance).value_or("") == "");
    CHECK(ct::test::array_of(row.method(x)) == got);
    ++checked[c.op];
  }
  CHECK(checked.size() >= rows().size() - 1);  // philox is not in the file
}

TEST_CASE("elementwise: operators between tensors and numbers, on either side") {
  const Tensor x = ct::tensor({1.0, 2.0, 4.0}), i = ct::tensor({7, -7, 2});
  const auto floats = [](const Tensor& t) { return t.to_vector<float>(); };
  const auto ints = [](const Tensor& t) { return t.to_vector<int64_t>(); };
  const auto bools = [](const Tensor& t) { return t.to_vector<bool>(); };
  CHECK(floats(x + 1) == Floats{2, 3, 5});
  CHECK(floats(1 + x) == Floats{2, 3, 5});
  CHECK(floats(x - 1) == Floats{0, 1, 3});
  CHECK(floats(1 - x) == Floats{0, -1, -3});
  CHECK(floats(x * 2.5) == Floats{2.5f, 5, 10});
  CHECK(floats(2.5f * x) == Floats{2.5f, 5, 10});
  CHECK(floats(x / 2) == Floats{0.5f, 1, 2});
  CHECK(floats(8 / x) == Floats{8, 4, 2});
  CHECK(floats(i / 2) == Floats{3.5f, -3.5f, 1});
  CHECK(ints(i % 4) == Ints{3, 1, 2});
  CHECK(ints(10 % i) == Ints{3, -4, 0});
  CHECK(ints(i & 3) == Ints{3, 1, 2});
  CHECK(ints(8 | i) == Ints{15, -7, 10});
  CHECK(ints(i ^ 1) == Ints{6, -8, 3});
  CHECK(ints(i << 2) == Ints{28, -28, 8});
  CHECK(ints(i >> 1) == Ints{3, -4, 1});
  CHECK(ints(-i) == Ints{-7, 7, -2});
  CHECK(ints(~i) == Ints{-8, 6, -3});
  CHECK(bools(x < 2) == Bools{true, false, false});
  CHECK(bools(2 < x) == Bools{false, false, true});
  CHECK(bools(x <= 2) == Bools{true, true, false});
  CHECK(bools(x > 2) == Bools{false, false, true});
  CHECK(bools(x >= 2.0) == Bools{false, true, true});
  CHECK(bools(x == 2) == Bools{false, true, false});
  CHECK(bools(2 != x) == Bools{true, false, true});
  CHECK(bools(!(x == 2)) == Bools{true, false, true});
  CHECK(bools((x > 1) & (x < 4)) == Bools{false, true, false});
  CHECK(bools((x > 1) | true) == Bools{true, true, true});
  CHECK((x + 1).dtype() == DType::F32);
  CHECK((i + 1.5).dtype() == DType::F32);
  CHECK((i + true).dtype() == DType::I64);
  CHECK((ct::tensor({1.0}, DType::F16) * 1e-3).dtype() == DType::F16);
}

TEST_CASE("elementwise: bool has + and *, no - and no negation, as in PyTorch") {
  const Tensor a = ct::tensor({true, true, false, false}),
               b = ct::tensor({true, false, true, false});
  CHECK((a + b).to_vector<bool>() == Bools{true, true, true, false});
  CHECK((a * b).to_vector<bool>() == Bools{true, false, false, false});
  CHECK((a + 1).to_vector<int64_t>() == Ints{2, 2, 1, 1});
  CHECK((a / b).dtype() == DType::F32);
  CHECK(ct::maximum(a, b).to_vector<bool>() == Bools{true, true, true, false});
  CHECK_ERROR(a - b, "sub: ", "bool");
  CHECK_ERROR(-a, "neg: ", "bool");
  CHECK_ERROR(a.pow(b), "pow: ", "bool");
}

TEST_CASE("elementwise: what is not a row of the table") {
  const Tensor x = ct::tensor({-1.0, 0.0, 2.0}), nan = ct::tensor({NAN, INFINITY, -INFINITY, 0.0});
  CHECK(x.gt(0).to_vector<bool>() == Bools{false, false, true});
  CHECK(x.ge(0).to_vector<bool>() == Bools{false, true, true});
  CHECK(ct::gt(1, x).to_vector<bool>() == Bools{true, true, false});
  CHECK(x.logical_and(true).to_vector<bool>() == Bools{true, false, true});
  CHECK(x.logical_or(x.logical_not()).to_vector<bool>() == Bools{true, true, true});
  CHECK(x.logical_xor(1).to_vector<bool>() == Bools{false, true, false});
  CHECK(nan.isnan().to_vector<bool>() == Bools{true, false, false, false});
  CHECK(nan.isinf().to_vector<bool>() == Bools{false, true, true, false});
  CHECK(nan.isfinite().to_vector<bool>() == Bools{false, false, false, true});
  CHECK(nan.logical_not().to_vector<bool>() == Bools{false, false, false, true});
  CHECK(ct::isfinite(ct::tensor({1, 2})).to_vector<bool>() == Bools{true, true});
  CHECK(x.clamp(-0.5, 1).to_vector<float>() == Floats{-0.5f, 0, 1});
  CHECK(x.clamp(x, ct::tensor({0.0, 0.0, 0.0})).to_vector<float>() == Floats{-1, 0, 0});
  CHECK(ct::where(x > 0, x, 0).to_vector<float>() == Floats{0, 0, 2});
  CHECK(ct::where(x > 0, 1, 0).dtype() == DType::I64);
  CHECK(ct::where(ct::tensor({{true}, {false}}), x, -x).to_vector<float>() ==
        Floats{-1, 0, 2, 1, 0, -2});
  CHECK(ct::tensor({4.0, 16.0}).rsqrt().to_vector<float>() == Floats{0.5f, 0.25f});
  CHECK(ct::floor(ct::tensor({3})).dtype() == DType::I64);
  CHECK(ct::sin(ct::tensor({0})).dtype() == DType::F32);
  CHECK(x.to(DType::F64).bitcast(DType::I64).to_vector<int64_t>()[2] == int64_t(1) << 62);
  CHECK_ERROR(x.bitcast(DType::F64), "bitcast: ", "f32", "f64");
  CHECK(x.astype(DType::I8).dtype() == DType::I8);
  CHECK(x.to("bfloat16").dtype() == DType::BF16);
  CHECK(x.to(DType::F32).state() == x.state());
}

TEST_CASE("elementwise: aliases are the functions they name") {
  const Tensor x = ct::tensor({0.25, 0.5}), y = ct::tensor({0.5, 0.5});
  const auto same = [](const Tensor& a, const Tensor& b) {
    return ct::test::array_of(a) == ct::test::array_of(b);
  };
  CHECK(same(ct::subtract(x, y), x - y));
  CHECK(same(ct::multiply(x, 2), x * 2));
  CHECK(same(ct::true_divide(x, y), x / y));
  CHECK(same(ct::power(x, 2), x.pow(2)));
  CHECK(same(ct::arctan2(x, y), ct::atan2(x, y)));
  CHECK(same(ct::less_equal(x, y), x <= y));
  CHECK(same(ct::not_equal(x, y), x != y));
  CHECK(same(ct::absolute(-x), x));
  CHECK(same(ct::arcsin(x), x.asin()));
  CHECK(same(ct::rint(x * 6), ct::round(x * 6)));
  CHECK(same(ct::max(ct::stack({x, y}), 0).values, ct::maximum(x, y)));
  CHECK(same(ct::expand_dims(x, 0), x.unsqueeze(0)));
  CHECK(same(ct::squeeze(x.unsqueeze(0), 0), x));
  CHECK(same(ct::clip(x, -0.5, 0.5), x.clamp(-0.5, 0.5)));
  CHECK(same(ct::clip(x, std::nullopt, 0.5), x.clamp_max(0.5)));
  CHECK(same(ct::clip(x, 0.5, std::nullopt), x.clamp_min(0.5)));
  const Tensor square = ct::outer(x, x);
  CHECK(same(ct::swapaxes(square, 0, -1), square.t()));
  CHECK(same(ct::flatten(square), square.reshape({-1})));
  CHECK(same(ct::diagonal(square), x * x));
  const std::vector<Tensor> both = {x, x};
  CHECK(same(ct::concatenate(both), ct::cat({x, x})));
  CHECK(same(ct::concat(both), ct::cat({x, x})));
}

TEST_CASE("elementwise: allclose") {
  const Tensor x = ct::tensor({1.0, 100.0}, DType::F64);
  CHECK(ct::allclose(x, x * (1 + 1e-6)));
  CHECK(!ct::allclose(x, x * (1 + 1e-4)));
  CHECK(ct::allclose(x, x * 1.05, 0.1));
  const Tensor inf = ct::tensor({INFINITY}), nan = ct::tensor({NAN});
  CHECK(ct::allclose(inf, inf));
  CHECK(!ct::allclose(inf, -inf));
  CHECK(!ct::allclose(ct::tensor({1.0}), inf));
  CHECK(!ct::allclose(nan, nan));
  CHECK(ct::allclose(ct::zeros({0}), ct::zeros({0})));
  CHECK_ERROR(ct::allclose(x, ct::zeros({3})), "[2]", "[3]");
}
