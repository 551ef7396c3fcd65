#include "ir/lexer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cermet/error.h"

namespace cermet::ir {
namespace {

// Of ASCII, whatever the locale.
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// The least number of insertions, deletions and replacements from a to b (Levenshtein).
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t change = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string quoted(std::string_view text) {
  constexpr size_t longest = 40;
  std::string out = "'";
  for (char c : text.substr(0, longest)) {
    if (c >= ' ' && c <= '~')
      out += c;
    else
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out + (text.size() > longest ? "...'" : "'");
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case Token::Kind::LineEnd: return "the end of the line";
    case Token::Kind::End: return "the end of the text";
    case Token::Kind::Ref: return quoted(fmt::format("%{}", token.text.substr(0, 50)));
    case Token::Kind::Name:
    case Token::Kind::Number:
    case Token::Kind::Symbol: return quoted(token.text);
  }
  __builtin_unreachable();
}

void Mistakes::add(const Token& where, std::string_view message) {
  if (full() || where.line == unreadable_line_) return;
  lines_.push_back(fmt::format("{}:{}:{}: {}", file_name_, where.line, where.column, message));
}

void Mistakes::add_character(const Token& where) {
  add(where, fmt::format("character {} means nothing here", quoted(where.text)));
  unreadable_line_ = where.line;
}

void Mistakes::raise() const {
  throw Error(fmt::format("{}{}", fmt::join(lines_, "\n"),
                          full() ? "\n(there may be more mistakes than these)" : ""));
}

Token Lexer::token(Token::Kind kind, size_t begin, size_t end) const {
  return {kind, text_.substr(begin, end - begin), line_, int64_t(begin - line_begin_) + 1};
}

Token Lexer::next() {
  const auto more = [&](size_t i) { return i < text_.size(); };
  while (more(at_)) {
    const size_t begin = at_;
    const char c = text_[at_];
    if (c == ' ' || c == '\t' || c == '\r') {
      ++at_;
    } else if (c == '#') {
      while (more(at_) && text_[at_] != '\n') ++at_;
    } else if (c == '\n') {
      Token end = token(Token::Kind::LineEnd, begin, begin);
      line_begin_ = ++at_;
      ++line_;
      return end;
    } else if (c == '%') {
      for (++at_; more(at_) && is_word(text_[at_]);) ++at_;
      Token ref = token(Token::Kind::Ref, begin, at_);
      ref.text.remove_prefix(1);
      return ref;
    } else if (is_digit(c) || c == '-' || c == '+' || c == '.') {
      const auto exponent_sign = [&](size_t i) {
        return (text_[i] == '-' || text_[i] == '+') &&
               (text_[i - 1] == 'e' || text_[i - 1] == 'E') && text_.substr(begin, 2) != "0x";
      };
      for (++at_; more(at_) && (is_word(text_[at_]) || text_[at_] == '.' || exponent_sign(at_));)
        ++at_;
      return token(Token::Kind::Number, begin, at_);
    } else if (is_word(c)) {
      while (more(at_) && is_word(text_[at_])) ++at_;
      return token(Token::Kind::Name, begin, at_);
    } else if (std::string_view("=:,()[]{}").find(c) != std::string_view::npos) {
      ++at_;
      return token(Token::Kind::Symbol, begin, at_);
    } else {
      ++at_;
      mistakes_.add_character(token(Token::Kind::Symbol, begin, at_));
    }
  }
  return token(Token::Kind::End, text_.size(), text_.size());
}

std::string suggest(std::string_view word, const std::vector<std::string_view>& candidates) {
  if (word.size() > 40) return "";
  std::string_view best;
  size_t least = std::max<size_t>(1, word.size() / 3) + 1;
  for (std::string_view candidate : candidates) {
    const size_t d = distance(word, candidate);
    if (d < least) least = d, best = candidate;
  }
  return best.empty() ? "" : fmt::format(", did you mean '{}'?", best);
}

}  // namespace cermet::ir
