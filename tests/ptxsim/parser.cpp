// Reads the tokens of a PTX text into a SyntaxTree, by recursive descent over directives,
// declarations and statements. Instructions are not looked into here: their opcodes and operands
// are kept as written, and decode.cpp gives them a meaning or refuses them.

#include <fmt/format.h>

#include <bit>

#include "ptxsim/lexer.h"
#include "ptxsim/syntax.h"

namespace cermet::ptxsim {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view ptx) : tokens_(tokenize(ptx)) {}

  SyntaxTree run() {
    while (here().kind != Token::Kind::End) module_item();
    if (tree_.version == 0 || tree_.target.empty()) fail("no .version or no .target");
    return std::move(tree_);
  }

 private:
  // ---- Tokens --------------------------------------------------------------------------------

  const Token& here() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& take() { return tokens_[at_ < tokens_.size() - 1 ? at_++ : at_]; }
  bool accept(std::string_view text) {
    if (!here().is(text)) return false;
    take();
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text)) fail(fmt::format("expected '{}', found '{}'", text, here().text));
  }
  std::string_view take_word() {
    if (here().kind != Token::Kind::Word) fail(fmt::format("expected a name: '{}'", here().text));
    return take().text;
  }
  std::uint64_t take_integer() {
    const bool negative = accept("-");
    if (here().kind != Token::Kind::Integer) {
      fail(fmt::format("expected an integer, found '{}'", here().text));
    }
    const std::uint64_t value = take().bits;
    return negative ? 0 - value : value;
  }
  void skip_line() {
    for (const int line = here().line; here().line == line && here().kind != Token::Kind::End;) {
      take();
    }
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("ptx line {}: {}", here().line, what), here().line);
  }

  // ---- The module ----------------------------------------------------------------------------

  void module_item() {
    if (accept(".version")) return version();
    if (accept(".target")) return target();
    if (accept(".address_size")) {
      if (take_integer() != 64) fail("only .address_size 64 is supported");
      return;
    }
    if (here().is(".file") || here().is(".loc")) return skip_line();
    if (accept(".pragma")) return pragma();
    bool external = false;
    while (true) {
      if (accept(".extern")) {
        external = true;
      } else if (!accept(".visible") && !accept(".weak") && !accept(".common")) {
        break;
      }
    }
    if (accept(".entry")) return function(true);
    if (accept(".func")) return function(false);
    tree_.variables.push_back(declaration(external));
    expect(";");
  }

  // "9.0" is one number to the lexer.
  void version() {
    if (here().kind != Token::Kind::Double) fail("expected a version");
    const double value = std::bit_cast<double>(take().bits);
    tree_.version = static_cast<int>(value * 10 + 0.5);
  }

  void target() {
    tree_.target = take_word();
    while (accept(",")) {
      const std::string_view option = take_word();
      if (option != "texmode_independent" && option != "debug") {
        fail(fmt::format("unknown .target option '{}'", option));
      }
    }
  }

  void pragma() {
    if (here().kind != Token::Kind::String) fail("expected a string after .pragma");
    take();
    expect(";");
  }

  void function(bool is_kernel) {
    Function result;
    result.line = here().line;
    result.is_kernel = is_kernel;
    if (here().is("(")) result.results = parameters();
    result.name = take_word();
    if (here().is("(")) result.parameters = parameters();
    while (here().kind == Token::Kind::Directive) function_directive(result);
    if (here().is("{")) {
      result.has_body = true;
      body(result);
    } else {
      expect(";");
    }
    tree_.functions.push_back(std::move(result));
  }

  void function_directive(Function& function) {
    if (accept(".maxntid")) {
      function.max_threads = dimensions();
    } else if (accept(".reqntid")) {
      function.required_threads = dimensions();
    } else if (accept(".minnctapersm")) {
      function.min_blocks = static_cast<std::uint32_t>(take_integer());
    } else if (accept(".maxnreg")) {
      take_integer();
    } else if (accept(".pragma")) {
      pragma();
    } else if (!accept(".noreturn")) {
      fail(fmt::format("unknown directive '{}'", here().text));
    }
  }

  Dim3 dimensions() {
    Dim3 result;
    result.x = static_cast<std::uint32_t>(take_integer());
    if (accept(",")) result.y = static_cast<std::uint32_t>(take_integer());
    if (accept(",")) result.z = static_cast<std::uint32_t>(take_integer());
    return result;
  }

  std::vector<Declaration> parameters() {
    std::vector<Declaration> result;
    expect("(");
    while (!accept(")")) {
      if (!result.empty()) expect(",");
      result.push_back(declaration(false));
      if (result.back().space != Space::Parameter) fail("expected .param");
    }
    return result;
  }

  // ---- Declarations --------------------------------------------------------------------------

  std::optional<Space> accept_space() {
    if (accept(".reg")) return Space::Register;
    if (accept(".param")) return Space::Parameter;
    if (accept(".local")) return Space::Local;
    if (accept(".shared")) return Space::Shared;
    if (accept(".global")) return Space::Global;
    if (accept(".const")) return Space::Constant;
    return std::nullopt;
  }

  // Without its ';', so that it serves parameter lists too. Of several names after one .reg, the
  // caller reads the others.
  Declaration declaration(bool external) {
    Declaration result;
    result.line = here().line;
    result.external = external;
    const auto space = accept_space();
    if (!space) fail(fmt::format("unknown directive '{}'", here().text));
    result.space = *space;
    bool aligned = attributes(result);
    if (here().kind != Token::Kind::Directive) fail("expected a type");
    const auto type = type_named(here().text.substr(1));
    if (!type) fail(fmt::format("unknown type '{}'", here().text));
    take();
    result.type = *type;
    aligned = attributes(result) || aligned;
    if (!aligned) result.alignment = static_cast<std::uint32_t>(bytes_of(*type));
    declared_name(result);
    return result;
  }

  // ".align 16", and what is said of the memory behind a pointer: ".ptr .global .align 16".
  // Whether an alignment of the variable itself was given.
  bool attributes(Declaration& declaration) {
    bool aligned = false, of_pointee = false;
    while (true) {
      if (accept(".ptr")) {
        of_pointee = true;
      } else if (accept(".align")) {
        const auto alignment = static_cast<std::uint32_t>(take_integer());
        if (of_pointee) continue;
        declaration.alignment = alignment;
        aligned = true;
      } else if (!of_pointee || !accept_space()) {
        return aligned;
      }
    }
  }

  void declared_name(Declaration& result) {
    result.name = take_word();
    if (accept("<")) {
      result.numbered = true;
      result.elements = take_integer();
      expect(">");
    }
    while (accept("[")) {
      result.array = true;
      if (accept("]")) {
        result.external = true;
        result.elements = 0;
        continue;
      }
      result.elements *= take_integer();
      expect("]");
    }
    if (accept("=")) {
      if (accept("{")) {
        do result.initial.push_back(operand());
        while (accept(","));
        expect("}");
      } else {
        result.initial.push_back(operand());
      }
    }
  }

  // ---- Bodies --------------------------------------------------------------------------------

  void body(Function& function) {
    expect("{");
    for (int depth = 1; depth > 0;) {
      if (here().kind == Token::Kind::End) fail("a function has no end");
      if (accept("{")) {
        ++depth;
        add(function, BodyItem::Kind::ScopeBegin);
      } else if (accept("}")) {
        if (--depth > 0) add(function, BodyItem::Kind::ScopeEnd);
      } else if (here().kind == Token::Kind::Directive) {
        body_directive(function);
      } else if (here().kind == Token::Kind::Word && ahead().is(":")) {
        label(function);
      } else if (!accept(";")) {
        add(function, BodyItem::Kind::Statement).statement = statement();
      }
    }
  }

  BodyItem& add(Function& function, BodyItem::Kind kind) {
    function.body.push_back({kind, {}, {}, {}});
    return function.body.back();
  }

  void body_directive(Function& function) {
    if (here().is(".loc") || here().is(".file")) return skip_line();
    if (accept(".pragma")) return pragma();
    Declaration first = declaration(false);
    add(function, BodyItem::Kind::Declaration).declaration = first;
    while (accept(",")) {
      Declaration next = first;
      next.elements = 1;
      next.numbered = next.array = false;
      declared_name(next);
      add(function, BodyItem::Kind::Declaration).declaration = next;
    }
    expect(";");
  }

  void label(Function& function) {
    const std::string_view name = take_word();
    expect(":");
    if (here().is(".branchtargets")) {
      BodyItem& item = add(function, BodyItem::Kind::BranchTargets);
      item.label = name;
      item.statement.line = take().line;
      do item.statement.operands.push_back(operand());
      while (accept(","));
      expect(";");
      return;
    }
    add(function, BodyItem::Kind::Label).label = name;
  }

  Statement statement() {
    Statement result;
    result.line = here().line;
    const char* begin = here().text.data();
    if (accept("@")) {
      result.guard_negated = accept("!");
      result.guard = take_word();
    }
    result.opcode = take_word();
    if (!here().is(";")) {
      do result.operands.push_back(operand());
      while (accept(","));
    }
    const char* end = here().text.data();
    expect(";");
    result.text = {begin, static_cast<std::size_t>(end - begin)};
    return result;
  }

  Operand operand() {
    Operand result;
    if (here().is("{") || here().is("(")) {
      const bool vector = take().is("{");
      result.kind = vector ? Operand::Kind::Vector : Operand::Kind::List;
      const std::string_view close = vector ? "}" : ")";
      while (!accept(close)) {
        if (!result.elements.empty()) expect(",");
        result.elements.push_back(operand());
      }
      return result;
    }
    if (accept("[")) return address();
    if (accept("!")) {
      result = operand();
      result.negated = !result.negated;
      return result;
    }
    return scalar();
  }

  Operand scalar() {
    Operand result;
    const bool negative = accept("-");
    switch (here().kind) {
      case Token::Kind::Integer:
        result.kind = Operand::Kind::Integer;
        result.bits = negative ? 0 - here().bits : here().bits;
        take();
        return result;
      case Token::Kind::Float:
        result.kind = Operand::Kind::Float;
        result.bits = take().bits ^ (negative ? 0x80000000U : 0U);
        return result;
      case Token::Kind::Double:
        result.kind = Operand::Kind::Double;
        result.bits = take().bits ^ (negative ? std::uint64_t{1} << 63 : 0);
        return result;
      case Token::Kind::Word:
        if (negative) fail("expected a number after '-'");
        result.name = take().text;
        if (accept("|")) result.second = take_word();
        if (accept("+")) result.offset = static_cast<std::int64_t>(take_integer());
        return result;
      case Token::Kind::Directive:
      case Token::Kind::String:
      case Token::Kind::Punctuation:
      case Token::Kind::End: break;
    }
    fail(fmt::format("expected an operand, found '{}'", here().text));
  }

  Operand address() {
    Operand result;
    result.kind = Operand::Kind::Address;
    if (here().kind == Token::Kind::Word) {
      result.name = take().text;
      if (accept("+")) {
        result.offset = static_cast<std::int64_t>(take_integer());
      } else if (here().is("-")) {
        result.offset = static_cast<std::int64_t>(take_integer());
      }
    } else {
      result.offset = static_cast<std::int64_t>(take_integer());
    }
    expect("]");
    return result;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  SyntaxTree tree_;
};

}  // namespace

SyntaxTree parse_syntax(std::string_view ptx) { return Parser(ptx).run(); }

}  // namespace cermet::ptxsim
