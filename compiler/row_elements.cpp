// What happens at one element of a row program, in one of its stages.

#include <algorithm>

#include "compiler/row_lowering.h"

namespace cermet::compiler {

using loops::Ref;
using Kind = Expr::Kind;

namespace {

// A sum whose operand is a product that has not been rounded to fewer bits.
bool sums_products(const Kernel& kernel, const Expr& e) {
  if (e.kind != Kind::Reduce || e.combine != ir::Combine::Sum || !is_float(e.dtype)) return false;
  const Expr& x = kernel.exprs[size_t(e.operands[0])];
  return x.kind == Kind::Map && x.op == ir::Op::Mul && x.inner && x.dtype == held(x.dtype);
}

}  // namespace

// Everything that happens at one element: partial results go on, scans get their value, stores are
// made.
void RowLowering::emit_elements(int stage, Scope& scope, size_t copy, std::span<Ref> partials) {
  if (stage == 1) prefetch_next(scope);
  size_t next = 0;
  for (int32_t i : plan_.accumulated[size_t(stage)]) {
    const Expr& e = kernel_.exprs[size_t(i)];
    const bool products =
        sums_products(kernel_, e) && scratch_of_[size_t(e.operands[0])] < 0;  // else it is kept
    const auto factor = [&](size_t which) {
      const Expr& product = products ? kernel_.exprs[size_t(e.operands[0])] : e;
      return b_.splat(element(stage, scope, product.operands[which], copy), scope.lanes);
    };
    const Ref value = factor(0);
    const auto keep = [&](Ref fresh, Ref old) {  // a masked lane along the inner axis adds nothing
      return scope.mask && plan_.along_inner() ? b_.select(scope.mask, fresh, old) : fresh;
    };
    Ref& partial = partials[next++];
    if (e.kind == Kind::ArgReduce) {
      Ref& position = partials[next++];
      const int64_t axis = plan_.outer;
      const Ref here = axis == plan_.vector_axis && scope.lanes > 1
                           ? b_.ramp(scope.index[size_t(axis)], scope.lanes)
                           : b_.splat(scope.index[size_t(axis)], scope.lanes);
      const Partial fresh = merge(b_, e, {partial, position}, {value, here});
      partial = keep(fresh.value, partial), position = keep(fresh.position, position);
    } else {
      Ref fresh;
      if (e.kind == Kind::Contract || products) {
        fresh = multiply_add(b_, value, factor(1), partial);
      } else {
        fresh = combine(b_, e.combine, partial, value);
      }
      if (e.kind == Kind::Scan) {
        Ref result = e.exclusive ? partial : fresh;
        if (e.exclusive && e.combine == ir::Combine::Sum && is_float(e.dtype)) {
          // Sums start from -0.0, so that those of -0.0 are -0.0; before the first element is 0.
          const Ref start = e.reverse ? b_.sub(w_.extent(plan_.outer), b_.index(1)) : b_.index(0);
          result = b_.select(b_.eq(scope.index[size_t(plan_.outer)], start),
                             elementwise::zero(b_, result), result);
        }
        scope.values[size_t(i)] = w_.round(result, e.dtype);
        if (scratch_of_[size_t(i)] >= 0)
          w_.store_held(scratch_of_[size_t(i)], e.dtype, scratch_position(scope, copy),
                        scope.values[size_t(i)], {});
      }
      partial = keep(fresh, partial);
    }
  }
  for (size_t s = 0; s < kernel_.stores.size(); ++s) {
    if (plan_.store_stage[s] != stage) continue;
    element(stage, scope, kernel_.stores[s].value, copy);
    if (kernel_.stores[s].index >= 0) element(stage, scope, kernel_.stores[s].index, copy);
    w_.store(scope, kernel_.stores[s]);
  }
}

// The lines of the next row under this element: into the first cache if they are of one array only,
// as those of several would drive out what this row reads.
void RowLowering::prefetch_next(const Scope& element) {
  for (int32_t load : plan_.ahead) {
    Scope below{element.index, element.lanes, {}, std::vector<Ref>(kernel_.exprs.size())};
    std::copy_n(next_row_.begin(), plan_.outer, below.index.begin());
    w_.prefetch(below, load, plan_.ahead.size() == 1);
  }
}

// The value of an element in a stage: from scratch if an earlier stage kept it, else computed, and
// kept if later stages want it. Operands first, with a list instead of recursion.
Ref RowLowering::element(int stage, Scope& scope, int32_t root, size_t copy) {
  std::vector<int32_t> pending{root};
  while (!pending.empty()) {
    const int32_t i = pending.back();
    Ref& value = scope.values[size_t(i)];
    const Expr& e = kernel_.exprs[size_t(i)];
    const int32_t scratch = scratch_of_[size_t(i)];
    const size_t waiting = pending.size();
    if (!value && scratch >= 0 && stage > kept_in_[size_t(i)]) {
      value = w_.load_held(scratch, e.dtype, scratch_position(scope, copy), scope.lanes, {});
    } else if (!value) {
      for (int32_t operand : e.operands)
        if (!scope.values[size_t(operand)]) pending.push_back(operand);
      if (pending.size() > waiting) continue;
      w_.evaluate(scope, i);
      if (scratch >= 0)
        w_.store_held(scratch, e.dtype, scratch_position(scope, copy),
                      b_.splat(scope.values[size_t(i)], scope.lanes), {});
    }
    pending.pop_back();
  }
  return scope.values[size_t(root)];
}

// Row-major over the nesting order, so that an inner vector axis is contiguous; with lanes along an
// outer axis, the lanes in flight come last, or the columns that advance together.
Ref RowLowering::scratch_position(const Scope& scope, size_t copy) {
  Ref position = b_.index(0);
  std::vector<int64_t> strides(plan_.nesting.size(), plan_.holds_columns() ? plan_.columns
                                                     : plan_.along_outer()
                                                         ? int64_t(plan_.lanes) * plan_.copies
                                                         : 1);
  for (size_t i = plan_.nesting.size(); i-- > 1;)
    strides[i - 1] = strides[i] * plan_.space[size_t(plan_.nesting[i])];
  for (size_t i = 0; i < plan_.nesting.size(); ++i) {
    const Ref step = w_.integer("scratch stride", plan_.nesting[i], strides[i]);
    position = b_.add(position, b_.mul(scope.index[size_t(plan_.nesting[i])], step));
  }
  if (plan_.holds_columns()) return b_.add(position, column_position(scope));
  return plan_.along_outer() ? b_.add(position, b_.index(int64_t(copy) * plan_.lanes)) : position;
}

}  // namespace cermet::compiler
