// Rows of a kernel are parallel, the elements of a row are not: a sum of a million elements to one
// would keep one core busy. It becomes sums of chunks, which are rows, and the sum of their
// results.
//
// Where several axes are reduced and the first ones are long enough, they are the chunks and no
// index changes. Else the longest axis is divided: by a divisor of its extent near the wanted
// length, or, where there is none (primes), after padding it with the identity of the reduction.
// f16 and bf16 sums and products keep their f32 accumulator between the steps.

#include "compiler/split_reductions.h"

#include <algorithm>
#include <limits>

#include "ir/build.h"

namespace cermet::compiler {

using ir::Combine;
using ir::Value;

namespace {

constexpr int64_t few_rows = 64;
constexpr int64_t long_row = 32768;
constexpr int64_t chunk_length = 8192;
constexpr int64_t most_chunks = 1024;

double identity_of(Combine combine) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  if (combine == Combine::Max) return -inf;
  if (combine == Combine::Min) return inf;
  return combine == Combine::Prod ? 1.0 : -0.0;
}

// The number of chunks for an axis: the divisor nearest below the wanted number if it is at least
// half of it, else the wanted number itself.
int64_t chunk_count(int64_t extent, int64_t others) {
  const int64_t length = std::max<int64_t>(2, chunk_length / std::max<int64_t>(1, others));
  const int64_t wanted = std::clamp(extent / length, int64_t(2), most_chunks);
  for (int64_t c = wanted; c > wanted / 2 && c > 1; --c)
    if (extent % c == 0) return c;
  return wanted;
}

Value in_two_steps(const ir::Node& node, const Value& operand) {
  const auto& attr = node.as<ir::ReduceAttr>();
  const int64_t rows = node.numel();
  if (rows == 0 || rows >= few_rows || operand->numel() / rows <= long_row) return {};
  const bool half = operand->dtype == DType::F16 || operand->dtype == DType::BF16;
  const Value x = half ? ir::cast(operand, DType::F32) : operand;
  const auto finish = [&](const Value& y) { return ir::cast(y, node.dtype); };

  // The leading reduced axes as chunks, if they are enough and leave something to reduce.
  int64_t chunks = 1;
  for (size_t split = 1; split < attr.axes.size(); ++split) {
    chunks *= operand->shape[size_t(attr.axes[split - 1])];
    const int64_t length = operand->numel() / rows / chunks;
    if (chunks * rows < few_rows || length < 2 || chunks > long_row) continue;
    const Dims late(attr.axes.begin() + split, attr.axes.end());
    const Value partial = ir::reduce(attr.combine, x, late);  // earlier axes keep their numbers
    const Dims early(attr.axes.begin(), attr.axes.begin() + split);
    // Axes of `early` are below those of `late`, so they did not move.
    return finish(ir::reduce(attr.combine, partial, early));
  }

  // The longest reduced axis, divided.
  int64_t axis = attr.axes[0];
  for (int64_t a : attr.axes)
    if (x->shape[size_t(a)] > x->shape[size_t(axis)]) axis = a;
  const int64_t extent = x->shape[size_t(axis)];
  const int64_t count = chunk_count(extent, operand->numel() / rows / extent);
  const int64_t length = (extent + count - 1) / count;
  Value padded = x;
  if (length * count != extent)
    padded = ir::pad(x, axis, 0, length * count - extent, identity_of(attr.combine));
  Shape shape = padded->shape;
  shape[size_t(axis)] = length;
  shape.insert(shape.begin() + axis, count);
  Dims inner;
  for (int64_t a : attr.axes) inner.push_back(a >= axis ? a + 1 : a);
  const Value partial = ir::reduce(attr.combine, ir::reshape(padded, shape), inner);
  int64_t chunk_axis = axis;
  for (int64_t a : attr.axes) chunk_axis -= a < axis;
  return finish(ir::reduce(attr.combine, partial, Dims{chunk_axis}));
}

}  // namespace

ir::Graph split_reductions(const ir::Graph& graph) {
  const auto rule = [](const ir::Node& node, std::span<const Value> operands) -> Value {
    return node.op == ir::Op::Reduce ? in_two_steps(node, operands[0]) : Value();
  };
  for (const ir::Node* node : ir::topological_order(graph.results))
    if (node->op == ir::Op::Reduce && rule(*node, node->operands)) return ir::rewrite(graph, rule);
  return graph;
}

}  // namespace cermet::compiler
