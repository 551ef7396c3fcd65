#pragma once
// The text form of the loop IR: a kernel's cache key, and what tests and ir-dump print and read.
//
//   loops 1
//   kernel arguments=1 {
//     buffer f32 argument 0
//     buffer f32 argument 1 written
//     %0 = const i64 0
//     %1 = arg i64 0
//     %2 = const f32x8 1.5
//     %3 = for %0, %1 step=8 : %4 {
//       %5 = load f32x8 b0 %4
//       %6 = mul f32x8 %5, %2
//       store f32x8 b1 %4, %6
//     }
//   }
//
// The grammar; a statement is one line, `#` starts a comment that ends with the line.
//
//   text      = "loops" "1" line-end "kernel" "arguments" "=" int
//               ["threads" "=" int "index_bits" "=" int] ["resident" "=" int] "{"
//               line-end
//               {buffer line-end} {statement line-end} "}"
//   buffer    = "buffer" dtype place ["written"] ["shared"]     numbered b0, b1, ...
//   place     = "argument" int | "scratch" ref | "local" int    which; offset; elements
//   statement = [ref "="] opcode type [detail] [ref {"," ref}]
//             | ref "=" "for" ref "," ref {"," ref} "step" "=" int ":" ref {"," ref} "{"
//               line-end {statement line-end} ["yield" ref {"," ref} line-end] "}"
//             | "if" ref "{" line-end {statement line-end} "}"
//   type      = dtype ["x" lanes]                               f32, f32x8
//   detail    = literal     of const, as in ir/text.h
//             | int         of arg: which; extract: the lane; report: the code; result: which
//             | "b" int     of load, gather_load, store, scatter_store
//             | helper      of call: fmod, sin, ...
//
// - After "for": lower, upper and the initial values; behind ":" the induction variable and the
//   carried values. Its result stands for the loop; `result` takes the values out.
// - `shared`: other buffers may overlap this one (Buffer::restrict_ is false).
// - Neither the kernel's name nor the order in which instructions lie in memory is in the text, so
//   equal kernels have equal texts.

#include <string>
#include <string_view>

#include "compiler/loops.h"

namespace cermet::compiler::loops {

// The function as text. Instructions are numbered as they come, which makes the text canonical.
// Complete for functions that verify_loops accepts; of others it shows what it can.
std::string print(const Function& function);

// The function that the text describes, named "kernel"; print(parse(print(f))) == print(f). Throws
// Error with a line "file:line:column: message" for every mistake in the text, up to 20 of them;
// whether the function is a valid one, verify_loops says.
Function parse(std::string_view text, std::string_view file_name = "<text>");

}  // namespace cermet::compiler::loops
