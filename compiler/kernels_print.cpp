// Printing of kernel programs; the grammar is in compiler/kernels_text.h.

#include <fmt/format.h>

#include "compiler/kernels_text.h"
#include "ir/text.h"
#include "ir/text_writer.h"

namespace cermet::compiler {

using Kind = Expr::Kind;

namespace {

class Printer : private ir::TextWriter {
 public:
  std::string take() { return std::move(out_); }

  void buffer(size_t number, const KernelBuffer& b) {
    add("buffer {} = ", number);
    switch (b.kind) {
      case KernelBuffer::Kind::Parameter: add("parameter {}", b.slot); break;
      case KernelBuffer::Kind::Result: add("result {}", b.slot); break;
      case KernelBuffer::Kind::Temporary: add("temporary"); break;
    }
    add(" : {}[{}]\n", name(b.dtype), b.elements);
  }

  void chain(const Chain& c) {
    add("chain kernels={} rows={} group={} step={} locals=[", c.count, c.rows, c.group, c.step);
    for (size_t i = 0; i < c.locals.size(); ++i) add("{}{}", i ? "," : "", c.locals[i]);
    add("]\n");
  }

  void kernel(const Kernel& k) {
    const bool sorts = k.kind == Kernel::Kind::Sort;
    add("{} {} outer={} inner={}", sorts ? "sort" : "kernel", k.name, to_string(k.outer),
        to_string(k.inner));
    if (sorts) {
      add(" from={} to={}{}\n", k.sort_input, k.stores.empty() ? -1 : k.stores[0].buffer,
          k.descending ? " descending" : "");
      return;
    }
    add(" {{\n");
    for (size_t i = 0; i < k.exprs.size(); ++i) {
      add("  %{} = ", i);
      expr(k.exprs[i]);
      add(" : {}{}{}\n", name(k.exprs[i].dtype), k.exprs[i].inner ? " inner" : "",
          k.exprs[i].once ? " once" : "");
    }
    for (const KernelStore& s : k.stores) store(s);
    add("}}\n");
  }

 private:
  void operands(const Expr& e) {
    for (size_t k = 0; k < e.operands.size(); ++k) add("{}%{}", k ? ", " : " ", e.operands[k]);
  }

  void expr(const Expr& e) {
    switch (e.kind) {
      case Kind::Load: add("load buffer={}", e.buffer); break;
      case Kind::Position: add("position"); break;
      case Kind::Constant: add("constant {}", ir::print_literal(e.dtype, e.bits)); break;
      case Kind::Map: add("{}", ir::name(e.op)); break;
      case Kind::Reduce: add("reduce {}", ir::name(e.combine)); break;
      case Kind::ArgReduce: add("arg_reduce {}", ir::name(e.combine)); break;
      case Kind::Scan: add("scan {}", ir::name(e.combine)); break;
      case Kind::Contract: add("contract"); break;
      case Kind::Gather: add("gather"); break;
    }
    operands(e);
    if (e.kind == Kind::Scan)
      add("{}{}", e.reverse ? " reverse" : "", e.exclusive ? " exclusive" : "");
    if (e.kind == Kind::Gather) add(" buffer={} step={} extent={}", e.buffer, e.stride, e.extent);
    if (e.map) out_ += ir::print_levels(*e.map);
  }

  void store(const KernelStore& s) {
    if (s.index < 0) {
      add("  store %{} buffer={}", s.value, s.buffer);
    } else {
      add("  scatter {} %{}, %{} buffer={} step={} extent={}", ir::name(s.combine), s.value,
          s.index, s.buffer, s.stride, s.extent);
      if (s.order >= 0) add(" order={}", s.order);
    }
    out_ += ir::print_level(s.map);
    add("\n");
  }
};

}  // namespace

std::string print_kernel(const Kernel& kernel) {
  Printer printer;
  printer.kernel(kernel);
  return printer.take();
}

std::string print_kernels(const KernelProgram& program) {
  Printer printer;
  for (size_t i = 0; i < program.buffers.size(); ++i) printer.buffer(i, program.buffers[i]);
  size_t next = 0;
  for (size_t i = 0; i < program.kernels.size(); ++i) {
    if (next < program.chains.size() && program.chains[next].first == int32_t(i))
      printer.chain(program.chains[next++]);
    printer.kernel(program.kernels[i]);
  }
  return "kernels 1\n" + printer.take();
}

}  // namespace cermet::compiler
