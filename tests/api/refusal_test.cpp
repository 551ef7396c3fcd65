// Every public function, called wrongly: the error names the function as the user called it, the
// shapes or values, and the place of the call. Then every function, with operands of all kinds at
// the edge of what it may take: it gives a result or such an error, and nothing else.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <set>

#include "api/arrays.h"
#include "api/errors.h"
#include "cermet/cermet.h"
#include "ir/node.h"
#include "support/paths.h"

namespace ct = cermet;
using ct::DType;
using ct::Tensor;

namespace {

// What is wrong with how `f` is refused, or nothing. The text must begin with the function's name.
template <class F>
std::string refusal(const std::string& name, F f, const char* file, int line,
                    std::initializer_list<std::string_view> parts) {
  try {
    f();
  } catch (const ct::Error& e) {
    if (!std::string_view(e.what()).starts_with(name + ": "))
      return "`" + std::string(e.what()) + "` does not begin with " + name;
    return ct::test::wrong_with(e.what(), file, line, parts);
  }
  return "no error";
}

#define REFUSED(name, expression, ...)                                             \
  CHECK(refusal(#name, [&] { static_cast<void>(expression); }, __FILE__, __LINE__, \
                {__VA_ARGS__}) == "")

Tensor f(const ct::Shape& shape) { return ct::zeros(shape); }

const Tensor a = f({2, 3}), b = f({2, 2}), image = f({1, 1, 4, 4}), scalar = ct::tensor(1.5);
const Tensor whole = ct::tensor({{1, 2}, {3, 4}}), flags = ct::tensor({true, false}), none;
const Tensor at = ct::tensor({0, 1});

}  // namespace

// Rows of tables; clang-format has no settled opinion on them.
// clang-format off
TEST_CASE("refusal: rows of the op table") {
#define CHECK1(name)                          \
  REFUSED(name, ct::name(none), "undefined"); \
  REFUSED(name, none.name(), "undefined");
#define CHECK2(name)                                                     \
  REFUSED(name, ct::name(whole, ct::tensor({1, 2, 3})), "[2,2]", "[3]"); \
  REFUSED(name, whole.name(ct::tensor({1, 2, 3})), "[2,2]", "[3]");      \
  REFUSED(name, ct::name(none, whole), "undefined");                     \
  REFUSED(name, whole.name(none), "undefined");
#define CHECK3(name) REFUSED(name, ct::name(a > 0, a, b), "[2,3]", "[2,2]");
#define OP(Enum, name, arity, ...) CHECK##arity(name)
#include "cermet/ops.def"
#undef CHECK1
#undef CHECK2
#undef CHECK3
  REFUSED(bitwise_not, ct::bitwise_not(a), "f32");
  REFUSED(bitwise_and, a & a, "f32");
  REFUSED(left_shift, a << 1, "f32");
  REFUSED(add, a + b, "f32[2,3]", "f32[2,2]");
  REFUSED(lt, a < b, "[2,3]", "[2,2]");
  REFUSED(gt, a > b, "[2,3]", "[2,2]");
  REFUSED(ge, a >= b, "[2,3]", "[2,2]");
  REFUSED(sub, flags - flags, "bool");
  REFUSED(neg, -flags, "bool");
  REFUSED(neg, -ct::Operand(2), "number");
  REFUSED(bitwise_not, ~ct::Operand(2), "number");
  REFUSED(logical_not, !ct::Operand(2), "number");
}

TEST_CASE("refusal: elementwise functions that are no rows") {
#define X(name)                                    \
  REFUSED(name, ct::name(a, b), "[2,3]", "[2,2]"); \
  REFUSED(name, a.name(b), "[2,3]", "[2,2]");      \
  REFUSED(name, ct::name(a, none), "undefined");
  X(gt) X(ge) X(logical_and) X(logical_or) X(logical_xor)
#undef X
#define X(name)                               \
  REFUSED(name, ct::name(none), "undefined"); \
  REFUSED(name, none.name(), "undefined");
  X(logical_not) X(isnan) X(isinf) X(isfinite) X(square) X(rsqrt) X(reciprocal) X(relu)
#undef X
  REFUSED(gelu, ct::gelu(none), "undefined");
  REFUSED(silu, ct::silu(none), "undefined");
  REFUSED(softplus, ct::softplus(none), "undefined");
  REFUSED(allclose, ct::allclose(a, b), "[2,3]", "[2,2]");
  REFUSED(clamp, a.clamp(0, b), "[2,3]", "[2,2]");
  REFUSED(clamp_min, ct::clamp_min(a, b), "[2,3]", "[2,2]");
  REFUSED(clamp_max, a.clamp_max(b), "[2,3]", "[2,2]");
  REFUSED(masked_fill, a.masked_fill(a, 1), "f32[2,3]");
}

TEST_CASE("refusal: creation") {
  const int64_t huge = int64_t(1) << 40;
  REFUSED(tensor, ct::tensor({{1, 2}, {3}}), "ragged");
  REFUSED(from_blob, ct::from_blob(nullptr, {2}, DType::F32), "null");
  REFUSED(zeros, ct::zeros({-1}), "[-1]");
  REFUSED(zeros, ct::zeros({huge, huge}), "64 bits");
  REFUSED(ones, ct::ones({2, -3}), "[2,-3]");
  REFUSED(full, ct::full({-1}, 2), "[-1]");
  REFUSED(empty, ct::empty({-7}), "[-7]");
  REFUSED(zeros_like, ct::zeros_like(none), "undefined");
  REFUSED(ones_like, ct::ones_like(none), "undefined");
  REFUSED(full_like, ct::full_like(none, 1), "undefined");
  REFUSED(arange, ct::arange(0, 5, -1), "5", "-1");
  REFUSED(linspace, ct::linspace(0, 1, -2), "-2");
  REFUSED(eye, ct::eye(-2), "-2");
  REFUSED(options, ct::zeros({2}, "float33"), "'float33'");
  REFUSED(rand, ct::rand({-1}), "[-1]");
  REFUSED(rand, ct::rand({1}, DType::I32), "i32");
  REFUSED(randn, ct::randn({-1}), "[-1]");
  REFUSED(uniform, ct::uniform(ct::Key(1), {-2}, 0, 1), "[-2]");
  REFUSED(uniform, ct::uniform(ct::Key(1), {2}, 0, 1, DType::I8), "i8");
  REFUSED(randint, ct::randint(0, 2, {-1}), "[-1]");
  REFUSED(randint, ct::randint(3, 3, {1}), "[3, 3)");
  REFUSED(randperm, ct::randperm(-1), "-1");
  REFUSED(bernoulli, ct::bernoulli(whole), "i64[2,2]");
}

TEST_CASE("refusal: queries and elements") {
#define X(name) REFUSED(name, none.name(), "undefined");
  X(shape) X(dim) X(ndim) X(numel) X(dtype) X(device) X(strides) X(is_contiguous) X(to_string)
  X(to_cir) X(requires_grad) X(is_leaf) X(grad) X(detach) X(clone) X(contiguous) X(t) X(T) X(cpu)
  X(squeeze)
#undef X
  REFUSED(size, a.size(2), "axis 2");
  REFUSED(realize, none.realize(), "undefined");
  REFUSED(realize, ct::realize({a, none}), "undefined");
  REFUSED(item, a.item<float>(), "6 elements", "f32[2,3]");
  REFUSED(to_vector, a.to_vector<double>(), "f32[2,3]", "f64");
  REFUSED(data, a.data<int64_t>(), "f32[2,3]", "i64");
  REFUSED(span, a.t().span<float>(), "f32[3,2]", "contiguous()");
  REFUSED(data, f({2}).set_requires_grad().data<float>(), "detach()");
  REFUSED(set_requires_grad, Tensor(whole).set_requires_grad(), "i64[2,2]");
  REFUSED(set_grad, Tensor(a).set_grad(a), "leaf");
  REFUSED(backward, a.backward(), "f32[2,3]");
  REFUSED(to, a.to("tpu"), "'tpu'");
  REFUSED(to, none.to(DType::F64), "undefined");
  REFUSED(cuda, none.cuda(), "undefined");
  REFUSED(bitcast, a.bitcast(DType::F64), "f32", "f64");
}

TEST_CASE("refusal: views") {
  REFUSED(select, a[2], "index 2", "f32[2,3]");
  REFUSED(select, a.select(2, 0), "axis 2");
  REFUSED(index, a.index({0, 0, 0}), "3 indices", "f32[2,3]");
  REFUSED(index, a.index({3}), "index 3");
  REFUSED(slice, a.slice(0, 0, 1, 0), "0");
  REFUSED(narrow, a.narrow(1, 2, 2), "2 elements from 2");
  REFUSED(reshape, a.reshape({4}), "f32[2,3]", "[4]");
  REFUSED(reshape, ct::reshape(a, {-1, 4}), "f32[2,3]", "[-1,4]");
  REFUSED(view, a.view({4}), "f32[2,3]", "[4]");
  REFUSED(view, a.t().view({6}), "f32[3,2]", "[6]");
  REFUSED(flatten, a.flatten(2), "axis 2");
  REFUSED(permute, ct::permute(a, {0, 0}), "[0,0]", "f32[2,3]");
  REFUSED(transpose, ct::transpose(a, 0, 2), "axis 2");
  REFUSED(swapaxes, a.swapaxes(0, 2), "axis 2");
  REFUSED(t, f({2, 2, 2}).t(), "f32[2,2,2]");
  REFUSED(expand, a.expand({2, 4}), "f32[2,3]", "[2,4]");
  REFUSED(broadcast_to, ct::broadcast_to(a, {4, 3}), "f32[2,3]", "[4,3]");
  REFUSED(squeeze, ct::squeeze(none), "undefined");
  REFUSED(squeeze, a.squeeze(2), "axis 2");
  REFUSED(unsqueeze, ct::unsqueeze(a, 4), "axis 4");
  REFUSED(diagonal, a.diagonal(0, 0, 0), "axis 0");
  REFUSED(flip, ct::flip(a, {0, 0}), "axis 0", "twice");
  REFUSED(unfold, a.unfold(1, 4, 1), "4", "3");
}

TEST_CASE("refusal: reductions and scans") {
#define X(name)                                      \
  REFUSED(name, ct::name(a, 2), "axis 2", "rank 2"); \
  REFUSED(name, a.name({0, -2}), "axis 0", "twice"); \
  REFUSED(name, none.name(0), "undefined");
  X(sum) X(mean) X(prod) X(amax) X(amin) X(any) X(all) X(logsumexp) X(var) X(std)
#undef X
#define X(name)                                        \
  REFUSED(name, ct::name(a, -3), "axis -3", "rank 2"); \
  REFUSED(name, a.name(2), "axis 2", "rank 2");        \
  REFUSED(name, none.name(0), "undefined");
  X(max) X(min) X(median) X(argmax) X(argmin) X(softmax) X(log_softmax) X(cumsum) X(cumprod)
  X(argsort) X(sort)
#undef X
  REFUSED(amax, f({0}).amax(), "f32[0]");
  REFUSED(amin, f({2, 0}).amin(1), "f32[2,0]");
  REFUSED(max, f({0}).max(), "f32[0]");
  REFUSED(argmin, f({0}).argmin(), "f32[0]");
  REFUSED(topk, ct::topk(a, 4), "4 elements", "f32[2,3]");
}

TEST_CASE("refusal: products and networks") {
  REFUSED(matmul, ct::matmul(a, b), "f32[2,3]", "f32[2,2]");
  REFUSED(matmul, whole.matmul(b), "i64[2,2]", "f32[2,2]");
  REFUSED(dot, a.dot(a), "f32[2,3]");
  REFUSED(outer, ct::outer(a, a), "f32[2,3]");
  REFUSED(tensordot, ct::tensordot(a, a, 3), "3", "[2,3]");
  REFUSED(tensordot, ct::tensordot(a, b, {1}, {0}), "f32[2,3]", "f32[2,2]");
  REFUSED(conv2d, ct::conv2d(image, f({1, 2, 3, 3})), "f32[1,1,4,4]", "f32[1,2,3,3]");
  REFUSED(conv2d, ct::conv2d(image, f({1, 1, 5, 5})), "5");
  REFUSED(conv2d, ct::conv2d(image, f({1, 1, 2, 2}), ct::zeros({1}, DType::F64)), "f64[1]");
  REFUSED(max_pool2d, ct::max_pool2d(image, {5}), "[5]", "f32[1,1,4,4]");
  REFUSED(avg_pool2d, ct::avg_pool2d(a, {2}), "f32[2,3]");
  REFUSED(linear, ct::linear(a, b), "f32[2,3]", "f32[2,2]");
  REFUSED(linear, ct::linear(a, f({4, 3}), f({3})), "[2,4]", "[3]");
  REFUSED(layer_norm, ct::layer_norm(a, 1, f({2})), "[2,3]", "[2]");
  REFUSED(cross_entropy, ct::cross_entropy(a, f({3})), "[2,3]", "[3]");
  REFUSED(cross_entropy, ct::cross_entropy(a, f({2})), "f32[2", "integers");
  REFUSED(mse_loss, ct::mse_loss(a, b), "[2,3]", "[2,2]");
}

TEST_CASE("refusal: joining, taking apart, gathering") {
  REFUSED(cat, ct::cat({a, b}, 0), "f32[2,3]", "f32[2,2]");
  REFUSED(cat, ct::cat({a, a}, 2), "axis 2");
  REFUSED(stack, ct::stack({a, b}), "[2,3]", "[2,2]");
  REFUSED(stack, ct::stack({a, a}, 3), "axis 3");
  REFUSED(split, ct::split(a, 0), "0");
  REFUSED(split, ct::split(a, {1, 2}), "[1,2]", "3", "2");
  REFUSED(chunk, ct::chunk(a, 2, 2), "axis 2");
  REFUSED(pad, ct::pad(a, {1}), "[1]", "f32[2,3]");
  REFUSED(tril, ct::tril(f({3})), "f32[3]");
  REFUSED(triu, ct::triu(scalar), "f32[]");
  REFUSED(gather, a.gather(0, at), "i64[2]", "f32[2,3]");
  REFUSED(gather, ct::gather(a, 2, whole), "axis 2");
  REFUSED(index_select, ct::index_select(a, 0, whole), "i64[2,2]");
  REFUSED(take, a.take(a), "integers", "f32[2,3]");
  REFUSED(masked_select, ct::masked_select(a, a), "bool", "f32[2,3]");
  REFUSED(masked_select, a.masked_select(flags), "f32[2,3]", "bool[2]");
  REFUSED(nonzero, ct::nonzero(none), "undefined");
  REFUSED(scatter, a.scatter(0, at, 1), "i64[2]", "f32[2,3]");
  REFUSED(scatter_add, ct::scatter_add(a, 0, whole, whole), "f32", "i64");
  REFUSED(scatter_add, a.scatter_add(0, ct::zeros({9, 9}, DType::I64), f({1, 1})), "[9,9]",
          "[1,1]");
  REFUSED(one_hot, ct::one_hot(a, 3), "f32[2,3]");
}

TEST_CASE("refusal: in place") {
  Tensor x = f({2, 3}), n = ct::zeros({2}, DType::I64), leaf = f({2}).set_requires_grad();
  const Tensor wrong = f({2, 2});
#define X(name)                                   \
  REFUSED(name, x.name(wrong), "[2,3]", "[2,2]"); \
  REFUSED(name, n.name(1.5), "f32", "i64");       \
  REFUSED(name, leaf.name(2), "no_grad");
  X(add_) X(sub_) X(mul_) X(div_) X(pow_) X(clamp_min_) X(clamp_max_)
#undef X
  REFUSED(add_, x += wrong, "[2,3]", "[2,2]");
  REFUSED(clamp_, x.clamp_(0, wrong), "[2,3]", "[2,2]");
  REFUSED(copy_, x.copy_(wrong), "[2,3]", "[2,2]");
#define X(name)                          \
  REFUSED(name, leaf.name(), "no_grad"); \
  REFUSED(name, f({3}).expand({2, 3}).name(), "several");
  X(zero_) X(neg_) X(exp_) X(sqrt_) X(relu_)
#undef X
  REFUSED(fill_, leaf.fill_(1), "no_grad");
  REFUSED(scatter_, x.scatter_(2, whole, 1), "axis 2");
  REFUSED(scatter_add_, x.scatter_add_(0, whole, whole), "f32", "i64");
  REFUSED(index_put_, x.index_put_({0}, f({2})), "[2]", "[3]");
  REFUSED(index_put_, x.index_put_({7}, 1), "index 7");
  REFUSED(index_put_, x.index_put_({ct::tensor({true})}, 1), "bool[1]", "f32[2,3]");
  REFUSED(masked_fill_, x.masked_fill_(a, 1), "f32[2,3]");
}

TEST_CASE("refusal: gradients") {
  const Tensor w = ct::tensor({1.0, 2.0}).set_requires_grad(), i = ct::tensor({1});
  REFUSED(grad, ct::grad(w * 2, w), "2 elements", "f32[2]");
  REFUSED(grad, ct::grad(w.sum(), f({3})), "input 0", "f32[3]");
  REFUSED(grad, ct::grad(none, w), "undefined");
  const auto sum = [](std::span<const Tensor> in) { return in[0].sum(); };
  const auto same = [](std::span<const Tensor> in) { return in[0] * 1; };
  REFUSED(value_and_grad, ct::value_and_grad(sum, std::span(&i, 1)), "i64[1]");
  REFUSED(value_and_grad, ct::value_and_grad(same, std::span(&w, 1)), "2 elements");
  REFUSED(vjp, ct::vjp(same, std::span(&w, 1), f({3})), "f32[3]", "f32[2]");
  REFUSED(jvp, ct::jvp(same, std::span(&w, 1), {}), "0 tangents");
  REFUSED(jvp, ct::jvp(same, std::span(&w, 1), std::vector{f({3})}), "f32[3]", "f32[2]");
  REFUSED(stop_gradient, ct::stop_gradient(none), "undefined");
  const auto two = [](std::span<const Tensor>, const Tensor&, const Tensor& adjoint) {
    return std::vector{adjoint, adjoint};
  };
  const Tensor odd = ct::custom_gradient(same, two, std::span(&w, 1)).sum();
  REFUSED(backward, odd.backward(), "custom_gradient", "2 adjoints");
  REFUSED(custom_gradient, ct::custom_gradient(same, two, std::span(&none, 1)), "undefined");
  REFUSED(checkpoint, ct::checkpoint(same, std::span(&none, 1)), "undefined");
  // What the user's own function does wrong is told where it does so.
  const auto wrong = [](std::span<const Tensor> in) { return (in[0] + f({3})).sum(); };
  REFUSED(add, ct::value_and_grad(wrong, std::span(&w, 1)), "[2]", "[3]");
  REFUSED(backward, (w * w).sum().detach().backward(), "requires grad");
}

// clang-format on
namespace {

// The names that a pattern finds in a file of the source tree.
std::set<std::string> names_in(const std::filesystem::path& file, const std::regex& pattern) {
  std::ifstream in(ct::test::source_dir() / file);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  std::set<std::string> out;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at)
    out.insert((*at)[1]);
  return out;
}

}  // namespace

TEST_CASE("refusal: every public function is refused something above") {
  // A declaration that takes an Operand, or the place of the call.
  const std::regex declaration(
      R"((?:Tensor|Tensor&|ValuesAndIndices|bool|>|void|int64_t|DType|Device|Strides|Shape&|string)"
      R"(|T|T\*)\s+(\w+)\(([^;{]*(?:CERMET_HERE|Operand)[^;{]*)\))");
  std::set<std::string> names;
  for (const char* header : {"tensor.h", "ops.h", "grad.h", "random.h"})
    names.merge(names_in(std::filesystem::path("include/cermet") / header, declaration));
  CHECK(names.size() > 120);
  // Not the parameters of macros, aliases (whose errors name what they stand for), and what cannot
  // be refused.
  for (const char* name : {"name", "alias", "Options", "astype", "clip", "expand_dims", "concat",
                           "concatenate", "borrow"})
    names.erase(name);
  const std::set<std::string> rows =
      names_in("tests/api/refusal_test.cpp", std::regex(R"((?:REFUSED|X)\((\w+)[,)])"));
  std::vector<std::string> missing;
  std::ranges::set_difference(names, rows, std::back_inserter(missing));
  CHECK(missing == std::vector<std::string>{});
}

namespace {

struct Call {
  std::string name;
  std::string_view file;  // where it is written
  std::function<std::vector<Tensor>(const Tensor& x, const Tensor& y)> build;
};

std::vector<Tensor> list(const Tensor& t) { return {t}; }
std::vector<Tensor> list(const ct::ValuesAndIndices& pair) { return {pair.values, pair.indices}; }
std::vector<Tensor> list(std::vector<Tensor> tensors) { return tensors; }

// clang-format off
const std::vector<Call>& calls() {
  static const std::vector<Call> table = {
#define CALL(name, expression)                                                            \
  {#name, __FILE__, [](const Tensor& x, [[maybe_unused]] const Tensor& y) -> std::vector<Tensor> { \
     return list(expression);                                                             \
   }},
#define CALL1(name) CALL(name, x.name())
#define CALL2(name) CALL(name, x.name(y)) CALL(name, ct::name(x, 2))
#define CALL3(name) CALL(name, ct::name(x, x, y))
#define OP(Enum, name, arity, ...) CALL##arity(name)
#include "cermet/ops.def"
#undef CALL3
      CALL2(gt) CALL2(ge) CALL2(logical_and) CALL2(logical_or) CALL2(logical_xor)
      CALL1(logical_not) CALL1(isnan) CALL1(isinf) CALL1(isfinite) CALL1(square) CALL1(rsqrt)
      CALL1(reciprocal) CALL1(relu) CALL(gelu, ct::gelu(x)) CALL(silu, ct::silu(x))
      CALL(softplus, ct::softplus(x)) CALL(clamp, x.clamp(0, y)) CALL2(clamp_min) CALL2(clamp_max)
#define X(name)                                                             \
  CALL(name, x.name()) CALL(name, x.name(0)) CALL(name, x.name(-1, true)) \
  CALL(name, x.name(1))
      X(sum) X(mean) X(prod) X(amax) X(amin) X(any) X(all) X(max) X(min) X(median) X(argmax)
      X(argmin)
#undef X
      CALL(sum, x.sum({0, 1})) CALL(var, x.var()) CALL(var, x.var(0)) CALL(std, x.std(-1))
      CALL(logsumexp, x.logsumexp(0))
#define X(name) CALL(name, x.name(0)) CALL(name, x.name(-1)) CALL(name, x.name(1))
      X(softmax) X(log_softmax) X(cumsum) X(cumprod) X(argsort) X(sort) X(squeeze) X(unsqueeze)
      X(flip)
#undef X
      CALL(topk, x.topk(0)) CALL(topk, x.topk(1, 0, false)) CALL(select, x[0])
      CALL(slice, x.slice(0, 1, -1)) CALL(narrow, x.narrow(0, 0, 1)) CALL(reshape, x.reshape({-1}))
      CALL(reshape, x.reshape({0, -1})) CALL(view, x.view({3, 2})) CALL1(flatten) CALL1(t) CALL1(T)
      CALL(transpose, x.transpose(0, 1)) CALL(expand, x.expand({2, 3})) CALL1(squeeze)
      CALL(broadcast_to, x.broadcast_to({2, 2, 3})) CALL(diagonal, x.diagonal(1))
      CALL(unfold, x.unfold(0, 1, 1)) CALL1(clone) CALL1(contiguous) CALL(to, x.to(DType::I8))
      CALL(bitcast, x.bitcast(DType::I32)) CALL(matmul, x.matmul(y)) CALL(dot, x.dot(y))
      CALL(outer, ct::outer(x, y))
      CALL(tensordot, ct::tensordot(x, y, 1)) CALL(cat, ct::cat({x, y}))
      CALL(cat, ct::cat({x, x}, -1))
      CALL(stack, ct::stack({x, y})) CALL(split, ct::split(x, 1)) CALL(chunk, ct::chunk(x, 2))
      CALL(pad, ct::pad(x, {1, 1})) CALL(tril, ct::tril(x)) CALL(triu, ct::triu(x, 1))
      CALL(gather, x.gather(0, y)) CALL(gather, x.gather(-1, x.to(DType::I64) * 0))
      CALL(index_select, x.index_select(0, ct::tensor({0}))) CALL(take, x.take(y))
      CALL(take, x.take(ct::zeros({0}, DType::I64))) CALL(masked_fill, x.masked_fill(x > 0, 1))
      CALL(masked_select, x.masked_select(x > 0)) CALL(nonzero, ct::nonzero(x))
      CALL(scatter, x.scatter(0, y, 1)) CALL(scatter, x.scatter(0, x.to(DType::I64) * 0, 1))
      CALL(scatter_add, x.scatter_add(0, x.to(DType::I64) * 0, x)) CALL(one_hot, ct::one_hot(x, 3))
      CALL(index, x.index({y})) CALL(index, x.index({x > 0}))
      CALL(index, x.index({0, ct::tensor({0})}))
      CALL(index, x.index({ct::tensor({0}), ct::tensor({{0}, {0}})}))
      CALL(conv2d, ct::conv2d(x, y)) CALL(max_pool2d, ct::max_pool2d(x, {2}))
      CALL(avg_pool2d, ct::avg_pool2d(x, {2})) CALL(linear, ct::linear(x, y))
      CALL(layer_norm, ct::layer_norm(x, 1)) CALL(cross_entropy, ct::cross_entropy(x, y))
      CALL(mse_loss, ct::mse_loss(x, y)) CALL(zeros_like, ct::zeros_like(x))
      CALL(bernoulli, ct::bernoulli(x))
#define X(name) CALL(name, x.clone().name(y))
      X(add_) X(sub_) X(mul_) X(div_) X(pow_) X(clamp_min_) X(clamp_max_) X(copy_)
#undef X
#define X(name) CALL(name, x.clone().name())
      X(zero_) X(neg_) X(exp_) X(sqrt_) X(relu_)
#undef X
      CALL(scatter_, x.clone().scatter_(0, y, 1)) CALL(fill_, x.clone().fill_(2.5))
      CALL(index_put_, x.clone().index_put_({0}, y))
      CALL(index_put_, x.clone().index_put_({x > 0}, 1))
      CALL(index_put_, x.clone().index_put_({y}, 1, true))
      CALL(masked_fill_, x.clone().masked_fill_(x > 0, y))
#undef CALL
#undef CALL1
#undef CALL2
  };
  return table;
}
// clang-format on

// Builds the call's results and computes them where `compute`. What may happen: they exist, with
// elements; or the call is refused in its own name; or an index is out of range.
std::string outcome(const Call& call, const Tensor& x, const Tensor& y, bool compute) {
  std::vector<Tensor> results;
  try {
    results = call.build(x, y);
  } catch (const ct::Error& e) {
    const std::string_view text = e.what();
    if (text.find("index ") != text.npos && text.find("out of range for an axis") != text.npos)
      return {};  // of a mask, which was computed
    if (!text.starts_with(call.name + ": ")) return "not refused by name: " + std::string(text);
    return text.find(call.file) == text.npos ? "refused elsewhere: " + std::string(text) : "";
  } catch (const std::exception& e) {
    return std::string("not an Error: ") + e.what();
  }
  try {
    if (compute)
      for (const Tensor& t : results) ct::test::array_of(t);
  } catch (const ct::Error& e) {
    return std::string_view(e.what()).find("index ") == std::string_view::npos ? e.what() : "";
  } catch (const std::exception& e) {
    return std::string("not an Error: ") + e.what();
  }
  return {};
}

}  // namespace

TEST_CASE("refusal: operands of every kind give a result or an error with the name of the call") {
  std::vector<Tensor> operands;
  for (const ct::Shape& shape : {ct::Shape{}, {0}, {1}, {3}, {0, 3}, {2, 0}, {2, 3}, {1, 1, 4, 4}})
    operands.push_back((ct::ones(shape) * 1.5).realize());
  for (DType dtype : {DType::Bool, DType::I64, DType::U8, DType::F16, DType::F64})
    for (const ct::Shape& shape : {ct::Shape{}, {0}, {2, 3}})
      operands.push_back(ct::ones(shape, dtype).realize());
  for (const Call& call : calls())
    for (const Tensor& x : operands)
      for (const Tensor& y : operands) {
        const bool same = x.state() == y.state();
        INFO(call.name << " of " << ct::ir::type_string(x.dtype(), x.shape()) << " and "
                       << ct::ir::type_string(y.dtype(), y.shape()));
        const bool compute = same && (x.dtype() == DType::F32 || x.dtype() == DType::Bool);
        const std::string wrong = outcome(call, x, y, compute);
        if (!wrong.empty()) FAIL_CHECK(wrong);
      }
}
