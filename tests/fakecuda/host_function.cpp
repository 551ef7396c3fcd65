// A host function runs in the thread that waits for it, under the driver's lock: it must not wait
// for another thread that calls the driver.

#include "fakecuda/host_function.h"

namespace cermet::fakecuda {
namespace {
thread_local bool inside = false;
}

bool in_host_function() { return inside; }

void call_host_function(CUhostFn function, void* data) {
  inside = true;
  function(data);
  inside = false;
}

}  // namespace cermet::fakecuda
