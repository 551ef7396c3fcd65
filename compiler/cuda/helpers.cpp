#include "compiler/cuda/helpers.h"

#include <fmt/format.h>

#include "compiler/cuda/print.h"
#include "compiler/loops_builder.h"
#include "compiler/vecmath_trig.h"

namespace cermet::compiler {
namespace {

using loops::Helper;

// Writes what the helpers of the host compute (compiler/kernel_helpers.cpp): everything in every
// lane, and without fused operations, which the host may not have.
class HelperBuilder : public loops::Builder {
 public:
  static constexpr bool inlines_large_arguments = true;
  using Builder::Builder;
  bool has_fma() const { return false; }
};

// double -> double, as the body of a function that reads b0[0] and writes b1[0].
template <class F>
std::string body_of(const F& formula) {
  loops::Function function;
  function.threads = 1;
  HelperBuilder b(function, Target());
  const int32_t from = b.add_buffer({.dtype = DType::F64, .index = 0});
  const int32_t to = b.add_buffer({.dtype = DType::F64, .index = 1});
  b.store(to, b.index(0), formula(b, b.load(from, b.index(0))));
  return print_cuda_body(function);
}

std::string definition(Helper helper) {
  std::string body;
  switch (helper) {
    case Helper::Fmod:
      // libdevice's fmod is exact, as every fmod is.
      return "__device__ __forceinline__ double helper_fmod(double x, double y) { return fmod(x, "
             "y); "
             "}\n";
    case Helper::Sin: body = body_of(vecmath::sin<HelperBuilder>); break;
    case Helper::Cos: body = body_of(vecmath::cos<HelperBuilder>); break;
    case Helper::Tan: body = body_of(vecmath::tan<HelperBuilder>); break;
  }
  return fmt::format(
      "__device__ __forceinline__ double {}(double x) {{\n"
      "  double y, *b1 = &y;\n  const double* b0 = &x;\n{}  return y;\n}}\n",
      cuda_helper_name(helper), body);
}

}  // namespace

std::string_view cuda_helper_name(Helper helper) {
  switch (helper) {
#define X(Enum, function, arity) \
  case Helper::Enum: return "helper_" #function;
    CERMET_LOOP_HELPERS(X)
#undef X
  }
  __builtin_unreachable();
}

std::string cuda_helpers(std::span<const loops::Function* const> functions) {
  uint32_t used = 0;
  for (const loops::Function* f : functions)
    for (const loops::Instruction& i : f->instructions)
      if (i.op == loops::Opcode::CallScalar) used |= 1u << i.imm;
  std::string out;
#define X(Enum, function, arity) \
  if (used >> int(Helper::Enum) & 1) out += definition(Helper::Enum);
  CERMET_LOOP_HELPERS(X)
#undef X
  return out;
}

}  // namespace cermet::compiler
