// Random tensors: functions of the key alone, with the distributions that they promise. Seeds are
// fixed; the bounds are six standard deviations wide.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "api/arrays.h"
#include "api/errors.h"
#include "cermet/cermet.h"
#include "runtime/engine.h"
#include "runtime/tensor_state.h"

namespace ct = cermet;
using ct::DType;
using ct::Key;
using ct::Tensor;
using ct::test::array_of;

namespace {

constexpr int64_t count = 1 << 16;

struct Moments {
  double mean, variance, low, high;
};
Moments moments(const Tensor& t) {
  const std::vector<double> x = t.to(DType::F64).to_vector<double>();
  const double n = double(x.size()), mean = std::accumulate(x.begin(), x.end(), 0.0) / n;
  double squares = 0;
  for (double v : x) squares += (v - mean) * (v - mean);
  const auto [low, high] = std::ranges::minmax(x);
  return {mean, squares / n, low, high};
}
void check_near(double got, double expected, double deviation) {
  INFO(got << " near " << expected);
  CHECK(std::fabs(got - expected) < 6 * deviation / std::sqrt(double(count)));
}

}  // namespace

TEST_CASE("random: Philox 4x32-10 gives the known answers of its authors") {
  // kat_vectors of Random123 1.14: what counter 0 and key 0 give begins 6627e8d5 e169c58d.
  const Tensor zero = ct::tensor(std::vector<uint64_t>{0, 0});
  CHECK(ct::philox(zero, zero).to_vector<uint64_t>()[1] == 0xe169c58d6627e8d5u);
}

TEST_CASE("random: the same key gives the same bits, another key other ones") {
  const Key key(42);
  CHECK(array_of(ct::rand(key, {100})) == array_of(ct::rand(key, {100})));
  CHECK(array_of(ct::randn(key, {100})) == array_of(ct::randn(key, {100})));
  CHECK(!(array_of(ct::rand(key, {100})) == array_of(ct::rand(Key(43), {100}))));
  // A longer tensor begins like a shorter one, whatever the shape.
  CHECK(array_of(ct::rand(key, {10, 20}).flatten().slice(0, 0, 100)) ==
        array_of(ct::rand(key, {100})));
  const auto [a, b] = key.split();
  CHECK(a.value != b.value);
  CHECK(a.value != key.value);
  CHECK(key.fold(7).value == Key(42).fold(7).value);
  std::set<uint64_t> keys;
  for (uint64_t i = 0; i < 1000; ++i) keys.insert(key.fold(i).value);
  CHECK(keys.size() == 1000);
}

TEST_CASE("random: manual_seed starts the default generator anew") {
  ct::manual_seed(5);
  const auto first = array_of(ct::rand({8})), second = array_of(ct::rand({8}));
  const auto normal = array_of(ct::randn({8}));
  CHECK(!(first == second));
  ct::manual_seed(5);
  CHECK(array_of(ct::rand({8})) == first);
  CHECK(array_of(ct::rand({8})) == second);
  CHECK(array_of(ct::randn({8})) == normal);
  ct::manual_seed(6);
  CHECK(!(array_of(ct::rand({8})) == first));
  // The key is taken by the call, not when the result is realized.
  ct::manual_seed(5);
  const Tensor a = ct::rand({8}), b = ct::rand({8});
  CHECK(array_of(b) == second);
  CHECK(array_of(a) == first);
}

TEST_CASE("random: rand and uniform stay in their ranges and fill them") {
  for (DType dtype : {DType::F32, DType::F64, DType::F16, DType::BF16}) {
    const Moments m = moments(ct::rand(Key(1), {count}, dtype));
    INFO(name(dtype));
    CHECK(m.low >= 0);
    CHECK(m.high < 1);
    const double grain = dtype == DType::BF16 ? 1.0 / 256 : dtype == DType::F16 ? 1.0 / 2048 : 0;
    check_near(m.mean, 0.5 - grain / 2, std::sqrt(1.0 / 12));
    check_near(m.variance, 1.0 / 12, std::sqrt(1.0 / 180));
    CHECK(ct::rand(Key(1), {2}, dtype).dtype() == dtype);
  }
  const Moments u = moments(ct::uniform(Key(2), {count}, -3, 5));
  CHECK(u.low >= -3);
  CHECK(u.high <= 5);
  check_near(u.mean, 1, 8 * std::sqrt(1.0 / 12));
}

TEST_CASE("random: randn is standard normal") {
  for (DType dtype : {DType::F32, DType::F64}) {
    const Tensor t = ct::randn(Key(3), {count}, dtype);
    const Moments m = moments(t);
    check_near(m.mean, 0, 1);
    check_near(m.variance, 1, std::sqrt(2.0));
    check_near((t * t * t).mean().item<double>(), 0, std::sqrt(15.0));
    check_near((t * t * t * t).mean().item<double>(), 3, std::sqrt(96.0));
    CHECK(m.high > 3.5);
    CHECK(m.low < -3.5);
    CHECK(ct::isfinite(t).all().item<bool>());
    // The share below one deviation: 0.841345.
    check_near((t < 1).to(DType::F64).mean().item<double>(), 0.8413447, 0.366);
    // Neighbours are independent.
    check_near((t.slice(0, 1, std::nullopt) * t.slice(0, 0, -1)).mean().item<double>(), 0, 1);
  }
}

TEST_CASE("random: randint hits every integer of its range alike") {
  const Tensor t = ct::randint(Key(4), -3, 5, {count});
  CHECK(t.dtype() == DType::I64);
  for (int64_t v = -3; v < 5; ++v)
    check_near((t == v).to(DType::F64).mean().item<double>(), 0.125, std::sqrt(0.125 * 0.875));
  CHECK(((t >= -3) & (t < 5)).all().item<bool>());
  CHECK(ct::randint(Key(4), 0, 2, {3}, DType::U8).dtype() == DType::U8);
  const Moments wide = moments(ct::randint(Key(5), INT64_MIN, INT64_MAX, {count}));
  check_near(wide.mean / 0x1p63, 0, 2 * std::sqrt(1.0 / 12));
  CHECK(wide.low < -0.99 * 0x1p63);
  CHECK(wide.high > 0.99 * 0x1p63);
  // A range above 2^32, where both halves of the product matter.
  const Moments far = moments(ct::randint(Key(6), 0, int64_t(1) << 40, {count}));
  check_near(far.mean / 0x1p40, 0.5, std::sqrt(1.0 / 12));
  CHECK(far.high < 0x1p40);
}

TEST_CASE("random: randint refuses ranges that its dtype cannot hold") {
  const ct::Key key(1);
  const auto draw = [&](int64_t low, int64_t high, DType dtype) {
    return ct::randint(key, low, high, {4}, dtype).realize();
  };
  for (const auto& [low, high, dtype] : {std::tuple(0, 256, DType::U8),
                                         {-128, 128, DType::I8},
                                         {0, 2, DType::Bool},
                                         {-65504, 65505, DType::F16},
                                         {INT32_MIN, INT32_MAX, DType::I32}})
    CHECK_NOTHROW(draw(low, high, dtype));
  CHECK_NOTHROW(draw(INT64_MIN, INT64_MAX, DType::I64));
  CHECK_NOTHROW(draw(0, INT64_MAX, DType::U64));
  CHECK_ERROR(ct::randint(key, 0, 257, {4}, DType::U8), "randint: ", "[0, 257)", "u8");
  CHECK_ERROR(ct::randint(key, -1, 2, {4}, DType::U64), "randint: ", "[-1, 2)", "u64");
  CHECK_ERROR(ct::randint(key, -129, 0, {4}, DType::I8), "randint: ", "i8");
  CHECK_ERROR(ct::randint(key, 0, int64_t(1) << 32, {4}, DType::I32), "randint: ", "i32");
  CHECK_ERROR(ct::randint(key, INT64_MIN, 0, {4}, DType::F16), "randint: ", "f16");
  CHECK_ERROR(ct::randint(key, 0, 3, {4}, DType::Bool), "randint: ", "bool");
}

TEST_CASE("random: randperm is a permutation, and not always the same") {
  const std::vector<int64_t> p = ct::randperm(Key(7), 1000).to_vector<int64_t>();
  std::vector<int64_t> sorted = p;
  std::ranges::sort(sorted);
  std::vector<int64_t> plain(1000);
  std::iota(plain.begin(), plain.end(), 0);
  CHECK(sorted == plain);
  CHECK(p != plain);
  CHECK(ct::randperm(Key(8), 1000).to_vector<int64_t>() != p);
  CHECK(ct::randperm(0).numel() == 0);
  CHECK(ct::randperm(1).item<int64_t>() == 0);
  // Each of the six orders of three comes up.
  std::set<std::vector<int64_t>> orders;
  for (uint64_t i = 0; i < 60; ++i) orders.insert(ct::randperm(Key(i), 3).to_vector<int64_t>());
  CHECK(orders.size() == 6);
}

TEST_CASE("random: bernoulli takes its probabilities from a tensor") {
  const Tensor p = ct::tensor({0.0, 0.25, 1.0}).unsqueeze(1).expand({3, count});
  const Tensor t = ct::bernoulli(Key(9), p);
  CHECK(t.dtype() == DType::F32);
  const std::vector<double> share = t.to(DType::F64).mean(1).to_vector<double>();
  CHECK(share[0] == 0);
  check_near(share[1], 0.25, std::sqrt(0.25 * 0.75));
  CHECK(share[2] == 1);
}

TEST_CASE("random: the same bits for any number of threads") {
  std::vector<std::vector<std::byte>> expected;
  for (int threads = 1; threads <= 8; ++threads) {
    INFO(threads << " threads");
    ct::runtime::Engine engine({.threads = threads});
    // Made anew each time: nodes keep what was computed for them.
    const Tensor tensors[] = {ct::rand(Key(1), {50'000}), ct::randn(Key(2), {301, 77}),
                              ct::randint(Key(3), 0, 1000, {9999}).to(DType::F32).sum(),
                              ct::rand(Key(4), {64, 64}).matmul(ct::rand(Key(5), {64, 64}))};
    std::vector<ct::ir::Value> roots;
    for (const Tensor& t : tensors) roots.push_back(t.state()->value());
    const auto results = engine.realize(roots);
    CHECK(engine.stats().launches >= 4);
    for (size_t i = 0; i < results.size(); ++i) {
      const auto* bytes = static_cast<const std::byte*>(results[i]->host_data());
      std::vector<std::byte> got(bytes,
                                 bytes + size_t(roots[i]->numel()) * size_of(roots[i]->dtype));
      if (threads == 1)
        expected.push_back(std::move(got));
      else
        CHECK((got == expected[i]));
    }
  }
}
