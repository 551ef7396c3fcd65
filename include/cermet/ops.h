#pragma once
// Functions of tensors. Each throws Error at the call for shapes and dtypes that do not fit;
// results are lazy. Where a name has two spellings, PyTorch's comes first and NumPy's is the alias,
// whose errors name the function that it stands for.

#include <string_view>
#include <type_traits>

#include "cermet/tensor.h"

namespace cermet {

// --- creation. The dtype of floating point results is float32 unless given.
struct Options {
  std::optional<DType> dtype = std::nullopt;
  Device device = {};
  Options() = default;
  Options(DType type) : dtype(type) {}                     // NOLINT
  Options(const Device& where) : device(where) {}          // NOLINT
  Options(std::string_view dtype_or_device, CERMET_HERE);  // NOLINT: "float64", "cuda:0"
  template <size_t N>
  Options(const char (&dtype_or_device)[N], CERMET_HERE)  // NOLINT
      : Options(std::string_view(dtype_or_device), where) {}
};

// Nested lists of numbers: tensor({{1, 2}, {3, 4}}). Whole numbers give int64, numbers with a point
// float32, true and false bool; one number with a point makes all float32. Ragged lists are an
// Error.
class NestedList {
 public:
  template <class T>
    requires std::is_arithmetic_v<T>
  NestedList(T value) : scalar_(Scalar(value)) {}                                      // NOLINT
  NestedList(std::initializer_list<NestedList> list) : list_(list), is_list_(true) {}  // NOLINT
  bool is_list() const { return is_list_; }
  const Scalar& scalar() const { return scalar_; }
  const std::vector<NestedList>& list() const { return list_; }

 private:
  Scalar scalar_ = 0;
  std::vector<NestedList> list_;
  bool is_list_ = false;
};
Tensor tensor(std::initializer_list<NestedList> list, const Options& options = {}, CERMET_HERE);
Tensor tensor(const Scalar& value, const Options& options = {}, CERMET_HERE);
// A copy of elements in memory, row-major; taken before the call returns. They are converted if the
// options name another dtype.
Tensor tensor(std::span<const std::byte> bytes, DType dtype, const Shape& shape,
              const Options& options, CERMET_HERE);
inline Tensor tensor(std::span<const std::byte> bytes, DType dtype, const Shape& shape,
                     CERMET_HERE) {
  return tensor(bytes, dtype, shape, Options(), where);
}
template <class T, size_t N>
  requires Element<std::remove_const_t<T>>
Tensor tensor(std::span<T, N> elements, const Shape& shape, const Options& options, CERMET_HERE) {
  return tensor(std::as_bytes(elements), dtype_of<std::remove_const_t<T>>, shape, options, where);
}
template <class T, size_t N>
  requires Element<std::remove_const_t<T>>
Tensor tensor(std::span<T, N> elements, const Shape& shape, CERMET_HERE) {
  return tensor(elements, shape, Options(), where);
}
template <class T, size_t N>
  requires Element<std::remove_const_t<T>>
Tensor tensor(std::span<T, N> elements, CERMET_HERE) {
  return tensor(elements, {int64_t(elements.size())}, where);
}
template <Element T>
Tensor tensor(const std::vector<T>& elements, const Shape& shape, const Options& options,
              CERMET_HERE) {
  return tensor(std::span(elements), shape, options, where);
}
template <Element T>
Tensor tensor(const std::vector<T>& elements, const Shape& shape, CERMET_HERE) {
  return tensor(std::span(elements), shape, where);
}
template <Element T>
Tensor tensor(const std::vector<T>& elements, CERMET_HERE) {
  return tensor(std::span(elements), where);
}
Tensor tensor(const std::vector<bool>& elements, CERMET_HERE);
// Memory of the caller, shared both ways and read at realize (see tensor.h). `data` is the element
// at index 0; strides count elements, may be negative, and are row-major if empty. `deleter` runs
// when the memory is no longer used.
Tensor from_blob(void* data, const Shape& shape, DType dtype, const Strides& strides = {},
                 std::function<void()> deleter = {}, CERMET_HERE);
// The same for memory of any device, as other libraries allocate it. On a GPU it is used by work on
// the streams that are current when results are realized, and those wait for the one that is
// current now (see cermet/device.h); the deleter runs when that work is done. Error if the pointer
// is not memory of that device. Elements that do not lie at a multiple of 16 bytes are copied
// before kernels read them.
Tensor from_blob(void* data, const Shape& shape, DType dtype, const Device& device,
                 const Strides& strides = {}, std::function<void()> deleter = {}, CERMET_HERE);
template <Element T, size_t N>
Tensor borrow(std::span<T, N> elements, CERMET_HERE) {
  return from_blob(elements.data(), {int64_t(elements.size())}, dtype_of<T>, {}, {}, where);
}
template <Element T>
Tensor borrow(std::vector<T>& elements, CERMET_HERE) {
  return borrow(std::span(elements), where);
}

Tensor zeros(const Shape& shape, const Options& options = {}, CERMET_HERE);
Tensor ones(const Shape& shape, const Options& options = {}, CERMET_HERE);
Tensor full(const Shape& shape, const Scalar& value, const Options& options = {}, CERMET_HERE);
Tensor empty(const Shape& shape, const Options& options = {},
             CERMET_HERE);  // zeros, as it costs nothing more
Tensor zeros_like(const Tensor& x, CERMET_HERE);
Tensor ones_like(const Tensor& x, CERMET_HERE);
Tensor full_like(const Tensor& x, const Scalar& value, CERMET_HERE);
// start, start + step, ... below end. int64 if all three are whole numbers.
Tensor arange(const Scalar& end, const Options& options = {}, CERMET_HERE);
Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step = 1,
              const Options& options = {}, CERMET_HERE);
Tensor linspace(const Scalar& start, const Scalar& end, int64_t steps, const Options& options = {},
                CERMET_HERE);
Tensor eye(int64_t n, std::optional<int64_t> m = std::nullopt, const Options& options = {},
           CERMET_HERE);

// --- elementwise: one function for each row of the op table
#define CERMET_FUNCTION1(name) Tensor name(const Tensor& x, CERMET_HERE);
#define CERMET_FUNCTION2(name) Tensor name(const Operand& x, const Operand& y);
#define CERMET_FUNCTION3(name) Tensor name(const Operand& x, const Operand& y, const Operand& z);
#define OP(Enum, name, arity, ...) CERMET_FUNCTION##arity(name)
#include "cermet/ops.def"
#undef CERMET_FUNCTION1
#undef CERMET_FUNCTION2
#undef CERMET_FUNCTION3

Tensor gt(const Operand& x, const Operand& y);
Tensor ge(const Operand& x, const Operand& y);
Tensor logical_and(const Operand& x, const Operand& y);  // of any dtype: not 0 is true
Tensor logical_or(const Operand& x, const Operand& y);
Tensor logical_xor(const Operand& x, const Operand& y);
Tensor logical_not(const Tensor& x, CERMET_HERE);
Tensor isnan(const Tensor& x, CERMET_HERE);
Tensor isinf(const Tensor& x, CERMET_HERE);
Tensor isfinite(const Tensor& x, CERMET_HERE);
// Whether all elements are near: |x - y| <= atol + rtol * |y|, and equal where infinite. NaN is
// near nothing. Realizes both.
bool allclose(const Tensor& x, const Tensor& y, double rtol = 1e-5, double atol = 1e-8,
              CERMET_HERE);
Tensor clamp(const Tensor& x, const Operand& min, const Operand& max);
Tensor clamp(const Tensor& x, std::nullopt_t, const Operand& max);
Tensor clamp(const Tensor& x, const Operand& min, std::nullopt_t);
Tensor clamp_min(const Tensor& x, const Operand& min);
Tensor clamp_max(const Tensor& x, const Operand& max);
inline Tensor clip(const Tensor& x, const Operand& min, const Operand& max) {
  return clamp(x, min, max);
}
inline Tensor clip(const Tensor& x, std::nullopt_t, const Operand& max) {
  return clamp(x, std::nullopt, max);
}
inline Tensor clip(const Tensor& x, const Operand& min, std::nullopt_t) {
  return clamp(x, min, std::nullopt);
}
Tensor square(const Tensor& x, CERMET_HERE);
Tensor rsqrt(const Tensor& x, CERMET_HERE);
Tensor reciprocal(const Tensor& x, CERMET_HERE);
Tensor relu(const Tensor& x, CERMET_HERE);  // where(x < 0, 0, x): NaN stays
Tensor gelu(const Tensor& x, bool tanh_approximation = false,
            CERMET_HERE);  // Hendrycks and Gimpel, 2016
Tensor silu(const Tensor& x, CERMET_HERE);
Tensor softplus(const Tensor& x, CERMET_HERE);

Tensor operator-(const Operand& x);
Tensor operator~(const Operand& x);
Tensor operator!(const Operand& x);
// clang-format off
#define CERMET_OPERATORS(X)                                                     \
  X(+, add) X(-, sub) X(*, mul) X(/, div) X(%, remainder)                       \
  X(&, bitwise_and) X(|, bitwise_or) X(^, bitwise_xor)                          \
  X(<<, left_shift) X(>>, right_shift)                                          \
  X(<, lt) X(<=, le) X(>, gt) X(>=, ge) X(==, eq) X(!=, ne)
// NumPy's names, and PyTorch's longer ones.
#define CERMET_ALIASES2(X)                                                      \
  X(subtract, sub) X(multiply, mul) X(divide, div) X(true_divide, div)          \
  X(power, pow) X(arctan2, atan2) X(mod, remainder)                             \
  X(equal, eq) X(not_equal, ne) X(less, lt) X(less_equal, le) X(greater, gt)    \
  X(greater_equal, ge)                                                          \
  X(bitwise_left_shift, left_shift) X(bitwise_right_shift, right_shift)
#define CERMET_ALIASES1(X)                                                      \
  X(negative, neg) X(absolute, abs) X(arcsin, asin) X(arccos, acos)             \
  X(arctan, atan) X(arcsinh, asinh) X(arccosh, acosh) X(arctanh, atanh)         \
  X(invert, bitwise_not) X(rint, round)
// clang-format on
#define X(symbol, name) \
  inline Tensor operator symbol(const Operand& x, const Operand& y) { return name(x, y); }
CERMET_OPERATORS(X)
#undef X
#define X(alias, name) \
  inline Tensor alias(const Operand& x, const Operand& y) { return name(x, y); }
CERMET_ALIASES2(X)
#undef X
#define X(alias, name) \
  inline Tensor alias(const Tensor& x, CERMET_HERE) { return name(x, where); }
CERMET_ALIASES1(X)
#undef X
#undef CERMET_OPERATORS
#undef CERMET_ALIASES2
#undef CERMET_ALIASES1

// --- reductions: as the methods
#define CERMET_REDUCTIONS(X) X(sum) X(mean) X(prod) X(amax) X(amin) X(any) X(all) X(logsumexp)
#define X(name)                                                                                  \
  inline Tensor name(const Tensor& x, const Axes& dim = {}, bool keepdim = false, CERMET_HERE) { \
    return x.name(dim, keepdim, where);                                                          \
  }
CERMET_REDUCTIONS(X)
#undef X
#undef CERMET_REDUCTIONS
#define CERMET_SELECTIONS(X) X(max) X(min) X(median)
#define X(name)                                                                                   \
  inline Tensor name(const Tensor& x, CERMET_HERE) { return x.name(where); }                      \
  inline ValuesAndIndices name(const Tensor& x, int64_t dim, bool keepdim = false, CERMET_HERE) { \
    return x.name(dim, keepdim, where);                                                           \
  }
CERMET_SELECTIONS(X)
#undef X
#undef CERMET_SELECTIONS
inline Tensor max(const Tensor& x, const Tensor& other, CERMET_HERE) { return x.max(other, where); }
inline Tensor min(const Tensor& x, const Tensor& other, CERMET_HERE) { return x.min(other, where); }
inline Tensor var(const Tensor& x, const Axes& dim = {}, int64_t correction = 1,
                  bool keepdim = false, CERMET_HERE) {
  return x.var(dim, correction, keepdim, where);
}
inline Tensor std(const Tensor& x, const Axes& dim = {}, int64_t correction = 1,
                  bool keepdim = false, CERMET_HERE) {
  return x.std(dim, correction, keepdim, where);
}
inline Tensor argmax(const Tensor& x, std::optional<int64_t> dim = std::nullopt,
                     bool keepdim = false, CERMET_HERE) {
  return x.argmax(dim, keepdim, where);
}
inline Tensor argmin(const Tensor& x, std::optional<int64_t> dim = std::nullopt,
                     bool keepdim = false, CERMET_HERE) {
  return x.argmin(dim, keepdim, where);
}
inline Tensor softmax(const Tensor& x, int64_t dim, CERMET_HERE) { return x.softmax(dim, where); }
inline Tensor log_softmax(const Tensor& x, int64_t dim, CERMET_HERE) {
  return x.log_softmax(dim, where);
}
inline Tensor cumsum(const Tensor& x, int64_t dim, CERMET_HERE) { return x.cumsum(dim, where); }
inline Tensor cumprod(const Tensor& x, int64_t dim, CERMET_HERE) { return x.cumprod(dim, where); }

// --- products
Tensor matmul(const Tensor& a, const Tensor& b,
              CERMET_HERE);  // vectors, matrices, broadcast batches
Tensor dot(const Tensor& a, const Tensor& b,
           CERMET_HERE);  // NumPy's rule: sums over a's last and b's last but one axis
Tensor outer(const Tensor& a, const Tensor& b, CERMET_HERE);  // of vectors
Tensor tensordot(const Tensor& a, const Tensor& b, int64_t dims = 2, CERMET_HERE);
Tensor tensordot(const Tensor& a, const Tensor& b, const Dims& dims_a, const Dims& dims_b,
                 CERMET_HERE);

// --- putting together and taking apart
Tensor cat(std::span<const Tensor> tensors, int64_t dim = 0, CERMET_HERE);
Tensor stack(std::span<const Tensor> tensors, int64_t dim = 0, CERMET_HERE);
inline Tensor cat(std::initializer_list<Tensor> tensors, int64_t dim = 0, CERMET_HERE) {
  return cat(std::span(tensors.begin(), tensors.size()), dim, where);
}
inline Tensor stack(std::initializer_list<Tensor> tensors, int64_t dim = 0, CERMET_HERE) {
  return stack(std::span(tensors.begin(), tensors.size()), dim, where);
}
inline Tensor concat(std::span<const Tensor> tensors, int64_t dim = 0, CERMET_HERE) {
  return cat(tensors, dim, where);
}
inline Tensor concatenate(std::span<const Tensor> tensors, int64_t axis = 0, CERMET_HERE) {
  return cat(tensors, axis, where);
}
inline Tensor concat(std::initializer_list<Tensor> tensors, int64_t dim = 0, CERMET_HERE) {
  return cat(tensors, dim, where);
}
inline Tensor concatenate(std::initializer_list<Tensor> tensors, int64_t axis = 0, CERMET_HERE) {
  return cat(tensors, axis, where);
}
std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t dim = 0, CERMET_HERE);
std::vector<Tensor> split(const Tensor& x, const Dims& sizes, int64_t dim = 0, CERMET_HERE);
std::vector<Tensor> chunk(const Tensor& x, int64_t chunks, int64_t dim = 0, CERMET_HERE);

// --- views, padding, selecting
inline Tensor reshape(const Tensor& x, const Shape& shape, CERMET_HERE) {
  return x.reshape(shape, where);
}
inline Tensor permute(const Tensor& x, const Dims& order, CERMET_HERE) {
  return x.permute(order, where);
}
inline Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1, CERMET_HERE) {
  return x.transpose(dim0, dim1, where);
}
inline Tensor swapaxes(const Tensor& x, int64_t axis0, int64_t axis1, CERMET_HERE) {
  return x.swapaxes(axis0, axis1, where);
}
inline Tensor flatten(const Tensor& x, int64_t start_dim = 0, int64_t end_dim = -1, CERMET_HERE) {
  return x.flatten(start_dim, end_dim, where);
}
inline Tensor diagonal(const Tensor& x, int64_t offset = 0, int64_t dim1 = 0, int64_t dim2 = 1,
                       CERMET_HERE) {
  return x.diagonal(offset, dim1, dim2, where);
}
inline Tensor squeeze(const Tensor& x, CERMET_HERE) { return x.squeeze(where); }
inline Tensor squeeze(const Tensor& x, int64_t dim, CERMET_HERE) { return x.squeeze(dim, where); }
inline Tensor unsqueeze(const Tensor& x, int64_t dim, CERMET_HERE) {
  return x.unsqueeze(dim, where);
}
inline Tensor expand_dims(const Tensor& x, int64_t axis, CERMET_HERE) {
  return x.unsqueeze(axis, where);
}
inline Tensor broadcast_to(const Tensor& x, const Shape& shape, CERMET_HERE) {
  return x.broadcast_to(shape, where);
}
inline Tensor flip(const Tensor& x, const Axes& dims, CERMET_HERE) { return x.flip(dims, where); }
// (before, after) for each axis, from the last one backwards, as in PyTorch; negative counts cut
// off.
Tensor pad(const Tensor& x, const Dims& padding, const Scalar& value = 0, CERMET_HERE);
Tensor tril(const Tensor& x, int64_t diagonal = 0, CERMET_HERE);
Tensor triu(const Tensor& x, int64_t diagonal = 0, CERMET_HERE);
Tensor gather(const Tensor& x, int64_t dim, const Tensor& index, CERMET_HERE);
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index, CERMET_HERE);
Tensor take(const Tensor& x, const Tensor& index, CERMET_HERE);
Tensor masked_fill(const Tensor& x, const Tensor& mask, const Operand& value);
Tensor masked_select(const Tensor& x, const Tensor& mask, CERMET_HERE);  // realizes the mask
Tensor nonzero(const Tensor& x, CERMET_HERE);  // int64 [count, rank], row-major; realizes x
Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Operand& source);
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                   CERMET_HERE);
Tensor one_hot(const Tensor& x, int64_t classes,
               CERMET_HERE);  // int64 [..., classes]; x must be in [0, classes)
Tensor argsort(const Tensor& x, int64_t dim = -1, bool descending = false, CERMET_HERE);
ValuesAndIndices sort(const Tensor& x, int64_t dim = -1, bool descending = false, CERMET_HERE);
ValuesAndIndices topk(const Tensor& x, int64_t k, int64_t dim = -1, bool largest = true,
                      CERMET_HERE);

// --- neural networks
// x [N,C,H,W] with weight [O,C/groups,kh,kw] -> [N,O,H',W']; bias [O] or undefined.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = Tensor(),
              const Dims& stride = {1, 1}, const Dims& padding = {0, 0},
              const Dims& dilation = {1, 1}, int64_t groups = 1, CERMET_HERE);
// stride defaults to the window. Padding counts as -infinity for max, and as 0 for avg (counted in
// the mean, as in PyTorch).
Tensor max_pool2d(const Tensor& x, const Dims& window, const Dims& stride = {},
                  const Dims& padding = {0, 0}, CERMET_HERE);
Tensor avg_pool2d(const Tensor& x, const Dims& window, const Dims& stride = {},
                  const Dims& padding = {0, 0}, CERMET_HERE);
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = Tensor(),
              CERMET_HERE);  // x @ weight.T + bias
Tensor layer_norm(const Tensor& x, int64_t axes, const Tensor& weight = Tensor(),
                  const Tensor& bias = Tensor(), double eps = 1e-5,
                  CERMET_HERE);  // over the last `axes` axes
// Mean over the batch of -log_softmax(logits)[target]; logits [N,C], target int64 [N].
Tensor cross_entropy(const Tensor& logits, const Tensor& target, CERMET_HERE);
Tensor mse_loss(const Tensor& x, const Tensor& target, CERMET_HERE);

}  // namespace cermet
