#pragma once
// The text form of kernel programs, in files that end in .kernels: what ir-dump shows after fusion,
// and what golden tests compare.
//
//   kernels 1
//   buffer 0 = parameter 0 : f32[30]
//   buffer 1 = result 0 : f32[6]
//   kernel row_mul_sum outer=[6] inner=[5] {
//     %0 = load buffer=0 : f32 inner
//     %1 = mul %0, %0 : f32 inner
//     %2 = reduce sum %1 : f32
//     store %2 buffer=1
//   }
//
// The grammar, beside the tokens of ir/lexer.h; a statement is one line, `#` starts a comment.
//
//   file      = "kernels" "1" {buffer} {kernel | sort | chain}
//   chain     = "chain" "kernels" "=" int "rows" "=" int "group" "=" int "step" "=" int
//               "locals" "=" list              of the kernels that follow
//   buffer    = "buffer" int "=" ("parameter" int | "result" int | "temporary") ":" dtype [int]
//   kernel    = "kernel" name "outer" "=" list "inner" "=" list "{" {statement} "}"
//   sort      = "sort" name "outer" "=" list "inner" "=" list "from" "=" int "to" "=" int
//               ["descending"]
//   statement = ref "=" expr ":" dtype ["inner"] ["once"]
//             | "store" ref "buffer" "=" int level
//             | "scatter" combine ref "," ref "buffer" "=" int "step" "=" int "extent" "=" int
//               ["order" "=" int] level             the value, then the index; order: expression
//   expr      = op-name ref {"," ref}               elementwise ops, cast, bitcast
//             | "constant" literal
//             | "load" "buffer" "=" int levels
//             | "position" levels
//             | "gather" ref "buffer" "=" int "step" "=" int "extent" "=" int levels
//             | ("reduce" | "arg_reduce") combine ref
//             | "scan" combine ref ["reverse"] ["exclusive"]
//             | "contract" ref "," ref
//   levels    = level {"of" "shape" "=" list level}
//   level     = ["strides" "=" list] ["offset" "=" int] ["valid" "=" "[" int ":" int {...} "]"]
//
// The first level has the shape of the space: outer, or outer and inner axes. What is left out of a
// level, and literals, are as in ir/text.h. Buffers are numbered from 0 in order. Refusals are not
// part of the text.

#include <string>
#include <string_view>

#include "compiler/kernels.h"

namespace cermet::compiler {

// The program as text; print_kernels(parse_kernels(print_kernels(p))) is the same text. Never
// throws.
std::string print_kernels(const KernelProgram& program);
std::string print_kernel(const Kernel& kernel);

// The program that the text describes, unverified (see kernels_verify.h). Throws Error with a line
// "file:line:column: message" for every mistake, up to 20 of them.
KernelProgram parse_kernels(std::string_view text, std::string_view file_name = "<text>");

}  // namespace cermet::compiler
