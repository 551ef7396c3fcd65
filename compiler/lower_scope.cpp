#include "compiler/lower_scope.h"

#include <fmt/format.h>

#include <limits>

#include "compiler/elementwise.h"
#include "compiler/in_place.h"
#include "compiler/lower_fast.h"
#include "ir/check.h"
#include "ir/element.h"

namespace cermet::compiler {

using loops::Builder;
using loops::Ref;

DType held(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16 ? DType::F32 : dtype; }

KernelWriter::KernelWriter(const Kernel& kernel, const KernelProgram& program, const Target& target,
                           LoweredKernel& out)
    : kernel_(kernel),
      program_(program),
      own_(std::make_unique<FunctionFrame>(out, target)),
      frame_(*own_),
      out_(out),
      b_(frame_.builder),
      contracts_(contracts(kernel)),
      space_(kernel.outer) {
  for (int64_t extent : kernel.inner) space_.push_back(extent);
}

KernelWriter::KernelWriter(const Kernel& kernel, const KernelProgram& program, FunctionFrame& frame)
    : kernel_(kernel),
      program_(program),
      frame_(frame),
      out_(frame.out),
      b_(frame.builder),
      contracts_(contracts(kernel)),
      space_(kernel.outer) {
  for (int64_t extent : kernel.inner) space_.push_back(extent);
}

Ref FunctionFrame::integer(std::string_view role, int64_t which, int64_t value) {
  return value == 0 || value == 1 ? builder.index(value) : counted(role, which, value);
}

Ref FunctionFrame::counted(std::string_view role, int64_t which, int64_t value) {
  // Asked for at each access of each register tile: no text is formatted.
  argument_key.assign(kernel).append(role);
  for (int64_t number : {which, value})
    argument_key.append(reinterpret_cast<const char*>(&number), sizeof(number));
  auto at = arguments.find(argument_key);
  if (at == arguments.end()) {
    at = arguments.emplace(argument_key, int32_t(out.integers.size())).first;
    out.integers.push_back(value);
  }
  return builder.argument(at->second);
}

void KernelWriter::allow_overwrites() {
  for (const Overwrite& o : overwrites_of(kernel_, program_.buffers))
    overlapping_.insert(o.buffer), overlapping_.insert(kernel_.stores[size_t(o.store)].buffer);
}

int32_t KernelWriter::buffer(int32_t program_buffer) {
  auto [at, fresh] = frame_.buffers.emplace(program_buffer, 0);
  if (fresh) {
    out_.buffers.push_back(program_buffer);
    loops::Buffer argument;
    argument.dtype = program_.buffers[size_t(program_buffer)].dtype;
    argument.index = int32_t(out_.buffers.size()) - 1;
    argument.streamed = streamed_.contains(program_buffer);
    argument.restrict_ = !overlapping_.contains(program_buffer);
    at->second = b_.add_buffer(argument);
  }
  return at->second;
}

int32_t KernelWriter::scratch_buffer(DType dtype, Ref byte_offset) {
  loops::Buffer scratch;
  scratch.kind = loops::Buffer::Kind::Scratch;
  scratch.dtype = dtype;
  scratch.offset = byte_offset;
  if (frame_.scratch) {  // kernels of one function use the same memory one after the other
    scratch.offset = b_.add(frame_.scratch, byte_offset);
    scratch.restrict_ = false;
  }
  return b_.add_buffer(scratch);
}

int32_t KernelWriter::local_buffer(DType dtype, int64_t elements) {
  loops::Buffer local;
  local.kind = loops::Buffer::Kind::Local;
  local.dtype = dtype;
  local.elements = elements;
  return b_.add_buffer(local);
}

Ref KernelWriter::both(Ref mask1, Ref mask2) {
  if (!mask1) return mask2;
  return mask2 ? b_.and_(mask1, mask2) : mask1;
}

Ref KernelWriter::round(Ref value, DType dtype) {
  return dtype == held(dtype) ? value : b_.cast(b_.cast(value, dtype), held(dtype));
}

Ref KernelWriter::load_held(int32_t buffer, DType dtype, Ref position, int lanes, Ref mask) {
  const Ref value = b_.lanes(position) > 1 ? b_.gather_load(buffer, position, mask)
                                           : b_.load(buffer, position, lanes, mask);
  return b_.cast(value, held(dtype));
}

void KernelWriter::store_held(int32_t buffer, DType dtype, Ref position, Ref value, Ref mask) {
  value = b_.cast(value, dtype);
  if (b_.lanes(position) > 1)
    b_.scatter_store(buffer, position, value, mask);
  else
    b_.store(buffer, position, value, mask);
}

namespace {

// What is read for each row of a kernel and what for each element lie apart, and so do the operands
// of a contraction: if their strides are equal, they are by chance, and are not for another shape.
enum class Reads : uint8_t { Row, Element, Operand };

}  // namespace

// Where the points of the scope are read or written. Sums go from the outermost axis to the
// innermost, so that all but the last step leave the inner loops.
KernelWriter::Place KernelWriter::place(Scope& scope, const ir::ViewMap& map, std::string_view role,
                                        int64_t which) {
  const bool store = role == "store";
  const Expr& value = kernel_.exprs[size_t(store ? kernel_.stores[size_t(which)].value : which)];
  const Reads kind = !value.inner ? Reads::Row : contracts_ ? Reads::Operand : Reads::Element;
  Place out{{}, 0, {}, {}};
  std::string name;
  bool aligned = true;  // positions of whole vectors are multiples of the lanes
  std::vector<Ref> at = scope.index;
  at.resize(map.shape().size());
  for (size_t level = 0; level < map.levels().size(); ++level) {
    const ir::StridedMap& m = map.levels()[level];
    const auto number = [&](std::string_view what, size_t d, int64_t value) {
      if (value == 0 || value == 1) return b_.index(value);
      if (what == "stride" && level == 0) {
        // Strides of one axis with one value are one argument for all reads of a kind: that makes
        // their positions common.
        if (kind == Reads::Operand)
          return integer("operand stride", which << 16 | int64_t(d), value);
        return integer(kind == Reads::Row ? "stride" : "element stride", int64_t(d), value);
      }
      name.assign(role).append(" ").append(what);
      return integer(name, which << 32 | int64_t(level) << 16 | int64_t(d), value);
    };
    // The axis that lanes run along, one element apart: the vector axis of the space, or the only
    // axis of a deeper level, whose index is the position so far.
    int64_t lane_axis = level == 0 && scope.lanes > 1 ? vector_axis_ : -1;
    if (level > 0) {
      if (out.vector_stride == 1) lane_axis = 0;
      Ref rest = out.position;  // row-major, taken apart into this level's index
      at.assign(m.shape.size(), Ref());
      for (size_t d = m.shape.size(); d-- > 0;) {
        const Ref size = number("size", d, m.shape[d]);
        at[d] = d == 0 ? rest : b_.rem(rest, size);
        if (d > 0) rest = b_.div(rest, size);
      }
    }
    Ref position = number("offset", 0, m.offset);
    int64_t vector_stride = 0;
    Ref lane_part;
    aligned &= m.offset % scope.lanes == 0;
    for (size_t d = 0; d < m.shape.size(); ++d) {
      const bool lanes_here = int64_t(d) == lane_axis;
      const Ref index = lanes_here && (m.begin[d] != 0 || m.end[d] != m.shape[d])
                            ? b_.ramp(at[d], scope.lanes)
                            : at[d];
      Ref valid;
      if (m.begin[d] != 0) valid = b_.ge(index, number("begin", d, m.begin[d]));
      if (m.end[d] != m.shape[d]) valid = both(valid, b_.lt(index, number("end", d, m.end[d])));
      if (valid) {
        Ref& mask = b_.lanes(valid) > 1 ? out.vector_mask : out.scalar_mask;
        mask = both(mask, valid);
      }
      if (m.strides[d] == 0) continue;
      aligned &= lanes_here || m.strides[d] % scope.lanes == 0;
      // Small spacings of lanes are part of the code: they are loads and a shuffle, not a gather.
      const bool spaced = lanes_here && (m.strides[d] == 2 || m.strides[d] == 4);
      const Ref stride = spaced ? b_.index(m.strides[d]) : number("stride", d, m.strides[d]);
      if (lanes_here) {
        vector_stride = m.strides[d];
        lane_part = stride;
      }
      position = b_.add(position, b_.mul(at[d], stride));
    }
    const bool last = level + 1 == map.levels().size();
    if (lane_part && vector_stride != 1) {
      position = b_.add(position, b_.mul(b_.ramp(b_.index(0), scope.lanes), lane_part));
      vector_stride = 0;
    } else if (lane_part && !last && map.levels()[level + 1].shape.size() != 1) {
      position = b_.ramp(position, scope.lanes);
      vector_stride = 0;
    }
    out.position = position;
    out.vector_stride = vector_stride;
  }
  // A GPU reads and writes vectors at multiples of their size only; others go lane by lane.
  if (b_.target().compute > 0 && out.vector_stride == 1 && !aligned && scope.lanes > 1) {
    out.position = b_.ramp(out.position, scope.lanes);
    out.vector_stride = 0;
  }
  return out;
}

Ref KernelWriter::load(Scope& scope, int32_t program_buffer, Place at) {
  const DType dtype = program_.buffers[size_t(program_buffer)].dtype;
  const int32_t from = buffer(program_buffer);
  if (b_.lanes(at.position) > 1 || at.vector_stride == 1)
    return load_held(from, dtype, at.position, scope.lanes,
                     both(scope.mask, both(at.scalar_mask, at.vector_mask)));
  // Lanes that share a position need no masks of their own: it exists if any of them does.
  const bool all_or_none = scope.mask && b_.lanes(scope.mask) == 1;
  const Ref mask = all_or_none ? both(scope.mask, at.scalar_mask) : at.scalar_mask;
  const Ref value = load_held(from, dtype, at.position, 1, mask);
  return at.vector_mask ? b_.select(at.vector_mask, value, elementwise::zero(b_, value)) : value;
}

void KernelWriter::copy(Scope& scope, int32_t which, int32_t to, Ref to_position) {
  const Expr& expr = kernel_.exprs[size_t(which)];
  const Place at = place(scope, *expr.map, "load", which);
  CERMET_CHECK(at.vector_stride == 1 && b_.lanes(at.position) == 1 && !at.vector_mask,
               "kernel {}: load {} is not of whole vectors", kernel_.name, which);
  b_.copy_async(to, to_position, buffer(expr.buffer), at.position,
                both(scope.mask, at.scalar_mask));
}

Ref KernelWriter::checked_index(Scope& scope, std::string_view op, int32_t index_expr,
                                int64_t extent, int64_t which, Ref* inside) {
  const Ref index = evaluate(scope, index_expr);
  const Ref limit = integer(fmt::format("{} extent", op), which, extent);
  *inside = b_.and_(b_.ge(index, b_.index(0)), b_.lt(index, limit));
  Ref outside = b_.not_(*inside);
  if (scope.mask) outside = b_.and_(outside, scope.mask);
  out_.reports.push_back(
      fmt::format("{}: index {{}} is out of range for an axis of {} elements", op, extent));
  b_.report(int64_t(out_.reports.size()), outside, index);
  return index;
}

// Whether steps of so many elements leave the places where a GPU reads whole vectors.
bool KernelWriter::moves_off_vectors(const Scope& scope, int64_t stride) const {
  return b_.target().compute > 0 && stride % scope.lanes != 0;
}

// A position for each lane.
Ref KernelWriter::in_lanes(const Scope& scope, const Place& at) {
  return b_.lanes(at.position) == 1 ? b_.ramp(at.position, scope.lanes) : at.position;
}

Ref KernelWriter::evaluate_gather(Scope& scope, const Expr& expr, int32_t which) {
  Ref inside;
  const Ref index = checked_index(scope, "gather", expr.operands[0], expr.extent, which, &inside);
  Place at = place(scope, *expr.map, "gather", which);
  const Ref moved = b_.mul(index, integer("gather stride", which, expr.stride));
  if (at.vector_stride == 1 && (b_.lanes(index) > 1 || moves_off_vectors(scope, expr.stride)))
    at.position = in_lanes(scope, at), at.vector_stride = 0;
  at.position = b_.add(at.position, moved);
  Ref& mask = b_.lanes(inside) > 1 ? at.vector_mask : at.scalar_mask;
  mask = both(mask, inside);
  return load(scope, expr.buffer, at);
}

Ref KernelWriter::evaluate_map(Scope& scope, const Expr& expr) {
  if (b_.target().numerics.fast)
    if (const Ref value = fast_map(*this, scope, expr))
      return expr.once ? value : round(value, expr.dtype);
  SmallVector<Ref, 3> x;
  for (int32_t operand : expr.operands) x.push_back(evaluate(scope, operand));
  const DType from = kernel_.exprs[size_t(expr.operands[0])].dtype;
  if (expr.op == ir::Op::Cast) {
    // A double becomes f16 or bf16 in one rounding.
    if (expr.dtype != held(expr.dtype)) {
      const Ref value = is_float(from) ? x[0] : elementwise::convert(b_, x[0], DType::F64);
      return b_.cast(b_.cast(value, expr.dtype), held(expr.dtype));
    }
    return elementwise::convert(b_, x[0], expr.dtype);
  }
  if (expr.op == ir::Op::Bitcast)
    return b_.cast(b_.bitcast(b_.cast(x[0], from), expr.dtype), held(expr.dtype));
  const auto lowered = [&]() -> Ref {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch"
    switch (expr.op) {
#pragma GCC diagnostic pop
#define CERMET_APPLY1(rule) rule(b_, x[0])
#define CERMET_APPLY2(rule) rule(b_, x[0], x[1])
#define CERMET_APPLY3(rule) rule(b_, x[0], x[1], x[2])
#define OP(Enum, name, arity, operands, result, cycles, eval, grad, lower) \
  case ir::Op::Enum: return CERMET_APPLY##arity(lower);
#include "cermet/ops.def"
#undef CERMET_APPLY1
#undef CERMET_APPLY2
#undef CERMET_APPLY3
    }
    throw InternalError(fmt::format("{} is not an elementwise op", ir::name(expr.op)));
  };
  return expr.once ? lowered() : round(lowered(), expr.dtype);
}

Ref KernelWriter::evaluate(Scope& scope, int32_t which) {
  if (scope.values[size_t(which)]) return scope.values[size_t(which)];
  const Expr& expr = kernel_.exprs[size_t(which)];
  Ref value;
  switch (expr.kind) {
    case Expr::Kind::Load:
      value = load(scope, expr.buffer, place(scope, *expr.map, "load", which));
      break;
    case Expr::Kind::Position: {
      const Place at = place(scope, *expr.map, "position", which);
      value = at.vector_stride == 1 && b_.lanes(at.position) == 1
                  ? b_.ramp(at.position, scope.lanes)
                  : at.position;
      if (const Ref mask = both(at.scalar_mask, at.vector_mask))
        value = b_.select(mask, value, b_.index(0));
      break;
    }
    case Expr::Kind::Constant:
      value = expr.dtype == held(expr.dtype)
                  ? b_.constant_bits(expr.dtype, expr.bits)
                  : b_.constant({}, DType::F32, ir::element_to_double(expr.dtype, expr.bits));
      break;
    case Expr::Kind::Map: value = evaluate_map(scope, expr); break;
    case Expr::Kind::Gather: value = evaluate_gather(scope, expr, which); break;
    case Expr::Kind::Reduce:
    case Expr::Kind::ArgReduce:
    case Expr::Kind::Scan:
    case Expr::Kind::Contract:
      throw InternalError(fmt::format("kernel {}: expression {} is used before it is computed",
                                      kernel_.name, which));
  }
  scope.values[size_t(which)] = value;
  return value;
}

Ref KernelWriter::scatter_position(Scope& scope, const KernelStore& store, Ref* mask) {
  const int64_t which = &store - kernel_.stores.data();
  Place at = place(scope, ir::ViewMap(store.map), "store", which);
  Ref inside;
  const Ref index = checked_index(scope, "scatter", store.index, store.extent, which, &inside);
  *mask = both(scope.mask, inside);
  if (b_.lanes(index) > 1 || moves_off_vectors(scope, store.stride))
    at.position = in_lanes(scope, at);
  return b_.add(at.position, b_.mul(index, integer("scatter stride", which, store.stride)));
}

void KernelWriter::prefetch(Scope& scope, int32_t which, bool near) {
  const Expr& expr = kernel_.exprs[size_t(which)];
  const Ref position = place(scope, *expr.map, "load", which).position;
  if (b_.lanes(position) == 1) b_.prefetch(buffer(expr.buffer), position, near);
}
void KernelWriter::prefetch(Scope& scope, const KernelStore& store) {
  const int64_t which = &store - kernel_.stores.data();
  const Ref position = place(scope, ir::ViewMap(store.map), "store", which).position;
  if (b_.lanes(position) == 1) b_.prefetch(buffer(store.buffer), position);
}

Ref KernelWriter::stored(Scope& scope, const KernelStore& store) {
  const int64_t which = &store - kernel_.stores.data();
  return load(scope, store.buffer, place(scope, ir::ViewMap(store.map), "store", which));
}

void KernelWriter::store(Scope& scope, const KernelStore& store) {
  const DType dtype = program_.buffers[size_t(store.buffer)].dtype;
  const int32_t to = buffer(store.buffer);
  const int64_t which = &store - kernel_.stores.data();
  Ref value = evaluate(scope, store.value);
  if (store.index < 0) {
    const Place at = place(scope, ir::ViewMap(store.map), "store", which);
    const bool spread = b_.lanes(at.position) == 1;
    CERMET_CHECK(scope.lanes == 1 || !spread || at.vector_stride == 1,
                 "kernel {}: lanes of store {} share a position", kernel_.name, which);
    value = b_.splat(value, scope.lanes);
    return store_held(to, dtype, at.position, value, scope.mask);
  }
  Ref mask;
  const Ref position = scatter_position(scope, store, &mask);
  value = b_.splat(value, scope.lanes);
  if (store.combine != ir::Combine::Set) {
    const Ref old = load_held(to, dtype, position, scope.lanes, mask);
    value = combine(b_, store.combine, old, value);
  }
  store_held(to, dtype, position, value, mask);
}

Ref combine(Builder& b, ir::Combine combine, Ref x, Ref y) {
  switch (combine) {
    case ir::Combine::Sum: return b.add(x, y);
    case ir::Combine::Prod: return b.mul(x, y);
    case ir::Combine::Max: return elementwise::maximum(b, x, y);
    case ir::Combine::Min: return elementwise::minimum(b, x, y);
    case ir::Combine::Set: return y;
  }
  __builtin_unreachable();
}

Ref multiply_add(Builder& b, Ref x, Ref y, Ref z) {
  if (b.has_fma() && is_float(b.dtype(x))) return b.fma(x, y, z);
  return b.add(z, b.mul(x, y));
}

Ref identity(Builder& b, ir::Combine combine, DType dtype, int lanes) {
  const auto number = [&](double value) {
    return b.constant_bits(dtype, ir::element_bits(dtype, value), lanes);
  };
  const auto integer = [&](int64_t value) {
    return b.constant_bits(dtype, ir::element_bits(dtype, value), lanes);
  };
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const int64_t smallest = is_signed(dtype) ? INT64_MIN >> (64 - bits_of(dtype)) : 0;
  switch (combine) {
    case ir::Combine::Sum: return is_float(dtype) ? number(-0.0) : integer(0);
    case ir::Combine::Prod: return integer(1);
    case ir::Combine::Max: return is_float(dtype) ? number(-infinity) : integer(smallest);
    case ir::Combine::Min: return is_float(dtype) ? number(infinity) : integer(~smallest);
    case ir::Combine::Set: break;
  }
  throw InternalError("set has no identity");
}

}  // namespace cermet::compiler
