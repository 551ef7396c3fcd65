#pragma once
// Plain facts about the machine that code is made for: a CPU, or a GPU where `compute` is set.

#include <cstdint>
#include <string>

namespace cermet::compiler {

// What results may differ by from those of strict arithmetic, which is the default. It is part of a
// target because lowering reads both together; two targets that differ in it have different code.
struct Numerics {
  bool fast = false;  // see cermet/numerics.h, set_fast_math
  bool tf32 = false;  // products of f32 on tensor cores, with operands of 11 bits; GPUs from sm_80

  friend bool operator==(const Numerics&, const Numerics&) = default;
};

struct Target {
  std::string cpu = "x86-64-v2";  // LLVM's name of the processor: "znver4", "x86-64-v3"
  std::string features;   // LLVM's feature string, "+avx2,+fma,..."; empty: what cpu implies
  int vector_bytes = 16;  // width of the registers we emit vectors for: 16, 32 or 64
  bool fma = false;       // fused multiply-add instructions
  bool masked_memory =
      false;  // masked loads and stores of all element sizes (AVX-512 BW, VL; BMI2)
  bool f16_conversion = false;  // F16C
  int64_t shared_bytes = 0;     // of a GPU: the most shared memory of a block
  int compute = 0;  // of a GPU: its compute capability times ten, 90 for sm_90; 0: a CPU
  Numerics numerics = {};
  int64_t memory_budget = 0;  // bytes that a program may take for temporaries and results; 0: any
  int64_t l1_bytes = 32 << 10, l2_bytes = 512 << 10, l3_bytes = 16 << 20;

  friend bool operator==(const Target&, const Target&) = default;
};

// Targets by name: "host", "x86-64-v2" (SSE4.2), "x86-64-v3" (AVX2, FMA), "x86-64-v4" (AVX-512), an
// LLVM CPU name such as "znver4", or a GPU's architecture from "sm_75" to "sm_120". Throws Error
// for others. "host" asks the processor; the rest are constants.
Target target(const std::string& name);
// The target of a GPU by its compute capability times ten: 90 for sm_90. Throws Error for those
// that NVRTC 13 makes no code for, below least_compute.
inline constexpr int least_compute = 75;
Target cuda_target(int compute);

}  // namespace cermet::compiler
