// How sets of partial results start, combine and end.

#include "compiler/row_partials.h"

#include "compiler/elementwise.h"
#include "ir/check.h"

namespace cermet::compiler {

using loops::Opcode;
using loops::Ref;
using Kind = Expr::Kind;

Partial start_of(loops::Builder& b, const Kernel& kernel, const Expr& e, int lanes) {
  const DType dtype = held(kernel.exprs[size_t(e.operands[0])].dtype);
  Partial out{identity(b, combine_of(e), dtype, lanes), {}};
  if (e.kind == Kind::ArgReduce) out.position = b.constant_bits(DType::I64, 0, lanes);
  return out;
}

Partial merge(loops::Builder& b, const Expr& e, Partial x, Partial y) {
  if (e.kind != Kind::ArgReduce) return {combine(b, combine_of(e), x.value, y.value), {}};
  const bool max = e.combine == ir::Combine::Max;
  Ref better = max ? elementwise::lt(b, x.value, y.value) : elementwise::lt(b, y.value, x.value);
  Ref equal = elementwise::eq(b, x.value, y.value);
  if (is_float(b.dtype(x.value))) {
    const Ref x_nan = b.ne(x.value, x.value), y_nan = b.ne(y.value, y.value);
    better = b.and_(b.or_(better, y_nan), b.not_(x_nan));
    equal = b.or_(equal, b.and_(x_nan, y_nan));
  }
  better = b.or_(better, b.and_(equal, b.lt(y.position, x.position)));
  return {b.select(better, y.value, x.value), b.select(better, y.position, x.position)};
}

Partial across_lanes(loops::Builder& b, const Expr& e, Partial partial) {
  if (e.kind == Kind::ArgReduce) {
    const int lanes = b.lanes(partial.value);
    Partial out{b.extract(partial.value, 0), b.extract(partial.position, 0)};
    for (int lane = 1; lane < lanes; ++lane)
      out = merge(b, e, out, {b.extract(partial.value, lane), b.extract(partial.position, lane)});
    return out;
  }
  const bool boolean = is_bool(b.dtype(partial.value));
  switch (combine_of(e)) {
    case ir::Combine::Sum: return {b.reduce(Opcode::ReduceAdd, partial.value), {}};
    case ir::Combine::Prod: return {b.reduce(Opcode::ReduceMul, partial.value), {}};
    case ir::Combine::Max:
      return {b.reduce(boolean ? Opcode::ReduceOr : Opcode::ReduceMax, partial.value), {}};
    case ir::Combine::Min:
      return {b.reduce(boolean ? Opcode::ReduceAnd : Opcode::ReduceMin, partial.value), {}};
    case ir::Combine::Set: break;
  }
  throw InternalError("set is not a reduction");
}

size_t RowPartials::per_set(int stage) const {
  size_t count = 0;
  for (int32_t i : plan_.accumulated[size_t(stage)])
    count += kernel_.exprs[size_t(i)].kind == Kind::ArgReduce ? 2 : 1;
  return count;
}

void RowPartials::append_start(int stage, int lanes, std::vector<Ref>& sets) {
  for (int32_t i : plan_.accumulated[size_t(stage)]) {
    const Partial start = start_of(b_, kernel_, kernel_.exprs[size_t(i)], lanes);
    sets.push_back(start.value);
    if (start.position) sets.push_back(start.position);
  }
}

std::vector<Ref> RowPartials::starts(int stage, const std::vector<Scope>& rows) {
  std::vector<Ref> out;
  const size_t sets = plan_.along_inner() ? size_t(plan_.copies_in(stage)) : rows.size();
  for (size_t set = 0; set < sets; ++set)
    append_start(stage, plan_.along_inner() ? plan_.lanes : rows[set].lanes, out);
  if (plan_.along_inner() && !plan_.masks && plan_.lanes > 1) append_start(stage, 1, out);
  return out;
}

std::vector<Ref> RowPartials::merge_all(int stage, std::span<const Ref> x, std::span<const Ref> y) {
  std::vector<Ref> out;
  while (out.size() < x.size())
    for (int32_t i : plan_.accumulated[size_t(stage)]) {
      const Expr& e = kernel_.exprs[size_t(i)];
      const bool arg = e.kind == Kind::ArgReduce;
      const size_t at = out.size();
      const auto partial = [&](std::span<const Ref> from) {
        return Partial{from[at], arg ? from[at + 1] : Ref()};
      };
      const Partial both = merge(b_, e, partial(x), partial(y));
      out.push_back(both.value);
      if (arg) out.push_back(both.position);
    }
  return out;
}

void RowPartials::finish(int stage, std::vector<Scope>& rows, std::span<const Ref> carried) {
  const size_t count = per_set(stage);
  size_t at = 0;
  for (int32_t i : plan_.accumulated[size_t(stage)]) {
    const Expr& e = kernel_.exprs[size_t(i)];
    const bool arg = e.kind == Kind::ArgReduce;
    const auto partial = [&](size_t set) {
      return Partial{carried[set * count + at], arg ? carried[set * count + at + 1] : Ref()};
    };
    const auto give = [&](Scope& row, Partial result) {
      row.values[size_t(i)] = arg ? result.position : w_.round(result.value, e.dtype);
    };
    if (e.kind != Kind::Scan && plan_.along_inner()) {
      std::vector<Partial> sets;
      for (int set = 0; set < plan_.copies_in(stage); ++set) sets.push_back(partial(size_t(set)));
      for (size_t width = 1; width < sets.size(); width *= 2)
        for (size_t k = 0; k + width < sets.size(); k += 2 * width)
          sets[k] = merge(b_, e, sets[k], sets[k + width]);
      Partial result = across_lanes(b_, e, sets[0]);
      if (!plan_.masks && plan_.lanes > 1)
        result = merge(b_, e, result, partial(size_t(plan_.copies_in(stage))));
      give(rows[0], result);
    } else if (e.kind != Kind::Scan) {
      for (size_t r = 0; r < rows.size(); ++r) give(rows[r], partial(r));
    }
    at += arg ? 2 : 1;
  }
}

}  // namespace cermet::compiler
