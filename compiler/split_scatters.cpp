// A thread combines the updates of one place in their order, so a counter of a million events, or
// the gradient of a table of ten rows, would keep a few threads busy for long. scatter(x, index, u)
// is x combined with scatter(identity, index, u) of each chunk of the updates; the chunks' results
// may have half as many elements as there are updates. f16 and bf16 are computed in f32 and rounded
// once.

#include "compiler/split_scatters.h"

#include <algorithm>

#include "compiler/chunks.h"
#include "ir/build.h"

namespace cermet::compiler {

using ir::Combine;
using ir::Value;

namespace {

constexpr int64_t many_updates = 1024;  // of a row: less is done before another kernel starts
constexpr int64_t chunk_length = 64;    // a thread does these without sorting them
constexpr int64_t wanted_rows = 1 << 17;
constexpr int64_t least_chunks = 4;

// In how many chunks the updates are scattered; 1: at once.
int64_t chunk_count(const ir::Node& node, const Shape& updates, int64_t axis) {
  const int64_t count = updates[size_t(axis)], places = node.shape[size_t(axis)];
  if (count < many_updates || numel(updates) == 0) return 1;
  const int64_t rows = numel(updates) / count;
  const int64_t most = std::min({count / chunk_length, count / (2 * places), wanted_rows / rows});
  return most < least_chunks ? 1 : chunks_near(count, most);
}

Value scattered_in_chunks(const ir::Node& node, std::span<const Value> operands) {
  if (node.op != ir::Op::Scatter) return {};
  const auto& attr = node.as<ir::CombineAttr>();
  const Combine combine = attr.combine;
  const int64_t axis = attr.axis;
  const Value &x = operands[0], &index = operands[1], &updates = operands[2];
  if (combine == Combine::Set) return {};
  // Rows without updates would have to be left out of what is combined.
  for (size_t d = 0; d < x->shape.size(); ++d)
    if (int64_t(d) != axis && x->shape[d] != updates->shape[d]) return {};
  const int64_t count = chunk_count(node, updates->shape, axis);
  if (count < 2) return {};
  const bool half = node.dtype == DType::F16 || node.dtype == DType::BF16;
  const auto wide = [&](const Value& v) { return half ? ir::cast(v, DType::F32) : v; };
  Shape shape = x->shape;
  shape.insert(shape.begin() + axis, count);
  const Value nothing = ir::constant(half ? DType::F32 : node.dtype, shape, identity_of(combine));
  // What the last chunk lacks goes to place 0, where it changes nothing.
  const Value parts = ir::scatter(combine, nothing, in_chunks(index, axis, count, Combine::Sum),
                                  in_chunks(wide(updates), axis, count, combine), axis + 1);
  const Value sums = ir::cast(ir::reduce(combine, parts, Dims{axis}), parts->dtype);
  return ir::cast(combined(combine, wide(x), sums), node.dtype);
}

}  // namespace

ir::Graph split_scatters(const ir::Graph& graph) { return ir::rewrite(graph, scattered_in_chunks); }

}  // namespace cermet::compiler
