#pragma once
// Loops over the lanes of a warp: how the instructions that treat each lane alone are made from a
// function of scalars.

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "ptxsim/machine.h"

namespace cermet::ptxsim {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;
__extension__ typedef __int128 s128;
__extension__ typedef unsigned __int128 u128;

#if defined(__clang__)
#define CERMET_PTX_VECTORIZE _Pragma("clang loop vectorize(assume_safety) interleave(enable)")
#else
#define CERMET_PTX_VECTORIZE _Pragma("GCC ivdep")
#endif

// d[lane] = t[lane] for the lanes of the mask.
template <class T>
inline void blend(T* d, const T* t, Mask mask) {
  CERMET_PTX_VECTORIZE
  for (int i = 0; i < kLanes; ++i) d[i] = ((mask >> i) & 1) != 0 ? t[i] : d[i];
}

template <auto Function, class D, class... A, std::size_t... I>
inline void map_lanes_of(Warp& warp, const Inst& inst, Mask mask, std::index_sequence<I...>) {
  D* d = warp.at<D>(inst.op[0]);
  const auto run = [&](D* to, const A*... from) {
    CERMET_PTX_VECTORIZE
    for (int i = 0; i < kLanes; ++i) to[i] = static_cast<D>(Function(from[i]...));
  };
  if (mask == kAllLanes) {
    run(d, warp.at<const A>(inst.op[I + 1])...);
  } else {
    alignas(64) D t[kLanes];
    run(t, warp.at<const A>(inst.op[I + 1])...);
    blend(d, t, mask);
  }
}

// op[0] = Function(op[1], op[2], ...) in every lane of the mask. Function sees the other lanes'
// stale values too, so it must be defined for all.
template <auto Function, class D, class... A>
void map_lanes(Warp& warp, const Inst& inst, Mask mask) {
  map_lanes_of<Function, D, A...>(warp, inst, mask, std::index_sequence_for<A...>{});
}

// Rounding as x86 and PTX both have it, and flushing of subnormal inputs and results, as bits of
// the control register. inst.mode holds one of these.
enum FloatMode : u16 {
  kRoundNearest = 0x0000,
  kRoundDown = 0x2000,
  kRoundUp = 0x4000,
  kRoundZero = 0x6000,
  kFlush = 0x8040,
};

// Sets the control register for a scope. The barriers keep loads and stores, and with them the
// arithmetic in between, on their side.
class FloatControl {
 public:
  explicit FloatControl(u16 mode) : saved_(_mm_getcsr()) {
    _mm_setcsr(0x1f80U | mode);
    asm volatile("" ::: "memory");
  }
  ~FloatControl() {
    asm volatile("" ::: "memory");
    _mm_setcsr(saved_);
  }
  FloatControl(const FloatControl&) = delete;
  FloatControl& operator=(const FloatControl&) = delete;

 private:
  unsigned saved_;
};

// As map_lanes, under the rounding and flushing of inst.mode.
template <auto Function, class D, class... A>
void map_floats(Warp& warp, const Inst& inst, Mask mask) {
  if (inst.mode == 0) return map_lanes<Function, D, A...>(warp, inst, mask);
  const FloatControl control(inst.mode);
  map_lanes<Function, D, A...>(warp, inst, mask);
}

// op[0] = the lanes of the mask where Function(op[1], op[2], ...) is true.
template <auto Function, class... A>
Mask test_lanes(const A*... from) {
  alignas(64) u8 bits[kLanes];
  CERMET_PTX_VECTORIZE
  for (int i = 0; i < kLanes; ++i) bits[i] = Function(from[i]...) ? 0xff : 0;
#if defined(__AVX2__)
  return static_cast<Mask>(
      _mm256_movemask_epi8(_mm256_load_si256(reinterpret_cast<const __m256i*>(bits))));
#else
  Mask result = 0;
  for (int i = 0; i < kLanes; ++i) result |= bits[i] != 0 ? lane_bit(i) : 0;
  return result;
#endif
}

// Calls function(lane) for each lane of a mask.
template <class F>
inline void for_lanes(Mask mask, F function) {
  for (; mask != 0; mask &= mask - 1) function(__builtin_ctz(mask));
}

}  // namespace cermet::ptxsim
