// Views: tensors that share the elements of another one, as long as one strided map can say which;
// copies and conversions.

#include "ir/gradient.h"
#include "runtime/api.h"
#include "runtime/devices.h"
#include "runtime/engine.h"

namespace cermet {

using runtime::called;
using runtime::result_of;
using runtime::TensorState;
using runtime::value_of;

namespace {

// The view of x that `change`, whose arguments were checked, makes of its map. `expression` gives
// the same as an expression: what one strided map cannot say is a tensor of its own, as where
// PyTorch's reshape copies.
template <class Expression, class Change>
Tensor view_of(const Tensor& x, Expression expression, Change change) {
  const TensorState& state = *x.state();
  ir::ViewMap map = change(state.view());
  if (!map.single() || map.masked()) return runtime::make_tensor(expression());
  auto out = std::allocate_shared<TensorState>(ir::FreeListAllocator<TensorState>(), state.cell(),
                                               std::move(map), state.dtype(),
                                               state.detached() || !runtime::grad_mode());
  if (state.variable())
    out->set_leaf(x.state(), change(ir::ViewMap::identity(state.shape())));
  else if (state.leaf())
    out->set_leaf(state.leaf(), change(*state.leaf_view()));
  return Tensor(std::move(out));
}

}  // namespace

Tensor Tensor::reshape(const Shape& shape, SourceLocation where) const {
  return called("reshape", where, [&] {
    const Shape result = ir::reshaped(dtype(where), this->shape(where), shape);
    return view_of(
        *this, [&] { return ir::reshape(value_of(*this), result); },
        [&](const ir::ViewMap& m) { return m.reshape(result); });
  });
}

Tensor Tensor::view(const Shape& shape, SourceLocation where) const {
  return called("view", where, [&] {
    const Shape result = ir::reshaped(dtype(where), this->shape(where), shape);
    if (!state_->view().reshape(result).single())
      throw Error(fmt::format("view: {} with strides {} is no view of shape {}; use reshape()",
                              ir::type_string(dtype(), this->shape()), cermet::to_string(strides()),
                              cermet::to_string(shape)));
    return reshape(shape, where);
  });
}

Tensor Tensor::flatten(int64_t start_dim, int64_t end_dim, SourceLocation where) const {
  return called("flatten", where, [&] {
    const Shape& old = shape(where);
    if (old.empty()) return reshape({1}, where);
    const int64_t first = ir::wrap_axis("flatten", start_dim, old.size());
    const int64_t last = ir::wrap_axis("flatten", end_dim, old.size());
    if (first > last)
      throw Error(fmt::format("flatten: start_dim {} is behind end_dim {}", start_dim, end_dim));
    Shape result(old.begin(), old.begin() + first);
    int64_t merged = 1;
    for (int64_t d = first; d <= last; ++d) merged *= old[size_t(d)];
    result.push_back(merged);
    for (size_t d = size_t(last) + 1; d < old.size(); ++d) result.push_back(old[d]);
    return reshape(result, where);
  });
}

Tensor Tensor::permute(const Dims& order, SourceLocation where) const {
  return called("permute", where, [&] {
    const Dims wrapped = ir::permuted(dtype(where), shape(where), order);
    return view_of(
        *this, [&] { return ir::permute(value_of(*this), wrapped); },
        [&](const ir::ViewMap& m) { return m.permute(wrapped); });
  });
}

Tensor Tensor::transpose(int64_t dim0, int64_t dim1, SourceLocation where) const {
  return called("transpose", where, [&] {
    Dims order(shape(where).size());
    const int64_t first = runtime::axis_of("transpose", dim0, order.size());
    const int64_t second = runtime::axis_of("transpose", dim1, order.size());
    for (size_t d = 0; d < order.size(); ++d) order[d] = int64_t(d);
    if (!order.empty()) std::swap(order[size_t(first)], order[size_t(second)]);
    return permute(order, where);
  });
}
Tensor Tensor::swapaxes(int64_t axis0, int64_t axis1, SourceLocation where) const {
  return called("swapaxes", where, [&] { return transpose(axis0, axis1, where); });
}
Tensor Tensor::t(SourceLocation where) const {
  return called("t", where, [&] {
    if (dim(where) > 2)
      throw Error(
          fmt::format("t: expects at most 2 axes, got {}", ir::type_string(dtype(), shape())));
    return dim(where) < 2 ? *this : transpose(0, 1, where);
  });
}
Tensor Tensor::T(SourceLocation where) const {
  return called("T", where, [&] {
    Dims order(shape(where).size());
    for (size_t d = 0; d < order.size(); ++d) order[d] = int64_t(order.size() - 1 - d);
    return permute(order, where);
  });
}

Tensor Tensor::expand(const Shape& shape, SourceLocation where) const {
  return called("expand", where, [&] {
    const Shape& old = this->shape(where);
    Shape full = shape;
    for (size_t d = 0; d < full.size(); ++d)
      if (full[d] == -1 && d + old.size() >= full.size())
        full[d] = old[d + old.size() - full.size()];
    if (std::ranges::any_of(full, [](int64_t extent) { return extent < 0; }))
      throw Error(fmt::format("expand: {} does not broadcast to {}", ir::type_string(dtype(), old),
                              cermet::to_string(shape)));
    const Shape aligned = ir::aligned_for(dtype(where), old, full);
    return view_of(
        *this, [&] { return ir::expand(value_of(*this), full); },
        [&](const ir::ViewMap& m) { return m.reshape(aligned).expand(full); });
  });
}
Tensor Tensor::broadcast_to(const Shape& shape, SourceLocation where) const {
  return called("broadcast_to", where, [&] { return expand(shape, where); });
}

Tensor Tensor::squeeze(SourceLocation where) const {
  return called("squeeze", where, [&] {
    Shape kept;
    for (int64_t extent : shape(where))
      if (extent != 1) kept.push_back(extent);
    return reshape(kept, where);
  });
}
Tensor Tensor::squeeze(int64_t dim, SourceLocation where) const {
  return called("squeeze", where, [&] {
    Shape kept = shape(where);
    const int64_t axis = runtime::axis_of("squeeze", dim, kept.size());
    if (kept.empty() || kept[size_t(axis)] != 1) return *this;
    kept.erase(kept.begin() + axis);
    return reshape(kept, where);
  });
}
Tensor Tensor::unsqueeze(int64_t dim, SourceLocation where) const {
  return called("unsqueeze", where, [&] {
    Shape grown = shape(where);
    grown.insert(grown.begin() + ir::wrap_axis("unsqueeze", dim, grown.size() + 1), 1);
    return reshape(grown, where);
  });
}

Tensor Tensor::slice(int64_t dim, std::optional<int64_t> start, std::optional<int64_t> stop,
                     int64_t step, SourceLocation where) const {
  return called("slice", where, [&] {
    const ir::Slice s = ir::slice_of(shape(where), dim, start, stop, step);
    return view_of(
        *this, [&] { return ir::slice(value_of(*this), dim, start, stop, step); },
        [&](const ir::ViewMap& m) { return m.slice(s.axis, s.first, s.count, s.step); });
  });
}

Tensor Tensor::narrow(int64_t dim, int64_t start, int64_t length, SourceLocation where) const {
  return called("narrow", where, [&] {
    const int64_t extent = size(dim, where), first = start < 0 ? start + extent : start;
    if (length < 0 || first < 0 || first > extent - length)
      throw Error(fmt::format("narrow: {} elements from {} are not inside an axis of {}", length,
                              start, extent));
    return slice(dim, first, first + length, 1, where);
  });
}

Tensor Tensor::select(int64_t dim, int64_t i, SourceLocation where) const {
  return called("select", where, [&] {
    const int64_t axis = ir::wrap_axis("select", dim, shape(where).size()),
                  extent = size(dim, where);
    if (i < -extent || i >= extent)
      throw Error(fmt::format("select: index {} is out of range for axis {} of {}", i, axis,
                              ir::type_string(dtype(), shape(where))));
    const int64_t at = i < 0 ? i + extent : i;
    return slice(axis, at, at + 1, 1, where).squeeze(axis, where);
  });
}

Tensor Tensor::diagonal(int64_t offset, int64_t dim1, int64_t dim2, SourceLocation where) const {
  return called("diagonal", where, [&] {
    const ir::Value checked = ir::diagonal(value_of(*this), offset, dim1, dim2);
    const size_t rank = shape(where).size();
    return view_of(
        *this, [&] { return checked; },
        [&](const ir::ViewMap& m) {
          return m.diagonal(offset, ir::wrap_axis("diagonal", dim1, rank),
                            ir::wrap_axis("diagonal", dim2, rank));
        });
  });
}

Tensor Tensor::flip(const Axes& dims, SourceLocation where) const {
  return result_of("flip", where, [&] {
    ir::Value x = value_of(*this);
    for (int64_t axis : runtime::axes_of("flip", dims, x->shape.size())) x = ir::flip(x, axis);
    return x;
  });
}

Tensor Tensor::unfold(int64_t dim, int64_t size, int64_t step, SourceLocation where) const {
  return called("unfold", where, [&] {
    if (shape(where).empty()) {  // a line of one element, whose windows are lines
      runtime::axis_of("unfold", dim, 0);
      return reshape({1}, where).unfold(0, size, step, where).reshape({1}, where);
    }
    if (size > this->size(dim, where))
      throw Error(fmt::format("unfold: windows of {} elements do not fit an axis of {}", size,
                              this->size(dim, where)));
    const ir::Value checked = ir::unfold(value_of(*this), dim, size, step, 1);
    return view_of(
        *this, [&] { return checked; },
        [&](const ir::ViewMap& m) {
          return m.unfold(ir::wrap_axis("unfold", dim, m.shape().size()), size, step, 1);
        });
  });
}

Tensor Tensor::clone(SourceLocation where) const {
  // A snapshot: memory that others may write is read now.
  const ir::Value value = called("clone", where, [&] { return value_of(*this); });
  if (!value->reads_borrowed) return runtime::make_tensor(value);
  runtime::Buffer copy = runtime::default_engine().allocator().allocate(dtype(), shape(where));
  read(dtype(), copy.data(), where);
  const ir::Value snapshot = ir::data(
      std::make_shared<const runtime::BufferStorage>(std::move(copy)), dtype(), shape(where));
  if (!value->requires_grad) return runtime::make_tensor(snapshot);
  // The gradient of a copy is the gradient of what was copied.
  return runtime::make_tensor(
      ir::custom_gradient(snapshot, std::span(&value, 1), ir::identity_rule()));
}

Tensor Tensor::contiguous(SourceLocation where) const {
  return called("contiguous", where, [&] {
    return is_contiguous(where) ? *this : runtime::make_tensor(value_of(*this));
  });
}

Tensor Tensor::to(DType type, SourceLocation where) const {
  return called("to", where, [&] {
    return dtype(where) == type ? *this : runtime::make_tensor(ir::cast(value_of(*this), type));
  });
}
Tensor Tensor::to(const Device& device, SourceLocation where) const {
  // Computing the elements may throw what is no mistake of this call.
  const bool is_there = called("to", where, [&] {
    runtime::require_device(device);
    return this->device(where) == device;
  });
  if (is_there) return *this;
  return runtime::located(where, [&] {
    if (this->device(where) != Device() && !runtime::StepRecorder::active())
      runtime::sound_elements(*this, where);
    return runtime::make_tensor(runtime::value_on(value_of(*this), device));
  });
}
Tensor Tensor::to(std::string_view dtype_or_device, SourceLocation where) const {
  const Options options = called("to", where, [&] { return Options(dtype_or_device, where); });
  return options.dtype ? to(*options.dtype, where) : to(options.device, where);
}
Tensor Tensor::cuda(SourceLocation where) const {
  called("cuda", where, [&] { state(where); });
  return to(Device{Device::Kind::Cuda, 0}, where);
}
Tensor Tensor::cpu(SourceLocation where) const {
  called("cpu", where, [&] { state(where); });
  return to(Device{}, where);
}

Tensor Tensor::bitcast(DType type, SourceLocation where) const {
  return result_of("bitcast", where, [&] { return ir::bitcast(value_of(*this), type); });
}

Tensor Tensor::detach(SourceLocation where) const {
  return called("detach", where, [&] {
    const TensorState& s = *state(where);
    return Tensor(std::make_shared<TensorState>(s.cell(), s.view(), s.dtype(), true));
  });
}

}  // namespace cermet
