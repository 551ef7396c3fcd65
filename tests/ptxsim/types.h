#pragma once
// The types that PTX instructions and declarations name, as one table.

#include <cstdint>
#include <optional>
#include <string_view>

namespace cermet::ptxsim {

// clang-format off
//              enumerator name      bytes kind
#define CERMET_PTX_TYPES(X)             \
  X(B8,     "b8",     1, Bits)      \
  X(B16,    "b16",    2, Bits)      \
  X(B32,    "b32",    4, Bits)      \
  X(B64,    "b64",    8, Bits)      \
  X(U8,     "u8",     1, Unsigned)  \
  X(U16,    "u16",    2, Unsigned)  \
  X(U32,    "u32",    4, Unsigned)  \
  X(U64,    "u64",    8, Unsigned)  \
  X(S8,     "s8",     1, Signed)    \
  X(S16,    "s16",    2, Signed)    \
  X(S32,    "s32",    4, Signed)    \
  X(S64,    "s64",    8, Signed)    \
  X(U16x2,  "u16x2",  4, Packed)    \
  X(S16x2,  "s16x2",  4, Packed)    \
  X(F16,    "f16",    2, Float)     \
  X(F16x2,  "f16x2",  4, Packed)    \
  X(BF16,   "bf16",   2, Float)     \
  X(BF16x2, "bf16x2", 4, Packed)    \
  X(TF32,   "tf32",   4, Float)     \
  X(F32,    "f32",    4, Float)     \
  X(F32x2,  "f32x2",  8, Packed)    \
  X(F64,    "f64",    8, Float)     \
  X(Pred,   "pred",   4, Predicate)
// clang-format on

enum class Kind : std::uint8_t { Bits, Unsigned, Signed, Float, Packed, Predicate };

enum class Type : std::uint8_t {
#define CERMET_PTX_ENUMERATOR(enumerator, name, bytes, kind) enumerator,
  CERMET_PTX_TYPES(CERMET_PTX_ENUMERATOR)
#undef CERMET_PTX_ENUMERATOR
};

struct TypeFacts {
  std::string_view name;
  int bytes;
  Kind kind;
};

inline constexpr TypeFacts kTypes[] = {
#define CERMET_PTX_FACTS(enumerator, name, bytes, kind) {name, bytes, Kind::kind},
    CERMET_PTX_TYPES(CERMET_PTX_FACTS)
#undef CERMET_PTX_FACTS
};

constexpr const TypeFacts& facts(Type type) { return kTypes[static_cast<int>(type)]; }
constexpr int bytes_of(Type type) { return facts(type).bytes; }
constexpr Kind kind_of(Type type) { return facts(type).kind; }
constexpr bool is_integer(Type type) {
  return kind_of(type) == Kind::Unsigned || kind_of(type) == Kind::Signed;
}
constexpr bool is_signed(Type type) { return kind_of(type) == Kind::Signed; }

constexpr std::optional<Type> type_named(std::string_view name) {
  for (int i = 0; i < static_cast<int>(std::size(kTypes)); ++i) {
    if (kTypes[i].name == name) return static_cast<Type>(i);
  }
  return std::nullopt;
}

}  // namespace cermet::ptxsim
