#include "ir/op.h"

#include <array>
#include <unordered_map>

namespace cermet::ir {
namespace {

constexpr auto op_table = std::to_array<OpInfo>({
#define X(Enum, text) {.name = #text},
    CERMET_STRUCTURAL_OPS(X)
#undef X
#define OP(Enum, text, arity_, operands_, result_, cycles_, eval, grad, lower) \
  {.name = #text,                                                              \
   .arity = arity_,                                                            \
   .operands = Operands::operands_,                                            \
   .result = Result::result_,                                                  \
   .cycles = cycles_},
#include "cermet/ops.def"
});
static_assert(op_table.size() == op_count);

constexpr std::array<std::string_view, 5> combine_names = {"sum", "prod", "max", "min", "set"};

}  // namespace

const OpInfo& info(Op op) { return op_table[size_t(op)]; }

std::optional<Op> parse_op(std::string_view text) {
  static const auto ops = [] {
    std::unordered_map<std::string_view, Op> out;
    for (size_t i = 0; i < op_table.size(); ++i) out.emplace(op_table[i].name, Op(i));
    return out;
  }();
  const auto found = ops.find(text);
  return found == ops.end() ? std::nullopt : std::optional(found->second);
}

std::string_view name(Combine combine) { return combine_names[size_t(combine)]; }

std::optional<Combine> parse_combine(std::string_view text) {
  for (size_t i = 0; i < combine_names.size(); ++i)
    if (combine_names[i] == text) return Combine(i);
  return std::nullopt;
}

bool accepts(Operands operands, DType dtype) {
  switch (operands) {
    case Operands::Any: return true;
    case Operands::Number: return !is_bool(dtype);
    case Operands::Float: return is_float(dtype);
    case Operands::Integer: return is_integer(dtype);
    case Operands::Bits: return !is_float(dtype);
    case Operands::U64: return dtype == DType::U64;
  }
  __builtin_unreachable();
}

}  // namespace cermet::ir
