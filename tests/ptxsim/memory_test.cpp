// Loads, stores, atomics and asynchronous copies: what they do, in every space and width; and some
// planted bugs as PTX, so that the checkers are tested without NVRTC too.

#include "ptxsim/one_instruction.h"

using namespace cermet::ptxsim;
using namespace cermet::ptxsim::test;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

namespace {

// A kernel of (in, out) for one block; %i is the thread, %in and %out its 4-byte places.
std::string text_of(const std::string& body) {
  return fmt::format(R"(.version 8.6
.target sm_90
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out)
{{
.reg .pred p, q; .reg .b16 %h<9>; .reg .b32 %i, %r<20>; .reg .b64 %in, %out, %x<9>; .reg .f32 %f<9>;
.shared .align 16 .b8 s[1024];
.shared .align 8 .b8 b[8];
mov.u32 %i, %tid.x;
ld.param.u64 %in, [in]; ld.param.u64 %out, [out];
mul.wide.u32 %x1, %i, 4; add.u64 %in, %in, %x1; add.u64 %out, %out, %x1;
{}
ret;
}})",
                     body);
}

struct Run {
  Report report;
  std::vector<u32> out;
};
Run run(const std::string& body, const std::vector<u32>& in, u32 threads = 32) {
  const auto module = Module::parse(text_of(body));
  Device device;
  device.options.instruction_budget = 1'000'000;
  u32* const out = device.array(std::vector<u32>(256), "out");
  Report report =
      device.run(*module, "k", {{1, 1, 1}, {threads, 1, 1}, 0}, device.array(in, "in"), out);
  return {std::move(report), device.read(out, 256)};
}

std::vector<u32> numbers() {
  std::vector<u32> result(256);
  for (u32 i = 0; i < 256; ++i) result[i] = i * 0x9e3779b9U;
  return result;
}

// The name of the fault that is reported first.
std::string reported(const std::string& body, u32 threads = 64) {
  const Report report = run(body, numbers(), threads).report;
  return report.clean() ? "nothing" : fault_name(report.violations[0].fault);
}

}  // namespace

TEST_CASE("ptxsim memory: widths, signs and vectors") {
  const auto in = numbers();
  const auto bytes = reinterpret_cast<const u8*>(in.data());
  const Run narrow = run(R"(
    ld.global.u8 %r1, [%in+1]; ld.global.s8 %r2, [%in+2]; ld.global.nc.u16 %h1, [%in+2]; ld.volatile.global.s16 %r3, [%in];
    cvt.u32.u16 %r4, %h1; add.u32 %r1, %r1, %r2; add.u32 %r3, %r3, %r4; xor.b32 %r1, %r1, %r3;
    st.global.cs.b32 [%out], %r1;)",
                         in);
  CHECK(narrow.report.text() == "");
  for (u32 i = 0; i < 32; ++i) {
    const u32 first =
        bytes[4 * i + 1] + static_cast<u32>(static_cast<std::int8_t>(bytes[4 * i + 2]));
    const u32 second = static_cast<u32>(static_cast<std::int16_t>(in[i])) + (in[i] >> 16);
    CHECK(narrow.out[i] == (first ^ second));
  }
  // A reversal of eight words, through vectors of eight and two in all spaces.
  const Run vectors = run(R"(
    setp.ne.u32 p, %i, 0;
    @p bra END;
    ld.global.nc.L1::no_allocate.L2::128B.v8.b32 {%r1,%r2,%r3,%r4,%r5,%r6,%r7,%r8}, [%in];
    .local .align 16 .b8 l[32];
    st.local.v4.b32 [l], {%r8,%r7,%r6,%r5};
    mov.u64 %x2, l; cvta.local.u64 %x2, %x2;
    st.v2.b32 [%x2+16], {%r4,%r3};
    st.local.b32 [l+24], %r2; st.b8 [%x2+28], %r1; shr.u32 %r1, %r1, 8; st.b8 [%x2+29], %r1;
    shr.u32 %r1, %r1, 8; st.b16 [%x2+30], %r1;
    ld.v4.b32 {%r9,%r10,%r11,%r12}, [%x2];
    mov.u32 %r13, s; st.shared.v4.b32 [%r13+16], {%r9,%r10,%r11,%r12};
    mov.u64 %x3, s; cvta.shared.u64 %x3, %x3;
    ld.b64 %x4, [%x3+16]; ld.shared.v2.b32 {%r1, _}, [s+24];
    mov.b64 {%r2, %r3}, %x4;
    st.global.v2.b32 [%out], {%r2, %r3}; st.global.b32 [%out+8], %r1; st.global.b32 [%out+12], %r12;
    ld.local.v4.b32 {%r1,%r2,%r3,%r4}, [l+16];
    st.global.v4.b32 [%out+16], {%r1,%r2,%r3,%r4};
    END:)",
                          in);
  CHECK(vectors.report.text() == "");
  for (u32 i = 0; i < 8; ++i) CHECK(vectors.out[i] == in[7 - i]);
}

TEST_CASE("ptxsim memory: every atomic operation") {
  struct Case {
    const char* text;
    u32 start;
    u32 (*fold)(u32, u32);
  };
  const Case cases[] = {
      {"atom.global.add.u32 %r2, [%x2], %r1;", 5, [](u32 a, u32 b) { return a + b; }},
      {"red.relaxed.gpu.global.add.s32 [%x2], %r1;", 5, [](u32 a, u32 b) { return a + b; }},
      {"atom.min.u32 %r2, [%x2], %r1;", ~0U, [](u32 a, u32 b) { return std::min(a, b); }},
      {"atom.global.max.s32 %r2, [%x2], %r1;", 0,
       [](u32 a, u32 b) { return static_cast<s32>(a) > static_cast<s32>(b) ? a : b; }},
      {"atom.acq_rel.sys.global.and.b32 %r2, [%x2], %r1;", ~0U, [](u32 a, u32 b) { return a & b; }},
      {"red.global.or.b32 [%x2], %r1;", 0, [](u32 a, u32 b) { return a | b; }},
      {"atom.global.xor.b32 %r2, [%x2], %r1;", 0, [](u32 a, u32 b) { return a ^ b; }},
      {"atom.global.inc.u32 %r2, [%x2], 6;", 0, [](u32 a, u32) { return a >= 6 ? 0 : a + 1; }},
      {"atom.global.dec.u32 %r2, [%x2], 6;", 3,
       [](u32 a, u32) { return a == 0 || a > 6 ? 6 : a - 1; }},
      {"atom.global.exch.b32 %r2, [%x2], %r1;", 1, [](u32, u32 b) { return b; }},
      {"atom.global.cas.b32 %r2, [%x2], 1, %r1;", 1, [](u32 a, u32 b) { return a == 1 ? b : a; }},
  };
  const auto in = numbers();
  for (const Case& c : cases) {
    INFO(c.text);
    // The place is out[63], set by the last thread's barrier.
    const Run got = run(fmt::format(R"(
      ld.param.u64 %x2, [out]; add.u64 %x2, %x2, 252;
      setp.eq.u32 p, %i, 0; @p st.global.b32 [%x2], {};
      bar.sync 0;
      ld.global.b32 %r1, [%in];
      {})",
                                    c.start, c.text),
                        in);
    CHECK(got.report.text() == "");
    u32 expected = c.start;
    for (u32 i = 0; i < 32; ++i) expected = c.fold(expected, in[i]);
    CHECK(got.out[63] == expected);
  }
  const Run floats = run(R"(
    setp.eq.u32 p, %i, 0; @p st.shared.v4.b32 [s], {0, 0, 0, 0};
    bar.sync 0;
    cvt.rn.f32.u32 %f1, %i; red.shared.add.f32 [s], %f1;
    mov.b32 %r1, 0x3c004000; atom.shared.add.noftz.f16x2 %r2, [s+8], %r1;
    bar.sync 0;
    ld.shared.b32 %r3, [s]; st.global.b32 [%out], %r3; ld.shared.b32 %r3, [s+8]; st.global.b32 [%out+128], %r3;)",
                         in);
  CHECK(floats.report.text() == "");
  CHECK(std::bit_cast<float>(floats.out[0]) == 496.0F);
  CHECK(floats.out[32] == 0x50005400);  // 32 and 64
}

TEST_CASE("ptxsim memory: asynchronous copies fill with zeros and arrive when waited for") {
  const auto in = numbers();
  const Run got = run(R"(
    mov.u32 %r1, s; mul.lo.u32 %r2, %i, 16; add.u32 %r1, %r1, %r2;
    mul.wide.u32 %x2, %i, 12; add.u64 %x2, %x2, %in;
    and.b32 %r3, %i, 3; shl.b32 %r3, %r3, 2;
    cp.async.cg.shared.global.L2::128B [%r1], [%x2], 16, %r3;
    cp.async.commit_group;
    cp.async.wait_group 0;
    ld.shared.v4.b32 {%r4,%r5,%r6,%r7}, [%r1];
    add.u32 %r4, %r4, %r5; add.u32 %r6, %r6, %r7; add.u32 %r4, %r4, %r6;
    st.global.b32 [%out], %r4;)",
                      in);
  // A copy of 16 bytes needs an aligned source: thread i reads from word 4 i on.
  CHECK(got.report.text() == "");
  for (u32 i = 0; i < 32; ++i) {
    u32 expected = 0;
    for (u32 word = 0; word < i % 4; ++word) expected += in[4 * i + word];
    CHECK(got.out[i] == expected);
  }
}

// PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier": a phase completes
// when nothing is pending, neither arrivals nor bytes; the next one then expects as many arrivals.
TEST_CASE("ptxsim memory: the phases of an mbarrier") {
  // Thread 0 alone; bit k of its result is what the kth test said.
  int tests = 0;
  const auto test = [&](const std::string& modifiers, const std::string& operand) {
    const char* name = tests % 2 == 0 ? "test_wait" : "try_wait";
    const int bit = 1 << tests++;
    return fmt::format(
        "mbarrier.{}{}.shared.b64 p, [b], {}; selp.b32 %r2, {}, 0, p; or.b32 %r1, %r1, %r2;\n",
        name, modifiers, operand, bit);
  };
  const auto by_state = [&] { return test("", "%x2"); };
  const auto even = [&] { return test(".parity", "0"); };
  const auto odd = [&] { return test(".parity", "1"); };
  std::string body = "mov.b32 %r1, 0; setp.ne.u32 q, %i, 0; @q ret;\n";
  body += "mbarrier.init.shared.b64 [b], 2;\n";
  body += "mbarrier.arrive.shared.b64 %x2, [b];\n" + by_state();  // 0: no
  body += "mbarrier.arrive.shared.b64 %x3, [b];\n" + by_state();  // 1: yes
  body += even();
  body += odd();                                                                   // 2: yes, 3: no
  body += "mbarrier.arrive_drop.shared.b64 %x2, [b];\n" + odd();                   // 4: no
  body += "mbarrier.arrive.shared.b64 %x2, [b];\n" + odd();                        // 5: yes
  body += "mbarrier.arrive.expect_tx.shared.b64 _, [b], 16;\n" + even();           // 6: no
  body += "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [b], 12;\n" + even();  // 7: no
  body += "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [b], 4;\n" + even();   // 8: yes
  body += "mbarrier.inval.shared.b64 [b];\nst.global.b32 [%out], %r1;";
  const Run got = run(body, numbers());
  CHECK(got.report.text() == "");
  CHECK(got.out[0] == 0b1'0010'0110);

  const std::string one = "setp.ne.u32 q, %i, 0; @q ret; mbarrier.init.shared.b64 [b], 1;\n";
  CHECK(reported(one + "mbarrier.inval.shared.b64 [b]; mbarrier.arrive.shared.b64 _, [b];") ==
        fault_name(Fault::IllegalInstruction));
  CHECK(reported(one + "mbarrier.arrive.shared.b64 _, [b], 2;") == fault_name(Fault::Barrier));
  CHECK(reported(one + "mbarrier.arrive.shared.b64 _, [b+4];") == fault_name(Fault::Misaligned));
  CHECK(reported(one + "X: mbarrier.try_wait.parity.shared.b64 p, [b], 0; @!p bra X;") ==
        fault_name(Fault::Deadlock));
}

TEST_CASE("ptxsim memory: copies that an mbarrier counts are there when its phase completes") {
  const std::string copy = R"(
    shl.b32 %r2, %i, 2; mov.u32 %r1, s; add.u32 %r1, %r1, %r2;
    setp.eq.u32 p, %i, 0; @p mbarrier.init.shared.b64 [b], 64;
    bar.sync 0;
    cp.async.ca.shared.global [%r1], [%in], 4;
    cp.async.mbarrier.arrive.noinc.shared.b64 [b];
)";
  const std::string wait = "X: mbarrier.try_wait.parity.shared.b64 p, [b], 0; @!p bra X;\n";
  const std::string read =
      "xor.b32 %r3, %r2, 128; mov.u32 %r4, s; add.u32 %r3, %r3, %r4; ld.shared.b32 %r5, [%r3]; "
      "st.global.b32 [%out], %r5;";
  const auto in = numbers();
  const Run got = run(copy + wait + read, in, 64);
  CHECK(got.report.text() == "");
  for (u32 i = 0; i < 64; ++i) CHECK(got.out[i] == in[i ^ 32]);
  CHECK(reported(copy + read) != "nothing");
}

TEST_CASE("ptxsim memory: allocations, their states and their neighbours") {
  Memory memory;
  std::vector<std::byte> bytes(4096);
  const std::uint64_t base = 0x10000;
  memory.add(base, 100, bytes.data(), "a");
  memory.add(base + 256, 100, bytes.data() + 256, "b");
  CHECK_THROWS_AS(memory.add(base + 50, 300, bytes.data(), "c"), Error);
  CHECK_THROWS_AS(memory.add(base, 1, bytes.data(), "c"), Error);
  CHECK(memory.host(base + 10, 90) == bytes.data() + 10);
  CHECK(memory.host(base + 10, 91) == nullptr);
  CHECK_FALSE(memory.initialised(base, 1));
  memory.mark_initialised(base + 3, 90);
  CHECK(memory.initialised(base + 3, 90));
  CHECK_FALSE(memory.initialised(base + 2, 2));
  memory.copy_initialised(base + 256, base, 8);
  CHECK_FALSE(memory.initialised(base + 258, 1));
  CHECK(memory.initialised(base + 259, 5));
  CHECK_THROWS_AS(memory.mark_initialised(base + 90, 20), Error);
  CHECK_THROWS_AS(memory.copy_initialised(base, base + 350, 20), Error);
  memory.release(base);
  CHECK_THROWS_AS(memory.release(base), Error);
  CHECK_THROWS_AS(memory.release(base + 300), Error);
  CHECK(memory.host(base, 4) == nullptr);
  CHECK(memory.describe(base + 4) == "byte 4 of the freed 'a' (100 bytes at 0x10000)");
  CHECK(memory.describe(base + 360) == "4 bytes past the end of 'b' (100 bytes at 0x10100)");
  CHECK(memory.describe(base + 250) == "6 bytes before 'b' (100 bytes at 0x10100)");
  memory.add(base + 50, 20, bytes.data(), "d");  // a dead one may be in the way
  CHECK(memory.host(base + 50, 20) == bytes.data());
  memory.clear();
  CHECK(memory.describe(base) == "there are no allocations");
}

TEST_CASE("ptxsim memory: planted bugs in PTX are reported") {
  const std::string place = "shl.b32 %r2, %i, 2; mov.u32 %r1, s; add.u32 %r1, %r1, %r2;\n";
  const std::string load = "ld.global.b32 %r3, [%in];\n";
  const std::string other =
      "xor.b32 %r4, %r2, 128; mov.u32 %r5, s; add.u32 %r4, %r4, %r5; ld.shared.b32 %r6, [%r4]; "
      "st.global.b32 [%out], %r6;\n";
  const std::string wait = "bar.sync 0;\n";
  CHECK(run(place + load + "st.shared.b32 [%r1], %r3;\n" + wait + other, numbers(), 64)
            .report.clean());
  CHECK(reported(place + load + "st.shared.b32 [%r1], %r3;\n" + other) ==
        fault_name(Fault::Uninitialised));
  CHECK(reported(place + load + "st.shared.b32 [%r1+900], %r3;\n") ==
        fault_name(Fault::OutOfBounds));
  CHECK(reported("ld.global.b32 %r3, [%in+1024];") == fault_name(Fault::OutOfBounds));
  CHECK(reported("ld.global.b64 %x2, [%in];") == fault_name(Fault::Misaligned));
  CHECK(reported(place + "cp.async.ca.shared.global [%r1], [%in], 4; cp.async.commit_group; "
                         "ld.shared.b32 %r3, [%r1];") == fault_name(Fault::AsyncWait));
  CHECK(reported(place + "cp.async.ca.shared.global [%r1], [%in], 4; cp.async.commit_group; "
                         "cp.async.wait_group 1; ld.shared.b32 %r3, [%r1];") ==
        fault_name(Fault::AsyncWait));
  CHECK(reported("and.b32 %r1, %i, 1; setp.eq.u32 p, %r1, 0; @p bar.sync 0;") ==
        fault_name(Fault::Barrier));
  CHECK(reported("setp.lt.u32 p, %i, 7; @p shfl.sync.bfly.b32 %r1, %i, 1, 31, -1;") ==
        fault_name(Fault::WarpMask));
  CHECK(reported("setp.lt.u32 p, %i, 32; @p bra X; bar.sync 1, 64; X: ret;") ==
        fault_name(Fault::Barrier));
  CHECK(reported("st.shared.b32 [s], %i;") == fault_name(Fault::SharedRace));
  CHECK(reported("X: bra X;") == fault_name(Fault::Budget));
  CHECK(reported("trap;") == fault_name(Fault::Trap));
}
