// The interpreter against values known by hand; golden_test.cpp asks NumPy and PyTorch.
#include "ir/interpreter.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <cmath>
#include <limits>

#include "cermet/error.h"
#include "ir/build.h"
#include "support/catch.h"
#include "support/repeats.h"

using namespace cermet;
using namespace cermet::ir;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

Value parameter_of(int64_t slot, const HostArray& array) {
  return parameter(slot, array.dtype, array.shape);
}

HostArray interpret_one(const Value& result, std::initializer_list<HostArray> parameters = {}) {
  return interpret({{}, {result}}, std::span(parameters.begin(), parameters.size()))[0];
}

template <class T>
std::vector<T> list(const HostArray& array) {
  return {array.as<T>().begin(), array.as<T>().end()};
}

const HostArray counting = HostArray::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});

class Bytes : public Storage {
 public:
  explicit Bytes(const void* data) : data_(data) {}
  const void* host_data() const override { return data_; }

 private:
  const void* data_;
};

}  // namespace

TEST_CASE("interpreter: leaves have the values that they are given") {
  CHECK(list<int64_t>(interpret_one(iota(4))) == std::vector<int64_t>{0, 1, 2, 3});
  CHECK(list<float>(interpret_one(constant(DType::F32, {3}, 0.1))) ==
        std::vector<float>{0.1f, 0.1f, 0.1f});
  const int16_t elements[3] = {7, -8, 9};
  const Value x = data(std::make_shared<Bytes>(elements), DType::I16, {3});
  CHECK(list<int16_t>(interpret_one(-x)) == std::vector<int16_t>{-7, 8, -9});
  CHECK_THROWS_WITH(interpret_one(data(std::make_shared<Bytes>(nullptr), DType::I16, {3})),
                    "interpret: the host cannot read the data of i16[3]");
}

TEST_CASE("interpreter: parameters must have the dtype and the shape of their nodes") {
  const Value x = parameter(1, DType::F32, {2, 3});
  CHECK_THROWS_WITH(interpret_one(x, {counting}), "interpret: parameter 1 is missing, 1 are given");
  CHECK_THROWS_WITH(interpret_one(x, {counting, HostArray(DType::F64, {2, 3})}),
                    "interpret: parameter 1 is f64[2,3], the graph expects f32[2,3]");
  CHECK_THROWS_AS(interpret_one(x, {counting, HostArray(DType::F32, {3, 2})}), Error);
}

TEST_CASE("interpreter: each node is rounded to its dtype") {
  const Value x = constant(DType::F16, {}, 2048.0), one = constant(DType::F16, {}, 1.0);
  CHECK(interpret_one((x + one) + one).number(0) == 2048);
  CHECK(interpret_one(x + (one + one)).number(0) == 2050);
  const Value byte = constant(DType::U8, {}, int64_t(200));
  CHECK(interpret_one(cast(byte + byte, DType::I32)).number(0) == 400 - 256);
}

TEST_CASE("interpreter: float to integer conversion truncates, saturates, and makes NaN 0") {
  const HostArray row =
      HostArray::of<double>({8}, {-1.9, 1.9, 300, -300, 1e30, -1e30, infinity, not_a_number});
  const Value x = parameter_of(0, row);
  const auto as = [&](DType dtype) { return interpret_one(cast(x, dtype), {row}); };
  CHECK(list<int8_t>(as(DType::I8)) == std::vector<int8_t>{-1, 1, 127, -128, 127, -128, 127, 0});
  CHECK(list<uint8_t>(as(DType::U8)) == std::vector<uint8_t>{0, 1, 255, 0, 255, 0, 255, 0});
  using Long = std::numeric_limits<int64_t>;
  CHECK(list<int64_t>(as(DType::I64)) ==
        std::vector<int64_t>{-1, 1, 300, -300, Long::max(), Long::min(), Long::max(), 0});
  const uint64_t most = std::numeric_limits<uint64_t>::max();
  CHECK(list<uint64_t>(as(DType::U64)) == std::vector<uint64_t>{0, 1, 300, 0, most, 0, most, 0});
  CHECK(list<bool>(as(DType::Bool)) == std::vector<bool>(8, true));
}

TEST_CASE("interpreter: integer to float conversion rounds once") {
  const uint64_t big = (uint64_t(1) << 63) + (uint64_t(1) << 39) + 1;  // just above a tie in f32
  const HostArray row = HostArray::of<uint64_t>({1}, {big});
  CHECK(interpret_one(cast(parameter_of(0, row), DType::F32), {row}).number(0) ==
        double(std::nextafter(0x1p63f, infinity)));
}

TEST_CASE("interpreter: reductions start from the first element, and pass NaN on") {
  const HostArray zeros = HostArray::of<float>({2}, {-0.0f, -0.0f});
  const Value x = parameter_of(0, zeros);
  CHECK(std::signbit(interpret_one(reduce(Combine::Sum, x, Dims{0}), {zeros}).number(0)));
  const Value nothing = parameter(0, DType::F32, {2, 0});
  const HostArray empty(DType::F32, {2, 0});
  CHECK(list<float>(interpret_one(reduce(Combine::Sum, nothing, Dims{1}), {empty})) ==
        std::vector<float>{0, 0});
  CHECK(list<float>(interpret_one(reduce(Combine::Prod, nothing, Dims{1}), {empty})) ==
        std::vector<float>{1, 1});
  const HostArray odd = HostArray::of<float>({3}, {1, not_a_number, 2});
  const Value y = parameter_of(0, odd);
  for (Combine combine : {Combine::Max, Combine::Min}) {
    CHECK(std::isnan(interpret_one(reduce(combine, y, Dims{0}), {odd}).number(0)));
    CHECK(interpret_one(arg_reduce(combine, y, 0), {odd}).number(0) == 1);
  }
  const Value z = parameter_of(0, counting);
  CHECK(list<float>(interpret_one(reduce(Combine::Sum, z, Dims{0}), {counting})) ==
        std::vector<float>{5, 7, 9});
  CHECK(list<float>(interpret_one(reduce(Combine::Prod, z, Dims{0, 1}), {counting})) ==
        std::vector<float>{720});
}

TEST_CASE("interpreter: integer sums and products are exact modulo their width") {
  const HostArray bytes = HostArray::of<uint8_t>({3}, {200, 100, 3});
  const Value x = parameter_of(0, bytes);
  CHECK(interpret_one(reduce(Combine::Sum, x, Dims{0}), {bytes}).number(0) == 303 % 256);
  CHECK(interpret_one(reduce(Combine::Prod, x, Dims{0}), {bytes}).number(0) == 60000 % 256);
  const int64_t big = int64_t(1) << 62;
  const HostArray longs = HostArray::of<int64_t>({3}, {big, big, 1});
  const Value y = parameter_of(0, longs);
  CHECK(list<int64_t>(interpret_one(reduce(Combine::Sum, y, Dims{0}), {longs}))[0] ==
        std::numeric_limits<int64_t>::min() + 1);
}

TEST_CASE("interpreter: scans run from either end, with or without their own element") {
  const HostArray row = HostArray::of<int32_t>({4}, {1, 2, 3, 4});
  const Value x = parameter_of(0, row);
  const auto run = [&](Combine combine, bool reverse, bool exclusive) {
    return list<int32_t>(interpret_one(scan(combine, x, 0, reverse, exclusive), {row}));
  };
  using List = std::vector<int32_t>;
  CHECK(run(Combine::Sum, false, false) == List{1, 3, 6, 10});
  CHECK(run(Combine::Sum, true, false) == List{10, 9, 7, 4});
  CHECK(run(Combine::Sum, false, true) == List{0, 1, 3, 6});
  CHECK(run(Combine::Prod, true, true) == List{24, 12, 4, 1});
  CHECK(run(Combine::Max, false, true) == List{std::numeric_limits<int32_t>::min(), 1, 2, 3});
  CHECK(run(Combine::Min, true, true) == List{2, 3, 4, std::numeric_limits<int32_t>::max()});
}

TEST_CASE("interpreter: dot and conv are sums of products") {
  const Value x = parameter_of(0, counting);
  CHECK(list<float>(interpret_one(matmul(x, transpose(x, 0, 1)), {counting})) ==
        std::vector<float>{14, 32, 32, 77});
  // One row of six, a window of two taps with a gap, every second place.
  const Value row = reshape(x, Shape{1, 1, 1, 6});
  const Value window = reshape(constant(DType::F32, {2}, 1.0), Shape{1, 1, 1, 2});
  CHECK(list<float>(interpret_one(conv(row, window, Dims{2}, Dims{2}), {counting})) ==
        std::vector<float>{1 + 3, 3 + 5});
}

TEST_CASE("interpreter: gather and scatter follow the index, and refuse one out of range") {
  const HostArray index = HostArray::of<int64_t>({2, 2}, {2, 0, 1, 1});
  const Value x = parameter_of(0, counting), i = parameter_of(1, index);
  CHECK(list<float>(interpret_one(gather(x, i, 1), {counting, index})) ==
        std::vector<float>{3, 1, 5, 5});
  const Value updates = slice(x, 1, 0, 2);
  CHECK(list<float>(interpret_one(scatter(Combine::Set, x, i, updates, 1), {counting, index})) ==
        std::vector<float>{2, 2, 1, 4, 5, 6});
  CHECK(list<float>(interpret_one(scatter(Combine::Sum, x, i, updates, 1), {counting, index})) ==
        std::vector<float>{3, 2, 4, 4, 14, 6});
  for (int64_t wrong : {int64_t(-1), int64_t(3)}) {
    const HostArray bad = HostArray::of<int64_t>({2, 2}, {2, 0, wrong, 1});
    const std::string text =
        fmt::format("index {} is out of range for axis 1 of f32[2,3], which has 3 elements", wrong);
    CHECK_THROWS_WITH(interpret_one(gather(x, i, 1), {counting, bad}), "gather: " + text);
    CHECK_THROWS_WITH(interpret_one(scatter(Combine::Sum, x, i, updates, 1), {counting, bad}),
                      "scatter: " + text);
  }
}

TEST_CASE("interpreter: views and concatenation move bits, whatever they mean") {
  const HostArray bits = HostArray::of<uint32_t>({2}, {0x7f800001u, 0xffc12345u});  // NaNs
  const Value x = bitcast(parameter_of(0, bits), DType::F32);
  const Value both = concat(std::vector{flip(x, 0), pad(x, 0, 1, 0)}, 0);
  CHECK(list<uint32_t>(interpret_one(bitcast(both, DType::U32), {bits})) ==
        std::vector<uint32_t>{0xffc12345u, 0x7f800001u, 0, 0x7f800001u, 0xffc12345u});
}

TEST_CASE("interpreter: sorting is stable, and NaN is the greatest element") {
  const HostArray row =
      HostArray::of<float>({7}, {1, not_a_number, -0.0f, infinity, 0, not_a_number, 1});
  const Value x = parameter_of(0, row);
  CHECK(list<int64_t>(interpret_one(argsort(x, 0), {row})) ==
        std::vector<int64_t>{2, 4, 0, 6, 3, 1, 5});
  CHECK(list<int64_t>(interpret_one(argsort(x, 0, true), {row})) ==
        std::vector<int64_t>{1, 5, 3, 0, 6, 2, 4});
}

TEST_CASE("interpreter: views that never merge are stored from time to time") {
  Value x = parameter(0, DType::I64, {2, 3, 4});
  std::vector<int64_t> expected(24);
  for (int64_t i = 0; i < 24; ++i) expected[size_t(i)] = i;
  const HostArray input(DType::I64, {2, 3, 4}, expected.data());
  for (int i = 0; i < 100; ++i) {
    x = reshape(transpose(x, 0, 2), Shape{2, 3, 4});
    CHECK(x->view().levels().size() <= 8);
    const std::vector<int64_t> old = expected;
    for (size_t k = 0; k < 24; ++k) expected[k] = old[k % 2 * 12 + k / 2 % 3 * 4 + k / 6];
  }
  CHECK(list<int64_t>(interpret_one(x, {input})) == expected);
}

TEST_CASE("interpreter: a chain of a million nodes runs, and values die after their last use") {
  Value x = parameter(0, DType::F32, {2});
  const Value one = like(x, 1);
  const int64_t length = test::repeats(1000000);
  for (int64_t i = 0; i < length; ++i) x = x + one;
  CHECK(list<float>(interpret_one(x, {HostArray::of<float>({2}, {1, -5})})) ==
        std::vector<float>{float(length + 1), float(length - 5)});

  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  const int64_t megabyte = (1 << 20) / 8, count = 600;
  Value y = parameter(0, DType::U64, {megabyte});
  for (int64_t i = 0; i < count; ++i) y = bitwise_not(y);
  CHECK(interpret_one(y, {HostArray(DType::U64, {megabyte})}).number(megabyte - 1) == 0);
  getrusage(RUSAGE_SELF, &after);
  CHECK((after.ru_maxrss - before.ru_maxrss) / 1024 < count * 2 / 3);  // MiB
}
