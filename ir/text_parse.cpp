// Parsing of graphs; the grammar is in ir/text.h.
//
// One statement is one line. A mistake in it is noted, the rest of the line is skipped, and the
// name it would have defined counts as defined, so that one mistake is reported once. Nothing here
// recurses or allocates by a number that the text gives; what the numbers mean is checked by
// ir/infer.h when the node is made.

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "cermet/error.h"
#include "ir/build.h"
#include "ir/lexer.h"
#include "ir/text.h"

namespace cermet::ir {
namespace {

constexpr size_t max_rank = 1024;

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

const std::unordered_map<std::string_view, Op>& ops_by_name() {
  static const std::unordered_map<std::string_view, Op> ops = [] {
    std::unordered_map<std::string_view, Op> out;
    for (size_t i = 0; i < op_count; ++i) out.emplace(name(Op(i)), Op(i));
    return out;
  }();
  return ops;
}

bool takes_combine(Op op) {
  return op == Op::Reduce || op == Op::ArgReduce || op == Op::Scan || op == Op::Scatter;
}

// One `name`, `name=value` or `name=[...]` of a statement.
struct Field {
  Token name;
  enum class Kind : uint8_t { Flag, Int, Word, List, Intervals } kind = Kind::Flag;
  int64_t number = 0;
  std::string_view word;
  Dims list, ends;  // ends: of Intervals
};

class Parser {
 public:
  Parser(std::string_view text, std::string_view file_name)
      : mistakes_(file_name), lexer_(text, mistakes_), token_(lexer_.next()) {}

  Graph run() {
    try {
      header();
      parameters();
      body();
    } catch (const Skip&) {  // what is left cannot be understood
    }
    if (!mistakes_.empty()) mistakes_.raise();
    return std::move(graph_);
  }

 private:
  struct Skip {};  // thrown after a mistake was noted, caught where reading can go on
  struct Type {
    DType dtype;
    Shape shape;
    Token where;
  };

  [[noreturn]] void fail(const Token& where, std::string_view message) {
    mistakes_.add(where, message);
    throw Skip{};
  }
  [[noreturn]] void expected(std::string_view what) {
    fail(token_, fmt::format("expected {}, found {}", what, describe(token_)));
  }

  Token take() {
    Token taken = token_;
    token_ = lexer_.next();
    return taken;
  }
  bool accept(char symbol) {
    if (!token_.is(symbol)) return false;
    take();
    return true;
  }
  void expect(char symbol) {
    if (!accept(symbol)) expected(fmt::format("'{}'", symbol));
  }
  void expect_word(std::string_view word) {
    if (!token_.is(word)) expected(fmt::format("'{}'", word));
    take();
  }
  Token expect_kind(Token::Kind kind, std::string_view what) {
    if (token_.kind != kind) expected(what);
    return take();
  }
  void skip_line_ends() {
    while (token_.kind == Token::Kind::LineEnd) take();
  }
  void skip_line() {
    while (token_.kind != Token::Kind::LineEnd && token_.kind != Token::Kind::End) take();
  }

  int64_t integer() {
    const Token token = expect_kind(Token::Kind::Number, "an integer");
    int64_t value = 0;
    const auto [end, error] = std::from_chars(token.text.begin(), token.text.end(), value);
    if (error == std::errc::result_out_of_range)
      fail(token, fmt::format("{} does not fit in 64 bits", quoted(token.text)));
    if (error != std::errc() || end != token.text.end())
      fail(token, fmt::format("{} is not an integer", quoted(token.text)));
    return value;
  }

  // [1,2,3] into `list`, or [0:1,2:3] into `list` and `ends`.
  bool list(Dims& list, Dims& ends) {
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

  Type type() {
    const Token word = expect_kind(Token::Kind::Name, "a type such as f32[2,3]");
    const std::optional<DType> dtype = parse_dtype(word.text);
    if (!dtype) {
      std::vector<std::string_view> names;
      for (DType each : all_dtypes) names.push_back(name(each));
      fail(word, fmt::format("unknown dtype {}{}", quoted(word.text), suggest(word.text, names)));
    }
    Type type{*dtype, {}, word};
    Dims ends;
    if (list(type.shape, ends)) fail(word, "a type has extents, not intervals");
    return type;
  }

  void header() {
    skip_line_ends();
    if (!token_.is("cir")) expected("'cir 1', the first line of a graph text");
    take();
    const Token version = token_;
    if (integer() != 1)
      fail(version, fmt::format("version {} is not known, only version 1", quoted(version.text)));
    skip_line_ends();
    expect_word("graph");
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
        if (mistakes_.full()) throw;
        if (ref.kind == Token::Kind::Ref) poison(ref);
        while (token_.kind != Token::Kind::Ref && !token_.is(')')) {
          if (token_.kind == Token::Kind::End) throw;
          take();
        }
        comma = false;
      }
      skip_line_ends();
    }
    expect('{');
    if (token_.kind != Token::Kind::LineEnd) expected("the end of the line");
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
      if (mistakes_.full()) throw Skip{};
      if (token_.kind == Token::Kind::End) expected("'return' before the end of the graph");
      const Token first = token_;
      const bool last = first.is("return");
      try {
        last ? results() : statement();
        if (token_.kind != Token::Kind::LineEnd && !(last && token_.is('}')))
          expected("the end of the line");
      } catch (const Skip&) {
        if (first.kind == Token::Kind::Ref) poison(first);
        skip_line();
      }
      if (last) break;
    }
    skip_line_ends();
    expect('}');
    skip_line_ends();
    if (token_.kind != Token::Kind::End) expected("the end of the text after the graph");
  }

  void results() {
    take();
    if (token_.kind != Token::Kind::Ref) return;
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

  std::vector<Field> fields() {
    std::vector<Field> out;
    while (token_.kind == Token::Kind::Name) {
      Field field;
      field.name = take();
      if (accept('=')) {
        if (token_.is('[')) {
          field.kind = list(field.list, field.ends) ? Field::Kind::Intervals : Field::Kind::List;
        } else if (token_.kind == Token::Kind::Name) {
          field.kind = Field::Kind::Word, field.word = take().text;
        } else {
          field.kind = Field::Kind::Int, field.number = integer();
        }
      }
      out.push_back(std::move(field));
    }
    return out;
  }

  // Takes the attributes of one op out of its fields; done() complains about what is left.
  class Attributes {
   public:
    Attributes(Parser& parser, const Token& op, std::vector<Field> fields)
        : parser_(parser), op_(op), fields_(std::move(fields)), used_(fields_.size()) {}

    int64_t integer(std::string_view name) { return need(name, Field::Kind::Int, "1").number; }
    Dims list(std::string_view name) { return need(name, Field::Kind::List, "[1,2]").list; }
    bool flag(std::string_view name) { return find(name, Field::Kind::Flag, name) != nullptr; }
    std::string_view word(std::string_view name, std::string_view example) {
      return need(name, Field::Kind::Word, example).word;
    }
    ViewMap levels(const Shape& shape);
    void done() {
      for (size_t i = 0; i < fields_.size(); ++i) {
        if (used_[i]) continue;
        const Token& name = fields_[i].name;
        const bool again = std::ranges::find(known_, name.text) != known_.end();
        parser_.fail(name, again ? fmt::format("{} is given twice", quoted(name.text))
                                 : fmt::format("{} has no attribute {}{}", op_.text,
                                               quoted(name.text), suggest(name.text, known_)));
      }
    }

   private:
    const Field* find(std::string_view name, Field::Kind kind, std::string_view example) {
      known_.push_back(name);
      for (size_t i = 0; i < fields_.size(); ++i) {
        if (used_[i] || fields_[i].name.text != name) continue;
        check(fields_[i], kind, example);
        used_[i] = true;
        return &fields_[i];
      }
      return nullptr;
    }
    const Field& need(std::string_view name, Field::Kind kind, std::string_view example) {
      if (const Field* field = find(name, kind, example)) return *field;
      done();  // a misspelt name is a better message than a missing one
      parser_.fail(op_, fmt::format("{}: {}={} is missing", op_.text, name, example));
    }
    void check(const Field& field, Field::Kind kind, std::string_view example) {
      if (field.kind == kind) return;
      parser_.fail(field.name, kind == Field::Kind::Flag
                                   ? fmt::format("'{}' has no value", example)
                                   : fmt::format("'{}' is written as {}={}", field.name.text,
                                                 field.name.text, example));
    }

    Parser& parser_;
    const Token& op_;
    std::vector<Field> fields_;
    std::vector<bool> used_;
    std::vector<std::string_view> known_;
  };

  void statement() {
    const Token target = expect_kind(Token::Kind::Ref, "a statement such as %2 = add %0, %1 : ...");
    expect('=');
    const Token op_name = expect_kind(Token::Kind::Name, "the name of an op");
    const auto found = ops_by_name().find(op_name.text);
    if (found == ops_by_name().end())
      fail(op_name,
           fmt::format("unknown op {}{}", quoted(op_name.text), suggest(op_name.text, op_names())));
    const Op op = found->second;
    if (op == Op::Parameter || op == Op::Data)
      fail(op_name, fmt::format("{} is no statement: parameters stand in the graph's head",
                                quoted(op_name.text)));
    const Combine combine = takes_combine(op) ? this->combine(op_name) : Combine::Sum;
    Token literal;
    if (op == Op::Constant) {
      if (token_.kind != Token::Kind::Number && token_.kind != Token::Kind::Name)
        expected("a literal");
      literal = take();
    }
    SmallVector<Value, 3> operands;
    if (op != Op::Constant && op != Op::Iota) operands = refs();
    Attributes attributes(*this, op_name, fields());
    expect(':');
    const Type declared = type();
    Value node;
    try {
      Attr attr = op == Op::Constant ? this->literal(literal, declared)
                                     : attribute(op, combine, attributes, declared);
      attributes.done();
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

  Attr literal(const Token& token, const Type& type) {
    if (auto bits = parse_literal(type.dtype, token.text)) return ConstantAttr{*bits};
    fail(token,
         fmt::format("{} is not a literal of {} that fits", quoted(token.text), name(type.dtype)));
  }

  Attr attribute(Op op, Combine combine, Attributes& from, const Type& declared) {
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
      case Op::Barrier: return {};
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

  Mistakes mistakes_;
  Lexer lexer_;
  Token token_;
  Graph graph_;
  std::unordered_map<std::string_view, Value> values_;  // empty: defined by a line with a mistake
  std::unordered_map<int64_t, std::shared_ptr<Variable>> variables_;
};

ViewMap Parser::Attributes::levels(const Shape& shape) {
  known_ = {"strides", "offset", "valid", "of", "shape"};
  SmallVector<StridedMap, 1> levels;
  std::array<bool, 3> given{};
  const auto start = [&](const Shape& extents) {
    for (int64_t extent : extents)
      if (extent < 0) throw Error(fmt::format("view: negative size in {}", to_string(extents)));
    if (!checked_numel(extents))
      throw Error(fmt::format("view: {} has too many elements", to_string(extents)));
    StridedMap level = StridedMap::contiguous(extents);
    level.strides = default_strides(extents);
    levels.push_back(std::move(level));
    given = {};
  };
  start(shape);
  for (size_t i = 0; i < fields_.size(); ++i) {
    const Field& field = fields_[i];
    const std::string_view name = field.name.text;
    used_[i] = true;
    StridedMap& level = levels.back();
    size_t which = 0;
    if (name == "strides") {
      check(field, Field::Kind::List, "[1,2]");
      level.strides = field.list;
    } else if (name == "offset") {
      which = 1;
      check(field, Field::Kind::Int, "1");
      level.offset = field.number;
    } else if (name == "valid") {
      which = 2;
      check(field, Field::Kind::Intervals, "[0:1,0:2]");
      level.begin = field.list, level.end = field.ends;
    } else if (name == "of" && i + 1 < fields_.size() && fields_[i + 1].name.is("shape")) {
      check(field, Field::Kind::Flag, "of");
      used_[++i] = true;
      check(fields_[i], Field::Kind::List, "[1,2]");
      start(fields_[i].list);
      continue;
    } else {
      used_[i] = false;
      break;
    }
    if (std::exchange(given[which], true))
      parser_.fail(field.name, fmt::format("'{}' is given twice", name));
  }
  return ViewMap(std::move(levels));
}

}  // namespace

Graph parse(std::string_view text, std::string_view file_name) {
  return Parser(text, file_name).run();
}

}  // namespace cermet::ir
