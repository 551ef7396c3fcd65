#pragma once
// Writes that turn out to be the caller's mistake when they are computed, taken back.

#include <memory>
#include <span>
#include <string_view>

#include "runtime/tensor_state.h"

namespace cermet::runtime {

// Undoes the writes that `reported`, the message of an error, was thrown for, in cells that were to
// be computed. Of several cells, one that fails in another way keeps its value, so that its own
// mistake is still reported.
void undo_mistakes(std::span<const std::shared_ptr<Cell>> cells, std::string_view reported);

}  // namespace cermet::runtime
