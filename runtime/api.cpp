#include "runtime/api.h"

#include <algorithm>

#include "runtime/deferred_copy.h"
#include "runtime/devices.h"

namespace cermet {

double Scalar::to_double() const {
  return std::visit([](auto v) { return double(v); }, value_);
}
int64_t Scalar::to_int() const {
  return std::visit([](auto v) { return int64_t(v); }, value_);
}

Operand::Operand(const Tensor& tensor, SourceLocation where) : tensor_(&tensor), where_(where) {}

namespace runtime {

ir::Value value_of(const Tensor& tensor) {
  if (!tensor.defined()) throw Error("the tensor is undefined");
  return tensor.state()->value();
}

SmallVector<ir::Value, 3> values_of(std::span<const Operand* const> operands) {
  SmallVector<ir::Value, 3> out;
  for (const Operand* operand : operands)
    out.push_back(operand->is_tensor() ? value_of(operand->tensor()) : ir::Value());
  return out;
}

DType result_type(std::span<const Operand* const> operands, std::span<const ir::Value> values) {
  // Nearly always tensors of one dtype.
  const auto same = [&](const ir::Value& v) { return v && v->dtype == values[0]->dtype; };
  if (values[0] && std::ranges::all_of(values, same)) return values[0]->dtype;
  // [0] tensors with axes, [1] tensors of rank 0, [2] numbers
  std::optional<DType> groups[3];
  for (size_t i = 0; i < operands.size(); ++i) {
    DType dtype = DType::Bool;
    size_t group = 2;
    if (values[i]) {
      dtype = values[i]->dtype;
      group = values[i]->shape.empty() ? 1 : 0;
    } else {
      switch (operands[i]->scalar().kind()) {
        case DTypeKind::Bool: break;
        case DTypeKind::Unsigned:
        case DTypeKind::Signed: dtype = DType::I64; break;
        case DTypeKind::Float: dtype = DType::F32; break;
      }
    }
    groups[group] =
        !groups[group] || *groups[group] == dtype ? dtype : promote(*groups[group], dtype);
  }
  // Kinds as PyTorch ranks them: signed and unsigned integers are one.
  const auto rank = [](DType dtype) { return is_bool(dtype) ? 0 : is_float(dtype) ? 2 : 1; };
  std::optional<DType> out;
  for (const auto& group : groups)
    if (group && (!out || rank(*group) > rank(*out))) out = group;
  return *out;
}

namespace {

ir::Value constant_of(const Scalar& number, DType dtype, const Shape& shape) {
  return number.is_float() ? ir::constant(dtype, shape, number.to_double())
                           : ir::constant(dtype, shape, number.to_int());
}

}  // namespace

void convert(std::span<const Operand* const> operands, std::span<ir::Value> values, DType dtype) {
  const ir::Value* tensor = nullptr;
  bool on_gpu = false;
  for (ir::Value& v : values) {
    if (!v) continue;
    if (v->dtype != dtype) v = ir::cast(v, dtype);
    if (!tensor) tensor = &v;
    on_gpu = on_gpu || v->place > 0;
  }
  const Shape& shape = tensor ? (*tensor)->shape : Shape();
  for (size_t i = 0; i < values.size(); ++i)
    if (!values[i]) values[i] = constant_of(operands[i]->scalar(), dtype, shape);
  if (on_gpu) bring_scalars(values);
}

ir::Value operand_value(const Operand& operand, DType dtype) {
  if (operand.is_tensor()) return ir::cast(value_of(operand.tensor()), dtype);
  return constant_of(operand.scalar(), dtype, {});
}

ir::Value as_float(const ir::Value& x) { return is_float(x->dtype) ? x : ir::cast(x, DType::F32); }

std::string renamed(std::string_view op, std::string_view message) {
  const size_t colon = message.find(": ");
  const std::string_view head = message.substr(0, colon == message.npos ? 0 : colon);
  const auto of_a_name = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  const bool named = !head.empty() && std::ranges::all_of(head, of_a_name);
  return fmt::format("{}: {}", op, named ? message.substr(colon + 2) : message);
}

int64_t axis_of(std::string_view op, int64_t axis, size_t rank) {
  if (rank > 0) return ir::wrap_axis(op, axis, rank);
  if (axis != 0 && axis != -1)
    throw Error(fmt::format("{}: axis {} is out of range for rank 0", op, axis));
  return 0;
}

Dims axes_of(std::string_view op, const Axes& axes, size_t rank) {
  Dims out;
  if (axes.all()) {
    for (size_t d = 0; d < rank; ++d) out.push_back(int64_t(d));
    return out;
  }
  for (int64_t axis : axes.list()) out.push_back(axis_of(op, axis, rank));
  std::ranges::sort(out);
  for (size_t i = 1; i < out.size(); ++i)
    if (out[i] == out[i - 1]) throw Error(fmt::format("{}: axis {} is given twice", op, out[i]));
  if (rank == 0) out.clear();
  return out;
}

ir::Value from_front(const ir::Value& positions, int64_t extent) {
  const ir::Value at = ir::cast(positions, DType::I64), zero = ir::zeros_like(at);
  const ir::Value moved = ir::add(at, ir::constant(DType::I64, at->shape, extent));
  const ir::Value counted = ir::bitwise_and(ir::lt(at, zero), ir::le(zero, moved));
  return ir::where(counted, moved, at);
}

ir::Value placed(const ir::Value& value, const Device& device) {
  return device.kind == Device::Kind::Cpu ? value : value_on(value, device);
}

void bring_scalars(std::span<ir::Value> values) {
  const auto there = std::ranges::find_if(values, [](const ir::Value& v) { return v->place > 0; });
  if (there == values.end()) return;
  const Device device = device_of(**there);
  for (ir::Value& v : values)
    if (v->place == 0 && v->shape.empty()) v = later_on(v, device);
}

}  // namespace runtime
}  // namespace cermet
