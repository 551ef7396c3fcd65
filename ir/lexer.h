#pragma once
// Tokens of our text forms, and the list of what is wrong with a text.
//
// All levels share one lexical structure: names, references (%name), numbers, single characters,
// and line ends, which separate statements. The lexer produces tokens one at a time and never looks
// back, so memory does not grow with the text.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cermet::ir {

struct Token {
  enum class Kind : uint8_t { Name, Ref, Number, Symbol, LineEnd, End };
  Kind kind = Kind::End;
  std::string_view text;  // of a Ref without the "%"; of a LineEnd or End empty
  int64_t line = 1, column = 1;

  bool is(char symbol) const { return kind == Kind::Symbol && text[0] == symbol; }
  bool is(std::string_view name) const { return kind == Kind::Name && text == name; }
};

// "'name'", "end of line", ...: how messages call a token. Long and unprintable text is cut and
// escaped.
std::string describe(const Token& token);
std::string quoted(std::string_view text);

// The mistakes of one text, in the order found.
class Mistakes {
 public:
  static constexpr size_t limit = 20;
  explicit Mistakes(std::string_view file_name) : file_name_(file_name) {}
  void add(const Token& where, std::string_view message);
  // A character that begins no token. What else is wrong with its line is not noted.
  void add_character(const Token& where);
  bool empty() const { return lines_.empty(); }
  bool full() const { return lines_.size() >= limit; }
  // Throws Error with all of them, one a line.
  [[noreturn]] void raise() const;

 private:
  std::string file_name_;
  std::vector<std::string> lines_;
  int64_t unreadable_line_ = 0;
};

class Lexer {
 public:
  Lexer(std::string_view text, Mistakes& mistakes) : text_(text), mistakes_(mistakes) {}
  Token next();

 private:
  Token token(Token::Kind kind, size_t begin, size_t end) const;

  std::string_view text_;
  Mistakes& mistakes_;
  size_t at_ = 0, line_begin_ = 0;
  int64_t line_ = 1;
};

// ", did you mean 'sin'?" for the candidate nearest to `word`, if one is near; else "".
std::string suggest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace cermet::ir
