// One pass over the kernels in their order, with what has been stored so far counted per buffer.
// Indices are checked before they are used, so that a program in which anything may be wrong (it
// may come from a text file) is only reported, never read out of bounds.

#include "compiler/kernels_verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cermet/error.h"
#include "compiler/kernels_text.h"

namespace cermet::compiler {

using ir::Combine;
using ir::Op;
using ir::StridedMap;
using Kind = Expr::Kind;

namespace {

bool below(int64_t i, size_t count) { return i >= 0 && uint64_t(i) < count; }

int arity(const Expr& e) {
  switch (e.kind) {
    case Kind::Load:
    case Kind::Position:
    case Kind::Constant: return 0;
    case Kind::Reduce:
    case Kind::ArgReduce:
    case Kind::Scan:
    case Kind::Gather: return 1;
    case Kind::Contract: return 2;
    case Kind::Map:
      if (e.op == Op::Cast || e.op == Op::Bitcast) return 1;
      return ir::is_elementwise(e.op) ? ir::info(e.op).arity : -1;
  }
  return -1;
}

bool has_map(const Expr& e) {
  return e.kind == Kind::Load || e.kind == Kind::Position || e.kind == Kind::Gather;
}

bool well_formed(const StridedMap& m) {
  const size_t rank = m.shape.size();
  if (m.strides.size() != rank || m.begin.size() != rank || m.end.size() != rank) return false;
  for (size_t d = 0; d < rank; ++d)
    if (m.begin[d] < 0 || m.begin[d] > m.end[d] || m.end[d] > m.shape[d]) return false;
  return true;
}

// Whether no two indices reach one position: see the header.
bool reaches_once(const StridedMap& m) {
  std::vector<std::pair<int64_t, int64_t>> axes;  // |stride|, extent
  for (size_t d = 0; d < m.shape.size(); ++d)
    if (m.shape[d] > 1) axes.push_back({std::abs(m.strides[d]), m.shape[d]});
  std::sort(axes.begin(), axes.end());
  int64_t span = 0;
  for (const auto& [stride, extent] : axes) {
    if (stride <= span) return false;
    span += stride * (extent - 1);
  }
  return true;
}

class Verifier {
 public:
  explicit Verifier(const KernelProgram& program)
      : program_(program), stored_(program.buffers.size(), 0) {}

  std::vector<std::string> run() {
    find_last_writers();
    std::set<std::string> names;
    for (size_t i = 0; i < program_.kernels.size(); ++i) {
      kernel_ = &program_.kernels[i], number_ = int64_t(i);
      if (!names.insert(kernel_->name).second) report("its name is another kernel's as well");
      verify_kernel();
    }
    kernel_ = nullptr;
    verify_chains();
    for (size_t b = 0; b < stored_.size(); ++b) {
      const KernelBuffer& buffer = program_.buffers[b];
      if (buffer.elements < 0) report("buffer {} has {} elements", b, buffer.elements);
      if (buffer.kind != KernelBuffer::Kind::Parameter && stored_[b] != buffer.elements)
        report("buffer {}: {} of {} elements are stored", b, stored_[b], buffer.elements);
    }
    return std::move(errors_);
  }

 private:
  template <class... Args>
  void report(fmt::format_string<Args...> text, Args&&... args) {
    std::string where = kernel_ ? fmt::format("kernel {}: ", kernel_->name) : "";
    if (expr_ >= 0) where += fmt::format("%{}: ", expr_);
    errors_.push_back(where + fmt::format(text, std::forward<Args>(args)...));
  }

  const KernelBuffer& buffer(int32_t b) const { return program_.buffers[size_t(b)]; }
  const Expr& operand(const Expr& e, size_t k) const {
    return kernel_->exprs[size_t(e.operands[k])];
  }

  void find_last_writers() {
    last_writer_.assign(program_.buffers.size(), -1);
    for (size_t i = 0; i < program_.kernels.size(); ++i)
      for (const KernelStore& s : program_.kernels[i].stores)
        if (below(s.buffer, last_writer_.size())) last_writer_[size_t(s.buffer)] = int64_t(i);
  }

  void verify_chains() {
    int64_t end = 0;
    std::vector<int32_t> chain_of(program_.kernels.size(), -1),
        local_of(program_.buffers.size(), -1);
    for (size_t i = 0; i < program_.chains.size(); ++i) {
      const Chain& c = program_.chains[i];
      if (c.first < end || c.count < 1 ||
          int64_t(c.first) + c.count > int64_t(program_.kernels.size()))
        return report("chain {}: there are no kernels {} to {} after those before it", i, c.first,
                      int64_t(c.first) + c.count);
      end = int64_t(c.first) + c.count;
      for (int64_t k = c.first; k < end; ++k) chain_of[size_t(k)] = int32_t(i);
      if (c.group < 1 || c.step < 1 || c.rows < 1 || c.rows % c.group != 0)
        report("chain {}: {} rows in groups of {}, {} at a time", i, c.rows, c.group, c.step);
      for (int32_t b : c.locals) {
        if (!below(b, program_.buffers.size())) return report("chain {}: no buffer {}", i, b);
        local_of[size_t(b)] = int32_t(i);
        if (buffer(b).kind != KernelBuffer::Kind::Temporary || c.rows < 1 ||
            buffer(b).elements % c.rows != 0)
          report("chain {}: buffer {} is no temporary of {} rows", i, b, c.rows);
      }
    }
    for (size_t k = 0; k < program_.kernels.size(); ++k) {
      const auto touch = [&](int32_t b) {
        if (below(b, local_of.size()) && local_of[size_t(b)] >= 0 &&
            local_of[size_t(b)] != chain_of[k])
          report("kernel {} uses buffer {}, which is local to chain {}", program_.kernels[k].name,
                 b, local_of[size_t(b)]);
      };
      for (const Expr& e : program_.kernels[k].exprs) touch(e.buffer);
      for (const KernelStore& s : program_.kernels[k].stores) touch(s.buffer);
    }
  }

  void verify_kernel() {
    expr_ = -1;
    for (const Shape* shape : {&kernel_->outer, &kernel_->inner})
      for (int64_t extent : *shape)
        if (extent < 1) report("the space has an extent of {}", extent);
    if (!checked_numel(kernel_->outer) || !checked_numel(kernel_->inner))
      return report("the space does not fit in 64 bits");
    if (kernel_->kind == Kernel::Kind::Sort) return verify_sort();
    int contractions = 0;
    for (size_t i = 0; i < kernel_->exprs.size(); ++i) {
      expr_ = int64_t(i);
      contractions += kernel_->exprs[i].kind == Kind::Contract;
      verify_expr(kernel_->exprs[i]);
    }
    expr_ = -1;
    if (contractions > 1) report("it has {} contractions", contractions);
    if (kernel_->stores.empty()) report("it stores nothing");
    for (const KernelStore& s : kernel_->stores) verify_store(s);
  }

  void verify_sort() {
    const int32_t from = kernel_->sort_input;
    if (kernel_->stores.size() != 1 || !kernel_->exprs.empty() ||
        !below(from, program_.buffers.size()) ||
        !below(kernel_->stores[0].buffer, program_.buffers.size()))
      return report("a sort has one input, one store and no expressions");
    const int32_t to = kernel_->stores[0].buffer;
    const int64_t elements = numel(kernel_->outer) * numel(kernel_->inner);
    if (buffer(from).elements != elements || buffer(to).elements != elements ||
        buffer(to).dtype != DType::I64)
      report("it sorts {} elements of buffer {} into buffer {}", elements, from, to);
    verify_read(from);
    stored_[size_t(to)] += elements;
  }

  // The buffer is complete before this kernel.
  void verify_read(int32_t b) {
    if (buffer(b).kind == KernelBuffer::Kind::Parameter) return;
    if (last_writer_[size_t(b)] >= number_ || (last_writer_[size_t(b)] < 0 && buffer(b).elements))
      report("reads buffer {} before it is written", b);
  }

  Shape space(bool inner) const {
    Shape out = kernel_->outer;
    for (size_t d = 0; inner && d < kernel_->inner.size(); ++d) out.push_back(kernel_->inner[d]);
    return out;
  }

  void verify_expr(const Expr& e) {
    if (arity(e) != int(e.operands.size()))
      return report("it has {} operands, not {}", e.operands.size(), arity(e));
    for (int32_t o : e.operands)
      if (!below(o, size_t(expr_))) return report("operand %{} does not come before it", o);
    const bool reads = e.kind == Kind::Load || e.kind == Kind::Gather;
    if (reads != (e.buffer >= 0) || (reads && !below(e.buffer, program_.buffers.size())))
      return report("buffer {} does not exist", e.buffer);
    if (has_map(e) != e.map.has_value()) return report("{} map", e.map ? "needless" : "missing");
    if (e.inner && kernel_->inner.empty()) report("per element, but there are no inner axes");
    if (e.map) verify_map(e);
    if (reads) verify_read(e.buffer);
    if (reads && buffer(e.buffer).dtype != e.dtype)
      report("loads {} from a buffer of {}", name(e.dtype), name(buffer(e.buffer).dtype));
    verify_place(e);
    verify_type(e);
  }

  void verify_map(const Expr& e) {
    if (e.map->levels().empty() || e.map->shape() != space(e.inner))
      return report("its map is over {}, the space is {}",
                    e.map->levels().empty() ? "nothing" : to_string(e.map->shape()),
                    to_string(space(e.inner)));
    for (const StridedMap& level : e.map->levels())
      if (!well_formed(level)) return report("its map has a malformed level");
    if (e.kind == Kind::Position) return;
    if (auto wrong = ir::verify_view(*e.map, buffer(e.buffer).elements))
      report("{}", *wrong);
    else if (e.kind == Kind::Gather)
      verify_reach(e.map->levels().back(), e.buffer, e.stride, e.extent);
  }

  void verify_reach(const StridedMap& m, int32_t b, int64_t stride, int64_t extent) {
    if (extent < 0) return report("extent {}", extent);
    const auto range = m.range();
    if (!range || extent == 0) return;
    const int64_t reach = stride * (extent - 1);
    if (range->first + std::min<int64_t>(reach, 0) < 0 ||
        range->second + std::max<int64_t>(reach, 0) >= buffer(b).elements)
      report("positions {} to {} and {} steps of {} leave a buffer of {}", range->first,
             range->second, extent, stride, buffer(b).elements);
  }

  // Rows and elements.
  void verify_place(const Expr& e) {
    bool inner = false;
    for (size_t k = 0; k < e.operands.size(); ++k) inner |= operand(e, k).inner;
    switch (e.kind) {
      case Kind::Reduce:
      case Kind::ArgReduce:
      case Kind::Contract:
        for (size_t k = 0; k < e.operands.size(); ++k)
          if (!operand(e, k).inner) report("operand %{} is not per element", e.operands[k]);
        if (e.inner) report("its value is per row");
        break;
      case Kind::Scan:
        if (!e.inner || !inner) report("a scan and its operand are per element");
        break;
      case Kind::Constant:
        if (e.inner) report("a constant is per row");
        break;
      case Kind::Map:
      case Kind::Load:
      case Kind::Position:
      case Kind::Gather:
        if (inner && !e.inner) report("per row, with an operand per element");
        break;
    }
    if ((e.kind == Kind::ArgReduce || e.kind == Kind::Scan) && kernel_->inner.size() != 1)
      report("there are {} inner axes, not one", kernel_->inner.size());
  }

  void verify_type(const Expr& e) {
    const auto expect = [&](DType dtype) {
      if (e.dtype != dtype) report("its dtype is {}, not {}", name(e.dtype), name(dtype));
    };
    switch (e.kind) {
      case Kind::Load: break;
      case Kind::Constant:
        if (bits_of(e.dtype) < 64 && e.bits >> bits_of(e.dtype))
          report("bits outside of its dtype");
        break;
      case Kind::Position: expect(DType::I64); break;
      case Kind::Reduce:
      case Kind::Scan:
        expect(operand(e, 0).dtype);
        if (e.combine == Combine::Set) report("set does not combine");
        break;
      case Kind::ArgReduce:
        expect(DType::I64);
        if (e.combine != Combine::Max && e.combine != Combine::Min) report("not an extremum");
        break;
      case Kind::Contract: expect(operand(e, 0).dtype), expect(operand(e, 1).dtype); break;
      case Kind::Gather:
        if (operand(e, 0).dtype != DType::I64) report("its index is not i64");
        break;
      case Kind::Map: verify_op(e); break;
    }
  }

  void verify_op(const Expr& e) {
    if (e.op == Op::Cast) return;
    const DType dtype = operand(e, e.operands.size() - 1).dtype;
    if (e.op == Op::Bitcast) {
      if (size_of(dtype) != size_of(e.dtype)) report("bitcast of another size");
      return;
    }
    const ir::OpInfo& info = ir::info(e.op);
    for (size_t k = e.op == Op::Where ? 1 : 0; k < e.operands.size(); ++k)
      if (operand(e, k).dtype != dtype) report("operands of two dtypes");
    if (e.op == Op::Where && operand(e, 0).dtype != DType::Bool)
      report("the condition is not bool");
    if (!ir::accepts(info.operands, dtype)) report("{} of {}", info.name, name(dtype));
    if (e.dtype != (info.result == ir::Result::Bool ? DType::Bool : dtype))
      report("its dtype is {}", name(e.dtype));
  }

  void verify_store(const KernelStore& s) {
    if (!below(s.value, kernel_->exprs.size()) || !below(s.buffer, program_.buffers.size()))
      return report("stores %{} to buffer {}", s.value, s.buffer);
    const Expr& value = kernel_->exprs[size_t(s.value)];
    const KernelBuffer& to = buffer(s.buffer);
    if (to.kind == KernelBuffer::Kind::Parameter) report("stores to a parameter");
    if (to.dtype != value.dtype)
      report("stores {} to a buffer of {}", name(value.dtype), name(to.dtype));
    for (const Expr& e : kernel_->exprs)
      if (e.buffer == s.buffer) report("loads from buffer {}, which it stores to", s.buffer);
    if (!well_formed(s.map) || s.map.masked() || s.map.shape != space(value.inner))
      return report("the map of the store to buffer {} is malformed, masked or of another space",
                    s.buffer);
    if (auto wrong = ir::verify_view(ir::ViewMap(s.map), to.elements))
      return report("the store to buffer {}: {}", s.buffer, *wrong);
    if (s.index < 0) {
      if (!reaches_once(s.map)) report("stores twice to positions of buffer {}", s.buffer);
      if (s.combine != Combine::Set) report("only scatter combines");
      stored_[size_t(s.buffer)] += numel(s.map.shape);
      return;
    }
    if (!below(s.index, kernel_->exprs.size())) return report("%{} does not exist", s.index);
    const Expr& index = kernel_->exprs[size_t(s.index)];
    if (index.dtype != DType::I64 || index.inner != value.inner)
      report("the index of a scatter is i64 and in the place of its value");
    if (s.order >= 0 && (!below(s.order, kernel_->exprs.size()) || !value.inner ||
                         kernel_->exprs[size_t(s.order)].dtype != DType::I64))
      report("the order of a scatter is i64 and of its elements");
    verify_reach(s.map, s.buffer, s.stride, s.extent);
  }

  const KernelProgram& program_;
  const Kernel* kernel_ = nullptr;
  int64_t number_ = 0, expr_ = -1;
  std::vector<int64_t> stored_, last_writer_;
  std::vector<std::string> errors_;
};

}  // namespace

std::vector<std::string> verify_kernels(const KernelProgram& program) {
  return Verifier(program).run();
}

void check_kernels(const KernelProgram& program) {
  const std::vector<std::string> errors = verify_kernels(program);
  if (errors.empty()) return;
  throw InternalError(fmt::format("the kernels are not valid:\n{}\n{}", fmt::join(errors, "\n"),
                                  print_kernels(program)));
}

}  // namespace cermet::compiler
