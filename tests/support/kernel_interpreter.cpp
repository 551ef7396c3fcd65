#include "support/kernel_interpreter.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "cermet/error.h"
#include "ir/element.h"
#include "ir/eval.h"
#include "ir/word.h"

namespace cermet::test {

using compiler::Expr;
using compiler::Kernel;
using compiler::KernelBuffer;
using compiler::KernelProgram;
using compiler::KernelStore;
using ir::Combine;
using ir::HostArray;

namespace {

Shape joined(const Shape& a, const Shape& b) {
  Shape out = a;
  for (int64_t n : b) out.push_back(n);
  return out;
}

Dims index_of(int64_t linear, const Shape& shape) {
  Dims out(shape.size());
  for (size_t d = shape.size(); d-- > 0;) out[d] = linear % shape[d], linear /= shape[d];
  return out;
}

// A running combination, in double or in 64-bit integers.
class Accumulator {
 public:
  Accumulator(DType dtype, Combine combine) : dtype_(dtype), combine_(combine) {}

  void add(uint64_t bits) {
    const bool first = empty_;
    empty_ = false;
    if (is_float(dtype_)) {
      const double x = ir::element_to_double(dtype_, bits);
      real_ = first ? x : combined(real_, x);
    } else {
      const int64_t x = ir::element_to_int(dtype_, bits);
      whole_ = first ? x : combined(whole_, x);
    }
  }
  // The bits so far; of nothing, the identity.
  uint64_t bits() const {
    if (empty_) return identity();
    return is_float(dtype_) ? ir::element_bits(dtype_, real_) : ir::element_bits(dtype_, whole_);
  }

 private:
  double combined(double a, double b) const {
    switch (combine_) {
      case Combine::Sum: return a + b;
      case Combine::Prod: return a * b;
      case Combine::Max: return std::isnan(a) || a > b ? a : b;
      case Combine::Min: return std::isnan(a) || a < b ? a : b;
      case Combine::Set: return b;
    }
    return b;
  }
  int64_t combined(int64_t a, int64_t b) const {
    const bool less = is_unsigned(dtype_) ? uint64_t(a) < uint64_t(b) : a < b;
    switch (combine_) {
      case Combine::Sum: return int64_t(uint64_t(a) + uint64_t(b));
      case Combine::Prod: return int64_t(uint64_t(a) * uint64_t(b));
      case Combine::Max: return less ? b : a;
      case Combine::Min: return less ? a : b;
      case Combine::Set: return b;
    }
    return b;
  }
  uint64_t identity() const {
    switch (combine_) {
      case Combine::Sum:
      case Combine::Set: return ir::element_bits(dtype_, 0.0);
      case Combine::Prod: return ir::element_bits(dtype_, 1.0);
      case Combine::Max: return ir::element_bits(dtype_, -INFINITY);
      case Combine::Min: return ir::element_bits(dtype_, INFINITY);
    }
    return 0;
  }

  DType dtype_;
  Combine combine_;
  bool empty_ = true;
  double real_ = 0;
  int64_t whole_ = 0;
};

class Run {
 public:
  Run(const KernelProgram& program, std::span<const HostArray> parameters) : program_(program) {
    for (const KernelBuffer& b : program.buffers) {
      buffers_.emplace_back(b.dtype, Shape{b.elements});
      if (b.kind == KernelBuffer::Kind::Parameter)
        buffers_.back().bytes = parameters[size_t(b.slot)].bytes;
    }
  }

  std::vector<HostArray> operator()() {
    for (const Kernel& k : program_.kernels) {
      dtypes_.clear();
      for (const Expr& e : k.exprs) dtypes_.push_back(e.dtype);
      if (k.kind == Kernel::Kind::Sort)
        sort(k);
      else
        for (int64_t row = 0; row < numel(k.outer); ++row) run_row(k, index_of(row, k.outer));
    }
    std::vector<HostArray> results;
    for (size_t i = 0; i < buffers_.size(); ++i) {
      const KernelBuffer& b = program_.buffers[i];
      if (b.kind != KernelBuffer::Kind::Result) continue;
      results.resize(std::max(results.size(), size_t(b.slot) + 1));
      results[size_t(b.slot)] = buffers_[i];
    }
    return results;
  }

 private:
  using Values = std::vector<uint64_t>;

  void run_row(const Kernel& k, const Dims& outer) {
    std::vector<Dims> at;
    for (int64_t j = 0; j < numel(k.inner); ++j) at.push_back(joined(outer, index_of(j, k.inner)));
    std::vector<Values> values;
    for (const Expr& e : k.exprs) {
      Values v;
      if (e.kind == Expr::Kind::Scan)
        v = scan(e, values[size_t(e.operands[0])]);
      else if (!e.inner)
        v.push_back(value(e, values, outer, 0, numel(k.inner)));
      else
        for (size_t j = 0; j < at.size(); ++j) v.push_back(value(e, values, at[j], j, 0));
      values.push_back(std::move(v));
    }
    for (const KernelStore& s : k.stores) {
      const Values& v = values[size_t(s.value)];
      const bool inner = k.exprs[size_t(s.value)].inner;
      for (size_t j = 0; j < v.size(); ++j) store(s, v[j], values, inner ? at[j] : outer, j);
    }
  }

  static uint64_t pick(const Values& v, size_t j) { return v.size() == 1 ? v[0] : v[j]; }

  uint64_t read(int32_t buffer, int64_t position) const {
    const HostArray& array = buffers_[size_t(buffer)];
    if (position < 0 || position >= array.numel())
      throw std::out_of_range(fmt::format("read of {} in {} elements", position, array.numel()));
    return array.bits(position);
  }

  uint64_t value(const Expr& e, const std::vector<Values>& values, const Dims& at, size_t j,
                 int64_t columns) const {
    const auto operand = [&](size_t k) { return pick(values[size_t(e.operands[k])], j); };
    const auto dtype_of_operand = [&](size_t k) { return dtypes_[size_t(e.operands[k])]; };
    switch (e.kind) {
      case Expr::Kind::Load: {
        const auto p = e.map->position(at);
        return p ? read(e.buffer, *p) : 0;
      }
      case Expr::Kind::Position: return uint64_t(e.map->position(at).value_or(0));
      case Expr::Kind::Constant: return e.bits;
      case Expr::Kind::Gather: {
        const auto p = e.map->position(at);
        const int64_t index = int64_t(operand(0));
        if (index < 0 || index >= e.extent)
          throw Error(fmt::format("gather: index {} is outside of {}", index, e.extent));
        return p ? read(e.buffer, *p + index * e.stride) : 0;
      }
      case Expr::Kind::Map: {
        if (e.op == ir::Op::Bitcast) return operand(0);
        if (e.op == ir::Op::Cast) return cast(dtype_of_operand(0), operand(0), e.dtype);
        SmallVector<uint64_t, 3> bits;
        for (size_t k = 0; k < e.operands.size(); ++k) bits.push_back(operand(k));
        return ir::eval_element(e.op, dtype_of_operand(e.operands.size() - 1), bits);
      }
      case Expr::Kind::Reduce: {
        Accumulator sum(e.dtype, e.combine);
        for (int64_t i = 0; i < columns; ++i)
          sum.add(pick(values[size_t(e.operands[0])], size_t(i)));
        return sum.bits();
      }
      case Expr::Kind::ArgReduce: return arg_reduce(e, values[size_t(e.operands[0])], columns);
      case Expr::Kind::Contract:
        return contract(e, values[size_t(e.operands[0])], values[size_t(e.operands[1])], columns);
      case Expr::Kind::Scan: break;
    }
    throw std::logic_error("no value");
  }

  static uint64_t cast(DType from, uint64_t bits, DType to) {
    uint64_t word = 0, out = 0;
    ir::unpack(from, &bits, 0, 1, &word);
    ir::pack_cast(from, &word, 1, to, &out, 0);
    return out;
  }

  uint64_t arg_reduce(const Expr& e, const Values& v, int64_t columns) const {
    const DType dtype = dtypes_[size_t(e.operands[0])];
    int64_t best = 0;
    for (int64_t i = 1; i < columns; ++i) {
      Accumulator both(dtype, e.combine);
      const uint64_t a = pick(v, size_t(best)), b = pick(v, size_t(i));
      if (is_float(dtype)) {
        const double x = ir::element_to_double(dtype, a), y = ir::element_to_double(dtype, b);
        if (std::isnan(x)) break;
        if (std::isnan(y) || (e.combine == Combine::Max ? y > x : y < x)) best = i;
      } else if (a != b) {
        both.add(a), both.add(b);
        if (both.bits() == b) best = i;
      }
    }
    return uint64_t(best);
  }

  uint64_t contract(const Expr& e, const Values& a, const Values& b, int64_t columns) const {
    double real = 0;
    uint64_t whole = 0;
    for (int64_t i = 0; i < columns; ++i) {
      const uint64_t x = pick(a, size_t(i)), y = pick(b, size_t(i));
      if (is_float(e.dtype))
        real += ir::element_to_double(e.dtype, x) * ir::element_to_double(e.dtype, y);
      else
        whole +=
            uint64_t(ir::element_to_int(e.dtype, x)) * uint64_t(ir::element_to_int(e.dtype, y));
    }
    return is_float(e.dtype) ? ir::element_bits(e.dtype, real)
                             : ir::element_bits(e.dtype, int64_t(whole));
  }

  static Values scan(const Expr& e, const Values& v) {
    Values out(v.size());
    Accumulator running(e.dtype, e.combine);
    for (size_t i = 0; i < v.size(); ++i) {
      const size_t j = e.reverse ? v.size() - 1 - i : i;
      if (e.exclusive) out[j] = running.bits();
      running.add(v[j]);
      if (!e.exclusive) out[j] = running.bits();
    }
    return out;
  }

  void store(const KernelStore& s, uint64_t bits, const std::vector<Values>& values, const Dims& at,
             size_t j) {
    HostArray& to = buffers_[size_t(s.buffer)];
    int64_t position = ir::ViewMap(s.map).position(at).value();
    if (s.index >= 0) {
      const int64_t index = int64_t(pick(values[size_t(s.index)], j));
      if (index < 0 || index >= s.extent)
        throw Error(fmt::format("scatter: index {} is outside of {}", index, s.extent));
      position += index * s.stride;
    }
    if (position < 0 || position >= to.numel())
      throw std::out_of_range(fmt::format("store to {} of {} elements", position, to.numel()));
    if (s.index >= 0) {
      Accumulator both(to.dtype, s.combine);
      both.add(to.bits(position)), both.add(bits);
      bits = both.bits();
    }
    to.set_bits(position, bits);
  }

  void sort(const Kernel& k) {
    const HostArray& from = buffers_[size_t(k.sort_input)];
    HostArray& to = buffers_[size_t(k.stores[0].buffer)];
    const int64_t columns = numel(k.inner);
    for (int64_t row = 0; row < numel(k.outer); ++row) {
      std::vector<int64_t> order;
      for (int64_t i = 0; i < columns; ++i) order.push_back(i);
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        const uint64_t x = from.bits(row * columns + a), y = from.bits(row * columns + b);
        return before(from.dtype, x, y, k.descending);
      });
      for (int64_t i = 0; i < columns; ++i)
        to.set_bits(row * columns + i, uint64_t(order[size_t(i)]));
    }
  }

  static bool before(DType dtype, uint64_t a, uint64_t b, bool descending) {
    if (is_float(dtype)) {
      const double x = ir::element_to_double(dtype, a), y = ir::element_to_double(dtype, b);
      if (std::isnan(x) || std::isnan(y))  // NaN is the largest
        return descending ? std::isnan(x) && !std::isnan(y) : !std::isnan(x) && std::isnan(y);
      return descending ? x > y : x < y;
    }
    const int64_t x = ir::element_to_int(dtype, a), y = ir::element_to_int(dtype, b);
    if (is_unsigned(dtype))
      return descending ? uint64_t(x) > uint64_t(y) : uint64_t(x) < uint64_t(y);
    return descending ? x > y : x < y;
  }

  const KernelProgram& program_;
  std::vector<HostArray> buffers_;
  std::vector<DType> dtypes_;  // of the kernel's expressions
};

}  // namespace

std::vector<HostArray> interpret_kernels(const KernelProgram& program,
                                         std::span<const HostArray> parameters) {
  return Run(program, parameters)();
}

}  // namespace cermet::test
