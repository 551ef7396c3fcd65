// What the parser accepts and refuses. These texts are PTX as NVRTC writes it, shortened; they run
// without NVRTC.

#include <fmt/format.h>

#include "ptxsim/device.h"
#include "support/catch.h"

using namespace cermet::ptxsim;
using cermet::ptxsim::test::Device;

namespace {

const char* const kHead = ".version 8.0\n.target sm_80\n.address_size 64\n";

// A kernel of one pointer with a body.
std::string kernel_text(const std::string& body) {
  return fmt::format(R"({}
.visible .entry k(.param .u64 p)
{{
.reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>;
.reg .f32 %f<9>; .reg .f64 %fd<9>;
ld.param.u64 %rd1, [p];
{}
ret;
}})",
                     kHead, body);
}

std::string refusal(const std::string& text) {
  try {
    Module::parse(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("ptxsim: what is not known is refused, with its line and text") {
  struct Case {
    const char* body;
    const char* what;
  };
  const Case cases[] = {
      {"frobnicate.b32 %r1, %r2;",
       "ptx line 10: unknown instruction 'frobnicate': `frobnicate.b32 %r1, %r2`"},
      {"add.s32.wobble %r1, %r2, %r3;", "unknown modifier '.wobble'"},
      {"add.q17 %r1, %r2, %r3;", "no known type"},
      {"add.s32 %r1, %r2;", "2 operands, expected 3"},
      {"add.s32 %r1, %r2, %r99;", "unknown name '%r99'"},
      {"add.s32 %rd1, %r2, %r3;", "register '%rd1' has not 32 bits"},
      {"add.s32 %r1, %r2, %p1;", "register '%p1' has not 32 bits"},
      {"bra NOWHERE;", "unknown label 'NOWHERE'"},
      {"mov.u32 %r1, %nonsense;", "unknown name '%nonsense'"},
      {"fma.f32 %f1, %f2, %f3, %f4;", "fma needs a rounding mode"},
      {"cvt.s32.f32 %r1, %f1;", "a float becomes an integer by"},
      {"ld.global.v3.f32 {%f1, %f2, %f3}, [%rd1];", "the vector has another size"},
      {"wgmma.fence.sync.aligned;", "unknown instruction 'wgmma'"},
      {"cp.async.bulk.commit_group;", "unknown modifier '.bulk'"},
      {"tex.1d.v4.f32.s32 {%f1,%f2,%f3,%f4}, [%rd1, {%r1}];", "ptx line 10"},
      {"call.uni (%r1), vprintf, (%r2, %r3);", "a call of 'vprintf', which has no body here"},
      {"mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%f1}, {%r1}, {%r2}, {%f1};",
       "not supported"},
      {"elect.sync %r1|%p1, -1;", "this needs sm_90, the target is sm_80"},
      {".sreg .b32 x;", "unknown directive '.sreg'"},
      {"add.s32 %r1, %r2, `;", "unexpected character '`'"},
  };
  for (const Case& c : cases) {
    INFO(c.body);
    CHECK_THAT(refusal(kernel_text(c.body)), Catch::Matchers::ContainsSubstring(c.what));
  }
  CHECK_THAT(refusal(".version 8.0\n.target sm_80\n.wobble 3\n"),
             Catch::Matchers::ContainsSubstring("ptx line 3: unknown directive '.wobble'"));
  CHECK_THAT(refusal(""), Catch::Matchers::ContainsSubstring("no .version"));
}

TEST_CASE("ptxsim: a module tells its kernels, their parameters and its variables") {
  const auto module = Module::parse(R"(
.version 9.0
.target sm_90a
.address_size 64
.global .align 8 .b8 table[16] = {1, 2, 255};
.const .align 4 .f32 half = 0f3F000000;
.extern .shared .align 16 .b8 dynamic[];
.visible .entry k(
  .param .u32 a, .param .u64 .ptr .global .align 4 b, .param .align 4 .b8 c[12]
)
.maxntid 128, 1, 1
.minnctapersm 2
{
  .shared .align 4 .b8 fixed[100];
  .reg .b32 %r<3>;
  mov.u32 %r1, fixed;
  mov.u32 %r2, dynamic;
  ret;
}
)");
  CHECK(module->target_sm() == 90);
  CHECK(module->target() == "sm_90a");
  CHECK(module->ptx_version() == 90);
  const Kernel* const k = module->kernel("k");
  REQUIRE(k != nullptr);
  REQUIRE(k->parameters.size() == 3);
  CHECK(k->parameters[0].offset == 0);
  CHECK(k->parameters[1].offset == 8);
  CHECK(k->parameters[2].offset == 16);
  CHECK(k->parameters[2].size == 12);
  CHECK(k->parameter_bytes == 28);
  CHECK(k->static_shared_bytes == 112);  // dynamic shared memory begins at a multiple of 16
  CHECK(k->max_threads.x == 128);
  CHECK(k->min_blocks == 2);
  REQUIRE(module->variable("table") != nullptr);
  CHECK(module->variable("table")->initial[2] == std::byte{255});
  CHECK(module->variable("half")->constant);
  CHECK(module->kernel("other") == nullptr);
}

TEST_CASE("ptxsim: a variable without an address stops a launch") {
  const auto module = Module::parse(kHead + std::string(R"(
.global .align 4 .b32 x = 7;
.visible .entry k(.param .u64 p) {
  .reg .b32 %r<2>; .reg .b64 %rd<3>;
  ld.param.u64 %rd1, [p];
  ld.global.u32 %r1, [x];
  st.global.u32 [%rd1], %r1;
  ret;
})"));
  Memory memory;
  std::uint64_t pointer = 0;
  CHECK_THROWS_AS(launch(*module, *module->kernel("k"), {{}, {}, 0},
                         std::as_bytes(std::span(&pointer, 1)), memory),
                  Error);
  Device device;
  int* const out = device.raw<int>(1);
  CHECK(device.run(*module, "k", {}, out).text() == "");
  CHECK(*out == 7);
  CHECK_THROWS_AS(device.run(*module, "k", {}, 5), Error);
}

TEST_CASE("ptxsim: scopes, labels in them, branch tables and calls") {
  const auto module = Module::parse(kHead + std::string(R"(
.func (.param .b32 result) twice(.param .b32 x)
{
  .reg .b32 %r<3>;
  ld.param.b32 %r1, [x];
  add.s32 %r2, %r1, %r1;
  st.param.b32 [result], %r2;
  ret;
}
.visible .entry k(.param .u64 p)
{
  .reg .b32 %r<9>; .reg .b64 %rd<4>; .reg .pred %p<3>;
  ld.param.u64 %rd1, [p];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.s64 %rd3, %rd1, %rd2;
  and.b32 %r2, %r1, 3;
  mov.u32 %r3, 0;
table: .branchtargets L0, L1, L2, L3;
  brx.idx %r2, table;
L0: add.s32 %r3, %r3, 100;
L1: add.s32 %r3, %r3, 10;
L2: { .reg .pred %p<2>; .reg .b32 i;
  mov.b32 i, 0;
  AGAIN: add.s32 i, i, 1;
  setp.lt.s32 %p1, i, 3;
  @%p1 bra AGAIN;
  add.s32 %r3, %r3, i;
  }
L3: { .reg .pred q; .reg .b32 i;
  mov.b32 i, %r1;
  AGAIN: sub.s32 i, i, 1;
  add.s32 %r3, %r3, 1000;
  setp.gt.s32 q, i, 0;
  @q bra AGAIN;
  }
  {
  .param .b32 param0; .param .b32 retval0;
  st.param.b32 [param0], %r3;
  call.uni (retval0), twice, (param0);
  ld.param.b32 %r3, [retval0];
  }
  st.global.u32 [%rd3], %r3;
  ret;
})"));
  Device device;
  int* const out = device.raw<int>(64);
  const Report report = device.run(*module, "k", {{}, {64, 1, 1}, 0}, out);
  CHECK(report.text() == "");
  for (int i = 0; i < 64; ++i) {
    const int parts[] = {113, 13, 3, 0};
    CHECK(out[i] == 2 * (parts[i % 4] + 1000 * std::max(i, 1)));
  }
  CHECK(report.counters.count("call.uni") == 2);
}
