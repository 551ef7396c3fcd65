// Realizing tensors: which cells are computed, as one program, and what happens to them then.

#include <algorithm>
#include <unordered_set>

#include "runtime/devices.h"
#include "runtime/mistakes.h"
#include "runtime/numerics.h"
#include "runtime/open_runs.h"
#include "runtime/pending_updates.h"
#include "runtime/tensor_state.h"

namespace cermet::runtime {
namespace {

// What is to be computed of some cells, and for whom.
class Work {
 public:
  explicit Work(const SourceLocation& where) : where_(where) {}

  void add(const std::shared_ptr<Cell>& cell, const ir::Value& value, bool asked) {
    auto known = known_elements(*value);
    if (known && !(cell->has_home() && outcome_of(*known))) {
      give({cell, value, std::move(known), asked, numerics_});
      return;
    }
    cells_.push_back(cell);
    roots_.push_back(value);
    if (asked) asked_ = roots_.size();
  }
  std::span<const std::shared_ptr<Cell>> cells() const { return cells_; }
  std::span<const std::shared_ptr<Cell>> updates() const { return cells().subspan(asked_); }
  std::span<const ir::Value> asked() const {
    return std::span<const ir::Value>(roots_).first(asked_);
  }

  void run_all() const { run(roots_); }
  void run_asked() const { run(asked()); }

 private:
  // Open runs keep memory: where there is none left they are waited for.
  std::vector<std::shared_ptr<const ir::Storage>> results_of(
      std::span<const ir::Value> roots) const {
    try {
      return realize_values(roots, numerics_);
    } catch (const DeviceError&) {
      if (!runs_are_open()) throw;
    }
    settle_runs(Settle::All);
    return realize_values(roots, numerics_);
  }
  void run(std::span<const ir::Value> roots) const {
    const auto results = results_of(roots);
    for (size_t i = 0; i < roots.size(); ++i) require_fit_for_home(*cells_[i], *results[i]);
    std::vector<OpenResult> given;
    for (size_t i = 0; i < roots.size(); ++i)
      if (results[i]->place() > 0)
        given.push_back({cells_[i], roots[i], results[i], i < asked_, numerics_});
    for (size_t i = 0; i < roots.size(); ++i) cells_[i]->computed(roots[i], results[i]);
    add_open_runs(given, where_);
  }
  // What the outside sees cannot be taken back: there it must be known that the elements are right.
  static void require_fit_for_home(const Cell& cell, const ir::Storage& elements) {
    if (const auto outcome = cell.has_home() ? outcome_of(elements) : nullptr) {
      outcome->wait();
      outcome->check();
    }
  }
  void give(const OpenResult& result) const {
    result.cell.lock()->computed(result.value, result.elements);
    add_open_runs(std::span(&result, 1), where_);
  }

  const SourceLocation where_;
  const compiler::Numerics numerics_ = current_numerics();
  SmallVector<std::shared_ptr<Cell>, 4> cells_;
  SmallVector<ir::Value, 4> roots_;  // of each cell
  size_t asked_ = 0;                 // those that were asked for come first
};

}  // namespace

void realize_states(std::span<const std::shared_ptr<TensorState>> states,
                    const SourceLocation& where) {
  refuse_while_recording();
  settle_runs(Settle::Finished);
  Work work(where);
  std::unordered_set<const Cell*> seen;
  for (const auto& state : states) {
    const std::shared_ptr<Cell>& cell = state->cell();
    if (states.size() > 1 && !seen.insert(cell.get()).second) continue;
    if (!cell->has_elements()) work.add(cell, cell->value(), true);
  }
  if (work.asked().empty()) return;

  for (const auto& [cell, value] : pending_updates().sharing_with(work.asked()))
    work.add(cell, value, false);
  if (!work.updates().empty()) {
    try {
      return work.run_all();
    } catch (const Error&) {  // perhaps of an update that nobody asked for: without them, then
    } catch (const DeviceError&) {
    }
  }
  try {
    work.run_asked();
  } catch (const Error& e) {
    undo_mistakes(work.cells(), e.message());
    throw;
  }
  for (const auto& cell : work.updates()) cell->withhold();
}

std::vector<ir::Value> pending_values(std::span<const std::shared_ptr<TensorState>> states) {
  std::vector<ir::Value> roots;
  std::unordered_set<const Cell*> seen;
  for (const auto& state : states) {
    if (!seen.insert(state->cell().get()).second || state->cell()->elements()) continue;
    ir::Value value = state->cell()->value();
    if (!known_elements(*value)) roots.push_back(std::move(value));
  }
  if (roots.empty()) return roots;
  for (auto& [cell, value] : pending_updates().sharing_with(roots))
    if (!known_elements(*value)) roots.push_back(std::move(value));
  return roots;
}

std::shared_ptr<const ir::Storage> sound_elements(const Tensor& tensor,
                                                  const SourceLocation& where) {
  const std::shared_ptr<Cell> cell = tensor.state(where)->cell();
  while (true) {
    tensor.realize(where);
    auto elements = cell->elements();
    if (!elements) continue;  // another thread wrote to the cell, or found them to be wrong
    if (!outcome_of(*elements)) return elements;
    settle_runs(Settle::All, elements->place());
    if (!elements->failed()) return elements;
  }
}

}  // namespace cermet::runtime
