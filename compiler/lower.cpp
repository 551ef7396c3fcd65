// Which lowering a kernel takes.

#include <functional>

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

namespace {

struct Lowering {
  std::string_view text;
  std::function<LoweredKernel()> lower;
};

Lowering lowering_of(const Kernel& kernel, const KernelProgram& program, const Target& target) {
  const auto by = [&](std::string_view text, auto lower) {
    return Lowering{text, [&, lower] { return lower(kernel, program, target); }};
  };
  const bool gpu = target.compute > 0;
  if (contracts(kernel)) {
    if (gpu && worth_tiling(kernel)) return by("a product in tiles", lower_tiles);
    if (gpu && is_thin(kernel))
      return by("a thin product, whose large operand is read once", lower_thin);
    if (!gpu && worth_blocking(kernel)) return by("a product in register tiles", lower_contract);
  }
  if (!gpu) return by("by rows", lower_rows);
  if (is_sorted_scatter(kernel)) return by("a scatter of sorted updates", lower_scatter);
  if (const auto plan = plan_transpose(kernel, program))
    return {"a transpose through shared memory: it reads along one axis and writes along another",
            [&, plan] { return lower_transpose(kernel, program, target, *plan); }};
  return by("threads take elements in order of memory, or rows together", lower_grid);
}

}  // namespace

LoweredKernel lower(const Kernel& kernel, const KernelProgram& program, const Target& target) {
  return lowering_of(kernel, program, target).lower();
}

std::string_view how_lowered(const Kernel& kernel, const KernelProgram& program,
                             const Target& target) {
  return lowering_of(kernel, program, target).text;
}

}  // namespace cermet::compiler
