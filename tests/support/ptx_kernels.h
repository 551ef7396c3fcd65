#pragma once
// A few kernels for the tests of the CUDA runtime, as PTX, so that no compiler is needed. NVRTC
// 13.5 made them for compute_75 from this (the version in the head is that of CUDA 12.0):
//
//   scale(float* y, const float* x, float a, int n)   y[i] = x[i] * a
//   add_to(float* y, const float* x, int n)           y[i] += x[i]
//   reverse(unsigned* x, int n)                       by one block, through dynamic shared memory
//   poke(unsigned char* at, unsigned char value)      *at = value
//   nothing()

#include <string>

namespace cermet::test {

inline const std::string ptx_kernels = R"(
.version 8.0
.target sm_75
.address_size 64

  // .globl  scale
.extern .shared .align 16 .b8 s[];

.visible .entry scale(
  .param .u64 scale_param_0,
  .param .u64 scale_param_1,
  .param .f32 scale_param_2,
  .param .u32 scale_param_3
)
{
  .reg .pred   %p<2>;
  .reg .f32   %f<4>;
  .reg .b32   %r<6>;
  .reg .b64   %rd<8>;

  ld.param.u64   %rd1, [scale_param_0];
  ld.param.u64   %rd2, [scale_param_1];
  ld.param.f32   %f1, [scale_param_2];
  ld.param.u32   %r2, [scale_param_3];
  mov.u32   %r3, %ctaid.x;
  mov.u32   %r4, %ntid.x;
  mov.u32   %r5, %tid.x;
  mad.lo.s32   %r1, %r3, %r4, %r5;
  setp.ge.s32   %p1, %r1, %r2;
  @%p1 bra   $L__BB0_2;

  cvta.to.global.u64   %rd3, %rd2;
  mul.wide.s32   %rd4, %r1, 4;
  add.s64   %rd5, %rd3, %rd4;
  ld.global.f32   %f2, [%rd5];
  mul.rn.f32   %f3, %f2, %f1;
  cvta.to.global.u64   %rd6, %rd1;
  add.s64   %rd7, %rd6, %rd4;
  st.global.f32   [%rd7], %f3;

$L__BB0_2:
  ret;

}
  // .globl  add_to
.visible .entry add_to(
  .param .u64 add_to_param_0,
  .param .u64 add_to_param_1,
  .param .u32 add_to_param_2
)
{
  .reg .pred   %p<2>;
  .reg .f32   %f<4>;
  .reg .b32   %r<6>;
  .reg .b64   %rd<8>;

  ld.param.u64   %rd1, [add_to_param_0];
  ld.param.u64   %rd2, [add_to_param_1];
  ld.param.u32   %r2, [add_to_param_2];
  mov.u32   %r3, %ctaid.x;
  mov.u32   %r4, %ntid.x;
  mov.u32   %r5, %tid.x;
  mad.lo.s32   %r1, %r3, %r4, %r5;
  setp.ge.s32   %p1, %r1, %r2;
  @%p1 bra   $L__BB1_2;

  cvta.to.global.u64   %rd3, %rd2;
  mul.wide.s32   %rd4, %r1, 4;
  add.s64   %rd5, %rd3, %rd4;
  cvta.to.global.u64   %rd6, %rd1;
  add.s64   %rd7, %rd6, %rd4;
  ld.global.f32   %f1, [%rd7];
  ld.global.f32   %f2, [%rd5];
  add.rn.f32   %f3, %f2, %f1;
  st.global.f32   [%rd7], %f3;

$L__BB1_2:
  ret;

}
  // .globl  reverse
.visible .entry reverse(
  .param .u64 reverse_param_0,
  .param .u32 reverse_param_1
)
{
  .reg .pred   %p<5>;
  .reg .b32   %r<21>;
  .reg .b64   %rd<7>;

  ld.param.u64   %rd2, [reverse_param_0];
  ld.param.u32   %r8, [reverse_param_1];
  cvta.to.global.u64   %rd1, %rd2;
  mov.u32   %r20, %tid.x;
  setp.ge.s32   %p1, %r20, %r8;
  @%p1 bra   $L__BB2_3;

  mov.u32   %r2, %ntid.x;
  mov.u32   %r11, s;
  mov.u32   %r19, %r20;

$L__BB2_2:
  mul.wide.s32   %rd3, %r19, 4;
  add.s64   %rd4, %rd1, %rd3;
  ld.global.u32   %r9, [%rd4];
  shl.b32   %r10, %r19, 2;
  add.s32   %r12, %r11, %r10;
  st.shared.u32   [%r12], %r9;
  add.s32   %r19, %r19, %r2;
  setp.lt.s32   %p2, %r19, %r8;
  @%p2 bra   $L__BB2_2;

$L__BB2_3:
  bar.sync   0;
  @%p1 bra   $L__BB2_6;

  mov.u32   %r5, %ntid.x;
  mov.u32   %r16, s;

$L__BB2_5:
  not.b32   %r13, %r20;
  add.s32   %r14, %r13, %r8;
  shl.b32   %r15, %r14, 2;
  add.s32   %r17, %r16, %r15;
  ld.shared.u32   %r18, [%r17];
  mul.wide.s32   %rd5, %r20, 4;
  add.s64   %rd6, %rd1, %rd5;
  st.global.u32   [%rd6], %r18;
  add.s32   %r20, %r20, %r5;
  setp.lt.s32   %p4, %r20, %r8;
  @%p4 bra   $L__BB2_5;

$L__BB2_6:
  ret;

}
  // .globl  poke
.visible .entry poke(
  .param .u64 poke_param_0,
  .param .u8 poke_param_1
)
{
  .reg .b16   %rs<2>;
  .reg .b64   %rd<3>;

  ld.param.u8   %rs1, [poke_param_1];
  ld.param.u64   %rd1, [poke_param_0];
  cvta.to.global.u64   %rd2, %rd1;
  st.global.u8   [%rd2], %rs1;
  ret;

}
  // .globl  nothing
.visible .entry nothing()
{

  ret;

}
)";

}  // namespace cermet::test
