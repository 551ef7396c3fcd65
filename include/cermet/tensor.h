#pragma once
// Tensor: a lazy n-dimensional array.
//
// A Tensor is a value: copying it copies a handle, as in PyTorch. Operations record an expression;
// nothing is computed until realize(), data(), span(), item(), to_vector() or printing asks for
// elements. Everything recorded until then is compiled as one program: call cermet::realize({x, y,
// z}) to get several results out of one.
//
// Names, argument orders, dtype promotion and broadcasting are PyTorch's; NumPy's names are
// aliases. Shape and dtype mistakes are thrown by the call that makes them, as cermet::Error with
// the file and line of that call.
//
// In-place operations are recorded as well. They are carried out when the tensor is realized, and
// with any realize that they share a pending computation or borrowed memory with, directly or
// through other such operations. So a training loop may realize its loss only: the update of the
// weights, which shares the forward computation with the loss, becomes part of the same program.
// Not so where gradients flow through the operation: then the history is kept for backward(). What
// an unasked-for update throws is thrown when its own tensor is realized.
//
// An index out of range is found when elements are computed. If that is in a recorded in-place
// operation, realize() throws and the tensor is put back to what it was before that operation; what
// was recorded on top of it is lost.
//
// A GPU is not waited for: realize() gives it the work and returns. So an index out of range there
// is thrown later: by the next call of the same thread that reads elements of that GPU, or calls
// cuda::synchronize(), or by the next realize() after the GPU is done, whichever comes first, and
// it names the place of the realize() that it happened in. Then it is as if that realize() had
// thrown: its tensors are pending again, operations in place are taken back. What was recorded
// meanwhile from elements that cannot be computed throws the same error when it is realized or
// read. With CERMET_CUDA_SYNC=1 realize() itself waits and throws.
//
// Laziness and shared memory: memory borrowed with from_blob() or borrow() is read when a result is
// realized, not when the operation is recorded. After `y = t + 1; array[0] = 99;` with t borrowed
// from array, y sees 99. Take t.clone() for a snapshot; tensor(span) copies at once.

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cermet/device.h"
#include "cermet/dtype.h"
#include "cermet/error.h"
#include "cermet/shape.h"

namespace cermet {

class Tensor;

// A C++ number next to a tensor. It takes part in promotion by its kind only (bool < integer <
// float), as in PyTorch: float32 tensor * 2.0 is float32, int64 tensor * 2.0 is float32.
class Scalar {
 public:
  template <class T>
    requires std::is_arithmetic_v<T>
  Scalar(T value) {  // NOLINT: implicit on purpose
    if constexpr (std::is_same_v<T, bool>)
      value_ = value;
    else if constexpr (std::is_integral_v<T>)
      value_ = int64_t(value);
    else
      value_ = double(value);
  }
  DTypeKind kind() const {
    return value_.index() == 0   ? DTypeKind::Bool
           : value_.index() == 1 ? DTypeKind::Signed
                                 : DTypeKind::Float;
  }
  bool is_float() const { return value_.index() == 2; }
  double to_double() const;
  int64_t to_int() const;

 private:
  std::variant<bool, int64_t, double> value_;
};

// An argument that is a tensor or a number, and the place in the user's program where it was
// passed.
class Operand {
 public:
  Operand(const Tensor& tensor, SourceLocation where = SourceLocation::current());  // NOLINT
  template <class T>
    requires std::is_arithmetic_v<T>
  Operand(T value, SourceLocation at = SourceLocation::current())  // NOLINT
      : scalar_(Scalar(value)), where_(at) {}

  bool is_tensor() const { return tensor_ != nullptr; }
  // Error if it is a number.
  const Tensor& tensor() const {
    if (!tensor_) throw Error("a number where only a tensor can be", where_);
    return *tensor_;
  }
  const Scalar& scalar() const { return *scalar_; }
  const SourceLocation& where() const { return where_; }

 private:
  const Tensor* tensor_ = nullptr;
  std::optional<Scalar> scalar_;
  SourceLocation where_;
};

// An integer in x[i], and the place where it was written.
struct Position {
  int64_t value;
  SourceLocation where;
  template <std::integral T>
  Position(T i, SourceLocation at = SourceLocation::current())  // NOLINT: implicit on purpose
      : value(int64_t(i)), where(at) {}
};

// Python's start:stop:step; what is left out is nullopt.
struct Slice {
  std::optional<int64_t> start = std::nullopt, stop = std::nullopt;
  int64_t step = 1;
};
struct Ellipsis {};
struct NewAxis {};
inline constexpr Ellipsis ellipsis{};
inline constexpr NewAxis newaxis{};
class Index;  // one part of x.index({...}), at the end of this file

// Axes as an argument: 1, {0, 2}, or none for all.
class Axes {
 public:
  Axes() = default;
  Axes(int64_t axis) : list_(Dims{axis}) {}                         // NOLINT
  Axes(int axis) : Axes(int64_t(axis)) {}                           // NOLINT
  Axes(std::initializer_list<int64_t> axes) : list_(Dims(axes)) {}  // NOLINT
  Axes(const Dims& axes) : list_(axes) {}                           // NOLINT
  bool all() const { return !list_; }
  const Dims& list() const { return *list_; }

 private:
  std::optional<Dims> list_;
};

namespace runtime {
class TensorState;
}

struct ValuesAndIndices;  // auto [values, indices] = x.max(1), below

#define CERMET_HERE SourceLocation where = SourceLocation::current()

class Tensor {
 public:
  // No tensor; every function but defined() throws Error for it.
  Tensor() = default;
  Tensor(const Tensor&) = default;
  Tensor(Tensor&&) noexcept = default;
  ~Tensor() = default;
  // y = x makes y name the same tensor as x.
  Tensor& operator=(const Tensor&) & = default;
  Tensor& operator=(Tensor&&) & noexcept = default;
  // x[0] = y and x[0] = 5 write into x, as copy_ and fill_ do. Error for a temporary whose memory
  // nobody shares, as x.index({mask}) is: the elements would be lost.
  void operator=(const Operand& value) &&;  // NOLINT: what it could return dies with the statement
  bool defined() const { return state_ != nullptr; }

  // --- what it is
  const Shape& shape(CERMET_HERE) const;
  int64_t size(int64_t dim, CERMET_HERE) const;
  int64_t dim(CERMET_HERE) const;   // number of axes
  int64_t ndim(CERMET_HERE) const;  // the same, NumPy's name
  int64_t numel(CERMET_HERE) const;
  DType dtype(CERMET_HERE) const;
  Device device(CERMET_HERE) const;

  // --- elements
  // Computes the elements now and returns this tensor. What is computed once is kept. On a GPU it
  // does not wait for them; see above for when errors are thrown.
  const Tensor& realize(CERMET_HERE) const;
  // The element of a tensor with one element, converted to T.
  template <Element T>
  T item(CERMET_HERE) const;
  // A copy of the elements, row-major. T must be the tensor's dtype.
  template <Element T>
  std::vector<T> to_vector(CERMET_HERE) const;
  // The memory of the first element, after realize(). Writes through it are seen by this tensor and
  // its views when they are next realized; what was realized before keeps its elements. Elements
  // lie at strides(). Error for a tensor that requires grad (take detach() first) and for one on a
  // GPU (take cpu() first, or data_ptr()). Valid while this tensor or a view of it lives.
  template <Element T>
  T* data(CERMET_HERE) const;
  // The same as a span of numel() elements; Error if the tensor is not contiguous.
  template <Element T>
  std::span<T> span(CERMET_HERE) const;
  // The same pointer for any dtype and any device, to be handed to another library. On a GPU it is
  // an address for work on the stream that is current now (see cermet/device.h), which finds the
  // elements there; of an index out of range this call says it.
  void* data_ptr(CERMET_HERE) const;
  Strides strides(CERMET_HERE) const;  // in elements, of data()
  bool is_contiguous(CERMET_HERE) const;
  // As PyTorch prints it.
  std::string to_string(CERMET_HERE) const;
  // The pending expression as graph text (.cir): what realize() would compute.
  std::string to_cir(CERMET_HERE) const;

  // --- gradients
  bool requires_grad(CERMET_HERE) const;
  // Makes this tensor a leaf whose gradient backward() accumulates. Error for integers and for
  // results of operations that require grad already.
  Tensor& set_requires_grad(bool value = true, CERMET_HERE);
  bool is_leaf(CERMET_HERE) const;
  // The accumulated gradient of a leaf; an undefined Tensor before the first backward().
  Tensor grad(CERMET_HERE) const;
  void set_grad(const Tensor& grad, CERMET_HERE);
  // Adds the gradient of this tensor, which must have one element unless `gradient` is given, to
  // grad() of every leaf below it. A second call throws, unless the first had retain_graph.
  void backward(const Tensor& gradient = Tensor(), bool retain_graph = false, CERMET_HERE) const;
  Tensor detach(CERMET_HERE) const;  // shares memory, no gradient

  // --- views: share memory with this tensor
  Tensor operator[](const Position& i) const { return select(0, i.value, i.where); }
  // x[...] of Python. A view, unless parts are tensors: those are broadcast to one shape, which
  // takes the place of their axes if they are next to each other, and else comes first, as in
  // PyTorch. A mask is realized by the call, since it says the shape of the result.
  Tensor index(const std::vector<Index>& parts, CERMET_HERE) const;
  Tensor select(int64_t dim, int64_t i, CERMET_HERE) const;
  Tensor slice(int64_t dim, std::optional<int64_t> start, std::optional<int64_t> stop,
               int64_t step = 1, CERMET_HERE) const;
  Tensor narrow(int64_t dim, int64_t start, int64_t length, CERMET_HERE) const;
  Tensor reshape(const Shape& shape,
                 CERMET_HERE) const;  // one extent may be -1; a view if strides allow it
  Tensor view(const Shape& shape, CERMET_HERE) const;  // Error where reshape would not be a view
  Tensor flatten(int64_t start_dim = 0, int64_t end_dim = -1, CERMET_HERE) const;
  Tensor permute(const Dims& order, CERMET_HERE) const;
  Tensor transpose(int64_t dim0, int64_t dim1, CERMET_HERE) const;
  Tensor swapaxes(int64_t axis0, int64_t axis1, CERMET_HERE) const;
  Tensor t(CERMET_HERE) const;                           // of a matrix
  Tensor T(CERMET_HERE) const;                           // all axes reversed, as in NumPy
  Tensor expand(const Shape& shape, CERMET_HERE) const;  // -1 keeps an extent
  Tensor broadcast_to(const Shape& shape, CERMET_HERE) const;
  Tensor squeeze(CERMET_HERE) const;
  Tensor squeeze(int64_t dim, CERMET_HERE) const;
  Tensor unsqueeze(int64_t dim, CERMET_HERE) const;
  Tensor diagonal(int64_t offset = 0, int64_t dim1 = 0, int64_t dim2 = 1, CERMET_HERE) const;
  Tensor flip(const Axes& dims, CERMET_HERE) const;  // a new tensor, as in PyTorch
  Tensor unfold(int64_t dim, int64_t size, int64_t step, CERMET_HERE) const;

  // --- copies and conversions
  Tensor clone(CERMET_HERE) const;  // a snapshot: later writes to this tensor are not seen
  Tensor contiguous(CERMET_HERE) const;
  Tensor to(DType dtype, CERMET_HERE) const;
  // Another device: realizes the tensor and copies its elements; gradients flow back to where it
  // was. Throws DeviceError without a driver, Error if the GPU does not exist. Operands of one
  // operation must be on one device, but for numbers, and tensors without axes on the CPU.
  Tensor to(const Device& device, CERMET_HERE) const;
  Tensor to(std::string_view dtype_or_device, CERMET_HERE) const;  // "cuda:0", "float64"
  Tensor astype(DType dtype, CERMET_HERE) const { return to(dtype, where); }
  Tensor cuda(CERMET_HERE) const;
  Tensor cpu(CERMET_HERE) const;
  Tensor bitcast(DType dtype, CERMET_HERE) const;

  // --- elementwise: one method for each row of the op table; x.where(condition, y) is the
  // exception
#define CERMET_METHOD1(name) Tensor name(CERMET_HERE) const;
#define CERMET_METHOD2(name) Tensor name(const Operand& other) const;
#define CERMET_METHOD3(name)
#define OP(Enum, name, arity, ...) CERMET_METHOD##arity(name)
#include "cermet/ops.def"
#undef CERMET_METHOD1
#undef CERMET_METHOD2
#undef CERMET_METHOD3
  Tensor gt(const Operand& other) const;
  Tensor ge(const Operand& other) const;
  Tensor logical_and(const Operand& other) const;  // of any dtype: not 0 is true
  Tensor logical_or(const Operand& other) const;
  Tensor logical_xor(const Operand& other) const;
  Tensor logical_not(CERMET_HERE) const;
  Tensor isnan(CERMET_HERE) const;
  Tensor isinf(CERMET_HERE) const;
  Tensor isfinite(CERMET_HERE) const;
  // Without one of the bounds: x.clamp(std::nullopt, 5). A NaN bound gives NaN.
  Tensor clamp(const Operand& min, const Operand& max) const;
  Tensor clamp(std::nullopt_t, const Operand& max) const;
  Tensor clamp(const Operand& min, std::nullopt_t) const;
  Tensor clamp_min(const Operand& min) const;
  Tensor clamp_max(const Operand& max) const;
  Tensor square(CERMET_HERE) const;
  Tensor rsqrt(CERMET_HERE) const;
  Tensor reciprocal(CERMET_HERE) const;
  Tensor relu(CERMET_HERE) const;

  // --- reductions: over the given axes, or all. As in PyTorch, what works along an axis takes a
  // tensor of rank 0 as a line of one element, whose axis is 0 or -1.
  Tensor sum(const Axes& dim = {}, bool keepdim = false, CERMET_HERE) const;
  Tensor mean(const Axes& dim = {}, bool keepdim = false, CERMET_HERE) const;
  Tensor prod(const Axes& dim = {}, bool keepdim = false, CERMET_HERE) const;
  Tensor amax(const Axes& dim = {}, bool keepdim = false, CERMET_HERE) const;
  Tensor amin(const Axes& dim = {}, bool keepdim = false, CERMET_HERE) const;
  // Along an axis also where the extremum is, the first one of equals; the gradient goes there.
  // Over several axes, and shared between equals: amax and amin.
  Tensor max(CERMET_HERE) const;
  Tensor min(CERMET_HERE) const;
  ValuesAndIndices max(int64_t dim, bool keepdim = false, CERMET_HERE) const;
  ValuesAndIndices min(int64_t dim, bool keepdim = false, CERMET_HERE) const;
  Tensor max(const Tensor& other, CERMET_HERE) const;  // maximum
  Tensor min(const Tensor& other, CERMET_HERE) const;  // minimum
  // The lower of the two middle elements; NaN if there is one.
  Tensor median(CERMET_HERE) const;
  ValuesAndIndices median(int64_t dim, bool keepdim = false, CERMET_HERE) const;
  Tensor any(const Axes& dim = {}, bool keepdim = false, CERMET_HERE) const;
  Tensor all(const Axes& dim = {}, bool keepdim = false, CERMET_HERE) const;
  Tensor var(const Axes& dim = {}, int64_t correction = 1, bool keepdim = false, CERMET_HERE) const;
  Tensor std(const Axes& dim = {}, int64_t correction = 1, bool keepdim = false, CERMET_HERE) const;
  Tensor logsumexp(const Axes& dim, bool keepdim = false, CERMET_HERE) const;
  Tensor argmax(std::optional<int64_t> dim = std::nullopt, bool keepdim = false, CERMET_HERE) const;
  Tensor argmin(std::optional<int64_t> dim = std::nullopt, bool keepdim = false, CERMET_HERE) const;
  Tensor softmax(int64_t dim, CERMET_HERE) const;
  Tensor log_softmax(int64_t dim, CERMET_HERE) const;
  Tensor cumsum(int64_t dim, CERMET_HERE) const;
  Tensor cumprod(int64_t dim, CERMET_HERE) const;

  // --- products, gathering
  Tensor matmul(const Tensor& other, CERMET_HERE) const;
  Tensor gather(int64_t dim, const Tensor& index, CERMET_HERE) const;
  Tensor index_select(int64_t dim, const Tensor& index, CERMET_HERE) const;
  Tensor take(const Tensor& index, CERMET_HERE) const;  // of the flattened tensor
  Tensor masked_fill(const Tensor& mask, const Operand& value) const;
  Tensor masked_select(const Tensor& mask, CERMET_HERE) const;  // realizes the mask
  Tensor dot(const Tensor& other, CERMET_HERE) const;
  Tensor scatter(int64_t dim, const Tensor& index, const Operand& source) const;
  Tensor scatter_add(int64_t dim, const Tensor& index, const Tensor& source, CERMET_HERE) const;
  // Equal elements stay in their order, and NaN counts as the greatest.
  Tensor argsort(int64_t dim = -1, bool descending = false, CERMET_HERE) const;
  ValuesAndIndices sort(int64_t dim = -1, bool descending = false, CERMET_HERE) const;
  // The k greatest, or least, in order.
  ValuesAndIndices topk(int64_t k, int64_t dim = -1, bool largest = true, CERMET_HERE) const;

  // --- in place: views of this tensor and tensors that share its memory see the new elements.
  // Error on a leaf that requires grad, outside of no_grad, and where the result's kind does not
  // fit this dtype.
  Tensor& add_(const Operand& other);
  Tensor& sub_(const Operand& other);
  Tensor& mul_(const Operand& other);
  Tensor& div_(const Operand& other);
  Tensor& pow_(const Operand& other);
  Tensor& clamp_(const Operand& min, const Operand& max);
  Tensor& clamp_(std::nullopt_t, const Operand& max);
  Tensor& clamp_(const Operand& min, std::nullopt_t);
  Tensor& clamp_min_(const Operand& min);
  Tensor& clamp_max_(const Operand& max);
  Tensor& copy_(const Tensor& source, CERMET_HERE);
  Tensor& fill_(const Scalar& value, CERMET_HERE);
  Tensor& zero_(CERMET_HERE);
  Tensor& neg_(CERMET_HERE);
  Tensor& exp_(CERMET_HERE);
  Tensor& sqrt_(CERMET_HERE);
  Tensor& relu_(CERMET_HERE);
  Tensor& scatter_(int64_t dim, const Tensor& index, const Operand& source);
  Tensor& scatter_add_(int64_t dim, const Tensor& index, const Tensor& source, CERMET_HERE);
  // x[...] = value, or with accumulate x[...] += value that counts positions given twice twice.
  // Of values for one position without it, the last one stays. A mask is realized where the value
  // has an element for each position of it.
  Tensor& index_put_(const std::vector<Index>& parts, const Operand& value,
                     bool accumulate = false);
  Tensor& masked_fill_(const Tensor& mask, const Operand& value);
  Tensor& operator+=(const Operand& other) { return add_(other); }
  Tensor& operator-=(const Operand& other) { return sub_(other); }
  Tensor& operator*=(const Operand& other) { return mul_(other); }
  Tensor& operator/=(const Operand& other) { return div_(other); }

  // For the library and those who build on it (runtime/tensor_state.h).
  explicit Tensor(std::shared_ptr<runtime::TensorState> state) : state_(std::move(state)) {}
  const std::shared_ptr<runtime::TensorState>& state(CERMET_HERE) const;

 private:
  // Untyped halves of the templates above. readable() realizes; it returns the number of elements.
  size_t readable(DType dtype, const SourceLocation& where) const;
  void read(DType dtype, void* to, const SourceLocation& where) const;
  void read_item(DType dtype, void* to, const SourceLocation& where) const;
  void* pointer(DType dtype, bool contiguous, const SourceLocation& where) const;
  void* memory(std::string_view op, const SourceLocation& where) const;

  std::shared_ptr<runtime::TensorState> state_;
};

struct ValuesAndIndices {
  Tensor values, indices;  // indices: int64, along the axis that was asked for
};

// One part of x.index({...}): an integer, a slice, newaxis, ellipsis, or a tensor: positions
// (integers of any shape, counted from the end where negative) or a mask (bool).
class Index {
 public:
  using Part = std::variant<int64_t, Slice, NewAxis, Ellipsis, Tensor>;
  template <std::integral T>
    requires(!std::is_same_v<T, bool>)
  Index(T i) : part_(int64_t(i)) {}            // NOLINT: implicit on purpose
  Index(const Slice& slice) : part_(slice) {}  // NOLINT
  Index(NewAxis axis) : part_(axis) {}         // NOLINT
  Index(Ellipsis dots) : part_(dots) {}        // NOLINT
  Index(const Tensor& positions_or_mask) : part_(positions_or_mask) {}  // NOLINT
  const Part& part() const { return part_; }

 private:
  Part part_;
};

// Computes several tensors as one program.
void realize(std::span<const Tensor> tensors, CERMET_HERE);
inline void realize(std::initializer_list<Tensor> tensors, CERMET_HERE) {
  realize(std::span(tensors.begin(), tensors.size()), where);
}

template <Element T>
T Tensor::item(SourceLocation where) const {
  T out{};
  read_item(dtype_of<T>, &out, where);
  return out;
}
template <Element T>
std::vector<T> Tensor::to_vector(SourceLocation where) const {
  // Memory for the elements after they are known to exist.
  const size_t count = readable(dtype_of<T>, where);
  if constexpr (std::is_same_v<T, bool>) {
    std::vector<uint8_t> bytes(count);
    read(DType::Bool, bytes.data(), where);
    return {bytes.begin(), bytes.end()};
  } else {
    std::vector<T> out(count);
    read(dtype_of<T>, out.data(), where);
    return out;
  }
}
template <Element T>
T* Tensor::data(SourceLocation where) const {
  return static_cast<T*>(pointer(dtype_of<T>, false, where));
}
template <Element T>
std::span<T> Tensor::span(SourceLocation where) const {
  return {static_cast<T*>(pointer(dtype_of<T>, true, where)), size_t(numel(where))};
}

}  // namespace cermet
