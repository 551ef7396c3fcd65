#include "runtime/signature.h"

#include <cmath>
#include <cstring>
#include <unordered_map>

#include "ir/build.h"

namespace cermet::runtime {
namespace {

using ir::Node;
using ir::Op;

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  void number(int64_t value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out_.append(bytes, sizeof value);
  }
  void dims(std::span<const int64_t> dims) {
    number(int64_t(dims.size()));
    for (int64_t d : dims) number(d);
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
  std::string& out_;
};

// Constants that simplification or code generation look at.
bool specialised(const Node& node) {
  if (is_bool(node.dtype)) return true;
  const double value = *ir::constant_value(node);
  return !std::isfinite(value) || (std::fabs(value) <= 16 && value * 2 == std::trunc(value * 2));
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

// The walk of a request: depth first, each node once, without recursion.
class RequestWalk {
 public:
  explicit RequestWalk(Request& out) : out_(out), writer_(out.signature) {}

  void root(const ir::Value& value) {
    const Node* node = resolve(value.get());
    enter(node);
    while (!stack_.empty()) {
      Frame& top = stack_.back();
      if (top.next == top.count) {
        leave(top);
        stack_.pop_back();
      } else {
        // CustomGradient keeps operands that execution does not need; resolve() leads past them.
        const Node* operand = resolve(top.node->operands[top.next++].get());
        top.operands.push_back(operand);
        enter(operand);  // invalidates top
      }
    }
    out_.roots.push_back(position_.at(node));
  }

 private:
  struct Frame {
    const Node* node;
    bool input;
    size_t next, count;
    SmallVector<const Node*, 3> operands;
  };

  void enter(const Node* node) {
    if (!position_.emplace(node, -1).second) return;
    const bool input = is_input(*node);
    stack_.push_back({node, input, 0, input ? 0 : node->operands.size(), {}});
  }

  void leave(const Frame& frame) {
    const Node& node = *frame.node;
    writer_.number(frame.input ? (node.op == Op::Constant ? -2 : -1) : int64_t(node.op));
    writer_.number(int64_t(node.dtype));
    writer_.dims(node.shape);
    if (frame.input) {
      out_.inputs.emplace_back(&node);
    } else {
      std::visit(writer_, node.attr);
      writer_.number(int64_t(frame.operands.size()));
      for (const Node* operand : frame.operands) {
        out_.operands.push_back(position_.at(operand));
        writer_.number(out_.operands.back());
      }
    }
    position_.at(&node) = int64_t(out_.nodes.size());
    out_.nodes.push_back(&node);
    out_.is_input.push_back(frame.input);
  }

  Request& out_;
  Writer writer_;
  std::unordered_map<const Node*, int64_t> position_;  // -1: on the stack
  std::vector<Frame> stack_;
};

}  // namespace

// The number of roots comes first, so that no node can be read as more roots.
Request make_request(std::span<const ir::Value> roots, compiler::Numerics numerics,
                     int64_t memory_budget) {
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
