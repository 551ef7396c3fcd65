#include "ir/node.h"

#include <fmt/format.h>

#include <array>
#include <mutex>
#include <unordered_map>

#include "cermet/error.h"
#include "ir/infer.h"

namespace cermet::ir {
namespace {

uint64_t mix(uint64_t h, uint64_t v) {  // the finaliser of MurmurHash3, applied to a running value
  h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdu;
  h ^= h >> 33;
  return h;
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
struct Shard {
  std::mutex mutex;
  std::unordered_multimap<uint64_t, const Node*> nodes;
};
constexpr size_t shard_count = 64;
std::array<Shard, shard_count>& shards() {
  static auto* table =
      new std::array<Shard, shard_count>;  // lives as long as the last static Value
  return *table;
}
Shard& shard_of(uint64_t hash) { return shards()[hash % shard_count]; }

bool retain_if_alive(const Node& node) {
  int64_t count = node.references.load(std::memory_order_relaxed);
  while (count > 0)
    if (node.references.compare_exchange_weak(count, count + 1, std::memory_order_acquire))
      return true;
  return false;
}

// Values and buffers of a dead node are let go of one after the other, not recursively.
void destroy(const Node* first) {
  thread_local std::vector<const Node*>* pending = nullptr;
  if (pending) {
    pending->push_back(first);
    return;
  }
  std::vector<const Node*> stack{first};
  pending = &stack;
  while (!stack.empty()) {
    const Node* node = stack.back();
    stack.pop_back();
    {
      Shard& shard = shard_of(node->hash);
      std::lock_guard lock(shard.mutex);
      auto [at, end] = shard.nodes.equal_range(node->hash);
      while (at != end && at->second != node) ++at;
      if (at != end) shard.nodes.erase(at);
    }
    delete node;  // releases the operands, which come back here and are pushed
  }
  pending = nullptr;
}

std::mutex& value_mutex(const Node* node) {
  static auto* locks = new std::array<std::mutex, 16>;
  return (*locks)[(uintptr_t(node) >> 6) % 16];
}

}  // namespace

Value::Value(const Node* node) : node_(node) {
  if (node_) node_->references.fetch_add(1, std::memory_order_relaxed);
}
Value::Value(const Value& other) : Value(other.node_) {}
Value::~Value() {
  if (node_ && node_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(node_);
}

std::shared_ptr<const Storage> Node::value() const {
  std::lock_guard lock(value_mutex(this));
  return computed && computed->failed() ? nullptr : computed;
}

void Node::set_value(std::shared_ptr<const Storage> storage) const {
  std::lock_guard lock(value_mutex(this));
  if (!computed || computed->failed()) computed = std::move(storage);
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
  auto node = std::make_unique<Node>();
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
  uint64_t h = mix(mix(uint64_t(op), uint64_t(node->dtype)), hash_of(node->shape));
  h = mix(h, std::visit(AttrHash{}, node->attr));
  for (const Value& operand : node->operands) {
    h = mix(h, uint64_t(operand.get()));
    node->requires_grad |= operand->requires_grad;
    node->reads_borrowed |= operand->reads_borrowed;
    node->checks_indices |= operand->checks_indices;
  }
  if (op == Op::StopGradient || !is_float(node->dtype)) node->requires_grad = false;
  node->hash = h;
  Shard& shard = shard_of(h);
  std::lock_guard lock(shard.mutex);
  auto [at, end] = shard.nodes.equal_range(h);
  for (; at != end; ++at) {
    if (!same_expression(*at->second, *node) || !retain_if_alive(*at->second)) continue;
    Value existing(at->second);
    at->second->references.fetch_sub(1, std::memory_order_relaxed);  // the count of retain_if_alive
    return existing;
  }
  shard.nodes.emplace(h, node.get());
  return Value(node.release());
}

std::string type_string(DType dtype, std::span<const int64_t> shape) {
  return fmt::format("{}{}", name(dtype), to_string(shape));
}
std::string type_string(const Node& node) { return type_string(node.dtype, node.shape); }

int64_t live_nodes() {
  int64_t count = 0;
  for (Shard& shard : shards()) {
    std::lock_guard lock(shard.mutex);
    count += int64_t(shard.nodes.size());
  }
  return count;
}

}  // namespace cermet::ir
