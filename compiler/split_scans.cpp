// scan(x) is scan(chunks of x) combined with what comes before each chunk, which is a scan over the
// chunks' reductions. The first chunk has the identity before it.
//
// A scan along the last axis is done by a team of threads for each row, so it takes a few dozen
// rows to keep a GPU busy; one along another axis by one thread for each row, so it takes tens of
// thousands. f16 and bf16 are computed in f32 and rounded once.

#include "compiler/split_scans.h"

#include <algorithm>

#include "compiler/chunks.h"
#include "ir/build.h"
#include "ir/check.h"

namespace cermet::compiler {

using ir::Value;

namespace {

constexpr int64_t few_teams = 64;         // rows along the last axis
constexpr int64_t long_row = 32768;       // elements of such a row
constexpr int64_t team_length = 8192;     // of a chunk then
constexpr int64_t few_threads = 1 << 15;  // rows along another axis
constexpr int64_t long_column = 512;
constexpr int64_t thread_length = 64;
constexpr int64_t wanted_threads = 1 << 17;
constexpr int64_t most_chunks = 1024;
constexpr int64_t short_tail = 8;  // elements behind the axis, below which teams take it

// In how many chunks an axis is scanned; 1: at once.
int64_t chunk_count(const Shape& shape, int64_t axis) {
  const int64_t extent = shape[size_t(axis)], rows = numel(shape) / std::max<int64_t>(1, extent);
  if (numel(shape) == 0) return 1;
  int64_t tail = 1;
  for (size_t d = size_t(axis) + 1; d < shape.size(); ++d) tail *= shape[d];
  int64_t wanted = 1;
  if (tail < short_tail) {
    if (rows < few_teams && extent > long_row) wanted = extent / team_length;
  } else if (rows < few_threads && extent >= long_column) {
    wanted = std::min(extent / thread_length, wanted_threads / rows);
  }
  return chunks_near(extent, std::clamp<int64_t>(wanted, 1, most_chunks));
}

Value scanned_in_chunks(const ir::Node& node, std::span<const Value> operands) {
  if (node.op != ir::Op::Scan) return {};
  const auto& attr = node.as<ir::ScanAttr>();
  const int64_t axis = attr.axis, count = chunk_count(node.shape, axis);
  if (count < 2) return {};
  const bool half = node.dtype == DType::F16 || node.dtype == DType::BF16;
  const Value x =
      in_chunks(half ? ir::cast(operands[0], DType::F32) : operands[0], axis, count, attr.combine);
  const Value sums = ir::reduce(attr.combine, x, Dims{axis + 1}, true);
  Value before = ir::scan(attr.combine, sums, axis, attr.reverse);
  const int64_t first = attr.reverse ? 1 : 0, last = count - 1 + first;
  before = ir::pad(ir::slice(before, axis, first, last), axis, 1 - first, first,
                   identity_of(attr.combine));
  const Value inside = ir::scan(attr.combine, x, axis + 1, attr.reverse, attr.exclusive);
  const Value all = combined(attr.combine, ir::expand(before, x->shape), inside);
  Shape flat = node.shape;
  flat[size_t(axis)] = count * x->shape[size_t(axis) + 1];
  return ir::cast(ir::slice(ir::reshape(all, flat), axis, 0, node.shape[size_t(axis)]), node.dtype);
}

}  // namespace

ir::Graph split_scans(const ir::Graph& graph) { return ir::rewrite(graph, scanned_in_chunks); }

}  // namespace cermet::compiler
