// Printing of graphs; the grammar is in ir/text.h.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <charconv>
#include <cmath>

#include "ir/element.h"
#include "ir/text.h"
#include "ir/text_writer.h"

namespace cermet::ir {
namespace {

constexpr uint64_t all_bits(DType dtype) { return ~uint64_t(0) >> (64 - bits_of(dtype)); }

// The quiet NaN without payload and sign, of a float dtype: what `nan` stands for. Infinity has all
// exponent bits set; the quiet bit is the highest of the mantissa.
uint64_t plain_nan(DType dtype) {
  const uint64_t infinity = element_bits(dtype, HUGE_VAL);
  return infinity | (infinity & -infinity) >> 1;
}

// The decimal with the fewest digits that parses to these bits of a float dtype.
std::string shortest_decimal(DType dtype, uint64_t bits) {
  const double value = element_to_double(dtype, bits);
  if (dtype == DType::F64) return fmt::format("{}", value);
  if (dtype == DType::F32) return fmt::format("{}", float(value));
  for (int digits = 1;; ++digits) {  // at most 9: every half is a float
    const double near = std::stod(fmt::format("{:.{}g}", value, digits));
    if (element_bits(dtype, near) == bits) return fmt::format("{}", near);
  }
}

class Printer : private TextWriter {
 public:
  explicit Printer(const Graph& graph) : graph_(graph), number_(numbering(graph)) {}

  std::string run() {
    order_ = topological_order(graph_.results);
    head();
    for (const Node* node : order_)
      if (!declared_.contains(node)) statement(*node);
    out_ += "  return";
    refs(graph_.results);
    out_ += "\n}\n";
    return std::move(out_);
  }

 private:
  void ref(const Node* node) {
    if (auto at = number_.find(node); at != number_.end())
      add("%{}", at->second);
    else
      out_ += "%null";
  }
  void refs(std::span<const Value> values) {
    const char* before = " ";
    for (const Value& value : values) {
      out_ += before;
      ref(value.get());
      before = ", ";
    }
  }

  // The parameters on one line where they fit, else one a line.
  void head() {
    std::vector<std::pair<std::string, bool>> list;
    size_t width = 0;
    bool any_data = false;
    const auto declare = [&](const Node* node, bool is_data) {
      if (!node || !declared_.emplace(node, true).second) return;
      list.emplace_back(fmt::format("%{}: {}", number_.at(node), type_string(*node)), is_data);
      width += list.back().first.size() + 2;
      any_data |= is_data;
    };
    for (const Value& parameter : graph_.parameters) declare(parameter.get(), false);
    for (const Node* node : order_)
      if (node->op == Op::Data) declare(node, true);
    const bool wide = any_data || width > 80;
    out_ += "cir 1\ngraph main(";
    for (size_t i = 0; i < list.size(); ++i) {
      if (wide) out_ += "\n    ";
      out_ += list[i].first;
      if (i + 1 < list.size()) out_ += wide ? "," : ", ";
      if (list[i].second) out_ += "  # data";
    }
    out_ += any_data ? "\n) {\n" : ") {\n";
  }

  void statement(const Node& node) {
    out_ += "  ";
    ref(&node);
    add(" = {}", name(node.op));
    std::visit([&](const auto& attr) { before_operands(node, attr); }, node.attr);
    refs(node.operands);
    std::visit([&](const auto& attr) { after_operands(node, attr); }, node.attr);
    add(" : {}\n", type_string(node));
  }

  void before_operands(const Node&, const auto&) {}
  void before_operands(const Node& node, const ConstantAttr& attr) {
    add(" {}", print_literal(node.dtype, attr.bits));
  }
  void before_operands(const Node&, const ReduceAttr& attr) { add(" {}", name(attr.combine)); }
  void before_operands(const Node&, const CombineAttr& attr) { add(" {}", name(attr.combine)); }
  void before_operands(const Node&, const ScanAttr& attr) { add(" {}", name(attr.combine)); }

  void after_operands(const Node&, std::monostate) {}
  void after_operands(const Node&, const ParameterAttr& attr) { add(" slot={}", attr.slot); }
  void after_operands(const Node&, const DataAttr&) {}
  void after_operands(const Node&, const ConstantAttr&) {}
  void after_operands(const Node&, const ViewAttr& attr) {
    if (attr.map) out_ += print_levels(*attr.map);
  }
  void after_operands(const Node&, const ReduceAttr& attr) {
    add(" axes={}", to_string(attr.axes));
  }
  void after_operands(const Node&, const AxisAttr& attr) { add(" axis={}", attr.axis); }
  void after_operands(const Node&, const CombineAttr& attr) { add(" axis={}", attr.axis); }
  void after_operands(const Node&, const ScanAttr& attr) {
    add(" axis={}{}{}", attr.axis, attr.reverse ? " reverse" : "",
        attr.exclusive ? " exclusive" : "");
  }
  void after_operands(const Node&, const ConvAttr& attr) {
    add(" stride={} dilation={}", to_string(attr.stride), to_string(attr.dilation));
  }
  void after_operands(const Node&, const SortAttr& attr) {
    add(" axis={}{}", attr.axis, attr.descending ? " descending" : "");
  }
  void after_operands(const Node&, const LeafAttr& attr) {
    add(" id={}", variable_id_.try_emplace(attr.variable.get(), variable_id_.size()).first->second);
  }
  void after_operands(const Node&, const CustomGradientAttr&) { out_ += " rule=opaque"; }

  const Graph& graph_;
  std::unordered_map<const Node*, int64_t> number_;
  std::vector<const Node*> order_;
  std::unordered_map<const Node*, bool> declared_;  // in the head
  std::unordered_map<const Variable*, size_t> variable_id_;
};

}  // namespace

std::string print(const Graph& graph) { return Printer(graph).run(); }

std::unordered_map<const Node*, int64_t> numbering(const Graph& graph) {
  std::unordered_map<const Node*, int64_t> number;
  const auto give = [&](const Node* node) {
    if (node) number.try_emplace(node, int64_t(number.size()));
  };
  const std::vector<const Node*> order = topological_order(graph.results);
  number.reserve(order.size() + graph.parameters.size());
  for (const Value& parameter : graph.parameters) give(parameter.get());
  for (const Node* node : order)
    if (node->op == Op::Data) give(node);
  for (const Node* node : order) give(node);
  return number;
}

std::vector<std::shared_ptr<Variable>> variables(const Graph& graph) {
  std::vector<std::shared_ptr<Variable>> out;
  std::unordered_map<const Variable*, bool> seen;
  for (const Node* node : topological_order(graph.results))
    if (node->op == Op::Leaf && seen.emplace(node->as<LeafAttr>().variable.get(), true).second)
      out.push_back(node->as<LeafAttr>().variable);
  return out;
}

Strides default_strides(std::span<const int64_t> shape) {
  Strides strides = row_major_strides(shape);
  for (size_t d = 0; d < shape.size(); ++d)
    if (shape[d] == 1) strides[d] = 0;
  return strides;
}

std::string print_level(const StridedMap& level) {
  std::string out;
  if (level.strides != default_strides(level.shape))
    out += fmt::format(" strides={}", to_string(level.strides));
  if (level.offset != 0) out += fmt::format(" offset={}", level.offset);
  if (!level.masked()) return out;
  out += " valid=[";
  for (size_t d = 0; d < level.begin.size(); ++d)
    out += fmt::format("{}{}:{}", d ? "," : "", level.begin[d], level.end[d]);
  return out + "]";
}

std::string print_levels(const ViewMap& map) {
  std::string out;
  for (const StridedMap& level : map.levels()) {
    if (&level != &map.levels()[0]) out += fmt::format(" of shape={}", to_string(level.shape));
    out += print_level(level);
  }
  return out;
}

std::string print_literal(DType dtype, uint64_t bits) {
  const auto hex = [&] { return fmt::format("{:#x}", bits); };
  if (bits & ~all_bits(dtype)) return hex();
  switch (info(dtype).kind) {
    case DTypeKind::Bool: return bits == 0 ? "false" : bits == 1 ? "true" : hex();
    case DTypeKind::Signed: return fmt::format_int(element_to_int(dtype, bits)).str();
    case DTypeKind::Unsigned: return fmt::format_int(bits).str();
    case DTypeKind::Float: break;
  }
  const double value = element_to_double(dtype, bits);
  if (value != value) return bits == plain_nan(dtype) ? "nan" : hex();
  return shortest_decimal(dtype, bits);
}

std::optional<uint64_t> parse_literal(DType dtype, std::string_view text) {
  const auto whole = [&](auto& value, std::string_view digits, auto... base) {
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value, base...);
    return error == std::errc() && end == digits.end() && !digits.empty();
  };
  if (text.starts_with("0x")) {
    uint64_t bits = 0;
    if (!whole(bits, text.substr(2), 16) || (bits & ~all_bits(dtype))) return std::nullopt;
    if (is_bool(dtype) && bits > 1) return std::nullopt;
    return bits;
  }
  switch (info(dtype).kind) {
    case DTypeKind::Bool:
      if (text == "true") return 1;
      if (text == "false") return 0;
      return std::nullopt;
    case DTypeKind::Unsigned: {
      uint64_t value = 0;
      if (!whole(value, text) || (value & ~all_bits(dtype))) return std::nullopt;
      return value;
    }
    case DTypeKind::Signed: {
      int64_t value = 0;
      if (!whole(value, text) || wrap_to(dtype, value) != value) return std::nullopt;
      return uint64_t(value) & all_bits(dtype);
    }
    case DTypeKind::Float: break;
  }
  if (text == "nan") return plain_nan(dtype);
  if (text == "inf" || text == "-inf")
    return element_bits(dtype, text[0] == '-' ? -HUGE_VAL : HUGE_VAL);
  const size_t first = text.starts_with('-') ? 1 : 0;
  if (first == text.size() || text[first] > '9') return std::nullopt;  // no other words
  uint64_t bits = 0;
  if (dtype == DType::F32) {  // not through double, which would round twice
    float value = 0;
    if (!whole(value, text)) return std::nullopt;
    bits = std::bit_cast<uint32_t>(value);
  } else {
    double value = 0;
    if (!whole(value, text)) return std::nullopt;
    bits = element_bits(dtype, value);
  }
  if (bits == element_bits(dtype, HUGE_VAL) || bits == element_bits(dtype, -HUGE_VAL))
    return std::nullopt;
  return bits;
}

}  // namespace cermet::ir
