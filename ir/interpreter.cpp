#include "ir/interpreter.h"

#include <fmt/format.h>

#include <memory>
#include <unordered_map>

#include "cermet/error.h"
#include "ir/check.h"
#include "ir/element.h"
#include "ir/eval.h"
#include "ir/interpret_structured.h"
#include "ir/word.h"

namespace cermet::ir {
namespace {

using Array = std::shared_ptr<const HostArray>;

// Elements are unpacked to words, computed and packed again in blocks that stay in the cache.
constexpr int64_t block_size = 512;
struct alignas(word_size) Block {
  std::byte words[block_size * word_size];
};

HostArray elementwise(const Node& node, std::span<const Array> x) {
  HostArray out(node.dtype, node.shape);
  const DType dtype = x.back()->dtype;  // of where: that of the selected elements
  Block operands[3], results;
  const void* pointers[3] = {operands[0].words, operands[1].words, operands[2].words};
  const int64_t n = out.numel();
  for (int64_t i = 0; i < n; i += block_size) {
    const int64_t count = std::min(block_size, n - i);
    for (size_t k = 0; k < x.size(); ++k)
      unpack(x[k]->dtype, x[k]->bytes.data(), i, count, operands[k].words);
    eval_words(node.op, dtype, std::span(pointers, x.size()), count, results.words);
    pack(node.dtype, results.words, count, out.bytes.data(), i);
  }
  return out;
}

HostArray cast(const Node& node, const HostArray& x) {
  HostArray out(node.dtype, node.shape);
  Block words;
  const int64_t n = out.numel();
  for (int64_t i = 0; i < n; i += block_size) {
    const int64_t count = std::min(block_size, n - i);
    unpack(x.dtype, x.bytes.data(), i, count, words.words);
    pack_cast(x.dtype, words.words, count, node.dtype, out.bytes.data(), i);
  }
  return out;
}

HostArray constant(const Node& node) {
  HostArray out(node.dtype, node.shape);
  const uint64_t bits = node.as<ConstantAttr>().bits;
  for (int64_t i = 0; i < out.numel(); ++i) store_bits(out.dtype, out.bytes.data(), i, bits);
  return out;
}

HostArray iota(const Node& node) {
  HostArray out(node.dtype, node.shape);
  int64_t next = 0;
  for (int64_t& element : out.as<int64_t>()) element = next++;
  return out;
}

HostArray data(const Node& node) {
  const void* elements = node.as<DataAttr>().storage->host_data();
  if (!elements && node.numel() > 0)
    throw Error(fmt::format("interpret: the host cannot read the data of {}", type_string(node)));
  return HostArray(node.dtype, node.shape, elements);
}

HostArray parameter(const Node& node, std::span<const HostArray> parameters) {
  const int64_t slot = node.as<ParameterAttr>().slot;
  if (slot >= int64_t(parameters.size()))
    throw Error(
        fmt::format("interpret: parameter {} is missing, {} are given", slot, parameters.size()));
  const HostArray& given = parameters[size_t(slot)];
  if (given.dtype != node.dtype || given.shape != node.shape)
    throw Error(fmt::format("interpret: parameter {} is {}, the graph expects {}", slot,
                            type_string(given.dtype, given.shape), type_string(node)));
  return given;
}

HostArray bitcast(const Node& node, const HostArray& x) {
  HostArray out = x;
  out.dtype = node.dtype;
  return out;
}

Array compute(const Node& node, std::span<const Array> x, std::span<const HostArray> parameters) {
  const auto made = [](HostArray array) {
    return std::make_shared<const HostArray>(std::move(array));
  };
  if (is_elementwise(node.op)) return made(elementwise(node, x));
  // The elementwise rows are done; what is listed here is closed.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch"
  switch (node.op) {
#pragma GCC diagnostic pop
    case Op::Parameter: return made(parameter(node, parameters));
    case Op::Data: return made(data(node));
    case Op::Constant: return made(constant(node));
    case Op::Iota: return made(iota(node));
    case Op::Cast: return made(cast(node, *x[0]));
    case Op::Bitcast: return made(bitcast(node, *x[0]));
    case Op::View: return made(interpret_view(node, *x[0]));
    case Op::Reduce: return made(interpret_reduce(node, *x[0]));
    case Op::ArgReduce: return made(interpret_arg_reduce(node, *x[0]));
    case Op::Scan: return made(interpret_scan(node, *x[0]));
    case Op::Dot: return made(interpret_dot(node, *x[0], *x[1]));
    case Op::Conv: return made(interpret_conv(node, *x[0], *x[1]));
    case Op::Gather: return made(interpret_gather(node, *x[0], *x[1]));
    case Op::Scatter: return made(interpret_scatter(node, *x[0], *x[1], *x[2]));
    case Op::Concat: {
      std::vector<const HostArray*> parts;
      for (const Array& part : x) parts.push_back(part.get());
      return made(interpret_concat(node, parts));
    }
    case Op::ArgSort: return made(interpret_argsort(node, *x[0]));
    case Op::Leaf:
    case Op::StopGradient:
    case Op::CustomGradient:
    case Op::Barrier:
    case Op::Recompute: return x[0];
  }
  CERMET_CHECK(false, "{} has no interpretation", name(node.op));
  return nullptr;
}

}  // namespace

std::vector<HostArray> interpret(const Graph& graph, std::span<const HostArray> parameters) {
  const std::vector<const Node*> order = topological_order(graph.results);
  struct Slot {
    Array array;
    int64_t uses = 0;  // how many operands and results still want it
  };
  std::unordered_map<const Node*, Slot> slots(order.size());
  for (const Node* node : order)
    for (const Value& operand : node->operands) ++slots[operand.get()].uses;
  for (const Value& result : graph.results) ++slots[result.get()].uses;

  std::vector<Array> operands;
  for (const Node* node : order) {
    operands.clear();
    for (const Value& operand : node->operands) {
      Slot& slot = slots[operand.get()];
      operands.push_back(slot.array);
      if (--slot.uses == 0) slot.array.reset();
    }
    slots[node].array = compute(*node, operands, parameters);
  }
  std::vector<HostArray> results;
  for (const Value& result : graph.results) results.push_back(*slots[result.get()].array);
  return results;
}

}  // namespace cermet::ir
