// The vector mathematics against <cmath> of the next wider type, with and without fma. Every
// function is evaluated at every CERMET_VECMATH_STRIDE-th of all f32 bit patterns, at seeded random
// f64 of all exponents, at arguments dense where the function is interesting, and at special
// values; the error in units in the last place of the exact result must not exceed two, and NaN,
// infinities and signs of zeros must be right.

#include "compiler/vecmath.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

#include "support/catch.h"
#include "support/host_builder.h"
#include "support/repeats.h"

namespace cermet::test {
namespace {

namespace vm = compiler::vecmath;
using Value = HostBuilder::Value;
constexpr int lanes = HostBuilder::lanes;
constexpr double max_ulp = 2;

// Legend: name, reference in any wider type, interval of special interest.
struct Unary {
  const char* name;
  Value (*emit)(HostBuilder&, Value);
  double (*reference)(double);
  long double (*reference_wide)(long double);
  double low, high;
};
#define UNARY(name, low, high, ...)                                        \
  Unary {                                                                  \
    #name, vm::name<HostBuilder>, [](double x) -> double { __VA_ARGS__; }, \
        [](long double x) -> long double { __VA_ARGS__; }, low, high       \
  }

const Unary unary_functions[] = {
    UNARY(exp, -746, 711, return std::exp(x)),
    UNARY(exp2, -1076, 1025, return std::exp2(x)),
    UNARY(expm1, -3, 3, return std::expm1(x)),
    UNARY(log, 0.3, 3, return std::log(x)),
    UNARY(log2, 0.3, 3, return std::log2(x)),
    UNARY(log10, 0.3, 3, return std::log10(x)),
    UNARY(log1p, -1, 3, return std::log1p(x)),
    UNARY(sigmoid, -40, 40,
          return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x))),
    UNARY(sin, -100, 100, return std::sin(x)),
    UNARY(cos, -100, 100, return std::cos(x)),
    UNARY(tan, -100, 100, return std::tan(x)),
    UNARY(sinh, -3, 3, return std::sinh(x)),
    UNARY(cosh, -3, 3, return std::cosh(x)),
    UNARY(tanh, -20, 20, return std::tanh(x)),
    UNARY(asinh, -5, 5, return std::asinh(x)),
    UNARY(acosh, 1, 5, return std::acosh(x)),
    UNARY(atanh, -1, 1, return std::atanh(x)),
    UNARY(asin, -1, 1, return std::asin(x)),
    UNARY(acos, -1, 1, return std::acos(x)),
    UNARY(atan, -5, 5, return std::atan(x)),
    UNARY(rsqrt, 0, 5, return 1 / std::sqrt(x)),
    UNARY(erf, -6, 6, return std::erf(x)),
    UNARY(erfc, -6, 28, return std::erfc(x)),
};

// |got - exact| in units in the last place of T at the exact value; infinite where a special value
// is wrong.
template <class T, class Wide>
double ulp_error(T got, Wide exact) {
  constexpr double wrong = std::numeric_limits<double>::infinity();
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) && std::isnan(got) ? 0 : wrong;
  if (exact == 0) return got == 0 && std::signbit(got) == std::signbit(exact) ? 0 : wrong;
  if (std::isinf(exact)) return Wide(got) == exact ? 0 : wrong;
  if (got == 0 && std::signbit(got) != std::signbit(exact)) return wrong;
  using Limits = std::numeric_limits<T>;
  const int exponent =
      std::clamp(std::ilogb(exact), Limits::min_exponent - 1, Limits::max_exponent - 1);
  // An infinity stands for the first power of two that T cannot hold, and for all above.
  const Wide first_infinite = std::ldexp(Wide(1), Limits::max_exponent);
  if (std::isinf(got) && std::fabs(exact) >= first_infinite)
    return std::signbit(got) == std::signbit(exact) ? 0 : wrong;
  const Wide value = std::isinf(got) ? std::copysign(first_infinite, Wide(got)) : Wide(got);
  return double(std::ldexp(std::fabs(value - exact), Limits::digits - 1 - exponent));
}

// The largest error seen, and where.
struct Worst {
  double error = 0;
  double at = 0, got = 0;
};

template <class T, class Wide>
void check(HostBuilder& b, const Unary& f, Wide (*reference)(Wide), std::span<const T> inputs,
           Worst& worst) {
  for (size_t first = 0; first < inputs.size(); first += lanes) {
    T x[lanes], y[lanes];
    for (int i = 0; i < lanes; ++i) x[i] = inputs[std::min(first + i, inputs.size() - 1)];
    HostBuilder::store(f.emit(b, HostBuilder::load(x)), y);
    for (int i = 0; i < lanes; ++i) {
      const double error = ulp_error(y[i], reference(Wide(x[i])));
      if (error > worst.error) worst = {error, double(x[i]), double(y[i])};
    }
  }
}

template <class T>
std::vector<T> special_values() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> positive = {0,
                             Limits::denorm_min(),
                             Limits::min() / 2,
                             Limits::min(),
                             Limits::epsilon(),
                             1,
                             Limits::max(),
                             Limits::infinity(),
                             Limits::quiet_NaN(),
                             T(0.5),
                             T(2),
                             T(0.693147180559945309L),
                             T(88.722839L),
                             T(88.3762626647949L),
                             T(103.97208L),
                             T(709.782712893384L),
                             T(745.13321910194L)};
  for (int k = 1; k < 64; ++k) positive.push_back(T(k) * T(0.785398163397448309616L));
  std::vector<T> all;
  for (T p : positive)
    for (T x : {p, std::nextafter(p, T(0)), std::nextafter(p, Limits::infinity())})
      all.push_back(x), all.push_back(-x);
  return all;
}

template <class T>
std::vector<T> random_values(const Unary& f, int count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<T> all;
  for (int i = 0; i < count; ++i) {
    if constexpr (sizeof(T) == 8)
      all.push_back(std::bit_cast<T>(uint64_t(random())));
    else
      all.push_back(std::bit_cast<T>(uint32_t(random())));
    all.push_back(T(std::uniform_real_distribution<double>(f.low, f.high)(random)));
    all.push_back(T(std::uniform_real_distribution<double>(-2, 2)(random)));
  }
  return all;
}

int64_t stride() {
  const char* text = std::getenv("CERMET_VECMATH_STRIDE");
  return text ? std::max(1, std::atoi(text)) : sanitized ? 80021 : 8009;
}

void require_accurate(const char* name, const char* type, const char* target, const Worst& worst) {
  if (std::getenv("CERMET_VECMATH_REPORT"))
    fmt::print("{:8} {} {:7} {:.3f} ulp at {:a}\n", name, type, target, worst.error, worst.at);
  INFO(fmt::format("{} {} {}: {} ulp at {:a} ({}), got {}", name, type, target, worst.error,
                   worst.at, worst.at, worst.got));
  CHECK(worst.error <= max_ulp);
}

TEST_CASE("vecmath: functions of one f32 are within two ulp of double, with exact special values") {
  struct Kind {
    const char* name;
    bool fma, lookup;
  };
  for (const Unary& f : unary_functions)
    for (const Kind& target :
         {Kind{"fma", true, false}, {"no fma", false, false}, {"lookup", true, true}}) {
      const std::string_view name = f.name;
      if (target.lookup && name != "exp" && name != "tanh" && name != "erf")
        continue;  // what has tables
      HostBuilder b(target.fma, target.lookup);
      Worst worst;
      check<float, double>(b, f, f.reference, special_values<float>(), worst);
      check<float, double>(b, f, f.reference, random_values<float>(f, repeats(20000), 1), worst);
      std::vector<float> inputs;
      for (int64_t bits = 0; bits <= 0xffffffff; bits += stride()) {
        inputs.push_back(std::bit_cast<float>(uint32_t(bits)));
        if (inputs.size() == 64 * 256 || bits + stride() > 0xffffffff) {
          check<float, double>(b, f, f.reference, inputs, worst);
          inputs.clear();
        }
      }
      require_accurate(f.name, "f32", target.name, worst);
    }
}

TEST_CASE(
    "vecmath: functions of one f64 are within two ulp of long double, with exact special values") {
  for (const Unary& f : unary_functions)
    for (bool fused : {true, false}) {
      HostBuilder b(fused);
      Worst worst;
      check<double, long double>(b, f, f.reference_wide, special_values<double>(), worst);
      check<double, long double>(b, f, f.reference_wide,
                                 random_values<double>(f, int(repeats(60000)), 2), worst);
      require_accurate(f.name, "f64", fused ? "fma" : "no fma", worst);
    }
}

struct Binary {
  const char* name;
  Value (*emit)(HostBuilder&, Value, Value);
  double (*reference)(double, double);
  long double (*reference_wide)(long double, long double);
};
#define BINARY(name, ...)                                                            \
  Binary {                                                                           \
    #name, vm::name<HostBuilder>, [](double x, double y) -> double { __VA_ARGS__; }, \
        [](long double x, long double y) -> long double { __VA_ARGS__; }             \
  }

const Binary binary_functions[] = {
    BINARY(pow, return std::pow(x, y)),
    BINARY(atan2, return std::atan2(x, y)),
    BINARY(hypot, return std::hypot(x, y)),
};

// Every pair of special values, then random pairs: any bits, around one, and (for pow) an x for
// which x^y is finite.
template <class T>
std::vector<std::pair<T, T>> random_pairs(int count, uint64_t seed) {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values = {0,
                           Limits::denorm_min(),
                           Limits::min() * 3,
                           Limits::min(),
                           T(0.5),
                           T(1),
                           1 + Limits::epsilon(),
                           T(1.5),
                           T(2),
                           T(3),
                           T(4),
                           T(5),
                           T(1e5),
                           1 / Limits::epsilon() - 1,
                           1 / Limits::epsilon(),
                           Limits::max(),
                           Limits::infinity(),
                           Limits::quiet_NaN()};
  const size_t positive = values.size();
  for (size_t i = 0; i < positive; ++i) values.push_back(-values[i]);
  std::vector<std::pair<T, T>> all;
  for (T x : values)
    for (T y : values) all.push_back({x, y});
  std::mt19937_64 random(seed);
  const auto any = [&] {
    if constexpr (sizeof(T) == 8)
      return std::bit_cast<T>(uint64_t(random()));
    else
      return std::bit_cast<T>(uint32_t(random()));
  };
  const auto between = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  const double reach = sizeof(T) == 8 ? 1075 : 150;
  for (int i = 0; i < count; ++i) {
    all.push_back({any(), any()});
    all.push_back({T(between(-2, 2)), T(between(-9, 9))});
    all.push_back({T(between(-20, 20)), T(std::round(between(-9, 9)))});
    const T x = std::fabs(any());
    all.push_back({x, T(between(-reach, reach) / std::log2(double(x)))});
    const T near_one = T(1 + between(-0.001, 0.001));
    all.push_back({near_one, T(between(-reach, reach) / std::log2(double(near_one)))});
  }
  return all;
}

template <class T, class Wide>
void check(const Binary& f, Wide (*reference)(Wide, Wide),
           const std::vector<std::pair<T, T>>& inputs, double bound = max_ulp) {
  for (bool fused : {true, false}) {
    HostBuilder b(fused);
    double worst = 0;
    std::pair<T, T> at;
    for (size_t first = 0; first < inputs.size(); first += lanes) {
      T x[lanes], y[lanes], z[lanes];
      for (size_t i = 0; i < lanes; ++i)
        std::tie(x[i], y[i]) = inputs[std::min(first + i, inputs.size() - 1)];
      HostBuilder::store(f.emit(b, HostBuilder::load(x), HostBuilder::load(y)), z);
      for (int i = 0; i < lanes; ++i) {
        const double error = ulp_error(z[i], reference(Wide(x[i]), Wide(y[i])));
        if (error > worst) worst = error, at = {x[i], y[i]};
      }
    }
    const char* type = sizeof(T) == 8 ? "f64" : "f32";
    if (std::getenv("CERMET_VECMATH_REPORT"))
      fmt::print("{:8} {} {:7} {:.3f} ulp at {:a}, {:a}\n", f.name, type, fused ? "fma" : "no fma",
                 worst, at.first, at.second);
    INFO(fmt::format("{} {} {}: {} ulp at {:a}, {:a}", f.name, type, fused ? "fma" : "no fma",
                     worst, at.first, at.second));
    CHECK(worst <= bound);
  }
}

TEST_CASE("vecmath: functions of two floats are within two ulp, with C's special values") {
  const auto f32 = random_pairs<float>(int(repeats(60000)), 3);
  const auto f64 = random_pairs<double>(int(repeats(60000)), 4);
  for (const Binary& f : binary_functions) {
    check<float, double>(f, f.reference, f32);
    check<double, long double>(f, f.reference_wide, f64);
  }
}

TEST_CASE("vecmath: fmod is exact") {
  const Binary fmod = BINARY(fmod, return std::fmod(x, y));
  check<float, double>(fmod, fmod.reference, random_pairs<float>(int(repeats(60000)), 5), 0);
  check<double, long double>(fmod, fmod.reference_wide,
                             random_pairs<double>(int(repeats(60000)), 6), 0);
}

TEST_CASE("vecmath: the helpers of kernels are within two ulp for arguments of any size") {
  std::vector<double> inputs = special_values<double>();
  // The f64 nearest to a multiple of pi/2 (Muller, Elementary Functions, 3rd edition, chapter 11).
  inputs.push_back(0x1.6ac5b262ca1ffp849);
  std::mt19937_64 random(7);
  for (int i = 0; i < repeats(20000); ++i)
    inputs.push_back(std::bit_cast<double>(uint64_t(random())));
  const auto worst = [&](compiler::loops::Helper helper, long double (*reference)(long double)) {
    const auto function = reinterpret_cast<double (*)(double)>(
        const_cast<void*>(compiler::kernel_helpers()[size_t(helper)]));
    double error = 0;
    for (double x : inputs) error = std::max(error, ulp_error(function(x), reference(x)));
    return error;
  };
  using compiler::loops::Helper;
  CHECK(worst(Helper::Sin, [](long double x) { return std::sin(x); }) <= max_ulp);
  CHECK(worst(Helper::Cos, [](long double x) { return std::cos(x); }) <= max_ulp);
  CHECK(worst(Helper::Tan, [](long double x) { return std::tan(x); }) <= max_ulp);
}

// Lanes of any type through one function.
template <class To, class From, class F>
std::vector<To> run(F emit, const std::vector<From>& inputs) {
  HostBuilder b(true);
  std::vector<To> outputs;
  for (size_t first = 0; first < inputs.size(); first += lanes) {
    From x[lanes];
    To y[lanes];
    for (int i = 0; i < lanes; ++i) x[i] = inputs[std::min(first + i, inputs.size() - 1)];
    HostBuilder::store(emit(b, HostBuilder::load(x)), y);
    outputs.insert(outputs.end(), y, y + std::min<size_t>(lanes, inputs.size() - first));
  }
  return outputs;
}

TEST_CASE("vecmath: all 65536 halves become f32 as in cermet/half.h") {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = uint16_t(i);
  const auto f16 = run<float>(vm::f16_bits_to_f32<HostBuilder>, all);
  const auto bf16 = run<float>(vm::bf16_bits_to_f32<HostBuilder>, all);
  int64_t wrong = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    wrong += std::bit_cast<uint32_t>(f16[i]) != std::bit_cast<uint32_t>(half_bits_to_float(all[i]));
    wrong +=
        std::bit_cast<uint32_t>(bf16[i]) != std::bit_cast<uint32_t>(bfloat_bits_to_float(all[i]));
  }
  CHECK(wrong == 0);
}

TEST_CASE("vecmath: f32 become halves as in cermet/half.h, ties and denormals and NaN included") {
  std::vector<float> inputs = special_values<float>();
  for (int64_t bits = 0; bits <= 0xffffffff; bits += sanitized ? 5003 : 509)
    inputs.push_back(std::bit_cast<float>(uint32_t(bits)));
  // Ties between neighbouring halves, and what is next to them.
  for (int64_t half = 0; half < 65536; half += sanitized ? 11 : 1)
    for (int64_t near : {-1, 0, 1}) {
      inputs.push_back(std::bit_cast<float>(uint32_t((half << 16) + 0x8000 + near)));
      inputs.push_back(std::bit_cast<float>(uint32_t(
          std::bit_cast<uint32_t>(
              (half_bits_to_float(uint16_t(half)) + half_bits_to_float(uint16_t(half + 1))) / 2) +
          near)));
    }
  const auto f16 = run<uint16_t>(vm::f32_to_f16_bits<HostBuilder>, inputs);
  const auto bf16 = run<uint16_t>(vm::f32_to_bf16_bits<HostBuilder>, inputs);
  int64_t wrong = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    wrong += f16[i] != float_to_half_bits(inputs[i]);
    wrong += bf16[i] != float_to_bfloat_bits(inputs[i]);
  }
  CHECK(wrong == 0);
}

// The three vectors "philox4x32 10" of the file tests/kat_vectors of Random123.
TEST_CASE("vecmath: philox gives the known answers of Random123") {
  struct Vector {
    std::array<uint32_t, 4> counter;
    std::array<uint32_t, 2> key;
    std::array<uint32_t, 4> expected;
  };
  const Vector vectors[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  HostBuilder b(true);
  for (const Vector& v : vectors) {
    const auto word = [&](uint32_t bits) {
      return vm::Number<HostBuilder>{&b, b.iconstant(Value{}, DType::U64, int64_t(bits))};
    };
    const auto words = vm::philox_words<HostBuilder>(
        {word(v.counter[0]), word(v.counter[1]), word(v.counter[2]), word(v.counter[3])},
        word(v.key[0]), word(v.key[1]));
    for (int i = 0; i < 4; ++i) {
      uint64_t out[lanes];
      HostBuilder::store(words[size_t(i)].value, out);
      CHECK(out[lanes - 1] == v.expected[size_t(i)]);
    }
  }
  const std::vector<uint64_t> zero(1, 0);
  const auto packed =
      run<uint64_t>([](HostBuilder& h, const Value& x) { return vm::philox(h, x, x); }, zero);
  CHECK(packed[0] == 0xe169c58d6627e8d5);
}

}  // namespace
}  // namespace cermet::test
