#pragma once
// Whole kernels that are right, for program_test.cpp: mathematics, reductions, matrix products.

namespace cermet::ptxsim::test {

inline constexpr const char* kMathKernels = R"cuda(
#define MATH(name, type, expression) \
  extern "C" __global__ void name(const type* in, type* out, int n) { \
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) { \
      const type x = in[i]; out[i] = expression; } }
MATH(f_sin, float, sinf(x)) MATH(f_cos, float, cosf(x)) MATH(f_tan, float, tanf(x))
MATH(f_exp, float, expf(x)) MATH(f_log, float, logf(x)) MATH(f_log1p, float, log1pf(x))
MATH(f_tanh, float, tanhf(x)) MATH(f_erf, float, erff(x)) MATH(f_pow, float, powf(x, 2.5f))
MATH(f_rsqrt, float, rsqrtf(x)) MATH(f_cbrt, float, cbrtf(x)) MATH(f_atan, float, atanf(x))
MATH(f_lgamma, float, lgammaf(x)) MATH(f_round, float, roundf(x)) MATH(f_fmod, float, fmodf(x, 0.7f))
MATH(d_sin, double, sin(x)) MATH(d_exp, double, exp(x)) MATH(d_log, double, log(x))
MATH(d_pow, double, pow(x, 2.5)) MATH(d_tanh, double, tanh(x)) MATH(d_erf, double, erf(x))
MATH(d_sqrt, double, sqrt(x)) MATH(d_atan, double, atan(x)) MATH(d_div, double, 1.0 / x)
)cuda";

inline constexpr const char* kReductionKernels = R"cuda(
#define T int(threadIdx.x)
#define I int(blockIdx.x * blockDim.x + threadIdx.x)
__device__ unsigned ticket;
// The sum of all, by shuffles, shared memory and the last block, in one order.
extern "C" __global__ void sum_all(const float4* in, float* out, int n4) {
  __shared__ float s[32];
  __shared__ bool last;
  float v = 0;
  for (int i = I; i < n4; i += gridDim.x * blockDim.x) { float4 x = in[i]; v += (x.x + x.y) + (x.z + x.w); }
  for (int k = 16; k > 0; k /= 2) v += __shfl_down_sync(~0u, v, k);
  if (T % 32 == 0) s[T / 32] = v;
  __syncthreads();
  if (T == 0) {
    for (int w = 1; w < blockDim.x / 32; ++w) v += s[w];
    out[1 + blockIdx.x] = v;
    __threadfence();
    last = atomicInc(&ticket, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && T == 0) { float t = 0; for (int b = 0; b < gridDim.x; ++b) t += out[1 + b]; out[0] = t; }
}
// Softmax of a row per warp, 8 columns per lane.
extern "C" __global__ void softmax(const float* in, float* out, int rows) {
  const int row = I / 32, lane = T % 32;
  if (row >= rows) return;
  float x[8], m = -3e38f, sum = 0;
  for (int k = 0; k < 8; ++k) { x[k] = in[row * 256 + k * 32 + lane]; m = fmaxf(m, x[k]); }
  for (int k = 16; k > 0; k /= 2) m = fmaxf(m, __shfl_xor_sync(~0u, m, k));
  for (int k = 0; k < 8; ++k) { x[k] = expf(x[k] - m); sum += x[k]; }
  for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(~0u, sum, k);
  for (int k = 0; k < 8; ++k) out[row * 256 + k * 32 + lane] = x[k] / sum;
}
// Inclusive scan of 256 integers per block.
extern "C" __global__ void scan(const int* in, int* out, int n) {
  __shared__ int s[256];
  int v = in[I];
  s[T] = v; __syncthreads();
  for (int k = 1; k < 256; k *= 2) { int w = T >= k ? s[T - k] : 0; __syncthreads(); v += w; s[T] = v; __syncthreads(); }
  out[I] = v;
}
// Transposition of 32 x 32 tiles; PAD is 0 or 1.
template <int PAD> __device__ void transpose(const float* in, float* out, int n) {
  __shared__ float s[32][32 + PAD];
  const int x = blockIdx.x * 32, y = blockIdx.y * 32;
  for (int k = threadIdx.y; k < 32; k += 8) s[k][T] = in[(y + k) * n + x + T];
  __syncthreads();
  for (int k = threadIdx.y; k < 32; k += 8) out[(x + k) * n + y + T] = s[T][k];
}
extern "C" __global__ void transpose_padded(const float* in, float* out, int n) { transpose<1>(in, out, n); }
extern "C" __global__ void transpose_conflicts(const float* in, float* out, int n) { transpose<0>(in, out, n); }
extern "C" __global__ void copy1(const float* in, float* out, int n) { if (I < n) out[I] = in[I]; }
extern "C" __global__ void copy4(const float4* in, float4* out, int n) { if (I < n) out[I] = in[I]; }
extern "C" __global__ void strided(const float* in, float* out, int n) { if (I < n) out[I] = in[8 * I]; }
extern "C" __global__ void histogram(const unsigned* in, unsigned* out, unsigned long long* minmax, int n) {
  __shared__ unsigned h[16];
  if (T < 16) h[T] = 0;
  __syncthreads();
  unsigned x = in[I] * 2654435761u;
  atomicAdd(&h[x >> 28], 1u);
  unsigned all = __reduce_add_sync(~0u, x & 1), same = __match_any_sync(~0u, x >> 28);
  if (T % 32 == __ffs(same) - 1) atomicMax(&minmax[1], (unsigned long long)x);
  atomicMin(&minmax[0], (unsigned long long)x);
  if (T % 32 == 0) atomicAdd(&minmax[2], (unsigned long long)all);
  __syncthreads();
  if (T < 16) atomicAdd(&out[T], h[T]);
}
// Integer arithmetic of C, in which much is combined from several instructions.
extern "C" __global__ void integers(const long long* a, const long long* b, long long* out, int n) {
  if (I >= n) return;
  const long long x = a[I], y = b[I] | 1;
  unsigned long long h = (unsigned long long)x * 0x9e3779b97f4a7c15ull;
  h ^= h >> 29; h *= 0xbf58476d1ce4e5b9ull; h = (h << 13) | (h >> 51);
  out[I] = x / y + x % y + (long long)__umul64hi(h, y) + __popcll(h) * (x < y ? 3 : -5) + (int)x / ((int)y | 1) + __brev((unsigned)h);
}
)cuda";

// C = A B^T of bf16, f16 or tf32, 64 x 64 tiles by 4 warps, two stages of cp.async, ldmatrix, mma.
// A and B are row-major with K columns, a multiple of 32.
inline constexpr const char* kProductKernels = R"cuda(
#define T int(threadIdx.x)
#define SHARED(p) unsigned(__cvta_generic_to_shared(p))
template <int KIND> __device__ void mma(float* d, const unsigned* a, const unsigned* b) {
  if (KIND == 0) asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ void ldmatrix4(unsigned* r, const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(SHARED(p)) : "memory");
}
template <int KIND> __device__ void product(const unsigned short* A, const unsigned short* B, float* C, int N, int K) {
  __shared__ __align__(16) unsigned short a[2][64][40], b[2][64][40];
  const int row = blockIdx.y * 64, column = blockIdx.x * 64, warp = T / 32, lane = T % 32;
  float d[8][4] = {};
  auto load = [&](int stage, int k) {
    for (int i = T; i < 256; i += 128) {
      const int r = i / 4, c = i % 4 * 8;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(SHARED(&a[stage][r][c])), "l"(A + (long long)(row + r) * K + k + c) : "memory");
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(SHARED(&b[stage][r][c])), "l"(B + (long long)(column + r) * K + k + c) : "memory");
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  load(0, 0);
  for (int k = 0, stage = 0; k < K; k += 32, stage ^= 1) {
    if (k + 32 < K) { load(stage ^ 1, k + 32); asm volatile("cp.async.wait_group 1;" ::: "memory"); }
    else asm volatile("cp.async.wait_group 0;" ::: "memory");
    __syncthreads();
    for (int inner = 0; inner < 32; inner += 16) {
      unsigned fa[4], fb[4];
      ldmatrix4(fa, &a[stage][warp * 16 + lane % 16][inner + lane / 16 * 8]);
      for (int n = 0; n < 64; n += 16) {
        ldmatrix4(fb, &b[stage][n + lane % 8 + lane / 16 * 8][inner + lane / 8 % 2 * 8]);
        mma<KIND>(d[n / 8], fa, fb);
        mma<KIND>(d[n / 8 + 1], fa, fb + 2);
      }
    }
    __syncthreads();
  }
  for (int n = 0; n < 8; ++n)
    for (int i = 0; i < 2; ++i)
      *(float2*)&C[(long long)(row + warp * 16 + lane / 4 + 8 * i) * N + column + n * 8 + lane % 4 * 2] = make_float2(d[n][2 * i], d[n][2 * i + 1]);
}
extern "C" __global__ void product_bf16(const unsigned short* A, const unsigned short* B, float* C, int N, int K) { product<0>(A, B, C, N, K); }
extern "C" __global__ void product_f16(const unsigned short* A, const unsigned short* B, float* C, int N, int K) { product<1>(A, B, C, N, K); }
// One fragment each, loaded element by element as the manual lays them out.
extern "C" __global__ void fragment_tf32(const float* A, const float* B, float* C) {  // 16x8 by 8x8
  const int g = T / 4, t = T % 4;
  float d[4] = {1, 2, 3, 4};
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "f"(A[g * 8 + t]), "f"(A[(g + 8) * 8 + t]), "f"(A[g * 8 + t + 4]), "f"(A[(g + 8) * 8 + t + 4]), "f"(B[t * 8 + g]), "f"(B[(t + 4) * 8 + g]));
  C[g * 8 + 2 * t] = d[0]; C[g * 8 + 2 * t + 1] = d[1]; C[(g + 8) * 8 + 2 * t] = d[2]; C[(g + 8) * 8 + 2 * t + 1] = d[3];
}
extern "C" __global__ void fragment_s8(const signed char* A, const unsigned char* B, int* C) {  // 16x32 by 32x8 (B transposed)
  const int g = T / 4, t = T % 4;
  int d[4] = {0, 0, 0, 0};
  const unsigned* a = (const unsigned*)A; const unsigned* b = (const unsigned*)B;
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[g * 8 + t]), "r"(a[(g + 8) * 8 + t]), "r"(a[g * 8 + t + 4]), "r"(a[(g + 8) * 8 + t + 4]), "r"(b[g * 8 + t]), "r"(b[g * 8 + t + 4]));
  C[g * 8 + 2 * t] = d[0]; C[g * 8 + 2 * t + 1] = d[1]; C[(g + 8) * 8 + 2 * t] = d[2]; C[(g + 8) * 8 + 2 * t + 1] = d[3];
}
extern "C" __global__ void fragment_f16(const unsigned short* A, const unsigned short* Bt, unsigned short* C) {  // 16x8 by 8x8, all f16; B by ldmatrix.trans
  __shared__ __align__(16) unsigned short b[8][8];
  const int g = T / 4, t = T % 4;
  if (T < 8) *(uint4*)b[T] = *(const uint4*)(Bt + 8 * T);
  __syncwarp();
  unsigned fb, d[2] = {0x3c003c00u, 0};
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(fb) : "r"(SHARED(b[T % 8])) : "memory");
  const unsigned* a = (const unsigned*)A;
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3}, {%4}, {%0,%1};" : "+r"(d[0]), "+r"(d[1]) : "r"(a[g * 4 + t]), "r"(a[(g + 8) * 4 + t]), "r"(fb));
  ((unsigned*)C)[g * 4 + t] = d[0]; ((unsigned*)C)[(g + 8) * 4 + t] = d[1];
}
)cuda";

}  // namespace cermet::ptxsim::test
