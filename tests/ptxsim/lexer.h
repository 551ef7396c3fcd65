#pragma once
// Splits a PTX text into tokens. An opcode with its modifiers is one word ("ld.global.v4.f32"), and
// so is a special register ("%tid.x").

#include <cstdint>
#include <string_view>
#include <vector>

namespace cermet::ptxsim {

struct Token {
  enum class Kind { Word, Directive, Integer, Float, Double, String, Punctuation, End };
  Kind kind = Kind::End;
  int line = 0;
  std::string_view text;   // Directive: with its dot
  std::uint64_t bits = 0;  // the value of a number
  bool is(std::string_view other) const {
    return text == other && kind != Kind::String && kind != Kind::End;
  }
};

// The tokens of the text and one of kind End. Throws Error for a character that no token has.
std::vector<Token> tokenize(std::string_view ptx);

}  // namespace cermet::ptxsim
