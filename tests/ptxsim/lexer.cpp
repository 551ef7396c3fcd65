#include "ptxsim/lexer.h"

#include <fmt/format.h>

#include <bit>
#include <cctype>
#include <charconv>
#include <string>

#include "ptxsim/ptxsim.h"

namespace cermet::ptxsim {
namespace {

bool starts_word(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%';
}
bool in_word(char c) { return starts_word(c) || std::isdigit(static_cast<unsigned char>(c)); }

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    tokens.reserve(text_.size() / 4);
    while (skip_blanks()) tokens.push_back(next());
    tokens.push_back({Token::Kind::End, line_, {}, 0});
    return tokens;
  }

 private:
  char at(std::size_t i) const { return i < text_.size() ? text_[i] : '\0'; }

  // False at the end of the text.
  bool skip_blanks() {
    while (at_ < text_.size()) {
      if (text_[at_] == '\n') ++line_;
      if (std::isspace(static_cast<unsigned char>(text_[at_])) || text_[at_] == '\0') {
        ++at_;
      } else if (text_.substr(at_, 2) == "//") {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (text_.substr(at_, 2) == "/*") {
        const std::size_t end = text_.find("*/", at_);
        if (end == std::string_view::npos) fail("a comment has no end");
        for (; at_ < end; ++at_) line_ += text_[at_] == '\n';
        at_ += 2;
      } else {
        return true;
      }
    }
    return false;
  }

  Token next() {
    const char c = text_[at_];
    if (starts_word(c)) return word();
    if (c == '.' && starts_word(at(at_ + 1))) {
      return directive();
    }
    if (std::isdigit(static_cast<unsigned char>(c))) return number();
    if (c == '"') return string();
    if (std::string_view("{}[]()<>,;:@!|+-=").find(c) != std::string_view::npos) {
      return take(Token::Kind::Punctuation, 1);
    }
    fail(fmt::format("unexpected character '{}'", c));
  }

  // Dots join a word where a letter or digit follows, and so does the '::' of ".shared::cta".
  Token word() {
    std::size_t end = at_ + 1;
    for (;; ++end) {
      if (in_word(at(end))) continue;
      if (at(end) == '.' && in_word(at(end + 1))) continue;
      if (at(end) == ':' && at(end + 1) == ':') {
        ++end;
        continue;
      }
      break;
    }
    return take(Token::Kind::Word, end - at_);
  }

  // ".reg.b32" is two of them.
  Token directive() {
    std::size_t end = at_ + 1;
    while (in_word(at(end))) ++end;
    return take(Token::Kind::Directive, end - at_);
  }

  Token number() {
    if (at(at_) == '0' && (at(at_ + 1) == 'f' || at(at_ + 1) == 'F')) {
      return hexadecimal(Token::Kind::Float, 8);
    }
    if (at(at_) == '0' && (at(at_ + 1) == 'd' || at(at_ + 1) == 'D')) {
      return hexadecimal(Token::Kind::Double, 16);
    }
    int base = 10;
    std::size_t begin = at_;
    if (at(at_) == '0' && (at(at_ + 1) == 'x' || at(at_ + 1) == 'X')) base = 16, begin += 2;
    if (at(at_) == '0' && (at(at_ + 1) == 'b' || at(at_ + 1) == 'B')) base = 2, begin += 2;
    std::size_t end = begin;
    while (std::isalnum(static_cast<unsigned char>(at(end)))) ++end;
    if (base == 10 && at(end) == '.') return decimal();
    if (base == 10 && end - begin > 1 && text_[begin] == '0') base = 8, ++begin;
    std::size_t digits_end = end;
    if (digits_end > begin && at(digits_end - 1) == 'U') --digits_end;
    std::uint64_t value = 0;
    const char* last = text_.data() + digits_end;
    const auto [stop, error] = std::from_chars(text_.data() + begin, last, value, base);
    if (error != std::errc() || stop != last) fail("not a number");
    Token token = take(Token::Kind::Integer, end - at_);
    token.bits = value;
    return token;
  }

  Token hexadecimal(Token::Kind kind, std::size_t digits) {
    std::uint64_t value = 0;
    const char* begin = text_.data() + at_ + 2;
    if (at_ + 2 + digits > text_.size()) fail("not a number");
    const auto [stop, error] = std::from_chars(begin, begin + digits, value, 16);
    if (error != std::errc() || stop != begin + digits) fail("not a floating-point number");
    Token token = take(kind, 2 + digits);
    token.bits = value;
    return token;
  }

  Token decimal() {
    double value = 0;
    const char* begin = text_.data() + at_;
    const auto [stop, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc()) fail("not a floating-point number");
    Token token = take(Token::Kind::Double, static_cast<std::size_t>(stop - begin));
    token.bits = std::bit_cast<std::uint64_t>(value);
    return token;
  }

  Token string() {
    const std::size_t end = text_.find('"', at_ + 1);
    if (end == std::string_view::npos) fail("a string has no end");
    return take(Token::Kind::String, end + 1 - at_);
  }

  Token take(Token::Kind kind, std::size_t length) {
    Token token{kind, line_, text_.substr(at_, length), 0};
    at_ += length;
    return token;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("ptx line {}: {}", line_, what), line_);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<Token> tokenize(std::string_view ptx) { return Lexer(ptx).run(); }

}  // namespace cermet::ptxsim
