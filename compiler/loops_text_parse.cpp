// Parsing of loop IR; the grammar is in compiler/loops_text.h.
//
// One statement is one line. A mistake in it is noted, the rest of the line is skipped, and the
// name it would have defined counts as defined, so that one mistake is reported once. Open blocks
// are on a stack of our own, so nothing recurses by what the text says.

#include <fmt/format.h>

#include <limits>
#include <unordered_map>

#include "compiler/loops_text.h"
#include "ir/scanner.h"
#include "ir/text.h"

namespace cermet::compiler::loops {
namespace {

using ir::Token;

enum class Detail : uint8_t { None, Literal, Number, Buffer, Buffers, Helper };

Detail detail_of(Opcode op) {
  switch (op) {
    case Opcode::Constant: return Detail::Literal;
    case Opcode::Argument:
    case Opcode::Extract:
    case Opcode::Lookup:
    case Opcode::Report:
    case Opcode::ShuffleXor:
    case Opcode::Mma:
    case Opcode::CopyWait:
    case Opcode::Result: return Detail::Number;
    case Opcode::Load:
    case Opcode::GatherLoad:
    case Opcode::Store:
    case Opcode::ScatterStore:
    case Opcode::Prefetch:
    case Opcode::PrefetchNear:
    case Opcode::LoadMatrix:
    case Opcode::LoadMatrixTransposed: return Detail::Buffer;
    case Opcode::CopyAsync: return Detail::Buffers;
    case Opcode::CallScalar: return Detail::Helper;
    default: return Detail::None;
  }
}

const std::vector<std::string_view>& opcode_names() {
  static const std::vector<std::string_view> names = {
#define X(Enum, text, kind) #text,
      CERMET_LOOP_OPCODES(X)
#undef X
  };
  return names;
}
const std::vector<std::string_view>& helper_names() {
  static const std::vector<std::string_view> names = {
#define X(Enum, c_name, arity) #c_name,
      CERMET_LOOP_HELPERS(X)
#undef X
  };
  return names;
}

// The row of a name, or -1.
int row_of(std::string_view word, const std::vector<std::string_view>& names) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == word) return int(i);
  return -1;
}

class Parser : private ir::Scanner {
 public:
  Parser(std::string_view text, std::string_view file_name) : Scanner(text, file_name) {
    f_.name = "kernel";
  }

  Function run() {
    try {
      header();
      lines();
    } catch (const Skip&) {  // what is left cannot be understood
    }
    resolve();
    raise_mistakes();
    return std::move(f_);
  }

 private:
  // The rest of a line that is wrong. Its names count as defined.
  void skip_wrong_line() {
    for (; !at_line_end(); take())
      if (at(Token::Kind::Ref)) stand_in(token());
  }
  void stand_in(const Token& token) {
    if (!known_.contains(token.text))
      known_.emplace(token.text, append({Opcode::Constant, DType::I64, 1, -1, 0, {}}));
  }

  void header() {
    expect_version("loops", "kernel");
    expect("kernel");
    expect("arguments");
    expect('=');
    f_.argument_count = integer<int32_t>("the number of arguments");
    if (accept("threads")) {
      expect('=');
      f_.threads = integer<int32_t>("the number of threads");
      expect("index_bits");
      expect('=');
      f_.index_bits = integer<int32_t>("the width of an index");
    }
    if (accept("resident")) {
      expect('=');
      f_.resident = integer<int32_t>("the number of blocks at once");
    }
    expect('{');
    expect_line_end();
    open_block();
  }

  void lines() {
    while (!open_.empty()) {  // until the kernel's own brace is closed
      skip_line_ends();
      if (at(Token::Kind::End)) expected("'}'");
      if (too_many_mistakes()) return;
      try {
        if (token().is('}')) {
          take();
          open_.pop_back();
          expect_line_end();
          continue;
        }
        line();
        expect_line_end();
      } catch (const Skip&) {
        skip_wrong_line();
      }
    }
    skip_line_ends();
    if (!at(Token::Kind::End)) expected("the end of the text");
  }

  void line() {
    if (accept("buffer")) return buffer();
    if (accept("if")) return if_();
    if (accept("yield")) {
      // Looked up now, kept in the block, which other statements may make move.
      std::vector<Ref> values = refs();
      f_.blocks[size_t(open_.back())].yields = std::move(values);
      return;
    }
    if (!at(Token::Kind::Ref)) return statement({});
    const Token defined = take();
    try {
      expect('=');
      statement(defined);
    } catch (const Skip&) {
      stand_in(defined);
      throw;
    }
  }

  void buffer() {
    Buffer b;
    b.dtype = dtype(expect_kind(Token::Kind::Name, "a dtype"));
    if (accept("argument")) {
      b.index = integer<int32_t>("the number of an argument");
    } else if (accept("local")) {
      b.kind = Buffer::Kind::Local;
      b.elements = integer("the number of elements");
    } else if (accept("scratch")) {
      b.kind = Buffer::Kind::Scratch;
      offsets_.push_back({f_.buffers.size(), expect_kind(Token::Kind::Ref, "the offset")});
    } else {
      expected("'argument', 'scratch' or 'local'");
    }
    b.written = accept("written");
    b.restrict_ = !accept("shared");
    b.streamed = accept("streamed");
    f_.buffers.push_back(b);
  }

  // f32 or f32x8.
  void type(Instruction& i) {
    Token token = expect_kind(Token::Kind::Name, "a type");
    const size_t x = token.text.find('x');
    const std::string_view lanes = x == std::string_view::npos ? "1" : token.text.substr(x + 1);
    i.lanes = number<uint16_t>(lanes, token);
    token.text = token.text.substr(0, x);
    i.dtype = dtype(token);
  }

  Ref known(const Token& token) {
    const auto found = known_.find(token.text);
    if (found == known_.end()) fail(token, fmt::format("{} is not defined above", describe(token)));
    return found->second;
  }
  Ref ref() { return known(expect_kind(Token::Kind::Ref, "a value")); }
  std::vector<Ref> refs() {
    std::vector<Ref> list = {ref()};
    while (accept(',')) list.push_back(ref());
    return list;
  }

  void define(const Token& token, Ref ref) {
    if (!known_.try_emplace(token.text, ref).second)
      fail(token, fmt::format("{} is defined already", describe(token)));
  }

  Ref append(Instruction instruction) {
    const Ref r{int32_t(f_.instructions.size())};
    f_.instructions.push_back(std::move(instruction));
    return r;
  }
  // Puts an instruction into the block that is open.
  Ref place(Instruction instruction) {
    const Ref r = append(std::move(instruction));
    f_.blocks[size_t(open_.back())].instructions.push_back(r);
    return r;
  }

  int32_t open_block() {
    f_.blocks.emplace_back();
    open_.push_back(int32_t(f_.blocks.size()) - 1);
    return open_.back();
  }

  void statement(const Token& defined) {
    const Token word = expect_kind(Token::Kind::Name, "an opcode");
    const int row = row_of(word.text, opcode_names());
    if (row < 0 || Opcode(row) == Opcode::BlockParameter)
      fail(word, fmt::format("{} is no opcode{}", ir::quoted(word.text),
                             ir::suggest(word.text, opcode_names())));
    const auto op = Opcode(row);
    const bool valued = has_value(op);
    if (valued != !defined.text.empty())
      fail(word, fmt::format("'{}' {}", word.text,
                             valued ? "needs a name for its result" : "has no result"));
    if (op == Opcode::For) return for_(defined);
    Instruction i{op, {}, 1, -1, 0, {}};
    type(i);
    detail(i);
    if (at(Token::Kind::Ref))
      for (Ref r : refs()) i.operands.push_back(r);
    const Ref r = place(std::move(i));
    if (valued) define(defined, r);
  }

  int64_t buffer_number() {
    const Token token = expect_kind(Token::Kind::Name, "a buffer");
    if (!token.text.starts_with('b'))
      fail(token, fmt::format("{} is no buffer", ir::quoted(token.text)));
    const auto which = number<int32_t>(token.text.substr(1), token);
    if (which < 0 || size_t(which) >= f_.buffers.size())
      fail(token, fmt::format("{} of {} buffers", token.text, f_.buffers.size()));
    return which;
  }

  void detail(Instruction& i) {
    switch (detail_of(i.op)) {
      case Detail::None: return;
      case Detail::Number: i.imm = integer("a number"); return;
      case Detail::Literal: i.imm = int64_t(literal_bits(i.dtype, literal())); return;
      case Detail::Buffer: i.imm = buffer_number(); return;
      case Detail::Buffers:
        i.imm = buffer_number();
        i.imm |= buffer_number() << 32;
        return;
      case Detail::Helper: {
        const Token token = expect_kind(Token::Kind::Name, "a helper");
        i.imm = row_of(token.text, helper_names());
        if (i.imm < 0)
          fail(token, fmt::format("{} is no helper{}", ir::quoted(token.text),
                                  ir::suggest(token.text, helper_names())));
        return;
      }
    }
  }

  // The body opens also where the rest of the line is wrong, so that its "}" finds its partner.
  void if_() {
    const auto outer = size_t(open_.back());
    const int32_t body = open_block();
    const Ref condition = ref();
    f_.blocks[outer].instructions.push_back(
        append({Opcode::If, DType::I64, 1, body, 0, {condition}}));
    expect('{');
  }

  void for_(const Token& defined) {
    const auto outer = size_t(open_.back());
    const int32_t body = open_block();
    Instruction loop{Opcode::For, DType::I64, 1, body, 0, {}};
    for (Ref r : refs()) loop.operands.push_back(r);
    expect("step");
    expect('=');
    loop.imm = integer("the step");
    expect(':');
    std::vector<Token> parameters;
    do {
      parameters.push_back(expect_kind(Token::Kind::Ref, "the name of a parameter"));
    } while (accept(','));
    if (parameters.size() + 1 != loop.operands.size())
      fail(parameters[0],
           fmt::format("{} operands need {} parameters, not {}", loop.operands.size(),
                       loop.operands.size() - 1, parameters.size()));
    const Ref self = append(loop);
    f_.blocks[outer].instructions.push_back(self);
    define(defined, self);
    for (size_t k = 0; k < parameters.size(); ++k) {
      const Instruction& initial = f_.instructions[size_t(loop.operands[k == 0 ? 0 : k + 1].id)];
      const Ref parameter =
          append({Opcode::BlockParameter, initial.dtype, initial.lanes, body, int64_t(k), {}});
      f_.blocks[size_t(body)].parameters.push_back(parameter);
      define(parameters[k], parameter);
    }
    expect('{');
  }

  void resolve() {
    for (const auto& [buffer, token] : offsets_) {
      try {
        f_.buffers[buffer].offset = known(token);
      } catch (const Skip&) {  // noted
      }
    }
  }

  Function f_;
  std::vector<int32_t> open_;  // blocks, outermost first
  std::unordered_map<std::string_view, Ref> known_;
  struct Offset {
    size_t buffer;
    Token token;
  };
  std::vector<Offset> offsets_;  // of scratch buffers, defined further down
};

}  // namespace

Function parse(std::string_view text, std::string_view file_name) {
  return Parser(text, file_name).run();
}

}  // namespace cermet::compiler::loops
