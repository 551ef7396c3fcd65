#include "support/golden.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "support/paths.h"

namespace cermet::test {
namespace {

template <class T>
T number(std::string_view text, int base = 10) {
  T value{};
  const auto [end, error] = std::from_chars(text.begin(), text.end(), value, base);
  if (error != std::errc() || end != text.end())
    throw std::runtime_error(fmt::format("'{}' is not a number", text));
  return value;
}

Dims numbers(std::string_view text, char separator) {
  Dims out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    out.push_back(number<int64_t>(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return out;
}

// DTYPE SHAPE BITS
ir::HostArray read_array(std::istream& in) {
  std::string dtype_name, shape, bits;
  in >> dtype_name >> shape >> bits;
  const auto dtype = parse_dtype(dtype_name);
  if (!dtype) throw std::runtime_error(fmt::format("'{}' is no dtype", dtype_name));
  ir::HostArray out(*dtype, shape == "-" ? Dims{} : numbers(shape, 'x'));
  if (bits == "-") bits.clear();
  const size_t digits = 2 * size_of(*dtype);
  if (bits.size() != digits * size_t(out.numel()))
    throw std::runtime_error(fmt::format("{} digits for {}", bits.size(), shape));
  for (int64_t i = 0; i < out.numel(); ++i)
    out.set_bits(i,
                 number<uint64_t>(std::string_view(bits).substr(size_t(i) * digits, digits), 16));
  return out;
}

// OP OPERANDS key=1,2 ... -> DTYPE SHAPE BITS
GoldenCase read_case(std::istream& in, const std::map<std::string, ir::HostArray>& arrays) {
  GoldenCase out;
  in >> out.op;
  std::string word;
  while (in >> word && word != "->") {
    const size_t equals = word.find('=');
    if (equals == std::string::npos)
      out.operands.push_back(arrays.at(word));
    else
      out.attributes[word.substr(0, equals)] =
          numbers(std::string_view(word).substr(equals + 1), ',');
  }
  out.expected = read_array(in);
  return out;
}

}  // namespace

const Dims& GoldenCase::ints(const std::string& name) const { return attributes.at(name); }
int64_t GoldenCase::integer(const std::string& name) const { return attributes.at(name)[0]; }
int64_t GoldenCase::integer(const std::string& name, int64_t otherwise) const {
  const auto found = attributes.find(name);
  return found == attributes.end() ? otherwise : found->second[0];
}

std::vector<GoldenCase> read_golden(const std::string& name) {
  const auto path = source_dir() / "tests" / "data" / (name + ".golden");
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  std::map<std::string, ir::HostArray> arrays;
  std::vector<GoldenCase> cases;
  std::string text;
  for (int line = 1; std::getline(file, text); ++line) {
    try {
      std::istringstream in(text);
      std::string kind, array;
      in >> kind;
      if (kind == "array") {
        in >> array;
        arrays[array] = read_array(in);
      } else if (kind == "case") {
        cases.push_back(read_case(in, arrays));
        cases.back().line = line;
      } else if (kind != "#") {
        throw std::runtime_error(fmt::format("unknown line '{}'", kind));
      }
    } catch (const std::exception& error) {
      throw std::runtime_error(fmt::format("{}:{}: {}", path.string(), line, error.what()));
    }
  }
  return cases;
}

}  // namespace cermet::test
