#pragma once
// Nodes of the tensor graph. A node is an immutable expression: op, dtype, shape, attributes,
// operands. Equal expressions are one node (hash-consing), so comparing expressions is comparing
// pointers and common subexpressions are shared from the start.
//
// Invariants:
//   - dtype and shape follow from op, attributes and operands (ir/infer.h); make() computes them.
//   - All operands of an elementwise op have one shape; broadcasting is an explicit View.
//   - Nothing recurses over operands: not destruction, not traversal (chains of a million nodes are
//   normal).
//   - The only thing of a node that ever changes is its value: the buffer with its elements once
//   they were computed.
//
// The intern table is process-wide. It is a memo without behaviour of its own: no result depends on
// what it holds.

#include <atomic>
#include <memory>
#include <string>
#include <variant>

#include "cermet/shape.h"
#include "ir/free_list.h"
#include "ir/op.h"
#include "ir/view.h"

namespace cermet::ir {

struct Node;

// A counted handle to a node.
class Value {
 public:
  Value() = default;
  explicit Value(const Node* node);
  Value(const Value& other) : Value(other.node_) {}
  Value(Value&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  Value& operator=(Value other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~Value() {
    if (node_) release();
  }
  // Takes over a reference that was counted already.
  static Value adopt(const Node* node) {
    Value out;
    out.node_ = node;
    return out;
  }

  explicit operator bool() const { return node_ != nullptr; }
  const Node* get() const { return node_; }
  const Node* operator->() const { return node_; }
  const Node& operator*() const { return *node_; }
  friend bool operator==(const Value&, const Value&) = default;

 private:
  void release();
  const Node* node_ = nullptr;
};

// The elements of a buffer that exists, row-major. The runtime derives its buffers from this.
class Storage {
 public:
  virtual ~Storage() = default;
  // The elements, if the host can read them; else null.
  virtual const void* host_data() const = 0;
  // Memory of someone else, whose content may change at any time: never folded, never cached.
  virtual bool borrowed() const { return false; }
  // The device whose memory it is: 0 is the host, others are the runtime's to number.
  virtual int place() const { return 0; }
  // Whether computing the elements turned out to have failed, so that they do not exist.
  virtual bool failed() const { return false; }
};

// The rule of a custom gradient: from operands (of the CustomGradient node, without the first), its
// result and the adjoint of its result to the adjoints of those operands; an empty Value means no
// gradient.
class GradientRule {
 public:
  virtual ~GradientRule() = default;
  virtual std::vector<Value> operands_adjoints(std::span<const Value> operands, const Value& result,
                                               const Value& adjoint) const = 0;
  // Whether it gives what the derivative of the result itself would give, so that forward mode can
  // follow the result.
  virtual bool follows_operand() const { return false; }
};

// Whom the gradient of a Leaf belongs to. The runtime derives from it; its address is the
// variable's identity.
class Variable {
 public:
  virtual ~Variable() = default;
};

struct ParameterAttr {
  int64_t slot;
  friend bool operator==(const ParameterAttr&, const ParameterAttr&) = default;
};
struct DataAttr {
  std::shared_ptr<const Storage> storage;
  friend bool operator==(const DataAttr&, const DataAttr&) = default;
};
struct ConstantAttr {
  uint64_t bits;  // of the element, zero-extended: NaN payloads and -0.0 stay what they are
  friend bool operator==(const ConstantAttr&, const ConstantAttr&) = default;
};
struct ViewAttr {
  std::shared_ptr<const ViewMap> map;
  friend bool operator==(const ViewAttr& a, const ViewAttr& b) { return *a.map == *b.map; }
};
struct ReduceAttr {
  Combine combine;
  Dims axes;  // ascending, unique
  friend bool operator==(const ReduceAttr&, const ReduceAttr&) = default;
};
struct AxisAttr {  // Gather, Concat
  int64_t axis;
  friend bool operator==(const AxisAttr&, const AxisAttr&) = default;
};
struct CombineAttr {  // ArgReduce (Max or Min), Scatter
  Combine combine;
  int64_t axis;
  friend bool operator==(const CombineAttr&, const CombineAttr&) = default;
};
struct ScanAttr {
  Combine combine;
  int64_t axis;
  bool reverse;    // from the end
  bool exclusive;  // element i combines those before i; the first is the identity of combine
  friend bool operator==(const ScanAttr&, const ScanAttr&) = default;
};
struct ConvAttr {
  Dims stride, dilation;  // one for each spatial axis
  friend bool operator==(const ConvAttr&, const ConvAttr&) = default;
};
struct SortAttr {
  int64_t axis;
  bool descending;
  friend bool operator==(const SortAttr&, const SortAttr&) = default;
};
struct LeafAttr {
  std::shared_ptr<Variable> variable;
  friend bool operator==(const LeafAttr&, const LeafAttr&) = default;
};
struct CustomGradientAttr {
  std::shared_ptr<const GradientRule> rule;
  friend bool operator==(const CustomGradientAttr&, const CustomGradientAttr&) = default;
};

using Attr =
    std::variant<std::monostate, ParameterAttr, DataAttr, ConstantAttr, ViewAttr, ReduceAttr,
                 AxisAttr, CombineAttr, ScanAttr, ConvAttr, SortAttr, LeafAttr, CustomGradientAttr>;

struct Node {
  Op op;
  DType dtype;
  bool requires_grad = false;  // a Leaf is among what it is computed from (StopGradient hides them)
  bool reads_borrowed = false;  // depends on memory of someone else
  bool checks_indices = false;  // computing it can find an index out of range
  // Whose memory it is computed from (Storage::place); -1: of constants alone, or of single numbers
  // on the host, which can be given to any device. Operands of one node have one place.
  int16_t place = -1;
  Shape shape;
  SmallVector<Value, 3> operands;
  Attr attr;
  uint64_t hash = 0;  // of the expression; operands count by address

  template <class T>
  const T& as() const {
    return std::get<T>(attr);
  }
  const ViewMap& view() const { return *as<ViewAttr>().map; }
  int64_t numel() const { return cermet::numel(shape); }

  // The computed elements, if there are any that did not fail. Both are safe from several threads;
  // the first value that does not fail stays.
  std::shared_ptr<const Storage> value() const {
    return has_value.load(std::memory_order_acquire) ? locked_value() : nullptr;
  }
  void set_value(std::shared_ptr<const Storage> storage) const;

  static void* operator new(size_t) { return FreeList<sizeof(Node)>::take(); }
  static void operator delete(void* node) { FreeList<sizeof(Node)>::give(node); }

  mutable std::atomic<int64_t> references{0};
  mutable std::atomic<bool> has_value{false};       // whether `computed` is or was set
  mutable std::shared_ptr<const Storage> computed;  // guarded by a lock in the two functions
  mutable const Node* next = nullptr;  // in the intern table; of a dead node, the next dead one

 private:
  std::shared_ptr<const Storage> locked_value() const;
};

inline Value::Value(const Node* node) : node_(node) {
  if (node_) node_->references.fetch_add(1, std::memory_order_relaxed);
}

// The node for this expression: the one that exists or a new one. Checks operands and attributes
// and infers dtype and shape; throws Error. For Parameter, Data, Constant, Cast and Bitcast `dtype`
// says the result's dtype, for the first three and Iota `shape` its shape.
Value make(Op op, SmallVector<Value, 3> operands, Attr attr = {},
           std::optional<DType> dtype = std::nullopt, const Shape& shape = {});

// A device by its place: "cpu", "cuda:0".
std::string place_name(int place);

// "f32[2,3]"
std::string type_string(const Node& node);
std::string type_string(DType dtype, std::span<const int64_t> shape);

// How many nodes exist in the process now (for tests and statistics).
int64_t live_nodes();

}  // namespace cermet::ir
