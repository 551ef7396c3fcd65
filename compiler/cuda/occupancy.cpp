#include "compiler/cuda/occupancy.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "cermet/error.h"

namespace cermet::compiler {
namespace {

constexpr int64_t KB = 1024;
constexpr int enough = 1 << 20;  // never what limits: barriers are counted from sm_90 on

// In the order of the members.
constexpr CudaLimits table[] = {
    {75, 1024, 16, 64 * KB, 64 * KB, 0, 256, enough},
    {80, 2048, 32, 164 * KB, 163 * KB, KB, 128, enough},
    {86, 1536, 16, 100 * KB, 99 * KB, KB, 128, enough},
    {87, 1536, 16, 164 * KB, 163 * KB, KB, 128, enough},
    {89, 1536, 24, 100 * KB, 99 * KB, KB, 128, enough},
    {90, 2048, 32, 228 * KB, 227 * KB, KB, 128, 64},
    {100, 2048, 32, 228 * KB, 227 * KB, KB, 128, 64},
    {110, 1536, 24, 228 * KB, 227 * KB, KB, 128, 24},
    {120, 1536, 24, 100 * KB, 99 * KB, KB, 128, 24},
};

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Blocks that fit where each takes `each` of `all`; a kernel that takes nothing is not limited.
int fitting(int64_t all, int64_t each) {
  return each > 0 ? int(all / each) : CudaLimits::block_threads;
}

int fitting_registers(int warps, int registers) {
  const int64_t warp =
      round_up(int64_t(registers) * CudaLimits::warp_threads, CudaLimits::register_unit);
  if (warp == 0) return CudaLimits::block_threads;
  // The hardware tests a block as if all partitions took as many warps as the fullest one.
  if (warp * round_up(warps, CudaLimits::partitions) > CudaLimits::registers) return 0;
  const int64_t of_partition = CudaLimits::registers / CudaLimits::partitions / warp;
  return int(of_partition * CudaLimits::partitions / warps);
}

}  // namespace

const CudaLimits& cuda_limits(const CudaArch& arch) {
  const auto after =
      std::upper_bound(std::begin(table), std::end(table), arch.number,
                       [](int number, const CudaLimits& limits) { return number < limits.arch; });
  if (after == std::begin(table))
    throw Error(fmt::format("cuda: {} is too old, at least sm_{} is needed", to_string(arch),
                            table[0].arch));
  return after[-1];
}

Occupancy occupancy(const CudaLimits& limits, const KernelCost& cost) {
  if (cost.threads < 1 || cost.threads > CudaLimits::block_threads)
    return {.blocks = 0, .limit = Occupancy::Limit::Threads};
  if (cost.registers > CudaLimits::thread_registers)
    return {.blocks = 0, .limit = Occupancy::Limit::Registers};
  if (cost.shared > limits.block_shared) return {.blocks = 0, .limit = Occupancy::Limit::Shared};

  const int warps =
      int(round_up(cost.threads, CudaLimits::warp_threads)) / CudaLimits::warp_threads;
  const int64_t shared = round_up(cost.shared + limits.reserved_shared, limits.shared_unit);
  Occupancy result{.blocks = limits.threads / CudaLimits::warp_threads / warps};
  const auto limit = [&](int blocks, Occupancy::Limit by) {
    if (blocks < result.blocks) result.blocks = blocks, result.limit = by;
  };
  limit(limits.blocks, Occupancy::Limit::Blocks);
  limit(fitting_registers(warps, cost.registers), Occupancy::Limit::Registers);
  limit(fitting(limits.shared, shared), Occupancy::Limit::Shared);
  limit(fitting(limits.barriers, cost.barriers), Occupancy::Limit::Barriers);
  result.fraction = double(result.blocks) * warps * CudaLimits::warp_threads / limits.threads;
  return result;
}

std::string_view to_string(Occupancy::Limit limit) {
  switch (limit) {
    case Occupancy::Limit::Threads: return "threads";
    case Occupancy::Limit::Blocks: return "blocks";
    case Occupancy::Limit::Registers: return "registers";
    case Occupancy::Limit::Shared: return "shared memory";
    case Occupancy::Limit::Barriers: return "barriers";
  }
  return "";
}

int registers_for(int64_t threads, int blocks) {
  const int warps = int(round_up(threads, CudaLimits::warp_threads)) / CudaLimits::warp_threads;
  constexpr int unit = CudaLimits::register_unit / CudaLimits::warp_threads;
  for (int registers = CudaLimits::thread_registers; registers > unit; --registers)
    if (fitting_registers(warps, registers) >= blocks) return registers;
  return unit;
}

}  // namespace cermet::compiler
