// Printing of loop IR; the grammar is in compiler/loops_text.h. Each plan prints all of its kernels
// to look them up, so what most lines are made of is put together without format strings.

#include <fmt/format.h>

#include "compiler/loops_text.h"
#include "ir/text.h"
#include "ir/text_writer.h"

namespace cermet::compiler::loops {
namespace {

constexpr std::string_view helper_names[] = {
#define X(Enum, c_name, arity) #c_name,
    CERMET_LOOP_HELPERS(X)
#undef X
};

// Calls enter(ref) for each instruction in the order of the text and leave(block) where a block
// ends. Without recursion, and each block once, whatever the function holds.
template <class Enter, class Leave>
void walk(const Function& f, const Enter& enter, const Leave& leave) {
  struct Open {
    int32_t block;
    size_t next = 0;
  };
  std::vector<bool> seen(f.blocks.size());
  std::vector<Open> open;
  const auto begin = [&](int32_t block) {
    if (block < 0 || size_t(block) >= f.blocks.size() || seen[size_t(block)]) return false;
    seen[size_t(block)] = true;
    open.push_back({block});
    return true;
  };
  begin(0);
  while (!open.empty()) {
    Open& top = open.back();
    const Block& block = f.blocks[size_t(top.block)];
    if (top.next == block.instructions.size()) {
      leave(top.block);
      open.pop_back();
      continue;
    }
    const Ref r = block.instructions[top.next++];
    if (r.id < 0 || size_t(r.id) >= f.instructions.size()) continue;
    const Instruction& i = f.instructions[size_t(r.id)];
    const bool structure = class_of(i.op) == OpcodeClass::Structure;
    enter(r, structure);
    if (structure && !begin(i.block)) leave(-1);
  }
}

class Printer : private ir::TextWriter {
 public:
  explicit Printer(const Function& function) : f_(function), number_(f_.instructions.size(), -1) {}

  std::string run() {
    assign_numbers();
    out_.reserve(40 * f_.instructions.size() + 256);
    add("loops 1\nkernel arguments={} ", f_.argument_count);
    if (f_.threads != 0) add("threads={} index_bits={} ", f_.threads, f_.index_bits);
    if (f_.resident != 1) add("resident={} ", f_.resident);
    out_ += "{\n";
    for (const Buffer& b : f_.buffers) buffer(b);
    size_t depth = 1;
    walk(
        f_,
        [&](Ref r, bool structure) {
          out_.append(2 * depth, ' ');
          statement(r);
          depth += structure;
        },
        [&](int32_t block) {
          if (block >= 0) yields(f_.blocks[size_t(block)], depth);
          --depth;
          out_.append(2 * depth, ' ');
          out_ += "}\n";
        });
    return std::move(out_);
  }

 private:
  void assign_numbers() {
    int32_t next = 0;
    const auto give = [&](Ref r) {
      if (r.id >= 0 && size_t(r.id) < number_.size() && number_[size_t(r.id)] < 0)
        number_[size_t(r.id)] = next++;
    };
    walk(
        f_,
        [&](Ref r, bool) {
          const Instruction& i = f_.instructions[size_t(r.id)];
          if (has_value(i.op)) give(r);
          if (const Block* body = body_of(i))
            for (Ref parameter : body->parameters) give(parameter);
        },
        [](int32_t) {});
  }

  const Block* body_of(const Instruction& i) const {
    if (class_of(i.op) != OpcodeClass::Structure) return nullptr;
    if (i.block < 0 || size_t(i.block) >= f_.blocks.size()) return nullptr;
    return &f_.blocks[size_t(i.block)];
  }

  void ref(Ref r) {
    const bool known = r.id >= 0 && size_t(r.id) < number_.size() && number_[size_t(r.id)] >= 0;
    out_ += '%';
    if (known)
      number(number_[size_t(r.id)]);
    else
      out_ += "unknown";
  }
  void number(int64_t value) {
    const fmt::format_int digits(value);
    out_.append(digits.data(), digits.size());
  }
  void word(std::string_view before, std::string_view text) { (out_ += before) += text; }
  void word(std::string_view before, int64_t value) { out_ += before, number(value); }
  template <class Refs>
  void refs(const Refs& list) {
    std::string_view before = " ";
    for (Ref r : list) {
      out_ += before;
      ref(r);
      before = ", ";
    }
  }

  void buffer(const Buffer& b) {
    add("  buffer {} ", name(b.dtype));
    switch (b.kind) {
      case Buffer::Kind::Argument: add("argument {}", b.index); break;
      case Buffer::Kind::Local: add("local {}", b.elements); break;
      case Buffer::Kind::Scratch: out_ += "scratch ", ref(b.offset); break;
    }
    add("{}{}{}\n", b.written ? " written" : "", b.restrict_ ? "" : " shared",
        b.streamed ? " streamed" : "");
  }

  void statement(Ref r) {
    const Instruction& i = f_.instructions[size_t(r.id)];
    if (has_value(i.op)) ref(r), out_ += " = ";
    out_ += name(i.op);
    if (class_of(i.op) != OpcodeClass::Structure) {
      word(" ", name(i.dtype));
      if (i.lanes != 1) word("x", i.lanes);
      detail(i);
    }
    refs(i.operands);
    if (i.op == Opcode::For) {
      word(" step=", i.imm), out_ += " :";
      if (const Block* body = body_of(i)) refs(body->parameters);
    }
    out_ += class_of(i.op) == OpcodeClass::Structure ? " {\n" : "\n";
  }

  void detail(const Instruction& i) {
    switch (i.op) {
      case Opcode::Constant: word(" ", ir::print_literal(i.dtype, uint64_t(i.imm))); return;
      case Opcode::Argument:
      case Opcode::Extract:
      case Opcode::Lookup:
      case Opcode::Report:
      case Opcode::ShuffleXor:
      case Opcode::Mma:
      case Opcode::CopyWait:
      case Opcode::Result: word(" ", i.imm); return;
      case Opcode::Load:
      case Opcode::GatherLoad:
      case Opcode::Store:
      case Opcode::ScatterStore:
      case Opcode::Prefetch:
      case Opcode::PrefetchNear:
      case Opcode::LoadMatrix:
      case Opcode::LoadMatrixTransposed: word(" b", i.imm); return;
      case Opcode::CopyAsync: add(" b{} b{}", i.imm & 0xffffffff, i.imm >> 32); return;
      case Opcode::CallScalar:
        if (size_t(i.imm) < std::size(helper_names)) word(" ", helper_names[size_t(i.imm)]);
        return;
      default: return;
    }
  }

  void yields(const Block& block, size_t depth) {
    if (block.yields.empty()) return;
    out_.append(2 * depth, ' ');
    out_ += "yield";
    refs(block.yields);
    out_ += '\n';
  }

  const Function& f_;
  std::vector<int32_t> number_;  // by Ref
};

}  // namespace

std::string print(const Function& function) { return Printer(function).run(); }

}  // namespace cermet::compiler::loops
