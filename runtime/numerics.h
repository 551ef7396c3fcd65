#pragma once
// The numerics that the tensor functions compute with: what cermet/numerics.h was told last.

#include "compiler/target.h"

namespace cermet::runtime {

compiler::Numerics current_numerics();

}  // namespace cermet::runtime
