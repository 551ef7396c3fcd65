#pragma once
// Loop IR as CUDA C: the second code generator, beside compiler/llvm/.
//
// The text includes nothing: NVRTC has no headers to offer that would be worth their time to parse,
// so the few types and functions that kernels use beyond the language come in a prelude of our own
// (compiler/cuda/prelude.h). A value of several lanes is so many scalars, and a vector load one
// access of up to 16 bytes.
//
// Numerics are the loop IR's own: compiled with --fmad=false nothing is contracted but what says
// fma; division and square roots are IEEE's.

#include <span>
#include <string>
#include <string_view>

#include "compiler/loops.h"

namespace cermet::compiler {

// How a kernel's arguments reach it: every buffer's address, then every integer, then the address
// of the error cell {code, value}, 8 bytes each; as parameters of the kernel where they fit into
// `most_parameter_bytes`, else in an array in device memory whose address is the only parameter.
inline constexpr int64_t most_parameter_bytes = 4000;  // 4096 before CUDA 12.1, 32764 since
int64_t parameter_bytes(const loops::Function& function);
inline bool arguments_in_memory(const loops::Function& function) {
  return parameter_bytes(function) > most_parameter_bytes;
}

// The function as an extern "C" __global__ function `name`. `function` is one that verify_loops
// accepts and that is for a GPU.
std::string print_cuda(const loops::Function& function, std::string_view name);

// The statements of a function alone, in which buffer k is a pointer called bk: for device
// functions without arguments.
std::string print_cuda_body(const loops::Function& function);

// A translation unit: the prelude and these functions, called k0, k1, ...
std::string print_cuda_unit(std::span<const loops::Function* const> functions);

}  // namespace cermet::compiler
