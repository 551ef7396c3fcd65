// x[...] and x[...] = value. Integers, slices, newaxis and ellipsis make a view. Tensors among the
// parts then select along the axes where they stand, together: they are broadcast to one shape, and
// element k of the result is at the positions that all of them have at k. The selected axes are
// brought to the front and taken as one line, which a gather reads and a scatter writes.
//
// A mask stands for the positions of its true elements, so it is realized; not so where one value
// is written to all of them, which is a where().

#include "runtime/api.h"

namespace cermet {

using runtime::called;
using runtime::operand_value;
using runtime::result_of;
using runtime::update;
using runtime::value_of;

namespace {

struct Selection {
  Tensor view;
  struct By {
    int64_t axis;  // of the view; a mask stands at as many axes as it has
    Tensor positions_or_mask;
  };
  std::vector<By> by;  // ascending; none: the view is all

  bool one_mask() const { return by.size() == 1 && is_bool(by[0].positions_or_mask.dtype()); }
};

// How many axes of the tensor a part stands for.
int64_t axes_taken(const Index::Part& part, const SourceLocation& where) {
  if (std::holds_alternative<NewAxis>(part) || std::holds_alternative<Ellipsis>(part)) return 0;
  const auto* tensor = std::get_if<Tensor>(&part);
  if (!tensor) return 1;
  if (is_bool(tensor->dtype(where))) return tensor->dim(where);
  if (!is_integer(tensor->dtype(where)))
    throw Error(fmt::format("index: a tensor must hold positions or be a mask, got {}",
                            ir::type_string(tensor->dtype(), tensor->shape())));
  return 1;
}

void expect_fit(const Tensor& mask, const Tensor& view, int64_t axis) {
  for (int64_t d = 0; d < mask.dim(); ++d)
    if (mask.size(d) != view.size(axis + d))
      throw Error(fmt::format("index: the mask {} does not fit {} at axis {}",
                              ir::type_string(mask.dtype(), mask.shape()),
                              ir::type_string(view.dtype(), view.shape()), axis));
}

Selection select_parts(const Tensor& x, const std::vector<Index>& parts,
                       const SourceLocation& where) {
  const int64_t rank = x.dim(where);
  int64_t taken = 0;
  for (const Index& index : parts) taken += axes_taken(index.part(), where);
  if (taken > rank)
    throw Error(
        fmt::format("index: {} indices for {}", taken, ir::type_string(x.dtype(), x.shape())));
  Selection out{x, {}};
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
      Tensor by = std::get<Tensor>(part);
      int64_t axes = axes_taken(part, where);
      if (axes == 0) {  // a mask of rank 0: of a new axis
        out.view = out.view.unsqueeze(axis, where);
        by = by.reshape({1}, where);
        axes = 1;
      }
      out.by.push_back({axis, by});
      axis += axes;
    }
  }
  for (const Selection::By& by : out.by)
    if (is_bool(by.positions_or_mask.dtype())) expect_fit(by.positions_or_mask, out.view, by.axis);
  return out;
}

// The positions of a mask's true elements along each of its axes, row-major. Computes the mask,
// and waits for it if it is on a GPU.
std::vector<std::vector<int64_t>> positions_of(const Tensor& mask, const SourceLocation& where) {
  // One of constants alone would lie on the CPU from then on: a tensor of its own is computed.
  const ir::Value value = value_of(mask);
  const Tensor shown = value->place < 0 ? runtime::make_tensor(value) : mask;
  const std::vector<bool> set = shown.to_vector<bool>(where);
  const Shape& shape = mask.shape();
  std::vector<std::vector<int64_t>> out(shape.size());
  for (size_t i = 0; i < set.size(); ++i) {
    if (!set[i]) continue;
    int64_t rest = int64_t(i);
    for (size_t d = shape.size(); d-- > 0; rest /= shape[d]) out[d].push_back(rest % shape[d]);
  }
  return out;
}

// The selected positions: along each of some axes of the view, in one shape.
struct Positions {
  Dims axes;                     // ascending
  std::vector<ir::Value> along;  // of each axis, counted from the front
  std::vector<bool> scalar;      // of each axis: given by a tensor of rank 0
  Shape shape;
};

// A mask turns into positions here, which must happen outside of called(): computing it can fail.
Selection without_masks(Selection selection, const SourceLocation& where) {
  std::vector<Selection::By> out;
  for (Selection::By& by : selection.by) {
    if (!is_bool(by.positions_or_mask.dtype())) {
      out.push_back(std::move(by));
      continue;
    }
    const Tensor& mask = by.positions_or_mask;
    // A mask of constants alone belongs to no device.
    const Device there = value_of(mask)->place < 0 ? selection.view.device() : mask.device();
    for (const std::vector<int64_t>& positions : positions_of(mask, where))
      out.push_back({by.axis++, tensor(positions, where).to(there, where)});
  }
  selection.by = std::move(out);
  return selection;
}

Positions positions_in(const Selection& selection, const ir::Value& x) {
  const Shape& shape = x->shape;
  Positions out;
  for (const auto& [axis, tensor] : selection.by) {
    const auto both = broadcast_shapes(out.shape, tensor.shape());
    if (!both)
      throw Error(fmt::format("index: the positions do not broadcast, {} and {}",
                              to_string(out.shape), to_string(tensor.shape())));
    out.shape = *both;
    out.axes.push_back(axis);
    out.scalar.push_back(tensor.dim() == 0);
    out.along.push_back(runtime::from_front(value_of(tensor), shape[size_t(axis)]));
  }
  out.along.push_back(x);  // single positions go where it is
  runtime::bring_scalars(out.along);
  out.along.pop_back();
  for (ir::Value& v : out.along) v = ir::expand(v, out.shape);
  return out;
}

// The order of the axes that has the selected ones first.
Dims selected_first(const Positions& at, size_t rank) {
  Dims order = at.axes;
  for (int64_t d = 0; d < int64_t(rank); ++d)
    if (std::ranges::find(at.axes, d) == at.axes.end()) order.push_back(d);
  return order;
}

Dims inverse(const Dims& order) {
  Dims out(order.size());
  for (size_t d = 0; d < order.size(); ++d) out[size_t(order[d])] = int64_t(d);
  return out;
}

// The order that brings the axes of the positions, which are the first, to where the result has
// them: to the place of the selected axes if these are neighbours, else they stay the first. An
// axis that a tensor of rank 0 selects from is gone before that, as if an integer had been given.
Dims placed(const Positions& at, size_t rank) {
  const size_t found = at.shape.size(), rest = rank - at.axes.size();
  Dims axes;
  int64_t gone = 0;
  for (size_t k = 0; k < at.axes.size(); ++k)
    at.scalar[k] ? void(++gone) : axes.push_back(at.axes[k] - gone);
  const bool neighbours = !axes.empty() && axes.back() - axes.front() + 1 == int64_t(axes.size());
  const size_t before = neighbours ? size_t(axes.front()) : 0;
  Dims order;
  for (size_t d = 0; d < before; ++d) order.push_back(int64_t(found + d));
  for (size_t d = 0; d < found; ++d) order.push_back(int64_t(d));
  for (size_t d = before; d < rest; ++d) order.push_back(int64_t(found + d));
  return order;
}

Shape permuted(const Shape& shape, const Dims& order) {
  Shape out;
  for (int64_t d : order) out.push_back(shape[size_t(d)]);
  return out;
}

// x with the selected axes as one line in front of the others.
ir::Value as_line(const ir::Value& x, const Positions& at) {
  const ir::Value moved = ir::permute(x, selected_first(at, x->shape.size()));
  Shape shape{1};
  for (size_t d = 0; d < moved->shape.size(); ++d)
    d < at.axes.size() ? void(shape[0] *= moved->shape[d]) : shape.push_back(moved->shape[d]);
  return ir::reshape(moved, shape);
}

// The positions in that line, [count, 1, ...] expanded to `shape`. Along several axes each position
// is looked up in the table of what a step along its axis means, so that one that is out of range
// is found along its own axis.
ir::Value in_line(const Positions& at, const Shape& old, const Shape& shape) {
  const int64_t count = numel(at.shape);
  ir::Value sum;
  int64_t step = 1;
  for (size_t k = at.axes.size(); k-- > 0;) {
    const int64_t extent = old[size_t(at.axes[k])];
    ir::Value position = ir::reshape(at.along[k], Shape{count});
    if (at.axes.size() > 1) {
      const ir::Value steps = ir::mul(ir::iota(extent), ir::constant(DType::I64, {}, step));
      position = ir::gather(steps, position, 0);
    }
    sum = sum ? ir::add(sum, position) : position;
    step *= extent;
  }
  Shape column(shape.size(), 1);
  column[0] = count;
  return ir::expand(ir::reshape(sum, column), shape);
}

ir::Value read_at(const ir::Value& x, const Positions& at) {
  const ir::Value line = as_line(x, at);
  Shape shape = line->shape;
  shape[0] = numel(at.shape);
  const ir::Value taken = ir::gather(line, in_line(at, x->shape, shape), 0);
  Shape found = at.shape;
  for (size_t d = 1; d < shape.size(); ++d) found.push_back(shape[d]);
  return ir::permute(ir::reshape(taken, found), placed(at, x->shape.size()));
}

// old with the elements at the positions replaced by `value`, or with it added to them; its shape
// must broadcast to that of what x[...] selects.
ir::Value written_at(const ir::Value& old, const Positions& at, const ir::Value& value,
                     bool accumulate) {
  const ir::Value line = as_line(old, at);
  Shape shape = line->shape, found = at.shape;
  shape[0] = numel(at.shape);
  for (size_t d = 1; d < shape.size(); ++d) found.push_back(shape[d]);
  const Dims order = placed(at, old->shape.size());
  const ir::Value shown = ir::expand(value, permuted(found, order));
  const ir::Value updates = ir::reshape(ir::permute(shown, inverse(order)), shape);
  const ir::Combine combine = accumulate ? ir::Combine::Sum : ir::Combine::Set;
  const ir::Value fresh = ir::scatter(combine, line, in_line(at, old->shape, shape), updates, 0);
  const Dims first = selected_first(at, old->shape.size());
  return ir::permute(ir::reshape(fresh, permuted(old->shape, first)), inverse(first));
}

// old with one value, or one for each position along the axes behind the mask's, where the mask is
// true. Nothing if `value` has an element for each true one.
std::optional<ir::Value> written_where(const ir::Value& old, const Selection::By& by,
                                       const ir::Value& value, bool accumulate) {
  const Tensor& mask = by.positions_or_mask;
  const int64_t rest = int64_t(old->shape.size()) - by.axis - mask.dim();
  if (int64_t(value->shape.size()) > rest) return std::nullopt;
  Shape aligned = mask.shape();
  aligned.resize(size_t(mask.dim() + rest), 1);
  return ir::where(ir::reshape(value_of(mask), aligned), accumulate ? ir::add(old, value) : value,
                   old);
}

}  // namespace

Tensor Tensor::index(const std::vector<Index>& parts, SourceLocation where) const {
  Selection s = called("index", where, [&] { return select_parts(*this, parts, where); });
  if (s.by.empty()) return s.view;
  s = without_masks(std::move(s), where);
  return result_of("index", where, [&] {
    const ir::Value x = value_of(s.view);
    return read_at(x, positions_in(s, x));
  });
}

Tensor& Tensor::index_put_(const std::vector<Index>& parts, const Operand& value, bool accumulate) {
  constexpr std::string_view op = "index_put_";
  const SourceLocation& where = value.where();
  Selection s = called(op, where, [&] { return select_parts(*this, parts, where); });
  const auto to_write = [&] {
    ir::Value values[] = {value_of(s.view), operand_value(value, s.view.dtype())};
    runtime::bring_scalars(values);
    return values[1];
  };
  if (s.one_mask()) {
    const std::optional<ir::Value> fresh = called(op, where, [&] {
      return written_where(value_of(s.view), s.by[0], to_write(), accumulate);
    });
    if (fresh) {
      update(op, s.view, where, [&](const ir::Value&) { return *fresh; });
      return *this;
    }
  }
  s = without_masks(std::move(s), where);
  update(op, s.view, where, [&](const ir::Value& old) {
    if (!s.by.empty()) return written_at(old, positions_in(s, old), to_write(), accumulate);
    return accumulate ? ir::add(old, to_write()) : to_write();
  });
  return *this;
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, const Operand& value) {
  return result_of("masked_fill", value.where(), [&] {
    ir::Value values[] = {value_of(x), value_of(mask), operand_value(value, value_of(x)->dtype)};
    runtime::bring_scalars(values);
    const auto& [v, m, fill] = values;
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
  const auto [shown, by] = called("masked_select", where, [&] {
    if (!is_bool(mask.dtype(where)))
      throw Error(fmt::format("masked_select: the mask must be bool, got {}",
                              ir::type_string(mask.dtype(), mask.shape())));
    const auto shape = broadcast_shapes(x.shape(where), mask.shape());
    if (!shape)
      throw Error(fmt::format("masked_select: {} and the mask {} do not broadcast",
                              ir::type_string(x.dtype(), x.shape()),
                              ir::type_string(mask.dtype(), mask.shape())));
    const bool free = value_of(x)->place < 0 || value_of(mask)->place < 0;
    if (x.dim() > 0 && mask.dim() > 0 && x.device() != mask.device() && !free)
      throw Error(fmt::format("masked_select: the operands are on different devices, {} and {}",
                              to_string(x.device()), to_string(mask.device())));
    return std::pair{x.expand(*shape, where), mask.expand(*shape, where)};
  });
  // One of them may be a tensor without axes on another device, or of constants alone.
  const bool by_mask = value_of(mask)->place > 0 || (mask.dim() > 0 && value_of(x)->place <= 0);
  const Device there = by_mask ? mask.device() : x.device();
  return shown.to(there, where).index({by.to(there, where)}, where);
}
Tensor Tensor::masked_select(const Tensor& mask, SourceLocation where) const {
  return cermet::masked_select(*this, mask, where);
}

Tensor nonzero(const Tensor& x, SourceLocation where) {
  const Tensor mask = called("nonzero", where, [&] { return x.to(DType::Bool, where); });
  const int64_t rank = mask.dim();
  const auto along = positions_of(rank == 0 ? mask.reshape({1}, where) : mask, where);
  const int64_t count = int64_t(along[0].size());
  std::vector<int64_t> out;
  for (int64_t i = 0; i < count; ++i)
    for (int64_t d = 0; d < rank; ++d) out.push_back(along[size_t(d)][size_t(i)]);
  return tensor(out, {count, rank}, where).to(mask.device(), where);
}

}  // namespace cermet
