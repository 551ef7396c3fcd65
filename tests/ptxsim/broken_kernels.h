#pragma once
// Kernels with one planted bug each, and clean ones that look alike. All take (in, out, n) and
// blocks of 128 threads; see broken_kernel_test.cpp for what must be reported.

namespace cermet::ptxsim::test {

inline constexpr const char* kBrokenKernels = R"cuda(
#define KERNEL extern "C" __global__ void
#define ARGUMENTS (const float* in, float* out, int n)
#define T int(threadIdx.x)
#define I int(blockIdx.x * blockDim.x + threadIdx.x)

// ---- Memory ----
KERNEL load_past_end ARGUMENTS { out[I] = in[I + 1]; }
KERNEL store_past_end ARGUMENTS { out[I + 9 * (I == n - 1)] = 1.0f; }
KERNEL load_before_begin ARGUMENTS { out[I] = in[I - 1]; }
KERNEL null_pointer ARGUMENTS { const float* p = n > 0 ? nullptr : in; out[I] = *(volatile const float*)(p + I); }
KERNEL touch ARGUMENTS { out[I] = in[I]; }
KERNEL misaligned_vector ARGUMENTS { if (I < 8) ((float4*)out)[I] = *(const float4*)(in + 4 * I + 1); }
KERNEL shared_past_end ARGUMENTS { extern __shared__ float d[]; d[T + 1] = in[I]; __syncthreads(); out[I] = d[T + 1]; }
KERNEL misaligned_shared ARGUMENTS {
  __shared__ __align__(16) float s[132];
  s[T] = in[I]; __syncthreads();
  if (T < 8) { float2 v = *(float2*)&s[2 * T + 1 + n * 0]; out[I] = v.x + v.y; }
}
KERNEL uninitialised_global ARGUMENTS { out[I] += 1.0f; }
KERNEL uninitialised_shared ARGUMENTS {
  __shared__ float s[129];
  s[T] = in[I]; __syncthreads();
  out[I] = s[T + 1];
}
KERNEL uninitialised_reduction ARGUMENTS {  // as many partial sums as a full block has warps
  __shared__ float s[32];
  float v = in[I];
  for (int k = 16; k > 0; k /= 2) v += __shfl_down_sync(~0u, v, k);
  if (T % 32 == 0) s[T / 32] = v;
  __syncthreads();
  if (T < 8) out[I] = s[T];
}

// ---- Shared-memory races ----
KERNEL missing_barrier ARGUMENTS { __shared__ float s[128]; s[T] = in[I]; out[I] = s[T ^ 64]; }
KERNEL missing_second_barrier ARGUMENTS {
  __shared__ float s[128];
  float v = in[I];
  for (int k = 0; k < 3; ++k) { s[T] = v; __syncthreads(); v += s[127 - T]; }
  out[I] = v;
}
KERNEL missing_warp_barrier ARGUMENTS { __shared__ volatile float s[128]; s[T] = in[I]; out[I] = s[T ^ 1]; }
KERNEL conflicting_store ARGUMENTS { __shared__ float s[4]; if (T < 32) { s[0] = in[I]; __syncwarp(); out[I] = s[0]; } }
KERNEL missing_barrier_after_tree ARGUMENTS {  // thread 0 reads what another warp added last
  __shared__ float s[128];
  s[T] = in[I]; __syncthreads();
  for (int k = 64; k > 0; k /= 2) { if (T < k) s[T] += s[T + k]; if (k > 64) __syncthreads(); }
  if (T == 0) out[blockIdx.x] = s[0];
}

// ---- Races between blocks ----
KERNEL blocks_add ARGUMENTS { if (T == 0) out[0] = in[0] + (blockIdx.x > 0 ? out[0] : 0.0f); }
KERNEL blocks_overlap ARGUMENTS { out[I] = in[I]; if (T == 0 && I + 128 < n) out[I + 128] = 0.0f; }
KERNEL blocks_read_neighbour ARGUMENTS { out[I] = in[I]; __syncthreads(); if (T == 0 && I > 0) out[I] += out[I - 1]; }
__device__ unsigned ticket;
KERNEL last_block_without_fence ARGUMENTS {
  if (T == 0) {
    out[blockIdx.x] = in[I];
    if (atomicAdd(&ticket, 1u) == gridDim.x - 1) {
      float s = 0;
      for (int b = 0; b < gridDim.x; ++b) s += out[b];
      out[gridDim.x] = s;
    }
  }
}

// ---- Barriers ----
KERNEL divergent_barrier ARGUMENTS { if (T % 32 < 16) __syncthreads(); out[I] = in[I]; }
KERNEL barrier_after_exit ARGUMENTS { if (I >= n - 28) return; __shared__ float s[128]; s[T] = in[I]; __syncthreads(); out[I] = s[T]; }
KERNEL barrier_after_warp_exit ARGUMENTS { if (T >= 96) return; __syncthreads(); out[I] = in[I]; }
KERNEL barrier_counts ARGUMENTS {
  if (T < 32) asm volatile("bar.sync 1, 64;" ::: "memory"); else if (T < 64) asm volatile("bar.sync 1, 96;" ::: "memory");
  out[I] = in[I];
}
KERNEL different_barriers ARGUMENTS {
  if (T < 64) asm volatile("bar.sync 1, 128;" ::: "memory"); else asm volatile("bar.sync 2, 128;" ::: "memory");
  out[I] = in[I];
}
KERNEL barrier_id ARGUMENTS { asm volatile("bar.sync %0;" :: "r"(n) : "memory"); out[I] = in[I]; }

// ---- Warps ----
KERNEL shuffle_in_branch ARGUMENTS { float v = in[I]; if (T % 32 < 16) v += __shfl_xor_sync(~0u, v, 1); out[I] = v; }
KERNEL shuffle_not_member ARGUMENTS { out[I] = __shfl_xor_sync(0xffffu, in[I], 1); }
KERNEL shuffle_from_absent ARGUMENTS { float v = in[I]; if (T % 32 < 16) v = __shfl_sync(0xffffu, v, 20); out[I] = v; }
KERNEL vote_in_branch ARGUMENTS { int v = 0; if (in[I] > 0.5f * T) v = __ballot_sync(~0u, T > 3); out[I] = v; }
KERNEL warp_barrier_mask ARGUMENTS { if (T % 32 < 8) __syncwarp(~0u); else __syncwarp(0xff00u); out[I] = in[I]; }
KERNEL partial_mma ARGUMENTS {
  float d[4] = {0, 0, 0, 0};
  unsigned a = 0x3c003c00u, b = 0x3c003c00u;
  if (T % 32 != 7)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%4}, {%5}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a), "r"(b));
  out[I] = d[0];
}

// ---- Asynchronous copies ----
#define SHARED(p) unsigned(__cvta_generic_to_shared(p))
#define COPY(to, from) asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" :: "r"(SHARED(to)), "l"(from) : "memory")
#define COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT(k) asm volatile("cp.async.wait_group " #k ";" ::: "memory")
KERNEL no_wait ARGUMENTS { __shared__ float s[128]; COPY(&s[T], in + I); COMMIT; __syncthreads(); out[I] = s[T ^ 1]; }
KERNEL wait_too_few ARGUMENTS {
  __shared__ float s[2][128];
  COPY(&s[0][T], in + I); COMMIT; COPY(&s[1][T], in + I); COMMIT;
  WAIT(1); __syncthreads();
  out[I] = s[0][T] + s[1][T];
}
KERNEL wait_without_barrier ARGUMENTS { __shared__ float s[128]; COPY(&s[T], in + I); COMMIT; WAIT(0); out[I] = s[T ^ 64]; }
KERNEL copy_into_use ARGUMENTS {  // the next copy starts before all have read the last
  __shared__ float s[128];
  float v = 0;
  for (int k = 0; k < 3; ++k) { COPY(&s[T], in + I); COMMIT; WAIT(0); __syncthreads(); v += s[127 - T]; }
  out[I] = v;
}
KERNEL misaligned_copy ARGUMENTS {
  __shared__ __align__(16) float s[132];
  if (T < 8) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(SHARED(&s[4 * T])), "l"(in + 4 * T + 1) : "memory");
  COMMIT; WAIT(0); out[I] = in[I];
}
#define INIT(b, count) asm volatile("mbarrier.init.shared.b64 [%0], %1;" :: "r"(SHARED(b)), "r"(count) : "memory")
#define ARRIVE(b) asm volatile("{.reg .b64 t; mbarrier.arrive.shared.b64 t, [%0];}" :: "r"(SHARED(b)) : "memory")
__device__ void wait_parity(unsigned long long* b, unsigned parity) {
  unsigned done = 0;
  while (!done)
    asm volatile("{.reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.b32 %0, 1, 0, p;}"
                 : "=r"(done) : "r"(SHARED(b)), "r"(parity) : "memory");
}
KERNEL mbarrier_never_complete ARGUMENTS {
  __shared__ unsigned long long b;
  if (T == 0) INIT(&b, 129);
  __syncthreads(); ARRIVE(&b); wait_parity(&b, 0);
  out[I] = in[I];
}
KERNEL mbarrier_uninitialised ARGUMENTS { __shared__ unsigned long long b; ARRIVE(&b); out[I] = in[I]; }
KERNEL mbarrier_not_waited ARGUMENTS {
  __shared__ unsigned long long b;
  __shared__ float s[128];
  if (T == 0) INIT(&b, 128);
  __syncthreads(); s[T] = in[I]; ARRIVE(&b);
  if (n < 0) wait_parity(&b, 0);
  out[I] = s[T ^ 64];
}

// ---- The end ----
KERNEL endless ARGUMENTS { volatile float* p = out; p[I] = 0; while (p[I] < 1.0f) { p[I] = in[I] * 0.0f; } }
KERNEL traps ARGUMENTS { if (I == 77) asm volatile("trap;"); out[I] = in[I]; }
extern "C" __global__ void __launch_bounds__(64) bounded ARGUMENTS { out[I] = in[I]; }

// ---- Clean ----
KERNEL clean_reverse ARGUMENTS {
  __shared__ float s[128];
  float v = in[I];
  for (int k = 0; k < 3; ++k) { s[T] = v; __syncthreads(); v += s[127 - T]; __syncthreads(); }
  out[I] = v;
}
KERNEL clean_sum ARGUMENTS {
  __shared__ float s[32];
  float v = I < n - 28 ? in[I] : 0.0f;
  for (int k = 16; k > 0; k /= 2) v += __shfl_down_sync(~0u, v, k);
  if (T % 32 == 0) s[T / 32] = v;
  __syncthreads();
  if (T < 32) {
    v = T < 4 ? s[T] : 0.0f;
    for (int k = 2; k > 0; k /= 2) v += __shfl_down_sync(~0u, v, k);
    if (T == 0) out[blockIdx.x] = v;
  }
}
KERNEL clean_last_block ARGUMENTS {
  __shared__ bool last;
  out[I + 1] = in[I];
  __threadfence();
  __syncthreads();
  if (T == 0) last = atomicInc(&ticket, gridDim.x - 1) == gridDim.x - 1;
  __syncthreads();
  if (last && T == 0) {
    float s = 0;
    for (int i = 0; i < n; ++i) s += out[i + 1];
    out[0] = s;
  }
}
KERNEL clean_last_block_late_fence ARGUMENTS {  // the fence of one thread covers what it has seen
  __shared__ bool last;
  out[I + 1] = in[I];
  __syncthreads();
  if (T == 0) { __threadfence(); last = atomicInc(&ticket, gridDim.x - 1) == gridDim.x - 1; }
  __syncthreads();
  if (last) for (int i = T; i < n; i += 128) out[i + 1] *= 2.0f;
}
KERNEL clean_pipeline ARGUMENTS {
  __shared__ float s[2][128];
  COPY(&s[0][T], in + I); COMMIT;
  float v = 0;
  for (int k = 0; k < 4; ++k) {
    COPY(&s[(k + 1) & 1][T], in + I); COMMIT;
    WAIT(1); __syncthreads();
    v += s[k & 1][127 - T];
    __syncthreads();
  }
  WAIT(0);
  out[I] = v;
}
KERNEL clean_warp ARGUMENTS {
  __shared__ float s[128];
  s[T] = in[I]; __syncwarp();
  float v = s[T ^ 1]; __syncwarp();
  s[T] = v; __syncwarp();
  out[I] = s[T ^ 3];
}
KERNEL clean_named_barriers ARGUMENTS {  // warps 0 and 1 produce, 2 and 3 consume
  __shared__ float s[64];
  for (int k = 0; k < 3; ++k) {
    if (T < 64) {
      asm volatile("bar.sync 2, 128;" ::: "memory");
      s[T] = in[I] + k;
      asm volatile("bar.arrive 1, 128;" ::: "memory");
    } else {
      asm volatile("bar.arrive 2, 128;" ::: "memory");
      asm volatile("bar.sync 1, 128;" ::: "memory");
      out[I] = s[127 - T];
    }
  }
}
KERNEL clean_mbarrier ARGUMENTS {
  __shared__ unsigned long long full, empty;
  __shared__ float s[64];
  if (T == 0) { INIT(&full, 64); INIT(&empty, 64); }
  __syncthreads();
  for (int k = 0; k < 4; ++k) {
    if (T < 64) {
      if (k > 0) wait_parity(&empty, (k - 1) & 1);
      s[T] = in[I] + k;
      ARRIVE(&full);
    } else {
      wait_parity(&full, k & 1);
      out[I] = s[127 - T];
      ARRIVE(&empty);
    }
  }
}
KERNEL clean_atomics ARGUMENTS {
  __shared__ unsigned h[4];
  if (T < 4) h[T] = 0;
  __syncthreads();
  atomicAdd(&h[T & 3], 1u);
  __syncthreads();
  if (T < 4) atomicAdd((unsigned*)out + T, h[T]);
}
KERNEL clean_same_store ARGUMENTS { __shared__ int flag; flag = 7; __syncthreads(); out[I] = flag + in[I]; }
KERNEL clean_divergence ARGUMENTS {
  float v = in[I];
  if (T & 1) { for (int k = 0; k < T; ++k) v += 1.0f; } else if (T & 2) v = -v;
  __syncwarp();
  out[I] = __shfl_xor_sync(~0u, v, 1);
}
)cuda";

}  // namespace cermet::ptxsim::test
