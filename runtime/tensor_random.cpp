// Random tensors. Element i takes the 64 bits philox(i, key); everything else is arithmetic on
// them.

#include <atomic>
#include <numbers>

#include "cermet/random.h"
#include "ir/element.h"
#include "ir/eval.h"
#include "runtime/api.h"

namespace cermet {

using runtime::created_on;
using runtime::result_of;
using runtime::value_of;

namespace {

uint64_t philox_bits(uint64_t counter, uint64_t key) {
  const uint64_t operands[] = {counter, key};
  return ir::eval_element(ir::Op::Philox, DType::U64, operands);
}

struct Generator {
  std::atomic<uint64_t> seed{0x853c49e6748fea9bu}, next{0};
};
Generator& generator() {
  static Generator g;
  return g;
}

ir::Value random_bits(const Key& key, const Shape& shape) {
  const auto count = checked_numel(shape);
  if (!count)
    throw Error(
        fmt::format("rand: shape {} has more elements than fit in 64 bits", to_string(shape)));
  for (int64_t extent : shape)
    if (extent < 0) throw Error(fmt::format("rand: negative size in shape {}", to_string(shape)));
  const ir::Value counter = ir::cast(ir::iota(*count), DType::U64);
  return ir::reshape(ir::philox(counter, ir::constant_bits(DType::U64, {}, key.value)), shape);
}

ir::Value shifted_right(const ir::Value& bits, int64_t count) {
  return ir::right_shift(bits, ir::constant(DType::U64, {}, count));
}

// The upper `digits` bits as a fraction in [0, 1), exact in a float of that many digits.
ir::Value fraction(const ir::Value& bits, DType dtype, int digits) {
  const ir::Value top = ir::cast(shifted_right(bits, 64 - digits), DType::I64);
  return ir::cast(top, dtype) * (1.0 / double(int64_t(1) << digits));
}

// [0, 1): 24 bits for f32, 53 for f64; f16 and bf16 are rounded down to stay below 1.
ir::Value uniform_value(const Key& key, const Shape& shape, DType dtype) {
  const ir::Value bits = random_bits(key, shape);
  switch (dtype) {
    case DType::F64: return fraction(bits, DType::F64, 53);
    case DType::F32: return fraction(bits, DType::F32, 24);
    case DType::F16: return ir::cast(fraction(bits, DType::F32, 11), DType::F16);
    case DType::BF16: return ir::cast(fraction(bits, DType::F32, 8), DType::BF16);
    default: throw Error(fmt::format("rand: {} is not a floating point dtype", name(dtype)));
  }
}

DType float_dtype(const Options& options) { return options.dtype.value_or(DType::F32); }

}  // namespace

Key Key::fold(uint64_t number) const {
  return Key(philox_bits(number, value ^ 0x9e3779b97f4a7c15u));
}
std::pair<Key, Key> Key::split() const { return {fold(0), fold(1)}; }

void manual_seed(uint64_t seed) {
  generator().seed = seed;
  generator().next = 0;
}
Key next_key() {
  if (runtime::StepRecorder* recorder = runtime::StepRecorder::active())
    return recorder->hand_key();
  return Key(generator().seed).fold(generator().next.fetch_add(1));
}

Tensor rand(const Key& key, const Shape& shape, const Options& options, SourceLocation where) {
  return created_on("rand", options.device, where,
                    [&] { return uniform_value(key, shape, float_dtype(options)); });
}
Tensor rand(const Shape& shape, const Options& options, SourceLocation where) {
  return rand(next_key(), shape, options, where);
}
Tensor uniform(const Key& key, const Shape& shape, double low, double high, const Options& options,
               SourceLocation where) {
  return created_on("uniform", options.device, where, [&] {
    if (!(low <= high)) throw Error(fmt::format("uniform: low {} is above high {}", low, high));
    return uniform_value(key, shape, float_dtype(options)) * (high - low) + low;
  });
}

Tensor randn(const Key& key, const Shape& shape, const Options& options, SourceLocation where) {
  return created_on("randn", options.device, where, [&] {
    const DType dtype = float_dtype(options);
    if (!is_float(dtype))
      throw Error(fmt::format("randn: {} is not a floating point dtype", name(dtype)));
    const DType work = dtype == DType::F64 ? DType::F64 : DType::F32;
    const int digits = work == DType::F64 ? 32 : 24;
    const ir::Value bits = random_bits(key, shape);
    // The two halves of the bits are independent: a radius from (0, 1], an angle from [0, 1).
    const ir::Value low = ir::left_shift(bits, ir::constant(DType::U64, {}, int64_t(32)));
    const ir::Value u = (1.0 / double(int64_t(1) << digits)) + fraction(bits, work, digits);
    const ir::Value angle = fraction(low, work, digits) * (2 * std::numbers::pi);
    return ir::cast(ir::sqrt(ir::log(u) * -2.0) * ir::cos(angle), dtype);
  });
}
Tensor randn(const Shape& shape, const Options& options, SourceLocation where) {
  return randn(next_key(), shape, options, where);
}

namespace {

// Whether a dtype has a number near n: no wrapping around, no infinity.
bool holds(DType dtype, int64_t n) {
  if (is_bool(dtype)) return n == 0 || n == 1;
  if (dtype == DType::F16) return n >= -65504 && n <= 65504;  // its greatest finite number
  if (is_float(dtype) || dtype == DType::I64) return true;
  if (dtype == DType::U64) return n >= 0;
  const int64_t highest = (int64_t(1) << (bits_of(dtype) - (is_signed(dtype) ? 1 : 0))) - 1;
  return n <= highest && n >= (is_signed(dtype) ? -highest - 1 : 0);
}

}  // namespace

Tensor randint(const Key& key, int64_t low, int64_t high, const Shape& shape,
               const Options& options, SourceLocation where) {
  return created_on("randint", options.device, where, [&] {
    if (low >= high) throw Error(fmt::format("randint: [{}, {}) is empty", low, high));
    const DType dtype = options.dtype.value_or(DType::I64);
    if (!holds(dtype, low) || !holds(dtype, high - 1))
      throw Error(fmt::format("randint: [{}, {}) does not fit {}", low, high, name(dtype)));
    const uint64_t range = uint64_t(high) - uint64_t(low);
    const ir::Value bits = random_bits(key, shape);
    // The upper 64 bits of bits * range, by halves: ranges below 2^32 need one product of 32 bits
    // each.
    const auto number = [](uint64_t n) { return ir::constant_bits(DType::U64, {}, n); };
    const ir::Value mask = number(0xffffffffu), half = number(32);
    const ir::Value r_low = number(range & 0xffffffffu), r_high = number(range >> 32);
    const ir::Value b_low = ir::bitwise_and(bits, mask), b_high = ir::right_shift(bits, half);
    const ir::Value low_low = ir::right_shift(ir::mul(b_low, r_low), half);
    const ir::Value middle = ir::add(ir::mul(b_high, r_low), low_low);
    const ir::Value cross = ir::add(ir::mul(b_low, r_high), ir::bitwise_and(middle, mask));
    const ir::Value product =
        ir::add(ir::mul(b_high, r_high),
                ir::add(ir::right_shift(middle, half), ir::right_shift(cross, half)));
    const ir::Value value = ir::bitcast(product, DType::I64) + ir::constant(DType::I64, {}, low);
    return ir::cast(value, dtype);
  });
}
Tensor randint(int64_t low, int64_t high, const Shape& shape, const Options& options,
               SourceLocation where) {
  return randint(next_key(), low, high, shape, options, where);
}

Tensor randperm(const Key& key, int64_t n, const Options& options, SourceLocation where) {
  return created_on("randperm", options.device, where, [&] {
    if (n < 0) throw Error(fmt::format("randperm: {} elements", n));
    const DType dtype = options.dtype.value_or(DType::I64);
    if (n > 0 && !holds(dtype, n - 1))
      throw Error(fmt::format("randperm: {} elements do not fit {}", n, name(dtype)));
    return ir::cast(ir::argsort(random_bits(key, {n}), 0), dtype);
  });
}
Tensor randperm(int64_t n, const Options& options, SourceLocation where) {
  return randperm(next_key(), n, options, where);
}

Tensor bernoulli(const Key& key, const Tensor& p, SourceLocation where) {
  return result_of("bernoulli", where, [&] {
    const ir::Value probability = value_of(p);
    if (!is_float(probability->dtype))
      throw Error(fmt::format("bernoulli: probabilities must be floating point, got {}",
                              ir::type_string(*probability)));
    const DType work = probability->dtype == DType::F64 ? DType::F64 : DType::F32;
    const ir::Value u = uniform_value(key, probability->shape, work);
    return ir::cast(ir::lt(u, ir::cast(probability, work)), probability->dtype);
  });
}
Tensor bernoulli(const Tensor& p, SourceLocation where) { return bernoulli(next_key(), p, where); }

}  // namespace cermet
