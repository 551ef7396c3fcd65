// What a tensor is and its elements.

#include "cermet/tensor.h"

#include <cstring>

#include "ir/element.h"
#include "ir/text.h"
#include "runtime/api.h"
#include "runtime/devices.h"
#include "runtime/engine.h"
#include "runtime/format.h"
#include "runtime/signature.h"

namespace cermet {

using runtime::called;
using runtime::located;

const std::shared_ptr<runtime::TensorState>& Tensor::state(SourceLocation where) const {
  if (!state_) throw Error("the tensor is undefined", where);
  return state_;
}

namespace {

// The state of a tensor that a function was called of.
const runtime::TensorState& state_of(std::string_view op, const Tensor& t,
                                     const SourceLocation& where) {
  if (!t.defined()) throw Error(fmt::format("{}: the tensor is undefined", op), where);
  return *t.state(where);
}

}  // namespace

const Shape& Tensor::shape(SourceLocation where) const {
  return state_of("shape", *this, where).shape();
}
int64_t Tensor::size(int64_t dim, SourceLocation where) const {
  const Shape& s = state_of("size", *this, where).shape();
  return called("size", where, [&] { return s[size_t(ir::wrap_axis("size", dim, s.size()))]; });
}
int64_t Tensor::dim(SourceLocation where) const {
  return int64_t(state_of("dim", *this, where).shape().size());
}
int64_t Tensor::ndim(SourceLocation where) const {
  return int64_t(state_of("ndim", *this, where).shape().size());
}
int64_t Tensor::numel(SourceLocation where) const {
  return cermet::numel(state_of("numel", *this, where).shape());
}
DType Tensor::dtype(SourceLocation where) const { return state_of("dtype", *this, where).dtype(); }
Device Tensor::device(SourceLocation where) const {
  return runtime::device_of(*state_of("device", *this, where).cell()->value());
}

const Tensor& Tensor::realize(SourceLocation where) const {
  cermet::realize(std::span(this, 1), where);
  return *this;
}

void realize(std::span<const Tensor> tensors, SourceLocation where) {
  SmallVector<std::shared_ptr<runtime::TensorState>, 4> states;
  for (const Tensor& t : tensors) {
    state_of("realize", t, where);
    states.push_back(t.state(where));
  }
  located(where, [&] { runtime::realize_states(states, where); });
}

namespace {

// The elements of a view of a buffer, row-major, at `to`.
void copy_elements(const ir::StridedMap& map, DType dtype, const void* from, void* to) {
  const int64_t count = numel(map.shape);
  const size_t size = size_of(dtype);
  if (count == 0) return;
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  if (map.is_contiguous() || row_major_strides(map.shape) == map.strides) {
    std::memcpy(target, source + map.offset * int64_t(size), size_t(count) * size);
    return;
  }
  Dims index(map.shape.size());
  int64_t position = map.offset;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(target + size_t(i) * size, source + position * int64_t(size), size);
    for (size_t d = map.shape.size(); d-- > 0;) {
      position += map.strides[d];
      if (++index[d] < map.shape[d]) break;
      position -= map.strides[d] * map.shape[d];
      index[d] = 0;
    }
  }
}

// The state of a tensor whose elements are asked for as a C++ type.
const runtime::TensorState& state_of(std::string_view op, const Tensor& t, DType asked,
                                     const SourceLocation& where) {
  const runtime::TensorState& state = state_of(op, t, where);
  if (state.dtype() != asked)
    throw Error(fmt::format("{}: the tensor is {}, not {}", op,
                            ir::type_string(state.dtype(), state.shape()), name(asked)),
                where);
  return state;
}

}  // namespace

size_t Tensor::readable(DType dtype, const SourceLocation& where) const {
  const runtime::TensorState& state = state_of("to_vector", *this, dtype, where);
  realize(where);
  return size_t(cermet::numel(state.shape()));
}

void Tensor::read(DType dtype, void* to, const SourceLocation& where) const {
  const runtime::TensorState& state = *this->state(where);
  const auto elements = runtime::sound_elements(*this, where);
  if (elements->place() != 0) return cpu(where).read(dtype, to, where);
  copy_elements(state.view().levels()[0], dtype, elements->host_data(), to);
}

void Tensor::read_item(DType dtype, void* to, const SourceLocation& where) const {
  const runtime::TensorState& state = state_of("item", *this, where);
  if (cermet::numel(state.shape()) != 1)
    throw Error(fmt::format("item: the tensor has {} elements, not one ({})", numel(where),
                            ir::type_string(state.dtype(), state.shape())),
                where);
  uint64_t bits = 0;
  const DType own = state.dtype();
  read(own, &bits, where);
  const uint64_t converted = is_float(own)
                                 ? ir::element_bits(dtype, ir::element_to_double(own, bits))
                                 : ir::element_bits(dtype, ir::element_to_int(own, bits));
  ir::store_bits(dtype, to, 0, converted);
}

void* Tensor::pointer(DType dtype, bool contiguous, const SourceLocation& where) const {
  const std::string_view op = contiguous ? "span" : "data";
  const runtime::TensorState& state = state_of(op, *this, dtype, where);
  if (contiguous && !is_contiguous(where))
    throw Error(fmt::format("span: the tensor is not contiguous ({} with strides {}); use "
                            "contiguous() first",
                            ir::type_string(dtype, state.shape()), cermet::to_string(strides())),
                where);
  if (device(where) != Device())
    throw Error(fmt::format("{}: the tensor is on {}; use cpu() or data_ptr()", op,
                            cermet::to_string(device(where))),
                where);
  return memory(op, where);
}

void* Tensor::data_ptr(SourceLocation where) const { return memory("data_ptr", where); }

void* Tensor::memory(std::string_view op, const SourceLocation& where) const {
  const runtime::TensorState& state = state_of(op, *this, where);
  if (state.requires_grad())
    throw Error(fmt::format("{}: the tensor requires grad; use detach() first", op), where);
  return located(where, [&] {
    runtime::sound_elements(*this, where);
    auto* first = static_cast<std::byte*>(state.cell()->give_out());
    return first + state.view().levels()[0].offset * int64_t(size_of(state.dtype()));
  });
}

Strides Tensor::strides(SourceLocation where) const {
  const ir::StridedMap& map = state_of("strides", *this, where).view().levels()[0];
  Strides out = map.strides;
  const Strides plain = row_major_strides(map.shape);
  for (size_t d = 0; d < out.size(); ++d)
    if (map.shape[d] == 1) out[d] = plain[d];  // never walked; what PyTorch shows
  return out;
}

bool Tensor::is_contiguous(SourceLocation where) const {
  state_of("is_contiguous", *this, where);
  return numel(where) == 0 || strides(where) == row_major_strides(shape(where));
}

std::string Tensor::to_string(SourceLocation where) const {
  const runtime::TensorState& state = state_of("to_string", *this, where);
  realize(where);
  if (device(where) != Device()) return cpu(where).to_string(where);
  const auto print = [&](const void* elements) {
    return runtime::format_array(state.dtype(), state.shape(), elements, {}, requires_grad());
  };
  const auto* first = static_cast<const std::byte*>(state.cell()->elements()->host_data());
  const int64_t size = int64_t(size_of(state.dtype()));
  if (is_contiguous(where)) return print(first + state.view().levels()[0].offset * size);
  std::vector<std::byte> bytes(size_t(numel(where) * size));
  read(state.dtype(), bytes.data(), where);
  return print(bytes.data());
}

std::string Tensor::to_cir(SourceLocation where) const {
  const ir::Value value = state_of("to_cir", *this, where).value();
  return ir::print(runtime::make_graph(runtime::make_request(std::span(&value, 1))));
}

}  // namespace cermet
