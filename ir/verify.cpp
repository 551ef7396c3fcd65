#include "ir/verify.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unordered_set>

#include "cermet/error.h"
#include "ir/infer.h"
#include "ir/text.h"

namespace cermet::ir {
namespace {

// Why the attributes themselves are no good, or "". What depends on operands is infer's.
struct AttrFault {
  const Node& node;
  std::string operator()(std::monostate) const { return ""; }
  std::string operator()(const DataAttr& a) const { return a.storage ? "" : "no storage"; }
  std::string operator()(const ConstantAttr& a) const {
    const int width = bits_of(node.dtype);
    const bool fits = is_bool(node.dtype) ? a.bits <= 1 : width == 64 || a.bits >> width == 0;
    return fits ? "" : fmt::format("bits {:#x} are none of {}", a.bits, name(node.dtype));
  }
  std::string operator()(const LeafAttr& a) const { return a.variable ? "" : "no variable"; }
  std::string operator()(const CustomGradientAttr& a) const { return a.rule ? "" : "no rule"; }
  std::string operator()(const auto&) const { return ""; }
};

bool has_attributes(Op op) {
  return !is_elementwise(op) && op != Op::Iota && op != Op::Cast && op != Op::Bitcast &&
         op != Op::Dot && op != Op::StopGradient && op != Op::Barrier && op != Op::Recompute;
}

class Verifier {
 public:
  explicit Verifier(const Graph& graph) : graph_(graph), number_(numbering(graph)) {}

  std::vector<std::string> run() {
    for (size_t i = 0; i < graph_.parameters.size(); ++i) parameter(i);
    for (size_t i = 0; i < graph_.results.size(); ++i)
      if (!graph_.results[i]) faults_.push_back(fmt::format("result {} is empty", i));
    for (const Node* node : topological_order(graph_.results)) visit(*node);
    return std::move(faults_);
  }

 private:
  template <class... Args>
  void fault(const Node& node, fmt::format_string<Args...> text, Args&&... args) {
    const auto at = number_.find(&node);
    faults_.push_back(fmt::format("%{} = {}: {}", at == number_.end() ? -1 : at->second,
                                  name(node.op), fmt::format(text, std::forward<Args>(args)...)));
  }

  void parameter(size_t i) {
    const Node* node = graph_.parameters[i].get();
    if (!node) {
      faults_.push_back(fmt::format("parameter {} is empty", i));
      return;
    }
    parameters_.insert(node);
    const ParameterAttr* attr = std::get_if<ParameterAttr>(&node->attr);
    if (node->op != Op::Parameter || !attr)
      fault(*node, "stands in place {} of the parameters but is none", i);
    else if (attr->slot != int64_t(i))
      fault(*node, "has slot {} in place {} of the parameters", attr->slot, i);
  }

  void visit(const Node& node) {
    bool complete = true, grad = node.op == Op::Leaf, borrowed = false;
    for (size_t i = 0; i < node.operands.size(); ++i) {
      if (!node.operands[i]) {
        fault(node, "operand {} is empty", i);
        complete = false;
        continue;
      }
      grad |= node.operands[i]->requires_grad;
      borrowed |= node.operands[i]->reads_borrowed;
    }
    if (node.op == Op::Parameter && !parameters_.contains(&node))
      fault(node, "is not among the parameters of the graph");
    if (!has_attributes(node.op) && node.attr.index() != 0)
      fault(node, "carries attributes of another op");
    const std::string why = std::visit(AttrFault{node}, node.attr);
    if (!why.empty()) fault(node, "{}", why);
    if (!complete || !why.empty()) return;
    if (node.op == Op::StopGradient || !is_float(node.dtype)) grad = false;
    if (const auto* data = std::get_if<DataAttr>(&node.attr)) borrowed = data->storage->borrowed();
    if (grad != node.requires_grad)
      fault(node, "requires_grad is {}, the operands say {}", node.requires_grad, grad);
    if (borrowed != node.reads_borrowed)
      fault(node, "reads_borrowed is {}, the operands say {}", node.reads_borrowed, borrowed);
    type(node);
  }

  void type(const Node& node) {
    try {
      const Type inferred = infer(node.op, node.operands, node.attr, node.dtype, node.shape);
      if (inferred.dtype != node.dtype || inferred.shape != node.shape)
        fault(node, "is {}, its operands give {}", type_string(node),
              type_string(inferred.dtype, inferred.shape));
      else if (with_operands(node, node.operands).get() != &node)
        fault(node, "is not the one node of its expression");
    } catch (const Error& error) {
      fault(node, "{}", error.what());
    }
  }

  const Graph& graph_;
  std::unordered_map<const Node*, int64_t> number_;
  std::unordered_set<const Node*> parameters_;
  std::vector<std::string> faults_;
};

}  // namespace

std::vector<std::string> verify(const Graph& graph) { return Verifier(graph).run(); }

void check(const Graph& graph) {
  const std::vector<std::string> faults = verify(graph);
  if (faults.empty()) return;
  throw InternalError(
      fmt::format("the graph is invalid:\n{}\n{}", fmt::join(faults, "\n"), print(graph)));
}

}  // namespace cermet::ir
