// What is computed: every lane of a value is an expression over variables. An expression names each
// operand once or twice and nests nothing, so the text grows with the number of instructions only.

#include "compiler/cuda/helpers.h"
#include "compiler/cuda/printer.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

using loops::Opcode;

std::string arithmetic(DType dtype, const std::string& x, std::string_view op,
                       const std::string& y) {
  if (is_float(dtype)) return fmt::format("{} {} {}", x, op, y);
  return fmt::format("({0})(({1}){2} {3} ({1}){4})", cuda_type(dtype), wrapping_type(dtype), x, op,
                     y);
}

// One step of a reduction across lanes.
std::string combine(const loops::Instruction& i, const std::string& x, const std::string& y) {
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

// Functions of floats, by the names of those of f32 and of f64.
struct Called {
  Opcode op;
  std::string_view f32, f64;
};
constexpr Called functions[] = {
    {Opcode::Fma, "__fmaf_rn", "__fma_rn"},      {Opcode::Sqrt, "__fsqrt_rn", "__dsqrt_rn"},
    {Opcode::Floor, "floorf", "floor"},          {Opcode::Ceil, "ceilf", "ceil"},
    {Opcode::Trunc, "truncf", "trunc"},          {Opcode::RoundEven, "rintf", "rint"},
    {Opcode::Copysign, "copysignf", "copysign"}, {Opcode::RoundTf32, "round_tf32", ""},
    {Opcode::DivApprox, "div_approx", ""},       {Opcode::SqrtApprox, "sqrt_approx", ""},
    {Opcode::Exp2Approx, "exp2_approx", ""},     {Opcode::Log2Approx, "log2_approx", ""},
};

std::string_view comparison(Opcode op) {
  switch (op) {
    case Opcode::Lt: return "<";
    case Opcode::Le: return "<=";
    case Opcode::Gt: return ">";
    case Opcode::Ge: return ">=";
    case Opcode::Eq: return "==";
    case Opcode::Ne: return "!=";
    default: return "";
  }
}

}  // namespace

std::string CudaPrinter::lane(Ref r, int which) const {
  const Instruction& i = at(r);
  if (i.op == Opcode::Constant) {
    const bool fits = f_.index_bits == 32 && i.imm == int32_t(i.imm) && i.imm > INT32_MIN;
    if (i.dtype == DType::I64 && fits) return fmt::format("{}", i.imm);
    return cuda_literal(i.dtype, uint64_t(i.imm));
  }
  if (i.op == Opcode::Splat) return lane(i.operands[0], 0);
  const int32_t v = variable_[size_t(r.id)];
  CERMET_CHECK(v >= 0, "%{} is used before it is printed", r.id);
  return i.lanes == 1 ? fmt::format("v{}", v) : fmt::format("v{}_{}", v, which);
}

std::string CudaPrinter::operand(const Instruction& i, size_t which, int l) const {
  const Ref r = i.operands[which];
  return lane(r, lanes(r) == 1 ? 0 : l);
}

void CudaPrinter::define_wide(Ref r, const std::string& text) {
  const int32_t wide = next_++;
  line("const auto w{} = {};", wide, text);
  define(r, [&](int l) { return fmt::format("w{}.lane[{}]", wide, l); });
}

// Pairwise: halves are combined until one lane is left.
void CudaPrinter::across_lanes(Ref r) {
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

// One lane of an instruction that computes lane by lane.
std::string CudaPrinter::value(Ref r, int l) const {
  const Instruction& i = at(r);
  const auto x = [&](size_t which) { return operand(i, which, l); };
  for (const Called& f : functions)
    if (i.op == f.op) {
      std::string list = x(0);
      for (size_t k = 1; k < i.operands.size(); ++k) list += ", " + x(k);
      return fmt::format("{}({})", i.dtype == DType::F32 ? f.f32 : f.f64, list);
    }
  if (const std::string_view op = comparison(i.op); !op.empty())
    return fmt::format("{} {} {}", x(0), op, x(1));
  switch (i.op) {
    case Opcode::Argument:
      return memory_arguments_
                 ? fmt::format("({})arguments[{}]", type_of(r), argument_position(i.imm))
                 : fmt::format("({})a{}", type_of(r), i.imm);
    case Opcode::Thread: return fmt::format("({})threadIdx.x", type_of(r));
    case Opcode::Block: return fmt::format("({})blockIdx.x", type_of(r));
    case Opcode::Select: return fmt::format("{} ? {} : {}", x(0), x(1), x(2));
    case Opcode::Convert: return cuda_convert(at(i.operands[0]).dtype, i.dtype, x(0));
    case Opcode::Bitcast: return fmt::format("bits_as<{}>({})", cuda_type(i.dtype), x(0));
    case Opcode::Ramp:
      return proven(r) ? fmt::format("{} + {}", x(0), l)
                       : fmt::format("(long long)((unsigned long long){} + {}ull)", x(0), l);
    case Opcode::Extract: return operand(i, 0, int(i.imm));
    case Opcode::GatherLoad: return masked(i, 1, l, place(i, x(0)));
    case Opcode::ShuffleXor: return fmt::format("shuffle_xor({}, {})", x(0), i.imm);
    case Opcode::CallScalar: {
      std::string list = fmt::format("(double){}", x(2));
      if (i.operands.size() > 3) list += fmt::format(", (double){}", x(3));
      return fmt::format("{} ? ({}){}({}) : {}", x(0), cuda_type(i.dtype),
                         cuda_helper_name(loops::Helper(i.imm)), list, x(1));
    }
    default: return arithmetic_value(r, l);
  }
}

// Operators, whose spelling depends on what overflow must do.
std::string CudaPrinter::arithmetic_value(Ref r, int l) const {
  const Instruction& i = at(r);
  const DType dtype = i.dtype;
  const auto x = [&](size_t which) { return operand(i, which, l); };
  const auto binary = [&](std::string_view op) {
    return proven(r) ? fmt::format("{} {} {}", x(0), op, x(1)) : arithmetic(dtype, x(0), op, x(1));
  };
  const auto plain = [&](std::string_view op) {  // no overflow is possible
    return fmt::format("({})({} {} {})", type_of(r), x(0), op, x(1));
  };
  const auto divide = [&](std::string_view op, std::string_view function) {
    const bool wide = size_of(dtype) == 8 && !(proven(r) && f_.index_bits == 32);
    return wide ? fmt::format("{0}(({1}){2}, ({1}){3})", function, type_of(r), x(0), x(1))
                : plain(op);
  };
  switch (i.op) {
    case Opcode::Add: return binary("+");
    case Opcode::Sub: return binary("-");
    case Opcode::Mul: return binary("*");
    case Opcode::Div: return is_float(dtype) ? binary("/") : divide("/", "quotient");
    case Opcode::Rem: return divide("%", "remainder");
    case Opcode::Neg:
      if (is_float(dtype) || proven(r)) return fmt::format("-{}", x(0));
      return fmt::format("({})(0u - ({}){})", cuda_type(dtype), wrapping_type(dtype), x(0));
    case Opcode::Abs:
      if (is_float(dtype)) return fmt::format("fabs{}({})", dtype == DType::F32 ? "f" : "", x(0));
      if (is_unsigned(dtype)) return x(0);
      return fmt::format("{0} < 0 ? ({1})(0u - ({2}){0}) : {0}", x(0), cuda_type(dtype),
                         wrapping_type(dtype));
    case Opcode::And: return plain(is_bool(dtype) ? "&&" : "&");
    case Opcode::Or: return plain(is_bool(dtype) ? "||" : "|");
    case Opcode::Xor: return is_bool(dtype) ? plain("!=") : plain("^");
    case Opcode::Not:
      return is_bool(dtype) ? fmt::format("!{}", x(0))
                            : fmt::format("({})~{}", cuda_type(dtype), x(0));
    case Opcode::Shl:
      return fmt::format("({})(({}){} << {})", cuda_type(dtype), wrapping_type(dtype), x(0), x(1));
    case Opcode::Shr: return plain(">>");
    default: throw InternalError(fmt::format("{} has no form in CUDA C", loops::name(i.op)));
  }
}

}  // namespace cermet::compiler
