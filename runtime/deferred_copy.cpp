#include "runtime/deferred_copy.h"

#include <atomic>

#include "ir/build.h"
#include "ir/graph.h"
#include "runtime/devices.h"
#include "runtime/step_recorder.h"

namespace cermet::runtime {
namespace {

// Of copies that are still to be made. Programs with one device need not look for them.
std::atomic<int64_t> unresolved = 0;

// The ones directly below expressions.
std::vector<std::shared_ptr<const DeferredCopy>> waited_for(std::span<const ir::Value> roots) {
  std::vector<std::shared_ptr<const DeferredCopy>> out;
  const auto is_known = [](const ir::Node& node) {
    return node.op == ir::Op::Data || node.value() != nullptr;
  };
  for (const ir::Node* node : ir::topological_order(roots, is_known))
    if (node->op == ir::Op::Data)
      if (auto copy =
              std::dynamic_pointer_cast<const DeferredCopy>(node->as<ir::DataAttr>().storage);
          copy && !copy->known())
        out.push_back(std::move(copy));
  return out;
}

// Brings the adjoint of what was moved back to where it came from.
class MoveBack : public ir::GradientRule {
 public:
  explicit MoveBack(const Device& home) : home_(home) {}
  std::vector<ir::Value> operands_adjoints(std::span<const ir::Value>, const ir::Value&,
                                           const ir::Value& adjoint) const override {
    return {later_on(adjoint, home_)};
  }

 private:
  Device home_;
};

}  // namespace

DeferredCopy::DeferredCopy(ir::Value value, const Device& device)
    : place_(place_of(device)), value_(std::move(value)) {
  ++unresolved;
}
DeferredCopy::~DeferredCopy() {
  if (!elements_) --unresolved;
}

bool DeferredCopy::failed() const {
  const auto elements = known();
  return elements && elements->failed();
}

std::shared_ptr<const ir::Storage> DeferredCopy::known() const {
  const std::lock_guard lock(mutex_);
  return elements_;
}
ir::Value DeferredCopy::pending() const {
  const std::lock_guard lock(mutex_);
  return value_;
}

std::shared_ptr<const ir::Storage> DeferredCopy::resolved() const {
  const std::lock_guard resolving(resolving_);
  if (auto elements = known()) return elements;
  ir::Value value = pending();
  auto elements = elements_on(value, place_);
  const std::lock_guard lock(mutex_);
  elements_ = std::move(elements);
  value_ = {};
  --unresolved;
  return elements_;
}

ir::Value later_on(const ir::Value& value, const Device& device) {
  const bool now = value->reads_borrowed || value->checks_indices || known_elements(*value) ||
                   device_of(*value) == device;
  if (now) return value_on(value, device);
  refuse_move_while_recording(value, nullptr, place_of(device));
  const ir::Value moved =
      ir::data(std::make_shared<const DeferredCopy>(value, device), value->dtype, value->shape);
  return with_way_back(moved, value);
}

ir::Value with_way_back(const ir::Value& moved, const ir::Value& value) {
  if (!value->requires_grad) return moved;
  return ir::custom_gradient(moved, std::span(&value, 1),
                             std::make_shared<const MoveBack>(device_of(*value)));
}

std::shared_ptr<const ir::Storage> resolved(const std::shared_ptr<const ir::Storage>& storage) {
  const auto* copy = dynamic_cast<const DeferredCopy*>(storage.get());
  return copy ? copy->resolved() : storage;
}

// From the leaves upwards: the ones that a copy waits for come before it.
void resolve_below(std::span<const ir::Value> roots) {
  if (unresolved == 0) return;
  auto open = waited_for(roots);
  while (!open.empty()) {
    const ir::Value value = open.back()->pending();
    const auto before = value ? waited_for(std::span(&value, 1))
                              : std::vector<std::shared_ptr<const DeferredCopy>>();
    if (before.empty()) {
      open.back()->resolved();
      open.pop_back();
    } else {
      open.insert(open.end(), before.begin(), before.end());
    }
  }
}

}  // namespace cermet::runtime
