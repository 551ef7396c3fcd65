#pragma once
// How dtypes and single numbers are spelled in CUDA C, behind the prelude
// (compiler/cuda/prelude.h).

#include <cstdint>
#include <string>
#include <string_view>

#include "cermet/dtype.h"

namespace cermet::compiler {

std::string_view cuda_type(DType dtype);

// In which integers of this dtype wrap around as they must: at least as wide, unsigned.
std::string_view wrapping_type(DType dtype);

// The number with these bits, of exactly this dtype.
std::string cuda_literal(DType dtype, uint64_t bits);

// x of dtype `from` as `to`, as Opcode::Convert says.
std::string cuda_convert(DType from, DType to, const std::string& x);

// f16 and bf16, which are structs.
inline bool is_half(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16; }

}  // namespace cermet::compiler
