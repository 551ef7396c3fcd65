// The text form of kernels and the verifier, which reads what the parser lets through.

#include "compiler/kernels_text.h"

#include "cermet/error.h"
#include "compiler/fuse.h"
#include "compiler/kernels_verify.h"
#include "ir/build.h"
#include "support/catch.h"
#include "support/fusion_check.h"
#include "support/message.h"

using namespace cermet;
using namespace cermet::compiler;

namespace {

const char* const row_program = R"(kernels 1
buffer 0 = parameter 0 : f32[30]
buffer 1 = result 0 : f32[30]
kernel row_max_sub_exp_sum_div outer=[6] inner=[5] {
  %0 = load buffer=0 : f32 inner
  %1 = reduce max %0 : f32
  %2 = sub %0, %1 : f32 inner
  %3 = exp %2 : f32 inner
  %4 = reduce sum %3 : f32
  %5 = div %3, %4 : f32 inner
  store %5 buffer=1
}
)";

const char* const everything = R"(kernels 1
buffer 0 = parameter 0 : f32[24]
buffer 1 = parameter 1 : i64[6]
buffer 2 = temporary : f32[24]
buffer 3 = result 0 : f32[24]
buffer 4 = result 1 : i64[24]
kernel map outer=[2,3,4] inner=[] {
  %0 = load buffer=0 strides=[4,8,1] offset=-4 valid=[1:2,0:2,0:4] : f32
  %1 = position strides=[0,0,0] offset=1 valid=[0:1,0:3,0:4] of shape=[24] offset=3 : i64
  %2 = constant 0x7fc00001 : f32
  %3 = cast %1 : bool
  %4 = where %3, %0, %2 : f32
  store %4 buffer=2
}
kernel scatter_sum outer=[4] inner=[6] {
  %0 = load buffer=0 strides=[1,4] : f32 inner
  %1 = load buffer=1 strides=[0,1] : i64 inner
  %2 = scan sum %0 reverse exclusive : f32 inner
  %3 = arg_reduce max %2 : i64
  scatter sum %2, %1 buffer=2 step=4 extent=6 strides=[1,0]
}
kernel contract outer=[24] inner=[6] {
  %0 = load buffer=2 strides=[1,0] : f32 inner
  %1 = load buffer=1 strides=[0,1] : i64 inner
  %2 = gather %1 buffer=0 step=4 extent=6 strides=[0,0] : f32 inner
  %3 = contract %0, %2 : f32
  store %3 buffer=3
}
sort sort outer=[4] inner=[6] from=2 to=4 descending
)";

// The mistakes that parsing reports, one a line.
std::string mistakes(const std::string& text) {
  return test::message_of<Error>([&] { parse_kernels(text, "k"); });
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), with);
}

// What the verifier says of row_program or `everything` with one change.
std::string errors(const char* text, const std::string& what, const std::string& with) {
  std::string out;
  for (const std::string& line : verify_kernels(parse_kernels(replaced(text, what, with))))
    out += line + "\n";
  return out;
}

bool has(const std::string& text, const std::string& part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("kernel text: what softmax is fused to") {
  const ir::Value x = ir::parameter(0, DType::F32, {6, 5});
  const ir::Value e = ir::exp(x - ir::reduce(ir::Combine::Max, x, Dims{1}, true));
  const ir::Value y = e / ir::reduce(ir::Combine::Sum, e, Dims{1}, true);
  CHECK(print_kernels(fuse(test::graph_of({y}), {})) == row_program);
}

TEST_CASE("kernel text: printing what was parsed gives the same text") {
  CHECK(print_kernels(parse_kernels(row_program)) == row_program);
  CHECK(print_kernels(parse_kernels(everything)) == everything);
}

TEST_CASE("kernel text: comments, blank lines and other spacing are read") {
  const std::string loose = replaced(row_program, "{\n", "{  # rows\n\n\n");
  CHECK(print_kernels(parse_kernels(loose)) == row_program);
}

TEST_CASE("kernel text: every mistake is reported with its line and column") {
  const std::string text = R"(kernels 1
buffer 0 = parameter 0 : f33[30]
buffer 1 = nothing : f32[30]
kernel k outer=[6] inner=[0] {
  %0 = load buffer=0 : f32
}
kernel l outer=[6] inner=[5] {
  %0 = lod buffer=0 : f32 inner
  %1 = neg %0 : f32
  %2 = reduce most %0 : f32
  %3 = add %3, %4 : f32
  %5 = load : f32
  %5 = load buffer=7 : f32
  %6 = load buffer=0 strides=[1] : f32 inner
  %7 = constant x : f32
  %8 = load buffer=0 color=1 : f32
  store %8 buffer=1
  %9 = load bufer=0 strides=[0,1] : f32 inner
}
)";
  CHECK(mistakes(text) == R"(k:2:26: unknown dtype 'f33', did you mean 'f32'?
k:3:12: expected 'parameter', 'result' or 'temporary', found 'nothing'
k:4:26: an extent of 0
k:8:8: unknown op 'lod', did you mean 'load'?
k:10:15: expected sum, prod, max, min or set, found 'most'
k:11:12: '%3' is not defined yet
k:12:8: load: buffer=1 is missing
k:13:3: '%5' is defined twice
k:14:22: strides has 1 entries for 2 axes
k:15:17: 'x' is not a literal of f32 that fits
k:16:22: load has no attribute 'color'
k:18:13: load has no attribute 'bufer', did you mean 'buffer'?)");
}

TEST_CASE("kernel text: at most 20 mistakes are reported") {
  std::string text = "kernels 1\n";
  for (int i = 0; i < 100; ++i) text += "bufer\n";
  const std::string all = mistakes(text);
  CHECK(has(all, "k:21:1: expected"));
  CHECK(all.find("k:22:1:") == std::string::npos);
  CHECK(has(mistakes("kernels 2\n"), "k:1:9: version '2' is not known"));
  CHECK(has(mistakes(""), "k:1:1: expected 'kernels 1'"));
}

TEST_CASE("kernel text: broken text is refused, never misread") {
  const std::string text = everything;
  for (size_t cut = 0; cut < text.size(); cut += 3) {
    mistakes(text.substr(0, cut));
    std::string changed = text;
    changed[cut] = "x=[]{}%9-\n"[cut % 10];
    try {
      verify_kernels(parse_kernels(changed));
    } catch (const Error&) {  // as it should be
    }
  }
  SUCCEED();
}

TEST_CASE("kernel verifier: valid programs have no errors") {
  CHECK(verify_kernels(parse_kernels(row_program)).empty());
  CHECK(verify_kernels(parse_kernels(everything)).empty());
  CHECK_NOTHROW(check_kernels(parse_kernels(row_program)));
  CHECK_THROWS_AS(check_kernels(parse_kernels("kernels 1\nbuffer 0 = result 0 : f32[3]\n")),
                  InternalError);
}

TEST_CASE("kernel verifier: each broken invariant is reported") {
  const auto row = [](const char* what, const char* with, const char* error) {
    return has(errors(row_program, what, with), error);
  };
  CHECK(row("%1 = reduce max %0 : f32", "%1 = reduce max %0 : f32 inner", "its value is per row"));
  CHECK(
      row("%1 = reduce max %0 : f32", "%1 = neg %0 : f32", "per row, with an operand per element"));
  CHECK(row("reduce sum %3", "reduce sum %1", "operand %1 is not per element"));
  CHECK(row("reduce sum", "reduce set", "set does not combine"));
  CHECK(row("parameter 0 : f32[30]", "parameter 0 : f32[29]", "positions 0 to 29 of 29"));
  CHECK(row("parameter 0 : f32", "parameter 0 : f64", "loads f32 from a buffer of f64"));
  CHECK(row("result 0 : f32[30]", "result 0 : f32[31]", "30 of 31 elements are stored"));
  CHECK(row("store %5 buffer=1", "store %5 buffer=1 strides=[5,0]", "stores twice"));
  CHECK(row("store %5 buffer=1", "store %5 buffer=1 valid=[0:6,0:4]", "masked"));
  CHECK(row("store %5 buffer=1", "store %5 buffer=0", "stores to a parameter"));
  CHECK(row("load buffer=0", "load buffer=1", "before it is written"));
  CHECK(row("load buffer=0", "load buffer=1", "which it stores to"));
  CHECK(row("div %3, %4 : f32", "div %3 : f32", "it has 1 operands, not 2"));
  CHECK(row("div %3, %4 : f32", "lt %3, %4 : f32", "its dtype is f32"));
  const auto all = [](const char* what, const char* with, const char* error) {
    return has(errors(everything, what, with), error);
  };
  CHECK(all("kernel scatter_sum outer=[4] inner=[6]", "kernel map outer=[4] inner=[6]",
            "its name is another kernel's"));
  CHECK(all("step=4 extent=6 strides=[1,0]", "step=4 extent=7 strides=[1,0]",
            "leave a buffer of 24"));
  CHECK(all("gather %1 buffer=0 step=4 extent=6", "gather %1 buffer=0 step=4 extent=7",
            "leave a buffer of 24"));
  CHECK(all("gather %1", "gather %0", "its index is not i64"));
  CHECK(all("arg_reduce max", "arg_reduce sum", "not an extremum"));
  CHECK(all("where %3", "where %1", "the condition is not bool"));
  CHECK(all("from=2 to=4", "from=2 to=3", "it sorts 24 elements of buffer 2 into buffer 3"));
}
