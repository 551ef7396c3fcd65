#pragma once
// What a Tensor is: a view of a cell.
//
// A Cell is what tensors that share memory share: the expression of all elements of the memory,
// row-major. In-place operations are functional underneath: they give the cell a new expression,
// and every view of the cell reads that one from then on. Realizing computes whole cells; a cell
// without gradient history then starts anew from its buffer, so that memory and expressions that
// are no longer needed go away.
//
// Until then the cell remembers what it held before those writes that can fail when they are
// computed (an index out of range). The realize that finds the mistake throws, and the cell is put
// back to what it held before the write that made it. On a GPU elements are there before it is
// known that they are right (runtime/open_runs.h), and the cell remembers until it is.
//
// A cell may have a home: memory that the outside can see, because it was borrowed or because
// data() gave a pointer to it out. Realizing such a cell writes the elements there. Pending
// expressions that still want the old elements get a copy first.
//
// A program may write over the elements of a cell (runtime/jit.cpp). Meanwhile the cell is held,
// and whoever asks it for something waits. A cell whose elements were given away, or lost in such a
// program, has none: reading it is an Error that says so.
//
// A leaf that requires grad has a Variable. Reading it gives a Leaf node around the cell's
// expression, so that each use of the tensor in a graph can be found again; its gradient is kept
// beside the Variable.

#include <atomic>
#include <mutex>
#include <span>

#include "cermet/tensor.h"
#include "ir/build.h"
#include "ir/spin_lock.h"
#include "runtime/step_recorder.h"
#include "runtime/storage.h"

namespace cermet::runtime {

// The gradient of a leaf. The leaf's tensors keep it, not the nodes: what it is computed from
// contains the leaf's nodes, and would never be let go of.
class Gradient : public std::enable_shared_from_this<Gradient> {
 public:
  Tensor get() const;
  void set(Tensor gradient);
  void add(const ir::Value& more);
  // As set(), without telling a recorder. Returns whether another tensor was there.
  bool replace(Tensor gradient);

 private:
  mutable std::mutex mutex_;
  Tensor gradient_;
};

class GradVariable : public ir::Variable {
 public:
  explicit GradVariable(const std::shared_ptr<Gradient>& gradient) : gradient_(gradient) {}
  // Null when the last tensor of the leaf is gone, and nobody could read the gradient.
  std::shared_ptr<Gradient> gradient() const { return gradient_.lock(); }

 private:
  const std::weak_ptr<Gradient> gradient_;
};

class Cell {
 public:
  explicit Cell(ir::Value value) : value_(std::move(value)) {}
  // A cell whose elements are known.
  Cell(std::shared_ptr<const ir::Storage> elements, DType dtype, const Shape& shape)
      : elements_(std::move(elements)), dtype_(dtype), shape_(shape) {}
  // A cell whose elements live in memory of the outside.
  Cell(std::shared_ptr<const ir::Storage> home, DType dtype, int64_t elements);
  ~Cell();
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;

  // Throws Error if the cell has none any more.
  ir::Value value() const;
  // The same, or empty.
  ir::Value value_if_any() const;
  // A write: lists the cell, which `self` is, among the pending updates.
  void assign(ir::Value value, const std::weak_ptr<Cell>& self);
  // Lists the cell, which `self` is, among the pending updates: its value took the place of another
  // one.
  void list(const std::weak_ptr<Cell>& self);
  // Takes it off that list until the next write.
  void withhold();
  // What the cell held since it was computed, oldest first, as far as what follows can fail; the
  // last is value().
  std::vector<ir::Value> history() const;
  // Undoes the writes after `value`, which is of the history, if nothing was written since `now`.
  void put_back(const ir::Value& now, const ir::Value& value);

  // Whether the active recorder, if there is one, shows a placeholder for this cell.
  bool stands_outside() const {
    const uint64_t recording = StepRecorder::active_number();
    return recording != 0 && recording != made_in_;
  }

  std::atomic<bool> consumed = false;  // see TensorState
  // The elements, if they were computed since the last assign().
  std::shared_ptr<const ir::Storage> elements() const;
  bool has_elements() const;
  // The elements of `value` were computed; nothing happens if the cell has another value by now.
  void computed(const ir::Value& value, std::shared_ptr<const ir::Storage> elements);
  // Of elements that were computed when their outcome was not known: they are right; they are not,
  // and the cell, which `self` is, is what it was before, unless it was written to since.
  void settled(const ir::Storage& elements);
  void failed(const ir::Storage& elements, const std::weak_ptr<Cell>& self);
  // The memory of the elements, which exist and are right. From now on the outside may write to it.
  void* give_out();
  bool has_home() const;

  // Holds the cell, if its elements are the library's own memory and nobody can reach them but
  // through it and through `value`, which shows them and which the caller has one reference to.
  bool hold(const ir::Value& value);
  // What ends that: the cell is as it was; it has these elements; its elements are lost, and what
  // reads them throws `why`.
  using Reason = std::unique_ptr<const std::string>;
  void let_go() noexcept;
  void let_go(std::shared_ptr<const ir::Storage> elements) noexcept;
  void lose(Reason why) noexcept;
  // As lose(), for a cell that is not held; nothing happens if it has another value by now.
  void lose(const ir::Node& value, Reason why);

 private:
  struct Open {
    const ir::Storage* elements;
    bool replaced;  // a Data node of them took the place of what was computed, the last of before_
  };
  std::optional<Open> close(const ir::Storage& elements);
  void write_home(const ir::Storage& elements);
  const ir::Value& shown() const;
  // The lock, once nobody holds the cell.
  std::unique_lock<ir::SpinLock> guard() const;
  void end_hold();
  ir::Value forget(Reason why);

  const uint64_t made_in_ = StepRecorder::active_number();
  mutable ir::SpinLock lock_;  // guards what follows
  // Empty: a Data node of the elements, which is made when somebody asks for it; most cells are
  // gone before.
  mutable ir::Value value_;
  std::shared_ptr<const ir::Storage> elements_;  // of value_
  DType dtype_ = DType::F32;                     // of the elements, while value_ is empty
  Shape shape_;
  ir::Value home_;                 // a Data node of the home, or empty
  std::vector<ir::Value> before_;  // history() without value_
  std::vector<Open> open_;         // what the cell has or had, outcome not known
  uint64_t ticket_ = 0;            // of pending_updates()
  Reason lost_;                    // why there are no elements
  std::atomic<bool> held_ = false;
};

class TensorState {
 public:
  // A tensor of its own.
  explicit TensorState(ir::Value value);
  explicit TensorState(std::shared_ptr<Cell> cell);                          // all of its elements
  TensorState(std::shared_ptr<Cell> cell, DType dtype, const Shape& shape);  // as the cell's
  // What `map` shows of a cell; one strided level, nothing masked.
  TensorState(std::shared_ptr<Cell> cell, ir::ViewMap map, DType dtype, bool detached);

  ~TensorState() { delete view_.load(std::memory_order_relaxed); }
  TensorState(const TensorState&) = delete;
  TensorState& operator=(const TensorState&) = delete;

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  const ir::ViewMap& view() const {
    const ir::ViewMap* view = view_.load(std::memory_order_acquire);
    return view ? *view : make_view();
  }
  const std::shared_ptr<Cell>& cell() const { return cell_; }
  bool detached() const { return detached_; }

  // The expression of the elements as of now; a leaf's is its Leaf node.
  ir::Value value() const;
  // Whether each element is shown once, so that all of them can be assigned.
  bool writable() const;
  // Gives the elements that this tensor, which is writable(), shows new values, for everyone who
  // shares them. If that is not `recorded` (in a no_grad, through a detached tensor), gradients
  // flow as if it had not happened.
  void assign(const ir::Value& elements, bool recorded);

  const std::shared_ptr<GradVariable>& variable() const { return variable_; }
  const std::shared_ptr<Gradient>& gradient() const { return gradient_; }
  void make_leaf();
  void make_constant() { variable_ = nullptr, gradient_ = nullptr; }
  bool requires_grad() const;

  // A view of a leaf: its expression is a view of the leaf's node, which is not in the cell.
  void set_leaf(std::shared_ptr<TensorState> leaf, ir::ViewMap view) {
    leaf_ = std::move(leaf), leaf_view_ = std::make_unique<const ir::ViewMap>(std::move(view));
  }
  const std::shared_ptr<TensorState>& leaf() const { return leaf_; }
  const std::unique_ptr<const ir::ViewMap>& leaf_view() const { return leaf_view_; }

  // Whether backward() went through here without retain_graph. The views of all elements of a cell
  // have it in common.
  std::atomic<bool>& consumed() { return whole() ? cell_->consumed : consumed_; }

 private:
  // Of all elements of the cell, as this thread sees them.
  ir::Value cell_value() const {
    return cell_->stands_outside() ? StepRecorder::active()->read(cell_) : cell_->value();
  }
  bool whole() const { return numel(shape_) == cell_->value()->numel(); }
  const ir::ViewMap& make_view() const;

  std::shared_ptr<Cell> cell_;
  Shape shape_;
  // Null: all elements of the cell in their order and shape; made by the first who asks.
  mutable std::atomic<const ir::ViewMap*> view_ = nullptr;
  DType dtype_;
  std::atomic<bool> consumed_ = false;
  bool detached_ = false;                   // shares the elements, but not their gradient
  std::shared_ptr<GradVariable> variable_;  // of a leaf that requires grad, as is
  std::shared_ptr<Gradient> gradient_;
  std::shared_ptr<TensorState> leaf_;
  std::unique_ptr<const ir::ViewMap> leaf_view_;
};

Tensor make_tensor(ir::Value value);
// The tensor of elements that were computed.
Tensor make_tensor(std::shared_ptr<const ir::Storage> elements, DType dtype, const Shape& shape);

// What gradients see of a cell's value: it, without the writes that were not recorded.
ir::Value as_recorded(ir::Value value);

// Whether operations of this thread record gradients (see NoGrad).
bool& grad_mode();

// Makes the elements of all cells exist, as one program, and those of pending in-place updates that
// share a computation with them. `where` is the user's call.
void realize_states(std::span<const std::shared_ptr<TensorState>> states,
                    const SourceLocation& where);
// What realize_states would compute.
std::vector<ir::Value> pending_values(std::span<const std::shared_ptr<TensorState>> states);
// The elements of a tensor's cell, which it realizes; on a GPU, waits until they are known to be
// right. Throws Error if they are not.
std::shared_ptr<const ir::Storage> sound_elements(const Tensor& tensor,
                                                  const SourceLocation& where);

// Runs f; an Error that does not say where it happened gets the user's place.
template <class F>
decltype(auto) located(const SourceLocation& where, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    if (e.has_location()) throw;
    throw Error(e.what(), where);
  }
}

// The message of an error with `op` in place of the op that it begins with, if it begins with one.
std::string renamed(std::string_view op, std::string_view message);

// Runs f, the body of the public function `op`: an Error names the function that the user called
// and the place of that call, whatever the function is composed of. Not for what calls back into
// the user's code, nor for errors of computing elements.
template <class F>
decltype(auto) called(std::string_view op, const SourceLocation& where, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    throw Error(renamed(op, e.message()), where);
  }
}

}  // namespace cermet::runtime
