#pragma once
// A builder (see compiler/vecmath_number.h) that computes at once, on the host, `lanes` values at a
// time. It is how the vector mathematics is tested without a code generator. `fused` says whether
// the target it stands for has fma, `lookup` whether it has Opcode::Lookup.

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <stdexcept>
#include <type_traits>

#include "cermet/dtype.h"
#include "compiler/kernel_helpers.h"
#include "compiler/lookup_tables.h"
#include "compiler/loops.h"

namespace cermet::test {

namespace detail {

inline bool host_has_fma() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("fma");
#else
  return false;
#endif
}
template <class T>
void fma_portable(const T* a, const T* b, const T* c, T* out, int count) {
  for (int i = 0; i < count; ++i) out[i] = std::fma(a[i], b[i], c[i]);
}
#if defined(__x86_64__)
// A call of std::fma per lane without -mfma costs more than all the rest of the tests.
template <class T>
[[gnu::target("fma,avx2")]] void fma_x86(const T* a, const T* b, const T* c, T* out, int count) {
  for (int i = 0; i < count; ++i) {
    if constexpr (sizeof(T) == 4)
      out[i] = __builtin_fmaf(a[i], b[i], c[i]);
    else
      out[i] = __builtin_fma(a[i], b[i], c[i]);
  }
}
#endif

}  // namespace detail

class HostBuilder {
 public:
  static constexpr int lanes = 64;
  static constexpr bool inlines_large_arguments = true;

  struct Value {
    DType type = DType::F32;
    std::array<uint64_t, lanes> storage;  // lanes * size_of(type) bytes count

    template <class T>
    T* as() {
      return reinterpret_cast<T*>(storage.data());
    }
    template <class T>
    const T* as() const {
      return reinterpret_cast<const T*>(storage.data());
    }
  };

  explicit HostBuilder(bool fused, bool lookup = false) : fused_(fused), lookup_(lookup) {}

  template <class T>
  static Value load(const T* from) {
    Value v;
    v.type = dtype_of<T>;
    std::memcpy(v.storage.data(), from, lanes * sizeof(T));
    return v;
  }
  template <class T>
  static void store(const Value& v, T* to) {
    if (v.type != dtype_of<T>) throw std::logic_error("host builder: stored with another type");
    std::memcpy(to, v.storage.data(), lanes * sizeof(T));
  }

  DType dtype(const Value& v) const { return v.type; }
  bool has_fma() const { return fused_; }
  bool has_lookup() const { return lookup_; }

  Value constant(const Value&, DType type, double c) {
    return floats(type, [&]<class T>(T) { return make<T>(type, [&](int) { return T(c); }); });
  }
  Value iconstant(const Value&, DType type, int64_t c) {
    return integers(type, [&]<class T>(T) { return make<T>(type, [&](int) { return T(c); }); });
  }

  Value add(const Value& a, const Value& b) {
    return number(a, b, [](auto x, auto y) { return x + y; });
  }
  Value sub(const Value& a, const Value& b) {
    return number(a, b, [](auto x, auto y) { return x - y; });
  }
  Value mul(const Value& a, const Value& b) {
    return number(a, b, [](auto x, auto y) { return x * y; });
  }
  Value div(const Value& a, const Value& b) {
    return real(a, b, [](auto x, auto y) { return x / y; });
  }
  Value copysign(const Value& a, const Value& b) {
    return real(a, b, [](auto x, auto y) { return std::copysign(x, y); });
  }
  Value neg(const Value& a) {
    return real(a, a, [](auto x, auto) { return -x; });
  }
  Value abs(const Value& a) {
    return real(a, a, [](auto x, auto) { return std::fabs(x); });
  }
  Value sqrt(const Value& a) {
    return real(a, a, [](auto x, auto) { return std::sqrt(x); });
  }
  Value floor(const Value& a) {
    return real(a, a, [](auto x, auto) { return std::floor(x); });
  }
  Value ceil(const Value& a) {
    return real(a, a, [](auto x, auto) { return std::ceil(x); });
  }
  Value trunc(const Value& a) {
    return real(a, a, [](auto x, auto) { return std::trunc(x); });
  }
  Value round_even(const Value& a) {
    return real(a, a, [](auto x, auto) { return std::nearbyint(x); });
  }
  Value fma(const Value& a, const Value& b, const Value& c) {
    same_type(a, b), same_type(a, c);
    if (!fused_) throw std::logic_error("host builder: fma on a target without");
    return floats(a.type, [&]<class T>(T) {
      Value out;
      out.type = a.type;
      const auto fma = detail::host_has_fma() ? fast_fma<T>() : detail::fma_portable<T>;
      fma(a.as<T>(), b.as<T>(), c.as<T>(), out.as<T>(), lanes);
      return out;
    });
  }

  Value and_(const Value& a, const Value& b) {
    return whole(a, b, [](auto x, auto y) { return x & y; });
  }
  Value or_(const Value& a, const Value& b) {
    return whole(a, b, [](auto x, auto y) { return x | y; });
  }
  Value xor_(const Value& a, const Value& b) {
    return whole(a, b, [](auto x, auto y) { return x ^ y; });
  }
  Value not_(const Value& a) {
    if (a.type == DType::Bool) return whole(a, a, [](auto x, auto) { return x ^ 1; });
    return whole(a, a, [](auto x, auto) { return ~x; });
  }
  Value scale(const Value& x, const Value& n) {
    return real(
        x, n, [](auto a, auto b) { return std::isnan(b) ? b : std::ldexp(a, int(std::floor(b))); });
  }
  Value lookup(const Value& index, int row) {
    if (index.type != DType::I32) throw std::logic_error("host builder: lookup without an i32");
    return make<float>(DType::F32, [&](int i) {
      return compiler::lookup_rows[row][index.as<uint32_t>()[i] % compiler::lookup_entries];
    });
  }

  // A count outside the width is undefined on the targets, so it is an error here.
  Value shl(const Value& a, const Value& b) {
    return whole(a, b, [](auto x, auto y) {
      return static_cast<std::make_unsigned_t<decltype(x)>>(x) << checked(y, sizeof(x));
    });
  }
  Value shr(const Value& a, const Value& b) {
    return whole(a, b, [](auto x, auto y) { return x >> checked(y, sizeof(x)); });
  }

  Value lt(const Value& a, const Value& b) {
    return compare(a, b, [](auto x, auto y) { return x < y; });
  }
  Value le(const Value& a, const Value& b) {
    return compare(a, b, [](auto x, auto y) { return x <= y; });
  }
  Value gt(const Value& a, const Value& b) {
    return compare(a, b, [](auto x, auto y) { return x > y; });
  }
  Value ge(const Value& a, const Value& b) {
    return compare(a, b, [](auto x, auto y) { return x >= y; });
  }
  Value eq(const Value& a, const Value& b) {
    return compare(a, b, [](auto x, auto y) { return x == y; });
  }
  Value ne(const Value& a, const Value& b) {
    return compare(a, b, [](auto x, auto y) { return x != y; });
  }

  Value select(const Value& mask, const Value& a, const Value& b) {
    same_type(a, b);
    if (mask.type != DType::Bool) throw std::logic_error("host builder: select without a mask");
    return all(a.type, [&]<class T>(T) {
      const uint8_t* m = mask.as<uint8_t>();
      const T *x = a.as<T>(), *y = b.as<T>();
      return make<T>(a.type, [=](int i) { return m[i] ? x[i] : y[i]; });
    });
  }
  Value call_scalar(compiler::loops::Helper helper, const Value& mask, const Value& value,
                    std::span<const Value> operands) {
    const void* function = compiler::kernel_helpers()[size_t(helper)];
    return floats(value.type, [&]<class T>(T) {
      const auto result = [&](int i) {
        const double x = double(operands[0].as<T>()[i]);
        if (operands.size() == 1)
          return reinterpret_cast<double (*)(double)>(const_cast<void*>(function))(x);
        const double y = double(operands[1].as<T>()[i]);
        return reinterpret_cast<double (*)(double, double)>(const_cast<void*>(function))(x, y);
      };
      return make<T>(value.type, [&](int i) {
        return mask.as<uint8_t>()[i] ? T(result(i)) : value.as<T>()[i];
      });
    });
  }
  Value cast(const Value& a, DType type) {
    return all(a.type, [&]<class From>(From) {
      return all(type, [&]<class To>(To) {
        const From* x = a.as<From>();
        return make<To>(type, [=](int i) { return convert<To>(x[i]); });
      });
    });
  }
  Value bitcast(const Value& a, DType type) {
    if (size_of(a.type) != size_of(type))
      throw std::logic_error("host builder: bitcast of another width");
    Value out = a;
    out.type = type;
    return out;
  }

 private:
  template <class T>
  using Fma = void (*)(const T*, const T*, const T*, T*, int);
  template <class T>
  static Fma<T> fast_fma() {
#if defined(__x86_64__)
    return detail::fma_x86<T>;
#else
    return detail::fma_portable<T>;
#endif
  }
  // Out of range is the caller's promise; lanes that a select discards may break it, so nothing
  // undefined here.
  template <class To, class From>
  static To convert(From x) {
    if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
      const double d = double(x);
      if (!(d > -9.2e18 && d < 9.2e18)) return std::numeric_limits<To>::min();
      return To(int64_t(d));
    } else {
      return To(x);
    }
  }
  template <class T>
  static int checked(T count, size_t bytes) {
    if (count < 0 || uint64_t(count) >= 8 * bytes)
      throw std::logic_error("host builder: shift count out of range");
    return int(count);
  }
  static void same_type(const Value& a, const Value& b) {
    if (a.type != b.type) throw std::logic_error("host builder: operands of two types");
  }
  template <class T, class F>
  static Value make(DType type, F f) {
    Value out;
    out.type = type;
    T* to = out.as<T>();
    for (int i = 0; i < lanes; ++i) to[i] = f(i);
    return out;
  }
  template <class F>
  static Value floats(DType type, F f) {
    if (type == DType::F32) return f(float{});
    if (type == DType::F64) return f(double{});
    throw std::logic_error("host builder: not a float");
  }
  template <class F>
  static Value integers(DType type, F f) {
    switch (type) {
      case DType::Bool:
      case DType::U8: return f(uint8_t{});
      case DType::U16: return f(uint16_t{});
      case DType::U32: return f(uint32_t{});
      case DType::U64: return f(uint64_t{});
      case DType::I8: return f(int8_t{});
      case DType::I16: return f(int16_t{});
      case DType::I32: return f(int32_t{});
      case DType::I64: return f(int64_t{});
      default: throw std::logic_error("host builder: not an integer");
    }
  }
  template <class F>
  static Value all(DType type, F f) {
    return is_float(type) ? floats(type, f) : integers(type, f);
  }

  template <class F>
  static Value real(const Value& a, const Value& b, F f) {
    same_type(a, b);
    return floats(a.type, [&]<class T>(T) {
      const T *x = a.as<T>(), *y = b.as<T>();
      return make<T>(a.type, [=](int i) { return f(x[i], y[i]); });
    });
  }
  template <class F>
  static Value whole(const Value& a, const Value& b, F f) {
    same_type(a, b);
    return integers(a.type, [&]<class T>(T) {
      const T *x = a.as<T>(), *y = b.as<T>();
      return make<T>(a.type, [=](int i) { return T(f(x[i], y[i])); });
    });
  }
  // Integers wrap: the arithmetic is done unsigned.
  template <class F>
  static Value number(const Value& a, const Value& b, F f) {
    if (is_float(a.type)) return real(a, b, f);
    return whole(a, b, [f]<class T>(T x, T y) { return T(f(uint64_t(x), uint64_t(y))); });
  }
  template <class F>
  static Value compare(const Value& a, const Value& b, F f) {
    same_type(a, b);
    return all(a.type, [&]<class T>(T) {
      const T *x = a.as<T>(), *y = b.as<T>();
      return make<uint8_t>(DType::Bool, [=](int i) { return uint8_t(f(x[i], y[i])); });
    });
  }

  bool fused_, lookup_;
};

}  // namespace cermet::test
