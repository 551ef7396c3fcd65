#include "compiler/loops_verify.h"

#include <functional>
#include <random>

#include "compiler/loops_text.h"
#include "support/catch.h"

using cermet::DType;
using cermet::compiler::loops::Buffer;
using cermet::compiler::loops::Function;
using cermet::compiler::loops::Opcode;
using cermet::compiler::loops::parse;
using cermet::compiler::loops::verify_loops;

namespace {

using Texts = std::vector<std::string>;

// What is wrong with a body of statements; %a is an i64, %f an f32, %v an f32x4, %m a boolx4.
Texts wrong(const std::string& statements) {
  return verify_loops(
      parse("loops 1\nkernel arguments=1 {\n"
            "buffer f32 argument 0\n"
            "buffer f32 argument 1 written\n"
            "buffer f32 argument 2 written streamed\n"
            "%a = arg i64 0\n"           // %0
            "%f = load f32 b0 %a\n"      // %1
            "%v = load f32x4 b0 %a\n"    // %2
            "%m = lt boolx4 %v, %v\n" +  // %3
            statements +
            "\n}\n"));
}
Texts wrong_after(const std::string& statements, const std::function<void(Function&)>& change) {
  Function f = parse("loops 1\nkernel arguments=1 {\n%a = arg i64 0\n" + statements + "\n}\n");
  REQUIRE(verify_loops(f) == Texts());
  change(f);
  return verify_loops(f);
}

}  // namespace

TEST_CASE("loops verify: operands must have the very dtype and lanes of the opcode's row") {
  CHECK(wrong("%4 = add f32x4 %v, %v") == Texts());
  CHECK(wrong("%4 = add f32x4 %v, %f") == Texts{"%4 add: operand 1 is f32, must be f32x4"});
  CHECK(wrong("%4 = add f32x4 %v") == Texts{"%4 add: has 1 operands"});
  CHECK(wrong("%4 = rem f32 %f, %f") == Texts{"%4 rem: is for integers, not f32"});
  CHECK(wrong("%4 = sqrt i64 %a") == Texts{"%4 sqrt: is for f32 and f64, not i64"});
  CHECK(wrong("%4 = and f32 %f, %f") == Texts{"%4 and: is for integers and bool, not f32"});
  CHECK(wrong("%4 = lt f32 %f, %f") == Texts{
                                           "%4 lt: is f32, must be bool",
                                       });
  CHECK(wrong("%4 = select f32x4 %m, %v, %f") ==
        Texts{"%4 select: operand 2 is f32, must be f32x4"});
  CHECK(wrong("%4 = select f32 %m, %f, %f") ==
        Texts{"%4 select: operand 0 is boolx4, must be bool"});
  CHECK(wrong("%4 = bitcast f64x4 %v") == Texts{"%4 bitcast: f32 and f64 differ in size"});
  CHECK(wrong("%4 = convert f64 %v") == Texts{"%4 convert: operand 0 is f32x4, must be f32"});
  CHECK(wrong("%4 = splat f32x8 %v") == Texts{"%4 splat: operand 0 is f32x4, must be f32"});
  CHECK(wrong("%4 = extract f32 4 %v") == Texts{"%4 extract: lane 4 of 4"});
  CHECK(wrong("%4 = reduce_or bool %v") ==
        Texts{"%4 reduce_or: operand 0 is f32x4, must be boolx4"});
  CHECK(wrong("%4 = reduce_max f32 %v\n%5 = reduce_min f32 %v") == Texts());
  CHECK(wrong("%4 = reduce_add f32x4 %v") == Texts{"%4 reduce_add: is f32x4, must be one lane"});
  CHECK(wrong("%4 = call f32x4 fmod %m, %v, %v") == Texts{"%4 call: has 3 operands"});
  CHECK(wrong("%4 = call i64 sin %m, %a, %a") == Texts{"%4 call: is for f32 and f64, not i64"});
  CHECK(wrong("%4 = splat f32x3 %f") == Texts{"%4 splat: 3 lanes are no power of two up to 256"});
  CHECK(wrong("%4 = arg i64 1") == Texts{"%4 arg: 1 of 1 arguments"});
  CHECK(wrong("%4 = zip_low f32x4 %v, %v") == Texts());
  CHECK(wrong("%4 = zip_high f32 %f, %f") == Texts{"%4 zip_high: of one lane"});
  CHECK(wrong("%4 = bitcast i32x4 %v\n%5 = lookup f32x4 3 %4") == Texts());
  CHECK(wrong("%4 = lookup f32x4 99 %v") ==
        Texts{"%4 lookup: row 99 of 15", "%4 lookup: operand 0 is f32x4, must be i32x4"});
  CHECK(wrong("%4 = begin i32") == Texts{"%4 begin: is i32, must be i64"});
}

TEST_CASE("loops verify: f16 and bf16 are only moved and converted") {
  CHECK(wrong("%4 = convert f16x4 %v\n%5 = select f16x4 %m, %4, %4\n%6 = convert f32x4 %5") ==
        Texts());
  CHECK(wrong("%4 = convert bf16x4 %v\n%5 = add bf16x4 %4, %4") ==
        Texts{"%5 add: is for integers, f32 and f64, not bf16"});
  CHECK(wrong("%4 = convert f16x4 %v\n%5 = eq boolx4 %4, %4") ==
        Texts{"%5 eq: is for integers, f32 and f64, not f16"});
}

TEST_CASE("loops verify: memory is reached by positions, masks and dtypes that fit") {
  CHECK(wrong("store f32x4 b1 %a, %v, %m") == Texts());
  CHECK(wrong("store f32x4 b0 %a, %v") == Texts{"%4 store: buffer 0 is declared as never written"});
  CHECK(wrong("store f32x4 b2 %a, %v") == Texts());
  CHECK(wrong("%4 = load f32 b2 %a") ==
        Texts{"%4 load: buffer 2 is streamed, which is never loaded"});
  CHECK(wrong("%4 = load f64 b0 %a") == Texts{"%4 load: is f64, buffer 0 holds f32"});
  CHECK(wrong("%4 = load f32 b0 %f") == Texts{"%4 load: operand 0 is f32, must be i64"});
  CHECK(wrong("%4 = load f32x8 b0 %a, %m") ==
        Texts{"%4 load: operand 1 is boolx4, must be boolx8"});
  CHECK(wrong("%4 = gather_load f32x4 b0 %a") ==
        Texts{"%4 gather_load: operand 0 is i64, must be i64x4"});
  CHECK(wrong("prefetch f32 b0 %a, %a") == Texts{"%4 prefetch: operand 1 is i64, must be bool"});
  CHECK(wrong("report i64x4 0 %m, %m") ==
        Texts{"%4 report: code 0 means no error", "%4 report: operand 1 is boolx4, must be i64x4"});
  CHECK(wrong_after("%1 = begin i64", [](Function& f) {
          f.buffers.push_back({Buffer::Kind::Local, DType::F64, true, true, 0, 8193, {}});
        }) == Texts{"65544 bytes on the stack are more than 65536"});
  CHECK(wrong_after("%1 = begin i64", [](Function& f) {
          f.buffers.push_back({Buffer::Kind::Scratch, DType::F64, true, true, 0, 0, {}});
        }) == Texts{"buffer 0 has no offset into the scratch memory"});
}

TEST_CASE("loops verify: values are used where they are visible") {
  CHECK(wrong("%4 = for %a, %a step=1 : %5 {\n%6 = add i64 %5, %5\n}\n%7 = add i64 %6, %6") ==
        Texts{"%7 add: %6 is not visible here"});
  CHECK(wrong("store f32x4 b1 %a, %v\n%5 = begin i64") == Texts());
  CHECK(wrong_after("%1 = add i64 %a, %a", [](Function& f) {
          std::swap(f.blocks[0].instructions[0], f.blocks[0].instructions[1]);
        }) == Texts{"%1 add: %0 is not visible here"});
  CHECK(wrong_after("%1 = add i64 %a, %a", [](Function& f) {
          f.blocks[0].instructions.pop_back();
        }) == Texts{"%1 is in no block"});
  CHECK(wrong_after("%1 = add i64 %a, %a", [](Function& f) {
          f.blocks[0].instructions.push_back({1});
        }) == Texts{"%1 add: is in more than one place"});
  CHECK(wrong_after("%1 = add i64 %a, %a", [](Function& f) {
          f.instructions[1].operands[0] = {};
        }) == Texts{"%1 add: %-1 is not visible here"});
}

TEST_CASE("loops verify: loops carry what their operands, parameters and yields agree on") {
  CHECK(wrong("%4 = for %a, %a, %f step=1 : %5, %6 {\nyield %6\n}\n%7 = result f32 0 %4") ==
        Texts());
  CHECK(wrong("%4 = for %a, %a, %f step=1 : %5, %6 {\nyield %5\n}") ==
        Texts{"%4 for: the yield %5 is i64, the initial value f32"});
  CHECK(wrong("%4 = for %a, %a, %f step=1 : %5, %6 {\n}") ==
        Texts{"%4 for: carries 1 values, has 2 parameters and 0 yields"});
  CHECK(wrong("%4 = for %a, %f step=0 : %5 {\n}") ==
        Texts{"%4 for: the step is 0", "%4 for: operand 1 is f32, must be i64"});
  CHECK(wrong("%4 = for %a, %a step=1 : %5 {\n}\n%6 = result i64 0 %4") ==
        Texts{"%6 result: 0 of 0 carried values"});
  CHECK(wrong("%4 = for %a, %a step=1 : %5 {\n}\n%6 = add i64 %4, %a") ==
        Texts{"%6 add: %4 has no value"});
  CHECK(wrong("if %a {\n}") == Texts{"%4 if: operand 0 is i64, must be bool"});
  CHECK(wrong_after("%1 = for %a, %a step=1 : %2 {\n}", [](Function& f) {
          f.instructions[1].block = 0;
        }) == Texts{"%1 for: block 0 of 2", "%2 is in no block", "block 1 belongs to nothing"});
}

TEST_CASE("loops verify: a block that holds itself, or too many of them, is refused") {
  std::string nested;
  for (int i = 0; i < 70; ++i) nested += "if %c {\n";
  for (int i = 0; i < 70; ++i) nested += "}\n";
  CHECK(wrong("%c = const bool true\n" + nested).at(0) == "%69 if: is nested more than 64 deep");
  CHECK(wrong_after("%c = const bool true\nif %c {\nif %c {\n}\n}", [](Function& f) {
          f.instructions[3].block = 1;
        }) == Texts{"%3 if: block 1 has an owner already", "block 2 belongs to nothing"});
}

TEST_CASE("loops verify: random damage is found or harmless, never read out of bounds") {
  const Function good = parse(R"(loops 1
kernel arguments=1 {
  buffer f32 scratch %a written
  %a = arg i64 0
  %c = const bool true
  %l = for %a, %a, %a step=1 : %i, %x {
    if %c {
      %v = load f32x4 b0 %i
      store f32x4 b0 %x, %v
    }
    yield %x
  }
  %r = result i64 0 %l
}
)");
  REQUIRE(verify_loops(good) == Texts());
  std::mt19937 random(21);
  const auto any = [&](int n) { return int32_t(random() % uint32_t(n)) - 2; };
  for (int round = 0; round < 20000; ++round) {
    Function f = good;
    auto& i = f.instructions[random() % f.instructions.size()];
    auto& block = f.blocks[random() % f.blocks.size()];
    switch (random() % 8) {
      case 0: i.op = Opcode(random() % 60); break;
      case 1: i.dtype = DType(random() % 20); break;
      case 2: i.lanes = uint16_t(any(10)); break;
      case 3: i.block = any(6); break;
      case 4: i.imm = any(6); break;
      case 5: i.operands.push_back({any(14)}); break;
      case 6: block.instructions.push_back({any(14)}); break;
      case 7: block.yields.push_back({any(14)}); break;
    }
    verify_loops(f);
  }
}
