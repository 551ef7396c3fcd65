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

// Identities of autograd mean nothing to execution.
bool passes_through(Op op) {
  return op == Op::Leaf || op == Op::StopGradient || op == Op::CustomGradient;
}

// Constants that simplification or code generation look at.
bool specialised(const Node& node) {
  if (is_bool(node.dtype)) return true;
  const double value = *ir::constant_value(node);
  return !std::isfinite(value) || (std::fabs(value) <= 16 && value * 2 == std::trunc(value * 2));
}

bool is_input(const Node& node) {
  if (node.op == Op::Data || (node.op == Op::Constant && !specialised(node))) return true;
  return node.op != Op::Constant && node.value() != nullptr;
}

const Node* resolve(const Node* node) {
  while (passes_through(node->op) && !is_input(*node)) node = node->operands[0].get();
  return node;
}

// Roots with their identities taken off, so that the same computation has the same signature.
std::vector<ir::Value> resolved(std::span<const ir::Value> roots) {
  std::vector<ir::Value> out;
  for (const ir::Value& root : roots) out.emplace_back(resolve(root.get()));
  return out;
}

// CustomGradient keeps operands that execution does not need: they are visited only if something
// else needs them.
std::vector<const Node*> needed_nodes(std::span<const ir::Value> roots) {
  std::vector<const Node*> order;
  struct Frame {
    const Node* node;
    size_t next, count;
  };
  std::unordered_map<const Node*, bool> seen;
  std::vector<Frame> stack;
  const auto enter = [&](const Node* node) {
    node = resolve(node);
    if (seen.emplace(node, true).second)
      stack.push_back({node, 0, is_input(*node) ? 0 : node->operands.size()});
  };
  for (const ir::Value& root : roots) {
    enter(root.get());
    while (!stack.empty()) {
      Frame& top = stack.back();
      if (top.next < top.count) {
        enter(top.node->operands[top.next++].get());
      } else {
        order.push_back(top.node);
        stack.pop_back();
      }
    }
  }
  return order;
}

}  // namespace

Request make_request(std::span<const ir::Value> roots) {
  Request request;
  Writer out(request.signature);
  std::unordered_map<const Node*, int64_t> position;
  for (const Node* node : needed_nodes(roots)) {
    const bool input = is_input(*node);
    out.number(input ? (node->op == Op::Constant ? -2 : -1) : int64_t(node->op));
    out.number(int64_t(node->dtype));
    out.dims(node->shape);
    if (input) {
      request.inputs.emplace_back(node);
    } else {
      std::visit(out, node->attr);
      out.number(int64_t(node->operands.size()));
      for (const ir::Value& operand : node->operands)
        out.number(position.at(resolve(operand.get())));
    }
    position.emplace(node, int64_t(position.size()));
  }
  for (const ir::Value& root : resolved(roots)) out.number(position.at(root.get()));
  return request;
}

ir::Graph make_graph(std::span<const ir::Value> roots, const Request& request) {
  ir::Graph graph;
  std::unordered_map<const Node*, ir::Value> done;
  for (const ir::Value& input : request.inputs) {
    const bool scalar = input->op == Op::Constant;
    const ir::Value slot = ir::parameter(int64_t(graph.parameters.size()), input->dtype,
                                         scalar ? Shape{} : input->shape);
    graph.parameters.push_back(slot);
    done.emplace(input.get(), scalar ? ir::expand(slot, input->shape) : slot);
  }
  std::vector<ir::Value> operands;
  for (const Node* node : needed_nodes(roots)) {
    if (done.contains(node)) continue;
    operands.clear();
    for (const ir::Value& operand : node->operands)
      operands.push_back(done.at(resolve(operand.get())));
    done.emplace(node, node->op == Op::View ? ir::view(operands[0], node->view())
                                            : ir::with_operands(*node, operands));
  }
  for (const ir::Value& root : resolved(roots)) graph.results.push_back(done.at(root.get()));
  return graph;
}

}  // namespace cermet::runtime
