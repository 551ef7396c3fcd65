#include "compiler/cuda/print.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <span>

#include "compiler/cuda/helpers.h"
#include "compiler/cuda/prelude.h"
#include "compiler/index_width.h"
#include "ir/check.h"
#include "ir/element.h"

namespace cermet::compiler {
namespace {

using loops::Block;
using loops::Buffer;
using loops::Instruction;
using loops::Opcode;
using loops::Ref;

// In which integers of this dtype wrap around as they must: at least as wide, unsigned.
std::string_view wrapping(DType dtype) {
  return size_of(dtype) == 8 ? "unsigned long long" : "unsigned";
}

std::string literal(DType dtype, uint64_t bits) {
  switch (dtype) {
    case DType::Bool: return bits ? "true" : "false";
    case DType::F32: {
      const double value = ir::element_to_double(dtype, bits);
      if (std::isfinite(value)) return fmt::format("{:a}f", value);
      return fmt::format("__uint_as_float({:#x}u)", bits);
    }
    case DType::F64: {
      const double value = ir::element_to_double(dtype, bits);
      if (std::isfinite(value)) return fmt::format("{:a}", value);
      return fmt::format("__longlong_as_double({:#x}ll)", bits);
    }
    case DType::F16:
    case DType::BF16: return fmt::format("{}{{{:#x}}}", cuda_type(dtype), bits);
    case DType::I64: return fmt::format("(long long){:#x}ull", bits);
    case DType::U64: return fmt::format("{:#x}ull", bits);
    default: return fmt::format("({}){:#x}u", cuda_type(dtype), bits);
  }
}

bool has_effect(Opcode op) {
  return loops::class_of(op) != loops::OpcodeClass::Pure && op != Opcode::Load &&
         op != Opcode::GatherLoad;
}

// What some effect depends on. The lowering writes a little more than it uses in the end, and NVRTC
// warns of that.
std::vector<bool> used_values(const loops::Function& f) {
  std::vector<bool> used(f.instructions.size(), false);
  std::vector<Ref> pending;
  const auto use = [&](Ref r) {
    if (r.id >= 0 && !used[size_t(r.id)]) used[size_t(r.id)] = true, pending.push_back(r);
  };
  for (const Instruction& i : f.instructions)
    if (has_effect(i.op))
      for (Ref r : i.operands) use(r);
  for (const Block& b : f.blocks)
    for (Ref r : b.yields) use(r);
  for (const Buffer& b : f.buffers) use(b.offset);
  while (!pending.empty()) {
    const Ref r = pending.back();
    pending.pop_back();
    for (Ref operand : f.instructions[size_t(r.id)].operands) use(operand);
  }
  return used;
}

class Printer {
 public:
  Printer(const loops::Function& function, std::string_view name)
      : f_(function),
        name_(name),
        is_index_(index_values(function)),
        used_(used_values(function)),
        variable_(function.instructions.size(), -1),
        memory_arguments_(arguments_in_memory(function)) {}

  std::string run() {
    signature();
    for (size_t k = 0; k < f_.buffers.size(); ++k)
      if (f_.buffers[k].kind == Buffer::Kind::Argument && memory_arguments_) memory_buffer(k);
    block(f_.blocks[0]);
    out_ += "}\n";
    return std::move(out_);
  }

  // The body of a device function whose buffers are its parameters.
  std::string body() {
    block(f_.blocks[0]);
    return std::move(out_);
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> text, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), text, std::forward<Args>(args)...);
  }
  template <class... Args>
  void line(fmt::format_string<Args...> text, Args&&... args) {
    out_.append(2 * size_t(depth_), ' ');
    fmt::format_to(std::back_inserter(out_), text, std::forward<Args>(args)...);
    out_ += '\n';
  }

  const Instruction& at(Ref r) const { return f_.instructions[size_t(r.id)]; }
  int lanes(Ref r) const { return at(r).lanes; }
  bool is_index(Ref r) const { return is_index_[size_t(r.id)]; }
  // Integers that were proven to stay in range are plain signed numbers, which the compiler may
  // reason about; all others wrap around.
  bool proven(Ref r) const { return f_.index_bits > 0 && is_index(r); }
  std::string_view type_of(Ref r) const {
    if (proven(r)) return f_.index_bits == 32 ? "int" : "long long";
    return cuda_type(at(r).dtype);
  }

  std::string pointer(const Buffer& b, size_t which) const {
    return fmt::format("{}{}* {}b{}", b.written ? "" : "const ", cuda_type(b.dtype),
                       b.restrict_ ? "__restrict__ " : "", which);
  }

  void signature() {
    add("extern \"C\" __global__ void __launch_bounds__({}, {}) {}(", f_.threads, f_.resident,
        name_);
    std::string before;
    const auto parameter = [&](const std::string& text) {
      add("{}{}", before, text);
      before = ", ";
    };
    if (memory_arguments_) {
      parameter("const long long* __restrict__ arguments");
    } else {
      // Buffers in the order of their arguments, which is how the launch passes them.
      for (size_t k : buffers_by_argument()) parameter(pointer(f_.buffers[k], k));
      for (int32_t i = 0; i < f_.argument_count; ++i) parameter(fmt::format("long long a{}", i));
      parameter("long long* __restrict__ error_cell");
    }
    out_ += ") {\n";
    for (const Buffer& b : f_.buffers)
      if (b.kind == Buffer::Kind::Scratch) {
        line("extern __shared__ __align__(16) unsigned char shared_memory[];");
        break;
      }
  }
  std::vector<size_t> buffers_by_argument() const {
    std::vector<size_t> order;
    for (size_t k = 0; k < f_.buffers.size(); ++k)
      if (f_.buffers[k].kind == Buffer::Kind::Argument) order.push_back(k);
    for (size_t k = 0; k < order.size(); ++k)
      CERMET_CHECK(f_.buffers[order[k]].index == int32_t(k), "buffer {} is argument {}", order[k],
                   f_.buffers[order[k]].index);
    return order;
  }
  int64_t argument_position(int32_t integer) const {
    int64_t buffers = 0;
    for (const Buffer& b : f_.buffers) buffers += b.kind == Buffer::Kind::Argument;
    return buffers + integer;
  }
  void memory_buffer(size_t which) {
    const Buffer& b = f_.buffers[which];
    line("{} = ({}{}*)arguments[{}];", pointer(b, which), b.written ? "" : "const ",
         cuda_type(b.dtype), b.index);
  }
  std::string error_cell() const {
    return memory_arguments_
               ? fmt::format("(long long*)arguments[{}]", argument_position(f_.argument_count))
               : "error_cell";
  }

  // ---- values ----

  std::string lane(Ref r, int which) const {
    const Instruction& i = at(r);
    if (i.op == Opcode::Constant) {
      const bool fits = f_.index_bits == 32 && i.imm == int32_t(i.imm) && i.imm > INT32_MIN;
      if (i.dtype == DType::I64 && fits) return fmt::format("{}", i.imm);
      return literal(i.dtype, uint64_t(i.imm));
    }
    if (i.op == Opcode::Splat) return lane(i.operands[0], 0);
    const int32_t v = variable_[size_t(r.id)];
    CERMET_CHECK(v >= 0, "%{} is used before it is printed", r.id);
    return i.lanes == 1 ? fmt::format("v{}", v) : fmt::format("v{}_{}", v, which);
  }
  std::string operand(const Instruction& i, size_t which, int l) const {
    const Ref r = i.operands[which];
    return lane(r, lanes(r) == 1 ? 0 : l);
  }

  // A new variable for each lane of r.
  template <class Text>
  void define(Ref r, const Text& text) {
    const Instruction& i = at(r);
    variable_[size_t(r.id)] = next_++;
    for (int l = 0; l < i.lanes; ++l) line("const {} {} = {};", type_of(r), lane(r, l), text(l));
  }

  // From a vec.
  void define_wide(Ref r, const std::string& text) {
    const int32_t wide = next_++;
    line("const auto w{} = {};", wide, text);
    define(r, [&](int l) { return fmt::format("w{}.lane[{}]", wide, l); });
  }

  // ---- instructions ----

  void block(const Block& b) {
    ++depth_;
    for (Ref r : b.instructions) instruction(r);
    --depth_;
  }

  void instruction(Ref r) {
    const Instruction& i = at(r);
    if (!has_effect(i.op) && !used_[size_t(r.id)]) return;
    switch (i.op) {
      case Opcode::Constant:
      case Opcode::Splat: return;  // printed where they are used
      case Opcode::For: return loop(r);
      case Opcode::If:
        line("if ({}) {{", operand(i, 0, 0));
        block(f_.blocks[size_t(i.block)]);
        return line("}}");
      case Opcode::Result: return result(r);
      case Opcode::Load: return load(r);
      case Opcode::Store: return store(i);
      case Opcode::ScatterStore:
        for (int l = 0; l < i.lanes; ++l)
          line("{}{} = {};", guard(i, 2, l), place(i, operand(i, 0, l)), operand(i, 1, l));
        return;
      case Opcode::Report:
        for (int l = 0; l < i.lanes; ++l)
          line("if ({}) report({}, {}, {});", operand(i, 0, l), error_cell(), i.imm,
               operand(i, 1, l));
        return;
      case Opcode::Barrier: return line("__syncthreads();");
      case Opcode::LoadMatrix:
      case Opcode::LoadMatrixTransposed:
        return define_wide(
            r, fmt::format("load_matrix<{}>({} + {})", i.op == Opcode::LoadMatrixTransposed,
                           base(size_t(i.imm)), operand(i, 0, 0)));
      case Opcode::Mma: {
        std::string list;
        for (size_t k = 0; k < i.operands.size(); ++k)
          for (int l = 0; l < lanes(i.operands[k]); ++l)
            list += fmt::format("{}{}", list.empty() ? "" : ", ", operand(i, k, l));
        return define_wide(r, fmt::format("mma_{}({})", i.imm == 0 ? "f16" : "bf16", list));
      }
      case Opcode::CopyAsync:
        return line("copy_async({} + {}, {} + {}, {});", base(size_t(i.imm & 0xffffffff)),
                    operand(i, 0, 0), base(size_t(i.imm >> 32)), operand(i, 1, 0),
                    i.operands.size() > 2 ? operand(i, 2, 0) : "true");
      case Opcode::CopyCommit: return line("copy_commit();");
      case Opcode::CopyWait: return line("copy_wait<{}>();", i.imm);
      case Opcode::ReduceAdd:
      case Opcode::ReduceMul:
      case Opcode::ReduceMax:
      case Opcode::ReduceMin:
      case Opcode::ReduceOr:
      case Opcode::ReduceAnd: return across_lanes(r);
      default: return define(r, [&](int l) { return value(r, l); });
    }
  }

  std::string guard(const Instruction& i, size_t mask, int l) const {
    return i.operands.size() > mask ? fmt::format("if ({}) ", operand(i, mask, l)) : "";
  }

  std::string shared_place(const Buffer& b) const {
    return fmt::format("(({}*)(shared_memory + {}))", cuda_type(b.dtype), lane(b.offset, 0));
  }
  std::string base(size_t buffer) const {
    const Buffer& b = f_.buffers[buffer];
    return b.kind == Buffer::Kind::Scratch ? shared_place(b) : fmt::format("b{}", buffer);
  }
  std::string base(const Instruction& i) const { return base(size_t(i.imm)); }
  std::string place(const Instruction& i, const std::string& position) const {
    return fmt::format("{}[{}]", base(i), position);
  }
  // Whether all lanes are masked alike.
  bool one_mask(const Instruction& i, size_t mask) const {
    return i.operands.size() <= mask || lanes(i.operands[mask]) == 1 ||
           at(i.operands[mask]).op == Opcode::Splat;
  }
  // Accesses of more than 16 bytes are several.
  int access_lanes(const Instruction& i) const {
    return std::min<int>(i.lanes, int(16 / size_of(i.dtype)));
  }

  void load(Ref r) {
    const Instruction& i = at(r);
    if (i.lanes == 1)
      return define(r, [&](int) { return masked(i, 1, 0, place(i, operand(i, 0, 0))); });
    if (!one_mask(i, 1))
      return define(r, [&](int l) {
        return masked(i, 1, l, place(i, fmt::format("{} + {}", operand(i, 0, 0), l)));
      });
    const int width = access_lanes(i);
    const int32_t wide = next_++;
    const std::string type = fmt::format("vec<{}, {}>", cuda_type(i.dtype), width);
    for (int first = 0; first < i.lanes; first += width) {
      line("{} w{}_{} = {{}};", type, wide, first);
      line("{}w{}_{} = *(const {}*)({} + {} + {});", guard(i, 1, 0), wide, first, type, base(i),
           operand(i, 0, 0), first);
    }
    define(r, [&](int l) {
      return fmt::format("w{}_{}.lane[{}]", wide, l / width * width, l % width);
    });
  }
  std::string masked(const Instruction& i, size_t mask, int l, const std::string& text) const {
    if (i.operands.size() <= mask) return text;
    return fmt::format("{} ? {} : {}", operand(i, mask, l), text,
                       is_half(i.dtype) ? fmt::format("{}{{0}}", cuda_type(i.dtype))
                                        : fmt::format("({})0", cuda_type(i.dtype)));
  }
  static bool is_half(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16; }

  void store(const Instruction& i) {
    if (i.lanes == 1)
      return line("{}{} = {};", guard(i, 2, 0), place(i, operand(i, 0, 0)), operand(i, 1, 0));
    if (!one_mask(i, 2)) {
      for (int l = 0; l < i.lanes; ++l)
        line("{}{} = {};", guard(i, 2, l), place(i, fmt::format("{} + {}", operand(i, 0, 0), l)),
             operand(i, 1, l));
      return;
    }
    const int width = access_lanes(i);
    const std::string type = fmt::format("vec<{}, {}>", cuda_type(i.dtype), width);
    for (int first = 0; first < i.lanes; first += width) {
      std::string values;
      for (int l = first; l < first + width; ++l)
        values += fmt::format("{}{}", l == first ? "" : ", ", operand(i, 1, l));
      line("{}*({}*)({} + {} + {}) = {}{{{{{}}}}};", guard(i, 2, 0), type, base(i),
           operand(i, 0, 0), first, type, values);
    }
  }

  // Values that a loop carries are variables of their own; what the body yields is computed before
  // any of them changes.
  void loop(Ref r) {
    const Instruction& i = at(r);
    const Block& body = f_.blocks[size_t(i.block)];
    for (size_t k = 1; k < body.parameters.size(); ++k) {
      const Ref p = body.parameters[k], initial = i.operands[k + 1];
      const std::string_view type = type_of(p);
      const int32_t v = next_++;
      for (int l = 0; l < at(p).lanes; ++l) {
        const std::string from = lane(initial, lanes(initial) == 1 ? 0 : l);
        line("{} {} = {};", type,
             at(p).lanes == 1 ? fmt::format("v{}", v) : fmt::format("v{}_{}", v, l), from);
      }
      variable_[size_t(p.id)] = v;
    }
    const Ref index = body.parameters[0];
    variable_[size_t(index.id)] = next_++;
    const std::string name = lane(index, 0);
    line("for ({} {} = {}; {} < {}; {} += {}) {{", type_of(index), name, operand(i, 0, 0), name,
         operand(i, 1, 0), name, i.imm);
    block(body);
    ++depth_;
    std::vector<std::pair<std::string, std::string>> changes;  // variable, its next value
    for (size_t k = 0; k < body.yields.size(); ++k) {
      const Ref p = body.parameters[k + 1], y = body.yields[k];
      if (y == p) continue;
      for (int l = 0; l < at(p).lanes; ++l)
        changes.emplace_back(lane(p, l), lane(y, lanes(y) == 1 ? 0 : l));
    }
    if (yields_parameter(body)) {
      for (auto& [variable, next] : changes) {
        line("const auto n{} = {};", next_, next);
        next = fmt::format("n{}", next_++);
      }
    }
    for (const auto& [variable, next] : changes) line("{} = {};", variable, next);
    --depth_;
    line("}}");
  }
  static bool yields_parameter(const Block& body) {
    for (size_t k = 0; k < body.yields.size(); ++k)
      for (size_t p = 1; p < body.parameters.size(); ++p)
        if (p != k + 1 && body.yields[k] == body.parameters[p]) return true;
    return false;
  }
  void result(Ref r) {
    const Instruction& loop = at(at(r).operands[0]);
    const Ref p = f_.blocks[size_t(loop.block)].parameters[size_t(at(r).imm) + 1];
    variable_[size_t(r.id)] = variable_[size_t(p.id)];
  }

  // Pairwise: halves are combined until one lane is left.
  void across_lanes(Ref r) {
    const Instruction& i = at(r);
    const Ref x = i.operands[0];
    std::vector<std::string> left;
    for (int l = 0; l < lanes(x); ++l) left.push_back(lane(x, l));
    while (left.size() > 1) {
      const size_t half = left.size() / 2;
      for (size_t l = 0; l < half; ++l) {
        const std::string name = fmt::format("n{}", next_++);
        line("const {} {} = {};", cuda_type(i.dtype), name, combine(i, left[l], left[l + half]));
        left[l] = name;
      }
      left.resize(half);
    }
    define(r, [&](int) { return left[0]; });
  }
  static std::string combine(const Instruction& i, const std::string& x, const std::string& y) {
    const bool real = is_float(i.dtype);
    switch (i.op) {
      case Opcode::ReduceAdd: return arithmetic(i.dtype, x, "+", y);
      case Opcode::ReduceMul: return arithmetic(i.dtype, x, "*", y);
      case Opcode::ReduceMax:
        return real ? fmt::format("({1} != {1}) ? {1} : ({0} < {1}) ? {1} : {0}", x, y)
                    : fmt::format("({0} < {1}) ? {1} : {0}", x, y);
      case Opcode::ReduceMin:
        return real ? fmt::format("({1} != {1}) ? {1} : ({1} < {0}) ? {1} : {0}", x, y)
                    : fmt::format("({1} < {0}) ? {1} : {0}", x, y);
      case Opcode::ReduceOr: return fmt::format("{} || {}", x, y);
      default: return fmt::format("{} && {}", x, y);
    }
  }

  static std::string arithmetic(DType dtype, const std::string& x, std::string_view op,
                                const std::string& y) {
    if (is_float(dtype)) return fmt::format("{} {} {}", x, op, y);
    return fmt::format("({0})(({1}){2} {3} ({1}){4})", cuda_type(dtype), wrapping(dtype), x, op, y);
  }

  // One lane of an instruction that computes lane by lane.
  std::string value(Ref r, int l) {
    const Instruction& i = at(r);
    const auto x = [&](size_t which) { return operand(i, which, l); };
    const DType dtype = i.dtype;
    const bool single = dtype == DType::F32;
    const auto binary = [&](std::string_view op) {
      return proven(r) ? fmt::format("{} {} {}", x(0), op, x(1))
                       : arithmetic(dtype, x(0), op, x(1));
    };
    const auto plain = [&](std::string_view op) {  // no overflow is possible
      return fmt::format("({})({} {} {})", type_of(r), x(0), op, x(1));
    };
    const auto divide = [&](std::string_view op, std::string_view function) {
      const bool wide = size_of(dtype) == 8 && !(proven(r) && f_.index_bits == 32);
      return wide ? fmt::format("{0}(({1}){2}, ({1}){3})", function, type_of(r), x(0), x(1))
                  : plain(op);
    };
    const auto call = [&](std::string_view f32, std::string_view f64) {
      std::string list = x(0);
      for (size_t k = 1; k < i.operands.size(); ++k) list += ", " + x(k);
      return fmt::format("{}({})", single ? f32 : f64, list);
    };
    switch (i.op) {
      case Opcode::Argument: {
        const std::string from =
            memory_arguments_ ? fmt::format("arguments[{}]", argument_position(int32_t(i.imm)))
                              : fmt::format("a{}", i.imm);
        return fmt::format("({}){}", type_of(r), from);
      }
      case Opcode::Thread: return fmt::format("({})threadIdx.x", type_of(r));
      case Opcode::Block: return fmt::format("({})blockIdx.x", type_of(r));
      case Opcode::Add: return binary("+");
      case Opcode::Sub: return binary("-");
      case Opcode::Mul: return binary("*");
      case Opcode::Div: return is_float(dtype) ? binary("/") : divide("/", "quotient");
      case Opcode::Rem: return divide("%", "remainder");
      case Opcode::Neg:
        if (is_float(dtype) || proven(r)) return fmt::format("-{}", x(0));
        return fmt::format("({})(0u - ({}){})", cuda_type(dtype), wrapping(dtype), x(0));
      case Opcode::Abs:
        if (is_float(dtype)) return call("fabsf", "fabs");
        if (is_unsigned(dtype)) return x(0);
        return fmt::format("{0} < 0 ? ({1})(0u - ({2}){0}) : {0}", x(0), cuda_type(dtype),
                           wrapping(dtype));
      case Opcode::Fma: return call("__fmaf_rn", "__fma_rn");
      case Opcode::Sqrt: return call("__fsqrt_rn", "__dsqrt_rn");
      case Opcode::Floor: return call("floorf", "floor");
      case Opcode::Ceil: return call("ceilf", "ceil");
      case Opcode::Trunc: return call("truncf", "trunc");
      case Opcode::RoundEven: return call("rintf", "rint");
      case Opcode::Copysign: return call("copysignf", "copysign");
      case Opcode::And: return plain(is_bool(dtype) ? "&&" : "&");
      case Opcode::Or: return plain(is_bool(dtype) ? "||" : "|");
      case Opcode::Xor: return is_bool(dtype) ? plain("!=") : plain("^");
      case Opcode::Not:
        return is_bool(dtype) ? fmt::format("!{}", x(0))
                              : fmt::format("({})~{}", cuda_type(dtype), x(0));
      case Opcode::Shl:
        return fmt::format("({})(({}){} << {})", cuda_type(dtype), wrapping(dtype), x(0), x(1));
      case Opcode::Shr: return plain(">>");
      case Opcode::Lt: return fmt::format("{} < {}", x(0), x(1));
      case Opcode::Le: return fmt::format("{} <= {}", x(0), x(1));
      case Opcode::Gt: return fmt::format("{} > {}", x(0), x(1));
      case Opcode::Ge: return fmt::format("{} >= {}", x(0), x(1));
      case Opcode::Eq: return fmt::format("{} == {}", x(0), x(1));
      case Opcode::Ne: return fmt::format("{} != {}", x(0), x(1));
      case Opcode::Select: return fmt::format("{} ? {} : {}", x(0), x(1), x(2));
      case Opcode::Convert: return convert(at(i.operands[0]).dtype, dtype, x(0));
      case Opcode::Bitcast: return fmt::format("bits_as<{}>({})", cuda_type(dtype), x(0));
      case Opcode::Ramp:
        return proven(r) ? fmt::format("{} + {}", x(0), l)
                         : fmt::format("(long long)((unsigned long long){} + {}ull)", x(0), l);
      case Opcode::Extract: return operand(i, 0, int(i.imm));
      case Opcode::GatherLoad: return masked(i, 1, l, place(i, x(0)));
      case Opcode::ShuffleXor: return fmt::format("shuffle_xor({}, {})", x(0), i.imm);
      case Opcode::CallScalar: {
        std::string list = fmt::format("(double){}", x(2));
        if (i.operands.size() > 3) list += fmt::format(", (double){}", x(3));
        return fmt::format("{} ? ({}){}({}) : {}", x(0), cuda_type(dtype),
                           cuda_helper_name(loops::Helper(i.imm)), list, x(1));
      }
      default: break;
    }
    throw InternalError(fmt::format("{} has no form in CUDA C", loops::name(i.op)));
  }

  static std::string convert(DType from, DType to, const std::string& x) {
    std::string number = is_half(from) ? fmt::format("number({})", x) : x;
    if (is_bool(to)) return fmt::format("{} != 0", number);
    if (!is_half(to)) return fmt::format("({}){}", cuda_type(to), number);
    // Integers and f32 go through the wider of the two floats that holds them; f64 rounds once.
    if (!is_float(from)) number = fmt::format("(double){}", number);
    return fmt::format("{}({})", to == DType::F16 ? "half" : "brain", number);
  }

  const loops::Function& f_;
  std::string_view name_;
  std::vector<bool> is_index_;     // by Ref
  std::vector<bool> used_;         // by Ref
  std::vector<int32_t> variable_;  // by Ref: the number of its variable
  bool memory_arguments_;
  int32_t next_ = 0;
  int depth_ = 0;
  std::string out_;
};

}  // namespace

std::string_view cuda_type(DType dtype) {
  switch (dtype) {
    case DType::Bool: return "bool";
    case DType::I8: return "signed char";
    case DType::I16: return "short";
    case DType::I32: return "int";
    case DType::I64: return "long long";
    case DType::U8: return "unsigned char";
    case DType::U16: return "unsigned short";
    case DType::U32: return "unsigned";
    case DType::U64: return "unsigned long long";
    case DType::F16: return "f16";
    case DType::BF16: return "bf16";
    case DType::F32: return "float";
    case DType::F64: return "double";
  }
  throw InternalError("a dtype that CUDA C has no name for");
}

int64_t parameter_bytes(const loops::Function& function) {
  int64_t count = function.argument_count + 1;
  for (const Buffer& b : function.buffers) count += b.kind == Buffer::Kind::Argument;
  return count * 8;
}

std::string print_cuda(const loops::Function& function, std::string_view name) {
  CERMET_CHECK(function.threads > 0, "kernel {} is for a CPU", function.name);
  return Printer(function, name).run();
}

std::string print_cuda_body(const loops::Function& function) {
  return Printer(function, "").body();
}

std::string print_cuda_unit(std::span<const loops::Function* const> functions) {
  std::string out(cuda_prelude());
  out += cuda_helpers(functions);
  for (size_t k = 0; k < functions.size(); ++k)
    out += print_cuda(*functions[k], fmt::format("k{}", k));
  return out;
}

}  // namespace cermet::compiler
