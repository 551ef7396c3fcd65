#include "compiler/run_ptx.h"

#include <fmt/format.h>

#include <cstring>
#include <map>
#include <memory>

#include "compiler/cuda/nvrtc.h"
#include "compiler/cuda/print.h"
#include "compiler/cuda/sort.h"
#include "compiler/loops_text.h"
#include "compiler/program.h"
#include "ir/interpreter.h"
#include "support/catch.h"
#include "support/run_compiled.h"

namespace cermet::test {
namespace {

using compiler::KernelBuffer;
using compiler::LoweredKernel;

const ptxsim::Module& module_for(const compiler::loops::Function& function, int compute) {
  static std::map<std::string, std::unique_ptr<ptxsim::Module>> modules;
  auto& module = modules[fmt::format("{}\n{}", compute, compiler::loops::print(function))];
  if (!module) {
    const compiler::loops::Function* const unit[] = {&function};
    compiler::CudaOptions options;
    options.arch.number = compute;
    options.cubin = false;
    module =
        ptxsim::Module::parse(compiler::compile_cuda(compiler::print_cuda_unit(unit), options).ptx);
  }
  return *module;
}

// Device memory in which every allocation lies where the host has it.
class Arena {
 public:
  uint64_t add(size_t bytes, std::string name) {
    blocks_.push_back(std::make_unique<Block[]>(bytes / sizeof(Block) + 1));
    const auto address = reinterpret_cast<uint64_t>(blocks_.back().get());
    memory.add(address, bytes, blocks_.back().get(), std::move(name));
    return address;
  }
  uint64_t add(std::span<const std::byte> content, std::string name) {
    const uint64_t address = add(content.size(), std::move(name));
    std::memcpy(reinterpret_cast<void*>(address), content.data(), content.size());
    memory.mark_initialised(address, content.size());
    return address;
  }
  ptxsim::Memory memory;

 private:
  struct alignas(256) Block {
    std::byte bytes[256];
  };
  std::vector<std::unique_ptr<Block[]>> blocks_;
};

void launch(const LoweredKernel& kernel, int compute, std::span<const uint64_t> buffers,
            uint64_t error_cell, uint64_t seed, Arena& arena, PtxRun& run) {
  if (kernel.range <= 0) return;
  std::vector<uint64_t> arguments;
  for (int32_t b : kernel.buffers) arguments.push_back(buffers[size_t(b)]);
  for (int64_t i : kernel.integers) arguments.push_back(uint64_t(i));
  arguments.push_back(error_cell);
  if (compiler::arguments_in_memory(kernel.function))
    arguments = {arena.add(std::as_bytes(std::span(arguments)), "arguments")};
  const ptxsim::Module& module = module_for(kernel.function, compute);
  ptxsim::LaunchShape shape;
  shape.grid.x = uint32_t(kernel.range);
  shape.block.x = uint32_t(kernel.function.threads);
  shape.dynamic_shared_bytes = uint32_t(kernel.scratch_bytes);
  ptxsim::Options options;
  options.seed = seed;
  options.compute_capability = compute;
  const ptxsim::Report report =
      ptxsim::launch(module, module.kernels().at(0), shape, std::as_bytes(std::span(arguments)),
                     arena.memory, options);
  run.counters.add(report.counters);
  ++run.launches;
  if (!report.clean()) run.violations += kernel.function.name + ":\n" + report.text();
}

void launch_sort(const compiler::Program& program, const compiler::Program::Launch& sort,
                 int compute, std::span<const uint64_t> buffers, uint64_t seed, Arena& arena,
                 PtxRun& run) {
  const int64_t total = sort.rows * sort.columns, threads = compiler::cuda_sort_threads;
  if (total == 0) return;
  compiler::CudaOptions cuda;
  cuda.arch.number = compute;
  cuda.cubin = false;
  const DType dtype = program.buffers[size_t(sort.kernel.buffers[0])].dtype;
  const auto module = ptxsim::Module::parse(
      compiler::compile_cuda(compiler::print_cuda_sort(dtype, sort.descending, "k0"), cuda).ptx);
  ptxsim::LaunchShape shape;
  shape.grid.x = uint32_t((total + threads - 1) / threads);
  shape.block.x = uint32_t(threads);
  ptxsim::Options options;
  options.seed = seed;
  options.compute_capability = compute;
  int64_t passes = 1;
  while ((int64_t(1) << passes) < sort.columns) ++passes;
  const uint64_t result = buffers[size_t(sort.kernel.buffers[1])];
  const uint64_t other = arena.add(size_t(total) * 8, "sort");
  uint64_t from = 0;
  for (int64_t pass = 0; pass < passes; ++pass) {
    const uint64_t to = (passes - pass) % 2 == 1 ? result : other;
    const uint64_t arguments[] = {buffers[size_t(sort.kernel.buffers[0])],
                                  from,
                                  to,
                                  uint64_t(sort.columns),
                                  uint64_t(1) << pass,
                                  uint64_t(total)};
    const ptxsim::Report report =
        ptxsim::launch(*module, module->kernels().at(0), shape, std::as_bytes(std::span(arguments)),
                       arena.memory, options);
    if (!report.clean()) run.violations += "sort:\n" + report.text();
    from = to;
  }
}

}  // namespace

PtxRun run_ptx(const ir::Graph& graph, std::span<const ir::HostArray> parameters, int compute,
               uint64_t seed, compiler::Numerics numerics) {
  compiler::Target target = compiler::cuda_target(compute);
  target.numerics = numerics;
  const compiler::Program program = compiler::compile(graph, target);
  Arena arena;
  PtxRun run;
  std::vector<uint64_t> buffers;
  std::vector<uint64_t> results(graph.results.size(), 0);
  for (const auto& b : program.buffers) {
    const size_t bytes = size_t(b.elements) * size_of(b.dtype);
    switch (b.kind) {
      case KernelBuffer::Kind::Parameter: {
        const auto& last = parameters[size_t(b.slot)].bytes;
        buffers.push_back(arena.add(last, fmt::format("parameter {}", b.slot)) -
                          (bytes - last.size()));
        break;
      }
      case KernelBuffer::Kind::Temporary:
        buffers.push_back(arena.add(bytes, fmt::format("temporary {}", buffers.size())));
        break;
      case KernelBuffer::Kind::Result:
        buffers.push_back(arena.add(bytes, fmt::format("result {}", b.slot)));
        results[size_t(b.slot)] = buffers.back();
        break;
    }
  }
  int64_t error[2] = {0, 0};
  const uint64_t cell = arena.add(std::as_bytes(std::span(error)), "error cell");
  for (const auto& l : program.launches) {
    if (l.kind == compiler::Kernel::Kind::Sort) {
      launch_sort(program, l, compute, buffers, seed, arena, run);
      continue;
    }
    launch(l.kernel, compute, buffers, cell, seed, arena, run);
    std::memcpy(error, reinterpret_cast<const void*>(cell), sizeof(error));
    if (error[0] != 0 && run.report.empty())
      run.report = fmt::format(fmt::runtime(l.kernel.reports[size_t(error[0]) - 1]), error[1]);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const ir::Node& node = *graph.results[i];
    const size_t bytes = size_t(node.numel()) * size_of(node.dtype);
    if (!arena.memory.initialised(results[i], bytes))
      run.violations += fmt::format("result {} is not written in full\n", i);
    run.results.emplace_back(node.dtype, node.shape, reinterpret_cast<const void*>(results[i]));
  }
  return run;
}

PtxRun clean_run(const ir::Graph& graph, std::span<const ir::HostArray> parameters, int compute,
                 uint64_t seed, compiler::Numerics numerics) {
  PtxRun run = run_ptx(graph, parameters, compute, seed, numerics);
  CHECK(run.violations == "");
  CHECK(run.report == "");
  return run;
}

void expect_same(const std::vector<ir::HostArray>& got, const std::vector<ir::HostArray>& expected,
                 const Tolerance& tolerance) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    if (const auto wrong = difference(got[i], expected[i], tolerance))
      FAIL_CHECK("result " << i << ": " << *wrong);
}

PtxRun check_products_ptx(std::vector<ir::Value> results, const Tolerance& tolerance, int compute,
                          uint64_t seed, compiler::Numerics numerics) {
  const ir::Graph graph = graph_over(std::move(results));
  const std::vector<ir::HostArray> parameters = product_operands(graph);
  PtxRun run = clean_run(graph, parameters, compute, seed, numerics);
  expect_same(run.results, ir::interpret(graph, parameters), tolerance);
  return run;
}

PtxRun check_ptx(std::vector<ir::Value> results, const Tolerance& tolerance, uint64_t seed) {
  const ir::Graph graph = graph_over(std::move(results));
  std::vector<ir::HostArray> parameters;
  for (const ir::Value& p : graph.parameters)
    parameters.push_back(numbers_between(p->dtype, p->shape,
                                         p->dtype == DType::I64 || is_unsigned(p->dtype) ? 0 : -2,
                                         3, seed + parameters.size() + 1));
  PtxRun run = clean_run(graph, parameters, seed % 2 == 0 ? 90 : 80, seed);
  expect_same(run.results, ir::interpret(graph, parameters), tolerance);
  return run;
}

}  // namespace cermet::test
