#pragma once
// Host functions that streams call, and who may not call the driver meanwhile.

#include "fakecuda/abi.h"

namespace cermet::fakecuda {

// Whether this thread is inside a host function of a stream, which may not call the driver.
bool in_host_function();

void call_host_function(CUhostFn function, void* data);

}  // namespace cermet::fakecuda
