#pragma once
// The ops of the graph: the structural ones below and the elementwise ones of
// include/cermet/ops.def.

#include <cstdint>
#include <optional>
#include <string_view>

#include "cermet/dtype.h"

namespace cermet::ir {

// The structural ops: X(Enum, name). Each has one case in a few switches that have no default, so
// that the compiler points at what is missing when one is added: infer, verify, text, interpreter,
// gradient, lowering.
//
// clang-format off
//   Parameter       input number `slot` of a graph
//   Data            a buffer that exists
//   Constant        one value everywhere
//   Iota            i64 [n]: element i is i
//   Cast            conversion to another dtype: to bool is != 0; float to integer truncates and
//                   saturates, NaN gives 0; integer to integer wraps; to a float rounds once
//   Bitcast         the same bits as another dtype of the same size
//   View            a composed index map (ir/view.h); elements outside of its valid box are 0
//   Reduce          sum, prod, max or min over axes, which disappear
//   ArgReduce       i64 position of the first max or min along an axis, which disappears; NaN wins
//   Scan            running sum, prod, max or min along an axis
//   Dot             [B,M,K] x [B,K,N] -> [B,M,N]
//   Conv            [G,N,C,spatial...] x [G,O,C,window...] -> [G,N,O,spatial...]: windows at
//                   `stride`, taps `dilation` apart, no padding (that is a View before it), no flip
//   Gather          out[i] = x[i with i[axis] replaced by index[i]]; index is i64 of the result's shape
//   Scatter         x with updates written or combined at index along an axis; equal to a loop over
//                   updates in order
//   Concat          operands one after the other along an axis
//   ArgSort         i64 positions that sort along an axis, stable; NaN counts as the greatest element
//                   (so it comes first in descending order), as in PyTorch
//   Leaf            identity that marks a variable: gradients are asked for it
//   StopGradient    identity without a gradient
//   CustomGradient  identity of operand 0, whose adjoint goes to the other operands through a rule
//                   of the user
//   Barrier         identity that fusion does not cross
//   Recompute       identity of operand 0. What is computed from it is not shared with what is
//                   computed from operand 0 itself, and is left until operand 1 is there
// clang-format on
#define CERMET_STRUCTURAL_OPS(X)     \
  X(Parameter, parameter)            \
  X(Data, data)                      \
  X(Constant, constant)              \
  X(Iota, iota)                      \
  X(Cast, cast)                      \
  X(Bitcast, bitcast)                \
  X(View, view)                      \
  X(Reduce, reduce)                  \
  X(ArgReduce, arg_reduce)           \
  X(Scan, scan)                      \
  X(Dot, dot)                        \
  X(Conv, conv)                      \
  X(Gather, gather)                  \
  X(Scatter, scatter)                \
  X(Concat, concat)                  \
  X(ArgSort, argsort)                \
  X(Leaf, leaf)                      \
  X(StopGradient, stop_gradient)     \
  X(CustomGradient, custom_gradient) \
  X(Barrier, barrier)                \
  X(Recompute, recompute)

enum class Op : uint8_t {
#define X(Enum, name) Enum,
  CERMET_STRUCTURAL_OPS(X)
#undef X
#define OP(Enum, ...) Enum,
#include "cermet/ops.def"
};

inline constexpr size_t structural_op_count = 0
#define X(Enum, name) +1
    CERMET_STRUCTURAL_OPS(X)
#undef X
    ;
inline constexpr size_t op_count = structural_op_count
#define OP(...) +1
#include "cermet/ops.def"
    ;

constexpr bool is_elementwise(Op op) { return size_t(op) >= structural_op_count; }
// Whether an element of the result is made of one element of each operand, of the same position.
constexpr bool is_pointwise(Op op) {
  return is_elementwise(op) || op == Op::Cast || op == Op::Bitcast;
}

// How reductions, scans and scatters combine two elements. Set (scatter only): the later one.
enum class Combine : uint8_t { Sum, Prod, Max, Min, Set };

std::string_view name(Combine combine);  // "sum"
std::optional<Combine> parse_combine(std::string_view text);

// Dtypes that an elementwise op accepts. Number: integers and floats; Bits: bool and integers.
enum class Operands : uint8_t { Any, Number, Float, Integer, Bits, U64 };
enum class Result : uint8_t { Same, Bool };

bool accepts(Operands operands, DType dtype);

// What the table says of an op. For structural ops only the name.
struct OpInfo {
  std::string_view name;
  int arity = 0;
  Operands operands = Operands::Any;
  Result result = Result::Same;
  int cycles = 0;
};

const OpInfo& info(Op op);
inline std::string_view name(Op op) { return info(op).name; }
std::optional<Op> parse_op(std::string_view text);

}  // namespace cermet::ir
