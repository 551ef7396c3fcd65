#include "compiler/loops_text.h"

#include <algorithm>
#include <random>

#include "cermet/error.h"
#include "compiler/loops_builder.h"
#include "compiler/loops_key.h"
#include "compiler/loops_verify.h"
#include "support/catch.h"
#include "support/message.h"

using Catch::Matchers::ContainsSubstring;
using cermet::DType;
using cermet::compiler::Target;
using cermet::compiler::loops::Builder;
using cermet::compiler::loops::Function;
using cermet::compiler::loops::Opcode;
using cermet::compiler::loops::parse;
using cermet::compiler::loops::print;
using cermet::compiler::loops::Ref;
using cermet::compiler::loops::verify_loops;

namespace {

// Has every form that a statement can take.
constexpr const char* everything = R"(loops 1
kernel arguments=2 {
  buffer f32 argument 0
  buffer f16 argument 1 written shared streamed
  buffer f32 scratch %1 written
  buffer i64 local 16 written
  %0 = const i64 0
  %1 = arg i64 1
  %2 = begin i64
  %3 = end i64
  %4 = const f32x8 -0.1
  %5 = const f32 0x7fc00001
  %6 = const boolx8 true
  %7 = splat f32x8 %5
  %8 = for %2, %3, %7, %0 step=8 : %9, %10, %11 {
    %12 = ramp i64x8 %9
    %13 = splat i64x8 %3
    %14 = lt boolx8 %12, %13
    %15 = load f32x8 b0 %9, %14
    %16 = gather_load f32x8 b0 %12, %14
    %17 = call f32x8 fmod %14, %15, %15, %16
    %18 = convert f16x8 %17
    store f16x8 b1 %9, %18, %14
    scatter_store f32x8 b2 %12, %15
    report i64x8 3 %14, %12
    %19 = reduce_or bool %14
    if %19 {
      %20 = for %0, %1 step=1 : %21 {
        store i64 b3 %21, %21
      }
    }
    %22 = fma f32x8 %15, %4, %10
    %23 = add i64 %11, %9
    yield %22, %23
  }
  %24 = result f32x8 0 %8
  %25 = extract f32 7 %24
  %26 = result i64 1 %8
  %27 = zip_low f32x8 %24, %7
  %28 = bitcast i32x8 %27
  %29 = lookup f32x8 3 %28
  prefetch f32 b0 %26
  prefetch_near f32 b0 %26
  store f32 b2 %26, %25
}
)";

std::string error_of(std::string_view text) {
  return cermet::test::message_of<cermet::Error>([&] { parse(text, "k.loops"); });
}

}  // namespace

TEST_CASE("loops text: every form of statement survives the round trip") {
  const std::string text = everything;
  const Function f = parse(text);
  CHECK(verify_loops(f) == std::vector<std::string>());
  CHECK(print(f) == text);
  CHECK(print(parse(print(f))) == text);
}

TEST_CASE("loops text: names and memory order do not show") {
  Function one, two;
  for (Function* f : {&one, &two}) {
    f->name = f == &one ? "first" : "second";
    Builder b(*f, Target());
    const int32_t x = b.add_buffer({.dtype = DType::F32, .index = 0});
    b.for_loop(b.index(0), b.argument(0), 4, [&](Ref i) { b.store(x, i, b.load(x, i, 4)); });
  }
  // The same function with its instructions the other way round.
  Function reversed = two;
  const auto turn = [&](Ref& r) {
    if (r) r.id = int32_t(two.instructions.size()) - 1 - r.id;
  };
  std::reverse(reversed.instructions.begin(), reversed.instructions.end());
  for (auto& i : reversed.instructions)
    for (Ref& r : i.operands) turn(r);
  for (auto& block : reversed.blocks)
    for (auto* list : {&block.parameters, &block.instructions, &block.yields})
      for (Ref& r : *list) turn(r);
  CHECK(verify_loops(reversed) == std::vector<std::string>());
  CHECK(print(one) == print(two));
  CHECK(print(one) == print(reversed));
}

TEST_CASE("loops text: what differs in meaning differs in text") {
  Function f;
  f.name = "f";
  Builder b(f, Target());
  const int32_t x = b.add_buffer({.dtype = DType::F32, .index = 0});
  const Ref v = b.load(x, b.argument(1), 4);
  b.store(x, b.argument(0), b.add(v, v));
  const std::string text = print(f);
  const auto changed = [&](auto change) {
    Function other = f;
    change(other);
    return print(other);
  };
  CHECK(changed([](Function&) {}) == text);
  CHECK(changed([](Function& g) { g.argument_count = 3; }) != text);
  CHECK(changed([](Function& g) { g.buffers[0].restrict_ = false; }) != text);
  CHECK(changed([](Function& g) { g.buffers[0].streamed = true; }) != text);
  CHECK(changed([](Function& g) { g.buffers[0].index = 1; }) != text);
  CHECK(changed([](Function& g) { g.buffers[0].written = false; }) != text);
  CHECK(changed([](Function& g) { g.buffers[0].dtype = DType::I32; }) != text);
  for (size_t i = 0; i < f.instructions.size(); ++i) {
    CAPTURE(i);
    CHECK(changed([&](Function& g) { g.instructions[i].op = Opcode::Mul; }) != text);
    CHECK(changed([&](Function& g) { g.instructions[i].dtype = DType::U16; }) != text);
    CHECK(changed([&](Function& g) { g.instructions[i].lanes = 2; }) != text);
  }
}

TEST_CASE("loops text: every constant comes back bit for bit") {
  std::mt19937_64 random(5);
  for (const DType dtype : cermet::all_dtypes)
    for (int round = 0; round < 200; ++round) {
      const int bits = cermet::is_bool(dtype) ? 1 : cermet::bits_of(dtype);
      const uint64_t value = random() >> (64 - bits);
      Function f;
      f.name = "f";
      Builder b(f, Target());
      b.constant_bits(dtype, value, 2);
      REQUIRE(uint64_t(parse(print(f)).instructions.at(0).imm) == value);
    }
}

TEST_CASE("loops text: each mistake is named with line and column, up to 20") {
  const std::string text =
      "loops 1\n"
      "kernel arguments=1 {\n"
      "  buffer f99 argument 0\n"
      "  %0 = const i64 1\n"
      "  %1 = ad i64 %0, %0\n"
      "  %2 = add i64 %1, %9\n"
      "  %0 = begin i64\n"
      "  %3 = load i64 b7 %0\n"
      "  store i64x b0 %0, %0\n"
      "  %4 = const u8 256\n"
      "  %5 = for %0, %0 step=1 : %6, %7 {\n"
      "    add i64 %6, %7\n"
      "  }\n"
      "  if %0 [\n"
      "  }\n"
      "}\n"
      "more\n";
  CHECK(error_of(text) ==
        "k.loops:3:10: unknown dtype 'f99'\n"
        "k.loops:5:8: 'ad' is no opcode, did you mean 'add'?\n"
        "k.loops:6:20: '%9' is not defined above\n"
        "k.loops:7:3: '%0' is defined already\n"
        "k.loops:8:17: b7 of 0 buffers\n"
        "k.loops:9:9: '' is not an integer\n"
        "k.loops:10:17: '256' is not a literal of u8 that fits\n"
        "k.loops:11:28: 2 operands need 1 parameters, not 2\n"
        "k.loops:12:5: 'add' needs a name for its result\n"
        "k.loops:14:9: expected '{', found '['\n"
        "k.loops:17:1: expected the end of the text, found 'more'");
  std::string many = "loops 1\nkernel arguments=0 {\n";
  for (int i = 0; i < 50; ++i) many += "  nonsense\n";
  const std::string errors = error_of(many + "}\n");
  CHECK(std::count(errors.begin(), errors.end(), '\n') == 20);
  CHECK_THAT(errors, ContainsSubstring("k.loops:22:3:"));
}

TEST_CASE("loops text: damaged text is refused or read, never worse") {
  const std::string text = print(parse(R"(loops 1
kernel arguments=1 {
  buffer f32 argument 0 written
  %0 = const i64 0
  %1 = arg i64 0
  %2 = for %0, %1, %0 step=4 : %3, %4 {
    %5 = load f32x4 b0 %3
    store f32x4 b0 %3, %5
    yield %3
  }
}
)"));
  std::mt19937 random(9);
  for (int round = 0; round < 5000; ++round) {
    std::string damaged = text;
    for (int k = 0; k < 3; ++k) {
      const size_t at = random() % damaged.size();
      if (random() % 2) {
        damaged.erase(at, random() % 9);
      } else {
        damaged.insert(at, 1, "%{}=:,0x9a\n"[random() % 11]);
      }
    }
    try {
      const Function f = parse(damaged);
      verify_loops(f);
      print(f);
    } catch (const cermet::Error&) {
      continue;
    }
  }
  for (size_t end = 0; end < text.size() - 2; ++end)
    CHECK_THROWS_AS(parse(text.substr(0, end)), cermet::Error);
}

TEST_CASE("loops key: two functions have one key where they have one text") {
  using cermet::compiler::loops::key_of;
  const std::string text = everything;
  Function same = parse(text);
  same.name = "another";
  const std::string key = key_of(same);
  CHECK(key == key_of(parse(print(same))));
  constexpr std::pair<std::string_view, std::string_view> changes[] = {
      {"arguments=2", "arguments=3"},
      {"f32 argument 0", "f64 argument 0"},
      {"f16 argument 1 written", "f16 argument 1"},
      {"written shared", "written"},
      {"shared streamed", "shared"},
      {"f16 argument 1", "f16 argument 0"},
      {"scratch %1", "scratch %0"},
      {"local 16", "local 17"},
      {"const i64 0", "const i64 1"},
      {"arg i64 1", "arg i64 0"},
      {"f32x8 -0.1", "f32x8 0.1"},
      {"begin i64", "end i64"},
      {"%2, %3, %7, %0 step=8", "%2, %3, %7, %0 step=16"},
      {"%0, %1 step=1", "%1, %0 step=1"},
      {"report i64x8 3", "report i64x8 4"},
      {"store i64 b3 %21, %21", "store i64 b3 %21, %20"},
      {"yield %22, %23", "yield %23, %22"},
  };
  for (const auto& [before, after] : changes) {
    std::string changed = text;
    changed.replace(changed.find(before), before.size(), after);
    CAPTURE(before, after);
    CHECK(key != key_of(parse(changed)));
  }
}
