#pragma once
// Kernels for tests, as NVRTC made them of the CUDA C beside each, for every GPU and driver.

namespace cermet::fakecuda {

//   __device__ int offset = 5;
//   affine(float* y, const float* x, float a, float b, int n)    y[i] = a * x[i] + b where i < n
//   unguarded(float* y, float value)                             y[i] = value, whatever i is
//   reverse(int* y, const int* x)     one block, at most 64 threads by its launch bounds, through
//                                     `extern __shared__ int s[]`, one word a thread
//   racy(int* y, const int* x)        as reverse, without the barrier
//   odd(float* y)                     a float4 is stored 4 bytes behind y
//   trap(int* y)                      thread 3 executes `trap`
//   add_offset(int* y)                y[thread] += offset
//   spin(volatile int* y)             while (*y == 0);
inline constexpr const char* kernels = R"ptx(
.version 6.4
.target sm_75
.address_size 64
.global .align 4 .u32 offset = 5;
.extern .shared .align 16 .b8 s[];

.visible .entry affine(
  .param .u64 affine_param_0,
  .param .u64 affine_param_1,
  .param .f32 affine_param_2,
  .param .f32 affine_param_3,
  .param .u32 affine_param_4
)
{
  .reg .pred %p<2>;
  .reg .f32 %f<5>;
  .reg .b32 %r<6>;
  .reg .b64 %rd<8>;
  ld.param.u64 %rd1, [affine_param_0];
  ld.param.u64 %rd2, [affine_param_1];
  ld.param.f32 %f1, [affine_param_2];
  ld.param.f32 %f2, [affine_param_3];
  ld.param.u32 %r2, [affine_param_4];
  mov.u32 %r3, %ctaid.x;
  mov.u32 %r4, %ntid.x;
  mov.u32 %r5, %tid.x;
  mad.lo.s32 %r1, %r3, %r4, %r5;
  setp.ge.s32 %p1, %r1, %r2;
  @%p1 bra $L__BB0_2;
  cvta.to.global.u64 %rd3, %rd2;
  mul.wide.s32 %rd4, %r1, 4;
  add.s64 %rd5, %rd3, %rd4;
  ld.global.f32 %f3, [%rd5];
  fma.rn.f32 %f4, %f3, %f1, %f2;
  cvta.to.global.u64 %rd6, %rd1;
  add.s64 %rd7, %rd6, %rd4;
  st.global.f32 [%rd7], %f4;
$L__BB0_2:
  ret;
}

.visible .entry unguarded(
  .param .u64 unguarded_param_0,
  .param .f32 unguarded_param_1
)
{
  .reg .f32 %f<2>;
  .reg .b32 %r<5>;
  .reg .b64 %rd<5>;
  ld.param.u64 %rd1, [unguarded_param_0];
  ld.param.f32 %f1, [unguarded_param_1];
  cvta.to.global.u64 %rd2, %rd1;
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mad.lo.s32 %r4, %r1, %r2, %r3;
  mul.wide.u32 %rd3, %r4, 4;
  add.s64 %rd4, %rd2, %rd3;
  st.global.f32 [%rd4], %f1;
  ret;
}

.visible .entry reverse(
  .param .u64 reverse_param_0,
  .param .u64 reverse_param_1
)
.maxntid 64, 1, 1
{
  .reg .b32 %r<12>;
  .reg .b64 %rd<8>;
  ld.param.u64 %rd1, [reverse_param_0];
  ld.param.u64 %rd2, [reverse_param_1];
  cvta.to.global.u64 %rd3, %rd1;
  cvta.to.global.u64 %rd4, %rd2;
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd5, %r1, 4;
  add.s64 %rd6, %rd4, %rd5;
  ld.global.u32 %r2, [%rd6];
  shl.b32 %r3, %r1, 2;
  mov.u32 %r4, s;
  add.s32 %r5, %r4, %r3;
  st.shared.u32 [%r5], %r2;
  bar.sync 0;
  mov.u32 %r6, %ntid.x;
  not.b32 %r7, %r1;
  add.s32 %r8, %r6, %r7;
  shl.b32 %r9, %r8, 2;
  add.s32 %r10, %r4, %r9;
  ld.shared.u32 %r11, [%r10];
  add.s64 %rd7, %rd3, %rd5;
  st.global.u32 [%rd7], %r11;
  ret;
}

.visible .entry racy(
  .param .u64 racy_param_0,
  .param .u64 racy_param_1
)
{
  .reg .b32 %r<12>;
  .reg .b64 %rd<8>;
  ld.param.u64 %rd1, [racy_param_0];
  ld.param.u64 %rd2, [racy_param_1];
  cvta.to.global.u64 %rd3, %rd1;
  cvta.to.global.u64 %rd4, %rd2;
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd5, %r1, 4;
  add.s64 %rd6, %rd4, %rd5;
  ld.global.u32 %r2, [%rd6];
  shl.b32 %r3, %r1, 2;
  mov.u32 %r4, s;
  add.s32 %r5, %r4, %r3;
  st.shared.u32 [%r5], %r2;
  mov.u32 %r6, %ntid.x;
  not.b32 %r7, %r1;
  add.s32 %r8, %r6, %r7;
  shl.b32 %r9, %r8, 2;
  add.s32 %r10, %r4, %r9;
  ld.shared.u32 %r11, [%r10];
  add.s64 %rd7, %rd3, %rd5;
  st.global.u32 [%rd7], %r11;
  ret;
}

.visible .entry odd(
  .param .u64 odd_param_0
)
{
  .reg .f32 %f<5>;
  .reg .b64 %rd<3>;
  ld.param.u64 %rd1, [odd_param_0];
  cvta.to.global.u64 %rd2, %rd1;
  mov.f32 %f1, 0f40800000;
  mov.f32 %f2, 0f40400000;
  mov.f32 %f3, 0f40000000;
  mov.f32 %f4, 0f3F800000;
  st.global.v4.f32 [%rd2+4], {%f4, %f3, %f2, %f1};
  ret;
}

.visible .entry trap(
  .param .u64 trap_param_0
)
{
  .reg .pred %p<2>;
  .reg .b32 %r<3>;
  .reg .b64 %rd<3>;
  ld.param.u64 %rd1, [trap_param_0];
  mov.u32 %r1, %tid.x;
  setp.ne.s32 %p1, %r1, 3;
  @%p1 bra $L__BB5_2;
  trap;
$L__BB5_2:
  cvta.to.global.u64 %rd2, %rd1;
  mov.u32 %r2, 1;
  st.global.u32 [%rd2], %r2;
  ret;
}

.visible .entry add_offset(
  .param .u64 add_offset_param_0
)
{
  .reg .b32 %r<5>;
  .reg .b64 %rd<5>;
  ld.param.u64 %rd1, [add_offset_param_0];
  cvta.to.global.u64 %rd2, %rd1;
  ld.global.u32 %r1, [offset];
  mov.u32 %r2, %tid.x;
  mul.wide.u32 %rd3, %r2, 4;
  add.s64 %rd4, %rd2, %rd3;
  ld.global.u32 %r3, [%rd4];
  add.s32 %r4, %r3, %r1;
  st.global.u32 [%rd4], %r4;
  ret;
}

.visible .entry spin(
  .param .u64 spin_param_0
)
{
  .reg .pred %p<2>;
  .reg .b32 %r<2>;
  .reg .b64 %rd<3>;
  ld.param.u64 %rd2, [spin_param_0];
  cvta.to.global.u64 %rd1, %rd2;
$L__BB7_1:
  ld.volatile.global.u32 %r1, [%rd1];
  setp.eq.s32 %p1, %r1, 0;
  @%p1 bra $L__BB7_1;
  ret;
}
)ptx";

}  // namespace cermet::fakecuda
