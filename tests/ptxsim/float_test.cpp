// Floating-point instructions against the host's arithmetic under the host's rounding modes.

#include <cfenv>

#include "ptxsim/half.h"
#include "ptxsim/one_instruction.h"

using namespace cermet::ptxsim;
using namespace cermet::ptxsim::test;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

namespace {

// f under a rounding mode of the host. volatile keeps the arithmetic inside.
template <class T, class F>
auto rounded(int mode, F f) {
  return [=](auto... x) {
    volatile T in[] = {x...};
    T copies[sizeof...(x)];
    std::fesetround(mode);
    for (std::size_t i = 0; i < sizeof...(x); ++i) copies[i] = in[i];
    volatile T result = f(copies);
    const T value = result;
    std::fesetround(FE_TONEAREST);
    return value;
  };
}
float flush(float x) { return std::fabs(x) < 0x1p-126F ? std::copysign(0.0F, x) : x; }

struct Mode {
  const char* name;
  int host;
};
const Mode kModes[] = {
    {"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}};

}  // namespace

TEST_CASE("ptxsim float: arithmetic in every rounding mode") {
  for (const Mode& mode : kModes) {
    const auto line = [&](const char* text) { return fmt::format(fmt::runtime(text), mode.name); };
    expect_operation<float, float, float>(
        line("add.{}.f32 %d, %a, %b;"),
        rounded<float>(mode.host, [](const float* x) { return x[0] + x[1]; }));
    expect_operation<float, float, float>(
        line("mul.{}.f32 %d, %a, %b;"),
        rounded<float>(mode.host, [](const float* x) { return x[0] * x[1]; }));
    expect_operation<float, float, float, float>(
        line("fma.{}.f32 %d, %a, %b, %c;"),
        rounded<float>(mode.host, [](const float* x) { return std::fma(x[0], x[1], x[2]); }));
    expect_operation<float, float, float>(
        line("div.{}.f32 %d, %a, %b;"),
        rounded<float>(mode.host, [](const float* x) { return x[0] / x[1]; }));
    expect_operation<float, float>(
        line("sqrt.{}.f32 %d, %a;"),
        rounded<float>(mode.host, [](const float* x) { return std::sqrt(x[0]); }));
    expect_operation<double, double, double>(
        line("sub.{}.f64 %d, %a, %b;"),
        rounded<double>(mode.host, [](const double* x) { return x[0] - x[1]; }));
    expect_operation<double, double, double, double>(
        line("fma.{}.f64 %d, %a, %b, %c;"),
        rounded<double>(mode.host, [](const double* x) { return std::fma(x[0], x[1], x[2]); }));
    expect_operation<double, double>(
        line("rcp.{}.f64 %d, %a;"),
        rounded<double>(mode.host, [](const double* x) { return 1.0 / x[0]; }));
  }
}

TEST_CASE("ptxsim float: flushing, saturation, signs, extremes") {
  expect_operation<float, float, float>(
      "add.ftz.f32 %d, %a, %b;", [](float a, float b) { return flush(flush(a) + flush(b)); });
  expect_operation<float, float, float>(
      "mul.ftz.f32 %d, %a, %b;", [](float a, float b) { return flush(flush(a) * flush(b)); });
  expect_operation<float, float, float>("add.sat.f32 %d, %a, %b;", [](float a, float b) {
    return a + b > 0 ? std::min(a + b, 1.0F) : 0.0F;
  });
  expect_operation<float, float>("abs.f32 %d, %a;", [](float a) { return std::fabs(a); });
  expect_operation<float, float>("neg.ftz.f32 %d, %a;", [](float a) { return -flush(a); });
  expect_operation<double, double>("neg.f64 %d, %a;", [](double a) { return -a; });
  expect_operation<float, float, float>("copysign.f32 %d, %a, %b;",
                                        [](float a, float b) { return std::copysign(b, a); });
  const auto smaller = [](auto a, auto b) {
    return std::isnan(a)   ? b
           : std::isnan(b) ? a
           : a == b        ? (std::signbit(a) ? a : b)
                           : std::min(a, b);
  };
  const auto larger = [](auto a, auto b) {
    return std::isnan(a)   ? b
           : std::isnan(b) ? a
           : a == b        ? (std::signbit(a) ? b : a)
                           : std::max(a, b);
  };
  expect_operation<float, float, float>("min.f32 %d, %a, %b;", smaller);
  expect_operation<double, double, double>("max.f64 %d, %a, %b;", larger);
  expect_operation<float, float, float>("max.NaN.f32 %d, %a, %b;", [&](float a, float b) {
    return std::isnan(a) || std::isnan(b) ? NAN : larger(a, b);
  });
  expect_operation<float, float, float, float>(
      "max.f32 %d, %a, %b, %c;",
      [&](float a, float b, float c) { return larger(larger(a, b), c); });
  expect_operation<u64, u64, u64>("add.rn.f32x2 %d, %a, %b;", [](u64 a, u64 b) {
    const auto part = [&](int s) {
      const float sum = std::bit_cast<float>(static_cast<u32>(a >> s)) +
                        std::bit_cast<float>(static_cast<u32>(b >> s));
      return u64{std::isnan(sum) ? 0x7fffffffU : std::bit_cast<u32>(sum)} << s;
    };
    return part(0) | part(32);
  });
}

TEST_CASE("ptxsim float: approximations are within what PTX allows") {
  expect_operation<float, float>(
      "ex2.approx.f32 %d, %a;",
      [](float a) { return static_cast<float>(std::exp2(static_cast<double>(a))); }, within_ulp(2));
  expect_operation<float, float>(
      "lg2.approx.f32 %d, %a;",
      [](float a) { return static_cast<float>(std::log2(static_cast<double>(a))); }, within_ulp(2));
  expect_operation<float, float>(
      "tanh.approx.f32 %d, %a;",
      [](float a) { return static_cast<float>(std::tanh(static_cast<double>(a))); }, within_ulp(2));
  expect_operation<float, float>(
      "rsqrt.approx.f32 %d, %a;",
      [](float a) { return static_cast<float>(1 / std::sqrt(static_cast<double>(a))); },
      within_ulp(2));
  expect_operation<float, float>(
      "rcp.approx.ftz.f32 %d, %a;", [](float a) { return flush(1 / flush(a)); }, within_ulp(1));
  expect_operation<float, float, float>(
      "div.full.f32 %d, %a, %b;", [](float a, float b) { return a / b; }, within_ulp(2));
  expect_operation<float, float>(
      "sin.approx.f32 %d, %a;",
      [](float a) { return static_cast<float>(std::sin(static_cast<double>(a))); }, within_ulp(2));
  // The coarse reciprocal that Newton steps start from has 20 bits.
  expect_operation<double, double>(
      "rcp.approx.ftz.f64 %d, %a;",
      [](double a) { return std::fabs(a) < 0x1p-1022 ? std::copysign(INFINITY, a) : 1 / a; },
      [](double expected, double got) {
        return same_value(expected, got) || std::fabs(got / expected - 1) < 0x1p-19 ||
               std::fabs(expected) < 0x1p-1020;
      });
}

TEST_CASE("ptxsim float: comparisons, ordered and unordered") {
  struct Comparison {
    const char* name;
    bool (*holds)(float, float);
  };
  const Comparison comparisons[] = {
      {"eq", [](float a, float b) { return a == b; }},
      {"ne", [](float a, float b) { return a < b || a > b; }},
      {"lt", [](float a, float b) { return a < b; }},
      {"ge", [](float a, float b) { return a >= b; }},
      {"equ", [](float a, float b) { return a == b || std::isunordered(a, b); }},
      {"neu", [](float a, float b) { return a != b; }},
      {"ltu", [](float a, float b) { return a < b || std::isunordered(a, b); }},
      {"leu", [](float a, float b) { return a <= b || std::isunordered(a, b); }},
      {"gtu", [](float a, float b) { return a > b || std::isunordered(a, b); }},
      {"geu", [](float a, float b) { return a >= b || std::isunordered(a, b); }},
      {"num", [](float a, float b) { return !std::isunordered(a, b); }},
      {"nan", [](float a, float b) { return std::isunordered(a, b); }}};
  for (const Comparison& c : comparisons) {
    expect_operation<u32, float, float>(
        fmt::format("setp.{}.f32 p, %a, %b; selp.b32 %d, 1, 0, p;", c.name), c.holds);
    expect_operation<u32, float, float>(
        fmt::format("setp.{}.ftz.f32 p, %a, %b; selp.b32 %d, 1, 0, p;", c.name),
        [&](float a, float b) { return c.holds(flush(a), flush(b)); });
    expect_operation<u32, u16, u16>(
        fmt::format("setp.{}.f16 p, %a, %b; selp.b32 %d, 1, 0, p;", c.name),
        [&](u16 a, u16 b) { return c.holds(half_to_float(a), half_to_float(b)); });
    expect_operation<u32, u32, u32>(fmt::format("setp.{}.bf16x2 p|q, %a, %b; selp.b32 %w1, 1, 0, "
                                                "p; selp.b32 %w2, 2, 0, q; or.b32 %d, %w1, %w2;",
                                                c.name),
                                    [&](u32 a, u32 b) {
                                      const auto part = [&](int s) {
                                        return c.holds(bfloat_to_float(static_cast<u16>(a >> s)),
                                                       bfloat_to_float(static_cast<u16>(b >> s)));
                                      };
                                      return u32{part(0)} | u32{part(16)} << 1;
                                    });
  }
  expect_operation<float, float, double>("set.lt.f32.f64 %d, %b, 0d3FF0000000000000;",
                                         [](float, double b) { return b < 1 ? 1.0F : 0.0F; });
  expect_operation<u32, double>(
      "testp.subnormal.f64 p, %a; testp.infinite.f64 q, %a; selp.b32 %w1, 1, 0, p; selp.b32 %d, 2, "
      "%w1, q;",
      [](double a) { return std::isinf(a) ? 2 : std::fpclassify(a) == FP_SUBNORMAL; });
}

TEST_CASE("ptxsim convert: between integers and floats") {
  const auto to_integer = [](auto limits, int mode) {
    using T = decltype(limits);
    return [mode](double x) -> T {
      if (std::isnan(x)) return 0;
      std::fesetround(mode);
      volatile double y = std::nearbyint(x);
      std::fesetround(FE_TONEAREST);
      // In long double, every bound of 64 bits is exact.
      const long double r = y;
      if (r >= static_cast<long double>(std::numeric_limits<T>::max()))
        return std::numeric_limits<T>::max();
      if (r <= static_cast<long double>(std::numeric_limits<T>::min()))
        return std::numeric_limits<T>::min();
      return static_cast<T>(y);
    };
  };
  expect_operation<s32, float>("cvt.rzi.s32.f32 %d, %a;", to_integer(s32{}, FE_TOWARDZERO));
  expect_operation<s32, float>("cvt.rni.s32.f32 %d, %a;", to_integer(s32{}, FE_TONEAREST));
  expect_operation<u32, double>("cvt.rmi.u32.f64 %d, %a;", to_integer(u32{}, FE_DOWNWARD));
  expect_operation<s64, float>("cvt.rpi.s64.f32 %d, %a;", to_integer(s64{}, FE_UPWARD));
  expect_operation<u64, double>("cvt.rzi.u64.f64 %d, %a;", to_integer(u64{}, FE_TOWARDZERO));
  expect_operation<u16, float>("cvt.rni.s8.f32 %d, %a;", [&](float a) {
    return static_cast<u16>(to_integer(std::int8_t{}, FE_TONEAREST)(static_cast<double>(a)));
  });
  expect_operation<float, s32>("cvt.rn.f32.s32 %d, %a;",
                               [](s32 a) { return static_cast<float>(a); });
  expect_operation<float, u32>("cvt.rn.f32.u32 %d, %a;",
                               [](u32 a) { return static_cast<float>(a); });
  for (const Mode& mode : kModes) {
    expect_operation<float, u64>(fmt::format("cvt.{}.f32.u64 %d, %a;", mode.name), [&](u64 a) {
      std::fesetround(mode.host);
      volatile u64 in = a;
      volatile float out = static_cast<float>(in);
      std::fesetround(FE_TONEAREST);
      return out;
    });
    expect_operation<double, s64>(fmt::format("cvt.{}.f64.s64 %d, %a;", mode.name), [&](s64 a) {
      std::fesetround(mode.host);
      volatile s64 in = a;
      volatile double out = static_cast<double>(in);
      std::fesetround(FE_TONEAREST);
      return out;
    });
    expect_operation<float, double>(fmt::format("cvt.{}.f32.f64 %d, %a;", mode.name),
                                    rounded<double>(mode.host, [](const double* x) {
                                      return static_cast<double>(static_cast<float>(x[0]));
                                    }));
  }
  expect_operation<float, float>("cvt.rni.f32.f32 %d, %a;",
                                 [](float a) { return std::nearbyint(a); });
  expect_operation<double, double>("cvt.rmi.f64.f64 %d, %a;",
                                   [](double a) { return std::floor(a); });
  expect_operation<float, float>("cvt.sat.f32.f32 %d, %a;",
                                 [](float a) { return a > 0 ? std::min(a, 1.0F) : 0.0F; });
  expect_operation<float, double>("cvt.rn.ftz.f32.f64 %d, %a;",
                                  [](double a) { return flush(static_cast<float>(a)); });
  expect_operation<double, float>("cvt.f64.f32 %d, %a;", [](float a) { return a; });
}

TEST_CASE("ptxsim convert: between integers") {
  expect_operation<s64, u32>("cvt.s64.s8 %d, %a;",
                             [](u32 a) { return static_cast<std::int8_t>(a); });
  expect_operation<u32, u64>("cvt.u32.u64 %d, %a;", [](u64 a) { return a; });
  expect_operation<u32, u16>("cvt.u32.u8 %d, %a;", [](u16 a) { return a & 255; });
  expect_operation<u16, u32>("cvt.s8.s32 %d, %a;",
                             [](u32 a) { return static_cast<u16>(static_cast<std::int8_t>(a)); });
  expect_operation<u32, s64>("cvt.sat.u16.s64 %d, %a;",
                             [](s64 a) { return std::clamp<s64>(a, 0, 65535); });
  expect_operation<s32, s64>("cvt.sat.s32.s64 %d, %a;",
                             [](s64 a) { return std::clamp<s64>(a, INT32_MIN, INT32_MAX); });
  expect_operation<s32, u32>("cvt.sat.s32.u32 %d, %a;",
                             [](u32 a) { return std::min(a, 0x7fffffffU); });
}

TEST_CASE("ptxsim half: all 65536 halves convert to float and back") {
  const auto module =
      Module::parse(operation_kernel("cvt.f32.f16 %w1, %a; cvt.rn.f16.f32 %h1, %w1; cvt.f32.bf16 "
                                     "%w2, %a; cvt.rn.bf16.f32 %h2, %w2;\n"
                                     "mov.b32 %w3, {%h1, %h2}; mov.b64 %d, {%w1, %w3};",
                                     8, {2}));
  Device device;
  std::vector<u16> all(65536);
  for (u32 i = 0; i < 65536; ++i) all[i] = static_cast<u16>(i);
  u64* const out = device.raw<u64>(65536);
  REQUIRE(device.run(*module, "k", {{256, 1, 1}, {256, 1, 1}, 0}, out, device.array(all)).text() ==
          "");
  for (u32 i = 0; i < 65536; ++i) {
    // The value of a half from its parts.
    const int exponent = static_cast<int>(i >> 10 & 31);
    const double mantissa = i & 1023;
    double value =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    if (exponent == 31) value = mantissa == 0 ? INFINITY : NAN;
    if ((i & 0x8000) != 0) value = -value;
    REQUIRE(same_value(static_cast<float>(value), std::bit_cast<float>(static_cast<u32>(out[i]))));
    const u16 half = static_cast<u16>(out[i] >> 32), bfloat = static_cast<u16>(out[i] >> 48);
    REQUIRE(half == (std::isnan(value) ? 0x7fff : i));
    REQUIRE(bfloat == ((i & 0x7fff) > 0x7f80 ? 0x7fff : i));
  }
}

TEST_CASE("ptxsim half: rounding to f16, bf16 and tf32 picks the right neighbour") {
  // The reference walks to the neighbours by their bits and compares distances in double.
  struct Format {
    const char* type;
    int dropped, bytes;  // bits of a float that are lost
  };
  const auto bfloat_by_distance = [](float x, int dropped) -> u32 {
    if (std::isnan(x)) return 0x7fffffffU >> dropped;
    const u32 bits = std::bit_cast<u32>(x), low = bits >> dropped;
    const double below = static_cast<double>(std::bit_cast<float>(low << dropped));
    const u32 next = (low + 1) << dropped;
    const double above = std::isinf(std::bit_cast<float>(next))
                             ? std::copysign(0x1p128, x)
                             : static_cast<double>(std::bit_cast<float>(next));
    if (static_cast<double>(x) == below) return low;
    const double down = std::fabs(static_cast<double>(x) - below),
                 up = std::fabs(above - static_cast<double>(x));
    return down < up || (down == up && (low & 1) == 0) ? low : low + 1;
  };
  expect_operation<u16, float>("cvt.rn.bf16.f32 %d, %a;",
                               [&](float a) { return bfloat_by_distance(a, 16); });
  expect_operation<u32, float, float>("cvt.rn.bf16x2.f32 %d, %a, %b;", [&](float a, float b) {
    return bfloat_by_distance(a, 16) << 16 | bfloat_by_distance(b, 16);
  });
  expect_operation<u32, float>("cvt.rn.tf32.f32 %d, %a;",
                               [&](float a) { return bfloat_by_distance(a, 13) << 13; });
  expect_operation<u32, float>("cvt.rna.tf32.f32 %d, %a;", [](float a) -> u32 {
    if (std::isnan(a)) return 0x7fffe000U;
    if (std::isinf(a)) return std::bit_cast<u32>(a);
    return (std::bit_cast<u32>(a) + 0x1000U) & 0xffffe000U;
  });
  expect_operation<u16, float>("cvt.rz.f16.f32 %d, %a;", [](float a) -> u32 {
    if (std::isnan(a)) return 0x7fff;
    const u32 sign = std::signbit(a) ? 0x8000 : 0;
    u32 best = 0;  // the largest half that is no larger
    for (u32 step = 0x4000; step != 0; step /= 2) {
      if (best + step <= 0x7bff && half_to_float(static_cast<u16>(best + step)) <= std::fabs(a))
        best += step;
    }
    return sign | (std::isinf(a) ? 0x7c00 : best);
  });
  expect_operation<u16, float>("cvt.rn.relu.f16.f32 %d, %a;", [](float a) {
    return std::isnan(a) ? 0x7fff : a > 0 ? float_to_half(a) : 0;
  });
}

TEST_CASE("ptxsim half: arithmetic rounds once") {
  // Through long double, whose 64 bits hold every such sum and product but the widest.
  const auto near = [](const char* what) { return what; };
  (void)near;
  const auto value = [](u16 x) { return static_cast<double>(half_to_float(x)); };
  const auto half = [](double x) { return round_to_format(x, kHalf, Round::Nearest); };
  const auto same = [](u16 a, u16 b) {
    return a == b || ((a & 0x7fff) > 0x7c00 && (b & 0x7fff) > 0x7c00);
  };
  expect_operation<u16, u16, u16>(
      "add.rn.f16 %d, %a, %b;", [&](u16 a, u16 b) { return half(value(a) + value(b)); }, same);
  expect_operation<u16, u16, u16>(
      "mul.rn.f16 %d, %a, %b;", [&](u16 a, u16 b) { return half(value(a) * value(b)); }, same);
  expect_operation<u16, u16, u16>(
      "sub.ftz.f16 %d, %a, %b;",
      [&](u16 a, u16 b) {
        const auto flushed = [](u16 x) {
          return static_cast<u16>((x & 0x7c00) == 0 ? x & 0x8000 : x);
        };
        return flushed(static_cast<u16>(half(value(flushed(a)) - value(flushed(b)))));
      },
      same);
  expect_operation<u16, u16, u16, u16>(
      "fma.rn.f16 %d, %a, %b, %c;",
      [&](u16 a, u16 b, u16 c) {
        const __float128 exact = static_cast<__float128>(value(a)) * value(b) + value(c);
        const double nearest = static_cast<double>(exact);
        if (!std::isfinite(nearest) || nearest == 0) return half(nearest);
        // To odd by hand, in a type that is exact.
        double down = nearest;
        if (static_cast<__float128>(nearest) != exact) {
          if ((static_cast<__float128>(nearest) > exact) == (nearest > 0))
            down = std::nextafter(nearest, 0.0);
          if ((std::bit_cast<u64>(down) & 1) == 0)
            down = std::bit_cast<double>(std::bit_cast<u64>(down) + 1);
        }
        return half(down);
      },
      same);
  expect_operation<u32, u32, u32>("max.bf16x2 %d, %a, %b;", [](u32 a, u32 b) {
    const auto part = [&](int s) -> u32 {
      const u16 x = static_cast<u16>(a >> s), y = static_cast<u16>(b >> s);
      const float p = bfloat_to_float(x), q = bfloat_to_float(y);
      if (std::isnan(p) && std::isnan(q)) return 0x7fff;
      if (std::isnan(p) || std::isnan(q)) return std::isnan(p) ? y : x;
      return p > q || (p == q && !std::signbit(p)) ? x : y;
    };
    return part(0) | part(16) << 16;
  });
  expect_operation<u16, u16>("neg.bf16 %d, %a;", [](u16 a) { return a ^ 0x8000; });
}
