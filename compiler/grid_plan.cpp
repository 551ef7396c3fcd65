#include "compiler/grid_plan.h"

#include <algorithm>
#include <bit>

#include "compiler/lower_scope.h"
#include "compiler/stage_needs.h"

namespace cermet::compiler {
namespace {

using Kind = Expr::Kind;

constexpr int64_t warp = 32;
constexpr int64_t most_unrolled = 8;  // slots in registers
constexpr int64_t most_team = 1024;   // a block
constexpr int64_t most_scan_team = 256;
constexpr int64_t least_columns = 8;    // side by side, to scan them one thread each
constexpr int64_t usual_threads = 256;  // of a block
constexpr int64_t least_threads = 64;   // fewer do not fill a multiprocessor with their blocks
constexpr int64_t wanted_blocks = 264;  // two for each multiprocessor of an H100
constexpr int64_t wanted_threads = wanted_blocks * usual_threads;
constexpr int64_t resident_blocks = 132 * 16;  // beyond that blocks take several units
constexpr int64_t most_lanes = 8;
constexpr int64_t most_register_bytes = 64;  // of one vector
constexpr int64_t access_bytes = 16;         // the widest
constexpr int64_t block_registers = 65536;   // of a multiprocessor
constexpr int64_t most_registers = 255;      // of a thread
constexpr int64_t other_registers = 16;      // addresses, indices, what ops need inside

// Of a thread that goes through its row in a loop.
int64_t looped_registers(const RegisterNeed& need, const GridPlan& plan, int64_t lanes) {
  const bool wide_rows = plan.along_outer();  // or a map, whose rows count as elements
  return other_registers + lanes * need.element + (plan.scans ? 1 : lanes) * need.sums +
         (wide_rows ? lanes : 1) * need.rows;
}

// What fits 16 bytes in the narrowest type that is read or written along the vector axis, and in
// registers; and divides the axis.
int choose_lanes(const Kernel& kernel, const KernelProgram& program, const RegisterNeed& need,
                 const GridPlan& plan) {
  const auto axis = size_t(plan.vector_axis);
  size_t narrowest = 16, widest = 1;
  const auto count = [&](const ir::StridedMap& map, int32_t buffer) {
    if (axis < map.strides.size() && map.strides[axis] == 1)
      narrowest = std::min(narrowest, size_of(program.buffers[size_t(buffer)].dtype));
  };
  for (const Expr& e : kernel.exprs) {
    if (e.buffer >= 0) count(e.map->levels()[0], e.buffer);
    widest = std::max(widest, size_of(held(e.dtype)));
  }
  for (const KernelStore& s : kernel.stores) count(s.map, s.buffer);
  int64_t lanes = std::min(
      {access_bytes / int64_t(narrowest), most_lanes, most_register_bytes / int64_t(widest)});
  while (lanes > 1 && (plan.space[axis] % lanes != 0 ||
                       looped_registers(need, plan, lanes) > most_registers / 2))
    lanes /= 2;
  return int(std::max<int64_t>(1, lanes));
}

void choose_vector_axis(const Kernel& kernel, const KernelProgram& program,
                        const RegisterNeed& need, GridPlan& plan) {
  const std::vector<double> bytes = contiguous_bytes(kernel, program, false);
  const size_t axes = scatters(kernel) ? kernel.outer.size() : plan.space.size();
  const bool scans = needs_order(kernel) && !scatters(kernel);
  for (size_t d = 0; d < axes; ++d) {
    if (plan.space[d] == 1) continue;
    const auto weight = [&](size_t axis) {  // a short axis leaves a warp with little to share
      if (scans && axis < kernel.outer.size() && plan.space[axis] < least_columns) return 0.0;
      return bytes[axis] * std::min(1.0, double(plan.space[axis]) / double(warp));
    };
    if (plan.vector_axis < 0 || weight(d) >= weight(size_t(plan.vector_axis)))
      plan.vector_axis = int64_t(d);
  }
  plan.scans = scans && plan.along_inner();
  if (plan.vector_axis >= 0) plan.lanes = choose_lanes(kernel, program, need, plan);
}

// A row's threads: enough that nobody has more than a few slots, and that there are threads for the
// whole GPU even if there are few rows.
void choose_team(const Kernel& kernel, const RegisterNeed& need, GridPlan& plan) {
  if (kernel.inner.empty() || (needs_order(kernel) && !plan.scans)) return;
  if (plan.along_outer()) {
    // Of the threads of a warp, at least 8 read neighbours.
    while (plan.team < 32 && plan.slots >= 8 * plan.team && plan.rows * plan.team < wanted_threads)
      plan.team *= 2;
    return;
  }
  plan.team = std::min(warp, int64_t(std::bit_ceil(uint64_t(std::max<int64_t>(1, plan.slots)))));
  const bool many_rows = plan.rows * plan.team >= wanted_threads;
  if (plan.scans) {  // a step of more than a warp costs barriers
    while (plan.team >= warp && plan.team < most_scan_team &&
           (plan.slots > 16 * plan.team ||
            (plan.rows * plan.team < wanted_threads && plan.slots > plan.team)))
      plan.team *= 2;
    return;
  }
  // Larger blocks leave fewer registers to a thread.
  int64_t most = most_team;
  while (most * looped_registers(need, plan, plan.lanes) > block_registers) most /= 2;
  while (plan.team >= warp && plan.team < most &&
         (plan.slots > plan.team * most_unrolled ||
          (!many_rows && plan.rows * plan.team < wanted_threads && plan.slots > plan.team * 2)))
    plan.team *= 2;
}

void choose_block(const Kernel& kernel, const RegisterNeed& need, GridPlan& plan) {
  plan.threads = std::max(usual_threads, plan.team);
  while (plan.threads > std::max(plan.team, least_threads) &&
         plan.rows * plan.team < wanted_blocks * plan.threads)
    plan.threads /= 2;
  const int64_t per_thread = (plan.slots + plan.team - 1) / plan.team;
  const bool several = plan.stages > 1 && !kernel.inner.empty();
  const int64_t registers =
      looped_registers(need, plan, plan.lanes) + per_thread * plan.lanes * need.kept;
  if (several && per_thread <= most_unrolled && !needs_order(kernel) &&
      registers <= std::min(most_registers, block_registers / plan.threads))
    plan.unrolled = per_thread;
  if (kernel.inner.empty() && cycles_of(kernel) <= 40 &&
      plan.rows >= 2 * wanted_blocks * plan.threads)
    plan.copies = 2;
  const int64_t unit_rows = plan.teams() * plan.copies;
  plan.units = (plan.rows + unit_rows - 1) / unit_rows;
  plan.per_block = std::max<int64_t>(1, (plan.units + resident_blocks - 1) / resident_blocks);
  plan.blocks = (plan.units + plan.per_block - 1) / plan.per_block;
}

}  // namespace

GridPlan plan_grid(const Kernel& kernel, const KernelProgram& program) {
  GridPlan plan;
  static_cast<RowStages&>(plan) = row_stages(kernel);
  plan.outer = int64_t(kernel.outer.size());
  plan.space = kernel.outer;
  for (int64_t extent : kernel.inner) plan.space.push_back(extent);
  const RegisterNeed need = register_need(kernel, plan, stage_needs(kernel, plan));
  choose_vector_axis(kernel, program, need, plan);
  const auto order = [&](int64_t first, int64_t last, std::vector<int64_t>& axes) {
    for (int64_t d = first; d < last; ++d)
      if (d != plan.vector_axis) axes.push_back(d);
    if (plan.vector_axis >= first && plan.vector_axis < last) axes.push_back(plan.vector_axis);
  };
  order(0, plan.outer, plan.row_axes);
  order(plan.outer, int64_t(plan.space.size()), plan.slot_axes);
  for (int64_t axis : plan.row_axes) plan.rows *= plan.steps(axis);
  for (int64_t axis : plan.slot_axes) plan.slots *= plan.steps(axis);
  choose_team(kernel, need, plan);
  choose_block(kernel, need, plan);
  return plan;
}

}  // namespace cermet::compiler
