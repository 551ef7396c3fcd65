#include "compiler/cuda/prelude.h"

namespace cermet::compiler {

// Conversions to f16 are PTX instructions on every GPU there is; those to bf16 exist from compute
// capability 8.0 (PTX ISA 7.0, cvt), and before are integer operations. A double goes to bf16
// through f32 rounded to odd (Boldo and Melquiond, "Emulation of a FMA and Correctly Rounded Sums",
// 2008), which makes the second rounding harmless. Division of 64-bit integers is a subroutine of
// the assembler's, which spills; ours estimates the quotient in double, which is off by at most
// 2^64 * 3 * 2^-53 / b, and puts that right with the remainder, which is then at most 2^13 + b.
// Products of matrices are PTX instructions as well: 16 terms at once from sm_80 on, before 8, and
// 8 of tf32, which is f32 of fewer bits. A comparison of an unsigned number with zero is what the
// op table says, and no reason to warn.
std::string_view cuda_prelude() {
  return R"(#define I __forceinline__ __device__
#pragma nv_diag_suppress 186
struct f16 { unsigned short bits; };
struct bf16 { unsigned short bits; };
template <class T, int N> struct alignas(sizeof(T) * N) vec { T lane[N]; };
template <class To, class From> I To bits_as(From x) {
  static_assert(sizeof(To) == sizeof(From), "");
  union { From from; To to; } both;
  both.from = x;
  return both.to;
}
I float number(f16 x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits)); return y; }
I float number(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }
I f16 half(float x) { f16 y; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); return y; }
I f16 half(double x) { f16 y; asm("cvt.rn.f16.f64 %0, %1;" : "=h"(y.bits) : "d"(x)); return y; }
I bf16 brain(float x) {
  bf16 y;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
  const unsigned u = __float_as_uint(x);
  y.bits = (u & 0x7fffffffu) > 0x7f800000u ? (unsigned short)0x7fff
                                           : (unsigned short)((u + ((u >> 16) & 1u) + 0x7fffu) >> 16);
#endif
  return y;
}
I bf16 brain(double x) {
  float low = __double2float_rz(x);
  if ((double)low != x && x == x) low = __uint_as_float(__float_as_uint(low) | 1u);
  return brain(low);
}
#define APPROX(name, opcode) \
  I float name(float x) { float y; asm(opcode ".approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
APPROX(sqrt_approx, "sqrt") APPROX(exp2_approx, "ex2") APPROX(log2_approx, "lg2")
#undef APPROX
I float div_approx(float x, float y) {
  float z;
  asm("div.approx.ftz.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
  return z;
}
template <class T> I T shuffle_xor(T x, int mask) {
  if constexpr (sizeof(T) == 8) {
    const unsigned long long u = bits_as<unsigned long long>(x);
    const unsigned low = __shfl_xor_sync(0xffffffffu, (unsigned)u, mask);
    const unsigned high = __shfl_xor_sync(0xffffffffu, (unsigned)(u >> 32), mask);
    return bits_as<T>((unsigned long long)high << 32 | low);
  } else if constexpr (sizeof(T) == 4) {
    return bits_as<T>(__shfl_xor_sync(0xffffffffu, bits_as<unsigned>(x), mask));
  } else if constexpr (sizeof(T) == 2) {
    return bits_as<T>((unsigned short)__shfl_xor_sync(0xffffffffu, (unsigned)bits_as<unsigned short>(x), mask));
  } else {
    return (T)__shfl_xor_sync(0xffffffffu, (unsigned)(unsigned char)x, mask);
  }
}
I unsigned long long quotient(unsigned long long a, unsigned long long b) {
  if ((a | b) >> 32 == 0) return (unsigned)a / (unsigned)b;
  if (b >> 62 != 0) {  // at most 3
    unsigned long long q = 0;
    for (; a >= b && q < 3; ++q) a -= b;
    return q;
  }
  const double inverse = 1.0 / (double)b;
  unsigned long long q = __double2ull_rz((double)a * inverse);
  long long r = (long long)(a - q * b);
  const long long more = __double2ll_rz((double)r * inverse);
  q += (unsigned long long)more;
  r -= more * (long long)b;
  if (r < 0) return q - 1;
  return r >= (long long)b ? q + 1 : q;
}
I unsigned long long magnitude(long long x) {
  return x < 0 ? 0ull - (unsigned long long)x : (unsigned long long)x;
}
I long long quotient(long long a, long long b) {
  const unsigned long long q = quotient(magnitude(a), magnitude(b));
  return (long long)((a < 0) != (b < 0) ? 0ull - q : q);
}
template <class T> I T remainder(T a, T b) {
  return (T)((unsigned long long)a - (unsigned long long)quotient(a, b) * (unsigned long long)b);
}
template <bool Transposed> I vec<unsigned, 4> load_matrix(const void* from) {
  vec<unsigned, 4> x;
  const unsigned at = (unsigned)__cvta_generic_to_shared(from);
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.lane[0]), "=r"(x.lane[1]), "=r"(x.lane[2]), "=r"(x.lane[3]) : "r"(at) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.lane[0]), "=r"(x.lane[1]), "=r"(x.lane[2]), "=r"(x.lane[3]) : "r"(at) : "memory");
  return x;
}
#define MMA(SHAPE, TYPE) "mma.sync.aligned." SHAPE ".row.col.f32." TYPE "." TYPE ".f32 {%0, %1, %2, %3}, "
#define SUMS(d) "+f"(d.lane[0]), "+f"(d.lane[1]), "+f"(d.lane[2]), "+f"(d.lane[3])
#define MMA_A4(NAME, SHAPE, TYPE)                                                                      \
  I vec<float, 4> NAME(unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1,   \
                       float c0, float c1, float c2, float c3) {                                       \
    vec<float, 4> d = {c0, c1, c2, c3};                                                                \
    asm volatile(MMA(SHAPE, TYPE) "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                      \
                 : SUMS(d) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));                    \
    return d;                                                                                          \
  }
#if __CUDA_ARCH__ >= 800
MMA_A4(mma_f16, "m16n8k16", "f16")
MMA_A4(mma_bf16, "m16n8k16", "bf16")
MMA_A4(mma_tf32, "m16n8k8", "tf32")
#else
I void mma_half(vec<float, 4>& d, unsigned a0, unsigned a1, unsigned b) {
  asm volatile(MMA("m16n8k8", "f16") "{%4, %5}, {%6}, {%0, %1, %2, %3};" : SUMS(d) : "r"(a0), "r"(a1), "r"(b));
}
I vec<float, 4> mma_f16(unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1,
                        float c0, float c1, float c2, float c3) {
  vec<float, 4> d = {c0, c1, c2, c3};
  mma_half(d, a0, a1, b0);
  mma_half(d, a2, a3, b1);
  return d;
}
#endif
#if __CUDA_ARCH__ >= 800
I float round_tf32(float x) {
  unsigned y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return __uint_as_float(y);
}
I void copy_async(void* to, const void* from, bool exists) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"((unsigned)__cvta_generic_to_shared(to)), "l"(__cvta_generic_to_global(from)),
                  "r"(exists ? 16 : 0) : "memory");
}
I void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Groups> I void copy_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(Groups) : "memory"); }
#endif
I void report(long long* cell, long long code, long long value) {
  if (atomicCAS((unsigned long long*)cell, 0ull, (unsigned long long)code) == 0ull) cell[1] = value;
}
)";
}

}  // namespace cermet::compiler
