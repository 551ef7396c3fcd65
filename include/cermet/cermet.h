#pragma once
// Everything of Cermet.

#include "cermet/device.h"    // IWYU pragma: export
#include "cermet/dtype.h"     // IWYU pragma: export
#include "cermet/error.h"     // IWYU pragma: export
#include "cermet/explain.h"   // IWYU pragma: export
#include "cermet/grad.h"      // IWYU pragma: export
#include "cermet/jit.h"       // IWYU pragma: export
#include "cermet/memory.h"    // IWYU pragma: export
#include "cermet/npy.h"       // IWYU pragma: export
#include "cermet/numerics.h"  // IWYU pragma: export
#include "cermet/ops.h"       // IWYU pragma: export
#include "cermet/random.h"    // IWYU pragma: export
#include "cermet/shape.h"     // IWYU pragma: export
#include "cermet/tensor.h"    // IWYU pragma: export
#include "cermet/threads.h"   // IWYU pragma: export
