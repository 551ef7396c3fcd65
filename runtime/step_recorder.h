#pragma once
// Recording a function of tensors that is to be run again with other elements
// (include/cermet/jit.h).
//
// While a StepRecorder is active on a thread, tensors from outside show that thread placeholders:
// Data nodes whose storage has no elements. What the function writes to them stays in the recorder,
// so that the world, other threads included, sees nothing of a recording. Cells that are made
// meanwhile belong to it and work as always. What would compute something throws.

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "cermet/random.h"
#include "ir/node.h"

namespace cermet::runtime {

class Cell;
class Gradient;

class StepRecorder {
 public:
  StepRecorder();
  StepRecorder(const StepRecorder&) = delete;
  StepRecorder& operator=(const StepRecorder&) = delete;

  // This thread's, or null.
  static StepRecorder* active() { return active_; }
  // Its number, other than 0; 0 if there is none.
  static uint64_t active_number() { return active_ ? active_->number_ : 0; }

  // Makes a recorder the active one as long as it lives.
  class Scope {
   public:
    explicit Scope(StepRecorder& recorder) : before_(std::exchange(active_, &recorder)) {}
    ~Scope() { active_ = before_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    StepRecorder* before_;
  };

  // A stand-in for elements that exist when the program runs.
  static ir::Value placeholder(DType dtype, const Shape& shape, int place);
  // A stand-in for an expression of constants, which has no place, that is to be computed at one.
  static ir::Value placed(const ir::Value& value, int place);
  // The values with these expressions again where placed() put stand-ins.
  static std::vector<ir::Value> without_placed(std::span<const ir::Value> values);

  // The expression of a cell from outside, as the function sees it. Throws Error if gradients flow
  // to it.
  ir::Value read(const std::shared_ptr<Cell>& cell);
  void assign(const std::shared_ptr<Cell>& cell, ir::Value value);
  // Stands for a key of the default generator.
  Key hand_key();
  // A gradient that is about to change; it is put back when the recording ends.
  void remember(const std::shared_ptr<Gradient>& gradient, const Tensor& before);
  // Puts all gradients back; returns whether one had changed for good.
  bool restore_gradients();

  struct Captured {
    std::shared_ptr<Cell> cell;
    ir::Value placeholder, value;
  };
  std::span<const Captured> captured() const { return captured_; }
  std::span<const Key> keys() const { return keys_; }

 private:
  Captured& capture(const std::shared_ptr<Cell>& cell);

  static inline constinit thread_local StepRecorder* active_ = nullptr;
  const uint64_t number_;
  std::vector<Captured> captured_;
  std::unordered_map<const Cell*, size_t> position_;  // in captured_
  std::vector<Key> keys_;
  std::vector<std::pair<std::weak_ptr<Gradient>, Tensor>> gradients_;
};

// Throws Error if this thread records: there are no elements.
void refuse_while_recording();
// The same, for elements that are needed on another device. Those that are known as they are
// recorded, `known`, may go.
void refuse_move_while_recording(const ir::Value& value, const ir::Storage* known, int place);

}  // namespace cermet::runtime
