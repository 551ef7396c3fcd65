#include "runtime/signature.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "ir/build.h"

namespace cermet::runtime {
namespace {

using ir::Node;
using ir::Op;

class Writer {
 public:
  explicit Writer(Signature& out) : out_(out.words) {}
  void number(int64_t value) { out_.push_back(value); }
  void dims(std::span<const int64_t> dims) {
    number(int64_t(dims.size()));
    out_.append(dims.begin(), dims.end());
  }
  // What every node has: an op, or what kind of input it is (-1 a buffer, -2 a scalar).
  void node(int64_t kind, DType dtype, size_t operands, std::span<const int64_t> shape) {
    number((kind + 2) | int64_t(dtype) << 16 | int64_t(shape.size()) << 24 |
           int64_t(operands) << 40);
    out_.append(shape.begin(), shape.end());
  }

  void operator()(std::monostate) {}
  void operator()(const ir::ParameterAttr& a) { number(a.slot); }
  void operator()(const ir::DataAttr&) {}
  void operator()(const ir::ConstantAttr& a) { number(int64_t(a.bits)); }
  void operator()(const ir::ViewAttr& a) {
    number(int64_t(a.map->levels().size()));
    for (const ir::StridedMap& m : a.map->levels()) {
      dims(m.shape), dims(m.strides), dims(m.begin), dims(m.end);
      number(m.offset);
    }
  }
  void operator()(const ir::ReduceAttr& a) { number(int64_t(a.combine)), dims(a.axes); }
  void operator()(const ir::AxisAttr& a) { number(a.axis); }
  void operator()(const ir::CombineAttr& a) { number(int64_t(a.combine)), number(a.axis); }
  void operator()(const ir::ScanAttr& a) {
    number(int64_t(a.combine)), number(a.axis), number(a.reverse * 2 + a.exclusive);
  }
  void operator()(const ir::ConvAttr& a) { dims(a.stride), dims(a.dilation); }
  void operator()(const ir::SortAttr& a) { number(a.axis), number(a.descending); }
  void operator()(const ir::LeafAttr&) {}
  void operator()(const ir::CustomGradientAttr&) {}

 private:
  decltype(Signature::words)& out_;
};

// Constants that simplification or code generation look at.
bool specialised(const Node& node) {
  if (is_bool(node.dtype)) return true;
  const double value = *ir::constant_value(node);
  return !std::isfinite(value) || (std::fabs(value) <= 16 && value * 2 == std::trunc(value * 2));
}

// A float that divides, other than 1: how many elements a mean is of, which programs must not
// depend on.
bool counts(const Node& node, const Node& user) {
  if (node.op != Op::Constant || user.op != Op::Div || user.operands[1].get() != &node)
    return false;
  const double value = *ir::constant_value(node);
  return std::isfinite(value) && value != 0 && std::fabs(value) != 1;
}

}  // namespace

bool passes_through(Op op) {
  return op == Op::Leaf || op == Op::StopGradient || op == Op::CustomGradient;
}

bool is_input(const Node& node) {
  if (node.op == Op::Data || (node.op == Op::Constant && !specialised(node))) return true;
  return node.op != Op::Constant && node.value() != nullptr;
}

namespace {

const Node* resolve(const Node* node) {
  while (passes_through(node->op) && !is_input(*node)) node = node->operands[0].get();
  return node;
}

// Positions of nodes: a hash table that is cheap to make for a few nodes, and never shrinks.
class Positions {
 public:
  static constexpr int64_t entered = -1;  // on the stack

  Positions() = default;
  Positions(const Positions&) = delete;
  Positions& operator=(const Positions&) = delete;

  // The position of a node that was added.
  int64_t& at(const Node* node) { return slots_[find(node)].position; }
  // Whether the node is new; it is `entered` then.
  bool add(const Node* node) {
    Slot& slot = slots_[find(node)];
    if (slot.node) return false;
    slot = {node, entered};
    if (++count_ * 2 > slots_.size()) grow();
    return true;
  }

 private:
  struct Slot {
    const Node* node = nullptr;
    int64_t position = 0;
  };
  size_t find(const Node* node) const {
    const size_t mask = slots_.size() - 1;
    size_t i = (uintptr_t(node) >> 4) * 0x9e3779b97f4a7c15u >> 32 & mask;
    while (slots_[i].node && slots_[i].node != node) i = (i + 1) & mask;
    return i;
  }
  void grow() {
    std::vector<Slot> wider(slots_.size() * 4);
    const std::span<const Slot> old = std::exchange(slots_, wider);
    for (const Slot& slot : old)
      if (slot.node) slots_[find(slot.node)] = slot;
    more_ = std::move(wider);
  }

  std::array<Slot, 32> few_{};
  std::vector<Slot> more_;
  std::span<Slot> slots_ = few_;
  size_t count_ = 0;
};

// The walk of a request: depth first, each node once, without recursion.
class RequestWalk {
 public:
  explicit RequestWalk(Request& out) : out_(out), writer_(out.signature) {}

  void root(const ir::Value& value) {
    const Node* node = resolve(value.get());
    enter(node, nullptr);
    while (!stack_.empty()) {
      Frame& top = stack_.back();
      if (top.next == top.count) {
        leave(top);
        stack_.pop_back();
      } else {
        // CustomGradient keeps operands that execution does not need; resolve() leads past them.
        const Node* operand = resolve(top.node->operands[top.next++].get());
        operands_.push_back(operand);
        enter(operand, top.node);  // invalidates top
      }
    }
    out_.roots.push_back(positions_.at(node));
  }

 private:
  struct Frame {
    const Node* node;
    bool input;
    size_t next, count;
  };

  void enter(const Node* node, const Node* user) {
    if (!positions_.add(node)) return;
    const bool input = is_input(*node) || (user && counts(*node, *user));
    stack_.push_back({node, input, 0, input ? 0 : node->operands.size()});
  }

  // The last operands_ are those of the frame.
  void leave(const Frame& frame) {
    const Node& node = *frame.node;
    const int64_t kind = frame.input ? (node.op == Op::Constant ? -2 : -1) : int64_t(node.op);
    writer_.node(kind, node.dtype, frame.count, node.shape);
    if (frame.input) {
      out_.inputs.push_back(ir::Value(&node));
    } else {
      std::visit(writer_, node.attr);
      for (size_t i = operands_.size() - frame.count; i < operands_.size(); ++i) {
        out_.operands.push_back(positions_.at(operands_[i]));
        writer_.number(out_.operands.back());
      }
      operands_.resize(operands_.size() - frame.count);
    }
    positions_.at(&node) = int64_t(out_.nodes.size());
    out_.nodes.push_back(&node);
    out_.is_input.push_back(frame.input);
  }

  Request& out_;
  Writer writer_;
  Positions positions_;
  SmallVector<Frame, 16> stack_;
  SmallVector<const Node*, 48> operands_;  // of the frames, those seen so far, resolved
};

}  // namespace

// The number of roots comes first, so that no node can be read as more roots; so does that of what
// is donated.
Request make_request(std::span<const ir::Value> roots, compiler::Numerics numerics,
                     int64_t memory_budget, std::span<const ir::Value> donated) {
  Request request;
  request.numerics = numerics;
  request.memory_budget = memory_budget;
  Writer out(request.signature);
  out.number(int64_t(numerics.fast) | int64_t(numerics.tf32) << 1);
  out.number(memory_budget);
  out.number(int64_t(roots.size()));
  RequestWalk walk(request);
  for (const ir::Value& root : roots) walk.root(root);
  for (int64_t position : request.roots) out.number(position);
  if (!donated.empty())
    for (size_t slot = 0; slot < request.inputs.size(); ++slot)
      if (std::ranges::find(donated, request.inputs[slot]) != donated.end())
        request.donated.push_back(int64_t(slot));
  auto& words = request.signature.words;
  words[0] |= int64_t(request.donated.size()) << 2;
  words.append(request.donated.begin(), request.donated.end());
  request.signature.hash = XXH3_64bits(words.data(), words.size() * sizeof(words[0]));
  return request;
}

ir::Graph make_graph(const Request& request) {
  ir::Graph graph;
  std::vector<ir::Value> made;  // by position
  std::vector<ir::Value> operands;
  size_t next = 0;
  for (size_t i = 0; i < request.nodes.size(); ++i) {
    const Node& node = *request.nodes[i];
    if (request.is_input[i]) {
      const bool scalar = node.op == Op::Constant;
      const ir::Value slot = ir::parameter(int64_t(graph.parameters.size()), node.dtype,
                                           scalar ? Shape{} : node.shape);
      graph.parameters.push_back(slot);
      made.push_back(scalar ? ir::expand(slot, node.shape) : slot);
      continue;
    }
    operands.clear();
    for (size_t k = 0; k < node.operands.size(); ++k)
      operands.push_back(made[size_t(request.operands[next++])]);
    made.push_back(node.op == Op::View ? ir::view(operands[0], node.view())
                                       : ir::with_operands(node, operands));
  }
  for (int64_t root : request.roots) graph.results.push_back(made[size_t(root)]);
  return graph;
}

}  // namespace cermet::runtime
