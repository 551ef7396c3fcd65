// The special registers: where a thread is, how large the launch is, clocks. One function per
// register fills a register of the warp.

#include <unordered_map>

#include "ptxsim/decode.h"
#include "ptxsim/lanes.h"

namespace cermet::ptxsim {
namespace {

template <auto Value>  // of a warp
void uniform32(Warp& warp, const Inst& inst, Mask mask) {
  const u32 value = static_cast<u32>(Value(warp));
  u32* d = warp.at<u32>(inst.op[0]);
  for_lanes(mask, [&](int lane) { d[lane] = value; });
}
template <auto Value>
void uniform64(Warp& warp, const Inst& inst, Mask mask) {
  const u64 value = static_cast<u64>(Value(warp));
  u64* d = warp.at<u64>(inst.op[0]);
  for_lanes(mask, [&](int lane) { d[lane] = value; });
}
template <auto Value>  // of a warp and a lane
void by_lane(Warp& warp, const Inst& inst, Mask mask) {
  u32* d = warp.at<u32>(inst.op[0]);
  for_lanes(mask, [&](int lane) { d[lane] = Value(warp, lane); });
}

// A clock that differs at every read, as kernels that measure expect.
u64 clock_of(const Warp& warp) { return ++warp.launch->clock; }

#define CERMET_PTX_UNIFORM(expression) \
  uniform32<[](const Warp& w) {        \
    (void)w;                           \
    return (expression);               \
  }>
#define CERMET_PTX_LANE(expression)            \
  by_lane<[](const Warp& w, int lane) -> u32 { \
    (void)w;                                   \
    return expression;                         \
  }>

const SpecialRegister kRegisters[] = {
    {"%tid.x", 4, CERMET_PTX_LANE(w.tid_x[static_cast<std::size_t>(lane)])},
    {"%tid.y", 4, CERMET_PTX_LANE(w.tid_y[static_cast<std::size_t>(lane)])},
    {"%tid.z", 4, CERMET_PTX_LANE(w.tid_z[static_cast<std::size_t>(lane)])},
    {"%ntid.x", 4, CERMET_PTX_UNIFORM(w.launch->shape.block.x)},
    {"%ntid.y", 4, CERMET_PTX_UNIFORM(w.launch->shape.block.y)},
    {"%ntid.z", 4, CERMET_PTX_UNIFORM(w.launch->shape.block.z)},
    {"%ctaid.x", 4, CERMET_PTX_UNIFORM(w.block->index.x)},
    {"%ctaid.y", 4, CERMET_PTX_UNIFORM(w.block->index.y)},
    {"%ctaid.z", 4, CERMET_PTX_UNIFORM(w.block->index.z)},
    {"%nctaid.x", 4, CERMET_PTX_UNIFORM(w.launch->shape.grid.x)},
    {"%nctaid.y", 4, CERMET_PTX_UNIFORM(w.launch->shape.grid.y)},
    {"%nctaid.z", 4, CERMET_PTX_UNIFORM(w.launch->shape.grid.z)},
    {"%laneid", 4, CERMET_PTX_LANE(static_cast<u32>(lane))},
    {"%warpid", 4, CERMET_PTX_UNIFORM(w.index)},
    {"%nwarpid", 4, CERMET_PTX_UNIFORM(w.block->warps.size())},
    {"%smid", 4, CERMET_PTX_UNIFORM(0)},
    {"%nsmid", 4, CERMET_PTX_UNIFORM(1)},
    {"%gridid", 8, uniform64<[](const Warp&) { return 1; }>},
    {"%lanemask_eq", 4, CERMET_PTX_LANE(lane_bit(lane))},
    {"%lanemask_lt", 4, CERMET_PTX_LANE(lane_bit(lane) - 1)},
    {"%lanemask_le", 4, CERMET_PTX_LANE(lane_bit(lane) | (lane_bit(lane) - 1))},
    {"%lanemask_gt", 4, CERMET_PTX_LANE(~(lane_bit(lane) | (lane_bit(lane) - 1)))},
    {"%lanemask_ge", 4, CERMET_PTX_LANE(~(lane_bit(lane) - 1))},
    {"%dynamic_smem_size", 4, CERMET_PTX_UNIFORM(w.launch->shape.dynamic_shared_bytes)},
    {"%total_smem_size", 4, CERMET_PTX_UNIFORM(w.block->shared.size())},
    {"%clock", 4, CERMET_PTX_UNIFORM(clock_of(w))},
    {"%clock_hi", 4, CERMET_PTX_UNIFORM(clock_of(w) / (u64{1} << 32))},
    {"%clock64", 8, uniform64<clock_of>},
    {"%globaltimer", 8, uniform64<clock_of>},
    {"%globaltimer_lo", 4, CERMET_PTX_UNIFORM(clock_of(w))},
    {"%cluster_ctaid.x", 4, CERMET_PTX_UNIFORM(0)},
    {"%cluster_ctaid.y", 4, CERMET_PTX_UNIFORM(0)},
    {"%cluster_ctaid.z", 4, CERMET_PTX_UNIFORM(0)},
    {"%cluster_nctaid.x", 4, CERMET_PTX_UNIFORM(1)},
    {"%cluster_nctaid.y", 4, CERMET_PTX_UNIFORM(1)},
    {"%cluster_nctaid.z", 4, CERMET_PTX_UNIFORM(1)},
    {"%cluster_ctarank", 4, CERMET_PTX_UNIFORM(0)},
    {"%cluster_nctarank", 4, CERMET_PTX_UNIFORM(1)},
};

#undef CERMET_PTX_UNIFORM
#undef CERMET_PTX_LANE

}  // namespace

const SpecialRegister* special_register(std::string_view name) {
  static const auto table = [] {
    std::unordered_map<std::string_view, const SpecialRegister*> result;
    for (const SpecialRegister& entry : kRegisters) result.emplace(entry.name, &entry);
    return result;
  }();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace cermet::ptxsim
