#pragma once
// Runs on GPUs whose outcome is not known yet (runtime/gpu_outcome.h).
//
// A realize on a GPU does not wait for it, and goes on as if no index were out of range: its cells
// have their elements from then on. If one was, that is undone, and done once more the slow way,
// which is what the CPU does at once: what can be computed without the mistake is computed; cells
// that cannot be computed are again what they were before the realize, in-place operations that
// made the mistake are taken back, and the error is thrown, with the place of the realize, by the
// next call of the same thread that computes or reads something. Elements that others recorded
// something of meanwhile, and that cannot be computed, have failed: whoever needs them gets the
// same error.
//
// Until then a run keeps the expressions that it computed, and with them what was there before.

#include <memory>
#include <vector>

#include "cermet/error.h"
#include "compiler/target.h"
#include "runtime/device_storage.h"

namespace cermet::runtime {

class Cell;

// Elements that were given to a cell.
struct OpenResult {
  std::weak_ptr<Cell> cell;
  ir::Value value;  // what was computed
  std::shared_ptr<const ir::Storage> elements;
  bool asked = true;                 // and not just an update that was carried out as well
  compiler::Numerics numerics = {};  // that it was computed with
};

// Keeps those of the results whose outcome is not known. `where` is the user's call.
void add_open_runs(std::span<const OpenResult> results, const SourceLocation& where);

enum class Settle { Finished, All };
// Deals with the runs that are known to be finished; or waits for all first, of the GPU of this
// place (see runtime/devices.h), or of every one. Throws Error for a mistake in what this thread
// realized that was not thrown yet; DeviceError where the driver refuses.
void settle_runs(Settle which, int place = -1);

// Whether there are any: expressions may depend on elements that turn out to have failed.
bool runs_are_open();

}  // namespace cermet::runtime
