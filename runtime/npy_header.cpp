// The format is numpy.lib.format's; its header is read with Python's ast.literal_eval there. Here
// is a parser for the part of that language that headers are written in: strings, True and False,
// integers, tuples.
#include "runtime/npy_header.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>
#include <string>

#include "cermet/error.h"

namespace cermet::runtime {
namespace {

struct DescrRow {
  DType dtype;
  std::string_view code;  // kind and bytes, without the byte order
};

// bf16 has no code in NumPy; see npy_file.h.
constexpr std::array descr_table = {
    DescrRow{DType::Bool, "b1"},       DescrRow{DType::U8, "u1"},  DescrRow{DType::U16, "u2"},
    DescrRow{DType::U32, "u4"},        DescrRow{DType::U64, "u8"}, DescrRow{DType::I8, "i1"},
    DescrRow{DType::I16, "i2"},        DescrRow{DType::I32, "i4"}, DescrRow{DType::I64, "i8"},
    DescrRow{DType::F16, "f2"},        DescrRow{DType::F32, "f4"}, DescrRow{DType::F64, "f8"},
    DescrRow{DType::BF16, "bfloat16"},
};
static_assert(descr_table.size() == all_dtypes.size());

class HeaderParser {
 public:
  HeaderParser(std::string_view text, std::string_view where) : text_(text), where_(where) {}

  NpyHeader parse() {
    NpyHeader header;
    bool descr = false, order = false, shape = false;
    const auto once = [&](bool& seen, std::string_view key) {
      if (seen) refuse(fmt::format("the key '{}' appears twice", key));
      seen = true;
    };
    expect('{');
    while (!accept('}')) {
      const std::string key = parse_string();
      expect(':');
      if (key == "descr") {
        once(descr, key);
        parse_descr(header);
      } else if (key == "fortran_order") {
        once(order, key);
        header.fortran_order = parse_bool();
      } else if (key == "shape") {
        once(shape, key);
        header.shape = parse_shape();
      } else {
        refuse(fmt::format("the key '{}' is not known", key));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) refuse("there is more behind the dictionary");
    for (const auto& [seen, key] :
         {std::pair(descr, "descr"), std::pair(order, "fortran_order"), std::pair(shape, "shape")})
      if (!seen) refuse(fmt::format("the key '{}' is missing", key));
    return header;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(fmt::format("{}: the header is wrong at byte {}: {}", where_, at_, what));
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) refuse(fmt::format("expected '{}'", c));
  }

  std::string parse_string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') refuse("expected a string");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == text_.npos) refuse("the string has no end");
    const std::string value(text_.substr(at_ + 1, end - at_ - 1));
    if (value.find_first_of("\\\n") != value.npos) refuse("the string has an escape");
    at_ = end + 1;
    return value;
  }

  bool parse_bool() {
    skip_space();
    for (const auto& [word, value] : {std::pair("True", true), std::pair("False", false)})
      if (text_.substr(at_).starts_with(word)) {
        at_ += std::string_view(word).size();
        return value;
      }
    refuse("expected True or False");
  }

  Shape parse_shape() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      shape.push_back(parse_extent());
      if (!accept(',')) {
        expect(')');
        // (3) is a number in Python, (3,) a tuple.
        if (shape.size() == 1) refuse("the shape is a number, not a tuple");
        break;
      }
    }
    return shape;
  }

  int64_t parse_extent() {
    skip_space();
    int64_t value = 0;
    const char* const first = text_.data() + at_;
    const auto [end, error] = std::from_chars(first, text_.data() + text_.size(), value);
    if (error == std::errc::result_out_of_range) refuse("an extent does not fit in 64 bits");
    if (error != std::errc()) refuse("expected an extent");
    if (value < 0) refuse(fmt::format("the extent {} is negative", value));
    at_ += size_t(end - first);
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote (3L, 4L)
    return value;
  }

  void parse_descr(NpyHeader& header) {
    if (peek() == '[' || peek() == '(') refuse("arrays of structures are not supported");
    const std::string descr = parse_string();
    std::string_view code = descr;
    char order = '=';
    if (!code.empty() && std::string_view("<>|=").find(code[0]) != std::string_view::npos)
      order = code[0], code.remove_prefix(1);
    if (code == "?") code = "b1";
    for (const DescrRow& row : descr_table)
      if (row.code == code) {
        header.dtype = row.dtype;
        header.swapped = order == '>' && size_of(row.dtype) > 1;
        return;
      }
    if (code.starts_with('O'))
      refuse(fmt::format("descr '{}': Python objects are pickled programs and are never loaded",
                         descr));
    if (code == "V2")
      refuse(
          fmt::format("descr '{}': two bytes without a meaning. If this is a bfloat16 array of "
                      "ml_dtypes, save its .view(numpy.uint16) or .astype(numpy.float32)",
                      descr));
    refuse(fmt::format("descr '{}' is not a dtype that is supported", descr));
  }

  std::string_view text_, where_;
  size_t at_ = 0;
};

}  // namespace

NpyHeader parse_npy_header(std::string_view text, std::string_view where) {
  return HeaderParser(text, where).parse();
}

std::string format_npy_header(DType dtype, std::span<const int64_t> shape) {
  std::string_view code;
  for (const DescrRow& row : descr_table)
    if (row.dtype == dtype) code = row.code;
  const char* const order = dtype == DType::BF16 ? "" : size_of(dtype) == 1 ? "|" : "<";
  std::string extents;
  for (int64_t extent : shape) extents += fmt::format("{}{}", extents.empty() ? "" : ", ", extent);
  if (shape.size() == 1) extents += ",";
  return fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}", order, code,
                     extents);
}

}  // namespace cermet::runtime
