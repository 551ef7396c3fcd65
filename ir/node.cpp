#include "ir/node.h"

#include <fmt/format.h>

#include <array>
#include <mutex>
#include <utility>
#include <vector>

#include "cermet/error.h"
#include "ir/infer.h"
#include "ir/spin_lock.h"

namespace cermet::ir {
namespace {

// A running value and the next one. Multiplier: the golden ratio as a fraction of 2^64 (Fibonacci
// hashing); its high bits are the good ones.
uint64_t mix(uint64_t h, uint64_t v) {
  h = (h ^ v) * 0x9e3779b97f4a7c15u;
  return h ^ (h >> 32);
}

uint64_t hash_of(std::span<const int64_t> dims) {
  uint64_t h = dims.size();
  for (int64_t d : dims) h = mix(h, uint64_t(d));
  return h;
}

struct AttrHash {
  uint64_t operator()(std::monostate) const { return 0; }
  uint64_t operator()(const ParameterAttr& a) const { return uint64_t(a.slot); }
  uint64_t operator()(const DataAttr& a) const { return uint64_t(a.storage.get()); }
  uint64_t operator()(const ConstantAttr& a) const { return a.bits; }
  uint64_t operator()(const ViewAttr& a) const {
    uint64_t h = 0;
    for (const StridedMap& m : a.map->levels()) {
      h = mix(mix(h, hash_of(m.shape)), hash_of(m.strides));
      h = mix(mix(mix(h, uint64_t(m.offset)), hash_of(m.begin)), hash_of(m.end));
    }
    return h;
  }
  uint64_t operator()(const ReduceAttr& a) const {
    return mix(uint64_t(a.combine), hash_of(a.axes));
  }
  uint64_t operator()(const AxisAttr& a) const { return uint64_t(a.axis); }
  uint64_t operator()(const CombineAttr& a) const {
    return mix(uint64_t(a.combine), uint64_t(a.axis));
  }
  uint64_t operator()(const ScanAttr& a) const {
    return mix(mix(uint64_t(a.combine), uint64_t(a.axis)), uint64_t(a.reverse * 2 + a.exclusive));
  }
  uint64_t operator()(const ConvAttr& a) const {
    return mix(hash_of(a.stride), hash_of(a.dilation));
  }
  uint64_t operator()(const SortAttr& a) const { return mix(uint64_t(a.axis), a.descending); }
  uint64_t operator()(const LeafAttr& a) const { return uint64_t(a.variable.get()); }
  uint64_t operator()(const CustomGradientAttr& a) const { return uint64_t(a.rule.get()); }
};

bool same_expression(const Node& a, const Node& b) {
  return a.hash == b.hash && a.op == b.op && a.dtype == b.dtype && a.shape == b.shape &&
         a.operands == b.operands && a.attr == b.attr;
}

// The intern table: weak pointers, sharded so that threads rarely meet. A node whose count fell to
// zero is dead even while it is still listed: lookup never revives it, its last owner removes it.
// Shards are hash tables of lists that are linked through the nodes.
class Shard {
 public:
  // The live node of an equal expression; else lists this one and returns nothing.
  Value find_or_add(const Node& node) {
    const std::lock_guard lock(lock_);
    if (count_ >= lists_.size()) grow();
    const Node*& list = list_of(node);
    for (const Node* at = list; at; at = at->next)
      if (same_expression(*at, node) && retain_if_alive(*at)) return Value::adopt(at);
    node.next = std::exchange(list, &node);
    ++count_;
    return {};
  }
  // Nothing happens for a node beside the table, which only a broken graph has.
  void remove(const Node& node) {
    const std::lock_guard lock(lock_);
    if (lists_.empty()) return;
    const Node** at = &list_of(node);
    while (*at && *at != &node) at = &(*at)->next;
    if (!*at) return;
    *at = node.next;
    --count_;
  }
  size_t count() {
    const std::lock_guard lock(lock_);
    return count_;
  }

 private:
  static bool retain_if_alive(const Node& node) {
    int64_t count = node.references.load(std::memory_order_relaxed);
    while (count > 0)
      if (node.references.compare_exchange_weak(count, count + 1, std::memory_order_acquire))
        return true;
    return false;
  }
  // The lowest bits of a hash chose the shard. The number of lists is a power of two.
  const Node*& list_of(const Node& node) { return lists_[(node.hash >> 8) & (lists_.size() - 1)]; }
  void grow() {
    const std::vector<const Node*> old =
        std::exchange(lists_, std::vector<const Node*>(std::max<size_t>(16, lists_.size() * 2)));
    for (const Node* node : old) {
      while (node) {
        const Node* next = node->next;
        node->next = std::exchange(list_of(*node), node);
        node = next;
      }
    }
  }

  SpinLock lock_;  // guards what follows
  std::vector<const Node*> lists_;
  size_t count_ = 0;
};
constexpr size_t shard_count = 64;
std::array<Shard, shard_count>& shards() {
  static auto* table =
      new std::array<Shard, shard_count>;  // lives as long as the last static Value
  return *table;
}
Shard& shard_of(uint64_t hash) { return shards()[hash % shard_count]; }

// Values and buffers of a dead node are let go of one after the other, not recursively.
void destroy(const Node* first) {
  constinit thread_local bool busy = false;
  constinit thread_local const Node* dead = nullptr;
  shard_of(first->hash).remove(*first);
  first->next = std::exchange(dead, first);
  if (busy) return;
  busy = true;
  while (const Node* node = dead) {
    dead = node->next;
    delete node;  // releases the operands, which come back here and are listed
  }
  busy = false;
}

SpinLock& value_lock(const Node* node) {
  static auto* locks = new std::array<SpinLock, 16>;
  return (*locks)[(uintptr_t(node) >> 6) % 16];
}

}  // namespace

void Value::release() {
  if (node_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(node_);
}

std::shared_ptr<const Storage> Node::locked_value() const {
  const std::lock_guard lock(value_lock(this));
  return computed && computed->failed() ? nullptr : computed;
}

void Node::set_value(std::shared_ptr<const Storage> storage) const {
  const std::lock_guard lock(value_lock(this));
  if (computed && !computed->failed()) return;
  std::swap(computed, storage);
  has_value.store(true, std::memory_order_release);
}

namespace {

// The device that all operands lie on. CustomGradient is its first operand, wherever the others
// are.
int16_t place_of(const Node& node) {
  if (node.op == Op::Data) {
    const int place = node.as<DataAttr>().storage->place();
    return place == 0 && node.shape.empty() ? int16_t(-1) : int16_t(place);
  }
  if (node.op == Op::CustomGradient) return node.operands[0]->place;
  int16_t place = -1;
  for (const Value& operand : node.operands) {
    if (operand->place < 0 || operand->place == place) continue;
    if (place >= 0)
      throw Error(fmt::format("{}: the operands are on different devices, {} and {}", name(node.op),
                              place_name(place), place_name(operand->place)));
    place = operand->place;
  }
  return place;
}

}  // namespace

std::string place_name(int place) { return place <= 0 ? "cpu" : fmt::format("cuda:{}", place - 1); }

Value make(Op op, SmallVector<Value, 3> operands, Attr attr, std::optional<DType> dtype,
           const Shape& shape) {
  std::unique_ptr<Node> node(new Node);
  node->op = op;
  node->operands = std::move(operands);
  node->attr = std::move(attr);
  Type type = infer(op, node->operands, node->attr, dtype, shape);
  node->dtype = type.dtype;
  node->shape = std::move(type.shape);
  node->requires_grad = op == Op::Leaf;
  if (op == Op::Data) node->reads_borrowed = node->as<DataAttr>().storage->borrowed();
  node->checks_indices = op == Op::Gather || op == Op::Scatter;
  node->place = place_of(*node);
  uint64_t h = mix(uint64_t(op) << 8 | uint64_t(node->dtype), hash_of(node->shape));
  h = mix(h, std::visit(AttrHash{}, node->attr));
  for (const Value& operand : node->operands) {
    h = mix(h, uint64_t(operand.get()));
    node->requires_grad |= operand->requires_grad;
    node->reads_borrowed |= operand->reads_borrowed;
    node->checks_indices |= operand->checks_indices;
  }
  if (op == Op::StopGradient || !is_float(node->dtype)) node->requires_grad = false;
  node->hash = h;
  node->references.store(1, std::memory_order_relaxed);
  if (Value existing = shard_of(h).find_or_add(*node)) return existing;
  return Value::adopt(node.release());
}

std::string type_string(DType dtype, std::span<const int64_t> shape) {
  return fmt::format("{}{}", name(dtype), to_string(shape));
}
std::string type_string(const Node& node) { return type_string(node.dtype, node.shape); }

int64_t live_nodes() {
  int64_t count = 0;
  for (Shard& shard : shards()) count += int64_t(shard.count());
  return count;
}

}  // namespace cermet::ir
