#include "runtime/step_recorder.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "ir/build.h"
#include "ir/graph.h"
#include "runtime/devices.h"
#include "runtime/tensor_state.h"

namespace cermet::runtime {
namespace {

uint64_t next_number() {
  static std::atomic<uint64_t> last = 0;
  return ++last;
}

class Placeholder : public ir::Storage {
 public:
  explicit Placeholder(int place, ir::Value value = {}) : place_(place), value_(std::move(value)) {}
  // What it stands for, if that is an expression.
  const ir::Value& value() const { return value_; }
  const void* host_data() const override {
    throw Error(
        "jit: the tensor stands for one inside of a recorded step, and has no elements outside of "
        "it; return it from the function");
  }
  int place() const override { return place_; }

 private:
  int place_;
  ir::Value value_;
};

}  // namespace

StepRecorder::StepRecorder() : number_(next_number()) {}

ir::Value StepRecorder::placeholder(DType dtype, const Shape& shape, int place) {
  // A number of the CPU goes wherever it is needed, when the program runs.
  if (place == 0 && shape.empty()) place = -1;
  return ir::data(std::make_shared<const Placeholder>(place), dtype, shape);
}

ir::Value StepRecorder::placed(const ir::Value& value, int place) {
  return ir::data(std::make_shared<const Placeholder>(place, value), value->dtype, value->shape);
}

std::vector<ir::Value> StepRecorder::without_placed(std::span<const ir::Value> values) {
  return ir::rewrite(values, [](const ir::Node& node, std::span<const ir::Value>) {
    const auto* stand_in =
        node.op == ir::Op::Data
            ? dynamic_cast<const Placeholder*>(node.as<ir::DataAttr>().storage.get())
            : nullptr;
    return stand_in ? stand_in->value() : ir::Value();
  });
}

StepRecorder::Captured& StepRecorder::capture(const std::shared_ptr<Cell>& cell) {
  const auto [at, fresh] = position_.emplace(cell.get(), captured_.size());
  if (fresh) {
    const ir::Value now = cell->value();
    if (now->requires_grad)
      throw Error(
          "jit: a tensor with gradient history cannot be captured; use detach(), or compute it "
          "inside of the function");
    const ir::Value stand_in = placeholder(now->dtype, now->shape, now->place);
    captured_.push_back({cell, stand_in, stand_in});
  }
  return captured_[at->second];
}

ir::Value StepRecorder::read(const std::shared_ptr<Cell>& cell) { return capture(cell).value; }

void StepRecorder::assign(const std::shared_ptr<Cell>& cell, ir::Value value) {
  Captured& captured = capture(cell);
  if (value->requires_grad)
    throw Error(
        "jit: gradients would flow through this write to a captured tensor; do it inside of a "
        "no_grad");
  // A cell stays where it is; what can be computed anywhere will be computed there.
  if (value->place >= 0) value = value_on(value, device_of(*captured.placeholder));
  captured.value = std::move(value);
}

Key StepRecorder::hand_key() {
  // Unlike any number of the function's own.
  keys_.push_back(Key(number_ ^ 0x6a09e667f3bcc908u).fold(keys_.size()));
  return keys_.back();
}

void StepRecorder::remember(const std::shared_ptr<Gradient>& gradient, const Tensor& before) {
  const auto same = [&](const auto& known) { return known.first.lock() == gradient; };
  if (std::ranges::none_of(gradients_, same)) gradients_.emplace_back(gradient, before);
}

bool StepRecorder::restore_gradients() {
  bool changed = false;
  for (const auto& [weak, before] : std::exchange(gradients_, {})) {
    const std::shared_ptr<Gradient> gradient = weak.lock();
    if (gradient) changed |= gradient->replace(before);
  }
  return changed;
}

void refuse_move_while_recording(const ir::Value& value, const ir::Storage* known, int place) {
  if (!StepRecorder::active()) return;
  if (known && !dynamic_cast<const Placeholder*>(known)) return;
  throw Error(fmt::format(
      "jit: elements of {} are needed on {}, and none move while a step is recorded; move the "
      "tensor before",
      to_string(device_of(*value)), to_string(device_at(place))));
}

void refuse_while_recording() {
  if (StepRecorder::active())
    throw Error(
        "jit: there are no elements while a step is recorded; return the tensor from the function "
        "and look at it there");
}

}  // namespace cermet::runtime
