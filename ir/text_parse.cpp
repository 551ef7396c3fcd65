// Parsing of graphs; the grammar is in ir/text.h.
//
// One statement is one line. A mistake in it is noted, the rest of the line is skipped, and the
// name it would have defined counts as defined, so that one mistake is reported once. Nothing here
// recurses or allocates by a number that the text gives; what the numbers mean is checked by
// ir/infer.h when the node is made.

#include <fmt/format.h>

#include "cermet/error.h"
#include "ir/build.h"
#include "ir/fields.h"
#include "ir/scanner.h"
#include "ir/text.h"

namespace cermet::ir {
namespace {

// Stands for the rule of a custom gradient whose code is not in the text.
class OpaqueRule : public GradientRule {
 public:
  std::vector<Value> operands_adjoints(std::span<const Value>, const Value&,
                                       const Value&) const override {
    throw Error("custom_gradient: the rule of a parsed graph is opaque, it has no gradient");
  }
};

const std::vector<std::string_view>& op_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> out;
    for (size_t i = 0; i < op_count; ++i)
      if (Op(i) != Op::Parameter && Op(i) != Op::Data) out.push_back(name(Op(i)));
    return out;
  }();
  return names;
}

bool takes_combine(Op op) {
  return op == Op::Reduce || op == Op::ArgReduce || op == Op::Scan || op == Op::Scatter;
}

class Parser : private Scanner {
 public:
  using Scanner::Scanner;

  Graph run() {
    try {
      header();
      parameters();
      body();
    } catch (const Skip&) {  // what is left cannot be understood
    }
    raise_mistakes();
    return std::move(graph_);
  }

 private:
  struct Type {
    DType dtype;
    Shape shape;
    Token where;
  };

  Type type() {
    const Token word = expect_kind(Token::Kind::Name, "a type such as f32[2,3]");
    Type type{dtype(word), {}, word};
    Dims ends;
    if (list(type.shape, ends)) fail(word, "a type has extents, not intervals");
    return type;
  }

  void header() {
    expect_version("cir", "graph");
    expect("graph");
    expect_kind(Token::Kind::Name, "the graph's name");
  }

  void parameters() {
    expect('(');
    skip_line_ends();
    for (bool comma = false; !accept(')');) {
      Token ref;
      try {
        if (comma) expect(',');
        comma = true;
        skip_line_ends();
        ref = expect_kind(Token::Kind::Ref, "a parameter such as %0");
        expect(':');
        declare(ref, type());
      } catch (const Skip&) {  // on to the next parameter
        if (too_many_mistakes()) throw;
        if (ref.kind == Token::Kind::Ref) poison(ref);
        while (!at(Token::Kind::Ref) && !token().is(')')) {
          if (at(Token::Kind::End)) throw;
          take();
        }
        comma = false;
      }
      skip_line_ends();
    }
    expect('{');
    expect_line_end();
  }

  void declare(const Token& ref, const Type& type) {
    const int64_t slot = int64_t(graph_.parameters.size());
    try {
      graph_.parameters.push_back(parameter(slot, type.dtype, type.shape));
    } catch (const Error& error) {
      fail(type.where, error.what());
    }
    define(ref, graph_.parameters.back());
  }

  void body() {
    for (;;) {
      skip_line_ends();
      if (too_many_mistakes()) throw Skip{};
      if (at(Token::Kind::End)) expected("'return' before the end of the graph");
      const Token first = token();
      const bool last = first.is("return");
      try {
        last ? results() : statement();
        if (!last || !token().is('}')) expect_line_end();
      } catch (const Skip&) {
        if (first.kind == Token::Kind::Ref) poison(first);
        skip_line();
      }
      if (last) break;
    }
    skip_line_ends();
    expect('}');
    skip_line_ends();
    if (!at(Token::Kind::End)) expected("the end of the text after the graph");
  }

  void results() {
    take();
    if (!at(Token::Kind::Ref)) return;
    for (const Value& value : refs()) graph_.results.push_back(value);
  }

  void define(const Token& ref, Value value) {
    if (ref.text.empty()) fail(ref, "a name is missing after '%'");
    if (!values_.emplace(ref.text, std::move(value)).second && !poisoned(ref.text))
      fail(ref, fmt::format("{} is defined twice", describe(ref)));
  }
  // After a mistake: the name counts as defined, and what uses it is not checked.
  void poison(const Token& ref) { values_.insert_or_assign(ref.text, Value()); }
  bool poisoned(std::string_view name) const {
    const auto at = values_.find(name);
    return at != values_.end() && !at->second;
  }

  // References separated by commas. Throws Skip where one depends on an earlier mistake.
  SmallVector<Value, 3> refs() {
    SmallVector<Value, 3> out;
    bool known = true;
    do {
      const Token ref = expect_kind(Token::Kind::Ref, "an operand such as %0");
      const auto at = values_.find(ref.text);
      if (at == values_.end()) fail(ref, fmt::format("{} is not defined", describe(ref)));
      known &= bool(at->second);
      out.push_back(at->second);
    } while (accept(','));
    if (!known) throw Skip{};
    return out;
  }

  void statement() {
    const Token target = expect_kind(Token::Kind::Ref, "a statement such as %2 = add %0, %1 : ...");
    expect('=');
    const Token op_name = expect_kind(Token::Kind::Name, "the name of an op");
    const std::optional<Op> found = parse_op(op_name.text);
    if (!found)
      fail(op_name,
           fmt::format("unknown op {}{}", quoted(op_name.text), suggest(op_name.text, op_names())));
    const Op op = *found;
    if (op == Op::Parameter || op == Op::Data)
      fail(op_name, fmt::format("{} is no statement: parameters stand in the graph's head",
                                quoted(op_name.text)));
    const Combine combine = takes_combine(op) ? this->combine(op_name) : Combine::Sum;
    Token literal;
    if (op == Op::Constant) literal = this->literal();
    SmallVector<Value, 3> operands;
    if (op != Op::Constant && op != Op::Iota) operands = refs();
    Fields fields(*this, op_name);
    expect(':');
    const Type declared = type();
    Value node;
    try {
      Attr attr = op == Op::Constant ? ConstantAttr{literal_bits(declared.dtype, literal)}
                                     : attribute(op, combine, fields, declared);
      fields.done();
      node = make(op, std::move(operands), std::move(attr), declared.dtype, declared.shape);
    } catch (const Error& error) {
      fail(op_name, error.what());
    }
    if (node->dtype != declared.dtype || node->shape != declared.shape)
      fail(declared.where, fmt::format("{} gives {}, not {}", op_name.text, type_string(*node),
                                       type_string(declared.dtype, declared.shape)));
    define(target, std::move(node));
  }

  Combine combine(const Token& op_name) {
    const Token word =
        expect_kind(Token::Kind::Name, fmt::format("sum, prod, max or min after {}", op_name.text));
    if (auto found = parse_combine(word.text)) return *found;
    fail(word, fmt::format("{} is none of sum, prod, max, min and set", quoted(word.text)));
  }

  Attr attribute(Op op, Combine combine, Fields& from, const Type& declared) {
    if (is_elementwise(op)) return {};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch"  // the elementwise rows are done, the rest is closed
    switch (op) {
#pragma GCC diagnostic pop
      case Op::Parameter:
      case Op::Data:
      case Op::Constant:
      case Op::Iota:
      case Op::Cast:
      case Op::Bitcast:
      case Op::Dot:
      case Op::StopGradient:
      case Op::Barrier:
      case Op::Recompute: return {};
      case Op::View: return ViewAttr{std::make_shared<const ViewMap>(from.levels(declared.shape))};
      case Op::Reduce: return ReduceAttr{combine, from.list("axes")};
      case Op::ArgReduce:
      case Op::Scatter: return CombineAttr{combine, from.integer("axis")};
      case Op::Scan:
        return ScanAttr{combine, from.integer("axis"), from.flag("reverse"),
                        from.flag("exclusive")};
      case Op::Conv: return ConvAttr{from.list("stride"), from.list("dilation")};
      case Op::Gather:
      case Op::Concat: return AxisAttr{from.integer("axis")};
      case Op::ArgSort: return SortAttr{from.integer("axis"), from.flag("descending")};
      case Op::Leaf: {
        std::shared_ptr<Variable>& variable = variables_[from.integer("id")];
        if (!variable) variable = std::make_shared<Variable>();
        return LeafAttr{variable};
      }
      case Op::CustomGradient: {
        static const auto opaque = std::make_shared<const OpaqueRule>();
        if (from.word("rule", "opaque") != "opaque")
          throw Error("custom_gradient: the only rule that text can name is opaque");
        return CustomGradientAttr{opaque};
      }
    }
    return {};
  }

  Graph graph_;
  std::unordered_map<std::string_view, Value> values_;  // empty: defined by a line with a mistake
  std::unordered_map<int64_t, std::shared_ptr<Variable>> variables_;
};

}  // namespace

Graph parse(std::string_view text, std::string_view file_name) {
  return Parser(text, file_name).run();
}

}  // namespace cermet::ir
