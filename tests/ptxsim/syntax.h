#pragma once
// A PTX text as a tree: what the parser found, before any name has a meaning. Names are views into
// the text, which must outlive the tree.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ptxsim/ptxsim.h"
#include "ptxsim/types.h"

namespace cermet::ptxsim {

struct Operand {
  enum class Kind {
    Name,     // a register, variable, label or function; `second` after a '|', `offset` after a '+'
    Integer,  // `bits`
    Float,    // 0f...: the 32 bits
    Double,   // 0d... or a decimal fraction: the 64 bits
    Vector,   // {a, b}
    Address,  // [name + offset] or [offset]
    List,     // (a, b): of a call
  };
  Kind kind = Kind::Name;
  bool negated = false;  // !name
  std::string_view name, second;
  std::uint64_t bits = 0;
  std::int64_t offset = 0;
  std::vector<Operand> elements;
};

struct Statement {
  int line = 0;
  std::string_view guard;  // the predicate's name, or empty
  bool guard_negated = false;
  std::string_view opcode;  // "ld.global.nc.v4.f32"
  std::string_view text;    // the whole, for messages
  std::vector<Operand> operands;
};

enum class Space { Register, Parameter, Local, Shared, Global, Constant, Generic };

struct Declaration {
  int line = 0;
  Space space = Space::Register;
  Type type = Type::B32;
  std::string_view name;
  std::uint32_t alignment = 1;
  std::uint64_t elements = 1;  // of an array; of a register range <n>
  bool numbered = false;       // registers name0 ... name(n-1)
  bool array = false;
  bool external = false;  // of unknown size: dynamic shared memory, or defined elsewhere
  std::vector<Operand> initial;
  std::uint64_t bytes() const { return elements * static_cast<std::uint64_t>(bytes_of(type)); }
};

struct BodyItem {
  enum class Kind { Statement, Label, Declaration, ScopeBegin, ScopeEnd, BranchTargets };
  Kind kind;
  std::string_view label;  // of Label and BranchTargets
  Statement statement;     // BranchTargets: its operands
  Declaration declaration;
};

struct Function {
  int line = 0;
  std::string_view name;
  bool is_kernel = false, has_body = false;
  std::vector<Declaration> results, parameters;
  Dim3 max_threads{0, 0, 0}, required_threads{0, 0, 0};
  std::uint32_t min_blocks = 0;
  std::vector<BodyItem> body;
};

struct SyntaxTree {
  int version = 0;  // 90 for 9.0
  std::string target;
  std::vector<Declaration> variables;
  std::vector<Function> functions;
};

// 90 for "sm_90" and "sm_90a".
int target_number(std::string_view target);

// Throws Error, with the line, for whatever is not known.
SyntaxTree parse_syntax(std::string_view ptx);

}  // namespace cermet::ptxsim
