#pragma once
// From statements to decoded instructions. Decoder gives names a meaning and hands each statement
// to the function that its opcode has in one of the tables below; that function takes the modifiers
// it knows, resolves the operands and adds an instruction. Whatever is left over is an Error, so
// nothing of a text is ever skipped.

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ptxsim/machine.h"
#include "ptxsim/syntax.h"
#include "ptxsim/types.h"

namespace cermet::ptxsim {

// The parts of an opcode after its first, each to be taken once.
class Modifiers {
 public:
  explicit Modifiers(std::string_view opcode);
  std::string_view base() const { return base_; }
  bool take(std::string_view name);
  bool has(std::string_view name) const;
  // The first remaining part that names a type; Error if none does.
  Type take_type();
  bool has_type() const;
  // The index of the one of `names` that is there, or -1.
  int take_one_of(std::initializer_list<std::string_view> names);
  // Error if something is left.
  void expect_end() const;

 private:
  std::string_view base_;
  std::vector<std::string_view> parts_;
};

struct Symbol {
  Space space = Space::Register;
  Type type = Type::B32;
  std::uint32_t offset = 0;  // of registers: slot of the first; of memory: in its space
  std::uint64_t elements = 1;
  std::string_view name;  // of module-scope variables
  bool dynamic = false;   // of unknown size, after the static shared memory
};

struct FunctionPlace {
  const Function* function = nullptr;
  std::uint32_t entry = 0;
  std::int32_t return_slot = 0;  // each lane's return address
  std::vector<Symbol> parameters, results;
};

class Decoder {
 public:
  Decoder(const SyntaxTree& tree, Program& program) : tree_(tree), program_(program) {}

  // Decodes a kernel and the functions it calls.
  void run(const Function& kernel, std::span<const Parameter> parameters);

  // ---- For the functions that decode one opcode ----------------------------------------------

  // The beginning of an instruction: line, guard, opcode. `add` completes it.
  Inst start(const Statement& statement);
  Inst& add(Inst inst, Exec exec);

  // The slot of a register that is written; '_' is a register nobody reads.
  std::int32_t destination(const Operand& operand, int bytes);
  // The slot of a register, constant, special register or address that is read.
  std::int32_t source(const Operand& operand, Type type);
  std::int32_t predicate_destination(const Operand& operand);
  std::int32_t predicate_source(const Operand& operand);
  // The width in bytes of a register operand; that of `otherwise` for anything else.
  int register_bytes(const Operand& operand, Type otherwise) const;
  std::int32_t constant(std::uint64_t bits, int bytes);
  std::int32_t temporary(int bytes);
  // The bits of an immediate of a type; nothing if the operand is not one.
  std::optional<std::uint64_t> immediate(const Operand& operand, Type type) const;

  // Fills in inst.op[slot], inst.imm and inst.space from "[base + offset]"; the space may come out
  // as Local for a .param of a function. inst.flag tells that the base register has 64 bits.
  void address(Inst& inst, std::size_t slot, const Operand& operand, Space space);
  void branch_to(Inst& inst, const Operand& label);
  // Index into Program::branch_tables of the targets that a label names.
  int branch_table(const Operand& operand);
  const FunctionPlace& callee(const Operand& operand) const;
  const Symbol* symbol(std::string_view name) const;
  bool in_kernel() const { return place_->function->is_kernel; }
  std::int32_t return_slot() const { return place_->return_slot; }

  // Error if the module's target is older than this.
  void require_sm(int sm) const;
  void expect_operands(const Statement& statement, std::size_t count) const;
  [[noreturn]] void fail(const std::string& what) const;

 private:
  struct Scope {
    std::map<std::string_view, Symbol> names, ranges;
    std::map<std::string_view, std::uint32_t> labels;
    std::map<std::string_view, const BodyItem*> targets;
    int parent = -1;
  };
  struct Fixup {
    std::uint32_t inst;
    int table;  // or -1: the target of the instruction
    int entry;
    std::string_view label;
    int scope, line;
  };

  void order_functions(const Function& function, std::vector<const Function*>& order,
                       std::vector<const Function*>& path) const;
  const Function& function_named(std::string_view name, int line) const;
  void decode_function(const Function& function, std::span<const Parameter> parameters);
  void decode_statement(const Statement& statement);
  void declare(const Declaration& declaration);
  Symbol local_symbol(const Declaration& declaration);
  void declare_module_variables();
  void fix_labels();
  std::uint32_t allocate_register(int bytes);
  std::uint32_t shared_offset(Symbol& symbol, std::uint64_t bytes, std::uint32_t alignment);
  const Symbol* find(std::string_view name, Symbol& storage) const;
  std::int32_t address_constant(const Symbol& symbol, std::int64_t offset, int bytes);
  Scope& scope() { return scopes_[static_cast<std::size_t>(scope_)]; }

  const SyntaxTree& tree_;
  Program& program_;
  std::vector<Scope> scopes_;  // scopes_[0]: the module's
  int scope_ = 0;
  std::map<std::string_view, FunctionPlace> places_;
  FunctionPlace* place_ = nullptr;
  std::vector<Fixup> fixups_;
  std::map<std::pair<std::uint64_t, int>, std::int32_t> constants_;
  std::map<std::string, std::uint16_t> opcodes_;
  std::vector<std::pair<std::uint32_t, std::int64_t>> dynamic_shared_;  // constants and offsets
  std::uint32_t dynamic_alignment_ = 16;
  const Statement* statement_ = nullptr;
};

using DecodeFunction = void (*)(Decoder&, const Statement&, Modifiers&);
struct Opcode {
  std::string_view name;
  DecodeFunction decode;
};

// The tables, one per file that executes a family of instructions.
std::span<const Opcode> integer_opcodes();
std::span<const Opcode> bit_opcodes();
std::span<const Opcode> carry_opcodes();
std::span<const Opcode> float_opcodes();
std::span<const Opcode> compare_opcodes();
std::span<const Opcode> convert_opcodes();
std::span<const Opcode> move_opcodes();
std::span<const Opcode> access_opcodes();
std::span<const Opcode> atomic_opcodes();
std::span<const Opcode> control_opcodes();
std::span<const Opcode> barrier_opcodes();
std::span<const Opcode> warp_opcodes();
std::span<const Opcode> matrix_opcodes();
std::span<const Opcode> async_opcodes();

// add, sub, mul, ... exist for integers and floats. Each decodes the instruction modifiers.base()
// for a type of its own; Error if the instruction has no such type.
void decode_integer(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type);
void decode_float(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type);
void decode_half(Decoder& decoder, const Statement& statement, Modifiers& modifiers, Type type);
// The same with the carry bit: add.cc, addc, ...
void decode_carry(Decoder& decoder, const Statement& statement, Modifiers& modifiers);

// The value of a special register in each lane (special.cpp). Null if there is none of that name.
struct SpecialRegister {
  std::string_view name;
  int bytes;
  Exec read;  // op[0]: where to
};
const SpecialRegister* special_register(std::string_view name);

}  // namespace cermet::ptxsim
