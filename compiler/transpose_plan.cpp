#include "compiler/transpose_plan.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "compiler/grid_plan.h"
#include "compiler/operand_reads.h"
#include "compiler/row_stages.h"

namespace cermet::compiler {
namespace {

constexpr int64_t sector = 32;           // bytes
constexpr int64_t access_bytes = 16;     // the widest
constexpr int64_t most_lanes = 4;        // more, and a quarter of a warp has only parts of sectors
constexpr int64_t least_cells = 256;     // a tile of less is not worth its barriers
constexpr int64_t usual_threads = 256;   // of a block
constexpr int64_t small_tile = 32 * 32;  // elements
constexpr int64_t large_tile = 64 * 64;  // where that leaves tiles for the whole GPU
constexpr int64_t many_tiles = 4 * 264;  // large ones
constexpr int64_t usual_shared = 36 << 10;  // bytes of a block: several fit on every architecture
constexpr int64_t most_shared = 48 << 10;   // what every kernel may have
constexpr double worth_it = 1.25;           // how many times fewer sectors

struct Access {
  const ir::StridedMap* map;
  DType dtype;
  int32_t load = -1, store = -1;

  int64_t bytes() const { return int64_t(size_of(dtype)); }
  int64_t stride(int64_t axis) const { return std::abs(map->strides[size_t(axis)]); }
  // Bytes that are moved for an element when threads follow each other along an axis.
  int64_t cost(int64_t axis) const { return std::min(sector, stride(axis) * bytes()); }
};

// Reads and writes of which the addresses are known. Levels behind the first one hide them, and so
// does a gather.
std::vector<Access> accesses_of(const Kernel& kernel, const KernelProgram& program) {
  std::vector<Access> out;
  for (size_t i = 0; i < kernel.exprs.size(); ++i) {
    const Expr& e = kernel.exprs[i];
    if (e.kind == Expr::Kind::Load && e.map->single())
      out.push_back({&e.map->levels()[0], e.dtype, int32_t(i), -1});
  }
  for (size_t s = 0; s < kernel.stores.size(); ++s) {
    const KernelStore& store = kernel.stores[s];
    out.push_back({&store.map, program.buffers[size_t(store.buffer)].dtype, -1, int32_t(s)});
  }
  return out;
}

int lanes_of(const Access& a, int64_t axis) {
  return whole_lanes(*a.map, axis, std::min(most_lanes, access_bytes / a.bytes()));
}

DType word_of(DType dtype) {
  if (size_of(dtype) >= 4) return dtype;
  return is_signed(dtype) && !is_float(dtype) ? DType::I32 : DType::U32;
}

// The pair of axes that moves the fewest bytes; false if that is not much better than `plain`, the
// axis that threads follow without tiles.
bool choose_axes(const std::vector<Access>& accesses, const Shape& space, int64_t plain,
                 TransposePlan& plan) {
  const auto bytes_along = [&](int64_t axis) {
    int64_t bytes = 0;
    for (const Access& a : accesses) bytes += a.cost(axis);
    return bytes;
  };
  int64_t least = -1;
  for (int64_t x = 0; x < int64_t(space.size()); ++x)
    for (int64_t y = 0; y < x; ++y) {
      if (space[size_t(x)] * space[size_t(y)] < least_cells) continue;
      int64_t bytes = 0, along_x = 0, along_y = 0;  // along_: what need not be staged
      for (const Access& a : accesses) {
        bytes += std::min(a.cost(x), a.cost(y));
        if (a.cost(x) <= a.cost(y)) along_x += a.bytes();
        if (a.cost(y) <= a.cost(x)) along_y += a.bytes();
      }
      if (least >= 0 && bytes >= least) continue;
      least = bytes;
      plan.fast = along_x >= along_y ? x : y;
      plan.slow = along_x >= along_y ? y : x;
    }
  return least >= 0 && double(bytes_along(plain)) >= worth_it * double(least);
}

void choose_tile(const Shape& space, int64_t word_bytes, int64_t widest, TransposePlan& plan) {
  const int64_t fast = space[size_t(plan.fast)], slow = space[size_t(plan.slow)];
  const auto up = [](int64_t n) { return int64_t(std::bit_ceil(uint64_t(n))); };
  const bool large = numel(space) >= many_tiles * large_tile && plan.lanes == most_lanes &&
                     widest <= 4 && large_tile * word_bytes <= usual_shared;
  const int64_t cells = large ? large_tile : small_tile, side = large ? 64 : 32;
  plan.fast_tile = std::min(up(fast), side);
  plan.slow_tile = std::min(up(slow), cells / plan.fast_tile);
  plan.fast_tile = std::min(up(fast), cells / plan.slow_tile);
  plan.fast_tiles = (fast + plan.fast_tile - 1) / plan.fast_tile;
  plan.slow_tiles = (slow + plan.slow_tile - 1) / plan.slow_tile;
  plan.tiles = plan.fast_tiles * plan.slow_tiles;
  for (size_t d = 0; d < space.size(); ++d) {
    if (int64_t(d) == plan.fast || int64_t(d) == plan.slow) continue;
    plan.others.push_back(int64_t(d));
    plan.tiles *= space[d];
  }
  plan.threads = std::min(usual_threads, plan.cells() / most_lanes);
}

}  // namespace

std::optional<TransposePlan> plan_transpose(const Kernel& kernel, const KernelProgram& program) {
  if (!kernel.inner.empty() || needs_order(kernel) || numel(kernel.outer) == 0) return {};
  const Shape& space = kernel.outer;
  const std::vector<Access> accesses = accesses_of(kernel, program);
  TransposePlan plan{};
  const int64_t plain = plan_grid(kernel, program).vector_axis;
  if (plain < 0 || !choose_axes(accesses, space, plain, plan)) return {};
  int64_t word_bytes = 0, widest = 1;  // of all staged accesses; of any element
  plan.lanes = int(most_lanes);
  for (const Access& a : accesses) {
    widest = std::max(widest, a.bytes());
    if (a.cost(plan.fast) <= a.cost(plan.slow)) {
      if (a.stride(plan.fast) != 0) plan.lanes = std::min(plan.lanes, lanes_of(a, plan.fast));
      continue;
    }
    const TransposePlan::Staged staged{std::max(a.load, a.store), lanes_of(a, plan.slow),
                                       word_of(a.dtype), 0};
    (a.load >= 0 ? plan.loads : plan.stores).push_back(staged);
    word_bytes += int64_t(size_of(staged.word));
  }
  choose_tile(space, word_bytes, widest, plan);
  for (auto* list : {&plan.loads, &plan.stores})
    for (TransposePlan::Staged& staged : *list) {
      staged.shared_bytes = plan.shared_bytes;
      const int64_t bytes = plan.slow_tile * plan.line() * int64_t(size_of(staged.word));
      plan.shared_bytes += (bytes + 63) / 64 * 64;
    }
  if (plan.shared_bytes > most_shared || plan.tiles >= int64_t(1) << 31) return {};
  return plan;
}

}  // namespace cermet::compiler
