#pragma once
// The text form of a graph, in files that end in .cir: what ir-dump prints and reads, what golden
// tests compare, and what a kernel cache may use as its key.
//
//   cir 1
//   graph main(%0: f32[2,3], %1: i64[3]) {
//     %2 = constant 1.5 : f32[2,3]
//     %3 = mul %0, %2 : f32[2,3]
//     %4 = reduce sum %3 axes=[1] : f32[2]
//     return %4, %1
//   }
//
// The grammar. A statement is one line; inside of parentheses line ends mean nothing. `#` starts a
// comment that ends with the line.
//
//   file       = "cir" "1" line-end "graph" name "(" [parameter {"," parameter}] ")" "{" line-end
//                {statement line-end} "return" [ref {"," ref}] line-end "}"
//   parameter  = ref ":" type                        in the order of their slots
//   statement  = ref "=" op ":" type
//   op         = elementwise-name ref {"," ref}      the operands have the shape of the result
//              | "constant" literal
//              | "iota"
//              | ("cast" | "bitcast" | "stop_gradient" | "barrier") ref
//              | "view" ref level {"of" "shape" "=" list level}
//              | "reduce" combine ref "axes" "=" list
//              | "arg_reduce" combine ref "axis" "=" int
//              | "scan" combine ref "axis" "=" int ["reverse"] ["exclusive"]
//              | "dot" ref "," ref
//              | "conv" ref "," ref "stride" "=" list "dilation" "=" list
//              | "gather" ref "," ref "axis" "=" int
//              | "scatter" combine ref "," ref "," ref "axis" "=" int
//              | "concat" ref {"," ref} "axis" "=" int
//              | "argsort" ref "axis" "=" int ["descending"]
//              | "leaf" ref "id" "=" int
//              | "custom_gradient" ref {"," ref} "rule" "=" "opaque"
//   level      = ["strides" "=" list] ["offset" "=" int] ["valid" "=" "[" [int ":" int {...}] "]"]
//   combine    = "sum" | "prod" | "max" | "min" | "set"
//   type       = dtype list                          f32[2,3]; a scalar is f32[]
//   list       = "[" [int {"," int}] "]"
//   ref        = "%" followed by letters, digits and "_"
//   literal    = "true" | "false" | a decimal number | "nan" | "inf" | "-inf" | the bits in hex
//
// - Level: one StridedMap of ir/view.h. The first level has the shape of the result, each further
//   one says its own. Strides that are left out are row-major (0 where the extent is 1), the
//   offset 0, the valid intervals whole axes. Attributes may come in any order.
// - Literals are exact: decimals are the shortest that give the same bits; `nan` is the quiet NaN
//   without payload or sign; every other NaN is its bits in hex, as in 0x7fc00001. Hex means bits
//   for every dtype. A decimal that overflows its dtype is an error.
// - The type after ":" is checked against what the op infers.
// - Data nodes print as further parameters, with a comment: text holds no elements. Values that
//   were computed already are not printed either.
// - A variable (ir::Variable) is known by the id of its leaves. Parsing makes a new plain Variable
//   for each id; variables() finds them again.
// - The rule of a custom_gradient is code, so it is always "opaque". A parsed one runs as the
//   identity that it is, and throws Error when its gradient is asked for.
// - The name after "graph" is for the reader. Shapes of more than 1024 axes are refused.

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ir/graph.h"

namespace cermet::ir {

// The graph as text. print(parse(print(g))) == print(g), and the nodes of parse(print(g)) are those
// of g but for Data and Leaf. Never throws: what is wrong with a broken graph shows in its text.
std::string print(const Graph& graph);

// The graph that the text describes. Throws Error with a line "file:line:column: message" for every
// mistake, up to 20 of them; columns count bytes from 1.
Graph parse(std::string_view text, std::string_view file_name = "<text>");

// The number behind "%" that print gives to each node of the graph.
std::unordered_map<const Node*, int64_t> numbering(const Graph& graph);

// The variables of the graph's leaves, each once, operands before users.
std::vector<std::shared_ptr<Variable>> variables(const Graph& graph);

// One element as a literal of the grammar above, and back; nothing if the literal is none of this
// dtype or does not fit.
std::string print_literal(DType dtype, uint64_t bits);
std::optional<uint64_t> parse_literal(DType dtype, std::string_view text);

// The strides of a level that says none.
Strides default_strides(std::span<const int64_t> shape);
// What is written of an index map, each field with a space before it: all of it, or one level
// without its shape.
std::string print_levels(const ViewMap& map);
std::string print_level(const StridedMap& level);

}  // namespace cermet::ir
