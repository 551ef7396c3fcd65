// The rules of the simplifier that need more than a line. Each returns an empty Value where it does
// not apply.

#include "compiler/simplify_rules.h"
#include "ir/build.h"
#include "ir/element.h"
#include "ir/eval.h"
#include "ir/word.h"

namespace cermet::compiler {

using ir::Combine;
using ir::Node;
using ir::Op;
using ir::StridedMap;
using ir::Value;
using ir::ViewMap;

namespace {

uint64_t bits_of_constant(const Value& v) { return v->as<ir::ConstantAttr>().bits; }

uint64_t cast_bits(DType from, DType to, uint64_t bits) {
  alignas(ir::word_size) std::byte word[ir::word_size], element[ir::word_size]{};
  ir::unpack(from, &bits, 0, 1, word);
  ir::pack_cast(from, word, 1, to, element, 0);
  return ir::load_bits(to, element, 0);
}

// base^exponent modulo 2^64.
uint64_t power(uint64_t base, uint64_t exponent) {
  uint64_t result = 1;
  for (; exponent != 0; exponent >>= 1, base *= base)
    if (exponent & 1) result *= base;
  return result;
}

}  // namespace

Value fold(const Node& node) {
  const bool is_cast = node.op == Op::Cast || node.op == Op::Bitcast;
  if (node.operands.empty() || !(is_elementwise(node.op) || is_cast)) return {};
  SmallVector<uint64_t, 3> bits;
  for (const Value& operand : node.operands) {
    if (operand->op != Op::Constant) return {};
    bits.push_back(bits_of_constant(operand));
  }
  const DType from = node.operands.back()->dtype;  // of where: that of what it selects
  const uint64_t result = node.op == Op::Bitcast ? bits[0]
                          : node.op == Op::Cast  ? cast_bits(from, node.dtype, bits[0])
                                                 : ir::eval_element(node.op, from, bits);
  return ir::constant_bits(node.dtype, node.shape, result);
}

// All elements are one, so an extremum is it, and a sum of integers is a product. Sums of floats
// round once for each element; only those of zeros, and products of 1 and +0, need no rounding.
Value reduce_of_constant(const Node& node) {
  const Value& x = node.operands[0];
  const Combine combine = node.as<ir::ReduceAttr>().combine;
  const DType dtype = node.dtype;
  const auto result = [&](uint64_t bits) { return ir::constant_bits(dtype, node.shape, bits); };
  if (x->numel() == 0)  // of max and min there is none: ir/infer.h refuses them
    return result(combine == Combine::Sum ? 0 : ir::element_bits(dtype, int64_t(1)));
  if (x->op != Op::Constant || node.numel() == 0) return {};
  const uint64_t bits = bits_of_constant(x);
  if (combine == Combine::Max || combine == Combine::Min) return result(bits);
  const int64_t count = x->numel() / node.numel();
  if (is_float(dtype)) {
    const bool zero = bits == 0, minus_zero = bits == ir::element_bits(dtype, -0.0);
    const bool one = bits == ir::element_bits(dtype, 1.0);
    const bool exact = combine == Combine::Sum ? zero || minus_zero : zero || one;
    return exact ? result(bits) : Value();
  }
  const uint64_t value = uint64_t(ir::element_to_int(dtype, bits));
  const uint64_t total =
      combine == Combine::Sum ? value * uint64_t(count) : power(value, uint64_t(count));
  return result(ir::element_bits(dtype, int64_t(total)));
}

// out[i] = x[i with i[axis] replaced by offset + sum(i[d] * stride[d])], which is a view of x where
// the index is a constant or a view of an iota, and stays inside of x for all i.
Value gather_by_affine_index(const Node& node) {
  const Value &x = node.operands[0], &index = node.operands[1];
  const size_t axis = size_t(node.as<ir::AxisAttr>().axis);
  StridedMap at = StridedMap::contiguous(index->shape);  // index[i] is the position of i in it
  if (index->op == Op::Constant) {
    at.strides = Strides(index->shape.size(), 0);
    at.offset = int64_t(bits_of_constant(index));
  } else if (index->op == Op::View && index->operands[0]->op == Op::Iota) {
    if (!index->view().single() || index->view().masked()) return {};
    at = index->view().levels()[0];
  } else if (index->op != Op::Iota) {
    return {};
  }
  const int64_t extent = x->shape[axis];
  const auto range = at.range();
  if (!range || range->first < 0 || range->second >= extent) return {};
  const Strides row = row_major_strides(x->shape);
  StridedMap map = StridedMap::contiguous(node.shape);
  map.offset = at.offset * row[axis];
  for (size_t d = 0; d < row.size(); ++d)
    map.strides[d] = node.shape[d] == 1 ? 0 : at.strides[d] * row[axis] + (d == axis ? 0 : row[d]);
  return ir::view(x, ViewMap(std::move(map)));
}

Value concat_without_empty(const Node& node) {
  const int64_t axis = node.as<ir::AxisAttr>().axis;
  std::vector<Value> parts;
  bool same = true;
  for (const Value& part : node.operands) {
    if (part->shape[size_t(axis)] == 0) continue;
    parts.push_back(part);
    same &= part->op == Op::Constant && part->attr == parts[0]->attr;
  }
  if (parts.empty()) return {};
  if (same) return ir::constant_bits(node.dtype, node.shape, bits_of_constant(parts[0]));
  return parts.size() < node.operands.size() ? ir::concat(parts, axis) : Value();
}

// f(view(a), view(b), constant) => view(f(a, b, constant)), where one map broadcasts all of them:
// it reads fewer elements than it gives, so f is computed less often.
Value hoist_over_broadcast(const Node& node) {
  const bool is_cast = node.op == Op::Cast || node.op == Op::Bitcast;
  if (!is_elementwise(node.op) && !is_cast) return {};
  const Node* first = nullptr;  // of the views
  for (const Value& operand : node.operands) {
    if (operand->op == Op::Constant) continue;
    if (operand->op != Op::View) return {};
    if (!first) first = operand.get();
    if (operand->operands[0]->shape != first->operands[0]->shape ||
        operand->view() != first->view())
      return {};
  }
  if (!first || first->view().masked() || first->operands[0]->numel() >= node.numel()) return {};
  SmallVector<Value, 3> sources;
  for (const Value& operand : node.operands)
    sources.push_back(operand->op == Op::View
                          ? operand->operands[0]
                          : ir::constant_bits(operand->dtype, first->operands[0]->shape,
                                              bits_of_constant(operand)));
  const Value below = settle(ir::make(node.op, std::move(sources), {}, node.dtype));
  return ir::view(below, first->view());
}

}  // namespace cermet::compiler
