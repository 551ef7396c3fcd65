#include "ir/scanner.h"

#include <fmt/format.h>

#include "ir/text.h"

namespace cermet::ir {
namespace {

constexpr size_t max_rank = 1024;

}  // namespace

void Scanner::fail(const Token& where, std::string_view message) {
  mistakes_.add(where, message);
  throw Skip{};
}

void Scanner::expected(std::string_view what) {
  fail(token_, fmt::format("expected {}, found {}", what, describe(token_)));
}

Token Scanner::take() {
  const Token taken = token_;
  token_ = lexer_.next();
  return taken;
}

bool Scanner::accept(char symbol) {
  if (!token_.is(symbol)) return false;
  take();
  return true;
}

bool Scanner::accept(std::string_view word) {
  if (!token_.is(word)) return false;
  take();
  return true;
}

void Scanner::expect(char symbol) {
  if (!accept(symbol)) expected(fmt::format("'{}'", symbol));
}

void Scanner::expect(std::string_view word) {
  if (!accept(word)) expected(fmt::format("'{}'", word));
}

Token Scanner::expect_kind(Token::Kind kind, std::string_view what) {
  if (!at(kind)) expected(what);
  return take();
}

void Scanner::expect_line_end() {
  if (!at_line_end()) expected("the end of the line");
}

void Scanner::skip_line_ends() {
  while (at(Token::Kind::LineEnd)) take();
}

void Scanner::skip_line() {
  while (!at_line_end()) take();
}

void Scanner::expect_version(std::string_view form, std::string_view name) {
  skip_line_ends();
  if (!accept(form)) expected(fmt::format("'{} 1', the first line of a {} text", form, name));
  const Token version = token_;
  if (integer() != 1)
    fail(version, fmt::format("version {} is not known, only version 1", quoted(version.text)));
  skip_line_ends();
}

void Scanner::bad_number(std::string_view text, const Token& where, bool large, int bits) {
  fail(where, large ? fmt::format("{} does not fit in {} bits", quoted(text), bits)
                    : fmt::format("{} is not an integer", quoted(text)));
}

bool Scanner::list(Dims& list, Dims& ends) {
  const Token open = token_;
  expect('[');
  bool intervals = false;
  for (bool more = !accept(']'); more; more = !accept(']')) {
    if (!list.empty()) expect(',');
    list.push_back(integer());
    if (list.size() == 1) intervals = token_.is(':');
    if (intervals) {
      expect(':');
      ends.push_back(integer());
    }
    if (list.size() > max_rank) fail(open, fmt::format("more than {} axes", max_rank));
  }
  return intervals;
}

DType Scanner::dtype(const Token& word) {
  if (const auto found = parse_dtype(word.text)) return *found;
  std::vector<std::string_view> names;
  for (DType each : all_dtypes) names.push_back(name(each));
  fail(word, fmt::format("unknown dtype {}{}", quoted(word.text), suggest(word.text, names)));
}

Token Scanner::literal() {
  if (!at(Token::Kind::Number) && !at(Token::Kind::Name)) expected("a literal");
  return take();
}

uint64_t Scanner::literal_bits(DType dtype, const Token& literal) {
  if (const auto bits = parse_literal(dtype, literal.text)) return *bits;
  fail(literal,
       fmt::format("{} is not a literal of {} that fits", quoted(literal.text), name(dtype)));
}

}  // namespace cermet::ir
