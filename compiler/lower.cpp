// Which lowering a kernel takes.

#include "compiler/lower_contract.h"
#include "compiler/lower_grid.h"
#include "compiler/lower_rows.h"
#include "compiler/lower_scatter.h"
#include "compiler/lower_thin.h"
#include "compiler/lower_tiles.h"
#include "compiler/lower_transpose.h"
#include "compiler/program.h"
#include "compiler/thin_plan.h"
#include "compiler/tile_plan.h"

namespace cermet::compiler {

LoweredKernel lower(const Kernel& kernel, const KernelProgram& program, const Target& target) {
  const bool gpu = target.compute > 0;
  if (contracts(kernel)) {
    if (gpu && worth_tiling(kernel)) return lower_tiles(kernel, program, target);
    if (gpu && is_thin(kernel)) return lower_thin(kernel, program, target);
    if (!gpu && worth_blocking(kernel)) return lower_contract(kernel, program, target);
  }
  if (!gpu) return lower_rows(kernel, program, target);
  if (is_sorted_scatter(kernel)) return lower_scatter(kernel, program, target);
  if (const auto plan = plan_transpose(kernel, program))
    return lower_transpose(kernel, program, target, *plan);
  return lower_grid(kernel, program, target);
}

}  // namespace cermet::compiler
