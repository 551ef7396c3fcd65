// Integer instructions and bits against the host's arithmetic.

#include <algorithm>
#include <bit>

#include "ptxsim/one_instruction.h"

using namespace cermet::ptxsim::test;
using u16 = std::uint16_t;
using s16 = std::int16_t;
using u32 = std::uint32_t;
using s32 = std::int32_t;
using u64 = std::uint64_t;
using s64 = std::int64_t;
__extension__ typedef __int128 s128;
__extension__ typedef unsigned __int128 u128;

TEST_CASE("ptxsim integer: sums, products and quotients") {
  expect_operation<u32, u32, u32>("add.u32 %d, %a, %b;", [](u32 a, u32 b) { return a + b; });
  expect_operation<u16, u16, u16>("sub.s16 %d, %a, %b;",
                                  [](u16 a, u16 b) { return static_cast<u16>(a - b); });
  expect_operation<u64, u64, u64>("sub.s64 %d, %a, %b;", [](u64 a, u64 b) { return a - b; });
  expect_operation<s32, s32, s32>("add.sat.s32 %d, %a, %b;", [](s64 a, s64 b) {
    return std::clamp<s64>(a + b, INT32_MIN, INT32_MAX);
  });
  expect_operation<s32, s32, s32>("sub.sat.s32 %d, %a, %b;", [](s64 a, s64 b) {
    return std::clamp<s64>(a - b, INT32_MIN, INT32_MAX);
  });
  expect_operation<u16, u16, u16>("mul.lo.u16 %d, %a, %b;",
                                  [](u32 a, u32 b) { return static_cast<u16>(a * b); });
  expect_operation<u32, u32, u32>("mul.lo.s32 %d, %a, %b;", [](u32 a, u32 b) { return a * b; });
  expect_operation<u32, u32, u32>("mul.hi.u32 %d, %a, %b;",
                                  [](u64 a, u64 b) { return a * b >> 32; });
  expect_operation<s32, s32, s32>("mul.hi.s32 %d, %a, %b;",
                                  [](s64 a, s64 b) { return a * b >> 32; });
  expect_operation<u64, u64, u64>("mul.hi.u64 %d, %a, %b;",
                                  [](u128 a, u128 b) { return static_cast<u64>(a * b >> 64); });
  expect_operation<s64, s64, s64>("mul.hi.s64 %d, %a, %b;",
                                  [](s128 a, s128 b) { return static_cast<s64>(a * b >> 64); });
  expect_operation<u32, u16, u16>("mul.wide.u16 %d, %a, %b;", [](u32 a, u32 b) { return a * b; });
  expect_operation<s64, s32, s32>("mul.wide.s32 %d, %a, %b;", [](s64 a, s64 b) { return a * b; });
  expect_operation<u64, u32, u32, u64>("mad.wide.u32 %d, %a, %b, %c;",
                                       [](u64 a, u64 b, u64 c) { return a * b + c; });
  expect_operation<u32, u32, u32, u32>("mad.lo.s32 %d, %a, %b, %c;",
                                       [](u32 a, u32 b, u32 c) { return a * b + c; });
  expect_operation<u32, u32, u32, u32>("mad.hi.u32 %d, %a, %b, %c;", [](u64 a, u64 b, u32 c) {
    return static_cast<u32>(a * b >> 32) + c;
  });
  expect_operation<u32, u32, u32>("mul24.lo.u32 %d, %a, %b;",
                                  [](u32 a, u32 b) { return (a & 0xffffff) * (b & 0xffffff); });
  expect_operation<u32, u32, u32>("div.u32 %d, %a, %b;",
                                  [](u32 a, u32 b) { return b == 0 ? ~0U : a / b; });
  expect_operation<s64, s64, s64>("div.s64 %d, %a, %b;", [](s64 a, s64 b) {
    return b == 0 ? -1 : b == -1 ? static_cast<s64>(0 - static_cast<u64>(a)) : a / b;
  });
  expect_operation<s32, s32, s32>("rem.s32 %d, %a, %b;",
                                  [](s64 a, s64 b) { return b == 0 ? a : a % b; });
  expect_operation<u16, u16, u16>("rem.u16 %d, %a, %b;",
                                  [](u32 a, u32 b) { return b == 0 ? a : a % b; });
}

TEST_CASE("ptxsim integer: signs, extremes, differences, dot products") {
  expect_operation<u32, s32>("abs.s32 %d, %a;",
                             [](s64 a) { return static_cast<u32>(a < 0 ? -a : a); });
  expect_operation<u64, u64>("neg.s64 %d, %a;", [](u64 a) { return 0 - a; });
  expect_operation<s32, s32, s32>("min.s32 %d, %a, %b;",
                                  [](s32 a, s32 b) { return std::min(a, b); });
  expect_operation<u64, u64, u64>("max.u64 %d, %a, %b;",
                                  [](u64 a, u64 b) { return std::max(a, b); });
  expect_operation<s16, s16, s16>("max.s16 %d, %a, %b;",
                                  [](s16 a, s16 b) { return std::max(a, b); });
  expect_operation<u32, u32, u32, u32>(
      "sad.u32 %d, %a, %b, %c;", [](u32 a, u32 b, u32 c) { return (a < b ? b - a : a - b) + c; });
  expect_operation<u32, u32, u32>("min.s16x2 %d, %a, %b;", [](u32 a, u32 b) {
    const auto half = [&](int shift) {
      return static_cast<u16>(std::min(static_cast<s16>(a >> shift), static_cast<s16>(b >> shift)));
    };
    return half(0) | static_cast<u32>(half(16)) << 16;
  });
  expect_operation<u32, u32, u32>("add.u16x2 %d, %a, %b;", [](u32 a, u32 b) {
    return ((a + b) & 0xffff) | ((a & 0xffff0000U) + (b & 0xffff0000U));
  });
  expect_operation<s32, u32, u32, s32>("dp4a.s32.u32 %d, %a, %b, %c;", [](u32 a, u32 b, s32 c) {
    s64 sum = c;
    for (int i = 0; i < 32; i += 8)
      sum += static_cast<std::int8_t>(a >> i) * static_cast<std::uint8_t>(b >> i);
    return static_cast<s32>(sum);
  });
}

TEST_CASE("ptxsim integer: carries across words") {
  const auto low = [](u64 x) { return static_cast<u32>(x); };
  const auto high = [](u64 x) { return static_cast<u32>(x >> 32); };
  (void)low, (void)high;
  const std::string split = "mov.b64 {%w1, %w2}, %a; mov.b64 {%w3, %w4}, %b;\n";
  const std::string join = "mov.b64 %d, {%w5, %w6};";
  expect_operation<u64, u64, u64>(
      split + "add.cc.u32 %w5, %w1, %w3; addc.u32 %w6, %w2, %w4;" + join,
      [](u64 a, u64 b) { return a + b; });
  expect_operation<u64, u64, u64>(
      split + "sub.cc.u32 %w5, %w1, %w3; subc.u32 %w6, %w2, %w4;" + join,
      [](u64 a, u64 b) { return a - b; });
  // The carry and the borrow out of 64 bits.
  expect_operation<u64, u64, u64>("add.cc.u64 %x1, %a, %b; addc.u64 %d, 0, 0;",
                                  [](u64 a, u64 b) { return u64{a + b < a}; });
  expect_operation<u64, u64, u64>("sub.cc.u64 %x1, %a, %b; subc.u64 %d, 0, 0;",
                                  [](u64 a, u64 b) { return a < b ? ~u64{0} : 0; });
  // The upper half of a product of 64 bits, from 32-bit parts.
  expect_operation<u64, u64, u64>(split + R"(
    mul.hi.u32 %w5, %w1, %w3;
    mad.lo.cc.u32 %w5, %w1, %w4, %w5;  madc.hi.u32 %w6, %w1, %w4, 0;
    mad.lo.cc.u32 %w5, %w2, %w3, %w5;  madc.hi.cc.u32 %w6, %w2, %w3, %w6;  addc.u32 %w7, 0, 0;
    mad.lo.cc.u32 %w6, %w2, %w4, %w6;  madc.hi.u32 %w7, %w2, %w4, %w7;
    mov.b64 %d, {%w6, %w7};)",
                                  [](u128 a, u128 b) { return static_cast<u64>(a * b >> 64); });
}

TEST_CASE("ptxsim bits: logic and shifts") {
  expect_operation<u64, u64, u64>("and.b64 %d, %a, %b;", [](u64 a, u64 b) { return a & b; });
  expect_operation<u16, u16, u16>("or.b16 %d, %a, %b;", [](u16 a, u16 b) { return a | b; });
  expect_operation<u32, u32, u32>("xor.b32 %d, %a, %b;", [](u32 a, u32 b) { return a ^ b; });
  expect_operation<u32, u32>("not.b32 %d, %a;", [](u32 a) { return ~a; });
  expect_operation<u32, u32>("cnot.b32 %d, %a;", [](u32 a) { return a == 0 ? 1 : 0; });
  for (const u32 table : {0x96U, 0xe8U, 0x1U, 0x2aU}) {
    expect_operation<u32, u32, u32, u32>(
        fmt::format("lop3.b32 %d, %a, %b, %c, {};", table), [=](u32 a, u32 b, u32 c) {
          u32 result = 0;
          for (int i = 0; i < 32; ++i) {
            const u32 row = (a >> i & 1) << 2 | (b >> i & 1) << 1 | (c >> i & 1);
            result |= (table >> row & 1) << i;
          }
          return result;
        });
  }
  expect_operation<u32, u32, u32>("shl.b32 %d, %a, %b;",
                                  [](u32 a, u32 b) { return b > 31 ? 0 : a << b; });
  expect_operation<u64, u64, u32>("shr.u64 %d, %a, %b;",
                                  [](u64 a, u32 b) { return b > 63 ? 0 : a >> b; });
  expect_operation<s64, s64, u32>("shr.s64 %d, %a, %b;",
                                  [](s64 a, u32 b) { return a >> std::min(b, 63U); });
  expect_operation<s16, s16, u32>("shr.s16 %d, %a, %b;",
                                  [](s16 a, u32 b) { return a >> std::min(b, 15U); });
  expect_operation<u32, u32, u32, u32>("shf.l.wrap.b32 %d, %a, %b, %c;", [](u64 a, u64 b, u32 c) {
    return (b << 32 | a) << (c & 31) >> 32;
  });
  expect_operation<u32, u32, u32, u32>("shf.r.clamp.b32 %d, %a, %b, %c;", [](u64 a, u64 b, u32 c) {
    return (b << 32 | a) >> std::min(c, 32U);
  });
}

TEST_CASE("ptxsim bits: counts, fields and bytes") {
  expect_operation<u32, u64>("popc.b64 %d, %a;", [](u64 a) { return std::popcount(a); });
  expect_operation<u32, u32>("clz.b32 %d, %a;", [](u32 a) { return std::countl_zero(a); });
  expect_operation<u32, u32>("brev.b32 %d, %a;", [](u32 a) {
    u32 result = 0;
    for (int i = 0; i < 32; ++i) result |= (a >> i & 1) << (31 - i);
    return result;
  });
  expect_operation<u32, u32>("bfind.u32 %d, %a;", [](u32 a) {
    return a == 0 ? ~0U : 31U - static_cast<u32>(std::countl_zero(a));
  });
  expect_operation<u32, s32>("bfind.shiftamt.s32 %d, %a;", [](s32 a) {
    const u32 x = static_cast<u32>(a < 0 ? ~a : a);
    return x == 0 ? ~0U : static_cast<u32>(std::countl_zero(x));
  });
  // As the pseudocode of the PTX manual, bit by bit.
  expect_operation<s32, s32, u32, u32>("bfe.s32 %d, %a, %b, %c;", [](s32 a, u32 b, u32 c) {
    const u32 position = b & 0xff, length = c & 0xff;
    const u32 sign_at = std::min(position + length - 1, 31U);
    const u32 sign = length == 0 ? 0 : static_cast<u32>(a) >> sign_at & 1;
    u32 d = 0;
    for (u32 i = 0; i <= 31; ++i)
      d |= (i < length && position + i <= 31 ? static_cast<u32>(a) >> (position + i) & 1 : sign)
           << i;
    return static_cast<s32>(d);
  });
  expect_operation<u64, u64, u32, u32>("bfe.u64 %d, %a, %b, %c;", [](u64 a, u32 b, u32 c) {
    const u32 position = b & 0xff, length = c & 0xff;
    u64 d = 0;
    for (u32 i = 0; i < length && position + i <= 63; ++i) d |= (a >> (position + i) & 1) << i;
    return d;
  });
  expect_operation<u32, u32, u32, u32>("bfi.b32 %d, %a, %b, %c, 7;", [](u32 a, u32 b, u32 c) {
    for (u32 i = 0; i < 7 && (c & 0xff) + i <= 31; ++i) {
      const u32 at = (c & 0xff) + i;
      b = (b & ~(1U << at)) | (a >> i & 1) << at;
    }
    return b;
  });
  expect_operation<u32, u32, u32, u32>("prmt.b32 %d, %a, %b, %c;", [](u64 a, u64 b, u32 c) {
    const u64 pair = b << 32 | a;
    u32 d = 0;
    for (u32 i = 0; i < 4; ++i) {
      const u32 nibble = c >> (4 * i) & 15;
      u32 byte = static_cast<u32>(pair >> (8 * (nibble & 7))) & 255;
      if ((nibble & 8) != 0) byte = (byte & 128) != 0 ? 255 : 0;
      d |= byte << (8 * i);
    }
    return d;
  });
  expect_operation<u32, u32, u32>("prmt.b32.f4e %d, %a, %b, 1;",
                                  [](u32 a, u32 b) { return a >> 8 | b << 24; });
  expect_operation<u32, u32, u32>("prmt.b32.rc16 %d, %a, %b, 1;", [](u32 a, u32 b) {
    (void)b;
    return (a >> 16) * 0x10001U;
  });
}

TEST_CASE("ptxsim bits: predicates, selections, vectors") {
  expect_operation<u32, s32, s32>(
      "setp.lt.s32 p|q, %a, %b; selp.u32 %w1, 1, 0, p; selp.u32 %w2, 2, 0, q; or.b32 %d, %w1, %w2;",
      [](s32 a, s32 b) { return a < b ? 1 : 2; });
  expect_operation<u32, u32, u32>(
      "setp.eq.u32 p, %a, 0; setp.hi.and.u32 q, %a, %b, !p; selp.b32 %d, %a, %b, q;",
      [](u32 a, u32 b) { return a > b && a != 0 ? a : b; });
  expect_operation<u32, u64, u64>(
      "setp.ge.s64 p, %a, %b; not.pred q, p; and.pred p, p, q; @!p mov.b32 %d, 5; @p mov.b32 %d, "
      "6;",
      [](u64, u64) { return 5; });
  expect_operation<u32, s16, s16>("set.le.u32.s16 %d, %a, %b;",
                                  [](s16 a, s16 b) { return a <= b ? ~0U : 0; });
  expect_operation<u32, u32, u32, s32>("slct.b32.s32 %d, %a, %b, %c;",
                                       [](u32 a, u32 b, s32 c) { return c >= 0 ? a : b; });
  expect_operation<u64, u32, u16, u16>("mov.b32 %w1, {%b, %c}; mov.b64 %d, {%w1, %a};",
                                       [](u64 a, u64 b, u64 c) { return a << 32 | c << 16 | b; });
  expect_operation<u32, u64>("mov.b64 {%h1, _, _, %h2}, %a; mov.b32 %d, {%h2, %h1};", [](u64 a) {
    return static_cast<u32>(a >> 48) | static_cast<u32>(a) << 16;
  });
}
