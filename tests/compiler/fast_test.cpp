// Fast numerics, mostly on CPUs: which instructions are saved, and what stays as it is.

#include "compiler/fuse.h"
#include "compiler/kernels_text.h"
#include "compiler/kernels_verify.h"
#include "compiler/loops_text.h"
#include "compiler/loops_verify.h"
#include "compiler/program.h"
#include "compiler/stages/stages.h"
#include "ir/build.h"
#include "support/catch.h"
#include "support/param.h"
#include "support/random_graph.h"

using namespace cermet;
using namespace cermet::ir;
using compiler::Target;
using test::param;

namespace {

Graph graph_of(const std::vector<Value>& parameters, std::vector<Value> results) {
  return {parameters, std::move(results)};
}

Target target(bool fast) {
  Target out = compiler::target("x86-64-v3");
  out.numerics.fast = fast;
  return out;
}

// How many instructions of the graph's code begin with `opcode`.
int count(const Graph& graph, bool fast, std::string_view opcode) {
  const std::string text = compiler::find_stage("asm")->text(graph, target(fast), false);
  int out = 0;
  for (size_t at = 0; (at = text.find('\t' + std::string(opcode), at)) != std::string::npos; ++at)
    ++out;
  return out;
}

}  // namespace

TEST_CASE("fast: a product and a sum are one instruction, if nothing else uses the product") {
  const Shape shape = {4096};
  const Value x = param(0, shape), y = param(1, shape), z = param(2, shape);
  const std::vector<Value> in = {x, y, z};
  for (const Value& r : {x * y + z, z + x * y, x * y - z, z - x * y}) {
    CHECK(count(graph_of(in, {r}), false, "vf") == 0);
    CHECK(count(graph_of(in, {r}), true, "vf") > 0);
    CHECK(count(graph_of(in, {r}), true, "vmul") == 0);
  }
  const Value product = x * y;
  CHECK(count(graph_of(in, {product + z, product}), true, "vf") == 0);
  CHECK(count(graph_of(in, {(product + z) * (product - z)}), true, "vf") == 0);
}

TEST_CASE("fast: a product that is repeated in two kernels, or two places, rounds as always") {
  // The maximum and the exponential must agree on what x * s is.
  const Shape shape = {64, 4096};
  const Value x = param(0, shape), s = param(1, {});
  const Value scaled = x * expand(s, shape);
  const Value e = exp(scaled - reduce(Combine::Max, scaled, Dims{1}, true));
  const Graph graph = graph_of({x, s}, {e / reduce(Combine::Sum, e, Dims{1}, true)});
  const compiler::KernelProgram program = compiler::fuse(graph, target(true));
  CHECK(compiler::verify_kernels(program).empty());
  for (const compiler::Kernel& kernel : program.kernels)
    for (const compiler::Expr& e : kernel.exprs)
      if (e.kind == compiler::Expr::Kind::Map && e.op == Op::Mul) CHECK_FALSE(e.once);
  const std::string text = compiler::print_kernels(program);
  CHECK(text.find(" once") != std::string::npos);
  CHECK(compiler::print_kernels(compiler::parse_kernels(text)) == text);
  // Strictly there is nothing to say about it.
  CHECK(compiler::print_kernels(compiler::fuse(graph, target(false))).find(" once") ==
        std::string::npos);
}

TEST_CASE("fast: rows are multiplied by one reciprocal, and constants by theirs") {
  const Value x = param(0, {64, 512});
  const Value e = exp(x);
  const Graph rows = graph_of({x}, {e / reduce(Combine::Sum, e, Dims{1}, true)});
  CHECK(count(rows, false, "vdivps") > 0);
  CHECK(count(rows, true, "vdivps") == 0);
  CHECK(count(rows, true, "vdivss") > 0);
  const Graph constant = graph_of({x}, {x / 3.0});
  CHECK(count(constant, false, "vdivps") > 0);
  CHECK(count(constant, true, "vdiv") == 0);
}

TEST_CASE("fast: bf16 is not rounded between the operations of a kernel") {
  const Shape shape = {4096};
  const std::vector<Value> in = {param(0, shape, DType::BF16), param(1, shape, DType::BF16)};
  const Value& x = in[0];
  const Value& y = in[1];
  const Graph chain = graph_of(in, {maximum((x + y) * (x - y) * x, y) * y});
  CHECK(3 * count(chain, true, "v") < 2 * count(chain, false, "v"));
}

TEST_CASE("fast: the loops of any graph are valid on every kind of target") {
  test::RandomGraphOptions options;
  options.dtypes = {DType::F32, DType::F16, DType::BF16, DType::F64, DType::I32};
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const test::RandomGraph random = test::random_graph(seed, options);
    INFO(test::describe(random));
    for (const char* name : {"x86-64-v2", "x86-64-v4", "sm_75", "sm_90"}) {
      Target target = compiler::target(name);
      target.numerics = {.fast = true, .tf32 = true};
      CHECK(compiler::verify_kernels(compiler::fuse(random.graph, target)).empty());
      for (const auto& launch : compiler::compile(random.graph, target).launches) {
        if (launch.kind != compiler::Kernel::Kind::Fused) continue;
        const auto& loops = launch.kernel.function;
        CHECK(compiler::loops::verify_loops(loops).empty());
        const std::string text = compiler::loops::print(loops);
        CHECK(compiler::loops::print(compiler::loops::parse(text)) == text);
      }
    }
  }
}
