#pragma once
// Barriers of a block, as the scheduler sees them.

#include "ptxsim/machine.h"

namespace cermet::ptxsim {

// Reports why the warps of a block that all wait will wait for ever; throws Abort.
[[noreturn]] void report_stuck(Block& block);

}  // namespace cermet::ptxsim
