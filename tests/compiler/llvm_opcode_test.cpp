// Every opcode that computes, for every dtype, lane count and target, against the same in C++.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <random>
#include <type_traits>

#include "ir/element.h"
#include "ir/host_array.h"
#include "support/catch.h"
#include "support/elf.h"
#include "support/kernels.h"

using cermet::all_dtypes;
using cermet::BFloat16;
using cermet::DType;
using cermet::dtype_of;
using cermet::Float16;
using cermet::Shape;
using cermet::compiler::Target;
using cermet::compiler::loops::Builder;
using cermet::compiler::loops::Function;
using cermet::compiler::loops::Ref;
using cermet::ir::bits_of_value;
using cermet::ir::HostArray;
using cermet::ir::value_of_bits;
using cermet::test::argument;
using cermet::test::Kernel;
using cermet::test::make_function;
using cermet::test::runnable_targets;

namespace {

constexpr size_t count = 1024;  // elements of each operand; a multiple of all lane counts

template <class T>
constexpr bool real = std::is_same_v<T, float> || std::is_same_v<T, double>;
template <class T>
constexpr bool half = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;
template <class T>
constexpr bool integer = !real<T> && !half<T> && !std::is_same_v<T, bool>;

// NaN is NaN, whichever its payload; all else is compared bit for bit, zeros too.
bool same(DType dtype, uint64_t a, uint64_t b) {
  const auto is_nan = [&](uint64_t bits) {
    return is_float(dtype) && std::isnan(cermet::ir::element_to_double(dtype, bits));
  };
  return a == b || (is_nan(a) && is_nan(b));
}

template <class T>
std::vector<T> special_values() {
  if constexpr (std::is_same_v<T, bool>) {
    return {false, true};
  } else if constexpr (half<T>) {
    std::vector<T> result;
    for (const uint16_t bits : {0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x3c00, 0xbc00,
                                0x3f80, 0xc000, 0x4248, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00,
                                0x7f7f, 0x7f80, 0xff80, 0x7fc0, 0x0080, 0x4b7f, 0x5640, 0x4e20})
      result.push_back(value_of_bits<T>(bits));
    return result;
  } else if constexpr (real<T>) {
    using L = std::numeric_limits<T>;
    std::vector<T> result = {0,
                             1,
                             2,
                             3,
                             T(0.5),
                             T(1.5),
                             T(2.5),
                             T(0.1),
                             T(1e-3),
                             T(127.5),
                             255,
                             T(65519.5),
                             T(65520),
                             T(2049),
                             T(5.9e-8),
                             T(2.98e-8),
                             T(3e-8),
                             T(6e4),
                             T(1e9),
                             T(3e9),
                             T(9e18),
                             L::min(),
                             L::denorm_min(),
                             L::max(),
                             1 / L::epsilon(),
                             L::infinity(),
                             L::quiet_NaN(),
                             T(33025),
                             T(257)};
    for (size_t i = 0, n = result.size(); i < n; ++i) result.push_back(-result[i]);
    return result;
  } else {
    using L = std::numeric_limits<T>;
    std::vector<T> result = {0,           1,
                             2,           3,
                             5,           7,
                             T(L::max()), T(L::max() - 1),
                             T(L::min()), T(L::min() + 1),
                             T(-1),       T(-2),
                             T(-7),       T(L::max() / 2),
                             T(1) << 6};
    if constexpr (sizeof(T) >= 4)
      result.insert(result.end(), {T(33025), T(16842753), T(0x01010001), T(2147483520), T(65519)});
    if constexpr (sizeof(T) == 8)
      for (const T v : {T(0x20000000000001), T(0x4040000000000001), T(0x404000000000000),
                        T(0x40c0000000000000), T(0x40bfffffffffffff), T(0x1010000000000001)})
        result.push_back(v), result.push_back(T(0) - v);
    return result;
  }
}

// Each special value beside each other one, and then random bits and random small numbers.
template <class T>
HostArray operand(int which) {
  const std::vector<T> special = special_values<T>();
  std::mt19937_64 random(uint64_t(which) * 97 + 11);
  HostArray result(dtype_of<T>, {int64_t(count)});
  for (size_t i = 0; i < count; ++i) {
    const size_t n = special.size();
    const size_t at[3] = {i % n, (i / n + i) % n, (i * 7 + 3) % n};
    T value = special[at[which]];
    if (i >= count / 2 && i % 2 == 0) {
      if constexpr (std::is_same_v<T, bool>) {
        value = random() & 1;
      } else {
        value = value_of_bits<T>(random());
      }
    } else if (i >= count / 2) {
      const auto small = double(int64_t(random() % 4001)) / 16 - (integer<T> ? 0 : 100);
      if constexpr (std::is_same_v<T, bool>) {
        value = random() & 1;
      } else if constexpr (half<T>) {
        value = T(float(small));
      } else {
        value = T(int64_t(small) & 0x7f) + T(real<T> ? T(0.25) : T(0));
      }
    }
    result.as<T>()[i] = value;
  }
  return result;
}

template <class T>
struct Case {
  std::string name;
  std::function<Ref(Builder&, Ref x, Ref y, Ref z)> build;
  DType result;
  std::function<std::optional<uint64_t>(T x, T y, T z)> eval;  // nothing: any value will do
};

// Unsigned, and not promoted to int, so that it wraps.
template <class T>
struct WideOf {
  using type = uint64_t;
};

template <class T>
Ref safe_divisor(Builder& b, Ref x, Ref y) {
  const Ref one = b.iconstant(y, dtype_of<T>, 1);
  y = b.select(b.eq(y, b.iconstant(y, dtype_of<T>, 0)), one, y);
  if constexpr (std::is_signed_v<T>) {
    const Ref least = b.iconstant(x, dtype_of<T>, std::numeric_limits<T>::min());
    const Ref minus_one = b.iconstant(y, dtype_of<T>, -1);
    y = b.select(b.and_(b.eq(x, least), b.eq(y, minus_one)), one, y);
  }
  return y;
}
template <class T>
T safe_divisor(T x, T y) {
  if (y == 0) return 1;
  if constexpr (std::is_signed_v<T>)
    if (x == std::numeric_limits<T>::min() && y == T(-1)) return 1;
  return y;
}

template <class T>
void add_number_cases(std::vector<Case<T>>& cases) {
  const DType d = dtype_of<T>;
  const auto wrap = [](auto f) {
    return [f](T x, T y, T z) {
      if constexpr (real<T>) return bits_of_value(T(f(x, y, z)));
      return bits_of_value(T(f(uint64_t(x), uint64_t(y), uint64_t(z))));
    };
  };
  cases.push_back({"add", [](Builder& b, Ref x, Ref y, Ref) { return b.add(x, y); }, d,
                   wrap([](auto x, auto y, auto) { return x + y; })});
  cases.push_back({"sub", [](Builder& b, Ref x, Ref y, Ref) { return b.sub(x, y); }, d,
                   wrap([](auto x, auto y, auto) { return x - y; })});
  cases.push_back({"mul", [](Builder& b, Ref x, Ref y, Ref) { return b.mul(x, y); }, d,
                   wrap([](auto x, auto y, auto) { return x * y; })});
  cases.push_back({"mul then add is not fused",
                   [](Builder& b, Ref x, Ref y, Ref z) { return b.add(b.mul(x, y), z); }, d,
                   wrap([](auto x, auto y, auto z) {
                     volatile auto product = x * y;
                     return product + z;
                   })});
  cases.push_back({"neg", [](Builder& b, Ref x, Ref, Ref) { return b.neg(x); }, d,
                   wrap([](auto x, auto, auto) { return -x; })});
  cases.push_back({"abs", [](Builder& b, Ref x, Ref, Ref) { return b.abs(x); }, d,
                   [](T x, T, T) {
                     if constexpr (real<T>) return bits_of_value(std::fabs(x));
                     return bits_of_value(x < T(0) ? T(uint64_t(0) - uint64_t(x)) : x);
                   }});
  cases.push_back({"div",
                   [](Builder& b, Ref x, Ref y, Ref) {
                     if constexpr (integer<T>) y = safe_divisor<T>(b, x, y);
                     return b.div(x, y);
                   },
                   d,
                   [](T x, T y, T) {
                     if constexpr (integer<T>) y = safe_divisor<T>(x, y);
                     return bits_of_value(T(x / y));
                   }});
}

template <class T>
void add_comparisons(std::vector<Case<T>>& cases) {
#define COMPARE(method, op)                                                               \
  cases.push_back({#method, [](Builder& b, Ref x, Ref y, Ref) { return b.method(x, y); }, \
                   DType::Bool, [](T x, T y, T) { return uint64_t(x op y); }})
  COMPARE(lt, <);
  COMPARE(le, <=);
  COMPARE(gt, >);
  COMPARE(ge, >=);
  COMPARE(eq, ==);
  COMPARE(ne, !=);
#undef COMPARE
}

template <class T>
void add_integer_cases(std::vector<Case<T>>& cases) {
  const DType d = dtype_of<T>;
  cases.push_back({"rem",
                   [](Builder& b, Ref x, Ref y, Ref) { return b.rem(x, safe_divisor<T>(b, x, y)); },
                   d, [](T x, T y, T) { return bits_of_value(T(x % safe_divisor<T>(x, y))); }});
  const auto shift = [](Builder& b, Ref y) {
    return b.and_(y, b.iconstant(y, dtype_of<T>, sizeof(T) * 8 - 1));
  };
  constexpr T mask = sizeof(T) * 8 - 1;
  cases.push_back({"shl", [=](Builder& b, Ref x, Ref y, Ref) { return b.shl(x, shift(b, y)); }, d,
                   [](T x, T y, T) { return bits_of_value(T(uint64_t(x) << (y & mask))); }});
  cases.push_back({"shr", [=](Builder& b, Ref x, Ref y, Ref) { return b.shr(x, shift(b, y)); }, d,
                   [](T x, T y, T) { return bits_of_value(T(x >> (y & mask))); }});
  cases.push_back(
      {"shl by a constant",
       [=](Builder& b, Ref x, Ref, Ref) { return b.shl(x, b.iconstant(x, dtype_of<T>, 3)); }, d,
       [](T x, T, T) { return bits_of_value(T(uint64_t(x) << 3)); }});
  cases.push_back(
      {"shr by a constant",
       [=](Builder& b, Ref x, Ref, Ref) { return b.shr(x, b.iconstant(x, dtype_of<T>, 3)); }, d,
       [](T x, T, T) { return bits_of_value(T(x >> 3)); }});
}

template <class T>
void add_logic_cases(std::vector<Case<T>>& cases) {
  const DType d = dtype_of<T>;
  cases.push_back({"and", [](Builder& b, Ref x, Ref y, Ref) { return b.and_(x, y); }, d,
                   [](T x, T y, T) { return bits_of_value(T(x & y)); }});
  cases.push_back({"or", [](Builder& b, Ref x, Ref y, Ref) { return b.or_(x, y); }, d,
                   [](T x, T y, T) { return bits_of_value(T(x | y)); }});
  cases.push_back({"xor", [](Builder& b, Ref x, Ref y, Ref) { return b.xor_(x, y); }, d,
                   [](T x, T y, T) { return bits_of_value(T(x ^ y)); }});
  cases.push_back({"not", [](Builder& b, Ref x, Ref, Ref) { return b.not_(x); }, d,
                   [](T x, T, T) {
                     if constexpr (std::is_same_v<T, bool>)
                       return bits_of_value(!x);
                     else
                       return bits_of_value(T(~x));
                   }});
}

template <class T>
void add_real_cases(std::vector<Case<T>>& cases, const Target& target) {
  const DType d = dtype_of<T>;
#define UNARY(method, f)                                                                \
  cases.push_back({#method, [](Builder& b, Ref x, Ref, Ref) { return b.method(x); }, d, \
                   [](T x, T, T) { return bits_of_value(T(f(x))); }})
  UNARY(sqrt, std::sqrt);
  UNARY(floor, std::floor);
  UNARY(ceil, std::ceil);
  UNARY(trunc, std::trunc);
  UNARY(round_even, std::nearbyint);
#undef UNARY
  // What x86 has one instruction for, which takes the second where one is NaN, and of equal zeros.
#define SELECT(text, method, op, first, second)                                                  \
  cases.push_back(                                                                               \
      {text,                                                                                     \
       [](Builder& b, Ref x, Ref y, Ref) { return b.select(b.method(x, y), first, second); }, d, \
       [](T x, T y, T) { return bits_of_value(x op y ? first : second); }})
  SELECT("the lesser, by lt", lt, <, x, y);
  SELECT("the greater, by lt", lt, <, y, x);
  SELECT("the greater, by gt", gt, >, x, y);
  SELECT("the lesser, by gt", gt, >, y, x);
  SELECT("no extremum, by le", le, <=, x, y);
#undef SELECT
  cases.push_back({"copysign", [](Builder& b, Ref x, Ref y, Ref) { return b.copysign(x, y); }, d,
                   [](T x, T y, T) { return bits_of_value(std::copysign(x, y)); }});
  if (target.fma)
    cases.push_back({"fma", [](Builder& b, Ref x, Ref y, Ref z) { return b.fma(x, y, z); }, d,
                     [](T x, T y, T z) { return bits_of_value(std::fma(x, y, z)); }});
}

template <class T>
std::vector<Case<T>> cases_for(const Target& target) {
  const DType d = dtype_of<T>;
  std::vector<Case<T>> cases;
  if constexpr (real<T> || integer<T>) add_number_cases(cases);
  if constexpr (!half<T>) add_comparisons(cases);
  if constexpr (integer<T>) add_integer_cases(cases);
  if constexpr (integer<T> || std::is_same_v<T, bool>) add_logic_cases(cases);
  if constexpr (real<T>) add_real_cases(cases, target);
  if constexpr (half<T>) {
    cases.push_back(
        {"select by the sign",
         [](Builder& b, Ref x, Ref y, Ref z) {
           const Ref zero = b.iconstant(x, DType::I16, 0);
           return b.select(b.lt(b.bitcast(x, DType::I16), zero), y, z);
         },
         d, [](T x, T y, T z) { return bits_of_value((bits_of_value(x) & 0x8000) ? y : z); }});
  } else {
    cases.push_back({"select",
                     [](Builder& b, Ref x, Ref y, Ref z) { return b.select(b.lt(x, y), y, z); }, d,
                     [](T x, T y, T z) { return bits_of_value(x < y ? y : z); }});
  }
  cases.push_back({"copy", [](Builder&, Ref, Ref, Ref z) { return z; }, d,
                   [](T, T, T z) { return bits_of_value(z); }});
  for (const DType to : all_dtypes)
    if (to != d && size_of(to) == sizeof(T) && to != DType::Bool)
      cases.push_back({"bitcast", [to](Builder& b, Ref x, Ref, Ref) { return b.bitcast(x, to); },
                       to, [](T x, T, T) { return bits_of_value(x); }});
  return cases;
}

// One kernel for all cases: three operands, a result for each case.
template <class T>
Function write_cases(const Target& target, const std::vector<Case<T>>& cases, int lanes) {
  return make_function(target, [&](Builder& b) {
    int32_t in[3];
    for (int32_t k = 0; k < 3; ++k) in[k] = b.add_buffer(argument(k, dtype_of<T>));
    std::vector<int32_t> out;
    for (const Case<T>& c : cases)
      out.push_back(b.add_buffer(argument(int32_t(out.size()) + 3, c.result)));
    b.for_loop(b.begin(), b.end(), lanes, [&](Ref i) {
      const Ref x = b.load(in[0], i, lanes), y = b.load(in[1], i, lanes),
                z = b.load(in[2], i, lanes);
      for (size_t k = 0; k < cases.size(); ++k) b.store(out[k], i, cases[k].build(b, x, y, z));
    });
  });
}

template <class T>
void check_cases(const Target& target, const std::vector<Case<T>>& cases, int lanes) {
  const Function function = write_cases(target, cases, lanes);
  CHECK(cermet::test::undefined_symbols(cermet::compiler::llvm_backend().to_object(
            function, target)) == std::vector<std::string>());
  Kernel kernel(function, target);
  HostArray in[3] = {operand<T>(0), operand<T>(1), operand<T>(2)};
  std::vector<HostArray> out;
  for (const Case<T>& c : cases) out.emplace_back(c.result, Shape{int64_t(count)});
  for (HostArray& a : in) kernel.buffers.push_back(a.bytes.data());
  for (HostArray& a : out) kernel.buffers.push_back(a.bytes.data());
  kernel.run(0, count);
  for (size_t k = 0; k < cases.size(); ++k) {
    for (size_t i = 0; i < count; ++i) {
      const T x = in[0].as<T>()[i], y = in[1].as<T>()[i], z = in[2].as<T>()[i];
      const uint64_t got = out[k].bits(int64_t(i));
      const std::optional<uint64_t> expected = cases[k].eval(x, y, z);
      if (!expected || same(cases[k].result, got, *expected)) continue;
      FAIL_CHECK(fmt::format("{}: {} of {:#x}, {:#x}, {:#x} gives {:#x}, must be {:#x}", i,
                             cases[k].name, bits_of_value(x), bits_of_value(y), bits_of_value(z),
                             got, *expected));
      break;
    }
  }
}

std::vector<int> lane_counts(const Target& target, size_t size) {
  std::vector<int> result = {1, 2, 4, 8, 16};
  const int natural = target.vector_bytes / int(size);
  for (const int lanes : {natural, 2 * natural})
    if (std::find(result.begin(), result.end(), lanes) == result.end()) result.push_back(lanes);
  return result;
}

template <class F>
void for_each_setting(const F& f) {
  for (const Target& target : runnable_targets())
    for (const DType dtype : all_dtypes)
      for (const int lanes : lane_counts(target, size_of(dtype)))
        cermet::visit(dtype, [&](auto zero) {
          INFO(target.cpu << ", " << name(dtype) << ", lanes " << lanes);
          f(zero, target, lanes);
        });
}

// Rounds once to a float of `precision` bits whose least normal number is 2^(least - 1).
float round_once(long double x, int precision, int least) {
  if (x == 0 || !std::isfinite(x)) return float(x);
  int exponent = 0;
  std::frexp(x, &exponent);
  const int unit = std::max(exponent, least) - precision;
  return float(std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit));
}

// What C++ gives; nothing where the value is not representable.
template <class From, class To>
std::optional<uint64_t> converted(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    if constexpr (half<From>)
      return uint64_t(float(x) != 0);
    else
      return uint64_t(x != From(0));
  } else if constexpr (half<To>) {
    long double wide;
    if constexpr (half<From>)
      wide = float(x);
    else
      wide = static_cast<long double>(x);
    const bool f16 = std::is_same_v<To, Float16>;
    return bits_of_value(To(round_once(wide, f16 ? 11 : 8, f16 ? -13 : -125)));
  } else if constexpr (half<From>) {
    return converted<float, To>(float(x));
  } else if constexpr (real<From> && integer<To>) {
    const auto truncated = static_cast<long double>(std::trunc(x));
    using L = std::numeric_limits<To>;
    if (!(truncated >= static_cast<long double>(L::min()) &&
          truncated <= static_cast<long double>(L::max())))
      return std::nullopt;
    return bits_of_value(To(x));
  } else {
    return bits_of_value(To(x));
  }
}

}  // namespace

TEST_CASE("llvm opcode: results are those of C++, for every dtype, lane count and target") {
  for_each_setting([](auto zero, const Target& target, int lanes) {
    using T = decltype(zero);
    check_cases<T>(target, cases_for<T>(target), lanes);
  });
}

TEST_CASE("llvm opcode: conversions between all dtypes are those of C++, rounded once") {
  for_each_setting([](auto zero, const Target& target, int lanes) {
    using T = decltype(zero);
    std::vector<Case<T>> cases;
    for (const DType to : all_dtypes) {
      if (to == dtype_of<T>) continue;
      cermet::visit(to, [&]<class To>(To) {
        cases.push_back({fmt::format("cast to {}", name(to)),
                         [to](Builder& b, Ref x, Ref, Ref) { return b.cast(x, to); }, to,
                         [](T x, T, T) { return converted<T, To>(x); }});
      });
    }
    check_cases<T>(target, cases, lanes);
  });
}
