// The vector mathematics as machine code: for every target this machine runs, the bits are those
// that the same operations give on the host (tests/compiler/vecmath_test.cpp says how accurate
// these are).

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "compiler/kernel_helpers.h"
#include "compiler/vecmath.h"
#include "support/catch.h"
#include "support/host_builder.h"
#include "support/kernels.h"

namespace cermet::test {
namespace {

namespace vm = compiler::vecmath;
using compiler::Target;
using compiler::loops::Builder;
using compiler::loops::Ref;
using HostValue = HostBuilder::Value;

// One function for both builders.
struct Function {
  const char* name;
  Ref (*emit)(Builder&, Ref, Ref);
  HostValue (*compute)(HostBuilder&, HostValue, HostValue);
};
#define UNARY(function)                                                           \
  Function {                                                                      \
    #function, [](Builder& b, Ref x, Ref) { return vm::function(b, x); },         \
        [](HostBuilder& b, HostValue x, HostValue) { return vm::function(b, x); } \
  }
#define BINARY(function)                                                               \
  Function {                                                                           \
    #function, [](Builder& b, Ref x, Ref y) { return vm::function(b, x, y); },         \
        [](HostBuilder& b, HostValue x, HostValue y) { return vm::function(b, x, y); } \
  }

const Function float_functions[] = {
    UNARY(exp),    UNARY(exp2),   UNARY(expm1), UNARY(log),  UNARY(log2),    UNARY(log10),
    UNARY(log1p),  UNARY(sin),    UNARY(cos),   UNARY(tan),  UNARY(asin),    UNARY(acos),
    UNARY(atan),   UNARY(sinh),   UNARY(cosh),  UNARY(tanh), UNARY(asinh),   UNARY(acosh),
    UNARY(atanh),  UNARY(rsqrt),  UNARY(erf),   UNARY(erfc), UNARY(sigmoid), BINARY(pow),
    BINARY(atan2), BINARY(hypot), BINARY(fmod)};

// z = f(x, y) over [begin, end), whose size is a multiple of lanes.
compiler::loops::Function map(const Target& target, int lanes, DType from, DType to, auto emit) {
  return make_function(target, [&](Builder& b) {
    const int32_t x = b.add_buffer(argument(0, from)), y = b.add_buffer(argument(1, from)),
                  z = b.add_buffer(argument(2, to));
    b.for_loop(b.begin(), b.end(), lanes,
               [&](Ref i) { b.store(z, i, emit(b, b.load(x, i, lanes), b.load(y, i, lanes))); });
  });
}

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 8, uint64_t,
                                  std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>;

// Equal bits; of floats, any NaN is as good as another.
template <class T>
bool same(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (a != a) return b != b;
  return std::bit_cast<BitsOf<T>>(a) == std::bit_cast<BitsOf<T>>(b);
}

template <class To, class From>
void check(const Function& f, const std::vector<From>& x, const std::vector<From>& y) {
  for (const Target& target : runnable_targets()) {
    HostBuilder host(target.fma, target.masked_memory);
    const int lanes = target.vector_bytes / int(std::max(sizeof(From), sizeof(To)));
    std::vector<From> u = x, v = y;
    std::vector<To> z(x.size());
    Kernel kernel(map(target, lanes, dtype_of<From>, dtype_of<To>, f.emit), target);
    kernel.buffers = {u.data(), v.data(), z.data()};
    const auto helpers = compiler::kernel_helpers();
    kernel.helpers.assign(helpers.begin(), helpers.end());
    kernel.run(0, int64_t(x.size()));
    for (size_t first = 0; first < x.size(); first += HostBuilder::lanes) {
      To expected[HostBuilder::lanes];
      HostBuilder::store(
          f.compute(host, HostBuilder::load(&x[first]), HostBuilder::load(&y[first])), expected);
      for (size_t i = 0; i < HostBuilder::lanes; ++i) {
        INFO(fmt::format("{} of {} on {}, lane {}: {} {} gave {}, not {}", f.name,
                         name(dtype_of<From>), target.cpu, first + i, x[first + i], y[first + i],
                         z[first + i], expected[i]));
        REQUIRE(same(z[first + i], expected[i]));
      }
    }
  }
}

// Any bits, and numbers of common size; large ones are for the helpers of sin, cos and tan, whose
// roundings are their own, so those get none.
template <class T>
std::vector<T> numbers(uint64_t seed, bool any_size) {
  std::mt19937_64 random(seed);
  std::vector<T> all = {T(0),
                        -T(0),
                        T(1),
                        -T(1),
                        T(0.5),
                        std::numeric_limits<T>::infinity(),
                        -std::numeric_limits<T>::infinity(),
                        std::numeric_limits<T>::quiet_NaN(),
                        std::numeric_limits<T>::denorm_min(),
                        std::numeric_limits<T>::min()};
  while (all.size() < 64 * 32) {
    const T x = std::bit_cast<T>(BitsOf<T>(random()));
    if (any_size || std::fabs(x) < T(1e5)) all.push_back(x);
    all.push_back(T(std::uniform_real_distribution<double>(-1, 1)(random)));
    all.push_back(T(std::uniform_real_distribution<double>(-90, 90)(random)));
  }
  all.resize(64 * 32);
  return all;
}

template <class T>
void check_all() {
  for (const Function& f : float_functions) {
    const std::string_view name = f.name;
    const bool any_size = name != "sin" && name != "cos" && name != "tan";
    check<T, T>(f, numbers<T>(1, any_size), numbers<T>(2, any_size));
  }
}

TEST_CASE("vecmath: machine code of f32 functions has the bits of the host") { check_all<float>(); }
TEST_CASE("vecmath: machine code of f64 functions has the bits of the host") {
  check_all<double>();
}

TEST_CASE("vecmath: machine code of sin, cos and tan is right for large arguments") {
  std::mt19937_64 random(3);
  std::vector<double> x(2048), z(2048);
  for (double& value : x) value = std::ldexp(double(int64_t(random())), int(random() % 900));
  using Emit = Ref (*)(Builder&, Ref, Ref);
  const std::pair<Emit, long double (*)(long double)> functions[] = {
      {[](Builder& b, Ref v, Ref) { return vm::sin(b, v); },
       [](long double v) { return std::sin(v); }},
      {[](Builder& b, Ref v, Ref) { return vm::cos(b, v); },
       [](long double v) { return std::cos(v); }},
      {[](Builder& b, Ref v, Ref) { return vm::tan(b, v); },
       [](long double v) { return std::tan(v); }}};
  for (const Target& target : runnable_targets())
    for (const auto& [emit, reference] : functions) {
      Kernel kernel(map(target, target.vector_bytes / 8, DType::F64, DType::F64, emit), target);
      kernel.buffers = {x.data(), x.data(), z.data()};
      const auto helpers = compiler::kernel_helpers();
      kernel.helpers.assign(helpers.begin(), helpers.end());
      kernel.run(0, int64_t(x.size()));
      double worst = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const long double exact = reference(x[i]);
        worst = std::max(worst, double(std::fabs(z[i] - exact) / std::fabs(exact)));
      }
      CHECK(worst < 0x1p-51);
    }
}

TEST_CASE("vecmath: machine code of halves and of philox has the bits of the host") {
  const auto bits = [](auto zero, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<decltype(zero)> all(64 * 64);
    for (auto& x : all) x = std::bit_cast<decltype(zero)>(BitsOf<decltype(zero)>(random()));
    return all;
  };
  check<uint16_t, float>(UNARY(f32_to_f16_bits), bits(0.0f, 4), bits(0.0f, 5));
  check<uint16_t, float>(UNARY(f32_to_bf16_bits), bits(0.0f, 4), bits(0.0f, 5));
  check<float, uint16_t>(UNARY(f16_bits_to_f32), bits(uint16_t(0), 4), bits(uint16_t(0), 5));
  check<float, uint16_t>(UNARY(bf16_bits_to_f32), bits(uint16_t(0), 4), bits(uint16_t(0), 5));
  check<uint64_t, uint64_t>(BINARY(philox), bits(uint64_t(0), 4), bits(uint64_t(0), 5));
}

}  // namespace
}  // namespace cermet::test
