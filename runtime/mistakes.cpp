#include "runtime/mistakes.h"

#include <optional>
#include <string>

#include "runtime/devices.h"
#include "runtime/numerics.h"

namespace cermet::runtime {

namespace {

// What computing the value throws, if that is the caller's mistake.
std::optional<std::string> mistake_in(const ir::Value& value) {
  // On a GPU an expression may need elements that failed, whether it looks indices up or not.
  const bool can_fail = value->checks_indices || value->place > 0;
  if (!can_fail) return std::nullopt;
  if (const auto known = known_elements(*value); known && wait_for(*known)) return std::nullopt;
  try {
    realize_now(std::span(&value, 1), current_numerics());
  } catch (const Error& e) {
    return e.message();
  }
  return std::nullopt;
}

// Puts the cell back to what it held before a write that fails; nothing happens if what it held
// first fails as well, since then no write is to blame. Whoever fails after one that works is found
// by bisection: what follows a write mostly contains it.
void undo_mistake(Cell& cell) {
  const std::vector<ir::Value> history = cell.history();
  if (history.size() < 2 || mistake_in(history.front())) return;
  size_t works = 0, fails = history.size() - 1;
  while (fails - works > 1) {
    const size_t middle = (works + fails) / 2;
    (mistake_in(history[middle]) ? fails : works) = middle;
  }
  cell.put_back(history.back(), history[works]);
}

// A mistake without the name of the op that found it: a gather finds the same index out of range as
// the scatter that is its gradient.
std::string_view without_op(std::string_view text) {
  const size_t colon = text.find(": ");
  return colon == text.npos ? text : text.substr(colon + 2);
}

}  // namespace

void undo_mistakes(std::span<const std::shared_ptr<Cell>> cells, std::string_view reported) {
  for (const std::shared_ptr<Cell>& cell : cells) {
    if (cell->history().size() < 2) continue;
    const auto mistake = mistake_in(cell->value());
    if (mistake && (cells.size() == 1 || without_op(*mistake) == without_op(reported)))
      undo_mistake(*cell);
  }
}

}  // namespace cermet::runtime
