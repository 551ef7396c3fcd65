// Which lowering a kernel takes.

#include "compiler/lower_contract.h"
#include "compiler/lower_grid.h"
#include "compiler/lower_rows.h"
#include "compiler/program.h"

namespace cermet::compiler {

LoweredKernel lower(const Kernel& kernel, const KernelProgram& program, const Target& target) {
  if (target.compute > 0) return lower_grid(kernel, program, target);
  for (const Expr& e : kernel.exprs)
    if (e.kind == Expr::Kind::Contract && worth_blocking(kernel))
      return lower_contract(kernel, program, target);
  return lower_rows(kernel, program, target);
}

}  // namespace cermet::compiler
