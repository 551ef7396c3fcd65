#pragma once
// Element types. One table, DTYPES, is the list; everything else here is read from it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "cermet/half.h"

namespace cermet {

enum class DTypeKind : uint8_t { Bool, Unsigned, Signed, Float };

// Legend: X(Enum, text name, PyTorch's name, C++ type, kind). Order within a kind is by width.
#define CERMET_DTYPES(X)                       \
  X(Bool, "bool", "bool", bool, Bool)          \
  X(U8, "u8", "uint8", uint8_t, Unsigned)      \
  X(U16, "u16", "uint16", uint16_t, Unsigned)  \
  X(U32, "u32", "uint32", uint32_t, Unsigned)  \
  X(U64, "u64", "uint64", uint64_t, Unsigned)  \
  X(I8, "i8", "int8", int8_t, Signed)          \
  X(I16, "i16", "int16", int16_t, Signed)      \
  X(I32, "i32", "int32", int32_t, Signed)      \
  X(I64, "i64", "int64", int64_t, Signed)      \
  X(F16, "f16", "float16", Float16, Float)     \
  X(BF16, "bf16", "bfloat16", BFloat16, Float) \
  X(F32, "f32", "float32", float, Float)       \
  X(F64, "f64", "float64", double, Float)

enum class DType : uint8_t {
#define X(Enum, ...) Enum,
  CERMET_DTYPES(X)
#undef X
};

struct DTypeInfo {
  std::string_view name;        // in graph text: "f32"
  std::string_view torch_name;  // in printed tensors: "float32"
  size_t size;                  // bytes of one element
  DTypeKind kind;
};

inline constexpr auto dtype_table = std::to_array<DTypeInfo>({
#define X(Enum, name, torch, type, kind) {name, torch, sizeof(type), DTypeKind::kind},
    CERMET_DTYPES(X)
#undef X
});

inline constexpr std::array all_dtypes = {
#define X(Enum, ...) DType::Enum,
    CERMET_DTYPES(X)
#undef X
};

constexpr const DTypeInfo& info(DType dtype) { return dtype_table[size_t(dtype)]; }
constexpr std::string_view name(DType dtype) { return info(dtype).name; }
constexpr size_t size_of(DType dtype) { return info(dtype).size; }
constexpr bool is_float(DType dtype) { return info(dtype).kind == DTypeKind::Float; }
constexpr bool is_signed(DType dtype) { return info(dtype).kind == DTypeKind::Signed; }
constexpr bool is_unsigned(DType dtype) { return info(dtype).kind == DTypeKind::Unsigned; }
constexpr bool is_bool(DType dtype) { return dtype == DType::Bool; }
// Signed or unsigned, not bool.
constexpr bool is_integer(DType dtype) { return is_signed(dtype) || is_unsigned(dtype); }
constexpr int bits_of(DType dtype) { return int(size_of(dtype)) * 8; }

// The dtype whose name or PyTorch name is `text`, or nothing.
constexpr std::optional<DType> parse_dtype(std::string_view text) {
  for (DType dtype : all_dtypes)
    if (info(dtype).name == text || info(dtype).torch_name == text) return dtype;
  return std::nullopt;
}

template <class T>
struct DTypeOf;
#define X(Enum, name, torch, type, kind)        \
  template <>                                   \
  struct DTypeOf<type> {                        \
    static constexpr DType value = DType::Enum; \
  };
CERMET_DTYPES(X)
#undef X
// `long long` and `long` are both 64 bits where we run, and only one of them is int64_t.
template <>
struct DTypeOf<long long> {
  static constexpr DType value = DType::I64;
};
template <>
struct DTypeOf<unsigned long long> {
  static constexpr DType value = DType::U64;
};

// The dtype that stores a C++ type: dtype_of<float> is DType::F32.
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

template <class T>
concept Element = requires { DTypeOf<T>::value; };

// Calls f with a value-initialised object of the dtype's C++ type: visit(dtype, [](auto zero) { ...
// }).
template <class F>
constexpr decltype(auto) visit(DType dtype, F&& f) {
  switch (dtype) {
#define X(Enum, name, torch, type, kind) \
  case DType::Enum: return f(type{});
    CERMET_DTYPES(X)
#undef X
  }
  __builtin_unreachable();
}

// The result dtype of a binary op on two tensors. PyTorch's lattice (torch.promote_types): bool <
// unsigned < signed < float; u8 with a signed type gives the next wider signed type; f16 with bf16
// gives f32; an integer with a float gives the float. Where PyTorch has no answer (u64 with a
// signed type) NumPy's: f64.
constexpr DType promote(DType a, DType b) {
  if (a == b) return a;
  const DTypeInfo &x = info(a), &y = info(b);
  if (x.kind == y.kind) {
    if (x.kind == DTypeKind::Float && x.size == y.size) return DType::F32;
    return x.size > y.size ? a : b;
  }
  if (x.kind > y.kind) return promote(b, a);  // now the kind of a is below the kind of b
  if (y.kind != DTypeKind::Signed || x.kind == DTypeKind::Bool) return b;
  if (x.size < y.size) return b;
  switch (x.size) {
    case 1: return DType::I16;
    case 2: return DType::I32;
    case 4: return DType::I64;
    default: return DType::F64;
  }
}

}  // namespace cermet
