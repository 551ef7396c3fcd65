#include "runtime/pending_updates.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "runtime/signature.h"
#include "runtime/tensor_state.h"

namespace cermet::runtime {
namespace {

using ir::Node;

// Looking at updates that share nothing with a realize must not cost more than the realize: what
// was looked at in vain beyond this is a debt, and nothing is looked at again until as many nodes
// were realized.
constexpr int64_t allowance = 1024, nodes_per_root = 8;

// Sets of expressions that share a computation: union-find over the expressions, by the nodes that
// they reach. Numbers, buffers and views of them are no computation, but reading memory of someone
// else is: those who read it together see the same elements.
class Sharing {
 public:
  explicit Sharing(size_t expressions) : parent_(expressions) {
    std::iota(parent_.begin(), parent_.end(), size_t(0));
  }

  // Walks down from the value of an expression; returns how many nodes it was the first to reach.
  int64_t walk(const ir::Value& value, size_t expression) {
    int64_t fresh = 0;
    push(value.get());
    while (!stack_.empty()) {
      const Node* node = stack_.back();
      stack_.pop_back();
      const auto [at, first] = owner_.emplace(node, expression);
      if (!first) {
        parent_[find(at->second)] = find(expression);
        continue;
      }
      ++fresh;
      if (is_input(*node)) continue;
      for (const ir::Value& operand : node->operands) push(operand.get());
    }
    return fresh;
  }

  size_t find(size_t expression) {
    while (parent_[expression] != expression)
      expression = parent_[expression] = parent_[parent_[expression]];
    return expression;
  }

 private:
  void push(const Node* node) {
    while ((node->op == ir::Op::View || passes_through(node->op)) && !is_input(*node))
      node = node->operands[0].get();
    const bool input = is_input(*node);
    if (input ? node->op == ir::Op::Data && node->reads_borrowed : !node->operands.empty())
      stack_.push_back(node);
  }

  std::vector<size_t> parent_;
  std::unordered_map<const Node*, size_t> owner_;  // the expression that reached it first
  std::vector<const Node*> stack_;
};

}  // namespace

void PendingUpdates::add(uint64_t& ticket, std::weak_ptr<Cell> cell) {
  if (ticket != 0) return;
  std::lock_guard lock(mutex_);
  cells_.emplace(ticket = ++last_ticket_, std::move(cell));
  empty_ = false;
}

void PendingUpdates::remove(uint64_t& ticket) {
  if (ticket == 0) return;
  std::lock_guard lock(mutex_);
  cells_.erase(std::exchange(ticket, 0));
  empty_ = cells_.empty();
}

std::vector<PendingUpdates::Update> PendingUpdates::listed() const {
  std::vector<Update> out;  // before the lock: the last owner of a cell calls remove()
  {
    std::lock_guard lock(mutex_);
    for (const auto& [ticket, cell] : cells_)
      if (auto alive = cell.lock()) out.push_back({std::move(alive), {}});
  }
  for (Update& update : out) update.value = update.cell->value_if_any();
  std::erase_if(out, [](const Update& update) { return !update.value; });
  return out;
}

std::vector<PendingUpdates::Update> PendingUpdates::sharing_with(std::span<const ir::Value> roots) {
  if (empty_) return {};
  {
    std::lock_guard lock(mutex_);
    if (cells_.empty()) return {};
    if (debt_ > 0) {
      Sharing alone(1);
      for (const ir::Value& root : roots) debt_ -= 1 + alone.walk(root, 0);
      return {};
    }
  }
  std::vector<Update> updates = listed();
  const int64_t looked_at = int64_t(updates.size());
  // What gradients flow through is kept as it is until backward() anyway.
  std::erase_if(updates, [&](const Update& u) {
    return u.value->requires_grad || u.cell->elements() ||
           std::ranges::find(roots, u.value) != roots.end();
  });

  Sharing sharing(1 + updates.size());  // 0: the roots
  int64_t wanted = 0, vain = looked_at;
  if (!updates.empty())
    for (const ir::Value& root : roots) wanted += sharing.walk(root, 0);
  std::vector<int64_t> reached;
  for (size_t i = 0; i < updates.size(); ++i)
    reached.push_back(sharing.walk(updates[i].value, 1 + i));
  std::vector<Update> out;
  for (size_t i = 0; i < updates.size(); ++i) {
    if (sharing.find(1 + i) == sharing.find(0))
      out.push_back(std::move(updates[i]));
    else
      vain += reached[i];
  }
  std::lock_guard lock(mutex_);
  debt_ = std::max<int64_t>(0, vain - nodes_per_root * wanted - allowance);
  return out;
}

PendingUpdates& pending_updates() {
  static auto* list = new PendingUpdates;  // outlives every static Tensor
  return *list;
}

}  // namespace cermet::runtime
