#pragma once
// Cells that were changed in place and not computed since.
//
// A training loop realizes its loss and updates its weights in place. If nobody asks for the
// weights, their expression would contain every step so far. So a realize carries out the in-place
// updates that share a computation (or borrowed memory) with it: their cells become roots of the
// same program. Two cells that share a computation with each other go together, so that what an
// update reads (a moment, a count of steps) does not lag behind.
//
// The list holds its cells weakly: an update of a tensor that nobody has any more is not computed.
// It may be used by several threads; a cell's lock may be held while it is called, never the other
// way round.

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "ir/node.h"

namespace cermet::runtime {

class Cell;

class PendingUpdates {
 public:
  // A ticket, guarded by its cell's lock, says under which number the cell is listed; 0: it is not.
  void add(uint64_t& ticket, std::weak_ptr<Cell> cell);
  void remove(uint64_t& ticket);

  struct Update {
    std::shared_ptr<Cell> cell;
    ir::Value value;  // what the cell was assigned
  };
  // The updates that share a computation with these roots, directly or through others, in the order
  // in which they were listed. Cells whose value is a root are left out.
  std::vector<Update> sharing_with(std::span<const ir::Value> roots);

 private:
  std::vector<Update> listed() const;

  std::atomic<bool> empty_ = true;  // as cells_ is
  mutable std::mutex mutex_;        // guards what follows
  std::map<uint64_t, std::weak_ptr<Cell>> cells_;
  uint64_t last_ticket_ = 0;
  int64_t debt_ = 0;
};

// The list of all cells.
PendingUpdates& pending_updates();

}  // namespace cermet::runtime
