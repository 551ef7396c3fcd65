#pragma once
// Elementwise ops as fast numerics write them (cermet/numerics.h, set_fast_math).

#include "compiler/lower_scope.h"

namespace cermet::compiler {

// The op at this point, not yet rounded; none: as strict numerics write it.
loops::Ref fast_map(KernelWriter& w, Scope& scope, const Expr& expr);

}  // namespace cermet::compiler
