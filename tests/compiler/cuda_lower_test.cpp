// Kernels lowered for GPUs, and the CUDA C that is printed of them: what NVRTC makes of it is
// counted. That it computes the right thing is tested where it can be run.

#include "compiler/cuda/nvrtc.h"
#include "compiler/cuda/print.h"
#include "compiler/index_width.h"
#include "compiler/loops_builder.h"
#include "compiler/loops_text.h"
#include "compiler/loops_verify.h"
#include "compiler/program.h"
#include "ir/build.h"
#include "support/cubin.h"
#include "support/cuda.h"
#include "support/machine_code.h"
#include "support/param.h"
#include "support/random_graph.h"

using namespace cermet;
using compiler::Kernel;
using compiler::loops::Function;
using compiler::loops::Ref;
using ir::Combine;
using ir::Value;
using test::param;

namespace {

compiler::Program lowered(std::vector<Value> results, int compute = 90) {
  ir::Graph graph;
  for (const ir::Node* node : ir::topological_order(results))
    if (node->op == ir::Op::Parameter) graph.parameters.push_back(Value(node));
  graph.results = std::move(results);
  return compiler::compile(graph, compiler::cuda_target(compute));
}

compiler::CudaObject compiled(const compiler::Program& program, int compute = 90) {
  return compiler::compile_cuda(compiler::print_cuda_unit(test::kernels_of(program)),
                                {.arch = {compute}});
}

// Of the only kernel.
test::SassCensus census(const compiler::Program& program) {
  const auto kernels = test::read_cubin(compiled(program).cubin);
  REQUIRE(kernels.size() == 1);
  return kernels.begin()->second;
}

}  // namespace

TEST_CASE("cuda lower: any graph compiles for every architecture, without spills or local memory") {
  CERMET_NEEDS_NVRTC();
  // More of them are compiled where they are run, see run_on().
  uint64_t seed = 0;
  for (const int compute : test::architectures)
    for (int i = 0; i < (compute == 90 ? 10 : 4); ++i) {
      test::RandomGraphOptions options;
      options.dtypes = {DType::F32, DType::F16, DType::BF16, DType::F64,
                        DType::I64, DType::I32, DType::U8};
      const test::RandomGraph random = test::random_graph(++seed, options);
      INFO("seed " << seed);
      const auto program = compiler::compile(random.graph, compiler::cuda_target(compute));
      if (!test::kernels_of(program).empty()) test::check_machine_code(program, compute);
    }
}

TEST_CASE("cuda lower: loops for GPUs are valid, and their text is read back") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const test::RandomGraph random = test::random_graph(seed);
    INFO("seed " << seed);
    const auto program = compiler::compile(random.graph, compiler::cuda_target(80));
    for (const Function* f : test::kernels_of(program)) {
      CHECK(compiler::loops::verify_loops(*f) == std::vector<std::string>());
      const std::string text = compiler::loops::print(*f);
      CHECK(compiler::loops::print(compiler::loops::parse(text)) == text);
    }
  }
}

TEST_CASE("cuda lower: tiles are valid loops, and their text is read back") {
  for (const int compute : {75, 80})
    for (const DType dtype : {DType::F32, DType::F16, DType::BF16, DType::I64})
      for (const int64_t k : {64, 65}) {
        INFO("sm_" << compute << " " << name(dtype) << " " << k);
        const auto program =
            lowered({dot(param(0, {1, 128, k}, dtype), param(1, {1, k, 128}, dtype))}, compute);
        REQUIRE(program.launches.size() == 1);
        const Function& f = program.launches[0].kernel.function;
        CHECK(f.index_bits == 32);
        CHECK(compiler::loops::verify_loops(f) == std::vector<std::string>());
        const std::string text = compiler::loops::print(f);
        CHECK(compiler::loops::print(compiler::loops::parse(text)) == text);
        const bool tensor = dtype == DType::F16 || (dtype == DType::BF16 && compute == 80);
        CHECK((text.find(" = mma ") != std::string::npos) == tensor);
        CHECK((text.find("copy_async") != std::string::npos) ==
              (tensor && compute == 80 && k == 64));
      }
}

TEST_CASE("cuda lower: what tensor cores and copies cannot take is refused") {
  Function f;
  f.threads = 32;
  compiler::loops::Builder b(f, compiler::cuda_target(80));
  const int32_t from = b.add_buffer({.dtype = DType::F16});
  const int32_t words = b.add_buffer(
      {.kind = compiler::loops::Buffer::Kind::Scratch, .dtype = DType::F32, .offset = b.index(0)});
  const Ref x = b.load_matrix(words, b.thread(), false);
  b.load_matrix(words, b.thread(), true);
  b.load_matrix(from, b.thread(), true);
  b.mma(DType::F16, x, x, x, b.constant_bits(DType::F32, 0, 4));
  b.copy_async(words, b.thread(), from, b.thread());
  b.copy_wait(-1);
  std::string all;
  for (const std::string& wrong : compiler::loops::verify_loops(f)) all += wrong + "\n";
  for (const char* wrong :
       {"load_matrix_transposed: is for f16 and bf16, not f32",
        "load_matrix_transposed: buffer 0 is not shared memory",
        "mma: operand 1 is u32x4, must be u32", "copy_async: is f32, buffers 1 and 0 are not",
        "copy_wait: for -1 groups"}) {
    INFO(all);
    CHECK(all.find(wrong) != std::string::npos);
  }
}

TEST_CASE("cuda lower: contiguous maps read and write 16 bytes at once") {
  CERMET_NEEDS_NVRTC();
  const auto add = [](DType dtype, int64_t n) {
    return census(lowered({param(0, {n}, dtype) + param(1, {n}, dtype)}));
  };
  for (const DType dtype : {DType::F32, DType::F16, DType::BF16, DType::F64, DType::I32}) {
    const test::SassCensus found = add(dtype, 1 << 12);
    INFO(name(dtype) << ": " << found.text());
    CHECK(found["LDG.128"] == 2);
    CHECK(found["STG.128"] == 1);
    CHECK(found.instructions < 70);
  }
  // Two vectors are in flight when there is enough for the whole GPU; and the loop is unrolled.
  const test::SassCensus large = add(DType::F32, 1 << 24);
  CHECK(large["LDG.128"] >= 4);
  CHECK(large["LDG.128"] == 2 * large["STG.128"]);
  // An odd length has no whole vectors.
  CHECK(add(DType::F32, (1 << 12) + 1)["LDG.32"] == 2);
}

TEST_CASE("cuda lower: softmax and layer norm read their rows once") {
  CERMET_NEEDS_NVRTC();
  const auto softmax = [](const Value& x) {
    const Value e = exp(x - reduce(Combine::Max, x, Dims{1}, true));
    return e / reduce(Combine::Sum, e, Dims{1}, true);
  };
  for (const int64_t columns : {32, 256, 1000, 4096, 16384}) {
    INFO(columns << " columns");
    const auto program = lowered({softmax(param(0, {4096, columns}))});
    REQUIRE(program.launches.size() == 1);
    const test::SassCensus found = census(program);
    INFO(found.text());
    CHECK(found["LDG.128"] >= 1);
    CHECK(found["LDG.128"] <= 8);
    CHECK(found["LDG.128"] == found["STG.128"]);
    CHECK(found["LDG.32"] == 0);
  }
}

TEST_CASE("cuda lower: tiles of every size and dtype need no spills") {
  CERMET_NEEDS_NVRTC();
  const std::pair<int64_t, int64_t> sizes[] = {{2048, 2048}, {1000, 70}, {33, 4000}, {64, 64}};
  size_t next = 0;
  for (const int compute : test::architectures)
    for (const DType dtype : {DType::F32, DType::F64, DType::F16, DType::I32, DType::I64}) {
      // All sizes of float32 on one architecture, else one size each.
      const bool all = compute == 90 && dtype == DType::F32;
      if (compute != 90 && dtype != DType::F32) continue;
      for (size_t i = 0; i < (all ? std::size(sizes) : 1); ++i) {
        const auto [m, n] = sizes[next++ % std::size(sizes)];
        INFO(name(dtype) << " " << m << "x" << n);
        const auto program =
            lowered({dot(param(0, {1, m, 256}, dtype), param(1, {1, 256, n}, dtype))}, compute);
        CHECK(test::check_machine_code(program, compute).kernels.size() == 1);
      }
    }
}

TEST_CASE("cuda lower: tensor tiles need no spills, and use what the architecture has") {
  CERMET_NEEDS_NVRTC();
  size_t next = 0;
  for (const int compute : test::architectures)
    for (const DType dtype : {DType::F16, DType::BF16})
      for (const auto& [n, k] :
           {std::pair<int64_t, int64_t>{8192, 256}, {2048, 256}, {2048, 255}}) {
        if (compute == 75 && dtype == DType::BF16) continue;
        if (compute != 90 && next++ % 3 > 0) continue;  // all on one architecture, else a third
        INFO("sm_" << compute << " " << name(dtype) << " 2048x" << n << "x" << k);
        const Value product = dot(param(0, {1, 2048, k}, dtype), param(1, {1, k, n}, dtype));
        const auto program = lowered(
            {maximum(product + param(2, {n}, dtype), ir::constant(dtype, {}, 0.0))}, compute);
        const compiler::CudaObject object = test::check_machine_code(program, compute);
        REQUIRE(object.kernels.size() == 1);
        const auto kernels = test::read_cubin(object.cubin);
        const test::SassCensus& found = kernels.begin()->second;
        INFO(found.text());
        CHECK(found["HMMA"] >= 32);
        CHECK(found["LDSM"] >= 8);
        CHECK((found["LDGSTS"] > 0) == (compute >= 80 && k % 8 == 0));
      }
}

TEST_CASE("cuda lower: an exact product reads 16 bytes at once, and two blocks fit") {
  CERMET_NEEDS_NVRTC();
  const auto program = lowered({dot(param(0, {1, 2048, 512}), param(1, {1, 512, 2048}))});
  REQUIRE(program.launches.size() == 1);
  const test::SassCensus found = census(program);
  INFO(found.text());
  CHECK(found["FFMA"] == 8 * 64);
  CHECK(found["LDS.128"] >= 8 * 4);
  CHECK(found["LDG.32"] == 0);
  CHECK(found["STG.128"] >= 4);
  CHECK(compiled(program).kernels.at(0).registers <= 128);
}

TEST_CASE("cuda lower: indices have 32 bits where that is proven to be enough") {
  const auto bits = [](const Shape& shape) {
    const auto program = lowered({param(0, shape) * 2.0 + 1.5});
    return program.launches.at(0).kernel.function.index_bits;
  };
  CHECK(bits({1 << 20}) == 32);
  CHECK(bits({int64_t(1) << 31}) == 32);  // the last position is 2^31 - 1
  CHECK(bits({(int64_t(1) << 31) + 4096}) == 64);
  CHECK(bits({3, (int64_t(1) << 31) + 1}) == 64);
  CHECK(bits({1 << 16, 1 << 16}) == 64);
  // What a user computes with positions counts as well: it may not fit at all.
  const Value far = ir::iota(8) * ir::constant(DType::I64, {8}, int64_t(1) << 40);
  CHECK(lowered({far}).launches.at(0).kernel.function.index_bits == 64);
  const Value beyond = ir::iota(8) * ir::constant(DType::I64, {8}, int64_t(1) << 62);
  CHECK(lowered({beyond}).launches.at(0).kernel.function.index_bits == 0);
}

TEST_CASE("cuda lower: intervals follow threads, loops and divisions") {
  Function f;
  f.threads = 256;
  compiler::loops::Builder b(f, compiler::cuda_target(90));
  const int32_t to = b.add_buffer({.dtype = DType::I64});
  const Ref limit = b.argument(0);
  b.for_loop(b.thread(), limit, 256, [&](Ref i) {
    b.store(to, b.rem(i, b.index(8)), b.div(b.mul(i, b.index(1 << 20)), b.index(1 << 20)));
  });
  const auto bits = [&](int64_t n) { return compiler::index_bits(f, std::span(&n, 1), 1); };
  CHECK(bits(2048) == 32);  // 2047 << 20 is below 2^31
  CHECK(bits(2049) == 64);
  CHECK(bits(int64_t(1) << 42) == 64);
  CHECK(bits(int64_t(1) << 44) == 0);
}

TEST_CASE("cuda print: more arguments than a kernel can have come in memory") {
  CERMET_NEEDS_NVRTC();
  Function f;
  f.name = "many";
  f.threads = 32;
  compiler::loops::Builder b(f, compiler::cuda_target(90));
  const int32_t to = b.add_buffer({.dtype = DType::I64});
  Ref sum = b.argument(0);
  for (int32_t i = 1; i < 600; ++i) sum = b.add(sum, b.argument(i));
  b.store(to, b.thread(), sum);
  CHECK(compiler::arguments_in_memory(f));
  const Function* const unit[] = {&f};
  const auto object = compiler::compile_cuda(compiler::print_cuda_unit(unit), {.arch = {90}});
  REQUIRE(object.kernels.size() == 1);
  CHECK(object.kernels[0].stack_bytes == 0);
}

TEST_CASE("cuda print: functions for the CPU are refused") {
  Function f;
  compiler::loops::Builder b(f, compiler::Target());
  b.store(b.add_buffer({.dtype = DType::I64}), b.begin(), b.end());
  CHECK_THROWS_AS(compiler::print_cuda(f, "k"), InternalError);
}
