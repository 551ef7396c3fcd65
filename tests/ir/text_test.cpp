#include "ir/text.h"

#include <fmt/format.h>

#include <bit>
#include <limits>
#include <random>

#include "cermet/error.h"
#include "ir/build.h"
#include "ir/element.h"
#include "ir/verify.h"
#include "support/catch.h"
#include "support/message.h"
#include "support/repeats.h"

using namespace cermet;
using namespace cermet::ir;

namespace {

Value input(int64_t slot, const Shape& shape, DType dtype = DType::F32) {
  return parameter(slot, dtype, shape);
}

// print and parse are inverse, and give the very same nodes.
void check_round_trip(const Graph& graph) {
  const std::string text = print(graph);
  CAPTURE(text);
  const Graph again = parse(text);
  CHECK(again.parameters == graph.parameters);
  CHECK(again.results == graph.results);
  CHECK(print(again) == text);
  CHECK(verify(again).empty());
}

std::string refusal(std::string_view text) {
  return cermet::test::message_of<Error>([&] { parse(text, "x.cir"); });
}

// A statement inside of a graph with %a: f32[2,3], %b: i64[3] and %c: bool[2,3].
std::string refusal_of(std::string_view statement) {
  return refusal(
      fmt::format("cir 1\ngraph g(%a: f32[2,3], %b: i64[3], %c: bool[2,3]) {{\n{}\nreturn %a\n}}\n",
                  statement));
}

// A graph that has every structural op, and every kind of view.
Graph rich_graph() {
  const Value x = input(0, {2, 3}), b = input(1, {3}, DType::I64), w = input(2, {1, 4, 3, 2, 2});
  const Value image = input(3, {1, 2, 3, 5, 7});
  Graph g;
  g.parameters = {x, b, w, image, input(4, {})};
  const Dims one{1}, both{0, 1}, two{2, 2}, ones{1, 1};
  const Value index = expand(iota(3), Shape{2, 3});
  const auto add = [&](const Value& v) { g.results.push_back(v); };
  add(x * 1.5 + like(x, -0.0));
  add(cast(x, DType::BF16));
  add(bitcast(x, DType::I32));
  add(reduce(Combine::Sum, x, one));
  add(reduce(Combine::Max, x, both));
  add(arg_reduce(Combine::Min, x, 0));
  add(scan(Combine::Prod, x, 1, true, true));
  add(scan(Combine::Sum, b, 0));
  add(matmul(x, transpose(x, 0, 1)));
  add(conv(image, w, two, ones));
  add(gather(x, index, 1));
  add(scatter(Combine::Set, x, index, x, 1));
  const Value parts[] = {x, x, x};
  add(concat(parts, 0));
  add(argsort(x, 1, true));
  add(argsort(x, 1));
  add(barrier(x));
  add(recompute(x, barrier(x)));
  add(make(Op::StopGradient, {x}));
  add(reshape(transpose(x, 0, 1), Shape{6}));
  add(pad(x, 1, 2, 1));
  add(reshape(pad(flip(x, 1), 0, 1, 0), Shape{9}));
  add(slice(x, 1, std::nullopt, std::nullopt, -2));
  add(unfold(pad(image, 4, 1, 1), 4, 3, 2, 1));
  add(diagonal(x, 1, 0, 1));
  add(where(lt(x, like(x, 0)), x, like(x, std::numeric_limits<double>::infinity())));
  add(constant(DType::Bool, {2, 0}, int64_t(1)));
  add(b);
  return g;
}

}  // namespace

TEST_CASE("text: a graph prints as its grammar says") {
  const Value x = input(0, {2, 3}), b = input(1, {3}, DType::I64);
  const Dims axis{1};
  const Graph g{{x, b},
                {reduce(Combine::Sum, x * 1.5, axis), pad(transpose(x, 0, 1), 0, 1, 0),
                 reshape(transpose(x, 0, 1), Shape{2, 3}), b}};
  CHECK(print(g) ==
        "cir 1\n"
        "graph main(%0: f32[2,3], %1: i64[3]) {\n"
        "  %2 = constant 1.5 : f32[2,3]\n"
        "  %3 = mul %0, %2 : f32[2,3]\n"
        "  %4 = reduce sum %3 axes=[1] : f32[2]\n"
        "  %5 = view %0 strides=[1,3] offset=-1 valid=[1:4,0:2] : f32[4,2]\n"
        "  %6 = view %0 of shape=[3,2] strides=[1,3] : f32[2,3]\n"
        "  return %4, %5, %6, %1\n"
        "}\n");
  check_round_trip(g);
}

TEST_CASE("text: every structural op makes the round trip") {
  const Graph g = rich_graph();
  CHECK(verify(g).empty());
  check_round_trip(g);
}

TEST_CASE("text: every elementwise op makes the round trip, for every dtype it accepts") {
  for (size_t i = structural_op_count; i < op_count; ++i) {
    const OpInfo& row = info(Op(i));
    for (DType dtype : all_dtypes) {
      if (!accepts(row.operands, dtype)) continue;
      Graph g;
      SmallVector<Value, 3> operands;
      for (int64_t slot = 0; slot < row.arity; ++slot) {
        const bool condition = Op(i) == Op::Where && slot == 0;
        g.parameters.push_back(input(slot, {3}, condition ? DType::Bool : dtype));
        operands.push_back(g.parameters.back());
      }
      g.results.push_back(make(Op(i), operands));
      check_round_trip(g);
    }
  }
}

TEST_CASE("text: empty graphs, and results that are parameters") {
  check_round_trip({});
  const Value x = input(0, {0, 4});
  check_round_trip({{x, input(1, {})}, {x, x, reshape(x, Shape{4, 0})}});
}

TEST_CASE("text: many parameters stand one on a line") {
  Graph g;
  for (int64_t i = 0; i < 30; ++i) g.parameters.push_back(input(i, {i}));
  g.results = g.parameters;
  CHECK(print(g).find("graph main(\n    %0: f32[0],\n    %1: f32[1],\n") != std::string::npos);
  check_round_trip(g);
}

TEST_CASE("text: literals keep every bit") {
  const auto same = [](DType dtype, uint64_t bits) {
    const std::string text = print_literal(dtype, bits);
    INFO(name(dtype) << " " << std::hex << bits << " prints as " << text);
    CHECK(parse_literal(dtype, text) == bits);
  };
  SECTION("all of the small dtypes") {
    for (uint64_t bits = 0; bits < 0x10000; ++bits) {
      for (DType dtype : {DType::F16, DType::BF16, DType::I16, DType::U16})
        if (parse_literal(dtype, print_literal(dtype, bits)) != bits) same(dtype, bits);
    }
    for (uint64_t bits = 0; bits < 0x100; ++bits)
      for (DType dtype : {DType::I8, DType::U8}) same(dtype, bits);
    for (uint64_t bits : {0, 1}) same(DType::Bool, bits);
  }
  SECTION("the ends of the large ones, and random bits") {
    std::mt19937_64 random(1);
    for (DType dtype : {DType::F32, DType::F64, DType::I32, DType::U32, DType::I64, DType::U64}) {
      const int width = bits_of(dtype);
      for (int i = 0; i < 20000; ++i) same(dtype, random() >> (64 - width));
      for (int i = 0; i < width; ++i) {
        same(dtype, uint64_t(1) << i);
        same(dtype, ~uint64_t(0) >> (63 - i));
        same(dtype, (uint64_t(1) << i) - 1);
      }
    }
  }
}

TEST_CASE("text: literals are short, and special values have names") {
  const auto f32 = [](float x) { return print_literal(DType::F32, std::bit_cast<uint32_t>(x)); };
  CHECK(f32(0.1f) == "0.1");
  CHECK(f32(-0.0f) == "-0");
  CHECK(f32(3) == "3");
  CHECK(f32(1e-45f) == "1e-45");
  CHECK(f32(std::numeric_limits<float>::max()) == "3.4028235e+38");
  CHECK(f32(std::numeric_limits<float>::infinity()) == "inf");
  CHECK(f32(-std::numeric_limits<float>::infinity()) == "-inf");
  CHECK(f32(std::numeric_limits<float>::quiet_NaN()) == "nan");
  CHECK(f32(-std::numeric_limits<float>::quiet_NaN()) == "0xffc00000");
  CHECK(print_literal(DType::F32, 0x7f800001) == "0x7f800001");  // signalling
  CHECK(print_literal(DType::F16, 0x2e66) == "0.1");
  CHECK(print_literal(DType::BF16, 0x3dcd) == "0.1");
  CHECK(print_literal(DType::F16, 0x7bff) == "65500");
  CHECK(print_literal(DType::F64, 0x7ff8000000000000) == "nan");
  CHECK(print_literal(DType::I8, 0x80) == "-128");
  CHECK(print_literal(DType::U64, ~uint64_t(0)) == "18446744073709551615");
  CHECK(print_literal(DType::Bool, 1) == "true");
}

TEST_CASE("text: literals that are none or do not fit are refused") {
  const std::pair<DType, std::string_view> refused[] = {
      {DType::F32, "1e39"},    {DType::F16, "65520"}, {DType::F32, "0x100000000"},
      {DType::F32, ""},        {DType::F32, "-"},     {DType::F32, "infinity"},
      {DType::F32, "nan(1)"},  {DType::F32, "1.5x"},  {DType::F32, "true"},
      {DType::I8, "128"},      {DType::I8, "-129"},   {DType::U8, "256"},
      {DType::U8, "-1"},       {DType::I32, "1.5"},   {DType::I64, "9223372036854775808"},
      {DType::Bool, "1"},      {DType::Bool, "0x2"},  {DType::I32, "0x"},
      {DType::BF16, "3.4e38"}, {DType::F64, "1e309"}, {DType::I32, "0x-1"},
  };
  for (const auto& [dtype, text] : refused) {
    INFO(name(dtype) << " " << text);
    CHECK(!parse_literal(dtype, text));
  }
  CHECK(parse_literal(DType::F32, "1") == 0x3f800000);
  CHECK(parse_literal(DType::F32, ".5") == 0x3f000000);
  CHECK(parse_literal(DType::F32, "0x3f800000") == 0x3f800000);
  CHECK(parse_literal(DType::I8, "0xff") == 0xff);
}

TEST_CASE("text: data prints as a parameter, with a comment") {
  struct Bytes : Storage {
    const void* host_data() const override { return nullptr; }
  };
  const Value x = input(0, {2}), d = data(std::make_shared<Bytes>(), DType::F32, {2});
  const std::string text = print({{x}, {sin(x + d)}});
  CHECK(text ==
        "cir 1\n"
        "graph main(\n"
        "    %0: f32[2],\n"
        "    %1: f32[2]  # data\n"
        ") {\n"
        "  %2 = add %0, %1 : f32[2]\n"
        "  %3 = sin %2 : f32[2]\n"
        "  return %3\n"
        "}\n");
  CHECK(parse(text).parameters.size() == 2);
}

TEST_CASE("text: leaves keep which of them are one variable") {
  const auto v = std::make_shared<Variable>(), u = std::make_shared<Variable>();
  const Value x = input(0, {2}), y = input(1, {2});
  const Graph g{{x, y}, {leaf(x, v) * leaf(y, u) + leaf(y, v)}};
  CHECK(variables(g) == std::vector<std::shared_ptr<Variable>>{v, u});
  const std::string text = print(g);
  CHECK(text.find("leaf %0 id=0 ") != std::string::npos);
  CHECK(text.find("leaf %1 id=1 ") != std::string::npos);
  CHECK(text.find("leaf %1 id=0 ") != std::string::npos);
  const Graph again = parse(text);
  CHECK(variables(again).size() == 2);
  CHECK(again.results[0]->requires_grad);
  CHECK(print(again) == text);
}

TEST_CASE("text: a custom gradient comes back as an identity that refuses to be differentiated") {
  struct Rule : GradientRule {
    std::vector<Value> operands_adjoints(std::span<const Value>, const Value&,
                                         const Value& adjoint) const override {
      return {adjoint};
    }
  };
  const Value x = input(0, {2});
  const Value inputs[] = {x};
  const std::string text =
      print({{x}, {custom_gradient(sin(x), inputs, std::make_shared<const Rule>())}});
  CHECK(text.find("custom_gradient %1, %0 rule=opaque : f32[2]\n") != std::string::npos);
  const Graph again = parse(text);
  CHECK(print(again) == text);
  const auto& rule = *again.results[0]->as<CustomGradientAttr>().rule;
  CHECK_THROWS_WITH(rule.operands_adjoints(inputs, x, x),
                    "custom_gradient: the rule of a parsed graph is opaque, it has no gradient");
}

TEST_CASE("text: what people write need not look like what print writes") {
  const Graph g = parse(
      "# a comment\n\n  cir 1   # and here\n\n"
      "graph net(%x : f32 [ 2 , 3 ],   # one\n"
      "  %weight_1: f32[2,3]\r\n) {\n\n"
      "%y=add %x,%weight_1:f32[2,3]\r\n"
      "%z = scan sum %y exclusive reverse axis=1 : float32[2,3]\n"
      "return %z }");
  const Value x = input(0, {2, 3}), w = input(1, {2, 3});
  CHECK(g.results == std::vector<Value>{scan(Combine::Sum, x + w, 1, true, true)});
}

TEST_CASE("text: one mistake gives one message, with file, line and column") {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"%d = sine %a : f32[2,3]", "3:6: unknown op 'sine', did you mean 'sin'?"},
      {"%d = maximun %a, %a : f32[2,3]", "3:6: unknown op 'maximun', did you mean 'maximum'?"},
      {"%d = qqqqqq %a : f32[2,3]", "3:6: unknown op 'qqqqqq'"},
      {"%d = parameter : f32[2,3]",
       "3:6: 'parameter' is no statement: parameters stand in the graph's head"},
      {"%d = add %a, %b : f32[2,3]", "3:6: add: dtypes differ (f32[2,3], i64[3])"},
      {"%d = add %a : f32[2,3]", "3:6: add: expects 2 operands, got 1"},
      {"%d = neg %x : f32[2,3]", "3:10: '%x' is not defined"},
      {"%a = neg %a : f32[2,3]", "3:1: '%a' is defined twice"},
      {"%d = neg %a : f32[3,2]", "3:15: neg gives f32[2,3], not f32[3,2]"},
      {"%d = neg %a : f33[2,3]", "3:15: unknown dtype 'f33', did you mean 'f32'?"},
      {"%d = neg %a", "3:12: expected ':', found the end of the line"},
      {"%d = neg %a : f32[2,3] %a", "3:24: expected the end of the line, found '%a'"},
      {"%d = neg : f32[2,3]", "3:10: expected an operand such as %0, found ':'"},
      {"neg %a : f32[2,3]", "3:1: expected a statement such as %2 = add %0, %1 : ..., found 'neg'"},
      {"%d = constant 1.5 : i32[2]", "3:15: '1.5' is not a literal of i32 that fits"},
      {"%d = constant 300 : u8[2]", "3:15: '300' is not a literal of u8 that fits"},
      {"%d = constant : u8[2]", "3:15: expected a literal, found ':'"},
      {"%d = constant 1 : u8[-2]", "3:6: constant: negative size in shape [-2]"},
      {"%d = constant 1 : u8[4294967296,4294967296]",
       "3:6: constant: shape [4294967296,4294967296] has more elements than fit in 64 bits"},
      {"%d = constant 1 : u8[99999999999999999999]",
       "3:22: '99999999999999999999' does not fit in 64 bits"},
      {"%d = reduce %a axes=[1] : f32[2]",
       "3:13: expected sum, prod, max or min after reduce, found '%a'"},
      {"%d = reduce mean %a axes=[1] : f32[2]",
       "3:13: 'mean' is none of sum, prod, max, min and set"},
      {"%d = reduce sum %a : f32[2]", "3:6: reduce: axes=[1,2] is missing"},
      {"%d = reduce sum %a axis=[1] : f32[2]",
       "3:20: reduce has no attribute 'axis', did you mean 'axes'?"},
      {"%d = reduce sum %a axes=1 : f32[2]", "3:20: 'axes' is written as axes=[1,2]"},
      {"%d = reduce sum %a axes=[1,0] : f32[]",
       "3:6: reduce: axes [1,0] are not ascending axes of f32[2,3]"},
      {"%d = gather %a, %b axis=7 : f32[3]", "3:6: gather: axis 7 is out of range for [2,3]"},
      {"%d = scan sum %a axis=1 reversed : f32[2,3]",
       "3:25: scan has no attribute 'reversed', did you mean 'reverse'?"},
      {"%d = scan sum %a reverse : f32[2,3]", "3:6: scan: axis=1 is missing"},
      {"%d = scan sum %a axis=1 axis=1 : f32[2,3]", "3:25: 'axis' is given twice"},
      {"%d = view %a offset=5 : f32[2]",
       "3:6: view: level 0 reads positions 5 to 6 of 6 (f32[2,3])"},
      {"%d = view %a strides=[1] : f32[2,3]", "3:14: strides has 1 entries for 2 axes"},
      {"%d = view %a valid=[0:2] : f32[2,3]", "3:14: valid has 1 entries for 2 axes"},
      {"%d = view %a valid=[] : f32[2,3]", "3:14: 'valid' is written as valid=[0:1,0:2]"},
      {"%d = view %a of : f32[2,3]", "3:14: expected shape=[1,2] after 'of'"},
      {"%d = view %a valid=[0:1,1:9] : f32[2,3]",
       "3:6: view: level 0 axis 1: valid interval [1,9) is not inside [0,3) (f32[2,3])"},
      {"%d = view %a strides=[0,9223372036854775807] : f32[2,3]",
       "3:6: view: level 0 reaches further than 64 bits (f32[2,3])"},
      {"%d = view %a of shape=[-1] : f32[2,3]", "3:6: view: negative size in [-1]"},
      {"%d = view %a offset=1 offset=1 : f32[2]", "3:23: 'offset' is given twice"},
      {"%d = custom_gradient %a rule=mine : f32[2,3]",
       "3:6: custom_gradient: the only rule that text can name is opaque"},
      {"%d = leaf %b id=0 : i64[3]",
       "3:6: leaf: only floating point tensors can require gradients, got i64[3]"},
      {"%d = neg %a : f32[2,3] ; neg", "3:24: character ';' means nothing here"},
  };
  for (const auto& [statement, message] : cases) {
    CAPTURE(statement);
    CHECK(refusal_of(statement) == fmt::format("x.cir:{}", message));
  }
}

TEST_CASE("text: mistakes of the frame") {
  CHECK(refusal("") ==
        "x.cir:1:1: expected 'cir 1', the first line of a graph text, found the end of the text");
  CHECK(refusal("cir 2\n") == "x.cir:1:5: version '2' is not known, only version 1");
  CHECK(refusal("cir 1\ngraph g() {\n") ==
        "x.cir:3:1: expected 'return' before the end of the graph, found the end of the text");
  CHECK(refusal("cir 1\ngraph g() {\nreturn\n") ==
        "x.cir:4:1: expected '}', found the end of the text");
  CHECK(refusal("cir 1\ngraph g() {\nreturn\n}\nmore") ==
        "x.cir:5:1: expected the end of the text after the graph, found 'more'");
  CHECK(refusal("cir 1\ngraph g(%0: f32[-1], %0: f32[2]) {\n%1 = neg %0 : f32[3]\nreturn %2\n}") ==
        "x.cir:2:13: parameter: negative size in shape [-1]\n"
        "x.cir:4:8: '%2' is not defined");
  CHECK(refusal("cir 1\ngraph g(%0: f33[2], %1: i33[x,2] %2 f32[2], %3: f32[2]) {\n"
                "%5 = add %0, %3 : f32[2]\n%6 = neg %x : f32[2]\nreturn %3\n}") ==
        "x.cir:2:13: unknown dtype 'f33', did you mean 'f32'?\n"
        "x.cir:2:25: unknown dtype 'i33', did you mean 'i32'?\n"
        "x.cir:2:37: expected ':', found 'f32'\n"
        "x.cir:4:10: '%x' is not defined");
  CHECK(refusal("cir 1\ngraph g(%: f32[]) {\nreturn\n}") ==
        "x.cir:2:9: a name is missing after '%'");
}

TEST_CASE("text: all mistakes are listed, up to 20, and what follows from one is not") {
  CHECK(refusal("cir 1\ngraph g(%a: f32[2], %b: i64[2]) {\n"
                "  %1 = sine %a : f32[2]\n"
                "  %2 = add %1, %a : f32[2]\n"
                "  %3 = add %a, %b : f32[2]\n"
                "  %4 = neg %2 : f32[2]\n"
                "  %5 = neg %a : f32[3]\n"
                "  return %4, %6\n}\n") ==
        "x.cir:3:8: unknown op 'sine', did you mean 'sin'?\n"
        "x.cir:5:8: add: dtypes differ (f32[2], i64[2])\n"
        "x.cir:7:17: neg gives f32[2], not f32[3]\n"
        "x.cir:8:14: '%6' is not defined");
  std::string many = "cir 1\ngraph g(%a: f32[2]) {\n";
  for (int i = 0; i < 100; ++i) many += fmt::format("%x{} = sine %a : f32[2]\n", i);
  const std::string text = refusal(many + "return %a\n}\n");
  CHECK(std::ranges::count(text, '\n') == 20);
  CHECK(text.ends_with("\n(there may be more mistakes than these)"));
}

TEST_CASE("text: broken and hostile text never does more than throw Error") {
  const std::string valid = print(rich_graph());
  const auto survives = [](std::string_view text) {
    try {
      const Graph g = parse(text);
      CHECK(verify(g).empty());
      if (print(parse(print(g))) != print(g)) FAIL(text);
    } catch (const Error&) {  // the only exception that is allowed
    }
  };
  SECTION("cut at every byte") {
    for (size_t i = 0; i < valid.size(); ++i) survives(std::string_view(valid).substr(0, i));
  }
  SECTION("random changes") {
    std::mt19937 random(7);
    const auto pick = [&](size_t n) { return size_t(random() % n); };
    const std::string_view pieces[] = {"9223372036854775807",
                                       "-9223372036854775808",
                                       "0",
                                       "-1",
                                       "[",
                                       "]",
                                       "[]",
                                       "%0",
                                       "%999",
                                       "\n",
                                       "return",
                                       "axis=",
                                       "}",
                                       "4611686018427387904",
                                       " of shape=[2,3] ",
                                       " : f64[3]"};
    for (int i = 0; i < 4000; ++i) {
      std::string text = valid;
      for (size_t n = 1 + pick(4); n-- > 0;) {
        const size_t at = pick(text.size());
        switch (pick(5)) {
          case 0: text[at] = char(random()); break;
          case 1: text.erase(at, 1 + pick(8)); break;
          case 2: text.insert(at, pieces[pick(std::size(pieces))]); break;
          case 3: text.replace(at, 1, 1, "0123456789"[pick(10)]); break;
          case 4: text.insert(at, text.substr(pick(text.size()), pick(60))); break;
        }
      }
      survives(text);
    }
  }
  SECTION("long names, lines and lists") {
    const std::string name(1000000, 'x');
    CHECK(refusal_of("%d = " + name + " %a : f32[2,3]").size() < 200);
    CHECK(refusal_of("%" + name + " = sine %a : f32[2,3]").size() < 200);
    CHECK(refusal_of(name).size() < 200);
    std::string list;
    for (int i = 0; i < 100000; ++i) list += "1,";
    CHECK(refusal_of("%d = constant 1 : f32[" + list + "1]") == "x.cir:3:22: more than 1024 axes");
    CHECK(refusal(std::string(1000000, '[')) != "");
    CHECK(refusal(std::string(1000000, '\0')) != "");
    CHECK(refusal("cir 1\ngraph g(" + std::string(1000000, '\n')) != "");
  }
}

TEST_CASE("text: a million nodes print and parse without recursion") {
  Value x = input(0, {4});
  const Value first = x;
  for (int i = 0; i < cermet::test::repeats(500000); ++i) x = sin(x) + first;
  const Graph g{{first}, {x}};
  const std::string text = print(g);
  const Graph again = parse(text);
  CHECK(again.results == g.results);
  CHECK(verify(again).empty());
}
