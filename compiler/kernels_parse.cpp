// Parsing of kernel programs; the grammar is in compiler/kernels_text.h.
//
// A mistake is noted and the rest of its line skipped; a name that the line would have defined
// counts as defined, so that one mistake is reported once.

#include <fmt/format.h>

#include <unordered_map>

#include "compiler/kernels_text.h"
#include "ir/fields.h"
#include "ir/scanner.h"
#include "ir/text.h"

namespace cermet::compiler {

using ir::Token;
using Kind = Expr::Kind;

namespace {

class Parser : private ir::Scanner {
 public:
  using Scanner::Scanner;

  KernelProgram run() {
    try {
      expect_version("kernels", "kernel");
      while (!at(Token::Kind::End)) {
        const Token first = token();
        try {
          item();
        } catch (const Skip&) {
          skip_line();
          // The lines of a kernel whose head is wrong.
          if (first.is("kernel") && !kernel_) skip_kernel();
        }
        if (too_many_mistakes()) break;
        skip_line_ends();
      }
    } catch (const Skip&) {  // what is left cannot be understood
    }
    raise_mistakes();
    return std::move(program_);
  }

 private:
  void skip_kernel() {
    while (!token().is('}') && !at(Token::Kind::End)) take();
    accept('}');
  }

  int32_t number_below(int64_t limit, std::string_view what) {
    const Token where = token();
    const int64_t value = integer();
    if (value < 0 || value >= limit)
      fail(where, fmt::format("{} {} does not exist, there are {}", what, value, limit));
    return int32_t(value);
  }

  Shape shape(std::string_view word) {
    expect(word);
    expect('=');
    const Token open = token();
    Shape out;
    Dims ends;
    if (list(out, ends)) fail(open, "extents are no intervals");
    for (int64_t n : out)
      if (n < 1) fail(open, fmt::format("an extent of {}", n));
    if (!checked_numel(out)) fail(open, "the extents do not fit in 64 bits");
    return out;
  }

  DType dtype() { return Scanner::dtype(expect_kind(Token::Kind::Name, "a dtype such as f32")); }
  ir::Combine combine() {
    const Token word = expect_kind(Token::Kind::Name, "sum, prod, max, min or set");
    if (auto found = ir::parse_combine(word.text)) return *found;
    fail(word, fmt::format("expected sum, prod, max, min or set, found {}", ir::quoted(word.text)));
  }

  void item() {
    if (kernel_) return statement();
    if (token().is("buffer")) return buffer();
    if (token().is("kernel")) return kernel();
    if (token().is("sort")) return sort();
    if (token().is("chain")) return chain();
    expected("'buffer', 'kernel', 'sort' or 'chain'");
  }

  void buffer() {
    take();
    KernelBuffer b{KernelBuffer::Kind::Temporary, 0, DType::F32, 0};
    // Counts as defined, whatever is wrong with the line.
    program_.buffers.push_back(b);
    const Token where = token();
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

  int64_t positive(std::string_view word) {
    expect(word);
    expect('=');
    const Token where = token();
    const int64_t value = integer();
    if (value < 1) fail(where, fmt::format("{} {}", word, value));
    return value;
  }

  void chain() {
    take();
    Chain c;
    c.first = int32_t(program_.kernels.size());
    const Token where = token();
    const int64_t kernels = positive("kernels");
    if (kernels > INT32_MAX) fail(where, fmt::format("{} kernels", kernels));
    c.count = int32_t(kernels);
    c.rows = positive("rows"), c.group = positive("group"), c.step = positive("step");
    expect("locals"), expect('=');
    const Token open = token();
    Dims locals, ends;
    if (list(locals, ends)) fail(open, "buffers are no intervals");
    for (int64_t b : locals) {
      if (b < 0 || b >= int64_t(program_.buffers.size()))
        fail(open,
             fmt::format("buffer {} does not exist, there are {}", b, program_.buffers.size()));
      c.locals.push_back(int32_t(b));
    }
    expect_line_end();
    program_.chains.push_back(std::move(c));
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
    expect("from"), expect('=');
    k.sort_input = number_below(buffers, "buffer");
    expect("to"), expect('=');
    KernelStore s{.value = -1, .buffer = number_below(buffers, "buffer"), .map = {}};
    s.map = ir::StridedMap::contiguous(space(k, true));
    k.stores.push_back(std::move(s));
    k.descending = accept("descending");
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
    if (token().is("store")) return store();
    if (token().is("scatter")) return scatter();
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
    if (e.kind == Kind::Constant) literal = this->literal();
    while (at(Token::Kind::Ref) || (!e.operands.empty() && accept(',')))
      e.operands.push_back(operand());
    ir::Fields fields(*this, op);
    expect(':');
    e.dtype = dtype();
    e.inner = accept("inner");
    e.once = accept("once");
    if (e.kind == Kind::Constant) e.bits = literal_bits(e.dtype, literal);
    attributes(e, op, fields);
    return e;
  }

  ir::Op map_op(const Token& op) {
    const auto found = ir::parse_op(op.text);
    if (found && ir::is_pointwise(*found)) return *found;
    std::vector<std::string_view> names = {"load",   "position",   "constant", "gather",
                                           "reduce", "arg_reduce", "scan",     "contract"};
    for (size_t i = ir::structural_op_count; i < ir::op_count; ++i)
      names.push_back(ir::name(ir::Op(i)));
    fail(op, fmt::format("unknown op {}{}", ir::quoted(op.text), ir::suggest(op.text, names)));
  }

  void attributes(Expr& e, const Token& op, ir::Fields& fields) {
    const bool reads = e.kind == Kind::Load || e.kind == Kind::Gather;
    if (reads) e.buffer = buffer_field(op, fields);
    if (e.kind == Kind::Gather)
      e.stride = fields.integer("step"), e.extent = fields.integer("extent");
    if (e.kind == Kind::Scan)
      e.reverse = fields.flag("reverse"), e.exclusive = fields.flag("exclusive");
    if (reads || e.kind == Kind::Position)
      e.map = ir::ViewMap(fields.levels(space(*kernel_, e.inner)));
    fields.done();
  }

  void store() {
    const Token op = take();
    KernelStore s{.value = operand(), .buffer = -1, .map = {}};
    ir::Fields fields(*this, op);
    finish_store(std::move(s), op, fields);
  }

  void scatter() {
    const Token op = take();
    const ir::Combine how = combine();
    KernelStore s{.value = operand(), .buffer = -1, .map = {}};
    s.combine = how;
    expect(',');
    s.index = operand();
    ir::Fields fields(*this, op);
    s.stride = fields.integer("step"), s.extent = fields.integer("extent");
    s.order = int32_t(fields.integer_or("order", -1));
    finish_store(std::move(s), op, fields);
  }

  void finish_store(KernelStore s, const Token& op, ir::Fields& fields) {
    s.buffer = buffer_field(op, fields);
    auto maps = fields.levels(space(*kernel_, kernel_->exprs[size_t(s.value)].inner));
    if (maps.size() != 1) fail(op, "the map of a store has one level");
    s.map = std::move(maps[0]);
    fields.done();
    expect_line_end();
    kernel_->stores.push_back(std::move(s));
  }

  int32_t buffer_field(const Token& op, ir::Fields& fields) {
    const int64_t b = fields.integer("buffer");
    if (b < 0 || b >= int64_t(program_.buffers.size()))
      fail(op, fmt::format("buffer {} does not exist, there are {}", b, program_.buffers.size()));
    return int32_t(b);
  }

  KernelProgram program_;
  Kernel* kernel_ = nullptr;   // whose statements are read
  std::string_view defining_;  // by the statement that is read
  // Expressions by name; `unknown` for one whose line had a mistake: what uses it is skipped.
  static constexpr int32_t unknown = -1;
  std::unordered_map<std::string_view, int32_t> names_;
};

}  // namespace

KernelProgram parse_kernels(std::string_view text, std::string_view file_name) {
  return Parser(text, file_name).run();
}

}  // namespace cermet::compiler
