#pragma once
// What the parsers of all text forms have in common: one token of look-ahead, mistakes, and the
// pieces of grammar that occur at more than one level.
//
// A parser derives from Scanner. A mistake is noted and Skip thrown; who reads statements catches
// it, skips what is left of the line and goes on, so that one text tells of many mistakes. What
// counts as one mistake (which names then count as defined) is for each parser to say.

#include <charconv>

#include "ir/lexer.h"
#include "ir/node.h"

namespace cermet::ir {

class Scanner {
 public:
  struct Skip {};  // thrown after a mistake was noted, caught where reading can go on

  Scanner(std::string_view text, std::string_view file_name)
      : mistakes_(file_name), lexer_(text, mistakes_), token_(lexer_.next()) {}

  const Token& token() const { return token_; }  // the next one
  bool at(Token::Kind kind) const { return token_.kind == kind; }

  [[noreturn]] void fail(const Token& where, std::string_view message);
  [[noreturn]] void expected(std::string_view what);  // ..., found the next token
  bool too_many_mistakes() const { return mistakes_.full(); }
  // Throws Error with all mistakes, if there are any.
  void raise_mistakes() const {
    if (!mistakes_.empty()) mistakes_.raise();
  }

  Token take();
  bool accept(char symbol);
  bool accept(std::string_view word);
  void expect(char symbol);
  void expect(std::string_view word);
  Token expect_kind(Token::Kind kind, std::string_view what);
  void expect_line_end();  // which is not taken; the text may end there too
  bool at_line_end() const { return at(Token::Kind::LineEnd) || at(Token::Kind::End); }
  void skip_line_ends();
  void skip_line();  // up to its end

  // `form 1`, how a text of each form begins; blank lines may come before and must follow.
  void expect_version(std::string_view form, std::string_view name);

  // Text that stands at a token, as a whole number that T holds.
  template <class T>
  T number(std::string_view text, const Token& where) {
    T value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      bad_number(text, where, error == std::errc::result_out_of_range, int(sizeof(T)) * 8);
    return value;
  }
  template <class T = int64_t>
  T integer(std::string_view what = "an integer") {
    const Token token = expect_kind(Token::Kind::Number, what);
    return number<T>(token.text, token);
  }
  // [1,2,3] into `list`; or [0:1,2:3] into `list` and `ends`, and true.
  bool list(Dims& list, Dims& ends);

  DType dtype(const Token& word);
  Token literal();
  uint64_t literal_bits(DType dtype, const Token& literal);

 private:
  [[noreturn]] void bad_number(std::string_view text, const Token& where, bool large, int bits);

  Mistakes mistakes_;
  Lexer lexer_;
  Token token_;
};

}  // namespace cermet::ir
