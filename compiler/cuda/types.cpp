#include "compiler/cuda/types.h"

#include <fmt/format.h>

#include <cmath>

#include "ir/check.h"
#include "ir/element.h"

namespace cermet::compiler {

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

std::string_view wrapping_type(DType dtype) {
  return size_of(dtype) == 8 ? "unsigned long long" : "unsigned";
}

std::string cuda_literal(DType dtype, uint64_t bits) {
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

std::string cuda_convert(DType from, DType to, const std::string& x) {
  std::string number = is_half(from) ? fmt::format("number({})", x) : x;
  if (is_bool(to)) return fmt::format("{} != 0", number);
  if (!is_half(to)) return fmt::format("({}){}", cuda_type(to), number);
  // Integers and f32 go through the wider of the two floats that holds them; f64 rounds once.
  if (!is_float(from)) number = fmt::format("(double){}", number);
  return fmt::format("{}({})", to == DType::F16 ? "half" : "brain", number);
}

}  // namespace cermet::compiler
