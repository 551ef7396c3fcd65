// Rows of a kernel are parallel, the elements of a row are not: a sum of a million elements to one
// would keep one core busy. It becomes sums of chunks, which are rows, and the sum of their
// results.
//
// Where several axes are reduced and the first ones are long enough, they are the chunks and no
// index changes. Else the longest axis is divided: by a divisor of its extent near the wanted
// length, or, where there is none (primes), after padding it with the identity of the reduction.
// f16 and bf16 sums and products keep their f32 accumulator between the steps.
//
// Products of matrices and convolutions with small results and long sums, such as the gradient of a
// convolution's weight, which sums over images and their pixels, are treated alike: the summed axis
// (of a convolution: the channels) is cut into a batch. A GPU wants more parts, since a tile of a
// result is one unit and there are many multiprocessors; and of f16 and bf16, too: their products
// are exact in f32, in which the parts are.

#include "compiler/split_reductions.h"

#include <algorithm>

#include "compiler/chunks.h"
#include "ir/build.h"

namespace cermet::compiler {

using ir::Combine;
using ir::Value;

namespace {

constexpr int64_t few_rows = 64;
constexpr int64_t long_row = 32768;
constexpr int64_t chunk_length = 8192;
constexpr int64_t most_chunks = 1024;

// The number of chunks for an axis.
int64_t chunk_count(int64_t extent, int64_t others) {
  const int64_t length = std::max<int64_t>(2, chunk_length / std::max<int64_t>(1, others));
  return chunks_near(extent, std::clamp(extent / length, int64_t(2), most_chunks));
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
  Dims inner;
  for (int64_t a : attr.axes) inner.push_back(a >= axis ? a + 1 : a);
  const Value partial = ir::reduce(attr.combine, in_chunks(x, axis, count, attr.combine), inner);
  int64_t chunk_axis = axis;
  for (int64_t a : attr.axes) chunk_axis -= a < axis;
  return finish(ir::reduce(attr.combine, partial, Dims{chunk_axis}));
}

constexpr int64_t tile_elements = 96 * 256;       // of a contraction's result, for one unit
constexpr int64_t few_tiles = 4;                  // are not enough for all threads
constexpr int64_t most_parts = 16;                // of one contraction
constexpr int64_t long_sum = 8192;                // terms of one element
constexpr int64_t large_work = int64_t(1) << 22;  // multiplications: about 100 us

// In how many parts of the same size a contraction over an axis of this extent is done.
int64_t part_count(const ir::Node& node, int64_t extent, int64_t terms) {
  // f16 and bf16 would lose their accumulator, integers are rarely large.
  const bool wide = node.dtype == DType::F32 || node.dtype == DType::F64;
  if (!wide || node.shape[0] != 1 || terms < long_sum ||
      node.numel() >= few_tiles * tile_elements || node.numel() * terms < large_work)
    return 1;
  for (int64_t parts = most_parts; parts > 1; --parts)
    if (extent % parts == 0) return parts;
  return 1;
}

// Axis `axis` of x, whose axis 0 has extent 1, in parts, which take the place of axis 0.
Value in_parts(const Value& x, size_t axis, int64_t parts) {
  Shape divided(x->shape.begin() + 1, x->shape.end());
  divided[axis - 1] = parts;
  divided.insert(divided.begin() + int64_t(axis), x->shape[axis] / parts);
  Dims order{int64_t(axis) - 1};
  for (size_t d = 0; d < divided.size(); ++d)
    if (d != axis - 1) order.push_back(int64_t(d));
  return ir::permute(ir::reshape(x, divided), order);
}

Value sum_of_parts(const Value& parts) { return ir::reduce(Combine::Sum, parts, Dims{0}, true); }

Value dot_in_parts(const ir::Node& node, const Value& a, const Value& b) {
  const int64_t terms = a->shape[2], parts = part_count(node, terms, terms);
  if (parts == 1) return {};
  return sum_of_parts(ir::dot(in_parts(a, 2, parts), in_parts(b, 1, parts)));
}

constexpr int64_t multiprocessors = 132;  // of an H100
constexpr int64_t tile_side = 64;         // of a result, for one of them
constexpr int64_t thin_side = 15;         // at most so many rows or columns: one has
constexpr int64_t thin_columns = 32;      // of the others (compiler/thin_plan.h)
constexpr int64_t long_gpu_sum = 2048;    // terms: less is done before another kernel starts
constexpr int64_t least_part = 256;       // terms
constexpr int64_t aligned_part = 8;       // terms of 16 bytes, of f16

int64_t gpu_part_count(const ir::Node& node, int64_t terms) {
  const int64_t m = node.shape[1], n = node.shape[2];
  if (node.shape[0] != 1 || !is_float(node.dtype) || terms < long_gpu_sum || m * n == 0) return 1;
  const auto pieces = [](int64_t extent, int64_t size) { return (extent + size - 1) / size; };
  const int64_t units = std::min(m, n) <= thin_side ? pieces(std::max(m, n), thin_columns)
                                                    : pieces(m, tile_side) * pieces(n, tile_side);
  if (2 * units > multiprocessors) return 1;
  // Partial results are written and read: at most a quarter of what the operands are.
  const int64_t cheap = (m + n) * (terms / 8) / (m * n);
  const int64_t most = std::min({2 * multiprocessors / units, terms / least_part, cheap});
  for (const int64_t part_of : {aligned_part, int64_t(1)})
    for (int64_t parts = most; parts > 1 && parts > most / 2; --parts)
      if (terms % (parts * part_of) == 0) return parts;
  return 1;
}

Value dot_in_parts_on_gpu(const ir::Node& node, const Value& a, const Value& b) {
  const int64_t parts = gpu_part_count(node, a->shape[2]);
  if (parts == 1) return {};
  const DType sums = node.dtype == DType::F64 ? DType::F64 : DType::F32;
  const Value product =
      ir::dot(in_parts(ir::cast(a, sums), 2, parts), in_parts(ir::cast(b, sums), 1, parts));
  return ir::cast(sum_of_parts(product), node.dtype);
}

Value conv_in_parts(const ir::Node& node, const Value& x, const Value& w) {
  const auto& attr = node.as<ir::ConvAttr>();
  const int64_t terms = w->numel() / std::max<int64_t>(1, w->shape[0] * w->shape[1]);
  const int64_t parts = part_count(node, w->shape[2], terms);
  if (parts == 1) return {};
  return sum_of_parts(
      ir::conv(in_parts(x, 2, parts), in_parts(w, 2, parts), attr.stride, attr.dilation));
}

Value split(const ir::Node& node, std::span<const Value> operands, bool gpu) {
  if (node.op == ir::Op::Reduce) return in_two_steps(node, operands[0]);
  if (node.op == ir::Op::Dot)
    return (gpu ? dot_in_parts_on_gpu : dot_in_parts)(node, operands[0], operands[1]);
  if (node.op == ir::Op::Conv) return conv_in_parts(node, operands[0], operands[1]);
  return {};
}

}  // namespace

ir::Graph split_reductions(const ir::Graph& graph, const Target& target) {
  return ir::rewrite(graph, [&](const ir::Node& node, std::span<const Value> operands) {
    return split(node, operands, target.compute > 0);
  });
}

}  // namespace cermet::compiler
