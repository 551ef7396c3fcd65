// x[...] and x[...] = value. Integers, slices, newaxis and ellipsis make a view. A tensor among the
// parts then selects along the axis where it stands: integers by a gather or scatter, a mask by
// where(), or, where the count of its true elements matters, by their positions.

#include "runtime/api.h"

namespace cermet {

using runtime::located;
using runtime::operand_value;
using runtime::result_of;
using runtime::update;
using runtime::value_of;

namespace {

struct Selection {
  Tensor view;
  Tensor by;  // positions or a mask; undefined: the view is all
  int64_t axis = 0;
};

// How many axes of the tensor a part stands for.
int64_t axes_taken(const Index::Part& part, const SourceLocation& where) {
  if (std::holds_alternative<NewAxis>(part) || std::holds_alternative<Ellipsis>(part)) return 0;
  const auto* tensor = std::get_if<Tensor>(&part);
  if (!tensor) return 1;
  if (is_bool(tensor->dtype(where)) && tensor->dim(where) > 0) return tensor->dim(where);
  if (!is_integer(tensor->dtype(where)))
    throw Error(fmt::format("index: a tensor must hold positions or be a mask, got {}",
                            ir::type_string(tensor->dtype(), tensor->shape())));
  return 1;
}

Selection select_parts(const Tensor& x, const std::vector<Index>& parts,
                       const SourceLocation& where) {
  const int64_t rank = x.dim(where);
  int64_t taken = 0;
  for (const Index& index : parts) taken += axes_taken(index.part(), where);
  if (taken > rank)
    throw Error(
        fmt::format("index: {} indices for {}", taken, ir::type_string(x.dtype(), x.shape())));
  Selection out{x, {}, 0};
  bool elided = false;
  int64_t axis = 0;
  for (const Index& index : parts) {
    const Index::Part& part = index.part();
    if (const auto* i = std::get_if<int64_t>(&part)) {
      out.view = out.view.select(axis, *i, where);
    } else if (const auto* s = std::get_if<Slice>(&part)) {
      out.view = out.view.slice(axis++, s->start, s->stop, s->step, where);
    } else if (std::holds_alternative<NewAxis>(part)) {
      out.view = out.view.unsqueeze(axis++, where);
    } else if (std::holds_alternative<Ellipsis>(part)) {
      if (std::exchange(elided, true)) throw Error("index: more than one ellipsis");
      axis += rank - taken;
    } else {
      if (out.by.defined())
        throw Error("index: only one of the indices may be a tensor; use take() or gather()");
      out.by = std::get<Tensor>(part);
      out.axis = axis;
      axis += axes_taken(part, where);
    }
  }
  if (!out.by.defined() || !is_bool(out.by.dtype())) return out;
  for (int64_t d = 0; d < out.by.dim(); ++d)
    if (out.by.size(d) != out.view.size(out.axis + d))
      throw Error(fmt::format("index: the mask {} does not fit {} at axis {}",
                              ir::type_string(out.by.dtype(), out.by.shape()),
                              ir::type_string(out.view.dtype(), out.view.shape()), out.axis));
  return out;
}

// The row-major positions of a mask's true elements. Computes the mask.
std::vector<int64_t> positions_of(const Tensor& mask, const SourceLocation& where) {
  const std::vector<bool> set = mask.to_vector<bool>(where);
  std::vector<int64_t> out;
  for (size_t i = 0; i < set.size(); ++i)
    if (set[i]) out.push_back(int64_t(i));
  return out;
}

// The axes [axis, axis + count) of a shape, replaced.
Shape with_axes(const Shape& shape, int64_t axis, int64_t count, const Shape& instead) {
  Shape out(shape.begin(), shape.begin() + axis);
  for (int64_t extent : instead) out.push_back(extent);
  for (size_t d = size_t(axis + count); d < shape.size(); ++d) out.push_back(shape[d]);
  return out;
}

// old with the elements at `positions` along the axis replaced by `value`, whose shape must
// broadcast to that of what x[...] selects.
ir::Value with_elements(const ir::Value& old, int64_t axis, const ir::Value& positions,
                        const ir::Value& value) {
  const Shape selected = with_axes(old->shape, axis, 1, positions->shape);
  const Shape flat = with_axes(old->shape, axis, 1, {positions->numel()});
  const ir::Value wrapped = runtime::from_front(positions, old->shape[size_t(axis)]);
  Shape line(old->shape.size(), 1);
  line[size_t(axis)] = positions->numel();
  return ir::scatter(ir::Combine::Set, old, ir::expand(ir::reshape(wrapped, line), flat),
                     ir::reshape(ir::expand(value, selected), flat), axis);
}

// old with the elements where the mask is true replaced by `value`.
ir::Value with_masked(const ir::Value& old, int64_t axis, const Tensor& mask,
                      const ir::Value& value, const SourceLocation& where) {
  const int64_t rank = mask.dim(), rest = int64_t(old->shape.size()) - axis - rank;
  if (int64_t(value->shape.size()) <= rest) {  // the same for all elements of the mask
    Shape aligned = mask.shape();
    aligned.resize(size_t(rank + rest), 1);
    return ir::where(ir::reshape(value_of(mask), aligned), value, old);
  }
  const ir::Value at = value_of(tensor(positions_of(mask, where)));
  const ir::Value flat = ir::reshape(old, with_axes(old->shape, axis, rank, {mask.numel()}));
  return ir::reshape(with_elements(flat, axis, at, value), old->shape);
}

}  // namespace

Tensor Tensor::index(const std::vector<Index>& parts, SourceLocation where) const {
  return located(where, [&] {
    const Selection s = select_parts(*this, parts, where);
    if (!s.by.defined()) return s.view;
    const Shape& shape = s.view.shape();
    if (is_bool(s.by.dtype())) {
      const Tensor flat =
          s.view.reshape(with_axes(shape, s.axis, s.by.dim(), {s.by.numel()}), where);
      return flat.index_select(s.axis, tensor(positions_of(s.by, where)), where);
    }
    return s.view.index_select(s.axis, s.by.reshape({s.by.numel()}, where), where)
        .reshape(with_axes(shape, s.axis, 1, s.by.shape()), where);
  });
}

Tensor& Tensor::index_put_(const std::vector<Index>& parts, const Operand& value) {
  located(value.where(), [&] {
    Selection s = select_parts(*this, parts, value.where());
    update("index_put_", s.view, value.where(), [&](const ir::Value& old) {
      const ir::Value fresh = operand_value(value, old->dtype);
      if (!s.by.defined()) return fresh;
      if (is_bool(s.by.dtype())) return with_masked(old, s.axis, s.by, fresh, value.where());
      return with_elements(old, s.axis, value_of(s.by), fresh);
    });
  });
  return *this;
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, const Operand& value) {
  return result_of(value.where(), [&] {
    const ir::Value v = value_of(x), m = value_of(mask), fill = operand_value(value, v->dtype);
    if (!is_bool(m->dtype) || !fill->shape.empty())
      throw Error(fmt::format("masked_fill: expects a mask of bool and one value, got {} and {}",
                              ir::type_string(*m), ir::type_string(*fill)));
    return ir::where(m, fill, v);
  });
}
Tensor Tensor::masked_fill(const Tensor& mask, const Operand& value) const {
  return cermet::masked_fill(*this, mask, value);
}
Tensor& Tensor::masked_fill_(const Tensor& mask, const Operand& value) {
  return update("masked_fill_", *this, value.where(),
                [&](const ir::Value&) { return value_of(masked_fill(mask, value)); });
}

Tensor masked_select(const Tensor& x, const Tensor& mask, SourceLocation where) {
  return located(where, [&] {
    if (!is_bool(mask.dtype(where)))
      throw Error(fmt::format("masked_select: the mask must be bool, got {}",
                              ir::type_string(mask.dtype(), mask.shape())));
    const auto shape = broadcast_shapes(x.shape(where), mask.shape());
    if (!shape)
      throw Error(fmt::format("masked_select: {} and the mask {} do not broadcast",
                              to_string(x.shape()), to_string(mask.shape())));
    return x.expand(*shape, where).index({mask.expand(*shape, where)}, where);
  });
}
Tensor Tensor::masked_select(const Tensor& mask, SourceLocation where) const {
  return cermet::masked_select(*this, mask, where);
}

Tensor nonzero(const Tensor& x, SourceLocation where) {
  return located(where, [&] {
    const std::vector<int64_t> positions = positions_of(x.to(DType::Bool, where), where);
    const Shape& shape = x.shape();
    std::vector<int64_t> out(positions.size() * shape.size());
    for (size_t i = 0; i < positions.size(); ++i) {
      int64_t rest = positions[i];
      for (size_t d = shape.size(); d-- > 0; rest /= shape[d])
        out[i * shape.size() + d] = rest % shape[d];
    }
    return tensor(out, {int64_t(positions.size()), int64_t(shape.size())}, where);
  });
}

}  // namespace cermet
