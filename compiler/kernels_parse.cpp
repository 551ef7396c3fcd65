// Parsing of kernel programs; the grammar is in compiler/kernels_text.h.
//
// A mistake is noted and the rest of its line skipped; a name that the line would have defined
// counts as defined, so that one mistake is reported once.

#include <fmt/format.h>

#include <charconv>
#include <unordered_map>

#include "compiler/kernels_text.h"
#include "ir/lexer.h"
#include "ir/text.h"

namespace cermet::compiler {

using ir::Token;
using Kind = Expr::Kind;

namespace {

constexpr size_t max_rank = 1024;

// One `name` or `name=value` behind the operands of a statement.
struct Field {
  Token name;
  enum class Kind : uint8_t { Flag, Int, List, Intervals } kind = Kind::Flag;
  int64_t number = 0;
  Dims list, ends;
  bool used = false;
};

class Parser {
 public:
  Parser(std::string_view text, std::string_view file_name)
      : mistakes_(file_name), lexer_(text, mistakes_), token_(lexer_.next()) {}

  KernelProgram run() {
    try {
      header();
      while (token_.kind != Token::Kind::End) {
        const Token first = token_;
        try {
          item();
        } catch (const Skip&) {
          skip_line();
          // The lines of a kernel whose head is wrong.
          if (first.is("kernel") && !kernel_) skip_kernel();
        }
        if (mistakes_.full()) break;
        skip_line_ends();
      }
    } catch (const Skip&) {  // what is left cannot be understood
    }
    if (!mistakes_.empty()) mistakes_.raise();
    return std::move(program_);
  }

 private:
  struct Skip {};  // thrown after a mistake was noted, caught where reading can go on

  [[noreturn]] void fail(const Token& where, std::string_view message) {
    mistakes_.add(where, message);
    throw Skip{};
  }
  [[noreturn]] void expected(std::string_view what) {
    fail(token_, fmt::format("expected {}, found {}", what, ir::describe(token_)));
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
  void expect_line_end() {
    if (token_.kind != Token::Kind::LineEnd && token_.kind != Token::Kind::End)
      expected("the end of the line");
  }
  void skip_line_ends() {
    while (token_.kind == Token::Kind::LineEnd) take();
  }
  void skip_line() {
    while (token_.kind != Token::Kind::LineEnd && token_.kind != Token::Kind::End) take();
  }
  void skip_kernel() {
    while (!token_.is('}') && token_.kind != Token::Kind::End) take();
    accept('}');
  }

  int64_t integer() {
    const Token token = expect_kind(Token::Kind::Number, "an integer");
    int64_t value = 0;
    const auto [end, error] = std::from_chars(token.text.begin(), token.text.end(), value);
    if (error == std::errc::result_out_of_range)
      fail(token, fmt::format("{} does not fit in 64 bits", ir::quoted(token.text)));
    if (error != std::errc() || end != token.text.end())
      fail(token, fmt::format("{} is not an integer", ir::quoted(token.text)));
    return value;
  }
  int32_t number_below(int64_t limit, std::string_view what) {
    const Token where = token_;
    const int64_t value = integer();
    if (value < 0 || value >= limit)
      fail(where, fmt::format("{} {} does not exist, there are {}", what, value, limit));
    return int32_t(value);
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
  Shape shape(std::string_view word) {
    expect_word(word);
    expect('=');
    const Token open = token_;
    Shape out;
    Dims ends;
    if (list(out, ends)) fail(open, "extents are no intervals");
    for (int64_t n : out)
      if (n < 1) fail(open, fmt::format("an extent of {}", n));
    if (!checked_numel(out)) fail(open, "the extents do not fit in 64 bits");
    return out;
  }

  DType dtype() {
    const Token word = expect_kind(Token::Kind::Name, "a dtype such as f32");
    if (auto found = parse_dtype(word.text)) return *found;
    std::vector<std::string_view> names;
    for (DType each : all_dtypes) names.push_back(name(each));
    fail(word,
         fmt::format("unknown dtype {}{}", ir::quoted(word.text), ir::suggest(word.text, names)));
  }
  ir::Combine combine() {
    const Token word = expect_kind(Token::Kind::Name, "sum, prod, max, min or set");
    if (auto found = ir::parse_combine(word.text)) return *found;
    fail(word, fmt::format("expected sum, prod, max, min or set, found {}", ir::quoted(word.text)));
  }

  void header() {
    skip_line_ends();
    if (!token_.is("kernels")) expected("'kernels 1', the first line of a kernel text");
    take();
    const Token version = token_;
    if (integer() != 1)
      fail(version,
           fmt::format("version {} is not known, only version 1", ir::quoted(version.text)));
    skip_line_ends();
  }

  void item() {
    if (kernel_) return statement();
    if (token_.is("buffer")) return buffer();
    if (token_.is("kernel")) return kernel();
    if (token_.is("sort")) return sort();
    expected("'buffer', 'kernel' or 'sort'");
  }

  void buffer() {
    take();
    KernelBuffer b{KernelBuffer::Kind::Temporary, 0, DType::F32, 0};
    // Counts as defined, whatever is wrong with the line.
    program_.buffers.push_back(b);
    const Token where = token_;
    if (integer() != int64_t(program_.buffers.size()) - 1)
      fail(where, fmt::format("expected buffer {}", program_.buffers.size() - 1));
    expect('=');
    const Token kind = expect_kind(Token::Kind::Name, "'parameter', 'result' or 'temporary'");
    if (kind.is("parameter"))
      b.kind = KernelBuffer::Kind::Parameter, b.slot = integer();
    else if (kind.is("result"))
      b.kind = KernelBuffer::Kind::Result, b.slot = integer();
    else if (!kind.is("temporary"))
      fail(kind, fmt::format("expected 'parameter', 'result' or 'temporary', found {}",
                             ir::quoted(kind.text)));
    expect(':');
    b.dtype = dtype();
    expect('[');
    b.elements = integer();
    expect(']');
    expect_line_end();
    program_.buffers.back() = b;
  }

  Kernel head() {
    take();
    Kernel k;
    k.name = std::string(expect_kind(Token::Kind::Name, "the kernel's name").text);
    k.outer = shape("outer");
    k.inner = shape("inner");
    return k;
  }

  void kernel() {
    Kernel k = head();
    expect('{');
    expect_line_end();
    program_.kernels.push_back(std::move(k));
    kernel_ = &program_.kernels.back();
    names_.clear();
  }

  void sort() {
    Kernel k = head();
    k.kind = Kernel::Kind::Sort;
    const int64_t buffers = int64_t(program_.buffers.size());
    expect_word("from"), expect('=');
    k.sort_input = number_below(buffers, "buffer");
    expect_word("to"), expect('=');
    KernelStore s{.value = -1, .buffer = number_below(buffers, "buffer"), .map = {}};
    s.map = ir::StridedMap::contiguous(space(k, true));
    k.stores.push_back(std::move(s));
    if (token_.is("descending")) take(), k.descending = true;
    expect_line_end();
    program_.kernels.push_back(std::move(k));
  }

  static Shape space(const Kernel& k, bool inner) {
    Shape out = k.outer;
    for (size_t d = 0; inner && d < k.inner.size(); ++d) out.push_back(k.inner[d]);
    return out;
  }

  void statement() {
    if (accept('}')) {
      kernel_ = nullptr;
      return expect_line_end();
    }
    defining_ = {};
    if (token_.is("store")) return store();
    if (token_.is("scatter")) return scatter();
    const Token ref = expect_kind(Token::Kind::Ref, "an expression such as %0, 'store' or '}'");
    if (names_.contains(ref.text)) fail(ref, fmt::format("{} is defined twice", describe(ref)));
    names_.emplace(ref.text, unknown);
    defining_ = ref.text;
    kernel_->exprs.emplace_back();
    expect('=');
    const Token op = expect_kind(Token::Kind::Name, "an op");
    Expr e = expr(op);
    expect_line_end();
    kernel_->exprs.back() = std::move(e);
    names_[ref.text] = int32_t(kernel_->exprs.size()) - 1;
  }

  int32_t operand() {
    const Token ref = expect_kind(Token::Kind::Ref, "an operand such as %0");
    const auto found = names_.find(ref.text);
    if (found == names_.end()) fail(ref, fmt::format("{} is not defined", describe(ref)));
    if (found->second != unknown) return found->second;
    if (ref.text == defining_) fail(ref, fmt::format("{} is not defined yet", describe(ref)));
    throw Skip{};
  }

  Expr expr(const Token& op) {
    struct Row {
      std::string_view name;
      Kind kind;
      bool combines;
    };
    static constexpr Row rows[] = {
        {"load", Kind::Load, false},         {"position", Kind::Position, false},
        {"constant", Kind::Constant, false}, {"gather", Kind::Gather, false},
        {"reduce", Kind::Reduce, true},      {"arg_reduce", Kind::ArgReduce, true},
        {"scan", Kind::Scan, true},          {"contract", Kind::Contract, false}};
    Expr e{};
    e.kind = Kind::Map;
    bool combines = false;
    for (const Row& row : rows)
      if (op.is(row.name)) e.kind = row.kind, combines = row.combines;
    if (e.kind == Kind::Map) e.op = map_op(op);
    if (combines) e.combine = combine();
    Token literal;
    if (e.kind == Kind::Constant) literal = take_literal();
    while (token_.kind == Token::Kind::Ref || (!e.operands.empty() && accept(',')))
      e.operands.push_back(operand());
    fields();
    expect(':');
    e.dtype = dtype();
    if (token_.is("inner")) take(), e.inner = true;
    if (e.kind == Kind::Constant) {
      const auto bits = ir::parse_literal(e.dtype, literal.text);
      if (!bits) fail(literal, fmt::format("{} is no {}", ir::quoted(literal.text), name(e.dtype)));
      e.bits = *bits;
    }
    attributes(e, op);
    return e;
  }

  ir::Op map_op(const Token& op) {
    const auto found = ir::parse_op(op.text);
    if (found &&
        (ir::is_elementwise(*found) || *found == ir::Op::Cast || *found == ir::Op::Bitcast))
      return *found;
    std::vector<std::string_view> names = {"load",   "position",   "constant", "gather",
                                           "reduce", "arg_reduce", "scan",     "contract"};
    for (size_t i = ir::structural_op_count; i < ir::op_count; ++i)
      names.push_back(ir::name(ir::Op(i)));
    fail(op, fmt::format("unknown op {}{}", ir::quoted(op.text), ir::suggest(op.text, names)));
  }

  Token take_literal() {
    if (token_.kind != Token::Kind::Number && token_.kind != Token::Kind::Name)
      expected("a literal");
    return take();
  }

  void attributes(Expr& e, const Token& op) {
    const bool reads = e.kind == Kind::Load || e.kind == Kind::Gather;
    if (reads) e.buffer = buffer_field(op);
    if (e.kind == Kind::Gather) e.stride = need("step", op), e.extent = need("extent", op);
    if (e.kind == Kind::Scan) e.reverse = flag("reverse"), e.exclusive = flag("exclusive");
    if (reads || e.kind == Kind::Position) e.map = ir::ViewMap(levels(space(*kernel_, e.inner)));
    no_more_fields(op);
  }

  void store() {
    const Token op = take();
    KernelStore s{.value = operand(), .buffer = -1, .map = {}};
    fields();
    finish_store(std::move(s), op);
  }

  void scatter() {
    const Token op = take();
    const ir::Combine how = combine();
    KernelStore s{.value = operand(), .buffer = -1, .map = {}};
    s.combine = how;
    expect(',');
    s.index = operand();
    fields();
    s.stride = need("step", op), s.extent = need("extent", op);
    finish_store(std::move(s), op);
  }

  void finish_store(KernelStore s, const Token& op) {
    s.buffer = buffer_field(op);
    auto maps = levels(space(*kernel_, kernel_->exprs[size_t(s.value)].inner));
    if (maps.size() != 1) fail(op, "the map of a store has one level");
    s.map = std::move(maps[0]);
    no_more_fields(op);
    expect_line_end();
    kernel_->stores.push_back(std::move(s));
  }

  void fields() {
    fields_.clear();
    while (token_.kind == Token::Kind::Name) {
      Field field;
      field.name = take();
      if (accept('=')) {
        if (token_.is('['))
          field.kind = list(field.list, field.ends) ? Field::Kind::Intervals : Field::Kind::List;
        else
          field.kind = Field::Kind::Int, field.number = integer();
      }
      fields_.push_back(std::move(field));
    }
  }
  Field* find(std::string_view name, Field::Kind kind) {
    for (Field& f : fields_) {
      if (f.used || f.name.text != name) continue;
      if (f.kind != kind) fail(f.name, fmt::format("{} has a value of another kind", name));
      f.used = true;
      return &f;
    }
    return nullptr;
  }
  bool flag(std::string_view name) { return find(name, Field::Kind::Flag) != nullptr; }
  int64_t need(std::string_view name, const Token& op) {
    if (const Field* f = find(name, Field::Kind::Int)) return f->number;
    fail(op, fmt::format("{}: {}=1 is missing", op.text, name));
  }
  int32_t buffer_field(const Token& op) {
    const int64_t b = need("buffer", op);
    if (b < 0 || b >= int64_t(program_.buffers.size()))
      fail(op, fmt::format("buffer {} does not exist, there are {}", b, program_.buffers.size()));
    return int32_t(b);
  }
  void no_more_fields(const Token& op) {
    for (const Field& f : fields_)
      if (!f.used)
        fail(f.name, fmt::format("{} has no attribute {}", op.text, ir::quoted(f.name.text)));
  }

  // The levels among the fields, of which the first has the shape `first`.
  SmallVector<ir::StridedMap, 1> levels(const Shape& first) {
    SmallVector<ir::StridedMap, 1> out;
    out.push_back(blank_level(first));
    for (size_t i = 0; i < fields_.size(); ++i) {
      Field& f = fields_[i];
      if (f.used) continue;
      ir::StridedMap& m = out.back();
      f.used = true;
      if (f.name.is("of") && f.kind == Field::Kind::Flag) {
        if (++i == fields_.size() || !fields_[i].name.is("shape") ||
            fields_[i].kind != Field::Kind::List)
          fail(f.name, "expected shape=[...] after 'of'");
        fields_[i].used = true;
        if (!checked_numel(fields_[i].list)) fail(fields_[i].name, "the shape is no shape");
        out.push_back(blank_level(fields_[i].list));
      } else if (f.name.is("strides") && f.kind == Field::Kind::List) {
        m.strides = same_rank(f, f.list, m);
      } else if (f.name.is("offset") && f.kind == Field::Kind::Int) {
        m.offset = f.number;
      } else if (f.name.is("valid") && f.kind != Field::Kind::Int) {
        m.begin = same_rank(f, f.list, m), m.end = same_rank(f, f.ends, m);
      } else {
        f.used = false;
      }
    }
    return out;
  }
  static ir::StridedMap blank_level(const Shape& shape) {
    ir::StridedMap m = ir::StridedMap::contiguous(shape);
    m.strides = ir::default_strides(shape);
    return m;
  }
  Dims same_rank(const Field& f, const Dims& list, const ir::StridedMap& m) {
    if (list.size() != m.shape.size())
      fail(f.name,
           fmt::format("{} has {} entries for {} axes", f.name.text, list.size(), m.shape.size()));
    return list;
  }

  ir::Mistakes mistakes_;
  ir::Lexer lexer_;
  Token token_;
  KernelProgram program_;
  Kernel* kernel_ = nullptr;   // whose statements are read
  std::string_view defining_;  // by the statement that is read
  // Expressions by name; `unknown` for one whose line had a mistake: what uses it is skipped.
  static constexpr int32_t unknown = -1;
  std::unordered_map<std::string_view, int32_t> names_;
  std::vector<Field> fields_;
};

}  // namespace

KernelProgram parse_kernels(std::string_view text, std::string_view file_name) {
  return Parser(text, file_name).run();
}

}  // namespace cermet::compiler
