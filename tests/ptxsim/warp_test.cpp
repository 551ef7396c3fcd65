// Instructions in which lanes meet, against loops over the lanes on the host.

#include <algorithm>
#include <array>
#include <bit>

#include "ptxsim/one_instruction.h"

using namespace cermet::ptxsim;
using namespace cermet::ptxsim::test;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

namespace {

using Lanes = std::array<u32, 32>;

// What the lines give in each lane of one warp, whose lane i has values[i] in %a.
Lanes run_warp(const std::string& lines, const Lanes& values) {
  const auto module = Module::parse(operation_kernel(lines, 4, {4}));
  Device device;
  u32* const out = device.raw<u32>(32);
  const Report report = device.run(*module, "k", {{1, 1, 1}, {32, 1, 1}, 0}, out,
                                   device.array(std::vector<u32>(values.begin(), values.end())));
  INFO(lines);
  REQUIRE(report.text() == "");
  Lanes result;
  std::copy(out, out + 32, result.begin());
  return result;
}

Lanes some_values() {
  Lanes result;
  for (u32 i = 0; i < 32; ++i) result[i] = i * 2654435761U >> 7;
  return result;
}

}  // namespace

TEST_CASE("ptxsim warp: shuffles, as __shfl_sync and its like describe them") {
  const Lanes a = some_values();
  for (const int width : {32, 16, 8, 2}) {
    const u32 segment = static_cast<u32>(32 - width) << 8;
    for (const int by : {0, 1, 3, 7, 15}) {
      const Lanes up =
          run_warp(fmt::format("shfl.sync.up.b32 %d, %a, {}, {}, -1;", by, segment), a);
      const Lanes down =
          run_warp(fmt::format("shfl.sync.down.b32 %d, %a, {}, {}, -1;", by, segment | 31), a);
      const Lanes butterfly =
          run_warp(fmt::format("shfl.sync.bfly.b32 %d|p, %a, {}, {}, -1; @!p mov.b32 %d, 7;", by,
                               segment | 31),
                   a);
      const Lanes index =
          run_warp(fmt::format("shfl.sync.idx.b32 %d, %a, {}, {}, -1;", by, segment | 31), a);
      for (int lane = 0; lane < 32; ++lane) {
        INFO("width " << width << " by " << by << " lane " << lane);
        const auto at = [&](int i) { return a[static_cast<std::size_t>(i)]; };
        const int first = lane / width * width, last = first + width - 1;
        const auto i = static_cast<std::size_t>(lane);
        CHECK(up[i] == at(lane - by >= first ? lane - by : lane));
        CHECK(down[i] == at(lane + by <= last ? lane + by : lane));
        // Reading into an earlier segment is allowed, into a later one not.
        CHECK(butterfly[i] == ((lane ^ by) <= last ? at(lane ^ by) : 7));
        CHECK(index[i] == at(first + by % width));
      }
    }
  }
}

TEST_CASE("ptxsim warp: votes, matches and reductions") {
  Lanes a = some_values();
  for (u32& x : a) x %= 5;
  u32 ballot = 0;
  for (u32 i = 0; i < 32; ++i) ballot |= u32{a[i] == 2} << i;
  const std::string test = "setp.eq.u32 p, %a, 2; ";
  const auto all_are = [](const Lanes& lanes, u32 value) {
    return std::all_of(lanes.begin(), lanes.end(), [=](u32 x) { return x == value; });
  };
  CHECK(all_are(run_warp(test + "vote.sync.ballot.b32 %d, p, -1;", a), ballot));
  CHECK(all_are(run_warp(test + "vote.sync.any.pred q, p, -1; selp.b32 %d, 1, 0, q;", a), 1));
  CHECK(all_are(run_warp(test + "vote.sync.all.pred q, p, -1; selp.b32 %d, 1, 0, q;", a), 0));
  CHECK(all_are(
      run_warp("setp.lt.u32 p, %a, 9; vote.sync.uni.pred q, !p, -1; selp.b32 %d, 1, 0, q;", a), 1));
  CHECK(all_are(run_warp("activemask.b32 %d;", a), ~0U));
  CHECK(all_are(run_warp("elect.sync %d|p, -1; selp.b32 %w1, 1, 0, p; add.u32 %d, %d, %w1;", a),
                0) == false);
  CHECK(run_warp("elect.sync %d|p, -1; selp.b32 %d, 1, 0, p;", a)[0] == 1);

  const Lanes any = run_warp("match.any.sync.b32 %d, %a, -1;", a);
  for (std::size_t i = 0; i < 32; ++i) {
    u32 expected = 0;
    for (u32 j = 0; j < 32; ++j) expected |= u32{a[j] == a[i]} << j;
    CHECK(any[i] == expected);
  }
  CHECK(all_are(run_warp("match.all.sync.b32 %d|p, %a, -1; selp.b32 %d, 1, 0, p;", a), 0));
  Lanes same;
  same.fill(17);
  CHECK(all_are(run_warp("match.all.sync.b32 %d|p, %a, -1;", same), ~0U));

  u32 sum = 0, all_bits = ~0U, any_bits = 0, odd = 0, high = 0;
  std::int32_t low = INT32_MAX;
  const Lanes b = some_values();
  for (const u32 x : b) {
    sum += x, all_bits &= x, any_bits |= x, odd ^= x, high = std::max(high, x);
    low = std::min(low, static_cast<std::int32_t>(x << 7));
  }
  CHECK(all_are(run_warp("redux.sync.add.u32 %d, %a, -1;", b), sum));
  CHECK(all_are(run_warp("redux.sync.and.b32 %d, %a, -1;", b), all_bits));
  CHECK(all_are(run_warp("redux.sync.or.b32 %d, %a, -1;", b), any_bits));
  CHECK(all_are(run_warp("redux.sync.xor.b32 %d, %a, -1;", b), odd));
  CHECK(all_are(run_warp("redux.sync.max.u32 %d, %a, -1;", b), high));
  CHECK(all_are(run_warp("shl.b32 %w1, %a, 7; redux.sync.min.s32 %d, %w1, -1;", b),
                static_cast<u32>(low)));
}

TEST_CASE("ptxsim warp: lanes wait for each other at what needs them all") {
  // The two sides lie apart, and the one that meets first lies first; half of the lanes come back.
  const std::string lines = R"(
    and.b32 %w1, %t, 1;
    setp.eq.u32 p, %w1, 0;
    mov.b32 %w2, 1;
    @p bra FAR;
  MEET:
    shfl.sync.bfly.b32 %d, %w2, 1, 31, -1;
    bra DONE;
  FAR:
    mov.b32 %w2, 100;
    bra MEET;
  DONE:)";
  const Lanes got = run_warp(lines, {});
  for (std::size_t i = 0; i < 32; ++i) CHECK(got[i] == (i % 2 == 0 ? 1 : 100));
  // Different instructions for different halves, each with its own members.
  const Lanes halves = run_warp(R"(
    setp.lt.u32 p, %t, 16;
    @p bra LOW;
    shfl.sync.idx.b32 %d, %t, 20, 31, 0xffff0000;
    bra DONE;
  LOW:
    shfl.sync.idx.b32 %d, %t, 3, 31, 0x0000ffff;
  DONE:)",
                                {});
  for (std::size_t i = 0; i < 32; ++i) CHECK(halves[i] == (i < 16 ? 3 : 20));
}

TEST_CASE("ptxsim warp: diverging lanes meet again at the earliest place") {
  // Each lane loops another number of times; what follows runs once, for all lanes together.
  const std::string lines = R"(
    mov.b32 %w1, 0;
    setp.ge.u32 p, %w1, %t;
    @p bra AFTER;
  LOOP:
    add.u32 %w1, %w1, 1;
    setp.lt.u32 p, %w1, %t;
    @p bra LOOP;
  AFTER:
    activemask.b32 %d;)";
  const Lanes masks = run_warp(lines, {});
  CHECK(std::all_of(masks.begin(), masks.end(), [](u32 x) { return x == ~0U; }));
  // The same with the loop laid out after the end.
  const Lanes moved = run_warp(R"(
    mov.b32 %w1, 0;
    setp.lt.u32 p, %w1, %t;
    @p bra LOOP;
  AFTER:
    activemask.b32 %d;
    bra DONE;
  LOOP:
    add.u32 %w1, %w1, 1;
    setp.lt.u32 p, %w1, %t;
    @p bra LOOP;
    bra AFTER;
  DONE:)",
                               {});
  CHECK(std::all_of(moved.begin(), moved.end(), [](u32 x) { return x == ~0U; }));
}
