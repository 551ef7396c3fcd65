// Tensors from numbers and from memory.

#include <cmath>
#include <cstring>

#include "ir/element.h"
#include "runtime/api.h"
#include "runtime/engine.h"
#include "runtime/gpu_engine.h"

namespace cermet {

using runtime::called;
using runtime::created_on;

Options::Options(std::string_view text, SourceLocation where) {
  dtype = parse_dtype(text);
  if (dtype) return;
  if (text.starts_with("cpu") || text.starts_with("cuda"))
    device = Device::parse(text, where);
  else
    throw Error(fmt::format("options: '{}' is no dtype, and neither cpu nor cuda nor cuda:N", text),
                where);
}

namespace {

// A tensor with a buffer of its own that `fill` writes.
template <class F>
Tensor filled(DType dtype, const Shape& shape, F fill) {
  const auto count = checked_numel(shape);
  if (!count)
    throw Error(
        fmt::format("tensor: shape {} has more elements than fit in 64 bits", to_string(shape)));
  runtime::Buffer buffer = runtime::default_engine().allocator().allocate(dtype, shape);
  fill(buffer.data());
  auto storage = std::make_shared<const runtime::BufferStorage>(std::move(buffer));
  return runtime::make_tensor(ir::data(std::move(storage), dtype, shape));
}

// The shape of nested lists; Error where two lists of one level differ.
void measure(const NestedList& list, size_t depth, Shape& shape, std::vector<const Scalar*>& leaves,
             bool first) {
  if (!list.is_list()) {
    if (!first && depth != shape.size())
      throw Error("tensor: the lists are ragged: a number where others have a list");
    leaves.push_back(&list.scalar());
    return;
  }
  const int64_t size = int64_t(list.list().size());
  if (first) {
    shape.push_back(size);
  } else if (depth >= shape.size() || shape[depth] != size) {
    throw Error(fmt::format("tensor: the lists are ragged: {} elements where others have {}", size,
                            depth < shape.size() ? std::to_string(shape[depth]) : "a number"));
  }
  for (size_t i = 0; i < list.list().size(); ++i)
    measure(list.list()[i], depth + 1, shape, leaves, first && i == 0);
}

DType natural_dtype(std::span<const Scalar* const> leaves) {
  if (leaves.empty()) return DType::F32;
  DTypeKind kind = DTypeKind::Bool;
  for (const Scalar* s : leaves) kind = std::max(kind, s->kind());
  return kind == DTypeKind::Bool ? DType::Bool : kind == DTypeKind::Float ? DType::F32 : DType::I64;
}

uint64_t bits_of(DType dtype, const Scalar& value) {
  return value.is_float() ? ir::element_bits(dtype, value.to_double())
                          : ir::element_bits(dtype, value.to_int());
}

Tensor from_leaves(std::span<const Scalar* const> leaves, const Shape& shape,
                   const Options& options) {
  const DType dtype = options.dtype.value_or(natural_dtype(leaves));
  const Tensor host = filled(dtype, shape, [&](void* to) {
    for (size_t i = 0; i < leaves.size(); ++i)
      ir::store_bits(dtype, to, int64_t(i), bits_of(dtype, *leaves[i]));
  });
  return host.to(options.device);
}

ir::Value constant_of(const Scalar& value, DType dtype, const Shape& shape) {
  return ir::constant_bits(dtype, shape, bits_of(dtype, value));
}

}  // namespace

Tensor tensor(std::initializer_list<NestedList> list, const Options& options,
              SourceLocation where) {
  return called("tensor", where, [&] {
    Shape shape;
    std::vector<const Scalar*> leaves;
    const NestedList nested(list);
    measure(nested, 0, shape, leaves, true);
    return from_leaves(leaves, shape, options);
  });
}

Tensor tensor(const Scalar& value, const Options& options, SourceLocation where) {
  return called("tensor", where, [&] {
    const Scalar* leaf = &value;
    return from_leaves(std::span(&leaf, 1), {}, options);
  });
}

Tensor tensor(std::span<const std::byte> bytes, DType dtype, const Shape& shape,
              const Options& options, SourceLocation where) {
  return called("tensor", where, [&] {
    const auto count = checked_numel(shape);
    if (!count || bytes.size() != size_t(*count) * size_of(dtype))
      throw Error(fmt::format("tensor: {} bytes are not the elements of {}", bytes.size(),
                              ir::type_string(dtype, shape)));
    const Tensor host = filled(dtype, shape, [&](void* to) {
      if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
    });
    return host.to(options.dtype.value_or(dtype), where).to(options.device, where);
  });
}

Tensor tensor(const std::vector<bool>& elements, SourceLocation where) {
  const std::vector<uint8_t> bytes(elements.begin(), elements.end());
  return tensor(std::as_bytes(std::span(bytes)), DType::Bool, {int64_t(bytes.size())}, where);
}

namespace {

// Memory of the caller's on a device, as elements.
std::shared_ptr<const ir::Storage> borrowed_memory(void* first, size_t bytes, const Device& device,
                                                   std::function<void()> deleter) {
  if (device.kind == Device::Kind::Cpu)
    return std::make_shared<const runtime::BufferStorage>(
        runtime::Buffer::borrow(first, bytes, std::move(deleter)), true);
  runtime::cuda::Device& gpu = runtime::gpu_engine(device.index).device();
  const auto address = reinterpret_cast<runtime::cuda::Address>(first);
  if (bytes > 0) gpu.card()->require_memory(address);
  const auto buffer =
      runtime::cuda::DeviceBuffer::borrow(gpu.card(), address, bytes, std::move(deleter));
  buffer.used_by(gpu.stream());
  return runtime::DeviceStorage::borrowed_from(buffer);
}

}  // namespace

Tensor from_blob(void* data, const Shape& shape, DType dtype, const Strides& strides,
                 std::function<void()> deleter, SourceLocation where) {
  return from_blob(data, shape, dtype, Device(), strides, std::move(deleter), where);
}

Tensor from_blob(void* data, const Shape& shape, DType dtype, const Device& device,
                 const Strides& strides, std::function<void()> deleter, SourceLocation where) {
  return called("from_blob", where, [&] {
    ir::StridedMap map = ir::StridedMap::contiguous(shape);
    const auto count = checked_numel(shape);
    for (int64_t extent : shape)
      if (extent < 0)
        throw Error(fmt::format("from_blob: negative size in shape {}", to_string(shape)));
    if (!count)
      throw Error(fmt::format("from_blob: shape {} has more elements than fit in 64 bits",
                              to_string(shape)));
    if (*count > INT64_MAX / int64_t(size_of(dtype)))
      throw Error(fmt::format("from_blob: {}{} has more bytes than fit in 64 bits", name(dtype),
                              to_string(shape)));
    if (!data && *count > 0) throw Error("from_blob: the pointer is null");
    if (uintptr_t(data) % size_of(dtype) != 0)
      throw Error(fmt::format("from_blob: the pointer is not aligned for {}", name(dtype)));
    if (!strides.empty()) {
      if (strides.size() != shape.size())
        throw Error(
            fmt::format("from_blob: {} strides for shape {}", strides.size(), to_string(shape)));
      map.strides = strides;
      __extension__ typedef __int128 Wide;  // of how far the elements reach
      Wide reach = 0;
      for (size_t d = 0; d < shape.size(); ++d)
        if (shape[d] > 1) reach += Wide(std::abs(strides[d])) * (shape[d] - 1);
      if (*count > 0 && reach > Wide(INT64_MAX) / 8)
        throw Error(fmt::format("from_blob: strides {} of shape {} reach beyond any memory",
                                to_string(strides), to_string(shape)));
    }
    // The memory is a line from the lowest to the highest element that is reached.
    int64_t low = 0, high = -1;
    if (const auto range = map.range()) low = range->first, high = range->second;
    map.offset = -low;
    const int64_t elements = high - low + 1;
    auto* first = static_cast<std::byte*>(data) + low * int64_t(size_of(dtype));
    auto cell = std::make_shared<runtime::Cell>(
        borrowed_memory(first, size_t(elements) * size_of(dtype), device, std::move(deleter)),
        dtype, elements);
    return Tensor(
        std::make_shared<runtime::TensorState>(std::move(cell), ir::ViewMap(map), dtype, false));
  });
}

Tensor full(const Shape& shape, const Scalar& value, const Options& options, SourceLocation where) {
  return created_on("full", options.device, where, [&] {
    const Scalar* leaf = &value;
    return constant_of(value, options.dtype.value_or(natural_dtype(std::span(&leaf, 1))), shape);
  });
}
Tensor zeros(const Shape& shape, const Options& options, SourceLocation where) {
  return called("zeros", where, [&] { return full(shape, 0.0, options, where); });
}
Tensor ones(const Shape& shape, const Options& options, SourceLocation where) {
  return called("ones", where, [&] { return full(shape, 1.0, options, where); });
}
Tensor empty(const Shape& shape, const Options& options, SourceLocation where) {
  return called("empty", where, [&] { return full(shape, 0.0, options, where); });
}
Tensor full_like(const Tensor& x, const Scalar& value, SourceLocation where) {
  return called("full_like", where, [&] {
    Options options = x.dtype(where);
    options.device = x.device(where);
    return full(x.shape(where), value, options, where);
  });
}
Tensor zeros_like(const Tensor& x, SourceLocation where) {
  return called("zeros_like", where, [&] { return full_like(x, 0, where); });
}
Tensor ones_like(const Tensor& x, SourceLocation where) {
  return called("ones_like", where, [&] { return full_like(x, 1, where); });
}

namespace {
template <class T>
[[noreturn]] void unreachable_end(T first, T last, T by) {
  throw Error(fmt::format("arange: {} is never reached from {} by {}", last, first, by));
}

// In unsigned arithmetic, since the distance of two int64 may not be one.
ir::Value whole_range(int64_t first, int64_t last, int64_t by, DType dtype) {
  if (by == 0) throw Error(fmt::format("arange: from {} to {} by {}", first, last, by));
  if (by > 0 ? last < first : last > first) unreachable_end(first, last, by);
  const uint64_t distance =
      by > 0 ? uint64_t(last) - uint64_t(first) : uint64_t(first) - uint64_t(last);
  const uint64_t pace = by > 0 ? uint64_t(by) : -uint64_t(by);
  const uint64_t count = distance / pace + (distance % pace != 0);
  if (count > uint64_t(INT64_MAX)) throw Error(fmt::format("arange: {} elements", count));
  const ir::Value steps = ir::mul(ir::iota(int64_t(count)), ir::constant(DType::I64, {}, by));
  return ir::cast(ir::add(steps, ir::constant(DType::I64, {}, first)), dtype);
}
}  // namespace

Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, const Options& options,
              SourceLocation where) {
  return created_on("arange", options.device, where, [&] {
    if (!start.is_float() && !end.is_float() && !step.is_float())
      return whole_range(start.to_int(), end.to_int(), step.to_int(),
                         options.dtype.value_or(DType::I64));
    const double first = start.to_double(), last = end.to_double(), by = step.to_double();
    if (by == 0 || !std::isfinite(first) || !std::isfinite(last) || !std::isfinite(by))
      throw Error(fmt::format("arange: from {} to {} by {}", first, last, by));
    if ((last - first) * by < 0) unreachable_end(first, last, by);
    const double count = std::ceil((last - first) / by);
    if (count > 9e18) throw Error(fmt::format("arange: {} elements", count));
    const ir::Value i = ir::iota(int64_t(count));
    return ir::cast(ir::cast(i, DType::F64) * by + first, options.dtype.value_or(DType::F32));
  });
}
Tensor arange(const Scalar& end, const Options& options, SourceLocation where) {
  return arange(0, end, 1, options, where);
}

// From both ends, so that the last element is exactly `end`.
Tensor linspace(const Scalar& start, const Scalar& end, int64_t steps, const Options& options,
                SourceLocation where) {
  return created_on("linspace", options.device, where, [&] {
    if (steps < 0) throw Error(fmt::format("linspace: {} steps", steps));
    const DType dtype = options.dtype.value_or(DType::F32);
    const double first = start.to_double(), last = end.to_double();
    const double step = steps > 1 ? (last - first) / double(steps - 1) : 0;
    const ir::Value i = ir::cast(ir::iota(steps), DType::F64);
    const ir::Value forwards = i * step + first;
    const ir::Value backwards = last - (double(steps - 1) - i) * step;
    const ir::Value half = ir::lt(i, ir::like(i, double(steps) / 2));
    return ir::cast(steps > 1 ? ir::where(half, forwards, backwards) : forwards, dtype);
  });
}

Tensor eye(int64_t n, std::optional<int64_t> m, const Options& options, SourceLocation where) {
  return created_on("eye", options.device, where, [&] {
    if (n < 0 || m.value_or(0) < 0)
      throw Error(fmt::format("eye: negative size in [{},{}]", n, m.value_or(n)));
    const ir::Value row = ir::reshape(ir::iota(n), Shape{n, 1});
    return ir::cast(ir::eq(row, ir::iota(m.value_or(n))), options.dtype.value_or(DType::F32));
  });
}

}  // namespace cermet
