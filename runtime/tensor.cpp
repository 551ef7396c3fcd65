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

using runtime::located;

const std::shared_ptr<runtime::TensorState>& Tensor::state(SourceLocation where) const {
  if (!state_) throw Error("the tensor is undefined", where);
  return state_;
}

const Shape& Tensor::shape(SourceLocation where) const { return state(where)->shape(); }
int64_t Tensor::size(int64_t dim, SourceLocation where) const {
  const Shape& s = shape(where);
  return located(where, [&] { return s[size_t(ir::wrap_axis("size", dim, s.size()))]; });
}
int64_t Tensor::dim(SourceLocation where) const { return int64_t(shape(where).size()); }
int64_t Tensor::ndim(SourceLocation where) const { return dim(where); }
int64_t Tensor::numel(SourceLocation where) const { return cermet::numel(shape(where)); }
DType Tensor::dtype(SourceLocation where) const { return state(where)->dtype(); }
Device Tensor::device(SourceLocation where) const {
  return runtime::device_of(*state(where)->cell()->value());
}

const Tensor& Tensor::realize(SourceLocation where) const {
  cermet::realize(std::span(this, 1), where);
  return *this;
}

void realize(std::span<const Tensor> tensors, SourceLocation where) {
  std::vector<std::shared_ptr<runtime::TensorState>> states;
  for (const Tensor& t : tensors) states.push_back(t.state(where));
  located(where, [&] { runtime::realize_states(states); });
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

void expect_dtype(std::string_view op, const runtime::TensorState& state, DType asked) {
  if (state.dtype() != asked)
    throw Error(fmt::format("{}: the tensor is {}, not {}", op, name(state.dtype()), name(asked)));
}

}  // namespace

void Tensor::read(DType dtype, void* to, const SourceLocation& where) const {
  located(where, [&] {
    expect_dtype("to_vector", *state(where), dtype);
    realize(where);
    const auto elements = state_->cell()->elements();
    if (elements->place() != 0) return cpu(where).read(dtype, to, where);
    copy_elements(state_->view().levels()[0], dtype, elements->host_data(), to);
  });
}

void Tensor::read_item(DType dtype, void* to, const SourceLocation& where) const {
  located(where, [&] {
    if (numel(where) != 1)
      throw Error(fmt::format("item: the tensor has {} elements, not one ({})", numel(where),
                              ir::type_string(state_->dtype(), shape(where))));
    uint64_t bits = 0;
    read(state_->dtype(), &bits, where);
    const DType own = state_->dtype();
    const uint64_t converted = is_float(own)
                                   ? ir::element_bits(dtype, ir::element_to_double(own, bits))
                                   : ir::element_bits(dtype, ir::element_to_int(own, bits));
    ir::store_bits(dtype, to, 0, converted);
  });
}

void* Tensor::pointer(DType dtype, bool contiguous, const SourceLocation& where) const {
  return located(where, [&]() -> void* {
    expect_dtype(contiguous ? "span" : "data", *state(where), dtype);
    if (requires_grad())
      throw Error("data: the tensor requires grad; use detach() first: t.detach().data<T>()");
    if (contiguous && !is_contiguous(where))
      throw Error("span: the tensor is not contiguous; use contiguous() first");
    if (device(where) != Device())
      throw Error(fmt::format("data: the tensor is on {}; use cpu() first",
                              cermet::to_string(device(where))));
    realize(where);
    auto* first = static_cast<std::byte*>(state_->cell()->give_out());
    return first + state_->view().levels()[0].offset * int64_t(size_of(dtype));
  });
}

Strides Tensor::strides(SourceLocation where) const {
  const ir::StridedMap& map = state(where)->view().levels()[0];
  Strides out = map.strides;
  const Strides plain = row_major_strides(map.shape);
  for (size_t d = 0; d < out.size(); ++d)
    if (map.shape[d] == 1) out[d] = plain[d];  // never walked; what PyTorch shows
  return out;
}

bool Tensor::is_contiguous(SourceLocation where) const {
  return numel(where) == 0 || strides(where) == row_major_strides(shape(where));
}

std::string Tensor::to_string(SourceLocation where) const {
  return located(where, [&] {
    realize(where);
    if (device(where) != Device()) return cpu(where).to_string(where);
    const auto print = [&](const void* elements) {
      return runtime::format_array(dtype(where), shape(where), elements, {}, requires_grad());
    };
    const auto* first = static_cast<const std::byte*>(state_->cell()->elements()->host_data());
    const int64_t size = int64_t(size_of(dtype(where)));
    if (is_contiguous(where)) return print(first + state_->view().levels()[0].offset * size);
    std::vector<std::byte> bytes(size_t(numel(where) * size));
    read(dtype(where), bytes.data(), where);
    return print(bytes.data());
  });
}

std::string Tensor::to_cir(SourceLocation where) const {
  return located(where, [&] {
    const ir::Value value = state(where)->value();
    const std::span roots(&value, 1);
    return ir::print(runtime::make_graph(runtime::make_request(roots)));
  });
}

}  // namespace cermet
