#include "support/random_graph.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "ir/build.h"
#include "ir/element.h"
#include "ir/text.h"

namespace cermet::test {
namespace {

using namespace ir;

class Generator {
 public:
  Generator(uint64_t seed, const RandomGraphOptions& options)
      : options_(options), random_(seed * 0x9e3779b97f4a7c15u + 1) {
    out_.seed = seed;
    elementwise_ = options.elementwise;
    if (elementwise_.empty())
      for (size_t i = structural_op_count; i < op_count; ++i) elementwise_.push_back(Op(i));
    if (options.views) families_.push_back(&Generator::add_view);
    if (options.reductions) families_.push_back(&Generator::add_reduction);
    if (options.scans) families_.push_back(&Generator::add_scan);
    if (options.products) families_.push_back(&Generator::add_product);
    if (options.indexing) families_.push_back(&Generator::add_indexing);
    if (options.casts) families_.push_back(&Generator::add_cast);
  }

  RandomGraph run() {
    for (int64_t i = below(2); i >= 0; --i) add(new_parameter(pick(options_.dtypes), new_shape()));
    for (int64_t i = 0; i < options_.steps; ++i) {
      // Half of the steps are elementwise: chains of them are what fusion is about.
      if (families_.empty() || chance(2))
        add_elementwise();
      else
        (this->*pick(families_))();
    }
    out_.graph.results = {values_.back()};
    for (int64_t i = below(3); i > 0; --i) out_.graph.results.push_back(some_value());
    return std::move(out_);
  }

 private:
  // Not std::uniform_int_distribution, which differs between libraries.
  int64_t below(int64_t count) { return int64_t(random_() % uint64_t(count)); }
  bool chance(int64_t one_in) { return below(one_in) == 0; }
  template <class T>
  const T& pick(const std::vector<T>& list) {
    return list[size_t(below(int64_t(list.size())))];
  }
  // In [-1, 1).
  double unit() { return std::ldexp(double(random_() >> 11), -52) - 1; }

  bool fits(std::span<const int64_t> shape) const {
    return checked_numel(shape).value_or(options_.max_elements + 1) <= options_.max_elements;
  }
  bool add(const Value& value) {
    if (!fits(value->shape)) return false;
    values_.push_back(value);
    return true;
  }
  // Recent values are more likely, so that chains become long.
  Value some_value() {
    const int64_t n = int64_t(values_.size());
    return values_[size_t(chance(2) ? n - 1 - below(std::min<int64_t>(n, 3)) : below(n))];
  }
  int64_t axis_of(const Value& x) { return below(int64_t(x->shape.size())); }

  Shape new_shape() {
    static const std::vector<int64_t> extents = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64};
    Shape shape;
    for (int64_t rank = below(4) + (chance(8) ? 0 : 1); rank > 0; --rank) {
      shape.push_back(options_.empty_extents && chance(60) ? 0 : pick(extents));
      if (!fits(shape)) shape.pop_back();
    }
    return shape;
  }

  double number_for(DType dtype) {
    if (!is_float(dtype))
      return double(below(is_signed(dtype) ? 201 : 101) - (is_signed(dtype) ? 100 : 0));
    return unit() * (chance(4) ? 20 : 2);
  }
  uint64_t special_bits(DType dtype) {
    if (!is_float(dtype)) {
      const uint64_t top = uint64_t(1) << (bits_of(dtype) - 1);
      const std::vector<uint64_t> bits = {0, 1, top, top - 1, top | (top - 1)};
      return is_bool(dtype) ? random_() % 2 : pick(bits);
    }
    constexpr double infinity = std::numeric_limits<double>::infinity();
    static const std::vector<double> numbers = {
        0.0, -0.0, 1.0, -1.0, 0.5, 2.5, infinity, -infinity, std::nan(""), std::numbers::pi};
    if (!chance(4)) return element_bits(dtype, pick(numbers));
    const uint64_t sign = uint64_t(chance(2)) << (bits_of(dtype) - 1);
    const uint64_t one_below_infinity = element_bits(dtype, infinity) - 1;
    return sign | (chance(2) ? one_below_infinity : uint64_t(1) + random_() % 4);
  }
  Value new_parameter(DType dtype, const Shape& shape) {
    HostArray array(dtype, shape);
    for (int64_t i = 0; i < array.numel(); ++i)
      array.set_bits(i, options_.special_values && chance(3)
                            ? special_bits(dtype)
                            : element_bits(dtype, number_for(dtype)));
    return adopt(std::move(array));
  }
  Value adopt(HostArray array) {
    const Value p = parameter(int64_t(out_.parameters.size()), array.dtype, array.shape);
    out_.graph.parameters.push_back(p);
    out_.parameters.push_back(std::move(array));
    return p;
  }
  // i64 positions along an axis of `extent` elements.
  Value new_index(const Shape& shape, int64_t extent) {
    HostArray array(DType::I64, shape);
    for (int64_t& i : array.as<int64_t>()) i = below(extent);
    return adopt(std::move(array));
  }

  // Something that an elementwise op can take beside x: a value of the graph if one fits, else a
  // constant, or a parameter of which some axes are broadcast.
  Value beside(const Value& x, DType dtype) {
    for (int attempt = 0; attempt < 4; ++attempt) {
      const Value y = some_value();
      const auto shape = broadcast_shapes(x->shape, y->shape);
      if (y->dtype == dtype && shape && fits(*shape)) return y;
    }
    if (chance(2)) return constant(dtype, x->shape, number_for(dtype));
    Shape shape;
    for (size_t d = size_t(below(int64_t(x->shape.size()) + 1)); d < x->shape.size(); ++d)
      shape.push_back(chance(3) ? 1 : x->shape[d]);
    return new_parameter(dtype, shape);
  }
  bool has_dtype(DType dtype) const {
    return std::ranges::find(options_.dtypes, dtype) != options_.dtypes.end();
  }
  // A value whose dtype is by nature i64 or bool, as one that the options ask for.
  void add_as_asked(const Value& x) {
    add(has_dtype(x->dtype) || chance(4) ? x : cast(x, pick(options_.dtypes)));
  }

  void add_elementwise() {
    for (int attempt = 0; attempt < 50; ++attempt) {
      const Op op = pick(elementwise_);
      const OpInfo& row = info(op);
      const Value x = some_value();
      if (!accepts(row.operands, x->dtype)) continue;
      std::vector<Value> operands = {x};
      if (op == Op::Where) operands = {beside(x, DType::Bool), x, beside(x, x->dtype)};
      while (operands.size() < size_t(row.arity)) operands.push_back(beside(x, x->dtype));
      if (op != Op::Where && chance(2)) std::swap(operands.front(), operands.back());
      const auto shape = common_shape(operands);
      if (!shape || !fits(*shape)) continue;
      add_as_asked(elementwise(op, operands));
      return;
    }
  }
  static std::optional<Shape> common_shape(std::span<const Value> operands) {
    std::optional<Shape> shape = operands[0]->shape;
    for (const Value& v : operands)
      if (shape) shape = broadcast_shapes(*shape, v->shape);
    return shape;
  }

  void add_view() {
    const Value x = some_value();
    const int64_t rank = int64_t(x->shape.size());
    if (rank == 0) return void(add(expand(x, Shape{below(5) + 1, below(5) + 1})));
    const int64_t axis = axis_of(x), n = x->shape[size_t(axis)];
    switch (below(10)) {
      case 0: add(flip(x, axis)); break;
      case 1: add(transpose(x, axis, axis_of(x))); break;
      case 2: {
        static const std::vector<int64_t> steps = {1, 1, 2, 3, -1, -2};
        const int64_t step = pick(steps), from = below(n + 1), to = below(n + 1);
        if (const Value y = slice(x, axis, from, to, from > to ? -std::abs(step) : std::abs(step));
            y->numel() > 0 || options_.empty_extents)
          add(y);
        break;
      }
      case 3: add(pad(x, axis, below(4), below(4), chance(2) ? 0 : 1)); break;
      case 4: {
        Shape shape = x->shape;
        if (chance(2)) shape.insert(shape.begin(), below(4) + 1);
        const Value y = chance(2) ? unsqueeze(x, axis) : x;
        if (y != x) shape = y->shape, shape[size_t(axis)] = below(6) + 1;
        if (fits(shape)) add(expand(y, shape));
        break;
      }
      case 5: add(reshape(x, Shape{x->numel()})); break;
      case 6:
      case 7: add(reshape(x, split_or_merged(x->shape, size_t(axis)))); break;
      case 8:
        if (rank >= 2 && n > 0)
          add(diagonal(x, below(n), axis, (axis + 1 + below(rank - 1)) % rank));
        break;
      case 9:
        if (n > 0)
          add(unfold(x, axis, below(std::min<int64_t>(n, 4)) + 1, below(3) + 1, below(2) + 1));
        break;
    }
  }
  Shape split_or_merged(const Shape& from, size_t axis) {
    Shape shape = from;
    const int64_t n = shape[axis];
    if (axis + 1 < shape.size() && chance(2)) {
      shape[axis] *= shape[axis + 1];
      shape.erase(shape.begin() + axis + 1);
      return shape;
    }
    for (int64_t divisor = 2 + below(4); divisor < n; ++divisor)
      if (n % divisor == 0) {
        shape[axis] = n / divisor;
        shape.insert(shape.begin() + axis + 1, divisor);
        break;
      }
    return shape;
  }

  // Whether sums and products of its elements may depend on the order of evaluation.
  bool allows_sums(const Value& x) const {
    return !is_bool(x->dtype) && (options_.float_sums || !is_float(x->dtype));
  }

  void add_reduction() {
    const Value x = some_value();
    if (x->shape.empty()) return;
    const int64_t axis = axis_of(x);
    const bool empty = x->numel() == 0;
    if (is_float(x->dtype) && allows_sums(x) && !empty && chance(3)) return add_pattern(x, axis);
    if (chance(6) && !empty)
      return add_as_asked(arg_reduce(chance(2) ? Combine::Max : Combine::Min, x, axis, chance(2)));
    Dims axes = {axis};
    for (int64_t d = 0; d < int64_t(x->shape.size()); ++d)
      if (d != axis && chance(3)) axes.push_back(d);
    std::vector<Combine> combines;
    if (!empty) combines = {Combine::Max, Combine::Min};
    if (allows_sums(x))
      combines.insert(combines.end(), {Combine::Sum, Combine::Sum, Combine::Prod});
    if (!combines.empty()) add(reduce(pick(combines), x, axes, chance(2)));
  }
  // Softmax, or subtraction of the mean and division by the deviation.
  void add_pattern(const Value& x, int64_t axis) {
    const Dims axes = {axis};
    if (chance(2)) {
      const Value e = exp(x - reduce(Combine::Max, x, axes, true));
      add(e / reduce(Combine::Sum, e, axes, true));
    } else {
      const double count = double(x->shape[size_t(axis)]);
      const Value centred = x - reduce(Combine::Sum, x, axes, true) / count;
      const Value variance = reduce(Combine::Sum, centred * centred, axes, true) / count;
      add(centred / sqrt(variance + 1e-3));
    }
  }

  void add_scan() {
    const Value x = some_value();
    if (x->shape.empty() || is_bool(x->dtype)) return;
    std::vector<Combine> combines = {Combine::Max, Combine::Min};
    if (allows_sums(x))
      combines.insert(combines.end(), {Combine::Sum, Combine::Sum, Combine::Prod});
    add(scan(pick(combines), x, axis_of(x), chance(2), chance(2)));
  }

  void add_product() {
    const Value x = some_value();
    const size_t rank = x->shape.size();
    if (!allows_sums(x) || rank == 0) return;
    const int64_t k = x->shape.back(), n = below(12) + 1;
    if (rank >= 2 && x->shape[rank - 2] > 0 && k > 0 && chance(3)) {  // a convolution of rows
      const int64_t rows = numel(std::span(x->shape).first(rank - 2));
      const int64_t channels = x->shape[rank - 2], window = below(std::min<int64_t>(k, 4)) + 1;
      const int64_t dilation = (window - 1) * 2 < k ? below(2) + 1 : 1;
      const Value image = reshape(x, Shape{1, rows, channels, k});
      const Value w = new_parameter(x->dtype, {1, below(4) + 1, channels, window});
      add(conv(image, w, Dims{below(2) + 1}, Dims{dilation}));
    } else {
      Shape result = x->shape;
      result.back() = n;
      if (fits(result)) add(matmul(x, new_parameter(x->dtype, {k, n})));
    }
  }

  void add_indexing() {
    const Value x = some_value();
    if (x->shape.empty()) return;
    const int64_t axis = axis_of(x), n = x->shape[size_t(axis)];
    Shape shape = x->shape;
    shape[size_t(axis)] = below(9) + 1;
    switch (below(4)) {
      case 0:
        if (n > 0 && fits(shape)) add(gather(x, new_index(shape, n), axis));
        break;
      case 1: {
        if (n == 0 || !fits(shape)) break;
        std::vector<Combine> combines = {Combine::Set};
        if (!is_bool(x->dtype)) combines.insert(combines.end(), {Combine::Max, Combine::Min});
        if (allows_sums(x)) combines.insert(combines.end(), {Combine::Sum, Combine::Sum});
        const Value updates = new_parameter(x->dtype, shape);
        add(scatter(pick(combines), x, new_index(shape, n), updates, axis));
        break;
      }
      case 2: {
        std::vector<Value> parts = {x, chance(2) ? flip(x, axis) : new_parameter(x->dtype, shape)};
        if (chance(2)) parts.push_back(slice(x, axis, below(n + 1), std::nullopt));
        if (fits(x->shape)) add(concat(parts, axis));
        break;
      }
      case 3: {
        const Value order = argsort(x, axis, chance(2));
        if (chance(2))
          add(gather(x, order, axis));
        else
          add_as_asked(order);
        break;
      }
    }
  }

  void add_cast() {
    const Value x = some_value();
    const DType dtype = pick(options_.dtypes);
    add(cast(x, dtype));
  }

  const RandomGraphOptions& options_;
  std::mt19937_64 random_;
  std::vector<Op> elementwise_;
  std::vector<void (Generator::*)()> families_;
  std::vector<Value> values_;
  RandomGraph out_;
};

}  // namespace

std::vector<Op> exact_elementwise_ops() {
  using enum Op;
  return {Neg,       Abs,        Sign,      Add,        Sub,   Mul,   Div,        FloorDivide,
          Fmod,      Remainder,  Floor,     Ceil,       Trunc, Round, Sqrt,       Minimum,
          Maximum,   Copysign,   Eq,        Ne,         Lt,    Le,    BitwiseNot, BitwiseAnd,
          BitwiseOr, BitwiseXor, LeftShift, RightShift, Where, Philox};
}

RandomGraphOptions RandomGraphOptions::only_elementwise() {
  RandomGraphOptions out;
  for (bool* family :
       {&out.views, &out.reductions, &out.scans, &out.products, &out.indexing, &out.casts})
    *family = false;
  return out;
}

RandomGraphOptions RandomGraphOptions::only_exact() {
  RandomGraphOptions out;
  out.elementwise = exact_elementwise_ops();
  out.float_sums = false;
  return out;
}

RandomGraph random_graph(uint64_t seed, const RandomGraphOptions& options) {
  return Generator(seed, options).run();
}

std::string describe(const RandomGraph& graph) {
  std::string out = fmt::format("random graph, seed {}\n{}", graph.seed, print(graph.graph));
  for (size_t i = 0; i < graph.parameters.size(); ++i)
    out += fmt::format("%{} = {}\n", i, ir::to_string(graph.parameters[i], 64));
  return out;
}

}  // namespace cermet::test
